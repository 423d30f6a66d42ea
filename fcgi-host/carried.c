#include <string.h>
#include <sys/socket.h>

#include "fcgi-host/carried.h"
#include "fcgi-host/log.h"
#include "fcgi-host/notify.h"
#include "fcgi-host/sock.h"

/* Some thousand descriptors; for those that find no room it is as without. */
#define BUFFER_BYTES (8 << 20)

static bool
is_pair(int fd)
{
	int domain = 0, type = 0;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	    domain == AF_UNIX && type == SOCK_SEQPACKET;
}

void
carried_take(struct carried *carried, struct given *given)
{
	size_t i;

	for (i = 0; i < given->count; i++) {
		struct given_fd *one = &given->at[i];

		if (one->fd < 0 || strcmp(one->name, CARRIED_NAME) != 0)
			continue;
		close_fd(&carried->from);
		if (is_pair(one->fd) && fd_set_nonblock(one->fd, true) == 0)
			carried->from = steal_fd(&one->fd);
		close_fd(&one->fd);
	}
}

void
carried_open(struct carried *carried)
{
	const int bytes = BUFFER_BYTES;
	int pair[2] = { -1, -1 };
	int error = sock_pair(pair);

	if (error == 0)
		error = fd_set_nonblock(pair[0], true);
	if (error == 0)
		error = fd_set_nonblock(pair[1], true);
	if (error != 0) {
		close_fd(&pair[0]);
		close_fd(&pair[1]);
		log_event(LOG_WARN, "kept", "error=\"%s\"", strerror(-error));
	} else if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes,
	    sizeof(bytes)) != 0) {
		(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes,
		    sizeof(bytes));
	}
	carried->in = pair[0];
	carried->out = pair[1];
}

void
carried_store(const struct carried *carried)
{
	notify_unstore(CARRIED_NAME);
	if (carried->out >= 0)
		notify_store(carried->out, CARRIED_NAME);
}

void
carried_close(struct carried *carried)
{
	close_fd(&carried->from);
	close_fd(&carried->in);
	close_fd(&carried->out);
}
