#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/ledger.h"
#include "fcgi-host/log.h"
#include "fcgi-host/record_read.h"
#include "tests/unit/folder.h"

static struct inflight *inflight;
static struct ledger *ledger;
static int calls, last_error;

static void
on_written(void *arg, int error)
{
	(void)arg;
	calls++;
	last_error = error;
}

/* The file holds whole lines only, of seq first to last, none left out. */
static void
whole(const char *name, uint64_t first, uint64_t last)
{
	size_t n;
	char *text = folder_text(name, &n), *line = text;
	uint64_t seq = first;

	assert_int_equal(strlen(text), n); /* no hole was left in it */
	while (*line != '\0') {
		char *end = strchr(line, '\n');

		assert_non_null(end);
		assert_int_equal(record_line_seq(line, (size_t)(end - line)),
		    seq);
		seq++;
		line = end + 1;
	}
	assert_int_equal(seq, last + 1);
	free(text);
}

static int
set_up(void **state)
{
	int table = memfd_create("table", MFD_CLOEXEC);

	(void)state;
	log_init("test", LOG_ERROR);
	calls = last_error = 0;
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

static struct ledger_entry entries[2000];
static size_t entry_count;

static void
add_line(void)
{
	struct record_exec record = { .number = 1, .instance = 1,
		.request_id = "r", .method = "GET", .tenant = "t",
		.function = "f", .version = "v", .trigger = "web",
		.exit_code = -1 };
	struct ledger_entry *entry = &entries[entry_count++ % 2000];

	*entry = (struct ledger_entry){ .fn = on_written };
	assert_int_equal(ledger_exec(ledger, &record, entry), 0);
	assert_int_equal(record.seq, ledger_seq(ledger));
	assert_int_equal(record.run_id, 0xabc);
}

static void
write_line(void)
{
	add_line();
	ledger_flush(ledger);
}

static void
a_line_is_told_written_only_by_the_flush(void **state)
{
	char *text;

	(void)state;
	assert_int_equal(ledger_admit(ledger), 0);
	add_line();
	assert_int_equal(calls, 0);
	text = folder_text("log", NULL);
	assert_string_equal(text, "");
	free(text);
	ledger_flush(ledger);
	assert_int_equal(calls, 1);
	assert_int_equal(last_error, 0);
	assert_int_equal(inflight_seq(inflight), 1);
	whole("log", 1, 1);
}

static void
lines_of_all_kinds_share_one_sequence(void **state)
{
	struct record_instance instance = { .number = 1, .reason = "idle" };
	struct record_host host = { .event = "start" };

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ledger_admit(ledger), 0);
		add_line();
		assert_int_equal(ledger_instance(ledger, &instance), 0);
		assert_int_equal(ledger_host(ledger, &host), 0);
		assert_int_equal(host.executions, i + 1);
		ledger_flush(ledger);
		ledger_flush(ledger);
	}
	assert_int_equal(calls, 10);
	whole("log", 1, 30);
}

/* One of each kind, written; what is charged by then. */
static uint64_t
charge(uint64_t lost_us)
{
	struct record_exec exec = { .cpu_us = 5, .exit_code = -1 };
	struct record_instance instance = { .start_cpu_us = 10,
		.exec_cpu_us = 5, .idle_cpu_us = 20 };
	struct record_host host = { .event = "start", .lost_cpu_us = lost_us };
	struct ledger_entry entry = { .fn = on_written };

	assert_int_equal(ledger_exec(ledger, &exec, &entry), 0);
	assert_int_equal(ledger_instance(ledger, &instance), 0);
	assert_int_equal(ledger_host(ledger, &host), 0);
	ledger_flush(ledger);
	return inflight_charged(inflight);
}

static void
processor_time_is_charged_once_and_to_its_own_run(void **state)
{
	(void)state;
	ledger_begin(ledger, 0);
	assert_int_equal(charge(0), 35);
	assert_int_equal(charge(100), 170);
	/* a successor goes on */
	ledger_free(ledger);
	ledger = ledger_new(inflight, 0xabc);
	assert_int_equal(ledger_switch(ledger, folder_append("log"), true),
	    0);
	assert_int_equal(charge(0), 205);
	/* a new run goes on where the clock does */
	ledger_free(ledger);
	ledger = ledger_new(inflight, 0xabd);
	assert_int_equal(ledger_switch(ledger, folder_append("log"), true),
	    0);
	ledger_begin(ledger, inflight_charged(inflight));
	assert_int_equal(charge(0), 240);
	ledger_begin(ledger, 0); /* it is this run's already */
	assert_int_equal(charge(0), 275);
}

