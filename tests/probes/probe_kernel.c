/* Probes of the system call wall: namespaces, other architectures, other
 * processes, rare parts of the kernel. */
#include "tests/probes/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* --------------------------------------------------------------- namespaces */

static void
unshare_user(void)
{
	errno = 0;
	if (unshare(CLONE_NEWUSER) == 0)
		_exit(0);
}

static void
unshare_mount(void)
{
	errno = 0;
	if (unshare(CLONE_NEWNS) == 0)
		_exit(0);
}

static void
clone_user(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL,
	    0);

	if (pid >= 0)
		_exit(0);
}

int
probe_unshare(void)
{
	int holes = attempt_in_child("unshare(USER)", unshare_user);

	holes += attempt_in_child("unshare(NS)", unshare_mount);
	return holes + attempt_in_child("clone(NEWUSER)", clone_user);
}

int
probe_clone3(void)
{
	struct clone_args arguments = { .flags = CLONE_NEWUSER,
		.exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));

	if (pid == 0)
		_exit(0);
	if (pid < 0 && errno != ENOSYS)
		return judge(1, "clone3(NEWUSER): %s, not ENOSYS: it was "
		    "looked at", strerror(errno));
	return attempt("clone3(NEWUSER)", pid);
}

int
probe_setns(void)
{
	static const char *const names[] = { "mnt", "pid", "net", "ipc", "uts",
		"user", "cgroup" };
	int holes = 0, fd;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64], what[128];

		snprintf(path, sizeof(path), "/proc/1/ns/%s", names[i]);
		snprintf(what, sizeof(what), "open %s", path);
		fd = open(path, O_RDONLY);
		holes += attempt(what, fd);
		snprintf(what, sizeof(what), "setns to %s of pid 1", names[i]);
		holes += attempt(what, setns(fd, 0));
	}
	fd = (int)syscall(SYS_pidfd_open, 1, 0);
	holes += attempt("setns by pidfd of pid 1", setns(fd, CLONE_NEWUTS));
	fd = open("/proc/self/ns/uts", O_RDONLY);
	return holes + attempt("setns to the own", setns(fd, 0));
}

/* ------------------------------------------------------ other architectures */

#if defined(__x86_64__)
static _Noreturn void
call_int80(void)
{
	long result = 20; /* getpid of i386 */

	__asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9",
	    "r10", "r11");
	_exit(result == getpid() ? 0 : 77);
}
#endif

/* The filter kills.  An answer that is not the pid means a kernel without this
 * gate, or (user-mode Linux) with another table behind it. */
int
probe_int80(void)
{
#if defined(__x86_64__)
	int status;
	pid_t pid = fork();

	if (pid == 0)
		call_int80();
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		absent("int 0x80");
	return judge(!WIFSIGNALED(status), "int 0x80: %s",
	    WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "an answer");
#else
	absent("int 0x80");
#endif
}

#define X32_BIT 0x40000000L

static void
call_x32(void)
{
	/* Any answer but the signal means that the call was looked at. */
	if (syscall(X32_BIT | SYS_getpid) >= 0 || errno == ENOSYS)
		_exit(0);
}

int
probe_x32(void)
{
#if defined(__x86_64__)
	return attempt_in_child("a call of x32", call_x32);
#else
	return judge(0, "a call of x32: not this architecture");
#endif
}

/* ------------------------------------------------------ sibling and strangers */

static char secret[] = "a sibling's secret";

static pid_t
start_sibling(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	return pid;
}

