/*
 * Images: what is refused and by which words, and that nothing of the host is
 * seen in a sandbox that is made of one, whatever its links say.
 */
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

#include "fcgi-host/sock.h"
#include "sandbox/image.h"
#include "tests/unit/box.h"

static struct box_host host;
static char top[] = "/tmp/box-image.XXXXXX"; /* what stands beside is here */
static char root[64];                        /* the image */

/* A shell script in `top`, with $R the image. */
static void
sh(const char *script)
{
	char text[4096];

	snprintf(text, sizeof(text), "set -eu; umask 022; cd %s; R=%s; %s", top,
	    root, script);
	if (system(text) != 0)
		fail_msg("%s", text);
}

/* Anew, of the host's shell and a few programs with their libraries; merged
 * as Debian's images are, or with folders of their own. */
static void
make_image(const char *flavour)
{
	char script[2048];

	snprintf(script, sizeof(script),
	    "rm -rf $R; mkdir -p $R/etc/ssl/certs $R/usr/share/image; "
	    "case %s in merged) for d in bin sbin lib lib64; do "
	    "mkdir -p $R/usr/$d; ln -s usr/$d $R/$d; done;; "
	    "*) mkdir -p $R/bin $R/lib $R/lib64 $R/usr/bin;; esac; "
	    "for p in dash ls cat id; do f=$(command -v $p); "
	    "cp -L $f $R/bin/$p; for l in $(ldd $f | grep -o '/[^ ]*'); do "
	    "case $l in /lib64/*) cp -L $l $R/lib64/;; *) cp -L $l $R/lib/;; "
	    "esac; done; done; mv $R/bin/dash $R/bin/sh; "
	    "echo of the image >$R/usr/share/image/mark; "
	    "echo of the image >$R/etc/ssl/certs/mark; "
	    "echo of the image >$R/etc/mime.types", flavour);
	sh(script);
}

static void
expect_refused(int error, const char *place, const char *why)
{
	char problem[512] = "", begin[256];
	struct image image;

	assert_int_equal(image_open(&image, root, problem, sizeof(problem)),
	    error);
	snprintf(begin, sizeof(begin), "%s%s: ", root, place);
	if (strncmp(problem, begin, strlen(begin)) != 0 ||
	    strstr(problem, why) == NULL)
		fail_msg("%s%s: %s", root, place, problem);
	assert_int_equal(image.slash_fd, -1);
	assert_int_equal(image.usr_fd, -1);
	assert_int_equal(image.etc_fd, -1);
}

/* What a script says in a sandbox of the image. */
static void
see(const char *script, struct box_result *result)
{
	char *argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)script,
		NULL };
	char problem[512] = "";
	struct sandbox_plan plan;
	struct image image;

	if (image_open(&image, root, problem, sizeof(problem)) != 0)
		fail_msg("%s", problem);
	box_plan(&host, &plan, argv);
	plan.image = &image;
	assert_int_equal(box_try(&host, &plan, NULL, result), 0);
	box_plan_release(&plan);
	image_close(&image);
}

static void
programs_and_files_are_the_images(void **state)
{
	static const char *const flavours[] = { "merged", "apart" };
	static const char script[] =
	    "cat /usr/share/image/mark /etc/ssl/certs/mark /etc/mime.types; "
	    "ls /usr/bin/python3 /usr/bin/perl /etc/shadow /etc/alternatives "
	    "2>/dev/null; "
	    "for d in /usr /usr/share/image /lib /etc /etc/ssl/certs; do "
	    "echo x 2>/dev/null >$d/x && echo $d can be written; done; id -un";
	struct box_result result;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		make_image(flavours[i]);
		see(script, &result);
		assert_string_equal(result.output,
		    "of the image\nof the image\nof the image\nfn\n");
	}
}

