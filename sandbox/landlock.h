/*
 * Landlock by raw system calls, for the instances and for the host's own
 * roles.  All calls are async-signal-safe.  Each right that the running kernel
 * knows is handled, so that what no rule allows is refused.
 */
#ifndef SANDBOX_LANDLOCK_H
#define SANDBOX_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum landlock_use {
	LANDLOCK_USE_READ = 1 << 0,    /* files and folders */
	LANDLOCK_USE_EXECUTE = 1 << 1,
	LANDLOCK_USE_WRITE = 1 << 2,   /* everything but executing and nodes */
	LANDLOCK_USE_REWRITE = 1 << 3, /* open existing files for writing */
	LANDLOCK_USE_LIST = 1 << 5,    /* folders' entries only */
	LANDLOCK_USE_KEEP = 1 << 6,    /* writing, but that no socket is made */
	LANDLOCK_USE_UNLINKED = 1 << 4 /* make, fill and remove files: a spool */
};

/* The kernel's ABI (1 …), or 0: none. */
int landlock_abi(void);

/*
 * A ruleset that handles all rights of that ABI: files, TCP, and from ABI 6
 * abstract sockets and signals to outside.  Its descriptor or negative errno.
 * has_internet: all but TCP, which a network namespace then bounds.
 */
int landlock_new(int abi, bool has_internet);

/* Allows `use` (LANDLOCK_USE_ bits) on what fd names (O_PATH will do) and, if
 * it is a folder, below it.  0 or negative errno. */
int landlock_allow(int ruleset, int abi, int fd, unsigned use, bool is_folder);

/* The same by path. */
int landlock_allow_path(int ruleset, int abi, const char *path, unsigned use,
    bool is_folder);

/* Final.  Needs no_new_privs.  0 or negative errno. */
int landlock_restrict(int ruleset);

#endif
