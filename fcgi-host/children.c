#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/children.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 1000 /* service is back within two seconds */
#define BACKOFF_FORGET_MS 10000 /* lived so long: the next failure is a first */
#define ASK_AGAIN_MS 20
#define CLOSED_MS 1000    /* from a closed socket to the end */
#define STUCK_MS 10000    /* a queue without progress for so long: it hangs */
#define QUEUE_MAX 65536   /* messages; a whole catalogue three times over */
#define READS_PER_EVENT 32

struct child {
	struct loop *loop;
	struct child_spec spec;
	const struct child_ops *ops;
	void *arg;

	pid_t pid; /* -1: none */
	int pidfd, sock;
	struct loop_io pid_io, sock_io;
	struct loop_timer start_timer, stuck_timer, end_timer;
	uint64_t started_us;
	unsigned backoff_ms;
	bool is_wanted;

	struct parcel **queue;
	size_t queue_first, queue_end, queue_size;
};

static void start(void *arg);

/* ----------------------------------------------------------------- starting */

struct start_fds {
	int fd[CHILD_FD_FIRST + CHILD_FDS_MAX];
};

/*
 * In the forked child, so async-signal-safe calls only: the descriptors to
 * their places, a mask and dispositions like after a login, exec.
 */
static _Noreturn void
become(const struct start_fds *fds, const char *program, char *const *argv)
{
	static char *const no_environment[] = { NULL };
	sigset_t none;
	int i;

	/* Ctrl-C in a terminal is for the spawner, which then drains. */
	(void)setsid();
	for (i = 0; i < CHILD_FD_FIRST + CHILD_FDS_MAX; i++)
		if (fds->fd[i] >= 0 && dup2(fds->fd[i], i) != i)
			_exit(126);
	/* What was ignored when the host was started, such as SIGINT behind
	 * a script's `&`, would stay ignored. */
	for (i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) != 0)
		_exit(126);
	execve(program, argv, no_environment);
	_exit(127);
}

/* Copies above the places, so that no dup2 overwrites what another needs. */
static int
lift(struct start_fds *fds)
{
	size_t i;

	for (i = 0; i < sizeof(fds->fd) / sizeof(fds->fd[0]); i++) {
		int from = fds->fd[i];

		if (from < 0)
			continue;
		fds->fd[i] = fcntl(from, F_DUPFD_CLOEXEC, 16);
		if (fds->fd[i] >= 0)
			continue;
		from = -errno;
		while (i > 0)
			close_fd(&fds->fd[--i]);
		return from;
	}
	return 0;
}

static pid_t
fork_role(const struct child_spec *spec, int role_sock)
{
	CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char uid[16], gid[16], envs[24];
	char *argv[] = { (char *)(uintptr_t)spec->program, "--uid", uid,
		"--gid", gid, spec->envs_max != 0 ? "--environments" : NULL,
		envs, NULL };
	struct start_fds fds = { { null, null, STDERR_FILENO, role_sock,
	    spec->fds[0], spec->fds[1] } };
	size_t i;
	pid_t pid;
	int error = null >= 0 ? lift(&fds) : -errno;

	if (error != 0)
		return error;
	snprintf(uid, sizeof(uid), "%lu", (unsigned long)spec->uid);
	snprintf(gid, sizeof(gid), "%lu", (unsigned long)spec->gid);
	snprintf(envs, sizeof(envs), "%zu", spec->envs_max);
	pid = fork();
	if (pid == 0)
		become(&fds, spec->program, argv);
	if (pid < 0)
		pid = -errno;
	for (i = 0; i < sizeof(fds.fd) / sizeof(fds.fd[0]); i++)
		close_fd(&fds.fd[i]);
	return pid;
}

static void
start_later(struct child *child, unsigned after_ms)
{
	if (!child->is_wanted)
		return;
	if (loop_timer_set(child->loop, &child->start_timer,
	    loop_clock_us() + (uint64_t)after_ms * 1000, start, child) != 0)
		log_panic(__FILE__, __LINE__, "a timer for a role");
}

