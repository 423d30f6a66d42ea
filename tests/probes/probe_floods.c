/* Probes that take more and more of one thing, and one that dies. */
#include "tests/probes/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

/* Twice as much as any test gives it. */
int
probe_memory_bomb(void)
{
	const size_t most = (size_t)atoi(setting("PROBE_BOMB_MIB", "256"));
	size_t n = 0;

	for (; n < most; n++) {
		char *piece = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (piece == MAP_FAILED)
			break;
		memset(piece, 1, MIB);
	}
	return judge(n == most, "a memory bomb: %s after %zu MiB",
	    n == most ? "no end" : strerror(errno), n);
}

#define FLIGHT_PIECE 200
#define FLIGHT_MAX 4000

/* The same descriptor many times over. */
static int
send_piece(int through, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FLIGHT_PIECE * sizeof(int))];
	} control = { .bytes = { 0 } };
	int fds[FLIGHT_PIECE];
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *part = CMSG_FIRSTHDR(&message);

	for (int i = 0; i < FLIGHT_PIECE; i++)
		fds[i] = fd;
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(part), fds, sizeof(fds));
	return sendmsg(through, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
}

/* Descriptors that were sent and not received are still there, and no limit of
 * open files sees them. */
int
probe_in_flight(void)
{
	int n = 0, pair[2], fd = open("/dev/null", O_RDONLY);

	if (fd < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return judge(1, "no sockets to try it on");
	while (n < FLIGHT_MAX && send_piece(pair[0], fd) == 0)
		n += FLIGHT_PIECE;
	return judge(n >= FLIGHT_MAX, "descriptors in flight: %s after %d",
	    n >= FLIGHT_MAX ? "no end" : strerror(errno), n);
}

#define TIMERS_MAX 20000

int
probe_timers(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGALRM };
	timer_t timer;
	int n = 0;

	while (n < TIMERS_MAX &&
	    timer_create(CLOCK_MONOTONIC, &event, &timer) == 0)
		n++;
	return judge(n == TIMERS_MAX, "timers: %s after %d",
	    n == TIMERS_MAX ? "no end" : strerror(errno), n);
}

/* ---------------------------------------------------------------------- signals */

/* Whoever owns a descriptor is sent SIGIO: init, and a process of the host. */
int
probe_file_owner(void)
{
	pid_t host = atoi(setting("PROBE_HOST_PID", "0"));
	int pair[2], holes = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return judge(1, "no sockets to try it on");
	fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK);
	if (fcntl(pair[0], F_SETOWN, getppid()) == 0 &&
	    write(pair[1], "x", 1) != 1)
		holes += judge(1, "no byte to try it with");
	if (host > 1)
		holes += attempt("SIGIO for a process of the host",
		    fcntl(pair[0], F_SETOWN, host));
	if (holes == 0 && write(pair[1], "x", 1) != 1)
		holes += judge(1, "no byte to try it with");
	return holes + judge(0, "SIGIO for init, which must live on");
}

/* ------------------------------------------------------------------------ a core */

static _Noreturn void
crash(void)
{
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_CORE, &none);
	if (chdir("/tmp") == 0)
		abort();
	_exit(0);
}

int
probe_core(void)
{
	struct rlimit limit = { 2, 2 };
	int status = 0, holes;
	pid_t pid = fork();

	if (pid == 0)
		crash();
	waitpid(pid, &status, 0);
	getrlimit(RLIMIT_CORE, &limit);
	holes = judge(!WIFSIGNALED(status), "it crashes");
	holes += judge(WCOREDUMP(status), "a core was written");
	holes += judge(access("/tmp/core", F_OK) == 0, "/tmp/core is there");
	/* 1 is what a host that gives cores to a program takes for none */
	return holes + judge(limit.rlim_max != 1, "a core of %llu bytes",
	    (unsigned long long)limit.rlim_max);
}
