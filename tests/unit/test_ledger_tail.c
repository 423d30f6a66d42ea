/* How a ledger finds the log that another wrote: a torn last line, an earlier
 * run's, a file of somebody else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/ledger.h"
#include "fcgi-host/log.h"
#include "tests/unit/folder.h"

static struct inflight *inflight;
static struct ledger *ledger;

static int
set_up(void **state)
{
	int table = memfd_create("table", MFD_CLOEXEC);

	(void)state;
	log_init("test", LOG_ERROR);
	if (folder_make() != 0 || ftruncate(table, 100000) < 0)
		return -1;
	inflight = inflight_open(table);
	ledger = ledger_new(inflight, 0xabc);
	close(table);
	return ledger == NULL ||
	    ledger_switch(ledger, folder_append("log"), false);
}

static int
tear_down(void **state)
{
	(void)state;
	ledger_free(ledger);
	inflight_close(inflight);
	return folder_remove();
}

static void
on_written(void *arg, int error)
{
	assert_int_equal(error, 0);
	(*(int *)arg)++;
}

static void
write_line(void)
{
	struct record_exec record = { .exit_code = -1 };
	int calls = 0;
	struct ledger_entry entry = { .fn = on_written, .arg = &calls };

	assert_int_equal(ledger_exec(ledger, &record, &entry), 0);
	ledger_flush(ledger);
	assert_int_equal(calls, 1);
}

static struct inflight_log
place_in(int fd, uint64_t from)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	return (struct inflight_log){ .dev = status.st_dev,
		.ino = status.st_ino, .from = from };
}

/* A log that ends in the torn text is mended to end in the whole one.  From
 * `from` on its lines are of the run whose the table is. */
static void
mended_from(uint64_t from, const char *before, const char *after,
    bool is_again, uint64_t next)
{
	int fd = folder_append("next");
	struct inflight_log place = place_in(fd, from);
	size_t n = strlen(before);
	char *text;

	assert_int_equal(write(fd, before, n), n);
	inflight_set_log(inflight, &place);
	assert_int_equal(ledger_switch(ledger, fd, is_again), 0);
	text = folder_text("next", NULL);
	assert_string_equal(text, after);
	free(text);
	assert_int_equal(ledger_seq(ledger) + 1, next);
	assert_int_equal(ledger_switch(ledger, folder_append("log"), false),
	    0);
	unlink(folder_path("next"));
}

static void
mended(const char *before, const char *after, bool is_again, uint64_t next)
{
	mended_from(0, before, after, is_again, next);
}

static void
a_torn_last_line_is_cut_off(void **state)
{
	(void)state;
	mended("{\"v\":1,\"seq\":5}\n{\"v\":1,\"se", "{\"v\":1,\"seq\":5}\n",
	    false, 1);
	mended("{\"v\":1,\"seq\":5}\n", "{\"v\":1,\"seq\":5}\n", false, 1);
	mended("{\"v\":1,\"seq\":5}", "", false, 1);
	mended("", "", true, 1);
}

static void
after_a_gateway_died_the_sequence_goes_on_behind_the_file(void **state)
{
	(void)state;
	inflight_set_batch(inflight, 43, 0, NULL);
	mended("{\"v\":1,\"seq\":41}\n{\"v\":1,\"seq\":42}\n{\"v\":1,\"seq\":43",
	    "{\"v\":1,\"seq\":41}\n{\"v\":1,\"seq\":42}\n", true, 43);
	assert_int_equal(inflight_seq(inflight), 42);
	/* a file that is behind the table does not turn it back */
	mended("{\"v\":1,\"seq\":7}\n", "{\"v\":1,\"seq\":7}\n", true, 43);
}

/* A gateway dies before a first batch of the new run is in the log, which ends
 * with the last line of the old one; whose number may be any. */
