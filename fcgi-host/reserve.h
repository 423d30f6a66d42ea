/*
 * Descriptors kept back.  A process that has used up its descriptors can no
 * longer do what would free some: take a message that carries some (the kernel
 * drops them, and the message has lost its meaning), start a role, switch a
 * log.  So the last numbers below the limit are out of reach in daily work, and
 * open only for those.  The kernel keeps the line (the soft limit), so no place
 * that makes a descriptor can forget it.  Gateway and spawner.
 */
#ifndef FCGI_HOST_RESERVE_H
#define FCGI_HOST_RESERVE_H

#include <sys/resource.h>

struct reserve {
	rlim_t all;   /* the limit with the reserve; 0: there is none */
	rlim_t daily; /* a descriptor of this number or above is of the reserve */
};

/* Keeps `count` descriptors back, or a quarter where that is less.  Without a
 * reserve (the limit cannot be read or set) everything works but at the limit.
 * 0 or a negative errno. */
int reserve_init(struct reserve *reserve, rlim_t count);

/* Between the two the reserve may be used.  A pair costs two system calls, and
 * they do not nest. */
void reserve_open(const struct reserve *reserve);
void reserve_close(const struct reserve *reserve);

#endif
