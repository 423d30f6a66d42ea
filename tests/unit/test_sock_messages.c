#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

static bool
is_cloexec(int fd)
{
	return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

/* The lowest descriptor that is free: when it is the same before and after,
 * nothing was left open. */
static int
lowest_free(void)
{
	int fd = dup(0);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

struct pair {
	int fds[2];
};

static int
set_up(void **state)
{
	static struct pair pair;

	*state = &pair;
	return sock_pair(pair.fds);
}

static int
tear_down(void **state)
{
	struct pair *pair = *state;

	close(pair->fds[0]);
	close(pair->fds[1]);
	return 0;
}

static void
messages_keep_their_bounds_and_the_end_is_0(void **state)
{
	struct pair *pair = *state;
	char data[16];

	assert_true(is_cloexec(pair->fds[0]) && is_cloexec(pair->fds[1]));
	assert_int_equal(sock_send(pair->fds[0], "one", 3, NULL, 0), 0);
	assert_int_equal(sock_send(pair->fds[0], "second", 6, NULL, 0), 0);
	assert_int_equal(sock_recv(pair->fds[1], data, sizeof(data), NULL, 0,
	    NULL), 3);
	assert_int_equal(sock_recv(pair->fds[1], data, 6, NULL, 0, NULL), 6);
	assert_memory_equal(data, "second", 6);
	assert_int_equal(fd_set_nonblock(pair->fds[1], true), 0);
	assert_int_equal(sock_recv(pair->fds[1], data, 6, NULL, 0, NULL),
	    -EAGAIN);
	shutdown(pair->fds[0], SHUT_WR);
	assert_int_equal(sock_recv(pair->fds[1], data, 6, NULL, 0, NULL), 0);
}

static void
what_was_sent_before_a_reset_is_received_and_then_the_end(void **state)
{
	struct pair *pair = *state;
	char data[16];

	assert_int_equal(sock_send(pair->fds[0], "one", 3, NULL, 0), 0);
	assert_int_equal(sock_send(pair->fds[0], "two", 3, NULL, 0), 0);
	assert_int_equal(sock_send(pair->fds[1], "unread", 6, NULL, 0), 0);
	close(pair->fds[0]);
	pair->fds[0] = -1;
	assert_int_equal(sock_recv(pair->fds[1], data, 6, NULL, 0, NULL), 3);
	assert_memory_equal(data, "one", 3);
	assert_int_equal(sock_recv(pair->fds[1], data, 6, NULL, 0, NULL), 3);
	assert_memory_equal(data, "two", 3);
	assert_int_equal(sock_recv(pair->fds[1], data, 6, NULL, 0, NULL), 0);
}

static void
sending_to_nobody_is_an_error_and_no_signal(void **state)
{
	struct pair *pair = *state;

	/* Whoever started this test may have it ignored. */
	assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	close(pair->fds[1]);
	assert_int_equal(sock_send(pair->fds[0], "x", 1, NULL, 0), -EPIPE);
	pair->fds[1] = -1;
}

static void
a_full_socket_says_that_it_would_block(void **state)
{
	struct pair *pair = *state;
	char data[4096] = { 0 };
	int rc, count = 0;

	assert_int_equal(fd_set_nonblock(pair->fds[0], true), 0);
	while ((rc = sock_send(pair->fds[0], data, sizeof(data), NULL, 0)) == 0)
		assert_true(++count < 100000);
	assert_int_equal(rc, -EAGAIN);
}

static void
an_empty_message_or_too_many_descriptors_cannot_be_sent(void **state)
{
	struct pair *pair = *state;
	int fds[SOCK_FDS_MAX + 1] = { 0 };

	assert_int_equal(sock_send(pair->fds[0], "", 0, NULL, 0), -EINVAL);
	assert_int_equal(sock_send(pair->fds[0], "x", 1, fds,
	    SOCK_FDS_MAX + 1), -EINVAL);
}

static void
any_number_of_descriptors_is_passed_cloexec_and_alive(void **state)
{
	struct pair *pair = *state;
	int before = lowest_free();

	for (size_t n = 0; n <= SOCK_FDS_MAX; n++) {
		int sent[SOCK_FDS_MAX], got[SOCK_FDS_MAX], pipes[2];
		size_t count = 99;
		char data[4], byte;

		assert_int_equal(sock_pipe(pipes), 0);
		for (size_t i = 0; i < n; i++)
			sent[i] = pipes[1];
		assert_int_equal(sock_send(pair->fds[0], "abcd", 4, sent, n),
		    0);
		close(pipes[1]);
		assert_int_equal(sock_recv(pair->fds[1], data, 4, got,
		    SOCK_FDS_MAX, &count), 4);
		assert_int_equal(count, n);
		for (size_t i = 0; i < n; i++) {
			assert_true(is_cloexec(got[i]));
			assert_int_equal(write(got[i], "y", 1), 1);
			assert_int_equal(read(pipes[0], &byte, 1), 1);
			close(got[i]);
		}
		assert_int_equal(read(pipes[0], &byte, 1), 0);
		close(pipes[0]);
	}
	assert_int_equal(lowest_free(), before);
}

static void
more_descriptors_than_wanted_are_refused_and_closed(void **state)
{
	struct pair *pair = *state;
	int before = lowest_free();

	for (size_t wanted = 0; wanted < SOCK_FDS_MAX; wanted++) {
		for (size_t n = wanted + 1; n <= SOCK_FDS_MAX; n++) {
			int sent[SOCK_FDS_MAX] = { 0 }, got[SOCK_FDS_MAX];
			size_t count = 99;
			char data[4];

			assert_int_equal(sock_send(pair->fds[0], "abcd", 4,
			    sent, n), 0);
			assert_int_equal(sock_recv(pair->fds[1], data, 4, got,
			    wanted, &count), -EMSGSIZE);
			assert_int_equal(count, 0);
			assert_int_equal(lowest_free(), before);
		}
	}
}

static void
a_message_that_is_too_long_is_refused_and_its_fds_closed(void **state)
{
	struct pair *pair = *state;
	int before = lowest_free(), sent[2] = { 0, 0 }, got[2];
	size_t count = 99;
	char data[4];

	assert_int_equal(sock_send(pair->fds[0], "abcde", 5, sent, 2), 0);
	assert_int_equal(sock_recv(pair->fds[1], data, 4, got, 2, &count),
	    -EMSGSIZE);
	assert_int_equal(count, 0);
	assert_int_equal(lowest_free(), before);
	assert_int_equal(sock_send(pair->fds[0], "next", 4, NULL, 0), 0);
	assert_int_equal(sock_recv(pair->fds[1], data, 4, got, 2, &count), 4);
}

static void
descriptors_on_an_empty_message_are_closed(void **state)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct pair *pair = *state;
	struct msghdr message = { .msg_control = &control,
		.msg_controllen = sizeof(control) };
	int before = lowest_free(), zero = 0, got[2];
	size_t count = 99;
	char data[4];

	memcpy(CMSG_DATA(&control.header), &zero, sizeof(zero));
	assert_int_equal(sendmsg(pair->fds[0], &message, 0), 0);
	assert_int_equal(sock_recv(pair->fds[1], data, 4, got, 2, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(lowest_free(), before);
}

static void
credentials_that_come_unasked_carry_nothing_in(void **state)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct ucred))];
	} control = { .header = {
		.cmsg_len = CMSG_LEN(sizeof(struct ucred)),
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS } };
	struct pair *pair = *state;
	struct ucred self = { getpid(), getuid(), getgid() };
	struct iovec part = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	size_t count = 99;
	char data[4];
	int got[2];

	memcpy(CMSG_DATA(&control.header), &self, sizeof(self));
	assert_int_equal(sendmsg(pair->fds[0], &message, 0), 1);
	assert_int_equal(sock_recv(pair->fds[1], data, 4, got, 2, &count), 1);
	assert_int_equal(count, 0);
}

