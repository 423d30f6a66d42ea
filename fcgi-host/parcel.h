/*
 * A message on its way to a role, with the descriptors that go along.  It is
 * reference-counted, because a function's report is kept for the gateway's
 * successors while it waits in a queue.  Spawner only.
 */
#ifndef FCGI_HOST_PARCEL_H
#define FCGI_HOST_PARCEL_H

#include <stddef.h>

#include "fcgi-host/ctl_msg.h"

#define PARCEL_FDS_MAX 6

struct parcel {
	unsigned refs;
	size_t fd_count;
	int fds[PARCEL_FDS_MAX]; /* owned */
	/* Only as much of it is there as its type has: most are a tenth of the
	 * largest, and a role that reads nothing lets 65,536 of them wait. */
	struct ctl_msg msg;
};

/* An empty message of the type, or NULL (no memory). */
struct parcel *parcel_new(enum ctl_type type);

/* Takes *fd (leaving -1); an fd of -1 is no descriptor and is left out. */
void parcel_give(struct parcel *parcel, int *fd);

/* Adds a duplicate of the borrowed fd.  0 or negative errno. */
int parcel_lend(struct parcel *parcel, int fd);

struct parcel *parcel_ref(struct parcel *parcel);
/* The last one closes the descriptors.  Accepts NULL. */
void parcel_unref(struct parcel *parcel);

#endif
