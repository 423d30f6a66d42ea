/* The functions' logs as the gateway writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/logfiles.h"
#include "tests/unit/folder.h"

#define START_US (100ull * 1000000)
#define OPEN_MAX_HERE 3
#define PLENTY (1u << 20)

static struct logfiles *files;
static char asked[LOGFILES_MAX * 16]; /* the names, each with a blank behind it */
static int log_fd = -1, saved_fd = -1;

static void
ask(void *arg, const char *function)
{
	(void)arg;
	assert_true(strlen(asked) + strlen(function) + 2 < sizeof(asked));
	strcat(strcat(asked, function), " ");
}

static int
set_up(void **state)
{
	(void)state;
	log_init("test", LOG_INFO);
	saved_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	if (saved_fd < 0 || log_fd < 0 || dup2(log_fd, 2) < 0)
		return -1;
	asked[0] = '\0';
	files = logfiles_new(OPEN_MAX_HERE, ask, NULL);
	if (files == NULL || folder_make() != 0)
		return -1;
	logfiles_set(files, true, START_US);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	logfiles_free(files);
	dup2(saved_fd, 2);
	close(saved_fd);
	close(log_fd);
	return folder_remove();
}

static void
put(const char *function, const char *line, uint64_t now_us)
{
	logfiles_line(files, function, line, strlen(line), now_us);
}

static void
give(const char *function, uint64_t room)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%s", function);
	if (strchr(name, '/') != NULL)
		*strchr(name, '/') = '+';
	fd = folder_open(name, O_APPEND);
	assert_true(fd >= 0);
	logfiles_give(files, function, fd, room, 0, START_US);
}

static void
assert_written(const char *function, const char *text)
{
	char *found = folder_text(function, NULL);

	assert_string_equal(found, text);
	free(found);
}

static void
assert_asked(const char *names)
{
	assert_string_equal(asked, names);
	asked[0] = '\0';
}

/* How often the host's log has it. */
static size_t
told(const char *what)
{
	off_t n = lseek(log_fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)n + 1);
	size_t count = 0;

	assert_non_null(text);
	assert_int_equal(pread(log_fd, text, (size_t)n, 0), n);
	for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
		count++;
	free(text);
	return count;
}

static size_t
open_count(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 64; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void
a_file_is_asked_for_once_and_gets_what_came_meanwhile(void **state)
{
	(void)state;
	put("f", "one\n", START_US);
	put("f", "two\n", START_US);
	assert_asked("f ");
	(void)logfiles_flush(files, START_US);
	give("f", PLENTY);
	assert_written("f", "one\ntwo\n");
	put("f", "three\n", START_US);
	assert_written("f", "one\ntwo\n"); /* with the turn's other lines */
	(void)logfiles_flush(files, START_US);
	assert_written("f", "one\ntwo\nthree\n");
	assert_asked("");
}

static void
no_line_is_split_between_a_file_and_its_successor(void **state)
{
	(void)state;
	put("f", "first\n", START_US);
	give("f", 12);
	put("f", "second\n", START_US);
	put("f", "third\n", START_US);
	assert_asked("f ");
	(void)logfiles_flush(files, START_US);
	assert_written("f", "first\n"); /* there was room for six more bytes */
	assert_asked("f ");
	give("f", 7);
	assert_written("f", "first\nsecond\n");
	assert_asked("f ");
	give("f", PLENTY);
	assert_written("f", "first\nsecond\nthird\n");
	assert_asked("");
}

static void
as_many_files_are_open_as_may_be(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };
	size_t i, before = open_count();

	(void)state;
	for (i = 0; i < 5; i++) {
		put(names[i], "x\n", START_US);
		give(names[i], PLENTY);
	}
	assert_asked("a b c d e ");
	assert_int_equal(open_count(), before + OPEN_MAX_HERE);
	put("e", "still open\n", START_US);
	assert_asked("");
	put("a", "anew\n", START_US);
	assert_asked("a ");
	give("a", PLENTY);
	(void)logfiles_flush(files, START_US);
	assert_written("a", "x\nanew\n");
	assert_written("e", "x\nstill open\n");
}

static void
the_one_used_longest_ago_gives_way_with_its_lines_written(void **state)
{
	(void)state;
	put("a", "x\n", START_US);
	put("b", "x\n", START_US);
	give("a", PLENTY);
	give("b", PLENTY);
	put("a", "last\n", START_US);
	asked[0] = '\0';
	assert_true(logfiles_give_way(files, START_US)); /* b */
	put("a", "and one\n", START_US);
	assert_asked("");
	put("b", "anew\n", START_US);
	assert_asked("b ");
	assert_true(logfiles_give_way(files, START_US));
	assert_false(logfiles_give_way(files, START_US));
	assert_written("a", "x\nlast\nand one\n");
}

