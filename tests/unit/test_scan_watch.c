#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/loop.h"
#include "tests/unit/scan_tree.h"

#define SOON_MS 10000 /* of a moment, on a machine that others use */

static int
set_up(void **state)
{
	struct scan_tree *tree = calloc(1, sizeof(*tree));

	scan_tree_open(tree, SCAN_TREE_CONF, true);
	scan_tree_write(tree, "first.py", "print(1)");
	scan_tree_write(tree, "alice/a.py", "print(1)");
	scan_tree_write(tree, "alice/app/main.py", "print(1)");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 3);
	assert_int_equal(tree->puts, 3);
	*state = tree;
	return 0;
}

static void
expect_soon(struct scan_tree *tree,
    bool (*claim)(struct scan_tree *tree, const char *name), const char *name)
{
	if (!scan_tree_await(tree, claim, name, SOON_MS))
		fail_msg("%s: nothing came of it within %d ms", name, SOON_MS);
}

/* Serves events for a while, and expects no report. */
static void
expect_silence(struct scan_tree *tree, unsigned for_ms)
{
	unsigned before = tree->puts + tree->dels;

	scan_tree_await(tree, scan_tree_never, "", for_ms);
	assert_int_equal(tree->puts + tree->dels, before);
}

static int
open_new(struct scan_tree *tree, const char *path)
{
	int fd = open(scan_tree_path(tree, path), O_WRONLY | O_CREAT |
	    O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	return fd;
}

static void
put_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void
an_idle_directory_asks_for_no_look(void **state)
{
	struct scan_tree *tree = *state;

	expect_silence(tree, 100);
	assert_true(scan_due_us(tree->scan) == UINT64_MAX);
}

static void
a_dropped_file_is_found_at_once(void **state)
{
	struct scan_tree *tree = *state;
	const char *const names[] = { "new", "alice/new", "alice/app2/x" };
	const char *const files[] = { "new.py", "alice/new.py",
		"alice/app2/x.py" };
	uint64_t start_us, least_us = UINT64_MAX;

	scan_tree_mkdir(tree, "alice/app2");
	expect_silence(tree, 150);
	for (size_t i = 0; i < 3; i++) {
		int fd = open_new(tree, files[i]);

		start_us = loop_clock_us();
		put_text(fd, "print(2)");
		close(fd);
		expect_soon(tree, scan_tree_is_served, names[i]);
		if (loop_clock_us() - start_us < least_us)
			least_us = loop_clock_us() - start_us;
		assert_int_equal(scan_tree_find(tree, names[i])->puts, 1);
	}
	assert_true(least_us < 1000000);
}

static void
an_open_file_is_half_written_until_it_is_closed(void **state)
{
	struct scan_tree *tree = *state;
	int fd = open_new(tree, "alice/slow.py");

	expect_soon(tree, scan_tree_is_writing, "alice/slow");
	put_text(fd, "print(");
	scan_tree_await(tree, scan_tree_never, "", 100);
	assert_true(scan_tree_is_writing(tree, "alice/slow"));
	expect_silence(tree, 300);
	put_text(fd, "1)");
	scan_tree_await(tree, scan_tree_never, "", 100);
	assert_true(scan_tree_is_writing(tree, "alice/slow"));
	close(fd);
	expect_soon(tree, scan_tree_is_served, "alice/slow");
}

static void
a_file_rewritten_in_place_is_not_served_meanwhile(void **state)
{
	struct scan_tree *tree = *state;
	int fd = open(scan_tree_path(tree, "first.py"), O_WRONLY | O_CLOEXEC);

	put_text(fd, "print(9)");
	expect_soon(tree, scan_tree_is_writing, "first");
	/* A full look believes the same events. */
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_true(scan_tree_is_writing(tree, "first"));
	close(fd);
	expect_soon(tree, scan_tree_is_served, "first");
}

static void
a_sidecar_being_written_stops_its_function(void **state)
{
	struct scan_tree *tree = *state;
	int fd = open_new(tree, "first.ini");

	put_text(fd, "[function]\n");
	expect_soon(tree, scan_tree_is_writing, "first");
	put_text(fd, "idle = 9s\n");
	close(fd);
	expect_soon(tree, scan_tree_is_served, "first");
	assert_int_equal(scan_tree_find(tree,
	    "first")->info.limits.value[LIMIT_IDLE_MS], 9000);
	assert_int_equal(unlink(scan_tree_path(tree, "first.ini")), 0);
	scan_tree_await(tree, scan_tree_never, "", 100);
	assert_int_equal(scan_tree_find(tree,
	    "first")->info.limits.value[LIMIT_IDLE_MS], 60000);
}

static void
a_file_renamed_over_replaces_without_a_gap(void **state)
{
	struct scan_tree *tree = *state;
	char version[CTL_VERSION_LENGTH + 1];
	int fd = open_new(tree, "alice/.a.new");

	strcpy(version, scan_tree_find(tree, "alice/a")->info.version);
	put_text(fd, "print(2)");
	close(fd);
	assert_int_equal(rename(scan_tree_path(tree, "alice/.a.new"),
	    scan_tree_path(tree, "alice/a.py")), 0);
	scan_tree_await(tree, scan_tree_never, "", 200);
	assert_int_equal(scan_tree_find(tree, "alice/a")->puts, 2);
	assert_int_equal(tree->dels, 0);
	assert_true(scan_tree_is_served(tree, "alice/a"));
	assert_string_not_equal(scan_tree_find(tree,
	    "alice/a")->info.version, version);
}

static void
a_removed_file_is_taken_back(void **state)
{
	struct scan_tree *tree = *state;

	assert_int_equal(unlink(scan_tree_path(tree, "first.py")), 0);
	expect_soon(tree, scan_tree_is_absent, "first");
	assert_int_equal(unlink(scan_tree_path(tree, "alice/app/main.py")), 0);
	expect_soon(tree, scan_tree_is_absent, "alice/app");
	assert_int_equal(tree->dels, 2);
}

static void
a_change_of_mode_is_seen(void **state)
{
	struct scan_tree *tree = *state;

	assert_int_equal(chmod(scan_tree_path(tree, "alice/a.py"), 0666), 0);
	scan_tree_await(tree, scan_tree_never, "", 150);
	assert_int_equal(scan_tree_find(tree, "alice/a")->info.problem,
	    CTL_PROBLEM_MODE);
	assert_int_equal(chmod(scan_tree_path(tree, "alice/a.py"), 0644), 0);
	expect_soon(tree, scan_tree_is_served, "alice/a");
	assert_int_equal(chmod(scan_tree_path(tree, "alice"), 0777), 0);
	expect_soon(tree, scan_tree_is_absent, "alice/a");
	assert_int_equal(scan_tree_find(tree, "alice")->info.problem,
	    CTL_PROBLEM_MODE);
	assert_int_equal(chmod(scan_tree_path(tree, "alice"), 0755), 0);
	expect_soon(tree, scan_tree_is_served, "alice/a");
}

static void
folders_moved_in_and_out_are_followed(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, ".stage/x.py", "print()");
	scan_tree_write(tree, ".stage/y/main.py", "print()");
	assert_int_equal(rename(scan_tree_path(tree, ".stage"),
	    scan_tree_path(tree, "carol")), 0);
	expect_soon(tree, scan_tree_is_served, "carol/x");
	expect_soon(tree, scan_tree_is_served, "carol/y");
	assert_int_equal(rename(scan_tree_path(tree, "carol/y"),
	    scan_tree_path(tree, "alice/z")), 0);
	expect_soon(tree, scan_tree_is_served, "alice/z");
	expect_soon(tree, scan_tree_is_absent, "carol/y");
	/* Still watched in its new place. */
	scan_tree_write(tree, "alice/z/main.py", "print(2)");
	scan_tree_await(tree, scan_tree_never, "", 150);
	assert_true(scan_tree_is_served(tree, "alice/z"));
	assert_int_equal(rename(scan_tree_path(tree, "carol"),
	    scan_tree_path(tree, ".stage")), 0);
	expect_soon(tree, scan_tree_is_absent, "carol/x");
	scan_tree_write(tree, ".stage/x.py", "print(2)");
	expect_silence(tree, 150);
}

