/* The scheduler's slice of a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/slice.h"

/* Microseconds.  The fourth word of what sched_getattr(2) fills is the runtime,
 * in nanoseconds. */
static int
slice_now(void)
{
	uint64_t attr[6] = { 0 };

	if (syscall(SYS_sched_getattr, 0, attr, sizeof(attr), 0) != 0)
		return -1;
	return (int)(attr[3] / 1000);
}

/* Runs in a child, so that nothing lasts; its exit status. */
static int
in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

enum { FINE, WRONG, OLD_KERNEL };

static int
set_one(void)
{
	int before = slice_now();

	setpriority(PRIO_PROCESS, 0, 3);
	if (slice_set(SLICE_FUNCTION_US) != 0 ||
	    getpriority(PRIO_PROCESS, 0) != 3)
		return WRONG;
	if (slice_now() == before)
		return OLD_KERNEL;
	return slice_now() == SLICE_FUNCTION_US ? FINE : WRONG;
}

static int
set_and_inherit(void)
{
	int status = 0;
	pid_t pid;

	if (slice_set(SLICE_GATEWAY_US) != 0)
		return WRONG;
	pid = fork();
	if (pid == 0)
		_exit(slice_now() == SLICE_GATEWAY_US ? FINE : WRONG);
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static int
set_for_real_time(void)
{
	const struct sched_param param = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
		return OLD_KERNEL;
	return slice_set(SLICE_GATEWAY_US) == -EOPNOTSUPP &&
	    sched_getscheduler(0) == SCHED_FIFO ? FINE : WRONG;
}

static void
expect(int outcome, const char *why)
{
	if (outcome == OLD_KERNEL) {
		print_message("SKIP: %s\n", why);
		skip();
	}
	assert_int_equal(outcome, FINE);
}

static void
a_slice_is_set_and_the_nice_value_stays(void **state)
{
	(void)state;
	expect(in_child(set_one), "this kernel has no slices (Linux 6.12)");
}

static void
children_inherit_it(void **state)
{
	(void)state;
	expect(in_child(set_one), "this kernel has no slices (Linux 6.12)");
	expect(in_child(set_and_inherit), "");
}

static void
a_real_time_policy_is_left_alone(void **state)
{
	(void)state;
	expect(in_child(set_for_real_time), "no right to a real-time policy");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slice_is_set_and_the_nice_value_stays),
		cmocka_unit_test(children_inherit_it),
		cmocka_unit_test(a_real_time_policy_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
