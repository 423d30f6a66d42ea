/*
 * A start whose child does not come back from a mount, as one on the file
 * system of a dead server may not.  The kernel is made to hold it there: a
 * seccomp listener is asked for leave to pivot_root, and nobody answers it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/box.h"
#include "tests/unit/hold_pivot_root.h"

static struct box_host host;

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* In a process of its own, which keeps the filter for good: 0, or a claim's
 * number. */
static int
start_that_hangs(struct sandbox_plan *plan)
{
	CLEANUP_FD int listener = hold_pivot_root();
	size_t descriptors = box_count_entries("/proc/self/fd");
	int64_t begun = now_ms(), took;
	struct box box;

	if (listener < 0)
		return 77;
	if (box_start(&host, plan, &box) != -ETIMEDOUT)
		return 1;
	took = now_ms() - begun;
	if (strcmp(box.child.failed_step, "mounts, within 5 seconds") != 0)
		return 2;
	if (took < 4900 || took > 8000)
		return 3;
	if (box.child.pid != -1 || box.child.pidfd != -1)
		return 4;
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		return 5;
	return box_count_entries("/proc/self/fd") != descriptors ? 6 : 0;
}

/* What nobody holds up starts, from the same plan. */
static void
starts(struct sandbox_plan *plan)
{
	struct box_result result;

	assert_int_equal(box_try(&host, plan, NULL, &result), 0);
	assert_int_equal(result.report.type, INIT_EXIT);
}

static void
expect_given_up(struct sandbox_tree *tree)
{
	char *const argv[] = { (char *)"/bin/true", NULL };
	struct sandbox_plan plan;
	int status;
	pid_t pid;

	box_plan(&host, &plan, argv);
	plan.tree = tree;
	starts(&plan);
	pid = fork();
	if (pid == 0)
		_exit(start_that_hangs(&plan));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		fputs("SKIPPED: no seccomp listener in this kernel\n", stderr);
		box_plan_release(&plan);
		skip();
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	starts(&plan);
	box_plan_release(&plan);
}

static void
a_start_that_hangs_in_a_mount_is_given_up_after_five_seconds(void **state)
{
	(void)state;
	expect_given_up(NULL);
}

/* The second start makes it. */
static void
so_is_one_that_hangs_while_its_tree_is_made(void **state)
{
	(void)state;
	expect_given_up(host.tree);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_start_that_hangs_in_a_mount_is_given_up_after_five_seconds),
		cmocka_unit_test(so_is_one_that_hangs_while_its_tree_is_made),
	};
	int setup = box_setup(&host);
	int failed;

	if (setup != 0)
		return setup;
	failed = cmocka_run_group_tests_name("sandbox_hang", tests, NULL, NULL);
	box_teardown(&host);
	return failed;
}
