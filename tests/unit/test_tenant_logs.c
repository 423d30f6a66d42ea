/* The functions' logs as the spawner opens and rotates them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/tenant_logs.h"
#include "tests/unit/conf_text.h"
#include "tests/unit/folder.h"

#define NEED_ROOT() \
	do { \
		if (geteuid() != 0) { \
			print_message("NOT RUN: needs root, whose files it " \
			    "makes\n"); \
			skip(); \
		} \
	} while (0)
#define ALICE 1234
#define NOW_US UINT64_C(5000000)

static struct tenant_logs *logs;
static struct conf *conf;
static const char *gone; /* a function that is no more */

static bool
is_known(void *arg, const char *function)
{
	(void)arg;
	return gone == NULL || strcmp(function, gone) != 0;
}

static void
set_conf(const char *more)
{
	char text[512];

	conf_unref(conf);
	snprintf(text, sizeof(text), "[host]\nfunction_logs = %s/logs\n%s",
	    folder_name(), more);
	conf = conf_of(text);
}

static int
set_up(void **state)
{
	(void)state;
	conf = NULL;
	gone = NULL;
	logs = tenant_logs_new();
	if (logs == NULL || folder_make() != 0)
		return -1;
	set_conf("function_log_size = 64K\nfunction_log_keep = 2\n"
	    "function_log_total = 1M\n");
	return 0;
}

static int
tear_down(void **state)
{
	char command[128];

	(void)state;
	tenant_logs_free(logs);
	conf_unref(conf);
	snprintf(command, sizeof(command), "rm -rf %s/logs", folder_name());
	return system(command) != 0 || folder_remove() != 0 ? -1 : 0;
}

static int
ask_at(const char *function, uint32_t *room, uint64_t now_us)
{
	char tenant[CTL_NAME_MAX + 1];
	struct tenant_logs_want want = { .conf = conf, .function = function,
		.tenant = tenant, .has_group = true, .gid = ALICE,
		.now_us = now_us, .is_known = is_known };

	conf_tenant_of(function, tenant);
	return tenant_logs_open(logs, &want, room);
}

static int
ask(const char *function, uint32_t *room)
{
	return ask_at(function, room, NOW_US);
}

/* As a gateway: all that there is room for. */
static uint32_t
fill(const char *function)
{
	static const char text[64] = "a line of sixty-four bytes, which the "
	    "room is a multiple of  \n";
	uint32_t room = 0, n;
	int fd = ask(function, &room);

	if (fd < 0)
		return 0;
	for (n = 0; n + sizeof(text) <= room; n += sizeof(text))
		assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	close(fd);
	return n;
}

static const char *
path_of(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/logs/%s", folder_name(), name);
	return path;
}

static off_t
size_of(const char *name)
{
	struct stat st;

	return stat(path_of(name), &st) == 0 ? st.st_size : -1;
}

static void
assert_mode(const char *name, gid_t gid, mode_t mode)
{
	struct stat st;

	assert_int_equal(stat(path_of(name), &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, gid);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void
folders_and_files_are_roots_and_the_tenant_may_read_them(void **state)
{
	uint32_t room = 0;
	int fd;

	(void)state;
	NEED_ROOT();
	fd = ask("alice/deep/er", &room);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_APPEND | O_ACCMODE),
	    O_APPEND | O_WRONLY);
	close(fd);
	assert_mode("alice", ALICE, 0750);
	assert_mode("alice/deep+er.log", ALICE, 0640);
	fd = ask("top", &room);
	close(fd);
	assert_mode("default/top.log", ALICE, 0640);
}

static void
a_group_that_is_not_the_tenants_alone_loses_its_right(void **state)
{
	struct tenant_logs_want want = { .conf = conf, .function = "alice/f",
		.tenant = "alice", .now_us = NOW_US, .is_known = is_known };
	uint32_t room = 0;

	(void)state;
	NEED_ROOT();
	assert_int_not_equal(fill("alice/f"), 0);
	close(tenant_logs_open(logs, &want, &room));
	assert_mode("alice", 0, 0700);
	assert_mode("alice/f.log", 0, 0600);
}

static void
a_full_file_is_rotated_and_so_many_are_kept(void **state)
{
	int i;

	(void)state;
	NEED_ROOT();
	for (i = 0; i < 8; i++)
		assert_int_not_equal(fill("alice/f"), 0);
	assert_in_range(size_of("alice/f.log"), 1, 64 << 10);
	assert_in_range(size_of("alice/f.log.1"), 60 << 10, 64 << 10);
	assert_in_range(size_of("alice/f.log.2"), 60 << 10, 64 << 10);
	assert_int_equal(size_of("alice/f.log.3"), -1);
	set_conf("function_log_size = 64K\nfunction_log_keep = 0\n");
	assert_int_not_equal(fill("alice/f"), 0);
	assert_int_equal(size_of("alice/f.log.1"), -1);
	assert_int_equal(size_of("alice/f.log.2"), -1);
}