static void
a_wish_for_too_many_descriptors_is_refused(void **state)
{
	struct pair *pair = *state;
	int got[SOCK_FDS_MAX + 1];
	size_t count;
	char data[4];

	assert_int_equal(sock_recv(pair->fds[1], data, 4, got,
	    SOCK_FDS_MAX + 1, &count), -EINVAL);
	assert_int_equal(sock_recv(pair->fds[1], data, 4, got, 1, NULL),
	    -EINVAL);
}

/* Sealed memory */

static void
sealed_bytes_are_read_back_and_can_no_longer_be_changed(void **state)
{
	int fd = sock_sealed("test", "A=1\0B=2", 8), before = lowest_free();
	char *text = NULL;
	size_t n = 0;

	(void)state;
	assert_true(fd >= 0);
	assert_true(is_cloexec(fd));
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 100), -1);
	assert_ptr_equal(mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    0), MAP_FAILED);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sock_sealed_read(fd, 8, &text, &n), 0);
		assert_int_equal(n, 8);
		assert_memory_equal(text, "A=1\0B=2\0", 9);
		free(text);
	}
	assert_int_equal(sock_sealed_read(fd, 7, &text, &n), -EINVAL);
	assert_int_equal(lowest_free(), before);
	close(fd);
}

static void
nothing_and_much_can_be_sealed(void **state)
{
	size_t much = 3 << 20, n = 99;
	char *data = malloc(much), *text;
	int fd = sock_sealed("empty", NULL, 0);

	(void)state;
	assert_non_null(data);
	assert_int_equal(sock_sealed_read(fd, 0, &text, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(text[0], '\0');
	free(text);
	close(fd);
	memset(data, 'd', much);
	fd = sock_sealed("much", data, much);
	assert_int_equal(sock_sealed_read(fd, much, &text, &n), 0);
	assert_int_equal(n, much);
	assert_memory_equal(text, data, much);
	free(text);
	free(data);
	close(fd);
}

static void
what_lacks_a_seal_is_not_read(void **state)
{
	static const int too_few[] = { 0, F_SEAL_WRITE,
		F_SEAL_WRITE | F_SEAL_SHRINK, F_SEAL_WRITE | F_SEAL_GROW,
		F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL };
	char *text;
	size_t n;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(too_few) / sizeof(too_few[0]); i++) {
		fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, "x", 1), 1);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, too_few[i]), 0);
		assert_int_equal(sock_sealed_read(fd, 10, &text, &n), -EINVAL);
		close(fd);
	}
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(sock_sealed_read(fd, 1 << 30, &text, &n), -EINVAL);
	close(fd);
	assert_int_equal(sock_sealed_read(-1, 10, &text, &n), -EINVAL);
}

