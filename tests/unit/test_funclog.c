#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/funclog.h"
#include "fcgi-host/log.h"

#define START_US (100ull * 1000000)

static struct funclog_quota quota;
static struct funclog funclog;
static int log_fd = -1, saved_fd = -1;

/* The host's log is descriptor 2: here a file that is read back. */
static int
set_up(void **state)
{
	(void)state;
	log_init("test", LOG_INFO);
	fflush(stderr);
	saved_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	if (saved_fd < 0 || log_fd < 0 || dup2(log_fd, 2) < 0)
		return -1;
	memset(&quota, 0, sizeof(quota));
	funclog_init(&funclog, "alice/f", 7, &quota);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	dup2(saved_fd, 2);
	close(saved_fd);
	close(log_fd);
	return 0;
}

static char *
logged(void)
{
	off_t n = lseek(log_fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)n + 1);

	assert_non_null(text);
	assert_int_equal(pread(log_fd, text, (size_t)n, 0), n);
	return text;
}

static size_t
count(const char *what)
{
	char *text = logged();
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
		n++;
	free(text);
	return n;
}

static void
feed(const char *text)
{
	funclog_feed(&funclog, "req", text, strlen(text), START_US);
}

static void
each_line_is_one_event_with_function_instance_and_request(void **state)
{
	(void)state;
	feed("first\nsecond\n\nthird");
	assert_int_equal(count("event=stderr request=req function=alice/f "
	    "instance=7 cut=0 text=\"first\"\n"), 1);
	assert_int_equal(count("text=\"second\"\n"), 1);
	assert_int_equal(count("text=\"\"\n"), 1);
	assert_int_equal(count("third"), 0);
	funclog_end(&funclog, "req", START_US);
	assert_int_equal(count("text=\"third\"\n"), 1);
	funclog_end(&funclog, "req", START_US);
	assert_int_equal(count("\n"), 4);
}

static void
a_line_may_come_byte_by_byte(void **state)
{
	(void)state;
	for (const char *at = "some words\nmore\n"; *at != '\0'; at++)
		funclog_feed(&funclog, "req", at, 1, START_US);
	assert_int_equal(count("\n"), 2);
	assert_int_equal(count("text=\"some words\"\n"), 1);
	assert_int_equal(count("text=\"more\"\n"), 1);
}

static void
bytes_that_would_forge_a_line_are_escaped(void **state)
{
	(void)state;
	funclog_feed(&funclog, "req", "a\" level=error\r\x1b[0m\0b\\\n", 23,
	    START_US);
	assert_int_equal(count("\n"), 1);
	assert_int_equal(count("\r"), 0);
	assert_int_equal(count("\x1b"), 0);
	assert_int_equal(count("text=\"a\\\" level=error"), 1);
}

static void
a_megabyte_without_a_newline_is_one_bounded_line(void **state)
{
	char *text = malloc(1 << 20);
	char *out;

	(void)state;
	memset(text, 'x', 1 << 20);
	for (size_t at = 0; at < 1 << 20; at += 8192)
		funclog_feed(&funclog, "req", text + at, 8192, START_US);
	feed("\nafter\n");
	out = logged();
	assert_true(strlen(out) < 2 * LOG_LINE_MAX);
	free(out);
	free(text);
	assert_int_equal(count("\n"), 2);
	assert_int_equal(count("cut=1"), 1);
	assert_int_equal(count("cut=0 text=\"after\""), 1);
}

static void
a_line_of_exactly_the_bound_is_whole(void **state)
{
	char text[FUNCLOG_LINE_MAX + 2];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[FUNCLOG_LINE_MAX] = '\n';
	funclog_feed(&funclog, "req", text, FUNCLOG_LINE_MAX + 1, START_US);
	assert_int_equal(count("cut=0"), 1);
	assert_int_equal(count("cut=1"), 0);
	text[FUNCLOG_LINE_MAX] = 'x';
	text[FUNCLOG_LINE_MAX + 1] = '\n';
	funclog_feed(&funclog, "req", text, FUNCLOG_LINE_MAX + 2, START_US);
	assert_int_equal(count("cut=1"), 1);
	assert_int_equal(count("\n"), 2);
}

static void
a_flood_is_bounded_counted_and_told_in_the_next_window(void **state)
{
	(void)state;
	for (int i = 0; i < FUNCLOG_BURST + 500; i++)
		feed("flood\n");
	assert_int_equal(count("flood"), FUNCLOG_BURST);
	assert_int_equal(count("stderr_dropped"), 0);
	funclog_feed(&funclog, "req", "calm\n", 5,
	    START_US + (FUNCLOG_WINDOW_MS + 1) * 1000ull);
	assert_int_equal(count("event=stderr_dropped request=req "
	    "function=alice/f instance=7 lines=500\n"), 1);
	assert_int_equal(count("calm"), 1);
}

static void
what_was_dropped_is_told_at_the_end_too(void **state)
{
	(void)state;
	for (int i = 0; i < FUNCLOG_BURST + 3; i++)
		feed("flood\n");
	funclog_end(&funclog, "req", START_US);
	assert_int_equal(count("event=stderr_dropped"), 1);
	assert_int_equal(count("lines=3\n"), 1);
	funclog_end(&funclog, "req", START_US);
	assert_int_equal(count("event=stderr_dropped"), 1);
}

static void
executions_of_a_function_share_one_bound(void **state)
{
	struct funclog other;

	(void)state;
	funclog_init(&other, "alice/f", 8, &quota);
	for (int i = 0; i < FUNCLOG_BURST - 1; i++)
		feed("flood\n");
	funclog_feed(&other, "second", "last\nlost\n", 10, START_US);
	feed("lost\n");
	assert_int_equal(count("text=\"last\"\n"), 1);
	assert_int_equal(count("lost"), 0);
	funclog_end(&other, "second", START_US);
	assert_int_equal(count("event=stderr_dropped request=second "
	    "function=alice/f instance=8 lines=1\n"), 1);
	funclog_end(&funclog, "req", START_US);
	assert_int_equal(count("instance=7 lines=1\n"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_line_is_one_event_with_function_instance_and_request),
		TEST(a_line_may_come_byte_by_byte),
		TEST(bytes_that_would_forge_a_line_are_escaped),
		TEST(a_megabyte_without_a_newline_is_one_bounded_line),
		TEST(a_line_of_exactly_the_bound_is_whole),
		TEST(a_flood_is_bounded_counted_and_told_in_the_next_window),
		TEST(what_was_dropped_is_told_at_the_end_too),
		TEST(executions_of_a_function_share_one_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
