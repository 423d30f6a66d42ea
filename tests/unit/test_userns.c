/* A user namespace of an ordinary user: what he is in it, and what a process is
 * that gets one of its own below. */
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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/confine.h"
#include "sandbox/rights.h"
#include "sandbox/userns.h"

#define USER_UID 60811
#define USER_GID 60812
#define TENANT 1900000007

/* The exit status of what a child does as an ordinary user. */
static int
try_as_user(int (*act)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (geteuid() == 0 && (rights_drop_groups() != 0 ||
		    rights_take_ids(USER_UID, USER_GID) != 0))
			_exit(100);
		/* as after an exec: his /proc/self is his */
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		_exit(act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

static int
enter(void)
{
	char problem[512] = "";

	if (userns_enter(problem, sizeof(problem)) == 0)
		return 0;
	fprintf(stderr, "%s\n", problem);
	return -1;
}

static int
is_root_inside(void)
{
	if (userns_is_single())
		return 1;
	if (enter() != 0)
		return 2;
	if (geteuid() != 0 || getegid() != 0 || !userns_is_single())
		return 3;
	/* what is his own he may do, and nothing else */
	if (mount("none", "/tmp", "tmpfs", 0, NULL) != 0)
		return 4;
	if (setresuid(USER_UID + 1, USER_UID + 1, USER_UID + 1) == 0)
		return 5;
	if (open("/dev/mem", O_RDONLY) >= 0 || unshare(CLONE_NEWUTS) != 0)
		return 6;
	return 0;
}

static void
an_ordinary_user_is_root_of_what_he_makes(void **state)
{
	(void)state;
	assert_int_equal(try_as_user(is_root_inside), 0);
}

static int
is_apart(void)
{
	int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY);

	if (enter() != 0)
		return 2;
	if (userns_apart(proc_fd, TENANT, TENANT + 1) != 0)
		return 3;
	if (rights_take_ids(TENANT, TENANT + 1) != 0 ||
	    rights_verify_ids(TENANT, TENANT + 1) != 0)
		return 4;
	/* with all capabilities of its namespace still held */
	if (mount("none", "/tmp", "tmpfs", 0, NULL) == 0 || errno != EPERM)
		return 5;
	if (sethostname("x", 1) == 0 || errno != EPERM)
		return 6;
	return 0;
}

static void
a_process_apart_has_no_right_over_what_was_made_above(void **state)
{
	(void)state;
	assert_int_equal(try_as_user(is_apart), 0);
}

static int
has_no_group_to_put_off(void)
{
	if (enter() != 0)
		return 2;
	return rights_drop_groups() == -EPERM ? 0 : 3;
}

static void
groups_cannot_be_put_off(void **state)
{
	(void)state;
	assert_int_equal(try_as_user(has_no_group_to_put_off), 0);
}

static int
root_is_refused(void)
{
	const struct confine confine = { .root_fd = -1, .read_fd = -1,
		.spool_fd = -1 };
	const char *step = "";

	return confine_gateway(&confine, &step) == -EINVAL ? 0 : 2;
}

/* The machine's, whom an id 0 does not become harmless by asking. */
static void
root_of_the_machine_stays_refused_by_the_roles(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		fputs("NOT RUN: needs root\n", stderr);
		skip();
	}
	assert_int_equal(root_is_refused(), 0);
	assert_false(userns_is_single());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_user_is_root_of_what_he_makes),
		cmocka_unit_test(
		    a_process_apart_has_no_right_over_what_was_made_above),
		cmocka_unit_test(groups_cannot_be_put_off),
		cmocka_unit_test(
		    root_of_the_machine_stays_refused_by_the_roles),
	};

	if (try_as_user(enter) != 0) {
		fputs("NOT RUN: this machine gives ordinary users no user "
		    "namespace, see above\n", stderr);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
