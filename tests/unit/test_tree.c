/*
 * The kept part of a tree: it shows what one made for a single start shows, and
 * is made anew as soon as anything is different that it was made of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/box.h"

/* The first start makes no tree, the second makes one, the third has it. */
#define STARTS 3

static struct box_host host;
static char file[128]; /* in the function's folder, on the host */

/* What a shell prints in a sandbox.  The caller frees it. */
static char *
output_with(const char *script, void (*change)(struct sandbox_plan *plan))
{
	char *argv[] = { (char *)"/bin/sh", (char *)"-c",
		(char *)(uintptr_t)script, NULL };
	struct sandbox_plan plan;
	struct box_result result;

	box_plan(&host, &plan, argv);
	if (change != NULL)
		change(&plan);
	assert_int_equal(box_try(&host, &plan, NULL, &result), 0);
	box_plan_release(&plan);
	return strdup(result.output);
}

static void
expect(const char *script, const char *wanted)
{
	char *output = output_with(script, NULL);

	assert_string_equal(output, wanted);
	free(output);
}

static void
without_tree(struct sandbox_plan *plan)
{
	plan->tree = NULL;
}

/* Mounts without the numbers that the kernel gives each anew, and all files but
 * /proc, whose links are all processes of the machine. */
static const char everything[] =
    "cut -d' ' -f5- /proc/self/mountinfo | sort; "
    "ls -lnd /dev/* /etc/* /etc/ssl/* /[a-oq-z]* 2>/dev/null | "
    "sed 's/[A-Z][a-z][a-z] .[0-9] ..:..//'; "
    "cat /etc/passwd /etc/group /etc/hosts; pwd; ls -ln /fn; "
    "stat -fc %T / /dev /tmp /dev/shm /proc";

static void
a_kept_tree_shows_what_a_fresh_one_does(void **state)
{
	char *fresh = output_with(everything, without_tree);

	(void)state;
	assert_non_null(strstr(fresh, "/dev/shm"));
	assert_non_null(strstr(fresh, "/proc ro,"));
	for (int i = 0; i < STARTS; i++)
		expect(everything, fresh);
	free(fresh);
}

static void
as_another(struct sandbox_plan *plan)
{
	plan->uid++;
	plan->hostname = "other";
}

static void
what_the_plan_says_is_in_the_tree(void **state)
{
	static const char script[] = "id -un; grep other /etc/hosts";
	char *output;

	(void)state;
	for (int i = 0; i < STARTS; i++)
		expect(script, "fn\n");
	for (int i = 0; i < STARTS; i++) {
		output = output_with(script, as_another);
		assert_string_equal(output, "fn\n127.0.1.1 other\n");
		free(output);
	}
	expect(script, "fn\n");
}

static void
write_file(const char *path, const char *text)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* The machine's /etc is covered by one of the test's own (see main). */
static void
a_replaced_file_of_etc_is_in_the_next_sandbox(void **state)
{
	static const char script[] = "cat /etc/mime.types 2>&1";

	(void)state;
	write_file("/etc/mime.types", "first\n");
	for (int i = 0; i < STARTS; i++)
		expect(script, "first\n");
	for (int i = 0; i < STARTS; i++) {
		write_file("/etc/new", "second\n");
		assert_int_equal(rename("/etc/new", "/etc/mime.types"), 0);
		expect(script, "second\n");
	}
	write_file("/etc/new", "third\n");
	assert_int_equal(rename("/etc/new", "/etc/mime.types"), 0);
	for (int i = 0; i < STARTS; i++)
		expect(script, "third\n");
	unlink("/etc/mime.types");
	for (int i = 0; i < STARTS; i++)
		expect(script,
		    "cat: /etc/mime.types: No such file or directory\n");
	write_file("/etc/mime.types", "fourth\n");
	for (int i = 0; i < STARTS; i++)
		expect(script, "fourth\n");
}