static size_t
count_watches(const struct scan_tree *tree)
{
	char path[64], line[256];
	size_t count = 0;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d",
	    scan_watch_fd(tree->watch));
	info = fopen(path, "re");
	assert_non_null(info);
	while (fgets(line, sizeof(line), info) != NULL)
		count += strncmp(line, "inotify ", 8) == 0;
	fclose(info);
	return count;
}

static void
folders_that_leave_take_their_watches_along(void **state)
{
	struct scan_tree *tree = *state;
	size_t before = count_watches(tree);
	char to[64];

	for (int i = 0; i < 10; i++) {
		scan_tree_write(tree, "carol/a/b/x.py", "print()");
		scan_tree_write(tree, "alice/c/d/x.py", "print()");
		expect_soon(tree, scan_tree_is_served, "carol/a/b/x");
		expect_soon(tree, scan_tree_is_served, "alice/c/d/x");
		assert_int_equal(count_watches(tree), before + 5);
		snprintf(to, sizeof(to), ".carol%d", i);
		assert_int_equal(rename(scan_tree_path(tree, "carol"),
		    scan_tree_path(tree, to)), 0);
		snprintf(to, sizeof(to), ".c%d", i);
		assert_int_equal(rename(scan_tree_path(tree, "alice/c"),
		    scan_tree_path(tree, to)), 0);
		expect_soon(tree, scan_tree_is_absent, "carol/a/b/x");
		expect_soon(tree, scan_tree_is_absent, "alice/c/d/x");
		assert_int_equal(count_watches(tree), before);
	}
}