#define PAIR_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR_TEST(messages_keep_their_bounds_and_the_end_is_0),
		PAIR_TEST(
		    what_was_sent_before_a_reset_is_received_and_then_the_end),
		PAIR_TEST(sending_to_nobody_is_an_error_and_no_signal),
		PAIR_TEST(a_full_socket_says_that_it_would_block),
		PAIR_TEST(
		    an_empty_message_or_too_many_descriptors_cannot_be_sent),
		PAIR_TEST(
		    any_number_of_descriptors_is_passed_cloexec_and_alive),
		PAIR_TEST(
		    more_descriptors_than_wanted_are_refused_and_closed),
		PAIR_TEST(
		    a_message_that_is_too_long_is_refused_and_its_fds_closed),
		PAIR_TEST(descriptors_on_an_empty_message_are_closed),
		PAIR_TEST(credentials_that_come_unasked_carry_nothing_in),
		PAIR_TEST(a_wish_for_too_many_descriptors_is_refused),
		cmocka_unit_test(
		    sealed_bytes_are_read_back_and_can_no_longer_be_changed),
		cmocka_unit_test(nothing_and_much_can_be_sealed),
		cmocka_unit_test(what_lacks_a_seal_is_not_read),
	};

	return cmocka_run_group_tests_name("sock_messages", tests, NULL, NULL);
}
