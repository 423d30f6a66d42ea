#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/parcel.h"
#include "fcgi-host/sock.h"

struct parcel *
parcel_new(enum ctl_type type)
{
	struct ctl_msg msg;
	struct parcel *parcel;

	ctl_msg_init(&msg, type);
	parcel = malloc(offsetof(struct parcel, msg) + msg.size);
	if (parcel == NULL)
		return NULL;
	parcel->refs = 1;
	parcel->fd_count = 0;
	memcpy(&parcel->msg, &msg, msg.size);
	return parcel;
}

void
parcel_give(struct parcel *parcel, int *fd)
{
	if (*fd < 0)
		return;
	LOG_ASSERT(parcel->fd_count < PARCEL_FDS_MAX);
	parcel->fds[parcel->fd_count++] = steal_fd(fd);
}

int
parcel_lend(struct parcel *parcel, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return -errno;
	parcel_give(parcel, &copy);
	return 0;
}

struct parcel *
parcel_ref(struct parcel *parcel)
{
	parcel->refs++;
	return parcel;
}

void
parcel_unref(struct parcel *parcel)
{
	size_t i;

	if (parcel == NULL || --parcel->refs > 0)
		return;
	for (i = 0; i < parcel->fd_count; i++)
		close_fd(&parcel->fds[i]);
	free(parcel);
}