static void
a_folder_becomes_a_function_and_a_shelf_again(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "alice/main.py", "print()");
	expect_soon(tree, scan_tree_is_served, "alice");
	expect_soon(tree, scan_tree_is_absent, "alice/a");
	expect_soon(tree, scan_tree_is_absent, "alice/app");
	assert_string_equal(scan_tree_find(tree, "alice")->info.tenant,
	    "default");
	assert_int_equal(unlink(scan_tree_path(tree, "alice/main.py")), 0);
	expect_soon(tree, scan_tree_is_served, "alice/a");
	expect_soon(tree, scan_tree_is_served, "alice/app");
	expect_soon(tree, scan_tree_is_absent, "alice");
	assert_int_equal(unlink(scan_tree_path(tree, "alice/app/main.py")), 0);
	scan_tree_write(tree, "alice/app/other.py", "print()");
	expect_soon(tree, scan_tree_is_served, "alice/app/other");
}

static void
deeper_files_of_a_function_wake_nobody(void **state)
{
	struct scan_tree *tree = *state;
	int fd;

	scan_tree_write(tree, "alice/app/lib/x.py", "print()");
	scan_tree_await(tree, scan_tree_never, "", 100);
	for (int i = 0; i < 20; i++)
		scan_tree_write(tree, "alice/app/lib/x.py", "print(2)");
	fd = open_new(tree, "alice/app/helper.py");
	put_text(fd, "print(2)");
	close(fd);
	assert_int_equal(scan_take_events(tree->scan), 0);
	assert_true(scan_due_us(tree->scan) == UINT64_MAX);
	expect_silence(tree, 100);
	scan_tree_write(tree, "alice/app/main.py", "print(2)");
	scan_tree_await(tree, scan_tree_never, "", 150);
	assert_int_equal(scan_tree_find(tree, "alice/app")->puts >= 2, 1);
}

static void
a_folder_that_is_being_filled_shows_no_helper(void **state)
{
	struct scan_tree *tree = *state;
	uint64_t start_us = loop_clock_us();
	int fd;

	assert_int_equal(mkdir(scan_tree_path(tree, "alice/copy"), 0755), 0);
	fd = open_new(tree, "alice/copy/helper.py");
	put_text(fd, "print()");
	close(fd);
	scan_tree_await(tree, scan_tree_never, "", 40);
	fd = open_new(tree, "alice/copy/main.py");
	put_text(fd, "print()");
	close(fd);
	/* Too slow a machine proves nothing about a moment's rest. */
	if (loop_clock_us() - start_us > 90000)
		skip();
	while (!scan_tree_is_served(tree, "alice/copy")) {
		assert_null(scan_tree_find(tree, "alice/copy/helper"));
		assert_true(scan_tree_await(tree, scan_tree_is_served,
		    "alice/copy", SOON_MS));
	}
	assert_null(scan_tree_find(tree, "alice/copy/helper"));
	assert_int_equal(tree->dels, 0);
}