static void
what_waits_is_bounded_and_what_is_too_much_is_counted(void **state)
{
	static char line[4001];
	size_t i, n = 0;
	char *text;

	(void)state;
	memset(line, 'x', 3999);
	line[3999] = '\n';
	for (i = 0; i < 200; i++)
		put("f", line, START_US);
	give("f", PLENTY);
	put("f", "end\n", START_US);
	(void)logfiles_flush(files, START_US);
	text = folder_text("f", &n);
	assert_true(n < LOGFILES_HELD_MAX + 4096);
	assert_non_null(strstr(text, "event=lines_dropped request= function=f "
	    "lines=69\n"));
	assert_non_null(strstr(text, "\nend\n"));
	free(text);
	assert_int_equal(told("event=function_log_again function=f dropped=69"),
	    1);
}

/* The i-th of functions of four tenants, none of whom has his share. */
static const char *
name_of_four(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "%c/f%u", "abcd"[i % 4], i);
	return name;
}

static void
all_that_wait_are_bounded_together(void **state)
{
	static char line[4001];
	size_t sum = 0, n = 0;
	unsigned i;

	(void)state;
	memset(line, 'x', 3999);
	line[3999] = '\n';
	for (i = 0; i < 100; i++)
		for (unsigned j = 0; j < 40; j++)
			put(name_of_four(i), line, START_US);
	for (i = 0; i < 100; i++) {
		char file[32];

		give(name_of_four(i), PLENTY);
		snprintf(file, sizeof(file), "%c+f%u", "abcd"[i % 4], i);
		free(folder_text(file, &n));
		sum += n;
	}
	assert_in_range(sum, LOGFILES_HELD_ALL - 4096,
	    LOGFILES_HELD_ALL + 100 * 128);
	/* and when they have gone there is room again */
	put("late", "x\n", START_US);
	give("late", PLENTY);
	assert_written("late", "x\n");
}

static void
one_that_cannot_be_had_is_told_once_and_tried_again_later(void **state)
{
	uint64_t later_us = START_US + LOGFILES_RETRY_US;

	(void)state;
	put("f", "lost\n", START_US);
	logfiles_give(files, "f", -1, 0, EDQUOT, START_US);
	assert_int_equal(told("event=function_log function=f error=\"Disk quota "
	    "exceeded\" dropped=1 suppressed=0 mend=\"raise "
	    "function_log_total"), 1);
	asked[0] = '\0';
	put("f", "lost too\n", later_us - 1);
	assert_asked("");
	put("f", "kept\n", later_us);
	assert_asked("f ");
	logfiles_give(files, "f", -1, 0, EDQUOT, later_us);
	assert_int_equal(told("event=function_log "), 1);
	put("f", "there\n", later_us + LOGFILES_RETRY_US);
	give("f", PLENTY);
	(void)logfiles_flush(files, later_us);
	assert_int_equal(told("function_log_again function=f dropped=3"), 1);
}

static void
a_line_that_fits_in_part_is_taken_back(void **state)
{
	const struct rlimit small = { 20, RLIM_INFINITY };
	struct rlimit before;
	char *text;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	put("f", "whole line\n", START_US);
	give("f", PLENTY);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	put("f", "x\n", START_US);
	put("f", "not the whole line\n", START_US);
	(void)logfiles_flush(files, START_US);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_written("f", "whole line\nx\n");
	put("f", "next\n", START_US + LOGFILES_RETRY_US);
	give("f", PLENTY);
	text = folder_text("f", NULL);
	assert_non_null(strstr(text, "lines=1\nnext\n"));
	free(text);
}

static void
a_reload_loses_nothing_of_what_waits(void **state)
{
	size_t before = open_count();

	(void)state;
	put("f", "to the file\n", START_US);
	put("g", "to the host\n", START_US);
	logfiles_set(files, false, START_US);
	give("f", PLENTY); /* asked for before */
	logfiles_give(files, "g", -1, 0, EOPNOTSUPP, START_US);
	assert_written("f", "to the file\n");
	assert_int_equal(told("to the host\n"), 1);
	assert_int_equal(open_count(), before);
	assert_false(logfiles_is_on(files));
	assert_false(logfiles_is_on(NULL));
}

