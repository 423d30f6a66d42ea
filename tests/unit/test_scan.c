#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/scan_tree.h"

static void
an_empty_directory_has_no_function(void **state)
{
	struct scan_tree *tree = *state;

	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 0);
}

static void
a_file_is_named_by_its_path_without_a_known_extension(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "hello.sh", "echo");
	scan_tree_write(tree, "alice/resize.py", "print()");
	scan_tree_write(tree, "alice/a/b/deep.php", "<?php");
	scan_tree_program(tree, "tool", "\177ELF");
	scan_tree_program(tree, "tool.v2", "\177ELF");
	scan_tree_program(tree, "one.cgi", "#!/bin/sh");
	scan_tree_program(tree, "two.fcgi", "\177ELF");
	scan_tree_write(tree, "jquery.min.sh", "echo");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 8);
	scan_tree_served(tree, "hello", "hello.sh", "default", "sh", false);
	scan_tree_served(tree, "alice/resize", "alice/resize.py", "alice",
	    "python", false);
	scan_tree_served(tree, "alice/a/b/deep", "alice/a/b/deep.php", "alice",
	    "php", true);
	scan_tree_served(tree, "tool", "tool", "default", "", false);
	scan_tree_served(tree, "tool.v2", "tool.v2", "default", "", false);
	scan_tree_served(tree, "one", "one.cgi", "default", "", false);
	scan_tree_served(tree, "two", "two.fcgi", "default", "", true);
	scan_tree_served(tree, "jquery.min", "jquery.min.sh", "default", "sh",
	    false);
}

static void
a_folder_with_a_main_file_is_one_function(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "app/main.py", "print()");
	scan_tree_write(tree, "app/helper.py", "print()");
	scan_tree_write(tree, "app/lib/other.py", "print()");
	scan_tree_program(tree, "alice/shop/main", "\177ELF");
	scan_tree_write(tree, "alice/shop/lib/main.py", "print()");
	scan_tree_write(tree, "alice/page/index.php", "<?php");
	scan_tree_write(tree, "alice/both/index.php", "<?php");
	scan_tree_write(tree, "alice/both/main.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 4);
	assert_true(scan_tree_served(tree, "app", "app/main.py", "default",
	    "python", false)->is_folder);
	scan_tree_served(tree, "alice/shop", "alice/shop/main", "alice", "",
	    false);
	scan_tree_served(tree, "alice/page", "alice/page/index.php", "alice",
	    "php", true);
	scan_tree_served(tree, "alice/both", "alice/both/main.py", "alice",
	    "python", false);
}

static void
other_files_called_main_do_not_disturb_the_one_that_runs(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "alice/app/main.py", "print()");
	scan_tree_write(tree, "alice/app/main.css", "a {}");
	scan_tree_program(tree, "alice/app/main.css.map", "{}");
	scan_tree_program(tree, "alice/app/main.html", "<p>");
	scan_tree_mkdir(tree, "alice/app/main");
	scan_tree_write(tree, "alice/ruby/main.rb", "puts");
	scan_tree_write(tree, "alice/ruby/helper.py", "print()");
	scan_tree_write(tree, "alice/soon/main.ini", "[function]\n");
	scan_tree_write(tree, "alice/soon/helper.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 3);
	scan_tree_served(tree, "alice/app", "alice/app/main.py", "alice",
	    "python", false);
	scan_tree_refused(tree, "alice/ruby", CTL_PROBLEM_TYPE, ".rb");
	scan_tree_refused(tree, "alice/soon", CTL_PROBLEM_SIDECAR, "main");
}

