#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/scan_tree.h"

#define NAMES 12
#define ENVS 6
#define ENV "[function]\nenv.x = 1\n"

static struct scan_tree tree;

static int
tear_down(void **state)
{
	(void)state;
	scan_tree_close(&tree);
	return 0;
}

static int
set_up(void **state)
{
	*state = &tree;
	scan_tree_open_bounded(&tree, SCAN_TREE_CONF, false, NAMES, ENVS);
	return 0;
}

/* Functions with names like a00, with an environment or without. */
static void
write_some(const char *tenant, int first, int end, bool has_env)
{
	char path[64];

	for (int i = first; i < end; i++) {
		snprintf(path, sizeof(path), "%s/a%02d.py", tenant, i);
		scan_tree_write(&tree, path, "print()");
		snprintf(path, sizeof(path), "%s/a%02d.ini", tenant, i);
		if (has_env)
			scan_tree_write(&tree, path, ENV);
	}
}

static void
remove_some(const char *tenant, int first, int end)
{
	char path[64];

	for (int i = first; i < end; i++) {
		snprintf(path, sizeof(path), "%s/a%02d.py", tenant, i);
		assert_int_equal(unlink(scan_tree_path(&tree, path)), 0);
		snprintf(path, sizeof(path), "%s/a%02d.ini", tenant, i);
		(void)unlink(scan_tree_path(&tree, path));
	}
}

static size_t
served(const char *tenant)
{
	size_t count = 0;

	for (size_t i = 0; i < tree.count; i++)
		if (strcmp(tree.entries[i].info.tenant, tenant) == 0 &&
		    tree.entries[i].info.problem == CTL_PROBLEM_NONE)
			count++;
	return count;
}

static void
look(void)
{
	assert_int_equal(scan_tree_scan(&tree), 0);
	assert_true(tree.count <= NAMES);
}

static void
one_who_came_first_leaves_room_for_who_comes_later(void **state)
{
	(void)state;
	write_some("alice", 0, 20, false);
	look();
	assert_int_equal(served("alice"), NAMES);
	write_some("zoe", 0, 3, false);
	scan_tree_write(&tree, "top.py", "print()");
	look();
	assert_int_equal(served("zoe"), 3);
	assert_int_equal(served("default"), 1);
	assert_int_equal(served("alice"), NAMES - 4);
}

static void
where_all_want_more_all_have_as_much(void **state)
{
	(void)state;
	write_some("alice", 0, 20, false);
	write_some("bob", 0, 20, false);
	write_some("zoe", 0, 20, false);
	look();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(served("alice"), NAMES / 3);
		assert_int_equal(served("bob"), NAMES / 3);
		assert_int_equal(served("zoe"), NAMES / 3);
		/* and it stays so: nobody is turned round */
		tree.puts = tree.dels = 0;
		look();
		assert_int_equal(tree.puts + tree.dels, 0);
	}
}

static void
environments_are_shared_as_names_are(void **state)
{
	(void)state;
	write_some("alice", 0, 10, true);
	look();
	assert_int_equal(served("alice"), ENVS);
	write_some("zoe", 0, 2, true);
	write_some("zoe", 2, 4, false);
	look();
	assert_int_equal(served("zoe"), 4);
	assert_int_equal(served("alice"), ENVS - 2);
	/* what needs none takes none */
	write_some("bob", 0, 4, false);
	look();
	assert_int_equal(served("bob"), 4);
	assert_int_equal(served("alice"), ENVS - 2);
}

static void
a_function_that_gets_an_environment_for_which_is_no_room_goes(void **state)
{
	(void)state;
	write_some("alice", 0, ENVS, true);
	write_some("alice", 6, 7, false);
	look();
	assert_int_equal(served("alice"), ENVS + 1);
	scan_tree_write(&tree, "alice/a06.ini", ENV);
	look();
	assert_int_equal(served("alice"), ENVS);
	assert_null(scan_tree_find(&tree, "alice/a06"));
	assert_int_equal(unlink(scan_tree_path(&tree, "alice/a06.ini")), 0);
	look();
	assert_int_equal(served("alice"), ENVS + 1);
}

static void
what_gave_way_comes_back_when_there_is_room_again(void **state)
{
	(void)state;
	write_some("alice", 0, 8, true);
	write_some("zoe", 0, 3, true);
	look();
	assert_int_equal(served("alice"), 3);
	assert_int_equal(served("zoe"), 3);
	remove_some("zoe", 0, 2);
	look();
	look();
	assert_int_equal(served("alice"), 5);
	assert_int_equal(served("zoe"), 1);
}

static void
a_tenant_who_leaves_leaves_his_share(void **state)
{
	(void)state;
	write_some("alice", 0, 12, false);
	write_some("zoe", 0, 12, false);
	look();
	assert_int_equal(served("alice"), NAMES / 2);
	remove_some("zoe", 0, 12);
	assert_int_equal(rmdir(scan_tree_path(&tree, "zoe")), 0);
	look();
	look();
	assert_int_equal(served("alice"), NAMES);
}

static bool
write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_done = fd >= 0 &&
	    write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return is_done;
}

/* What one tenant's folders use of the kernel's watches no other has; here so
 * few are there for all, in a user namespace. */
static bool
bound_watches(const char *count)
{
	char uids[32], gids[32];

	snprintf(uids, sizeof(uids), "%u %u 1", geteuid(), geteuid());
	snprintf(gids, sizeof(gids), "%u %u 1", getegid(), getegid());
	return unshare(CLONE_NEWUSER) == 0 &&
	    write_to("/proc/self/uid_map", uids) &&
	    write_to("/proc/self/setgroups", "deny") &&
	    write_to("/proc/self/gid_map", gids) &&
	    write_to("/proc/sys/user/max_inotify_watches", count);
}

/* In a process of its own, which ends with it. */
static void
change_where_nobody_watches(void)
{
	FILE *late;

	if (!bound_watches("4"))
		_exit(77);
	scan_tree_open(&tree, SCAN_TREE_CONF, true);
	for (int i = 0; i < 10; i++) {
		char name[32];

		snprintf(name, sizeof(name), "alice/hog%d/x.py", i);
		scan_tree_write(&tree, name, "print()");
	}
	scan_tree_write(&tree, "bob/sub/a.py", "print()");
	assert_int_equal(scan_tree_scan(&tree), 0);
	assert_true(scan_tree_is_served(&tree, "bob/sub/a"));
	late = fopen(scan_tree_path(&tree, "bob/sub/late.py"), "w");
	assert_non_null(late);
	fputs("print()", late);
	fclose(late);
	assert_true(scan_tree_await(&tree, scan_tree_is_served, "bob/sub/late",
	    30000));
	scan_tree_close(&tree);
	_exit(0);
}

static void
a_change_is_found_where_another_has_taken_all_watches(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		change_where_nobody_watches();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		fprintf(stderr, "SKIPPED: no user namespace to be had\n");
		skip();
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, \
	    tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_who_came_first_leaves_room_for_who_comes_later),
		TEST(where_all_want_more_all_have_as_much),
		TEST(environments_are_shared_as_names_are),
		TEST(a_function_that_gets_an_environment_for_which_is_no_room_goes),
		TEST(what_gave_way_comes_back_when_there_is_room_again),
		TEST(a_tenant_who_leaves_leaves_his_share),
		cmocka_unit_test(
		    a_change_is_found_where_another_has_taken_all_watches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
