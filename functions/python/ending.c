#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "functions/python/ending.h"
#include "functions/python/report.h"

static volatile sig_atomic_t is_ready;
static volatile sig_atomic_t is_ending;
static int wake_fd = -1;
static pid_t owner;

static void
on_term(int number)
{
	static const uint64_t one = 1;
	int saved = errno;

	if (getpid() != owner) {
		signal(number, SIG_DFL);
		raise(number);
		return;
	}
	if (!is_ready)
		_exit(EXIT_SUCCESS);
	is_ending = 1;
	if (write(wake_fd, &one, sizeof(one)) < 0)
		(void)0; /* it has been woken before */
	errno = saved;
}

int
ending_init(void)
{
	struct sigaction action = { .sa_handler = on_term,
		/* what libfcgi reads and writes is not to be interrupted */
		.sa_flags = SA_RESTART };

	owner = getpid();
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0 || sigaction(SIGTERM, &action, NULL) < 0)
		return -errno;
	return 0;
}

void
ending_set_ready(bool is_it)
{
	is_ready = is_it;
}

/* A Python handler has run: true, if it wants the program to end. */
static bool
has_exited(void)
{
	if (PyErr_CheckSignals() == 0)
		return false;
	if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
	    PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
		PyErr_Clear();
		return true;
	}
	report_exception();
	return false;
}

int
ending_wait(int fd)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN | POLLRDHUP },
		{ .fd = wake_fd, .events = POLLIN },
	};

	for (;;) {
		int n;

		Py_BEGIN_ALLOW_THREADS
		n = poll(fds, 2, -1);
		Py_END_ALLOW_THREADS
		if (is_ending)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0 && has_exited())
			return 0;
		if (n <= 0)
			continue;
		if (fds[0].revents & (POLLRDHUP | POLLHUP | POLLERR))
			return -EPIPE;
		return 1;
	}
}