static void
what_is_no_image_is_refused_by_name(void **state)
{
	(void)state;
	sh("rm -rf $R");
	expect_refused(-ENOENT, "", "mmdebstrap");
	sh("mkdir $R");
	expect_refused(-ENOENT, "/usr", "a whole system");
	sh("touch $R/usr");
	expect_refused(-ENOTDIR, "/usr", "no folder");
	make_image("merged");
	sh("chmod g+w $R");
	expect_refused(-EPERM, "", "writable by nobody else");
	sh("chmod 755 $R; chown 12345 $R/usr");
	expect_refused(-EPERM, "/usr", "must belong to root");
	sh("chown 0 $R/usr; chmod o+w $R/etc");
	expect_refused(-EPERM, "/etc", "writable by nobody else");
	make_image("apart");
	sh("chmod o+w $R/lib");
	expect_refused(-EPERM, "/lib", "writable by nobody else");
	make_image("merged");
	sh("mv $R real; ln -s real $R");
	expect_refused(-ELOOP, "", "a link is on the way");
	sh("rm $R; rm -rf real");
}

static void
the_hosts_own_tree_is_no_image(void **state)
{
	static const char *const paths[] = { "/", "//" };
	char problem[256];
	struct image image;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(image_open(&image, paths[i], problem,
		    sizeof(problem)), -EINVAL);
		assert_non_null(strstr(problem, "the host's own tree"));
	}
}

static void
no_link_of_an_image_leads_out_of_it(void **state)
{
	static const struct {
		const char *script, *place;
		int error;
	} cases[] = {
		{ "rm -rf $R/usr; ln -s / $R/usr", "/usr", -ELOOP },
		{ "mv $R/usr $R/u; ln -s /usr $R/usr", "/usr", -ELOOP },
		{ "mv $R/usr ./u; ln -s ../u $R/usr", "/usr", -ELOOP },
		{ "rm $R/lib; ln -s ../../../etc $R/lib", "/lib", -ELOOP },
		{ "rm $R/lib; ln -s ../../../../.. $R/lib", "/lib", -ELOOP },
		{ "rm $R/sbin; ln -s /home $R/sbin", "/sbin", -ENOENT },
		{ "rm $R/bin; ln -s usr/../../../bin $R/bin", "/bin", -ELOOP },
		{ "rm $R/bin; ln -s /proc/self/root/bin $R/bin", "/bin",
		    -ENOENT },
		{ "rm -rf $R/etc; ln -s /etc $R/etc", "/etc", -ELOOP },
		{ "rm -rf $R/etc/ssl; ln -s /root $R/etc/ssl", "/etc/ssl/certs",
		    -ELOOP },
		{ "ln -s /etc/alternatives $R/etc/alternatives",
		    "/etc/alternatives", -ELOOP },
		{ "ln -s ../../../../../etc/fonts $R/etc/fonts", "/etc/fonts",
		    -ELOOP },
		{ "ln -s /proc/self/root/etc/ld.so.cache $R/etc/ld.so.cache",
		    "/etc/ld.so.cache", -ELOOP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		make_image("merged");
		sh(cases[i].script);
		expect_refused(cases[i].error, cases[i].place, "link");
		sh("rm -rf u");
	}
}

static void
what_is_neither_file_nor_folder_is_refused(void **state)
{
	static const struct {
		const char *script, *place;
	} cases[] = {
		{ "mkfifo $R/etc/ld.so.cache", "/etc/ld.so.cache" },
		{ "rm $R/etc/mime.types; mknod $R/etc/mime.types c 1 5",
		    "/etc/mime.types" },
		{ "mknod $R/etc/alternatives b 7 0", "/etc/alternatives" },
		{ "rm $R/lib; mkfifo $R/lib", "/lib" },
		{ "rm $R/sbin; touch $R/sbin", "/sbin" },
		{ "rm -r $R/usr; mknod $R/usr c 1 5", "/usr" },
	};
	char problem[512] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct image image;

		make_image("merged");
		sh(cases[i].script);
		assert_true(image_open(&image, root, problem,
		    sizeof(problem)) < 0);
		assert_non_null(strstr(problem, cases[i].place));
	}
}

/* A link inside /usr, or one of /etc that stays in the image, is none of the
 * spawner's: it is resolved where the host is not. */
