#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
