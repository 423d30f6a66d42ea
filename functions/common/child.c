#include "functions/common/child.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

/* What the process has one of. */
static FCGX_Request *served;
static bool is_child;

/* Only calls that are async-signal-safe: other threads may have held any lock. */
static void
forget(void)
{
	int null;

	if (served == NULL)
		return;
	is_child = true;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0) {
		close(served->ipcFd);
		close(served->listen_sock);
		return;
	}
	(void)dup3(null, served->ipcFd, O_CLOEXEC);
	(void)dup3(null, served->listen_sock, O_CLOEXEC);
	close(null);
}

int
child_init(void)
{
	return pthread_atfork(NULL, NULL, forget) == 0 ? 0 : -ENOMEM;
}

void
child_watch(FCGX_Request *request)
{
	served = request;
}

bool
child_is_one(void)
{
	return is_child;
}