static void
what_links_name_is_looked_for_in_the_sandbox(void **state)
{
	struct box_result result;

	(void)state;
	make_image("merged");
	sh("echo secret >beside; mkdir $R/root; "
	   "echo of the image >$R/root/mark; rm -r $R/etc/ssl/certs; "
	   "ln -s /root $R/etc/ssl/certs; ln -s ../../usr/share/image "
	   "$R/etc/fonts; ln -s /usr/../../../../../../etc/shadow "
	   "$R/etc/localtime; for n in /etc/passwd /etc/shadow /root "
	   "/proc/1/root/etc/shadow ../../../../../../etc/shadow "
	   "../../../../../beside; do ln -s $n "
	   "$R/usr/share/image/$(echo $n | tr /. __); done");
	see("cd /usr/share/image; for f in *; do cat $f 2>/dev/null; done; "
	    "cat /etc/ssl/certs/mark /etc/fonts/mark; "
	    "cat /etc/localtime 2>/dev/null; ls /root 2>/dev/null", &result);
	assert_null(strstr(result.output, "secret"));
	assert_null(strstr(result.output, "/bin/bash"));
	/* passwd is the sandbox's own, and twice the mark by way of /etc */
	assert_non_null(strstr(result.output, "fn:x:"));
	assert_non_null(strstr(result.output, "of the image\nof the image\n"));
	sh("rm beside");
}

static void
a_setuid_file_and_a_device_in_an_image_are_nothing(void **state)
{
	struct box_result result;

	(void)state;
	make_image("merged");
	sh("cp $R/usr/bin/id $R/usr/bin/sid; chmod 4755 $R/usr/bin/sid; "
	   "mknod -m 666 $R/usr/share/null c 1 3; "
	   "mkfifo -m 666 $R/usr/share/pipe");
	see("sid -un; cat </usr/share/null || echo no device; "
	    "echo x 1<>/usr/share/pipe || echo no pipe", &result);
	assert_non_null(strstr(result.output, "fn\n"));
	assert_null(strstr(result.output, "root"));
	assert_non_null(strstr(result.output, "no device\n"));
	if (sandbox_host_layers(host.host) & LAYER_LANDLOCK)
		assert_non_null(strstr(result.output, "no pipe\n"));
}

static void
a_bind_is_never_hung_up_by_way_of_a_link(void **state)
{
	static const struct {
		const char *path;
		int error;
	} cases[] = { { "/lib/here", -ELOOP }, { "/usr/share/out/box", -ELOOP },
		{ "/usr/share/nothing", -ENOENT } };
	char *argv[] = { (char *)"/bin/sh", (char *)"-c",
		(char *)"cat /usr/share/image/mark", NULL };
	char problem[512], path[128];
	struct box_result result;
	struct image image;

	(void)state;
	make_image("merged");
	sh("mkdir -p $R/lib/here box; echo of the bind >box/mark; "
	   "ln -s $PWD $R/usr/share/out");
	assert_int_equal(image_open(&image, root, problem, sizeof(problem)), 0);
	snprintf(path, sizeof(path), "%s/box", top);
	for (size_t i = 0; i < 4; i++) {
		bool is_good = i == 3;
		CLEANUP_FD int fd = open(path, O_PATH | O_CLOEXEC);
		struct sandbox_plan plan;
		struct box box;

		box_plan(&host, &plan, argv);
		plan.image = &image;
		plan.bind_count = 1;
		plan.binds[0] = (struct sandbox_bind) { fd,
			is_good ? "/usr/share/image" : cases[i].path, false };
		if (is_good) {
			assert_int_equal(box_try(&host, &plan, NULL, &result),
			    0);
			assert_string_equal(result.output, "of the bind\n");
		} else {
			assert_int_equal(box_start(&host, &plan, &box),
			    cases[i].error);
			assert_string_equal(box.child.failed_step,
			    cases[i].path);
		}
		box_plan_release(&plan);
	}
	image_close(&image);
	sh("rm -r box");
}