static void
with_sync_the_lines_are_written_too(void **state)
{
	(void)state;
	ledger_set_sync(ledger, true);
	write_line();
	assert_int_equal(calls, 1);
	assert_int_equal(last_error, 0);
	whole("log", 1, 1);
}

static uint64_t
allocated(const char *name)
{
	struct stat status;

	assert_int_equal(stat(folder_path(name), &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

static void
admission_reserves_and_free_gives_the_rest_back(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ledger_admit(ledger), 0);
	assert_true(allocated("log") >= 100 * RECORD_LINE_MAX);
	write_line();
	whole("log", 1, 1);
	assert_true(allocated("log") >= 99 * RECORD_LINE_MAX);
	ledger_free(ledger);
	ledger = NULL;
	assert_true(allocated("log") <= 8192);
	whole("log", 1, 1);
}

static void
a_switch_writes_what_is_pending_to_the_old_file(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ledger_admit(ledger), 0);
	add_line();
	add_line();
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	assert_int_equal(calls, 2);
	whole("log", 1, 2);
	assert_true(allocated("log") <= 8192);
	write_line();
	whole("log", 1, 2);
	whole("next", 3, 3);
}

static void
a_file_that_another_shortened_gets_no_hole(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ledger_admit(ledger), 0);
	write_line();
	assert_int_equal(truncate(folder_path("log"), 0), 0);
	add_line();
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	whole("log", 2, 2);
	write_line();
	whole("next", 3, 3);
}

/* Lines, until somebody has looked, as once a second. */
static bool
line_later(unsigned *lines)
{
	usleep(20000);
	write_line();
	return ++*lines < 1500;
}

static void
in_a_file_that_another_shortened_space_is_reserved_anew(void **state)
{
	unsigned lines = 0;

	(void)state;
	for (int i = 0; i < 2000; i++)
		assert_int_equal(ledger_admit(ledger), 0);
	write_line();
	assert_int_equal(truncate(folder_path("log"), 0), 0);
	while (allocated("log") < 400 * RECORD_LINE_MAX && line_later(&lines))
		continue;
	assert_true(allocated("log") >= 400 * RECORD_LINE_MAX);
	whole("log", 2, ledger_seq(ledger));
}

static void
a_successor_knows_its_lines_in_a_file_that_another_shortened(void **state)
{
	unsigned lines = 0;
	uint64_t seq, from;

	(void)state;
	for (int i = 0; i < 200; i++) /* more than within a second from now */
		write_line();
	ledger_begin(ledger, 0);
	from = inflight_log(inflight).from;
	assert_int_equal(truncate(folder_path("log"), 0), 0);
	while (inflight_log(inflight).from == from && line_later(&lines))
		continue;
	assert_true(inflight_log(inflight).from < from);
	/* who dies between the write and the note of it */
	seq = ledger_seq(ledger);
	inflight_set_seq(inflight, seq - 1);
	ledger_free(ledger);
	ledger = ledger_new(inflight, 0xabc);
	assert_int_equal(ledger_switch(ledger, folder_append("log"), true), 0);
	assert_int_equal(ledger_seq(ledger), seq);
}

static void
a_switch_reserves_in_the_new_file_what_was_admitted(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ledger_admit(ledger), 0);
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	assert_true(allocated("next") >= 100 * RECORD_LINE_MAX);
}

static void
a_switch_to_what_is_no_file_keeps_the_old_one(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(ledger_switch(ledger, fds[1], false) < 0);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1); /* taken all the same */
	close(fds[0]);
	write_line();
	whole("log", 1, 1);
}