static void
another_time_zone_is_in_the_next_sandbox(void **state)
{
	static const char script[] = "readlink /etc/localtime";

	(void)state;
	assert_int_equal(symlink("/usr/share/zoneinfo/UTC", "/etc/localtime"),
	    0);
	for (int i = 0; i < STARTS; i++)
		expect(script, "/usr/share/zoneinfo/UTC\n");
	unlink("/etc/localtime");
	assert_int_equal(symlink("/usr/share/zoneinfo/CET", "/etc/localtime"),
	    0);
	expect(script, "/usr/share/zoneinfo/CET\n");
}

static void
a_mount_of_the_host_comes_and_goes_with_the_next_sandbox(void **state)
{
	static const char script[] = "ls /usr/local";
	char *before = output_with(script, NULL);

	(void)state;
	for (int i = 0; i < STARTS; i++)
		expect(script, before);
	assert_int_equal(mount("none", "/usr/local", "tmpfs", 0, NULL), 0);
	write_file("/usr/local/mark", "");
	for (int i = 0; i < STARTS; i++)
		expect(script, "mark\n");
	assert_int_equal(umount("/usr/local"), 0);
	for (int i = 0; i < STARTS; i++)
		expect(script, before);
	free(before);
}

static void
nothing_of_one_sandbox_is_in_another_of_the_same_tree(void **state)
{
	static const char script[] =
	    "for f in / /etc /etc/passwd /dev /dev/null /usr /fn; do "
	    "touch $f/x $f 2>/dev/null && echo $f was changed; done; "
	    "ls -A /tmp /dev/shm; echo x >/tmp/x; echo x >/dev/shm/x";

	(void)state;
	for (int i = 0; i < STARTS; i++)
		expect(script, "/dev/shm:\n\n/tmp:\n");
}

static void
the_function_is_the_one_that_was_given(void **state)
{
	(void)state;
	for (int i = 0; i < STARTS; i++) {
		char text[32];

		snprintf(text, sizeof(text), "version %d\n", i);
		unlink(file);
		write_file(file, text);
		expect("cat /fn/code", text);
	}
	unlink(file);
}

static void
a_tree_given_up_leaves_nothing(void **state)
{
	size_t descriptors;
	struct stat before, after;

	(void)state;
	sandbox_tree_free(host.tree);
	host.tree = NULL;
	descriptors = box_count_entries("/proc/self/fd");
	assert_int_equal(stat("/proc/self/ns/mnt", &before), 0);
	host.tree = sandbox_tree_new();
	for (int i = 0; i < STARTS; i++)
		expect("true", "");
	assert_int_equal(box_count_entries("/proc/self/fd"), descriptors + 1);
	sandbox_tree_free(host.tree);
	host.tree = sandbox_tree_new();
	assert_int_equal(box_count_entries("/proc/self/fd"), descriptors);
	assert_int_equal(stat("/proc/self/ns/mnt", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

/* Before the host's /etc is opened: an own one, which may be changed. */
static void
cover_etc(void)
{
	if (geteuid() != 0)
		return;
	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", "/etc", "tmpfs", 0, "mode=0755") != 0 ||
	    mkdir("/etc/ssl", 0755) != 0 || mkdir("/etc/ssl/certs", 0755) != 0) {
		perror("an /etc of the test's own");
		exit(1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kept_tree_shows_what_a_fresh_one_does),
		cmocka_unit_test(what_the_plan_says_is_in_the_tree),
		cmocka_unit_test(a_replaced_file_of_etc_is_in_the_next_sandbox),
		cmocka_unit_test(another_time_zone_is_in_the_next_sandbox),
		cmocka_unit_test(
		    a_mount_of_the_host_comes_and_goes_with_the_next_sandbox),
		cmocka_unit_test(
		    nothing_of_one_sandbox_is_in_another_of_the_same_tree),
		cmocka_unit_test(the_function_is_the_one_that_was_given),
		cmocka_unit_test(a_tree_given_up_leaves_nothing),
	};
	int setup, failed;

	cover_etc();
	setup = box_setup(&host);
	if (setup != 0)
		return setup;
	snprintf(file, sizeof(file), "%s/code", host.folder);
	failed = cmocka_run_group_tests_name("tree", tests, NULL, NULL);
	box_teardown(&host);
	return failed;
}
