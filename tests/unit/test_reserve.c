/* Descriptors kept back for what frees others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/reserve.h"
#include "fcgi-host/sock.h"

#define LIMIT 64
#define COUNT 16

static struct rlimit before;
static struct reserve reserve;

static int
set_up(void **state)
{
	struct rlimit low;

	(void)state;
	if (getrlimit(RLIMIT_NOFILE, &before) != 0)
		return -1;
	low = before;
	low.rlim_cur = LIMIT;
	if (setrlimit(RLIMIT_NOFILE, &low) != 0)
		return -1;
	return reserve_init(&reserve, COUNT);
}

static int
tear_down(void **state)
{
	(void)state;
	(void)close_range(3, ~0u, 0);
	return setrlimit(RLIMIT_NOFILE, &before);
}

/* Takes every descriptor that can be had; the highest. */
static int
take_all(void)
{
	int fd, highest = -1;

	while ((fd = dup(STDERR_FILENO)) >= 0)
		if (fd > highest)
			highest = fd;
	assert_int_equal(errno, EMFILE);
	return highest;
}

static void
daily_work_ends_before_the_reserve(void **state)
{
	(void)state;
	assert_int_equal(reserve.all, LIMIT);
	assert_int_equal(reserve.daily, LIMIT - COUNT);
	assert_int_equal(take_all(), LIMIT - COUNT - 1);
}

static void
an_open_reserve_is_used_to_its_last_descriptor(void **state)
{
	(void)state;
	take_all();
	reserve_open(&reserve);
	assert_int_equal(take_all(), LIMIT - 1);
	reserve_close(&reserve);
	assert_int_equal(dup(STDERR_FILENO), -1);
}

static void
what_is_given_back_outside_of_the_reserve_serves_again(void **state)
{
	(void)state;
	take_all();
	reserve_open(&reserve);
	take_all();
	reserve_close(&reserve);
	close(LIMIT - 1);
	assert_int_equal(dup(STDERR_FILENO), -1);
	close(7);
	assert_int_equal(dup(STDERR_FILENO), 7);
}

static void
a_message_keeps_its_descriptors_by_the_reserve(void **state)
{
	const int sent[4] = { 0, 1, 2, 2 };
	int pair[2], fds[4];
	size_t count = 0;
	char byte;

	(void)state;
	assert_int_equal(sock_pair(pair), 0);
	take_all();
	for (int lap = 0; lap < 2; lap++)
		assert_int_equal(sock_send(pair[0], "x", 1, sent, 4), 0);
	assert_int_equal(sock_recv(pair[1], &byte, 1, fds, 4, &count),
	    -EMSGSIZE);
	reserve_open(&reserve);
	assert_int_equal(sock_recv(pair[1], &byte, 1, fds, 4, &count), 1);
	reserve_close(&reserve);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++)
		assert_true(fds[i] >= LIMIT - COUNT);
}

static void
of_few_descriptors_a_quarter_is_kept_back(void **state)
{
	struct reserve small;

	(void)state;
	reserve_open(&reserve);
	assert_int_equal(reserve_init(&small, 1000), 0);
	assert_int_equal(small.daily, LIMIT - LIMIT / 4);
	reserve_open(&small);
}

static void
a_limit_that_was_set_from_outside_stays(void **state)
{
	struct rlimit low = before;

	(void)state;
	low.rlim_cur = 20;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	reserve_open(&reserve);
	assert_int_equal(take_all(), 19);
	reserve_close(&reserve);
	low.rlim_cur = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	reserve_close(&reserve);
	assert_true(dup(STDERR_FILENO) >= 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(daily_work_ends_before_the_reserve),
		TEST(an_open_reserve_is_used_to_its_last_descriptor),
		TEST(what_is_given_back_outside_of_the_reserve_serves_again),
		TEST(a_message_keeps_its_descriptors_by_the_reserve),
		TEST(of_few_descriptors_a_quarter_is_kept_back),
		TEST(a_limit_that_was_set_from_outside_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
