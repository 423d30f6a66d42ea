#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/scan_tree.h"

static void
what_has_no_runtime_and_no_x_is_refused_with_both_mends(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.rb", "puts");
	scan_tree_write(tree, "plain", "text");
	scan_tree_write(tree, "b.cgi", "#!/bin/sh");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_refused(tree, "a.rb", CTL_PROBLEM_TYPE, "chmod a+x a.rb");
	scan_tree_refused(tree, "plain", CTL_PROBLEM_TYPE, "chmod a+x plain");
	scan_tree_refused(tree, "b", CTL_PROBLEM_MODE, "chmod a+x b.cgi");
}

static void
every_kind_of_link_is_refused_by_its_kind(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "real.py", "print()");
	scan_tree_write(tree, "alice/real.py", "print()");
	scan_tree_link(tree, "self.py", "self.py");
	scan_tree_link(tree, "two.py", "one.py");
	scan_tree_link(tree, "one.py", "two.py");
	scan_tree_link(tree, ".", "here");
	scan_tree_link(tree, "..", "alice/up");
	scan_tree_link(tree, "/etc/passwd", "etc.py");
	scan_tree_link(tree, "../outside.py", "out.py");
	scan_tree_link(tree, "alice/../../outside", "out2");
	scan_tree_link(tree, "real.py", "inside.py");
	scan_tree_link(tree, "alice", "bob");
	scan_tree_link(tree, "nothing", "broken.py");
	scan_tree_link(tree, "/proc/self/root/etc/passwd", "magic.py");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_refused(tree, "self", CTL_PROBLEM_LOOP, "self.py");
	scan_tree_refused(tree, "one", CTL_PROBLEM_LOOP, "itself");
	scan_tree_refused(tree, "two", CTL_PROBLEM_LOOP, "itself");
	scan_tree_refused(tree, "here", CTL_PROBLEM_LOOP, "above");
	scan_tree_refused(tree, "alice/up", CTL_PROBLEM_LOOP, "above");
	scan_tree_refused(tree, "etc", CTL_PROBLEM_LINK_OUT, "out of");
	scan_tree_refused(tree, "out", CTL_PROBLEM_LINK_OUT, "out of");
	scan_tree_refused(tree, "out2", CTL_PROBLEM_LINK_OUT, "out of");
	scan_tree_refused(tree, "magic", CTL_PROBLEM_LINK_OUT, "out of");
	scan_tree_refused(tree, "inside", CTL_PROBLEM_LINK, "file itself");
	scan_tree_refused(tree, "bob", CTL_PROBLEM_LINK, "file itself");
	scan_tree_refused(tree, "broken", CTL_PROBLEM_LINK, "nowhere");
	scan_tree_served(tree, "real", "real.py", "default", "python", false);
}

static void
a_sidecar_that_is_a_link_stops_its_function(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_link(tree, "/etc/passwd", "a.ini");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_refused(tree, "a", CTL_PROBLEM_LINK_OUT, "a.ini");
}

static void
fifos_sockets_and_devices_neither_block_nor_run(void **state)
{
	struct scan_tree *tree = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(mkfifo(scan_tree_path(tree, "a.py"), 0644), 0);
	scan_tree_write(tree, "b.py", "print()");
	assert_int_equal(mkfifo(scan_tree_path(tree, "b.ini"), 0644), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/c.py",
	    tree->root);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_refused(tree, "a", CTL_PROBLEM_TYPE, "regular");
	scan_tree_refused(tree, "b", CTL_PROBLEM_TYPE, "b.ini");
	scan_tree_refused(tree, "c", CTL_PROBLEM_TYPE, "regular");
}