static void
two_of_one_name_are_both_refused(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_write(tree, "a.sh", "echo");
	scan_tree_program(tree, "b", "\177ELF");
	scan_tree_write(tree, "b.py", "print()");
	scan_tree_write(tree, "c/main.py", "print()");
	scan_tree_write(tree, "c.sh", "echo");
	scan_tree_write(tree, "d/main.py", "print()");
	scan_tree_write(tree, "d/main.sh", "echo");
	scan_tree_write(tree, "e/f.py", "print()");
	scan_tree_write(tree, "e.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 6);
	scan_tree_refused(tree, "a", CTL_PROBLEM_TWICE, "a.py and a.sh");
	scan_tree_refused(tree, "b", CTL_PROBLEM_TWICE, "b and b.py");
	scan_tree_refused(tree, "c", CTL_PROBLEM_TWICE, "c.sh");
	scan_tree_refused(tree, "d", CTL_PROBLEM_TWICE, "main.py and main.sh");
	scan_tree_served(tree, "e", "e.py", "default", "python", false);
	scan_tree_served(tree, "e/f", "e/f.py", "e", "python", false);
}

static void
a_file_that_cannot_run_takes_no_name_from_one_that_can(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_link(tree, "a.py", "a.sh");
	assert_int_equal(mkfifo(scan_tree_path(tree, "a.php"), 0644), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "a", "a.py", "default", "python", false);
	scan_tree_refused(tree, "a.sh", CTL_PROBLEM_LINK, "a.sh");
	scan_tree_refused(tree, "a.php", CTL_PROBLEM_TYPE, "regular");
}

static void
hidden_names_are_neither_served_nor_reported(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, ".hidden.py", "print()");
	scan_tree_write(tree, ".git/hooks/x.py", "print()");
	scan_tree_write(tree, "alice/.a.py.swp", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 0);
}

static void
a_file_changed_just_before_is_served_after_a_moment(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "alice/a.py", "print()");
	assert_int_equal(utimensat(AT_FDCWD, scan_tree_path(tree,
	    "alice/a.py"), NULL, 0), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "alice/a", "alice/a.py", "alice", "python",
	    false);
	assert_int_equal(tree->puts, 1);
}

static void
a_sidecar_sets_numbers_environment_and_params(void **state)
{
	static const char env[] = "FOO=bar\0PATH_TO=/x";
	struct scan_tree *tree = *state;
	const struct scan_tree_entry *entry;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_write(tree, "a.ini", "[function]\nidle = 5s\nmemory = 64M\n"
	    "pass_params = GEO_*\nenv.foo = bar\nenv.path_to = /x\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "a", "a.py", "default", "python", false);
	entry = scan_tree_find(tree, "a");
	assert_int_equal(entry->info.limits.value[LIMIT_IDLE_MS], 5000);
	assert_int_equal(entry->info.limits.value[LIMIT_MEMORY_BYTES],
	    64 << 20);
	assert_string_equal(entry->info.pass_params, "GEO_*");
	assert_int_equal(entry->env_length, sizeof(env));
	assert_memory_equal(entry->env, env, sizeof(env));
	assert_int_equal(entry->info.note, 0);
}

static void
a_sidecar_above_the_ceiling_is_lowered_with_a_note(void **state)
{
	struct scan_tree *tree = *state;
	const struct ctl_function *info;

	scan_tree_set_conf(tree, SCAN_TREE_CONF
	    "[tenant alice]\nmemory = 32M\n");
	scan_tree_write(tree, "alice/a.py", "print()");
	scan_tree_write(tree, "alice/a.ini", "[function]\nmemory = 1G\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	info = scan_tree_served(tree, "alice/a", "alice/a.py", "alice",
	    "python", false);
	assert_int_equal(info->limits.value[LIMIT_MEMORY_BYTES], 32 << 20);
	assert_int_equal(info->note, 1);
	assert_non_null(strstr(info->detail, "memory"));
}

static void
an_error_in_a_sidecar_names_file_and_line(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "alice/a.py", "print()");
	scan_tree_write(tree, "alice/a.ini", "[function]\n\nidle = 5 apples\n");
	scan_tree_write(tree, "alice/b/main.py", "print()");
	scan_tree_write(tree, "alice/b/main.ini", "[function]\nbind = /etc\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_refused(tree, "alice/a", CTL_PROBLEM_SIDECAR,
	    "alice/a.ini:3");
	scan_tree_refused(tree, "alice/b", CTL_PROBLEM_SIDECAR,
	    "alice/b/main.ini:2");
}