static void
back_off(struct child *child)
{
	unsigned after_ms = child->backoff_ms;

	child->backoff_ms *= 2;
	if (child->backoff_ms > BACKOFF_LAST_MS)
		child->backoff_ms = BACKOFF_LAST_MS;
	if (child->is_wanted)
		log_event(LOG_INFO, "role_restart", "which=%s after_ms=%u",
		    child->spec.name, after_ms);
	start_later(child, after_ms);
}

/* ------------------------------------------------------------------ sending */

static void
queue_clear(struct child *child)
{
	while (child->queue_first < child->queue_end)
		parcel_unref(child->queue[child->queue_first++]);
	free(child->queue);
	child->queue = NULL;
	child->queue_first = child->queue_end = child->queue_size = 0;
	loop_timer_cancel(child->loop, &child->stuck_timer);
}

static void
on_stuck(void *arg)
{
	child_kill(arg, "it does not read what it is sent");
}

static int
queue_add(struct child *child, struct parcel *parcel)
{
	size_t size = child->queue_size == 0 ? 64 : child->queue_size * 2;
	size_t count = child->queue_end - child->queue_first;
	struct parcel **grown;

	if (count >= QUEUE_MAX)
		return -ENOBUFS;
	if (child->queue_first > count) {
		memcpy(child->queue, child->queue + child->queue_first,
		    count * sizeof(*child->queue));
		child->queue_first = 0;
		child->queue_end = count;
	}
	if (child->queue_end == child->queue_size) {
		grown = reallocarray(child->queue, size, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		child->queue = grown;
		child->queue_size = size;
	}
	child->queue[child->queue_end++] = parcel;
	return 0;
}

/* One parcel to the socket, now. */
static int
deliver(const struct child *child, const struct parcel *parcel)
{
	return sock_send(child->sock, &parcel->msg, parcel->msg.size,
	    parcel->fds, parcel->fd_count);
}

/* -EAGAIN and a shortage of kernel memory for descriptors in flight pass. */
static bool
is_passing(int error)
{
	return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM ||
	    error == -ETOOMANYREFS;
}

static void
wait_to_send(struct child *child)
{
	int error = loop_io_set(child->loop, &child->sock_io,
	    EPOLLIN | EPOLLOUT);

	if (error == 0)
		error = loop_timer_set(child->loop, &child->stuck_timer,
		    loop_clock_us() + (uint64_t)STUCK_MS * 1000, on_stuck,
		    child);
	if (error != 0)
		child_kill(child, strerror(-error));
}

static void
flush(struct child *child)
{
	bool is_progress = false;
	int error = 0;

	while (child->queue_first < child->queue_end && error == 0) {
		error = deliver(child, child->queue[child->queue_first]);
		if (error != 0)
			break;
		parcel_unref(child->queue[child->queue_first++]);
		is_progress = true;
	}
	if (error != 0 && !is_passing(error)) {
		child_kill(child, strerror(-error));
	} else if (error != 0) {
		if (is_progress)
			wait_to_send(child);
	} else {
		queue_clear(child);
		(void)loop_io_set(child->loop, &child->sock_io, EPOLLIN);
	}
}

void
child_send(struct child *child, struct parcel *parcel)
{
	bool is_first = child->queue_first == child->queue_end;
	int error;

	if (parcel == NULL) {
		child_kill(child, "no memory for a message to it");
		return;
	}
	if (child->sock < 0) {
		parcel_unref(parcel);
		return;
	}
	error = is_first ? deliver(child, parcel) : -EAGAIN;
	if (is_passing(error)) {
		error = queue_add(child, parcel);
		if (error == 0) {
			if (is_first)
				wait_to_send(child);
			return;
		}
	}
	parcel_unref(parcel);
	if (error != 0)
		child_kill(child, error == -ENOBUFS ?
		    "it does not read what it is sent" : strerror(-error));
}

static void
shut(struct child *child)
{
	loop_io_del(child->loop, &child->sock_io);
	close_fd(&child->sock);
	queue_clear(child);
}

static void
signal_child(const struct child *child, int number)
{
	if (child->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, child->pidfd, number,
		    NULL, 0);
}

static void
on_end_timer(void *arg)
{
	struct child *child = arg;

	log_event(LOG_ERROR, "role_killed", "which=%s pid=%d why=\"it does not "
	    "end\"", child->spec.name, (int)child->pid);
	signal_child(child, SIGKILL);
}

static void
end_within(struct child *child, unsigned within_ms)
{
	if (loop_timer_set(child->loop, &child->end_timer, loop_clock_us() +
	    (uint64_t)within_ms * 1000, on_end_timer, child) != 0)
		signal_child(child, SIGKILL);
}

/* ---------------------------------------------------------------- receiving */

/* One message.  1: look for more; 0: nothing there; or a negative errno. */
static int
receive(struct child *child)
{
	CLEANUP_FD int fd = -1;
	struct ctl_msg msg;
	size_t fd_count = 0;
	ssize_t n = sock_recv(child->sock, &msg, sizeof(msg), &fd,
	    child->spec.may_send_fd ? 1 : 0, &fd_count);
	int error;

	/* Who was killed with a message of ours unread has said something before
	 * all the same; Linux reports the reset first. */
	if (n == -ECONNRESET)
		n = sock_recv(child->sock, &msg, sizeof(msg), &fd,
		    child->spec.may_send_fd ? 1 : 0, &fd_count);
	if (n == -EAGAIN)
		return 0;
	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return (int)n;
	error = ctl_msg_check(&msg, (size_t)n, fd_count, child->spec.way);
	if (error == 0)
		error = child->ops->message(child->arg, &msg, &fd);
	return error != 0 ? error : 1;
}

static void
on_sock(void *arg, uint32_t events)
{
	struct child *child = arg;
	int result = 1;
	int i;

	if (events & EPOLLOUT)
		flush(child);
	for (i = 0; i < READS_PER_EVENT && result == 1 && child->sock >= 0; i++)
		result = receive(child);
	if (result >= 0 || child->sock < 0)
		return;
	if (result == -EPIPE || result == -ECONNRESET) {
		/* It is about to end; its exit status is worth the wait. */
		shut(child);
		end_within(child, CLOSED_MS);
	} else {
		child_kill(child, "it sent a message that no honest role "
		    "sends; it may be compromised");
	}
}

/* ------------------------------------------------------------------- ending */

void
child_kill(struct child *child, const char *why)
{
	if (child->pid < 0 || child->sock < 0)
		return;
	if (child->is_wanted)
		log_event(LOG_ERROR, "role_killed", "which=%s pid=%d why=\"%s\"",
		    child->spec.name, (int)child->pid, why);
	/* Nothing more is heard from it, even if its end takes a while. */
	shut(child);
	signal_child(child, SIGKILL);
}

static void
log_end(const struct child *child, int status)
{
	int again_exit = child->spec.again_exit;

	if (again_exit != 0 && WIFEXITED(status) &&
	    WEXITSTATUS(status) == again_exit)
		log_event(LOG_INFO, "role_ended", "which=%s pid=%d exit=%d "
		    "why=\"it asks for a new one in its place\"",
		    child->spec.name, (int)child->pid, again_exit);
	else if (WIFSIGNALED(status))
		log_event(child->is_wanted ? LOG_ERROR : LOG_INFO, "role_ended",
		    "which=%s pid=%d signal=%d", child->spec.name,
		    (int)child->pid, WTERMSIG(status));
	else
		log_event(child->is_wanted ? LOG_ERROR : LOG_INFO, "role_ended",
		    "which=%s pid=%d exit=%d%s", child->spec.name,
		    (int)child->pid, WEXITSTATUS(status),
		    WEXITSTATUS(status) == 127 ? " why=\"its program could not "
		    "be started\"" : "");
}

static void
on_exit_event(void *arg, uint32_t events)
{
	struct child *child = arg;
	int status = 0;

	(void)events;
	if (waitpid(child->pid, &status, WNOHANG) == 0)
		return;
	/* What it sent before its end still counts: the last is DRAINED's. */
	while (child->sock >= 0 && receive(child) == 1)
		;
	log_end(child, status);
	shut(child);
	loop_timer_cancel(child->loop, &child->end_timer);
	loop_io_del(child->loop, &child->pid_io);
	close_fd(&child->pidfd);
	child->pid = -1;
	if (loop_clock_us() - child->started_us >
	    (uint64_t)BACKOFF_FORGET_MS * 1000)
		child->backoff_ms = BACKOFF_FIRST_MS;
	child->ops->down(child->arg, status);
	back_off(child);
}

void
child_end(struct child *child, unsigned within_ms)
{
	child->is_wanted = false;
	loop_timer_cancel(child->loop, &child->start_timer);
	if (child->pid < 0)
		return;
	if (within_ms == 0)
		signal_child(child, SIGKILL);
	else
		end_within(child, within_ms);
}

/* -------------------------------------------------------------------- start */

static int
watch(struct child *child)
{
	int error;

	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pidfd < 0)
		return -errno;
	error = loop_io_add(child->loop, &child->pid_io, child->pidfd, EPOLLIN,
	    on_exit_event, child);
	if (error == 0)
		error = loop_io_add(child->loop, &child->sock_io, child->sock,
		    EPOLLIN, on_sock, child);
	return error;
}