static void
what_others_may_write_is_refused_with_the_chmod(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_write(tree, "b.py", "print()");
	scan_tree_write(tree, "b.ini", "[function]\nidle = 1s\n");
	scan_tree_write(tree, "c/main.py", "print()");
	scan_tree_write(tree, "d/x.py", "print()");
	scan_tree_write(tree, "e/x.py", "print()");
	assert_int_equal(chmod(scan_tree_path(tree, "a.py"), 0664), 0);
	assert_int_equal(chmod(scan_tree_path(tree, "b.ini"), 0646), 0);
	assert_int_equal(chmod(scan_tree_path(tree, "c"), 0775), 0);
	assert_int_equal(chmod(scan_tree_path(tree, "d"), 0777), 0);
	assert_int_equal(chmod(scan_tree_path(tree, "e"), 0775), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_refused(tree, "a", CTL_PROBLEM_MODE, "chmod go-w a.py");
	scan_tree_refused(tree, "b", CTL_PROBLEM_MODE, "chmod go-w b.ini");
	scan_tree_refused(tree, "c", CTL_PROBLEM_MODE, "chmod go-w c");
	scan_tree_refused(tree, "d", CTL_PROBLEM_MODE, "chmod o-w d");
	assert_null(scan_tree_find(tree, "d/x"));
	scan_tree_served(tree, "e/x", "e/x.py", "e", "python", false);
}

static void
a_foreign_owner_is_refused_and_the_tenants_user_is_not(void **state)
{
	struct scan_tree *tree = *state;

	if (getuid() != 0)
		skip();
	scan_tree_set_conf(tree, SCAN_TREE_CONF
	    "[tenant alice]\nuser = daemon\n"
	    "[tenant bob]\nuser = nosuchaccount\n");
	scan_tree_write(tree, "alice/a.py", "print()");
	scan_tree_write(tree, "alice/b.py", "print()");
	scan_tree_write(tree, "alice/c.py", "print()");
	scan_tree_write(tree, "bob/a.py", "print()");
	scan_tree_write(tree, "top.py", "print()");
	assert_int_equal(chown(scan_tree_path(tree, "alice/a.py"), 1, 1), 0);
	assert_int_equal(chmod(scan_tree_path(tree, "alice/a.py"), 0600), 0);
	assert_int_equal(chown(scan_tree_path(tree, "alice/b.py"), 2, 2), 0);
	assert_int_equal(chmod(scan_tree_path(tree, "alice/c.py"), 0600), 0);
	assert_int_equal(chown(scan_tree_path(tree, "top.py"), 1, 1), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "alice/a", "alice/a.py", "alice", "python",
	    false);
	scan_tree_refused(tree, "alice/b", CTL_PROBLEM_OWNER,
	    "chown daemon alice/b.py");
	scan_tree_refused(tree, "alice/c", CTL_PROBLEM_MODE,
	    "chmod a+r alice/c.py");
	scan_tree_refused(tree, "bob/a", CTL_PROBLEM_TENANT, "nosuchaccount");
	scan_tree_refused(tree, "top", CTL_PROBLEM_OWNER, "chown root top.py");
}

static void
an_empty_file_is_half_written(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "");
	scan_tree_write(tree, "b.py", "print()");
	scan_tree_write(tree, "b.ini", "");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_refused(tree, "a", CTL_PROBLEM_WRITING, "empty");
	scan_tree_refused(tree, "b", CTL_PROBLEM_WRITING, "b.ini");
}

