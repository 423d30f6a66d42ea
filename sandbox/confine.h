/*
 * How the host's own unprivileged roles give up their rights, before the first
 * outside byte.  Each call is final and fatal on failure (it returns only when
 * every step was verified).
 */
#ifndef SANDBOX_CONFINE_H
#define SANDBOX_CONFINE_H

#include <sys/types.h>

struct confine {
	uid_t uid;
	gid_t gid;
	int root_fd; /* gateway: the directory that becomes its root */
	int read_fd; /* scanner: the directory that it may read (and becomes cwd) */
	int spool_fd; /* gateway: the directory where it may make unlinked files */
};

/* 0, or a negative errno with the failed step's static name in *step.  When not
 * root, the steps that need root are left out. */
int confine_gateway(const struct confine *confine, const char **step);
int confine_scanner(const struct confine *confine, const char **step);

#endif