static void
an_earlier_runs_last_line_is_not_taken_for_ones_own(void **state)
{
	static const char old[] = "{\"v\":1,\"seq\":1}\n{\"v\":1,\"seq\":2}\n";
	static const char torn[] = "{\"v\":1,\"seq\":1}\n{\"v\":1,\"seq\":2}\n"
	    "{\"v\":1,\"seq\":1";
	static const char own[] = "{\"v\":1,\"seq\":1}\n{\"v\":1,\"seq\":2}\n"
	    "{\"v\":1,\"seq\":1}\n";

	(void)state;
	mended_from(strlen(old), old, old, true, 1);
	assert_int_equal(inflight_seq(inflight), 0);
	inflight_set_batch(inflight, 3, 0, NULL); /* and could not be written */
	mended_from(strlen(old), old, old, true, 1);
	mended_from(strlen(old), torn, old, true, 1);
	mended_from(UINT64_MAX, old, old, true, 1); /* died while it noted */
	assert_int_equal(inflight_seq(inflight), 0);
	mended_from(strlen(old), own, own, true, 2);
	assert_int_equal(inflight_seq(inflight), 1);
	inflight_set_batch(inflight, 2, 0, NULL); /* no line has a later number */
	mended("{\"v\":1,\"seq\":9}\n", "{\"v\":1,\"seq\":9}\n", true, 2);
}

/* As if the gateway had died between the write and the note of it. */
static void
successor_finds(const char *name, uint64_t noted, uint64_t seq)
{
	ledger_free(ledger);
	inflight_set_seq(inflight, noted);
	ledger = ledger_new(inflight, 0xabc);
	assert_non_null(ledger);
	assert_int_equal(ledger_switch(ledger, folder_append(name), true),
	    0);
	assert_int_equal(ledger_seq(ledger), seq);
	assert_int_equal(inflight_seq(inflight), seq);
}

static void
the_place_where_a_runs_lines_begin_goes_with_the_log(void **state)
{
	uint64_t from;

	(void)state;
	write_line(); /* an earlier run's, for what follows */
	assert_int_equal(inflight_log(inflight).from, 0);
	ledger_begin(ledger, 0);
	from = inflight_log(inflight).from;
	assert_int_not_equal(from, 0);
	inflight_set_batch(inflight, 1, 0, NULL); /* and could not be written */
	successor_finds("log", 0, 0);
	write_line();
	successor_finds("log", 0, 1);
	assert_int_equal(inflight_log(inflight).from, from);
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	write_line();
	successor_finds("next", 1, 2);
	/* in a file of before, nothing is of the last batch */
	successor_finds("log", 0, 0);
	assert_true(inflight_log(inflight).from > from);
}

static void
a_foreign_file_is_refused_and_left_as_it_is(void **state)
{
	static const char text[] = "root:x:0:0:root:/root:/bin/bash";
	int fd = folder_append("foreign");
	char *left;

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(ledger_switch(ledger, fd, false), -EBADMSG);
	left = folder_text("foreign", NULL);
	assert_string_equal(left, text);
	free(left);
	unlink(folder_path("foreign"));
}

/* It may begin as a record does, or with nothing: no record is that long. */
static void
what_is_longer_than_a_record_is_foreign_however_it_begins(void **state)
{
	char text[RECORD_LINE_MAX + 1];

	(void)state;
	for (int i = 0; i < 2; i++) {
		int fd = folder_append("foreign");
		struct stat status;

		memset(text, i == 0 ? '0' : '\0', sizeof(text));
		memcpy(text, "{\"v\":", i == 0 ? 5 : 0);
		assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
		assert_int_equal(ledger_switch(ledger, fd, false), -EBADMSG);
		assert_int_equal(stat(folder_path("foreign"), &status), 0);
		assert_int_equal(status.st_size, sizeof(text));
		unlink(folder_path("foreign"));
	}
	write_line();
}

static void
a_torn_line_behind_a_long_log_is_cut_off(void **state)
{
	char *before = calloc(1, 200001), *at = before;

	(void)state;
	for (int i = 1; at - before < 150000; i++)
		at += sprintf(at, "{\"v\":1,\"seq\":%d}\n", i);
	*at = '\0';
	{
		char *after = strdup(before);

		strcpy(at, "{\"v\":1,\"seq\":77");
		mended(before, after, false, 1);
		free(after);
	}
	free(before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_torn_last_line_is_cut_off),
		TEST(after_a_gateway_died_the_sequence_goes_on_behind_the_file),
		TEST(an_earlier_runs_last_line_is_not_taken_for_ones_own),
		TEST(the_place_where_a_runs_lines_begin_goes_with_the_log),
		TEST(a_foreign_file_is_refused_and_left_as_it_is),
		TEST(what_is_longer_than_a_record_is_foreign_however_it_begins),
		TEST(a_torn_line_behind_a_long_log_is_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