static void
bad_names_are_shown_escaped(void **state)
{
	struct scan_tree *tree = *state;
	char name[256], wide[256];

	scan_tree_write(tree, "Upper.py", "print()");
	scan_tree_write(tree, "new\nline.py", "print()");
	scan_tree_write(tree, "quote\".py", "print()");
	scan_tree_write(tree, "-dash.py", "print()");
	scan_tree_write(tree, "dot..py", "print()");
	scan_tree_write(tree, "Folder/x.py", "print()");
	memset(name, 'n', 64);
	strcpy(name + 64, ".py");
	scan_tree_write(tree, name, "print()");
	for (size_t i = 0; i + 2 < sizeof(wide); i += 2)
		memcpy(wide + i, "\xc3\xa4", 3);
	scan_tree_write(tree, wide, "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 8);
	scan_tree_refused(tree, "Upper.py", CTL_PROBLEM_NAME, "rename");
	scan_tree_refused(tree, "new\\x0aline.py", CTL_PROBLEM_NAME, "rename");
	scan_tree_refused(tree, "quote\\\".py", CTL_PROBLEM_NAME, "rename");
	scan_tree_refused(tree, "-dash.py", CTL_PROBLEM_NAME, "rename");
	scan_tree_refused(tree, "dot..py", CTL_PROBLEM_NAME, "rename");
	scan_tree_refused(tree, "Folder", CTL_PROBLEM_NAME, "rename");
	scan_tree_refused(tree, name, CTL_PROBLEM_NAME, "rename");
}

static void
long_bad_names_that_begin_alike_are_told_apart(void **state)
{
	struct scan_tree *tree = *state;
	char name[256];

	memset(name, 'A', 254);
	name[255] = '\0';
	name[254] = '1';
	scan_tree_write(tree, name, "print()");
	name[254] = '2';
	scan_tree_write(tree, name, "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 2);
}

static void
folders_end_at_eight_and_a_deep_tree_costs_nothing(void **state)
{
	struct scan_tree *tree = *state;
	int fd, below;

	scan_tree_write(tree, "1/2/3/4/5/6/7/ok.py", "print()");
	scan_tree_write(tree, "1/2/3/4/5/6/7/8/main.py", "print()");
	scan_tree_write(tree, "1/2/3/4/5/6/7/deep/no.py", "print()");
	fd = open(tree->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		below = openat(fd, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(below >= 0);
		close(fd);
		fd = below;
	}
	close(fd);
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 4);
	scan_tree_served(tree, "1/2/3/4/5/6/7/ok", "1/2/3/4/5/6/7/ok.py", "1",
	    "python", false);
	scan_tree_served(tree, "1/2/3/4/5/6/7/8", "1/2/3/4/5/6/7/8/main.py",
	    "1", "python", false);
	scan_tree_refused(tree, "1/2/3/4/5/6/7/deep/no.py", CTL_PROBLEM_NAME,
	    "parts");
	scan_tree_refused(tree, "d/d/d/d/d/d/d/d/d", CTL_PROBLEM_NAME, "parts");
}

static void
a_folder_called_default_is_refused(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "default/a.py", "print()");
	scan_tree_write(tree, "alice/default/a.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 2);
	scan_tree_refused(tree, "default", CTL_PROBLEM_TENANT, "rename");
	scan_tree_served(tree, "alice/default/a", "alice/default/a.py", "alice",
	    "python", false);
}

static void
too_many_files_of_one_tenant_leave_room_for_the_others(void **state)
{
	struct scan_tree *tree = *state;
	char name[64];
	size_t many = 0;

	scan_tree_write(tree, "alice/f00000.py", "print()");
	for (int i = 1; i < 12000; i++) {
		snprintf(name, sizeof(name), "alice/f%05d.py", i);
		assert_int_equal(link(scan_tree_path(tree, "alice/f00000.py"),
		    scan_tree_path(tree, name)), 0);
	}
	scan_tree_write(tree, "zoe/last.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "zoe/last", "zoe/last.py", "zoe", "python",
	    false);
	assert_int_equal(tree->count, 10000 + 1 + 1);
	for (size_t i = 0; i < tree->count; i++)
		if (tree->entries[i].info.problem == CTL_PROBLEM_MANY)
			many++;
	assert_int_equal(many, 1);
	scan_tree_refused(tree, "alice/f10000", CTL_PROBLEM_MANY, "1999 more");
}

static void
junk_beyond_bounds_is_counted_and_not_shown(void **state)
{
	struct scan_tree *tree = *state;
	char name[64];

	scan_tree_write(tree, "alice/J00000", "junk");
	for (int i = 1; i < 34000; i++) {
		snprintf(name, sizeof(name), "alice/J%05d", i);
		assert_int_equal(link(scan_tree_path(tree, "alice/J00000"),
		    scan_tree_path(tree, name)), 0);
	}
	scan_tree_write(tree, "bob/fine.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "bob/fine", "bob/fine.py", "bob", "python",
	    false);
	assert_true(tree->count <= 1000 + 1 + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scan_tree_set_up, \
	    scan_tree_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_has_no_runtime_and_no_x_is_refused_with_both_mends),
		TEST(every_kind_of_link_is_refused_by_its_kind),
		TEST(a_sidecar_that_is_a_link_stops_its_function),
		TEST(fifos_sockets_and_devices_neither_block_nor_run),
		TEST(what_others_may_write_is_refused_with_the_chmod),
		TEST(a_foreign_owner_is_refused_and_the_tenants_user_is_not),
		TEST(an_empty_file_is_half_written),
		TEST(bad_names_are_shown_escaped),
		TEST(long_bad_names_that_begin_alike_are_told_apart),
		TEST(folders_end_at_eight_and_a_deep_tree_costs_nothing),
		TEST(a_folder_called_default_is_refused),
		TEST(too_many_files_of_one_tenant_leave_room_for_the_others),
		TEST(junk_beyond_bounds_is_counted_and_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