static void
an_answer_that_nobody_waits_for_is_closed(void **state)
{
	int fd = folder_open("f", O_APPEND);

	(void)state;
	logfiles_give(files, "f", fd, PLENTY, 0, START_US);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void
what_the_host_says_stands_in_both(void **state)
{
	char *text;

	(void)state;
	logfiles_event(files, "f", START_US, LOG_INFO, "execution",
	    "function=f status=%d", 502);
	logfiles_event(files, "f", START_US, LOG_DEBUG, "execution",
	    "function=f status=%d", 503);
	give("f", PLENTY);
	text = folder_text("f", NULL);
	assert_non_null(strstr(text, "event=execution function=f status=502\n"));
	assert_null(strstr(text, "503"));
	free(text);
	assert_int_equal(told("event=execution function=f status=502\n"), 1);
}

/* Writes to so many functions of a tenant. */
static void
put_many(const char *tenant, unsigned count, uint64_t now_us)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/f%u", tenant, i);
		put(name, "x\n", now_us);
	}
}

static unsigned
asked_count(void)
{
	unsigned count = 0;

	for (const char *at = asked; (at = strchr(at, ' ')) != NULL; at++)
		count++;
	asked[0] = '\0';
	return count;
}

static void
so_many_are_asked_for_in_a_window_and_the_others_in_the_next(void **state)
{
	uint64_t next_us = START_US + LOGFILES_ASKS_US;

	(void)state;
	put_many("alice", LOGFILES_ASKS + 10, START_US);
	assert_int_equal(asked_count(), LOGFILES_ASKS);
	assert_true(logfiles_flush(files, next_us - 1));
	assert_int_equal(asked_count(), 0);
	assert_false(logfiles_flush(files, next_us));
	assert_int_equal(asked_count(), 10);
}

static void
a_tenant_who_writes_to_very_many_leaves_places_for_the_others(void **state)
{
	uint64_t now_us = START_US;
	unsigned count = 0;

	(void)state;
	put("bob/old", "x\n", now_us);
	give("bob/old", PLENTY);
	assert_asked("bob/old ");
	now_us += LOGFILES_ASKS_US;
	put_many("alice", LOGFILES_MAX + 10, now_us);
	while (logfiles_flush(files, now_us)) {
		count += asked_count();
		now_us += LOGFILES_ASKS_US;
	}
	count += asked_count();
	assert_int_equal(count, LOGFILES_MAX / LOGFILES_SHARE);
	put("bob/f", "x\n", now_us + LOGFILES_ASKS_US);
	assert_asked("bob/f ");
	/* where one of hers is open, it gives way to the next */
	logfiles_give(files, "alice/f0", folder_open("f0", O_APPEND), PLENTY,
	    0, now_us);
	put("alice/late", "x\n", now_us + LOGFILES_ASKS_US);
	assert_asked("alice/late ");
	put("bob/old", "x\n", now_us + LOGFILES_ASKS_US);
	assert_asked("");
}

static void
a_tenant_whose_lines_wait_leaves_room_for_the_others(void **state)
{
	static char line[4001];
	char name[32], *text;
	size_t n = 0;

	(void)state;
	memset(line, 'x', 3999);
	line[3999] = '\n';
	for (unsigned i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "alice/f%u", i);
		for (unsigned j = 0; j < 16; j++)
			put(name, line, START_US);
	}
	put("bob/f", line, START_US);
	put("bob/f", line, START_US);
	give("bob/f", PLENTY);
	text = folder_text("bob+f", &n);
	assert_int_equal(n, 8000);
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_asked_for_once_and_gets_what_came_meanwhile),
		TEST(no_line_is_split_between_a_file_and_its_successor),
		TEST(as_many_files_are_open_as_may_be),
		TEST(the_one_used_longest_ago_gives_way_with_its_lines_written),
		TEST(what_waits_is_bounded_and_what_is_too_much_is_counted),
		TEST(all_that_wait_are_bounded_together),
		TEST(one_that_cannot_be_had_is_told_once_and_tried_again_later),
		TEST(a_line_that_fits_in_part_is_taken_back),
		TEST(a_reload_loses_nothing_of_what_waits),
		TEST(an_answer_that_nobody_waits_for_is_closed),
		TEST(what_the_host_says_stands_in_both),
		TEST(so_many_are_asked_for_in_a_window_and_the_others_in_the_next),
		TEST(a_tenant_who_writes_to_very_many_leaves_places_for_the_others),
		TEST(a_tenant_whose_lines_wait_leaves_room_for_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