static void
end_sibling(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int
probe_ptrace(void)
{
	pid_t sibling = start_sibling();
	int holes = attempt("ptrace(SEIZE) of a sibling",
	    ptrace(PTRACE_SEIZE, sibling, NULL, NULL));

	holes += attempt("ptrace(ATTACH) of a sibling",
	    ptrace(PTRACE_ATTACH, sibling, NULL, NULL));
	end_sibling(sibling);
	return holes;
}

int
probe_process_vm(void)
{
	pid_t sibling = start_sibling();
	char buf[sizeof(secret)];
	struct iovec local = { buf, sizeof(buf) };
	struct iovec remote = { secret, sizeof(secret) };
	int holes = attempt("process_vm_readv of a sibling",
	    process_vm_readv(sibling, &local, 1, &remote, 1, 0));

	holes += attempt("process_vm_writev of a sibling",
	    process_vm_writev(sibling, &local, 1, &remote, 1, 0));
	end_sibling(sibling);
	return holes;
}

int
probe_pidfd_getfd(void)
{
	pid_t host = atoi(setting("PROBE_HOST_PID", "1"));
	pid_t sibling = start_sibling();
	int pidfd = (int)syscall(SYS_pidfd_open, host, 0);
	int holes = 0;

	/* Pid 1 can be named: it is init.  What counts is its descriptors. */
	if (host != 1)
		holes += attempt("pidfd_open of a host's process", pidfd);
	holes += attempt("pidfd_getfd of it",
	    syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	pidfd = (int)syscall(SYS_pidfd_open, sibling, 0);
	holes += attempt("pidfd_getfd of a sibling",
	    syscall(SYS_pidfd_getfd, pidfd, 0, 0));
	end_sibling(sibling);
	return holes;
}

/* Whether others were harmed is for the test to see: it keeps a process of the
 * same uid outside, and init must still report. */
int
probe_kill_all(void)
{
	pid_t host = atoi(setting("PROBE_HOST_PID", "0"));
	int holes = 0;

	signal(SIGTERM, SIG_IGN);
	kill(-1, SIGTERM);
	kill(getppid(), SIGKILL);
	kill(getppid(), SIGSTOP);
	if (host > 1)
		holes += attempt("kill of a host's process", kill(host, 0));
	return holes + judge(0, "kill(-1), and what it reached lies inside");
}

/* ------------------------------------------------------ rare and young parts */

int
probe_tiocsti(void)
{
	static const unsigned long requests[] = { TIOCSTI,
		TIOCSTI | 0xdead00000000UL, TIOCLINUX,
		TIOCLINUX | 0x8000000000000000UL };
	int holes = 0;

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		char what[64];
		long result = syscall(SYS_ioctl, 0, requests[i], "x");

		snprintf(what, sizeof(what), "ioctl(%#lx)", requests[i]);
		/* Without a terminal here another error means that the driver
		 * was asked. */
		if (result < 0 && errno != EPERM)
			holes += judge(1, "%s: reached the driver (%s)", what,
			    strerror(errno));
		else
			holes += attempt(what, result);
	}
	return holes;
}

/* The gateway's pipes and other people's time: see seccomp_function.c. */
int
probe_pipe_size(void)
{
	const unsigned long high = 0xdead00000000UL;
	FILE *own = tmpfile();
	int pipe_fd[2], file = own != NULL ? fileno(own) : -1;
	int holes = 0;

	if (pipe(pipe_fd) != 0 || file < 0)
		return judge(1, "no pipe or file to try it on");
	holes += attempt("fcntl(F_SETPIPE_SZ)",
	    syscall(SYS_fcntl, pipe_fd[1], F_SETPIPE_SZ, 1 << 20));
	holes += attempt("fcntl(F_SETPIPE_SZ with high bits)",
	    syscall(SYS_fcntl, pipe_fd[1], F_SETPIPE_SZ | high, 1 << 20));
	holes += attempt("fcntl(F_SETLEASE)",
	    syscall(SYS_fcntl, file, F_SETLEASE, F_WRLCK));
	fclose(own);
	return holes;
}

static int
refused(const char *what, long result)
{
	/* EPERM and ENOSYS come from the filter; others from the call itself. */
	if (result < 0 && errno != EPERM && errno != ENOSYS &&
	    errno != EINVAL)
		return judge(1, "%s: was looked at (%s)", what,
		    strerror(errno));
	return attempt(what, result);
}

int
probe_young_parts(void)
{
	int holes = refused("io_uring_setup",
	    syscall(SYS_io_uring_setup, 1, NULL));

	holes += refused("userfaultfd", syscall(SYS_userfaultfd, 0));
	holes += refused("bpf", syscall(SYS_bpf, 0, NULL, 0));
	holes += refused("perf_event_open",
	    syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	holes += refused("open_by_handle_at",
	    syscall(SYS_open_by_handle_at, -1, NULL, 0));
	return holes + refused("personality(READ_IMPLIES_EXEC)",
	    syscall(SYS_personality, 0x0400000));
}

int
probe_keys(void)
{
	int holes = refused("keyctl", syscall(SYS_keyctl, 0, -3, 0, 0, 0));

	holes += refused("add_key",
	    syscall(SYS_add_key, "user", "x", "y", 1, -3));
	return holes + refused("request_key",
	    syscall(SYS_request_key, "user", "x", NULL, 0));
}

int
probe_splice(void)
{
	int in[2], out[2];
	struct iovec piece = { secret, sizeof(secret) };
	int holes;

	if (pipe(in) != 0 || pipe(out) != 0 || write(in[1], "x", 1) != 1)
		return judge(1, "no pipes to try splice on");
	holes = refused("tee", tee(in[0], out[1], 1, 0));
	holes += refused("splice", splice(in[0], NULL, out[1], NULL, 1, 0));
	return holes + refused("vmsplice", vmsplice(out[1], &piece, 1, 0));
}

int
probe_fork_bomb(void)
{
	const int most = atoi(setting("PROBE_BOMB", "5000"));
	int n = 0, error = 0;

	while (n < most) {
		pid_t pid = fork();

		if (pid == 0) {
			for (;;)
				pause();
		}
		if (pid < 0) {
			error = errno;
			break;
		}
		n++;
	}
	/* Those that live are init's to end. */
	return judge(error != EAGAIN, "a fork bomb: %s after %d",
	    error == 0 ? "no end" : strerror(error), n);
}

int
probe_daemon(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		if (fork() != 0)
			_exit(0);
		for (;;)
			pause();
	}
	waitpid(pid, NULL, 0);
	return judge(0, "a daemon is left, with the output open; it must not "
	    "outlive the report");
}