static void
file_size_limit(rlim_t most)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = most == 0 ? limit.rlim_max : most;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
a_partial_write_is_cut_off_and_written_again_without_a_gap(void **state)
{
	struct stat status;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(ledger_admit(ledger), 0);
	write_line();
	assert_int_equal(stat(folder_path("log"), &status), 0);
	/* room for one and a half of the next lines */
	file_size_limit((rlim_t)(status.st_size * 5 / 2));
	add_line();
	write_line();
	assert_int_equal(last_error, -EFBIG);
	assert_int_equal(calls, 3);
	assert_true(ledger_is_failing(ledger));
	assert_int_equal(ledger_errors(ledger), 1);
	whole("log", 1, 1);
	assert_int_equal(inflight_seq(inflight), 1);
	assert_int_equal(ledger_admit(ledger), -EFBIG);
	assert_int_equal(ledger_refused(ledger), 1);
	assert_int_equal(ledger_probe(ledger), -EFBIG);
	assert_int_equal(ledger_refused(ledger), 1);
	file_size_limit(0);
	ledger_flush(ledger);
	assert_int_equal(calls, 3); /* each entry is called once */
	assert_false(ledger_is_failing(ledger));
	whole("log", 1, 3);
	write_line();
	assert_int_equal(last_error, 0);
	whole("log", 1, 4);
}

static void
a_partial_write_into_a_file_that_another_shortened_leaves_no_hole(void **state)
{
	struct stat status;

	(void)state;
	write_line();
	assert_int_equal(stat(folder_path("log"), &status), 0);
	assert_int_equal(truncate(folder_path("log"), 0), 0);
	file_size_limit((rlim_t)(status.st_size * 3 / 2));
	add_line();
	write_line();
	assert_int_equal(last_error, -EFBIG);
	file_size_limit(0);
	ledger_flush(ledger);
	whole("log", 2, 3);
}

/* No reserving of space knows of that limit. */
static void
what_would_be_beyond_the_limit_of_a_files_size_is_not_admitted(void **state)
{
	(void)state;
	/* a line, and the two that are kept for records of the host */
	file_size_limit(3 * RECORD_LINE_MAX);
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	assert_int_equal(ledger_admit(ledger), 0);
	assert_int_equal(ledger_admit(ledger), -EFBIG);
	write_line();
	file_size_limit(0);
	assert_int_equal(last_error, 0);
}

