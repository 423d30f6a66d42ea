/*
 * The user namespaces of a host that an ordinary user has started.  The spawner
 * enters one in which he is root, before it does anything else, so that its code
 * goes on as if root had started it, with rights over what it makes itself and
 * none over the machine.  One id is all that he can have there; so each instance
 * gets a namespace of its own below, in which that id is called the tenant's
 * number, and in which nothing that the spawner made can be changed.
 */
#ifndef SANDBOX_USERNS_H
#define SANDBOX_USERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * The caller, which must have one thread only, becomes root of a new user
 * namespace with a mount namespace, in which a sandbox's /proc can be mounted.
 * 0, or a negative errno with a sentence that says why the machine forbids it,
 * and the mend.  After a failure the caller is to end.
 */
int userns_enter(char *problem, size_t size);

/* The caller's namespace has one user id only: it is one of userns_enter.  Of
 * several (a container's, or the machine's own) tenants can have their own. */
bool userns_is_single(void);

/* What only a child can try, for a host in such a namespace: whether the kernel
 * lets it set the ceilings of System V objects (Linux 6.8 and newer). */
bool userns_limits_ipc(void);

/*
 * The calling process, root by userns_enter, gets a namespace of its own, in
 * which its only ids are these.  proc_fd: a writable /proc of its pid namespace.
 * Async-signal-safe.  0 or a negative errno.
 */
int userns_apart(int proc_fd, uid_t uid, gid_t gid);

#endif