static void
a_folder_has_its_sidecar_beside_it_or_in_it_but_once(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "t/a/main.py", "print()");
	scan_tree_write(tree, "t/a.ini", "[function]\nidle = 1s\n");
	scan_tree_write(tree, "t/b/main.py", "print()");
	scan_tree_write(tree, "t/b/main.ini", "[function]\nidle = 2s\n");
	scan_tree_write(tree, "t/c/index.php", "<?php");
	scan_tree_write(tree, "t/c/index.ini", "[function]\nidle = 3s\n");
	scan_tree_write(tree, "t/d/main.py", "print()");
	scan_tree_write(tree, "t/d/main.ini", "[function]\nidle = 4s\n");
	scan_tree_write(tree, "t/d.ini", "[function]\nidle = 5s\n");
	scan_tree_write(tree, "u/main.py", "print()");
	scan_tree_write(tree, "u.ini", "[function]\nidle = 6s\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 5);
	assert_int_equal(scan_tree_find(tree,
	    "t/a")->info.limits.value[LIMIT_IDLE_MS], 1000);
	assert_int_equal(scan_tree_find(tree,
	    "t/b")->info.limits.value[LIMIT_IDLE_MS], 2000);
	assert_int_equal(scan_tree_find(tree,
	    "t/c")->info.limits.value[LIMIT_IDLE_MS], 3000);
	assert_int_equal(scan_tree_find(tree,
	    "u")->info.limits.value[LIMIT_IDLE_MS], 6000);
	scan_tree_refused(tree, "t/d", CTL_PROBLEM_SIDECAR, "2 sidecars");
}

static void
a_sidecar_without_a_function_is_reported(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "alice/resise.ini", "[function]\n");
	scan_tree_write(tree, "alice/resize.py", "print()");
	scan_tree_write(tree, "alice.ini", "[function]\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 3);
	scan_tree_refused(tree, "alice/resise", CTL_PROBLEM_SIDECAR,
	    "resise.ini");
	scan_tree_refused(tree, "alice", CTL_PROBLEM_SIDECAR, "alice.ini");
}

static void
the_runtime_comes_from_function_sidecar_or_extension(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_set_conf(tree, SCAN_TREE_CONF
	    "[runtime python-old]\nextensions = pyo\nprotocol = fastcgi\n"
	    "command = /usr/bin/python2\n"
	    "[function alice/f]\nruntime = php\n");
	scan_tree_write(tree, "alice/e.py", "print()");
	scan_tree_write(tree, "alice/s.py", "print()");
	scan_tree_write(tree, "alice/s.ini",
	    "[function]\nruntime = python-old\n");
	scan_tree_write(tree, "alice/f.py", "print()");
	scan_tree_write(tree, "alice/f.ini",
	    "[function]\nruntime = python-old\n");
	scan_tree_write(tree, "alice/n.rb", "puts");
	scan_tree_write(tree, "alice/n.rb.ini", "[function]\nruntime = sh\n");
	scan_tree_write(tree, "alice/w.py", "print()");
	scan_tree_write(tree, "alice/w.ini", "[function]\nruntime = ruby\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "alice/e", "alice/e.py", "alice", "python",
	    false);
	scan_tree_served(tree, "alice/s", "alice/s.py", "alice", "python-old",
	    true);
	scan_tree_served(tree, "alice/f", "alice/f.py", "alice", "php", true);
	scan_tree_served(tree, "alice/n.rb", "alice/n.rb", "alice", "sh",
	    false);
	scan_tree_refused(tree, "alice/w", CTL_PROBLEM_SIDECAR, "ruby");
}

