#include "sandbox/grave.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define DEATH_LIMIT_MS 1000

/* True: it is dead, and reaped. */
static bool
reap(int pidfd, int within_ms)
{
	struct pollfd dead = { .fd = pidfd, .events = POLLIN };
	siginfo_t info;

	while (poll(&dead, 1, within_ms) < 0 && errno == EINTR)
		continue;
	if ((dead.revents & POLLIN) == 0)
		return false;
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) != 0 &&
	    errno == EINTR)
		continue;
	return true;
}

static void
forget(struct graves *graves, size_t i)
{
	close_fd(&graves->pidfds[i]);
	graves->count--;
	memmove(&graves->pidfds[i], &graves->pidfds[i + 1],
	    (graves->count - i) * sizeof(graves->pidfds[0]));
}

void
graves_bury(struct graves *graves, int *pidfd)
{
	syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
	if (reap(*pidfd, DEATH_LIMIT_MS)) {
		close_fd(pidfd);
		return;
	}
	if (graves->count == GRAVES_MAX)
		forget(graves, 0);
	graves->pidfds[graves->count++] = steal_fd(pidfd);
}

void
graves_reap(struct graves *graves)
{
	for (size_t i = graves->count; i-- > 0;)
		if (reap(graves->pidfds[i], 0))
			forget(graves, i);
}

void
graves_close(struct graves *graves)
{
	while (graves->count > 0)
		forget(graves, graves->count - 1);
}
