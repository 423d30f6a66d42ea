/*
 * The part of a tree that all sandboxes of one function have alike: the root with
 * its stubs, /usr, what there is of /etc, and /dev.  Made once and kept in a mount
 * namespace in which no process lives; a start enters that and takes a copy of
 * it, and hangs up what is its own: /fn, /tmp, /dev/shm, /data and /proc.  That
 * saves a start most of its mounts and the copy of the host's, and nobody who is
 * to become a function's process ever sees those.
 *
 * It is read-only for all of them, belongs to one function and is made anew when
 * anything has changed that it was made of: by a look at each start, since
 * ldconfig and others replace files, and by the kernel's word that the host's
 * mount table is another.  Spawner's side of a start.
 */
#ifndef SANDBOX_TREE_H
#define SANDBOX_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "sandbox/mounts.h"

/* The host's mount table: what was made of another one is old. */
struct tree_watch {
	int fd; /* -1: nothing is kept here */
	uint64_t serial;
};

/* Where the kernel would refuse a kept tree its /proc, as in a user namespace,
 * or does not tell of changes, nothing is kept. */
void tree_watch_open(struct tree_watch *watch);

struct sandbox_tree;
struct graves;

/*
 * All mounts of a plan, by way of a kept tree: mounts_prepare's work at the first
 * start of its kind, which may remain the only one; made at the second.  Blocks
 * for a millisecond or two then.  0 or a negative errno, as mounts_prepare.
 */
int tree_prepare(struct sandbox_tree *tree, struct tree_watch *watch,
    struct graves *graves, struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step);

#endif