/* A child that cannot be watched is as good as none. */
static void
give_up(struct child *child, int error)
{
	log_event(LOG_ERROR, "role_not_started", "which=%s error=\"%s\"",
	    child->spec.name, strerror(-error));
	if (child->pid > 0) {
		(void)kill(child->pid, SIGKILL);
		(void)waitpid(child->pid, NULL, 0);
	}
	child->pid = -1;
	loop_io_del(child->loop, &child->pid_io);
	close_fd(&child->pidfd);
	shut(child);
	child->ops->not_started(child->arg);
	back_off(child);
}

static void
start(void *arg)
{
	struct child *child = arg;
	int pair[2] = { -1, -1 };
	int error;

	if (child->pid >= 0 || !child->is_wanted)
		return;
	if (!child->ops->may_start(child->arg)) {
		start_later(child, ASK_AGAIN_MS);
		return;
	}
	error = sock_pair(pair);
	if (error == 0)
		error = fd_set_nonblock(pair[0], true);
	if (error == 0) {
		child->pid = fork_role(&child->spec, pair[1]);
		error = child->pid < 0 ? child->pid : 0;
	}
	close_fd(&pair[1]);
	child->sock = steal_fd(&pair[0]);
	if (error == 0)
		error = watch(child);
	if (error != 0) {
		give_up(child, error);
		return;
	}
	child->started_us = loop_clock_us();
	log_event(LOG_INFO, "role_started", "which=%s pid=%d",
	    child->spec.name, (int)child->pid);
	child->ops->up(child->arg);
}

struct child *
child_new(struct loop *loop, const struct child_spec *spec,
    const struct child_ops *ops, void *arg)
{
	struct child *child = calloc(1, sizeof(*child));

	if (child == NULL)
		return NULL;
	child->loop = loop;
	child->spec = *spec;
	child->ops = ops;
	child->arg = arg;
	child->pid = -1;
	child->pidfd = child->sock = -1;
	child->pid_io.fd = child->sock_io.fd = -1;
	child->backoff_ms = BACKOFF_FIRST_MS;
	return child;
}

void
child_free(struct child *child)
{
	if (child == NULL)
		return;
	child->is_wanted = false;
	loop_timer_cancel(child->loop, &child->start_timer);
	loop_timer_cancel(child->loop, &child->end_timer);
	if (child->pid > 0) {
		signal_child(child, SIGKILL);
		(void)waitpid(child->pid, NULL, 0);
	}
	loop_io_del(child->loop, &child->pid_io);
	close_fd(&child->pidfd);
	shut(child);
	free(child);
}

void
child_run(struct child *child)
{
	child->is_wanted = true;
	start(child);
}

bool
child_is_up(const struct child *child)
{
	return child->sock >= 0;
}
