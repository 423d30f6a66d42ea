#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/log.h"

static struct timespec fake_now; /* all zero: the true time */

/* Stands before the C library's, so that a test can choose the date. */
int
clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock == CLOCK_REALTIME && fake_now.tv_nsec != 0) {
		*now = fake_now;
		return 0;
	}
	return (int)syscall(SYS_clock_gettime, clock, now);
}

/* Descriptor 2 becomes a socket that keeps writes apart. */
struct capture {
	int saved, fd;
	char text[LOG_LINE_MAX + 1];
};

static void
capture_begin(struct capture *capture)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, fds), 0);
	capture->saved = dup(2);
	capture->fd = fds[0];
	assert_int_equal(dup2(fds[1], 2), 2);
	close(fds[1]);
}

/* The next write's bytes; -1 when there is none. */
static ssize_t
capture_next(struct capture *capture)
{
	ssize_t n = read(capture->fd, capture->text, LOG_LINE_MAX);

	if (n >= 0)
		capture->text[n] = '\0';
	return n;
}

static void
capture_end(struct capture *capture)
{
	dup2(capture->saved, 2);
	close(capture->saved);
	close(capture->fd);
}

static int
set_up(void **state)
{
	(void)state;
	fake_now = (struct timespec){ 0 };
	log_init("tester", LOG_INFO);
	return 0;
}

static void
an_event_is_one_line_in_one_write(void **state)
{
	struct capture capture;
	const char *rest;

	(void)state;
	capture_begin(&capture);
	log_event(LOG_WARN, "thing_happened", "id=%s n=%d", "r1", 5);
	assert_true(capture_next(&capture) > 0);
	rest = strchr(capture.text, ' ');
	assert_non_null(rest);
	assert_string_equal(rest, " level=warn role=tester "
	    "event=thing_happened id=r1 n=5\n");
	assert_int_equal(capture_next(&capture), -1);
	log_event(LOG_ERROR, "bare", "%s", "");
	assert_true(capture_next(&capture) > 0);
	capture_end(&capture);
}

static void
an_event_below_the_threshold_is_not_written(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	log_event(LOG_DEBUG, "quiet", "a=1");
	assert_int_equal(capture_next(&capture), -1);
	log_set_level(LOG_DEBUG);
	log_event(LOG_DEBUG, "loud", "a=1");
	assert_true(capture_next(&capture) > 0);
	log_set_level(LOG_ERROR);
	log_event(LOG_WARN, "quiet", "a=1");
	assert_int_equal(capture_next(&capture), -1);
	capture_end(&capture);
}

static void
a_functions_output_is_written_whatever_the_threshold_is(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	log_set_level(LOG_ERROR);
	log_output("stderr", "text=\"%s\"", "said");
	assert_true(capture_next(&capture) > 0);
	assert_non_null(strstr(capture.text, "event=stderr text=\"said\""));
	capture_end(&capture);
}

static void
outside_bytes_cannot_begin_a_line_or_steer_a_terminal(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	log_event(LOG_INFO, "e", "v=%s",
	    "a\nlevel=error\r\033[2J\x7f\xc3\xa4\x80");
	assert_true(capture_next(&capture) > 0);
	assert_non_null(strstr(capture.text, "v=a\\x0alevel=error\\x0d\\x1b"
	    "[2J\\x7f\\xc3\\xa4\\x80\n"));
	assert_int_equal(capture_next(&capture), -1);
	capture_end(&capture);
}

static void
a_line_that_is_too_long_is_cut_and_still_one_line(void **state)
{
	struct capture capture;
	static char text[3 * LOG_LINE_MAX];
	ssize_t n;

	(void)state;
	capture_begin(&capture);
	for (int fill = 0; fill < 2; fill++) {
		memset(text, fill == 0 ? 'x' : '\n', sizeof(text) - 1);
		log_event(LOG_INFO, "long", "v=%s", text);
		n = capture_next(&capture);
		assert_in_range(n, LOG_LINE_MAX - 8, LOG_LINE_MAX);
		assert_int_equal(capture.text[n - 1], '\n');
		assert_null(memchr(capture.text, '\n', (size_t)n - 1));
		assert_int_equal(capture_next(&capture), -1);
	}
	capture_end(&capture);
}

static void
logging_leaves_errno_alone_even_if_nobody_can_read(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	for (int i = 0; i < 5000; i++) {
		errno = EXDEV;
		log_event(LOG_INFO, "flood", "i=%d", i);
		assert_int_equal(errno, EXDEV);
	}
	capture_end(&capture);
}

static void
the_time_is_what_gmtime_says_on_any_day(void **state)
{
	struct capture capture;
	char wanted[64];
	struct tm tm;

	(void)state;
	capture_begin(&capture);
	/* 1970 to 2370: an odd step, so that all times of day come. */
	for (time_t t = 0; t < 400LL * 365 * 86400; t += 86400 * 3 + 3671) {
		fake_now = (struct timespec){ t, 123456789 };
		log_event(LOG_INFO, "e", "%s", "");
		assert_true(capture_next(&capture) > 0);
		gmtime_r(&t, &tm);
		strftime(wanted, sizeof(wanted),
		    "time=%Y-%m-%dT%H:%M:%S.123456Z ", &tm);
		assert_memory_equal(capture.text, wanted, strlen(wanted));
	}
	fake_now = (struct timespec){ 951868799, 1000 };
	log_event(LOG_INFO, "e", "%s", "");
	assert_true(capture_next(&capture) > 0);
	capture_end(&capture);
	assert_memory_equal(capture.text,
	    "time=2000-02-29T23:59:59.000001Z ", 33);
}

