/*
 * before NUMBER self|children PID: kill -9 of a process before its system call of
 * that number, counted from now on: of PID itself, or of whatever it starts, all
 * calls together.  NUMBER 0 kills nobody.  Says "attached", for each call that it
 * counts the call's number, and "killed".  Lives until it is ended, which lets go
 * whom it holds, or until nobody is left.
 *
 * strace counts for each process apart, so what it injects cannot tell a program
 * from the init that started it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <linux/ptrace.h>

#define CALL_STOP (SIGTRAP | 0x80)

struct hunt {
	pid_t pid;
	bool has_children; /* these are counted, not PID */
	long number, counted;
};

static void
fail(const char *what)
{
	fprintf(stderr, "before: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
attach(const struct hunt *hunt)
{
	long options = PTRACE_O_TRACESYSGOOD;

	if (hunt->has_children)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		    PTRACE_O_TRACECLONE;
	if (ptrace(PTRACE_SEIZE, hunt->pid, 0, options) != 0 ||
	    ptrace(PTRACE_INTERRUPT, hunt->pid, 0, 0) != 0)
		fail("PTRACE_SEIZE");
}

/* Said first, for whoever waits for the victim's work knows of its death as soon;
 * and what is said is done, even if this one is told to end. */
static void
strike(pid_t pid)
{
	sigset_t end;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	puts("killed");
	kill(pid, SIGKILL);
	sigprocmask(SIG_UNBLOCK, &end, NULL);
}

/* At a call's beginning or end: counts the one, and strikes. */
static void
call_stop(struct hunt *hunt, pid_t pid)
{
	struct ptrace_syscall_info info;

	if ((pid == hunt->pid) == hunt->has_children ||
	    ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	printf("%llu\n", (unsigned long long)info.entry.nr);
	if (++hunt->counted == hunt->number)
		strike(pid);
}

/* Lets go on what has stopped.  It may be dead by now: that is told apart. */
static void
stopped(struct hunt *hunt, pid_t pid, int status)
{
	int number = WSTOPSIG(status), event = status >> 16;

	if (number == CALL_STOP) {
		call_stop(hunt, pid);
		number = 0;
	} else if (event == PTRACE_EVENT_STOP && number != SIGTRAP) {
		ptrace(PTRACE_LISTEN, pid, 0, 0);
		return;
	} else if (event != 0) {
		number = 0;
	}
	ptrace(PTRACE_SYSCALL, pid, 0, number);
}

int
main(int argc, char **argv)
{
	struct hunt hunt = { 0 };
	bool is_attached = false;
	int status;
	pid_t pid;

	if (argc != 4)
		return 64;
	hunt.number = atol(argv[1]);
	hunt.has_children = strcmp(argv[2], "children") == 0;
	hunt.pid = atoi(argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	attach(&hunt);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status))
			stopped(&hunt, pid, status);
		if (!is_attached)
			puts("attached");
		is_attached = true;
	}
	return 0;
}