static void
a_new_tenants_folder_is_found_with_what_came_with_it(void **state)
{
	struct scan_tree *tree = *state;
	int fd;

	assert_int_equal(mkdir(scan_tree_path(tree, "dave"), 0755), 0);
	fd = open_new(tree, "dave/x.py");
	put_text(fd, "print()");
	close(fd);
	expect_soon(tree, scan_tree_is_served, "dave/x");
	fd = open_new(tree, "dave/y.py");
	put_text(fd, "print()");
	close(fd);
	expect_soon(tree, scan_tree_is_served, "dave/y");
}

static void
an_overflow_of_events_loses_nothing(void **state)
{
	struct scan_tree *tree = *state;
	char from[64], to[64];
	int fd;

	fd = open_new(tree, "alice/late.py");
	put_text(fd, "print()");
	/* More than fs.inotify.max_queued_events has by default. */
	for (int i = 0; i < 20000; i++) {
		snprintf(from, sizeof(from), "alice/.t%d", i);
		snprintf(to, sizeof(to), "alice/.t%d", i + 1);
		if (i == 0)
			close(open_new(tree, from));
		assert_int_equal(rename(scan_tree_path(tree, from),
		    scan_tree_path(tree, to)), 0);
	}
	close(fd);
	assert_int_equal(unlink(scan_tree_path(tree, "first.py")), 0);
	expect_soon(tree, scan_tree_is_absent, "first");
	expect_soon(tree, scan_tree_is_served, "alice/late");
}

static void
a_thousand_rewrites_end_with_the_last_in_few_reports(void **state)
{
	struct scan_tree *tree = *state;
	char text[32];

	for (int i = 0; i < 1000; i++) {
		int fd = open_new(tree, "alice/.next");

		snprintf(text, sizeof(text), "print(%d)", i);
		put_text(fd, text);
		close(fd);
		assert_int_equal(rename(scan_tree_path(tree, "alice/.next"),
		    scan_tree_path(tree, "alice/a.py")), 0);
		if (i % 100 == 99)
			scan_tree_await(tree, scan_tree_never, "", 30);
	}
	scan_tree_await(tree, scan_tree_never, "", 200);
	/* sha256 of "print(999)" */
	assert_string_equal(scan_tree_find(tree, "alice/a")->info.version,
	    "745216c6f30db86a");
	assert_true(scan_tree_find(tree, "alice/a")->puts < 60);
	assert_int_equal(tree->dels, 0);
}

static void
a_tenant_that_rewrites_without_end_does_not_delay_another(void **state)
{
	struct scan_tree *tree = *state;
	int big_fd, fd;
	char name[32];

	big_fd = open_new(tree, "alice/big.py");
	assert_int_equal(ftruncate(big_fd, 48 << 20), 0);
	close(big_fd);
	scan_tree_mkdir(tree, "bob");
	scan_tree_await(tree, scan_tree_never, "", 300);
	for (int i = 0; i < 5; i++) {
		big_fd = open(scan_tree_path(tree, "alice/big.py"),
		    O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(big_fd, &i, sizeof(i), 0), sizeof(i));
		close(big_fd);
		snprintf(name, sizeof(name), "bob/x%d.py", i);
		fd = open_new(tree, name);
		put_text(fd, "print()");
		close(fd);
		*strrchr(name, '.') = '\0';
		expect_soon(tree, scan_tree_is_served, name);
	}
}

static void
a_removed_functions_directory_takes_everything_back(void **state)
{
	struct scan_tree *tree = *state;
	char aside[128];

	snprintf(aside, sizeof(aside), "%s/aside", tree->parent);
	assert_int_equal(rename(tree->root, aside), 0);
	expect_soon(tree, scan_tree_is_absent, "first");
	assert_int_equal(tree->count, 0);
	assert_true(scan_is_gone(tree->scan));
	assert_false(scan_is_back(tree->scan));
	assert_true(scan_due_us(tree->scan) == UINT64_MAX);
	/* Another name is not its return. */
	snprintf(aside, sizeof(aside), "%s/other", tree->parent);
	assert_int_equal(mkdir(aside, 0755), 0);
	assert_int_equal(scan_take_events(tree->scan), 0);
	assert_false(scan_is_back(tree->scan));
	assert_int_equal(mkdir(tree->root, 0755), 0);
	assert_int_equal(scan_take_events(tree->scan), 0);
	assert_true(scan_is_back(tree->scan));
}