static void
a_value_is_escaped_and_never_cut_inside_an_escape(void **state)
{
	char out[64];
	const char text[] = "a\"\\\n\xff";
	const char whole[] = "a\\\"\\\\\\x0a\\xff";

	(void)state;
	assert_string_equal(log_value(out, sizeof(out), text, 5), whole);
	for (size_t size = 1; size < sizeof(whole); size++) {
		size_t n;

		memset(out, 'Z', sizeof(out));
		log_value(out, size, text, 5);
		n = strlen(out);
		assert_true(n < size);
		assert_memory_equal(out, whole, n);
		assert_true(n == 0 || n == 1 || n == 3 || n == 5 || n == 9);
		assert_int_equal(out[size], 'Z');
	}
}

static void
level_names_are_parsed_and_others_refused(void **state)
{
	enum log_level level;

	(void)state;
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_parse("DEBUG", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(level, LOG_DEBUG);
}

static void
a_repeated_event_is_limited_and_the_swallowed_are_counted(void **state)
{
	struct log_limit limit = { 0 };
	uint64_t now_us = 5000000000;
	uint32_t suppressed = 99;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(log_limit_pass(&limit, 3, 1000, now_us,
		    &suppressed));
		assert_int_equal(suppressed, 0);
	}
	for (int i = 0; i < 7; i++)
		assert_false(log_limit_pass(&limit, 3, 1000, now_us + 999999,
		    &suppressed));
	assert_true(log_limit_pass(&limit, 3, 1000, now_us + 1000000,
	    &suppressed));
	assert_int_equal(suppressed, 7);
	assert_true(log_limit_pass(&limit, 3, 1000, now_us + 1000000,
	    &suppressed));
	assert_int_equal(suppressed, 0);
}

/* Runs fn in a child; its wait status, and what it wrote in capture. */
static int
status_of(void (*fn)(void), struct capture *capture)
{
	static const struct rlimit no_core;
	int status;
	pid_t pid;

	capture_begin(capture);
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		fn();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (capture_next(capture) < 0)
		capture->text[0] = '\0';
	capture_end(capture);
	return status;
}

static void
be_fatal(void)
{
	log_init("child", LOG_ERROR);
	log_fatal("no_directory", "path=%s mend=\"%s\"", "/x", "make it");
}

static void
panic(void)
{
	LOG_ASSERT(2 + 2 == 5);
}

static void
claim_what_holds(void)
{
	LOG_ASSERT(2 + 2 == 4);
}

static void
a_fatal_event_is_logged_and_exits_with_1(void **state)
{
	struct capture capture;
	int status = status_of(be_fatal, &capture);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_non_null(strstr(capture.text, "level=error role=child "
	    "event=no_directory path=/x mend=\"make it\"\n"));
}

static void
a_false_claim_is_logged_and_aborts(void **state)
{
	struct capture capture;
	int status = status_of(panic, &capture);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(capture.text, "event=panic at="));
	assert_non_null(strstr(capture.text, "claim=\"2 + 2 == 5\"\n"));
	assert_int_equal(status_of(claim_what_holds, &capture), 0);
}

static void
errors_go_to_a_second_descriptor_while_one_is_named(void **state)
{
	struct capture also, own;

	(void)state;
	capture_begin(&also);
	log_set_also(dup(2));
	capture_begin(&own);
	log_event(LOG_ERROR, "refused", "why=\"no\"");
	log_event(LOG_WARN, "odd", "a=1");
	assert_true(capture_next(&own) > 0);
	assert_true(capture_next(&own) > 0);
	assert_true(capture_next(&also) > 0);
	assert_non_null(strstr(also.text, "event=refused why=\"no\""));
	assert_int_equal(capture_next(&also), -1);
	log_set_also(-1);
	log_event(LOG_ERROR, "refused", "why=\"no\"");
	assert_int_equal(capture_next(&also), -1);
	capture_end(&own);
	capture_end(&also);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_event_is_one_line_in_one_write,
		    set_up),
		cmocka_unit_test_setup(
		    an_event_below_the_threshold_is_not_written, set_up),
		cmocka_unit_test_setup(
		    outside_bytes_cannot_begin_a_line_or_steer_a_terminal,
		    set_up),
		cmocka_unit_test_setup(
		    a_line_that_is_too_long_is_cut_and_still_one_line, set_up),
		cmocka_unit_test_setup(
		    logging_leaves_errno_alone_even_if_nobody_can_read, set_up),
		cmocka_unit_test_setup(the_time_is_what_gmtime_says_on_any_day,
		    set_up),
		cmocka_unit_test(
		    a_value_is_escaped_and_never_cut_inside_an_escape),
		cmocka_unit_test_setup(
		    a_functions_output_is_written_whatever_the_threshold_is,
		    set_up),
		cmocka_unit_test(level_names_are_parsed_and_others_refused),
		cmocka_unit_test(
		    a_repeated_event_is_limited_and_the_swallowed_are_counted),
		cmocka_unit_test_setup(a_fatal_event_is_logged_and_exits_with_1,
		    set_up),
		cmocka_unit_test_setup(a_false_claim_is_logged_and_aborts,
		    set_up),
		cmocka_unit_test_setup(
		    errors_go_to_a_second_descriptor_while_one_is_named,
		    set_up),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
