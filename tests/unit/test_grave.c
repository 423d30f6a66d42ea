/*
 * Children that do not die when they are killed.  As its tracer the test holds one
 * at its exit, as the kernel holds one whose call does not come back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/grave.h"

static pid_t
child_new(int *pidfd)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(*pidfd >= 0);
	return pid;
}

static pid_t
child_that_hangs(int *pidfd)
{
	pid_t pid = child_new(pidfd);

	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT) != 0) {
		fputs("SKIPPED: nobody may be traced here\n", stderr);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close_fd(pidfd);
		skip();
	}
	return pid;
}

/* Its call comes back. */
static void
let_go(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, 0), 0);
}

/* Reaped, too: of a zombie the name is still there. */
static bool
is_gone(pid_t pid)
{
	return kill(pid, 0) != 0 && errno == ESRCH;
}

static void
one_that_dies_is_reaped_at_once(void **state)
{
	struct graves graves = { .count = 0 };
	int pidfd;
	pid_t pid = child_new(&pidfd);

	(void)state;
	graves_bury(&graves, &pidfd);
	assert_true(is_gone(pid));
	assert_int_equal(pidfd, -1);
	assert_int_equal(graves.count, 0);
}

static void
one_that_hangs_is_reaped_when_it_has_come_back(void **state)
{
	struct graves graves = { .count = 0 };
	int pidfd;
	pid_t pid = child_that_hangs(&pidfd);

	(void)state;
	graves_bury(&graves, &pidfd);
	assert_int_equal(pidfd, -1);
	graves_reap(&graves);
	assert_int_equal(graves.count, 1);
	assert_false(is_gone(pid));
	let_go(pid);
	for (int ms = 0; ms < 5000 && graves.count > 0; ms++) {
		usleep(1000);
		graves_reap(&graves);
	}
	assert_int_equal(graves.count, 0);
	assert_true(is_gone(pid));
}

/* A pipe stands for those that hang; the one that has done so longest goes. */
static void
so_many_are_remembered_and_no_more(void **state)
{
	struct graves graves = { .count = 0 };
	int pair[2], pidfd, second;
	pid_t pid;

	(void)state;
	assert_int_equal(sock_pipe(pair), 0);
	while (graves.count < GRAVES_MAX)
		graves.pidfds[graves.count++] = dup(pair[0]);
	second = graves.pidfds[1];
	pid = child_that_hangs(&pidfd);
	graves_bury(&graves, &pidfd);
	assert_int_equal(graves.count, GRAVES_MAX);
	assert_int_equal(graves.pidfds[0], second);
	graves_close(&graves);
	assert_int_equal(graves.count, 0);
	let_go(pid);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close_fd(&pair[0]);
	close_fd(&pair[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_dies_is_reaped_at_once),
		cmocka_unit_test(one_that_hangs_is_reaped_when_it_has_come_back),
		cmocka_unit_test(so_many_are_remembered_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
