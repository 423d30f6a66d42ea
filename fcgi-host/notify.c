#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/notify.h"
#include "fcgi-host/sock.h"

#define STORE_WAIT_S 1

/* The manager's socket, connected; -1: there is none. */
static int
manager(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path != NULL ? strlen(path) : 0;
	CLEANUP_FD int fd = -1;

	if (length < 2 || length >= sizeof(address.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return -1;
	memcpy(address.sun_path, path, length);
	/* An abstract name: the @ stands for the NUL byte that begins it. */
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) != 0)
		return -1;
	return steal_fd(&fd);
}

void
notify_send(const char *state)
{
	CLEANUP_FD int fd = manager();

	if (fd >= 0)
		(void)send(fd, state, strlen(state),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool
notify_stores(void)
{
	const char *most = getenv("FDSTORE");

	return most != NULL && most[0] >= '1' && most[0] <= '9' &&
	    getenv("NOTIFY_SOCKET") != NULL;
}

static void
store(const char *what, const char *name, const int *kept, size_t count)
{
	const struct timeval patience = { .tv_sec = STORE_WAIT_S };
	CLEANUP_FD int fd = notify_stores() ? manager() : -1;
	char state[NOTIFY_NAME_MAX + 64];
	int error = 0;

	if (fd < 0)
		return;
	/* FDPOLL=0: also one whose other end is closed is to be kept. */
	snprintf(state, sizeof(state), "%s=1\nFDNAME=%s\nFDPOLL=0", what,
	    name);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
	    sizeof(patience)) != 0)
		error = -errno;
	if (error == 0)
		error = sock_send(fd, state, strlen(state), kept, count);
	if (error != 0)
		log_event(LOG_WARN, "notify", "what=%s name=\"%s\" "
		    "error=\"%s\"", what, name, strerror(-error));
}

void
notify_store(int fd, const char *name)
{
	store("FDSTORE", name, &fd, 1);
}

void
notify_unstore(const char *name)
{
	store("FDSTOREREMOVE", name, NULL, 0);
}

void
notify_reloading(void)
{
	char state[64];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)loop_clock_us());
	notify_send(state);
}
