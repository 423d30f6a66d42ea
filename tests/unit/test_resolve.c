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
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/resolve.h"
#include "tests/unit/conf_text.h"

static char dir[64];
static int dir_fd;

static int
set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_resolve.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 || mkdirat(dir_fd, "alice", 0755) != 0 ||
	    mkdirat(dir_fd, "alice/shop", 0755) != 0;
}

static int
tear_down(void **state)
{
	char command[96];

	(void)state;
	close(dir_fd);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void
make(const char *path, mode_t mode)
{
	int fd = openat(dir_fd, path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct ctl_function
function_of(const char *name, const char *path, bool is_folder)
{
	struct ctl_function function = { .is_folder = is_folder };

	snprintf(function.name, sizeof(function.name), "%s", name);
	snprintf(function.path, sizeof(function.path), "%s", path);
	return function;
}

static void
a_file_and_a_folder_are_found(void **state)
{
	struct ctl_function one = function_of("alice/a", "alice/a.cgi", false);
	struct ctl_function more = function_of("alice/shop",
	    "alice/shop/main.py", true);
	struct resolve_file file;
	struct stat st;

	(void)state;
	make("alice/a.cgi", 0755);
	make("alice/shop/main.py", 0644);
	assert_int_equal(resolve_find(dir_fd, &one, &file), 0);
	assert_string_equal(file.name, "a.cgi");
	assert_int_equal(fstat(file.fd, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(resolve_check(&file, 700001), geteuid() == 0 ? 0 :
	    -EPERM);
	resolve_free(&file);
	assert_int_equal(resolve_find(dir_fd, &more, &file), 0);
	assert_string_equal(file.name, "main.py");
	assert_int_equal(fstat(file.fd, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_true(S_ISREG(file.file.st_mode));
	resolve_free(&file);
	assert_int_equal(file.fd, -1);
}

static void
no_link_is_followed_wherever_it_stands(void **state)
{
	static const struct {
		const char *name, *path;
		bool is_folder;
	} functions[] = {
		{ "alice/link", "alice/link.cgi", false }, /* out */
		{ "alice/near", "alice/near.cgi", false }, /* inside */
		{ "bob/a", "bob/a.cgi", false },           /* its folder */
		{ "alice/lf", "alice/lf/main.py", true },  /* the folder */
		{ "alice/shop", "alice/shop/main.py", true }, /* the file */
		{ "alice/proc", "alice/proc/main.py", true }, /* magic */
	};
	struct resolve_file file;
	size_t i;

	(void)state;
	make("alice/a.cgi", 0755);
	assert_int_equal(symlinkat("/bin/true", dir_fd, "alice/link.cgi"), 0);
	assert_int_equal(symlinkat("a.cgi", dir_fd, "alice/near.cgi"), 0);
	assert_int_equal(symlinkat("alice", dir_fd, "bob"), 0);
	assert_int_equal(symlinkat("shop", dir_fd, "alice/lf"), 0);
	assert_int_equal(symlinkat("/bin/true", dir_fd, "alice/shop/main.py"),
	    0);
	assert_int_equal(symlinkat("/proc/self/cwd", dir_fd, "alice/proc"), 0);
	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		struct ctl_function function = function_of(functions[i].name,
		    functions[i].path, functions[i].is_folder);

		assert_int_equal(resolve_find(dir_fd, &function, &file),
		    -ELOOP);
	}
}

static void
nothing_leads_out_of_the_directory(void **state)
{
	/* Names like these are refused long before; this is the last wall. */
	static const char *const paths[] = { "../../bin/true", "/bin/true",
		"alice/../../../bin/true" };
	struct resolve_file file;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct ctl_function function = function_of("x", paths[i],
		    false);

		assert_int_equal(resolve_find(dir_fd, &function, &file),
		    -EXDEV);
	}
}

static void
a_file_that_is_not_there_leaves_no_descriptor(void **state)
{
	struct ctl_function one = function_of("alice/a", "alice/a.cgi", false);
	struct ctl_function more = function_of("alice/shop",
	    "alice/shop/main.py", true);
	struct resolve_file file;
	int before = dup(0), after;

	(void)state;
	close(before);
	assert_int_equal(resolve_find(dir_fd, &one, &file), -ENOENT);
	assert_int_equal(resolve_find(dir_fd, &more, &file), -ENOENT);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void
owner_and_mode_are_checked_of_file_and_folder(void **state)
{
	static const struct {
		uid_t file_uid;
		mode_t file_mode;
		uid_t folder_uid;
		mode_t folder_mode;
		int result;
	} cases[] = {
		{ 0, 0755, 0, 0755, 0 },
		{ 700001, 0700, 700001, 0700, 0 },
		{ 700002, 0755, 0, 0755, -EPERM },
		{ 0, 0755, 700002, 0755, -EPERM },
		{ 0, 0775, 0, 0755, -EACCES },
		{ 0, 0757, 0, 0755, -EACCES },
		{ 700001, 0755, 0, 0777, -EACCES },
		{ 700001, 0755, 0, 01777, -EACCES },
	};
	struct ctl_function function = function_of("alice/shop",
	    "alice/shop/main.py", true);
	struct resolve_file file;
	size_t i;

	(void)state;
	if (geteuid() != 0) {
		print_message("NOT RUN: needs root, to give files away\n");
		skip();
	}
	make("alice/shop/main.py", 0644);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(fchownat(dir_fd, "alice/shop/main.py",
		    cases[i].file_uid, 0, 0), 0);
		assert_int_equal(fchmodat(dir_fd, "alice/shop/main.py",
		    cases[i].file_mode, 0), 0);
		assert_int_equal(fchownat(dir_fd, "alice/shop",
		    cases[i].folder_uid, 0, 0), 0);
		assert_int_equal(fchmodat(dir_fd, "alice/shop",
		    cases[i].folder_mode, 0), 0);
		assert_int_equal(resolve_find(dir_fd, &function, &file), 0);
		assert_int_equal(resolve_check(&file, 700001),
		    cases[i].result);
		resolve_free(&file);
	}
}

static void
what_is_no_regular_file_is_refused(void **state)
{
	struct ctl_function pipe_file = function_of("alice/p", "alice/p.cgi",
	    false);
	struct ctl_function folder = function_of("alice/shop", "alice/shop",
	    false);
	struct resolve_file file;

	(void)state;
	assert_int_equal(mkfifoat(dir_fd, "alice/p.cgi", 0755), 0);
	assert_int_equal(resolve_find(dir_fd, &pipe_file, &file), 0);
	assert_int_equal(resolve_check(&file, geteuid()), -EACCES);
	resolve_free(&file);
	assert_int_equal(resolve_find(dir_fd, &folder, &file), 0);
	assert_int_equal(resolve_check(&file, geteuid()), -EACCES);
	resolve_free(&file);
}

static void
binds_are_opened_without_links(void **state)
{
	char file[96], linked[96];
	struct conf_bind binds[] = { { dir, true }, { file, false },
		{ linked, false } };
	struct sandbox_plan plan = { 0 };
	const char *failed = NULL;

	(void)state;
	make("alice/x", 0644);
	assert_int_equal(symlinkat("alice", dir_fd, "to-alice"), 0);
	snprintf(file, sizeof(file), "%s/alice/x", dir);
	snprintf(linked, sizeof(linked), "%s/to-alice/x", dir);
	assert_int_equal(resolve_binds(binds, 2, &plan, &failed), 0);
	assert_int_equal(plan.bind_count, 2);
	assert_string_equal(plan.binds[1].path, file);
	assert_true(plan.binds[0].is_writable);
	assert_false(plan.binds[1].is_writable);
	resolve_binds_close(&plan);
	assert_int_equal(plan.bind_count, 0);
	assert_int_equal(resolve_binds(binds, 3, &plan, &failed), -ELOOP);
	assert_string_equal(failed, linked);
	resolve_binds_close(&plan);
}

static void
the_path_takes_the_place_of_its_mark_or_stands_last(void **state)
{
	struct conf *conf = conf_of(
	    "[runtime a]\nextensions = a\nprotocol = cgi\n"
	    "command = /bin/a -x\n"
	    "[runtime b]\nextensions = b\nprotocol = cgi\n"
	    "command = /bin/b --file=%f -v\n");
	char **argv;

	(void)state;
	argv = resolve_argv(NULL, "hello.cgi", 0);
	assert_string_equal(argv[0], "/fn/hello.cgi");
	assert_null(argv[1]);
	free(argv);
	argv = resolve_argv(conf_runtime_by_name(conf, "a")->command,
	    "main.a", 0);
	assert_string_equal(argv[0], "/bin/a");
	assert_string_equal(argv[1], "-x");
	assert_string_equal(argv[2], "/fn/main.a");
	assert_null(argv[3]);
	free(argv);
	argv = resolve_argv(conf_runtime_by_name(conf, "b")->command,
	    "main.b", 0);
	assert_string_equal(argv[0], "/bin/b");
	assert_string_equal(argv[1], "--file=/fn/main.b");
	assert_string_equal(argv[2], "-v");
	assert_null(argv[3]);
	free(argv);
	conf_unref(conf);
}

static void
the_memory_takes_the_place_of_its_mark_in_whole_mib(void **state)
{
	struct conf *conf = conf_of(
	    "[runtime a]\nextensions = a\nprotocol = cgi\n"
	    "command = /bin/a %m --heap=%mM,%m 100% %x\n"
	    "[runtime b]\nextensions = b\nprotocol = cgi\n"
	    "command = /bin/b %m%f%f\n");
	char **argv;

	(void)state;
	argv = resolve_argv(conf_runtime_by_name(conf, "a")->command, "main.a",
	    UINT64_C(128) << 20);
	assert_string_equal(argv[1], "128");
	assert_string_equal(argv[2], "--heap=128M,128");
	assert_string_equal(argv[3], "100%");
	assert_string_equal(argv[4], "%x");
	assert_string_equal(argv[5], "/fn/main.a");
	assert_null(argv[6]);
	free(argv);
	/* the most that there can be */
	argv = resolve_argv(conf_runtime_by_name(conf, "b")->command, "main.b",
	    UINT64_MAX);
	assert_string_equal(argv[1], "17592186044415/fn/main.b%f");
	assert_null(argv[2]);
	free(argv);
	conf_unref(conf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_and_a_folder_are_found),
		TEST(no_link_is_followed_wherever_it_stands),
		TEST(nothing_leads_out_of_the_directory),
		TEST(a_file_that_is_not_there_leaves_no_descriptor),
		TEST(owner_and_mode_are_checked_of_file_and_folder),
		TEST(what_is_no_regular_file_is_refused),
		TEST(binds_are_opened_without_links),
		TEST(the_path_takes_the_place_of_its_mark_or_stands_last),
		TEST(the_memory_takes_the_place_of_its_mark_in_whole_mib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
