/*
 * Instances of /proc that nobody has mounted anywhere yet: a sandbox's two, and
 * one of the host's own.
 */
#ifndef SANDBOX_PROCFS_H
#define SANDBOX_PROCFS_H

enum procfs_use {
	PROCFS_OF_PROGRAM, /* read-only; init is invisible in it */
	PROCFS_OF_INIT,    /* writable */
	PROCFS_OF_HOST     /* writable, with sys and the rest */
};

/* A detached mount of the caller's pid namespace.  Its descriptor or a negative
 * errno.  Async-signal-safe. */
int procfs_new(enum procfs_use use);

struct procfs_host {
	int fd; /* -1 before the first use, and after it was closed */
	unsigned uses;
};

/*
 * A whole /proc for children to set the sysctls of their namespaces by.  In the
 * machine's own each name has an entry for each live namespace, and a look-up
 * passes them all: with a thousand sandboxes that is most of a start.  So one is
 * kept apart, and is made anew now and then.  Borrowed, or a negative errno.
 */
int procfs_host_fd(struct procfs_host *host);

#endif
