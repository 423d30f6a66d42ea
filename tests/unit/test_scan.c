#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/catalog.h"
#include "tests/unit/scan_tree.h"

static int
set_up(void **state)
{
	struct scan_tree *tree = calloc(1, sizeof(*tree));

	scan_tree_open(tree, SCAN_TREE_CONF, false);
	*state = tree;
	return 0;
}

static int
tear_down(void **state)
{
	scan_tree_close(*state);
	free(*state);
	return 0;
}

static void
expect_problem(struct scan_tree *tree, const char *name,
    enum ctl_problem problem, const char *words)
{
	const struct scan_tree_entry *entry = scan_tree_find(tree, name);

	if (entry == NULL)
		fail_msg("%s is not reported", name);
	if (entry->info.problem != problem)
		fail_msg("%s has problem %u (%s), not %u", name,
		    entry->info.problem, entry->info.detail, problem);
	if (strstr(entry->info.detail, words) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", name,
		    entry->info.detail, words);
}

static const struct ctl_function *
expect_served(struct scan_tree *tree, const char *name, const char *path,
    const char *tenant, const char *runtime, bool is_fastcgi)
{
	const struct scan_tree_entry *entry = scan_tree_find(tree, name);

	if (entry == NULL || entry->info.problem != CTL_PROBLEM_NONE)
		fail_msg("%s is not served: %s", name,
		    entry == NULL ? "not found" : entry->info.detail);
	assert_string_equal(entry->info.path, path);
	assert_string_equal(entry->info.tenant, tenant);
	assert_string_equal(entry->info.runtime, runtime);
	assert_int_equal(entry->info.is_fastcgi, is_fastcgi);
	return &entry->info;
}

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
	expect_served(tree, "hello", "hello.sh", "default", "sh", false);
	expect_served(tree, "alice/resize", "alice/resize.py", "alice",
	    "python", false);
	expect_served(tree, "alice/a/b/deep", "alice/a/b/deep.php", "alice",
	    "php", true);
	expect_served(tree, "tool", "tool", "default", "", false);
	expect_served(tree, "tool.v2", "tool.v2", "default", "", false);
	expect_served(tree, "one", "one.cgi", "default", "", false);
	expect_served(tree, "two", "two.fcgi", "default", "", true);
	expect_served(tree, "jquery.min", "jquery.min.sh", "default", "sh",
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
	assert_true(expect_served(tree, "app", "app/main.py", "default",
	    "python", false)->is_folder);
	expect_served(tree, "alice/shop", "alice/shop/main", "alice", "",
	    false);
	expect_served(tree, "alice/page", "alice/page/index.php", "alice",
	    "php", true);
	expect_served(tree, "alice/both", "alice/both/main.py", "alice",
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
	expect_served(tree, "alice/app", "alice/app/main.py", "alice",
	    "python", false);
	expect_problem(tree, "alice/ruby", CTL_PROBLEM_TYPE, ".rb");
	expect_problem(tree, "alice/soon", CTL_PROBLEM_SIDECAR, "main");
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
	expect_problem(tree, "a", CTL_PROBLEM_TWICE, "a.py and a.sh");
	expect_problem(tree, "b", CTL_PROBLEM_TWICE, "b and b.py");
	expect_problem(tree, "c", CTL_PROBLEM_TWICE, "c.sh");
	expect_problem(tree, "d", CTL_PROBLEM_TWICE, "main.py and main.sh");
	expect_served(tree, "e", "e.py", "default", "python", false);
	expect_served(tree, "e/f", "e/f.py", "e", "python", false);
}

static void
a_file_that_cannot_run_takes_no_name_from_one_that_can(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_link(tree, "a.py", "a.sh");
	assert_int_equal(mkfifo(scan_tree_path(tree, "a.php"), 0644), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	expect_served(tree, "a", "a.py", "default", "python", false);
	expect_problem(tree, "a.sh", CTL_PROBLEM_LINK, "a.sh");
	expect_problem(tree, "a.php", CTL_PROBLEM_TYPE, "regular");
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
what_has_no_runtime_and_no_x_is_refused_with_both_mends(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.rb", "puts");
	scan_tree_write(tree, "plain", "text");
	scan_tree_write(tree, "b.cgi", "#!/bin/sh");
	assert_int_equal(scan_tree_scan(tree), 0);
	expect_problem(tree, "a.rb", CTL_PROBLEM_TYPE, "chmod a+x a.rb");
	expect_problem(tree, "plain", CTL_PROBLEM_TYPE, "chmod a+x plain");
	expect_problem(tree, "b", CTL_PROBLEM_MODE, "chmod a+x b.cgi");
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
	expect_problem(tree, "self", CTL_PROBLEM_LOOP, "self.py");
	expect_problem(tree, "one", CTL_PROBLEM_LOOP, "itself");
	expect_problem(tree, "two", CTL_PROBLEM_LOOP, "itself");
	expect_problem(tree, "here", CTL_PROBLEM_LOOP, "above");
	expect_problem(tree, "alice/up", CTL_PROBLEM_LOOP, "above");
	expect_problem(tree, "etc", CTL_PROBLEM_LINK_OUT, "out of");
	expect_problem(tree, "out", CTL_PROBLEM_LINK_OUT, "out of");
	expect_problem(tree, "out2", CTL_PROBLEM_LINK_OUT, "out of");
	expect_problem(tree, "magic", CTL_PROBLEM_LINK_OUT, "out of");
	expect_problem(tree, "inside", CTL_PROBLEM_LINK, "file itself");
	expect_problem(tree, "bob", CTL_PROBLEM_LINK, "file itself");
	expect_problem(tree, "broken", CTL_PROBLEM_LINK, "nowhere");
	expect_served(tree, "real", "real.py", "default", "python", false);
}

static void
a_sidecar_that_is_a_link_stops_its_function(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "print()");
	scan_tree_link(tree, "/etc/passwd", "a.ini");
	assert_int_equal(scan_tree_scan(tree), 0);
	expect_problem(tree, "a", CTL_PROBLEM_LINK_OUT, "a.ini");
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
	expect_problem(tree, "a", CTL_PROBLEM_TYPE, "regular");
	expect_problem(tree, "b", CTL_PROBLEM_TYPE, "b.ini");
	expect_problem(tree, "c", CTL_PROBLEM_TYPE, "regular");
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
	expect_problem(tree, "a", CTL_PROBLEM_MODE, "chmod go-w a.py");
	expect_problem(tree, "b", CTL_PROBLEM_MODE, "chmod go-w b.ini");
	expect_problem(tree, "c", CTL_PROBLEM_MODE, "chmod go-w c");
	expect_problem(tree, "d", CTL_PROBLEM_MODE, "chmod o-w d");
	assert_null(scan_tree_find(tree, "d/x"));
	expect_served(tree, "e/x", "e/x.py", "e", "python", false);
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
	expect_served(tree, "alice/a", "alice/a.py", "alice", "python",
	    false);
	expect_problem(tree, "alice/b", CTL_PROBLEM_OWNER,
	    "chown daemon alice/b.py");
	expect_problem(tree, "alice/c", CTL_PROBLEM_MODE,
	    "chmod a+r alice/c.py");
	expect_problem(tree, "bob/a", CTL_PROBLEM_TENANT, "nosuchaccount");
	expect_problem(tree, "top", CTL_PROBLEM_OWNER, "chown root top.py");
}

static void
an_empty_file_is_half_written(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "a.py", "");
	scan_tree_write(tree, "b.py", "print()");
	scan_tree_write(tree, "b.ini", "");
	assert_int_equal(scan_tree_scan(tree), 0);
	expect_problem(tree, "a", CTL_PROBLEM_WRITING, "empty");
	expect_problem(tree, "b", CTL_PROBLEM_WRITING, "b.ini");
}

static void
a_file_changed_just_before_is_served_after_a_moment_of_rest(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "alice/a.py", "print()");
	assert_int_equal(utimensat(AT_FDCWD, scan_tree_path(tree,
	    "alice/a.py"), NULL, 0), 0);
	assert_int_equal(scan_tree_scan(tree), 0);
	expect_served(tree, "alice/a", "alice/a.py", "alice", "python",
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
	expect_served(tree, "a", "a.py", "default", "python", false);
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
	info = expect_served(tree, "alice/a", "alice/a.py", "alice", "python",
	    false);
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
	expect_problem(tree, "alice/a", CTL_PROBLEM_SIDECAR, "alice/a.ini:3");
	expect_problem(tree, "alice/b", CTL_PROBLEM_SIDECAR,
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
	expect_problem(tree, "t/d", CTL_PROBLEM_SIDECAR, "2 sidecars");
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
	expect_problem(tree, "alice/resise", CTL_PROBLEM_SIDECAR,
	    "resise.ini");
	expect_problem(tree, "alice", CTL_PROBLEM_SIDECAR, "alice.ini");
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
	expect_served(tree, "alice/e", "alice/e.py", "alice", "python",
	    false);
	expect_served(tree, "alice/s", "alice/s.py", "alice", "python-old",
	    true);
	expect_served(tree, "alice/f", "alice/f.py", "alice", "php", true);
	expect_served(tree, "alice/n.rb", "alice/n.rb", "alice", "sh", false);
	expect_problem(tree, "alice/w", CTL_PROBLEM_SIDECAR, "ruby");
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
	expect_served(tree, "huge", "huge", "default", "", false);
	strcpy(version, scan_tree_find(tree, "huge")->info.version);
	assert_int_equal(pwrite(fd, "x", 1, 1LL << 39), 1);
	close(fd);
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_string_not_equal(scan_tree_find(tree, "huge")->info.version,
	    version);
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
	expect_problem(tree, "Upper.py", CTL_PROBLEM_NAME, "rename");
	expect_problem(tree, "new\\x0aline.py", CTL_PROBLEM_NAME, "rename");
	expect_problem(tree, "quote\\\".py", CTL_PROBLEM_NAME, "rename");
	expect_problem(tree, "-dash.py", CTL_PROBLEM_NAME, "rename");
	expect_problem(tree, "dot..py", CTL_PROBLEM_NAME, "rename");
	expect_problem(tree, "Folder", CTL_PROBLEM_NAME, "rename");
	expect_problem(tree, name, CTL_PROBLEM_NAME, "rename");
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
	expect_served(tree, "1/2/3/4/5/6/7/ok", "1/2/3/4/5/6/7/ok.py", "1",
	    "python", false);
	expect_served(tree, "1/2/3/4/5/6/7/8", "1/2/3/4/5/6/7/8/main.py", "1",
	    "python", false);
	expect_problem(tree, "1/2/3/4/5/6/7/deep/no.py", CTL_PROBLEM_NAME,
	    "parts");
	expect_problem(tree, "d/d/d/d/d/d/d/d/d", CTL_PROBLEM_NAME, "parts");
}

static void
a_folder_called_default_is_refused(void **state)
{
	struct scan_tree *tree = *state;

	scan_tree_write(tree, "default/a.py", "print()");
	scan_tree_write(tree, "alice/default/a.py", "print()");
	assert_int_equal(scan_tree_scan(tree), 0);
	assert_int_equal(tree->count, 2);
	expect_problem(tree, "default", CTL_PROBLEM_TENANT, "rename");
	expect_served(tree, "alice/default/a", "alice/default/a.py", "alice",
	    "python", false);
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
	expect_problem(tree, "alice/b.sh", CTL_PROBLEM_TYPE, ".sh");
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
	expect_served(tree, "zoe/last", "zoe/last.py", "zoe", "python",
	    false);
	assert_int_equal(tree->count, 10000 + 1 + 1);
	for (size_t i = 0; i < tree->count; i++)
		if (tree->entries[i].info.problem == CTL_PROBLEM_MANY)
			many++;
	assert_int_equal(many, 1);
	expect_problem(tree, "alice/f10000", CTL_PROBLEM_MANY, "1999 more");
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
	expect_served(tree, "bob/fine", "bob/fine.py", "bob", "python", false);
	assert_true(tree->count <= 1000 + 1 + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
		TEST(what_has_no_runtime_and_no_x_is_refused_with_both_mends),
		TEST(every_kind_of_link_is_refused_by_its_kind),
		TEST(a_sidecar_that_is_a_link_stops_its_function),
		TEST(fifos_sockets_and_devices_neither_block_nor_run),
		TEST(what_others_may_write_is_refused_with_the_chmod),
		TEST(a_foreign_owner_is_refused_and_the_tenants_user_is_not),
		TEST(an_empty_file_is_half_written),
		TEST(a_file_changed_just_before_is_served_after_a_moment_of_rest),
		TEST(a_sidecar_sets_numbers_environment_and_params),
		TEST(a_sidecar_above_the_ceiling_is_lowered_with_a_note),
		TEST(an_error_in_a_sidecar_names_file_and_line),
		TEST(a_folder_has_its_sidecar_beside_it_or_in_it_but_once),
		TEST(a_sidecar_without_a_function_is_reported),
		TEST(the_runtime_comes_from_function_sidecar_or_extension),
		TEST(the_version_is_a_hash_of_main_file_and_sidecar),
		TEST(touching_changes_a_folders_version_but_not_a_files),
		TEST(a_huge_file_is_hashed_in_part_and_seen_to_change),
		TEST(bad_names_are_shown_escaped),
		TEST(long_bad_names_that_begin_alike_are_told_apart),
		TEST(folders_end_at_eight_and_a_deep_tree_costs_nothing),
		TEST(a_folder_called_default_is_refused),
		TEST(a_second_look_reports_only_what_changed),
		TEST(new_settings_report_everything_again),
		TEST(too_many_files_of_one_tenant_leave_room_for_the_others),
		TEST(junk_beyond_bounds_is_counted_and_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