static void
a_directory_replaced_while_nobody_looked_is_back_at_once(void **state)
{
	struct scan_tree *tree = *state;
	char aside[128];

	snprintf(aside, sizeof(aside), "%s/aside", tree->parent);
	assert_int_equal(rename(tree->root, aside), 0);
	assert_int_equal(mkdir(tree->root, 0755), 0);
	assert_int_equal(scan_take_events(tree->scan), 0);
	assert_int_equal(tree->count, 0);
	assert_true(scan_is_gone(tree->scan));
	assert_true(scan_is_back(tree->scan));
}

/* The watched directory is held open, as the scanner holds it. */
static void
a_functions_directory_made_again_after_its_removal_is_back(void **state)
{
	struct scan_tree *tree = *state;
	char command[160];

	snprintf(command, sizeof(command), "rm -r %s", tree->root);
	assert_int_equal(system(command), 0);
	expect_soon(tree, scan_tree_is_absent, "first");
	assert_true(scan_is_gone(tree->scan));
	assert_false(scan_is_back(tree->scan));
	assert_int_equal(mkdir(tree->root, 0755), 0);
	assert_int_equal(scan_take_events(tree->scan), 0);
	assert_true(scan_is_back(tree->scan));
}

static void
a_directory_renamed_over_an_empty_one_is_back_at_once(void **state)
{
	struct scan_tree *tree = *state;
	char other[128], command[160];

	snprintf(command, sizeof(command), "rm -r %s/*", tree->root);
	assert_int_equal(system(command), 0);
	snprintf(other, sizeof(other), "%s/other", tree->parent);
	assert_int_equal(mkdir(other, 0755), 0);
	assert_int_equal(rename(other, tree->root), 0);
	assert_int_equal(scan_take_events(tree->scan), 0);
	assert_true(scan_is_gone(tree->scan));
	assert_true(scan_is_back(tree->scan));
}

static void
a_look_at_a_directory_that_is_gone_asks_for_a_new_scanner(void **state)
{
	struct scan_tree *tree = *state;
	char aside[128];

	snprintf(aside, sizeof(aside), "%s/aside", tree->parent);
	assert_int_equal(rename(tree->root, aside), 0);
	assert_int_equal(scan_take_events(tree->scan), 0);
	assert_false(scan_is_back(tree->scan));
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_true(scan_is_back(tree->scan));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, \
	    scan_tree_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_idle_directory_asks_for_no_look),
		TEST(a_dropped_file_is_found_at_once),
		TEST(an_open_file_is_half_written_until_it_is_closed),
		TEST(a_file_rewritten_in_place_is_not_served_meanwhile),
		TEST(a_sidecar_being_written_stops_its_function),
		TEST(a_file_renamed_over_replaces_without_a_gap),
		TEST(a_removed_file_is_taken_back),
		TEST(a_change_of_mode_is_seen),
		TEST(folders_moved_in_and_out_are_followed),
		TEST(folders_that_leave_take_their_watches_along),
		TEST(a_folder_becomes_a_function_and_a_shelf_again),
		TEST(deeper_files_of_a_function_wake_nobody),
		TEST(a_folder_that_is_being_filled_shows_no_helper),
		TEST(a_new_tenants_folder_is_found_with_what_came_with_it),
		TEST(an_overflow_of_events_loses_nothing),
		TEST(a_thousand_rewrites_end_with_the_last_in_few_reports),
		TEST(a_tenant_that_rewrites_without_end_does_not_delay_another),
		TEST(a_removed_functions_directory_takes_everything_back),
		TEST(a_directory_replaced_while_nobody_looked_is_back_at_once),
		TEST(a_functions_directory_made_again_after_its_removal_is_back),
		TEST(a_directory_renamed_over_an_empty_one_is_back_at_once),
		TEST(a_look_at_a_directory_that_is_gone_asks_for_a_new_scanner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