static void
the_version_is_a_hash_of_main_file_and_sidecar(void **state)
{
	struct scan_tree *tree = *state;
	char first[CTL_VERSION_LENGTH + 1], digest[SHA256_DIGEST_STRING_LENGTH];

	scan_tree_write(tree, "a.py", "print(1)");
	assert_int_equal(scan_tree_scan(tree), 0);
	SHA256Data((const uint8_t *)"print(1)", 8, digest);
	digest[CTL_VERSION_LENGTH] = '\0';
	assert_string_equal(scan_tree_find(tree, "a")->info.version, digest);
	scan_tree_write(tree, "a.ini", "[function]\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	SHA256Data((const uint8_t *)"print(1)[function]\n", 19, digest);
	digest[CTL_VERSION_LENGTH] = '\0';
	assert_string_equal(scan_tree_find(tree, "a")->info.version, digest);
	strcpy(first, digest);
	scan_tree_write(tree, "a.py", "print(2)");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_string_not_equal(scan_tree_find(tree, "a")->info.version,
	    first);
}

static void
touching_changes_a_folders_version_but_not_a_files(void **state)
{
	const struct timespec later[2] = { { .tv_sec = 1100000000 },
		{ .tv_sec = 1100000000 } };
	struct scan_tree *tree = *state;
	char version[CTL_VERSION_LENGTH + 1];

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_write(tree, "b/main.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	strcpy(version, scan_tree_find(tree, "b")->info.version);
	assert_int_equal(utimensat(AT_FDCWD, scan_tree_path(tree, "a.py"),
	    later, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, scan_tree_path(tree,
	    "b/main.py"), later, 0), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(scan_tree_find(tree, "a")->puts, 1);
	assert_int_equal(scan_tree_find(tree, "b")->puts, 2);
	assert_string_not_equal(scan_tree_find(tree, "b")->info.version,
	    version);
}

static void
a_huge_file_is_hashed_in_part_and_seen_to_change(void **state)
{
	struct scan_tree *tree = *state;
	char version[CTL_VERSION_LENGTH + 1];
	int fd;

	scan_tree_program(tree, "huge", "\177ELF");
	fd = open(scan_tree_path(tree, "huge"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 1LL << 40), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_served(tree, "huge", "huge", "default", "", false);
	strcpy(version, scan_tree_find(tree, "huge")->info.version);
	assert_int_equal(pwrite(fd, "x", 1, 1LL << 39), 1);
	close(fd);
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_string_not_equal(scan_tree_find(tree, "huge")->info.version,
	    version);
}

static void
a_second_look_reports_only_what_changed(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_write(tree, "alice/b.py", "print()");
	scan_tree_write(tree, "bob/c.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->puts, 3);
	scan_tree_write(tree, "alice/b.py", "print(2)");
	scan_tree_write(tree, "alice/d.py", "print()");
	assert_int_equal(unlink(scan_tree_path(tree, "bob/c.py")), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->puts, 5);
	assert_int_equal(tree->dels, 1);
	assert_int_equal(scan_tree_find(tree, "alice/b")->puts, 2);
}

static void
new_settings_report_everything_again(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_write(tree, "alice/b.sh", "echo");
	assert_int_equal(scan_tree_scan(tree), 0);
	scan_tree_set_conf(tree, "[runtime python]\nextensions = py\n"
	    "protocol = cgi\ncommand = /usr/bin/python3\n"
	    "[defaults]\nidle = 7s\n");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(scan_tree_find(tree,
	    "a")->info.limits.value[LIMIT_IDLE_MS], 7000);
	assert_null(scan_tree_find(tree, "alice/b"));
	scan_tree_refused(tree, "alice/b.sh", CTL_PROBLEM_TYPE, ".sh");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scan_tree_set_up, \
	    scan_tree_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_directory_has_no_function),
		TEST(a_file_is_named_by_its_path_without_a_known_extension),
		TEST(a_folder_with_a_main_file_is_one_function),
		TEST(other_files_called_main_do_not_disturb_the_one_that_runs),
		TEST(two_of_one_name_are_both_refused),
		TEST(a_file_that_cannot_run_takes_no_name_from_one_that_can),
		TEST(hidden_names_are_neither_served_nor_reported),
		TEST(a_file_changed_just_before_is_served_after_a_moment),
		TEST(a_sidecar_sets_numbers_environment_and_params),
		TEST(a_sidecar_above_the_ceiling_is_lowered_with_a_note),
		TEST(an_error_in_a_sidecar_names_file_and_line),
		TEST(a_folder_has_its_sidecar_beside_it_or_in_it_but_once),
		TEST(a_sidecar_without_a_function_is_reported),
		TEST(the_runtime_comes_from_function_sidecar_or_extension),
		TEST(the_version_is_a_hash_of_main_file_and_sidecar),
		TEST(touching_changes_a_folders_version_but_not_a_files),
		TEST(a_huge_file_is_hashed_in_part_and_seen_to_change),
		TEST(a_second_look_reports_only_what_changed),
		TEST(new_settings_report_everything_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
