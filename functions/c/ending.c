#include "functions/c/ending.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

int
ending_wait(int fd)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN | POLLRDHUP },
		{ .fd = wake_fd, .events = POLLIN },
	};

	for (;;) {
		int n = poll(fds, 2, -1);

		if (is_ending)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		if (fds[0].revents & (POLLRDHUP | POLLHUP | POLLERR))
			return -EPIPE;
		return 1;
	}
}