/* As with `chattr +a`; here it never can be. */
static void
behind_a_part_that_cannot_be_cut_off_nothing_is_written(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int kept = dup(fd);
	struct stat sound, torn, last;

	(void)state;
	assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
	assert_int_equal(ledger_switch(ledger, fd, false), 0);
	write_line();
	assert_int_equal(fstat(kept, &sound), 0);
	assert_int_equal(fcntl(kept, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	file_size_limit((rlim_t)(sound.st_size * 3 / 2));
	write_line();
	file_size_limit(0);
	assert_int_equal(last_error, -EFBIG);
	assert_int_equal(fstat(kept, &torn), 0);
	assert_true(torn.st_size > sound.st_size);
	write_line();
	assert_int_equal(last_error, -EPERM);
	assert_true(ledger_is_failing(ledger));
	assert_int_equal(ledger_admit(ledger), -EPERM);
	assert_int_equal(fstat(kept, &last), 0);
	assert_int_equal(last.st_size, torn.st_size);
	/* the next file has it all */
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	ledger_flush(ledger);
	assert_int_equal(last_error, -EPERM); /* each is told once */
	assert_false(ledger_is_failing(ledger));
	whole("next", 2, 3);
	assert_int_equal(ledger_admit(ledger), 0);
	close(kept);
}

static void
what_the_old_file_could_not_take_goes_into_the_new_one(void **state)
{
	(void)state;
	write_line();
	file_size_limit(1);
	write_line();
	assert_int_equal(last_error, -EFBIG);
	file_size_limit(0);
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	whole("log", 1, 2); /* there was room again: the old one had it */
	file_size_limit(1);
	write_line();
	assert_int_equal(ledger_switch(ledger, folder_append("log"), false),
	    0);
	file_size_limit(0);
	ledger_flush(ledger);
	whole("log", 1, 3);
	assert_int_equal(calls, 3);
	assert_false(ledger_is_failing(ledger));
}

static void
what_was_refused_stands_in_the_next_host_record(void **state)
{
	struct record_host host = { .event = "refused" };

	(void)state;
	ledger_free(ledger);
	ledger = ledger_new(inflight, 0xabc); /* without a file yet */
	for (int i = 0; i < 3; i++)
		assert_int_equal(ledger_admit(ledger), -EBADF);
	assert_int_equal(ledger_refused(ledger), 3);
	assert_int_equal(ledger_switch(ledger, folder_append("log"), false),
	    0);
	assert_int_equal(ledger_admit(ledger), 0);
	assert_int_equal(ledger_host(ledger, &host), 0);
	assert_int_equal(host.refused_unrecorded, 3);
	assert_int_equal(ledger_refused(ledger), 0);
	assert_int_equal(ledger_host(ledger, &host), 0);
	assert_int_equal(host.refused_unrecorded, 0);
}

/* On a file system of 1 MiB: what is admitted can always be written. */
static void
on_a_full_disk_what_was_admitted_is_written_and_no_more_is_admitted(
    void **state)
{
	int filler, admitted = 0, rc;
	char block[4096] = { 0 };

	(void)state;
	if (unshare(CLONE_NEWNS) != 0) {
		assert_int_equal(errno, EPERM);
		print_message("SKIP: only root may mount a small tmpfs\n");
		skip();
	}
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("none", folder_name(), "tmpfs", 0, "size=1m"),
	    0);
	assert_int_equal(ledger_switch(ledger, folder_append("log"), false),
	    0);
	filler = folder_append("next");
	assert_int_equal(ftruncate(filler, 0), 0);
	for (int i = 0; i < 64; i++)
		assert_int_equal(write(filler, block, sizeof(block)),
		    sizeof(block));
	while ((rc = ledger_admit(ledger)) == 0)
		assert_true(++admitted < 600);
	assert_int_equal(rc, -ENOSPC);
	assert_true(admitted > 200);
	/* the rest of the disk is taken by somebody else */
	while (write(filler, block, sizeof(block)) > 0)
		;
	for (int i = 0; i < admitted; i++) {
		add_line();
		ledger_flush(ledger);
		assert_int_equal(last_error, 0);
	}
	whole("log", 1, (uint64_t)admitted);
	/* short lines left room in the reserve: some more, then none */
	while ((rc = ledger_admit(ledger)) == 0)
		add_line();
	assert_int_equal(rc, -ENOSPC);
	/* an instance that cannot be made for it is no refused execution */
	assert_int_equal(ledger_refused(ledger), 2);
	assert_int_equal(ledger_reserve(ledger), -ENOSPC);
	assert_int_equal(ledger_refused(ledger), 2);
	ledger_flush(ledger);
	assert_int_equal(last_error, 0);
	assert_int_equal(ftruncate(filler, 0), 0);
	assert_int_equal(ledger_admit(ledger), 0);
	close(filler);
	unlink(folder_path("next"));
	ledger_free(ledger);
	ledger = NULL;
	unlink(folder_path("log"));
	assert_int_equal(umount2(folder_name(), MNT_DETACH), 0);
}

static void
a_released_admission_makes_room_for_another(void **state)
{
	(void)state;
	ledger_release(ledger); /* of none: harmless */
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(ledger_admit(ledger), 0);
		ledger_release(ledger);
	}
	assert_true(allocated("log") < 1 << 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_is_told_written_only_by_the_flush),
		TEST(lines_of_all_kinds_share_one_sequence),
		TEST(processor_time_is_charged_once_and_to_its_own_run),
		TEST(with_sync_the_lines_are_written_too),
		TEST(admission_reserves_and_free_gives_the_rest_back),
		TEST(a_switch_writes_what_is_pending_to_the_old_file),
		TEST(a_file_that_another_shortened_gets_no_hole),
		TEST(in_a_file_that_another_shortened_space_is_reserved_anew),
		TEST(a_successor_knows_its_lines_in_a_file_that_another_shortened),
		TEST(a_switch_reserves_in_the_new_file_what_was_admitted),
		TEST(a_switch_to_what_is_no_file_keeps_the_old_one),
		TEST(a_partial_write_is_cut_off_and_written_again_without_a_gap),
		TEST(a_partial_write_into_a_file_that_another_shortened_leaves_no_hole),
		TEST(what_would_be_beyond_the_limit_of_a_files_size_is_not_admitted),
		TEST(behind_a_part_that_cannot_be_cut_off_nothing_is_written),
		TEST(what_the_old_file_could_not_take_goes_into_the_new_one),
		TEST(what_was_refused_stands_in_the_next_host_record),
		TEST(a_released_admission_makes_room_for_another),
		TEST(on_a_full_disk_what_was_admitted_is_written_and_no_more_is_admitted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