static void
a_rotation_that_was_cut_off_goes_on_with_what_is_there(void **state)
{
	char to[PATH_MAX];

	(void)state;
	NEED_ROOT();
	set_conf("function_log_size = 64K\nfunction_log_keep = 4\n");
	assert_int_not_equal(fill("alice/f"), 0);
	assert_int_not_equal(fill("alice/f"), 0);
	/* as if killed behind the first rename, and behind the last */
	snprintf(to, sizeof(to), "%s", path_of("alice/f.log.3"));
	assert_int_equal(rename(path_of("alice/f.log.1"), to), 0);
	snprintf(to, sizeof(to), "%s", path_of("alice/f.log.1"));
	assert_int_equal(rename(path_of("alice/f.log"), to), 0);
	assert_int_not_equal(fill("alice/f"), 0);
	assert_int_not_equal(fill("alice/f"), 0);
	assert_int_not_equal(size_of("alice/f.log"), -1);
	assert_int_not_equal(size_of("alice/f.log.1"), -1);
	assert_int_not_equal(size_of("alice/f.log.2"), -1);
	assert_int_equal(size_of("alice/f.log.3"), -1); /* the hole moves on */
	assert_int_not_equal(size_of("alice/f.log.4"), -1);
}

static void
what_is_not_full_is_appended_to_step_by_step(void **state)
{
	uint32_t room = 0;
	int fd;

	(void)state;
	NEED_ROOT();
	set_conf("function_log_size = 1M\n");
	assert_int_equal(fill("alice/f"), TENANT_LOGS_STEP);
	fd = ask("alice/f", &room);
	close(fd);
	assert_int_equal(room, TENANT_LOGS_STEP);
	/* less than a line is no room */
	assert_int_equal(truncate(path_of("alice/f.log"),
	    2 * TENANT_LOGS_STEP - 100), 0);
	fd = ask("alice/f", &room);
	close(fd);
	assert_int_equal(room, TENANT_LOGS_STEP + 100);
}

static void
at_the_tenants_ceiling_the_oldest_that_nobody_writes_to_go(void **state)
{
	const struct timespec times[2] = { { 1000, 0 }, { 1000, 0 } };
	int i;

	(void)state;
	NEED_ROOT();
	set_conf("function_log_size = 64K\nfunction_log_keep = 99\n"
	    "function_log_total = 1M\n");
	gone = "alice/gone";
	assert_int_equal(fill("alice/gone"), 0); /* it is not made for it */
	gone = NULL;
	assert_int_not_equal(fill("alice/gone"), 0);
	gone = "alice/gone";
	assert_int_not_equal(fill("alice/quiet"), 0);
	assert_int_equal(utimensat(AT_FDCWD, path_of("alice/quiet.log"), times,
	    0), 0);
	assert_int_equal(utimensat(AT_FDCWD, path_of("alice/gone.log"), times,
	    0), 0);
	for (i = 0; i < 13; i++)
		assert_int_not_equal(fill("alice/loud"), 0);
	assert_int_not_equal(size_of("alice/gone.log"), -1);
	for (i = 0; i < 5; i++)
		assert_int_not_equal(fill("alice/loud"), 0);
	assert_int_equal(size_of("alice/gone.log"), -1);
	assert_int_not_equal(size_of("alice/quiet.log"), -1);
	assert_int_equal(size_of("alice/loud.log.16"), -1);
	/* another tenant has his own */
	assert_int_not_equal(fill("bob/f"), 0);
}

static void
where_nothing_can_go_it_is_refused_until_there_is_room(void **state)
{
	char name[32];
	uint32_t room = 0;
	int i, count, fd;

	(void)state;
	NEED_ROOT();
	for (count = 0; count < 20; count++) {
		snprintf(name, sizeof(name), "alice/f%d", count);
		if (fill(name) == 0)
			break;
	}
	assert_in_range(count, 7, 16);
	assert_int_equal(ask_at("alice/f0", &room, NOW_US), -EDQUOT);
	for (i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "alice/f%d.log", i);
		assert_int_equal(unlink(path_of(name)), 0);
	}
	/* it is looked at again a second later */
	assert_int_equal(ask_at("alice/f0", &room, NOW_US), -EDQUOT);
	fd = ask_at("alice/f0", &room, NOW_US + TENANT_LOGS_REST_US);
	assert_true(fd >= 0);
	close(fd);
	fd = ask_at("bob/f", &room, NOW_US);
	assert_true(fd >= 0);
	close(fd);
}

