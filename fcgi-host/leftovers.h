/*
 * Leaves and branches of the host's cgroup that are to go: at once, or as soon as
 * the kernel has taken the last of their processes apart.  Spawner only.
 */
#ifndef FCGI_HOST_LEFTOVERS_H
#define FCGI_HOST_LEFTOVERS_H

#include "fcgi-host/loop.h"
#include "sandbox/cgroup.h"

struct leftovers;

/* Both are borrowed.  NULL: no memory. */
struct leftovers *leftovers_new(struct loop *loop,
    const struct cgroup_parent *cgroup);
/* The last try, and the end.  Accepts NULL. */
void leftovers_end(struct leftovers *leftovers);

/* Removes a leaf, or a branch, which waits for what stands in it.  arg: struct
 * leftovers, so that it may be given as a callback. */
void leftovers_remove(void *arg, const char *name);

#endif
