/*
 * Kept connections of web servers, from one run to the next: a pair of sockets,
 * into which a gateway that drains puts its idle ones as descriptors, and from
 * which the next run's gateway takes them.  So no web server finds a connection
 * closed under a request that it has just sent, which it could not send again.
 * The descriptors lie in the kernel's buffer meanwhile; the spawner, which
 * carries the pair's ends, never receives them.  Spawner only.
 */
#ifndef FCGI_HOST_CARRIED_H
#define FCGI_HOST_CARRIED_H

#include "fcgi-host/given.h"

#define CARRIED_NAME "kept-connections"

struct carried {
	int from; /* what the last run left, for this run's gateway; or -1 */
	int in;   /* for this run's gateway when it drains */
	int out;  /* the other end, for the next run */
};

#define CARRIED_INIT { -1, -1, -1 }

/* Takes what has the name from those that were given. */
void carried_take(struct carried *carried, struct given *given);
/* Makes this run's pair.  Without one idle connections are closed at the end. */
void carried_open(struct carried *carried);
/* Stores it with the service manager, in the place of the last one. */
void carried_store(const struct carried *carried);
void carried_close(struct carried *carried);

#endif