static void
a_program_is_looked_for_in_the_image_alone(void **state)
{
	char problem[512];
	struct image image;

	(void)state;
	make_image("merged");
	sh("ln -s ls $R/usr/bin/near; ln -s /usr/bin/python3 $R/usr/bin/far; "
	   "ln -s /bin/cat $R/usr/bin/absolute; touch $R/usr/bin/plain; "
	   "mkdir $R/opt; cp $R/bin/ls $R/opt/ls");
	assert_int_equal(image_open(&image, root, problem, sizeof(problem)), 0);
	assert_int_equal(image_find_program(&image, "/bin/sh"), 0);
	assert_int_equal(image_find_program(&image, "/usr/bin/near"), 0);
	assert_int_equal(image_find_program(&image, "/usr/bin/absolute"), 0);
	assert_int_equal(image_find_program(&image, "/usr/bin/python3"),
	    -ENOENT);
	assert_int_equal(image_find_program(&image, "/usr/bin/far"), -ENOENT);
	assert_int_equal(image_find_program(&image, "/usr/bin/plain"),
	    -EACCES);
	assert_int_equal(image_find_program(&image, "/usr/bin"), -EACCES);
	assert_int_equal(image_find_program(&image, "/opt/ls"), -ENOENT);
	image_close(&image);
}

/* A function's sandboxes keep what they have in common from the second on. */
static void
a_kept_tree_is_that_of_its_image(void **state)
{
	static const char script[] = "cat /usr/share/image/mark; ls /etc";
	struct box_result first, result;
	char *argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)script, NULL };
	struct sandbox_plan plan;

	(void)state;
	make_image("merged");
	for (int i = 0; i < 3; i++) {
		see(script, &result);
		if (i == 0)
			first = result;
		assert_string_equal(result.output, first.output);
	}
	assert_non_null(strstr(first.output, "of the image\n"));
	sh("rm $R/etc/mime.types; mkdir $R/etc/php $R/etc/shadow");
	see(script, &result);
	assert_non_null(strstr(result.output, "\nphp\n"));
	assert_null(strstr(result.output, "shadow"));
	assert_null(strstr(result.output, "mime.types"));
	sh("mv $R old; cp -a old $R; echo of another >$R/usr/share/image/mark");
	for (int i = 0; i < 3; i++) {
		see(script, &result);
		assert_non_null(strstr(result.output, "of another\n"));
	}
	sh("rm -r old");
	for (int i = 0; i < 3; i++) {
		box_plan(&host, &plan, argv);
		assert_int_equal(box_try(&host, &plan, NULL, &result), 0);
		box_plan_release(&plan);
		assert_non_null(strstr(result.output, "No such file"));
		assert_null(strstr(result.output, "\nphp\n"));
	}
}

static void
another_directory_at_the_path_is_told_from_the_same(void **state)
{
	struct image before, after;
	char problem[512];

	(void)state;
	make_image("merged");
	assert_int_equal(image_open(&before, root, problem, sizeof(problem)),
	    0);
	assert_int_equal(image_open(&after, root, problem, sizeof(problem)), 0);
	assert_true(image_is_same(&before, &after));
	image_close(&after);
	sh("cp -a $R copy; mv $R old; mv copy $R");
	assert_int_equal(image_open(&after, root, problem, sizeof(problem)), 0);
	assert_false(image_is_same(&before, &after));
	image_close(&after);
	image_close(&before);
	sh("rm -r old");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_and_files_are_the_images),
		cmocka_unit_test(what_is_no_image_is_refused_by_name),
		cmocka_unit_test(the_hosts_own_tree_is_no_image),
		cmocka_unit_test(no_link_of_an_image_leads_out_of_it),
		cmocka_unit_test(what_is_neither_file_nor_folder_is_refused),
		cmocka_unit_test(what_links_name_is_looked_for_in_the_sandbox),
		cmocka_unit_test(
		    a_setuid_file_and_a_device_in_an_image_are_nothing),
		cmocka_unit_test(a_bind_is_never_hung_up_by_way_of_a_link),
		cmocka_unit_test(a_program_is_looked_for_in_the_image_alone),
		cmocka_unit_test(a_kept_tree_is_that_of_its_image),
		cmocka_unit_test(
		    another_directory_at_the_path_is_told_from_the_same),
	};
	char command[64];
	int setup = box_setup(&host);
	int failed;

	if (setup != 0)
		return setup;
	if (mkdtemp(top) == NULL || chmod(top, 0755) != 0)
		exit(1);
	snprintf(root, sizeof(root), "%s/image", top);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	if (system(command) != 0)
		fprintf(stderr, "%s is left\n", top);
	box_teardown(&host);
	return failed;
}
