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
#include <signal.h>
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

/* Stops the other child of its parent, as soon as there is one. */
static _Noreturn void
be_who_stops_it(pid_t parent)
{
	char path[64];
	int other = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent,
	    (int)parent);
	while (getppid() == parent && other == 0) {
		FILE *file = fopen(path, "re");
		int pid;

		while (file != NULL && fscanf(file, "%d", &pid) == 1)
			if (pid != getpid())
				other = pid;
		if (file != NULL)
			fclose(file);
	}
	_exit(other != 0 && kill(other, SIGSTOP) == 0 ? 0 : 1);
}

/* The same, whose child somebody stops where it hangs. */
static int
start_that_is_stopped(struct sandbox_plan *plan)
{
	CLEANUP_FD int listener = hold_pivot_root();
	int64_t begun = now_ms();
	pid_t parent = getpid(), other;
	struct box box;
	int status;

	if (listener < 0)
		return 77;
	other = fork();
	if (other == 0)
		be_who_stops_it(parent);
	if (box_start(&host, plan, &box) != -ECANCELED)
		return 1;
	if (strcmp(box.child.failed_step,
	    "child was stopped by a process of its uid") != 0)
		return 2;
	if (now_ms() - begun > 3000)
		return 3;
	if (waitpid(other, &status, 0) != other || status != 0)
		return 4;
	return waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD ? 5 : 0;
}

static void
expect_given_up(struct sandbox_tree *tree,
    int (*start)(struct sandbox_plan *plan))
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
		_exit(start(&plan));
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
	expect_given_up(NULL, start_that_hangs);
}

/* The second start makes it. */
static void
so_is_one_that_hangs_while_its_tree_is_made(void **state)
{
	(void)state;
	expect_given_up(host.tree, start_that_hangs);
}

static void
one_that_somebody_stops_is_given_up_at_once_and_its_cause_is_named(void **state)
{
	(void)state;
	expect_given_up(NULL, start_that_is_stopped);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_start_that_hangs_in_a_mount_is_given_up_after_five_seconds),
		cmocka_unit_test(so_is_one_that_hangs_while_its_tree_is_made),
		cmocka_unit_test(
		    one_that_somebody_stops_is_given_up_at_once_and_its_cause_is_named),
	};
	int setup = box_setup(&host);
	int failed;

	if (setup != 0)
		return setup;
	failed = cmocka_run_group_tests_name("sandbox_hang", tests, NULL, NULL);
	box_teardown(&host);
	return failed;
}