static void
what_was_granted_is_in_the_sum_though_nobody_remembers(void **state)
{
	uint32_t room = 0;
	char name[32];
	int i, fd, granted = 0;

	(void)state;
	NEED_ROOT();
	for (i = 0; i < 40; i++) {
		/* as after a death, each time */
		tenant_logs_free(logs);
		logs = tenant_logs_new();
		snprintf(name, sizeof(name), "alice/f%d", i);
		fd = ask(name, &room);
		if (fd >= 0)
			granted++;
		if (fd >= 0)
			close(fd);
	}
	assert_int_equal(granted, 16); /* of 64 KiB in 1 MiB */
}

static void
nothing_is_written_through_what_the_host_did_not_make(void **state)
{
	uint32_t room = 0;

	(void)state;
	NEED_ROOT();
	assert_int_not_equal(fill("alice/f"), 0);
	close(folder_open("victim", 0));
	assert_int_equal(symlink(folder_path("victim"),
	    path_of("alice/link.log")), 0);
	assert_int_equal(ask("alice/link", &room), -ELOOP);
	assert_int_equal(link(folder_path("victim"),
	    path_of("alice/name.log")), 0);
	assert_int_equal(ask("alice/name", &room), -EMLINK);
	assert_int_equal(mkfifo(path_of("alice/pipe.log"), 0600), 0);
	assert_int_equal(ask("alice/pipe", &room), -EPERM);
	assert_int_equal(mkdir(path_of("alice/folder.log"), 0700), 0);
	assert_int_equal(ask("alice/folder", &room), -EISDIR);
	assert_int_equal(chown(path_of("alice/f.log"), ALICE, ALICE), 0);
	assert_int_equal(ask("alice/f", &room), -EPERM);
	assert_int_equal(chown(path_of("alice/f.log"), 0, ALICE), 0);
	assert_int_not_equal(fill("alice/f"), 0);
	assert_int_equal(chown(path_of("alice"), ALICE, ALICE), 0);
	assert_int_equal(ask("alice/f", &room), -EPERM);
	assert_int_equal(symlink("alice", path_of("bob")), 0);
	assert_int_equal(ask("bob/f", &room), -ENOTDIR);
}

static void
a_directory_that_others_write_is_refused_with_the_mend(void **state)
{
	char problem[512] = "";
	int fd;

	(void)state;
	NEED_ROOT();
	fd = tenant_logs_directory(conf, problem, sizeof(problem));
	assert_true(fd >= 0);
	close(fd);
	assert_mode("", 0, 0755);
	assert_int_equal(chmod(path_of(""), 0775), 0);
	assert_int_equal(tenant_logs_directory(conf, problem, sizeof(problem)),
	    -EPERM);
	assert_non_null(strstr(problem, "chmod go-w"));
}

static void
a_files_name_says_of_which_function_it_is(void **state)
{
	static const struct {
		const char *tenant, *file, *function;
		bool is_old;
	} cases[] = {
		{ "alice", "f.log", "alice/f", false },
		{ "alice", "a+b.c+d.log", "alice/a/b.c/d", false },
		{ "default", "f.log", "f", false },
		{ "alice", "f.log.1", "alice/f", true },
		{ "alice", "f.log.12", "alice/f", true },
		{ "alice", "f.log.log.2", "alice/f.log", true },
		{ "alice", "f.log.1.log", "alice/f.log.1", false },
		{ "alice", "f.log.1.log.2", "alice/f.log.1", true },
	};
	static const char *const none[] = { "", ".log", "f", "log", "f.log.",
		"f.logx", ".log.1", "F.log", "f.log1", "+.log", "a++b.log", "1",
		"f.txt", ".1", "f..log" };
	char function[CTL_NAME_MAX + 1], name[CONF_LOG_NAME_MAX];
	bool is_old;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(conf_function_of_log(cases[i].tenant,
		    cases[i].file, function, &is_old));
		assert_string_equal(function, cases[i].function);
		assert_int_equal(is_old, cases[i].is_old);
		conf_function_log(function, name);
		assert_int_equal(strncmp(name, cases[i].file, strlen(name)), 0);
	}
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(conf_function_of_log("alice", none[i], function,
		    &is_old));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(folders_and_files_are_roots_and_the_tenant_may_read_them),
		TEST(a_group_that_is_not_the_tenants_alone_loses_its_right),
		TEST(a_full_file_is_rotated_and_so_many_are_kept),
		TEST(a_rotation_that_was_cut_off_goes_on_with_what_is_there),
		TEST(what_is_not_full_is_appended_to_step_by_step),
		TEST(at_the_tenants_ceiling_the_oldest_that_nobody_writes_to_go),
		TEST(where_nothing_can_go_it_is_refused_until_there_is_room),
		TEST(what_was_granted_is_in_the_sum_though_nobody_remembers),
		TEST(nothing_is_written_through_what_the_host_did_not_make),
		TEST(a_directory_that_others_write_is_refused_with_the_mend),
		TEST(a_files_name_says_of_which_function_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
