/*
 * Programs that were built of functions' files: one for a function and version, a
 * file of STATE/built that is made here, written by a build in its sandbox (through a
 * mount of that one file) and mounted read-only in the instances of that version.
 * The directory is root's alone, so a tenant names nothing in it; his file has one
 * name, one size that is bounded, and no links.  They do not outlive a run of the
 * host: the next one builds anew, and removes what one that died has left.  Spawner
 * only.
 */
#ifndef FCGI_HOST_BUILT_H
#define FCGI_HOST_BUILT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/ctl_msg.h"

/* Where its program stands in a function's sandbox. */
#define BUILT_PATH "/build/program"
/* A program's, and of all programs of a tenant together. */
#define BUILT_FILE_BYTES (UINT64_C(32) << 20)
#define BUILT_TENANT_BYTES (UINT64_C(256) << 20)
/* Builds at a time. */
#define BUILT_AT_ONCE 8

struct built;

/* state_fd: STATE, borrowed; STATE/built is made, and emptied.  NULL with a sentence
 * in problem. */
struct built *built_new(int state_fd, char *problem, size_t size);
/* Removes all.  Accepts NULL. */
void built_free(struct built *built);

/*
 * For a build of the function's version, by the instance id: an empty file of uid and
 * gid in the place of an earlier one.  0, and *fd is its descriptor (O_PATH, the
 * caller's).  -EDQUOT: the tenant's programs take BUILT_TENANT_BYTES; -EAGAIN: too
 * many builds at a time; -ENOMEM; what the disk says.
 */
int built_begin(struct built *built, const struct ctl_function *function,
    uint64_t id, uid_t uid, gid_t gid, int *fd);
/*
 * From here on NULL is accepted, where nothing is built.  All processes of the
 * instance are dead, which may have been a build's.
 */
void built_over(struct built *built, uint64_t id);
/* Their gateway is dead: no build that runs is believed. */
void built_disown(struct built *built);

/* Of exactly this version: 0, and *fd (O_PATH, the caller's); -ENODATA: there is
 * none, or its build is not over. */
int built_find(const struct built *built, const struct ctl_function *function,
    int *fd);
/* The function is gone, or is another one. */
void built_drop(struct built *built, const char *name);
/* Keeps that of this version alone. */
void built_keep(struct built *built, const struct ctl_function *function);

/* For tests. */
size_t built_count(const struct built *built);

#endif
