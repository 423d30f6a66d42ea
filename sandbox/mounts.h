/*
 * The tree that an instance sees.  The spawner's side makes every mount
 * detached and finished (read-only, nosuid, nodev); the child only hangs them
 * into a fresh root by descriptor and changes to it.
 */
#ifndef SANDBOX_MOUNTS_H
#define SANDBOX_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

struct sandbox_plan;

#define MOUNTS_MAX 56
#define MOUNTS_PATH_MAX 256
#define MOUNTS_LINKS_MAX 8

/* What Landlock lets the program do there. */
enum mounts_use {
	MOUNTS_USE_NONE, /* covered by the rule of a directory above */
	MOUNTS_USE_READ,
	MOUNTS_USE_RUN,    /* read and execute */
	MOUNTS_USE_WRITE,  /* read and write, never execute */
	MOUNTS_USE_DEVICE  /* read and write the nodes */
};

struct mounts_item {
	int fd; /* detached; -1: in the kept tree, which is to be entered */
	char path[MOUNTS_PATH_MAX]; /* absolute, in the sandbox */
	enum mounts_use use;
	bool is_folder;
};

struct mounts {
	int root_fd; /* -1: a kept tree's is the root */
	int ns_fd;   /* of the kept tree (see tree.h), borrowed; or -1 */
	struct mounts_item item[MOUNTS_MAX];
	size_t count;
};

/* A link or a folder of the host's "/": bin, lib, lib64 … */
struct mounts_link {
	char name[16];
	char target[64]; /* "": a folder, which is bound */
};

/* What stays open from the start on. */
struct mounts_host {
	/* A user namespace's: it may not make device files, nor change how
	 * the machine's mounts note the time of access. */
	bool is_users;
	int slash_fd, usr_fd, etc_fd;
	struct mounts_link link[MOUNTS_LINKS_MAX];
	size_t link_count;
};

/* 0, or a negative errno with the failed thing's static name in *step. */
int mounts_host_open(struct mounts_host *host, const char **step);
void mounts_host_close(struct mounts_host *host);

/* Makes the root and all mounts of a plan.  As above; on failure nothing is
 * left open. */
int mounts_prepare(struct mounts *mounts, const struct mounts_host *host,
    const struct sandbox_plan *plan, const char **step);
void mounts_release(struct mounts *mounts);

/*
 * The same in two parts: what a function's sandboxes have in common, with places
 * for the other part, and what each has for itself.
 */
int mounts_prepare_common(struct mounts *mounts, const struct mounts *own,
    const struct mounts_host *host, const struct sandbox_plan *plan,
    const char **step);
int mounts_prepare_own(struct mounts *mounts, const struct sandbox_plan *plan,
    const char **step);
/* What of the host's /etc stands in a tree, up to a NULL. */
extern const char *const mounts_etc_names[];

/*
 * The child's part, async-signal-safe.  In the new mount namespace: all mounts
 * private, the tree hung together, /proc of the new pid namespace in it, root
 * changed, the old one gone.  Or, in no new one yet: a copy of the kept tree's,
 * completed.  *proc_fd becomes a second, unattached /proc that
 * is writable (init's).  0 or a negative errno.
 */
int mounts_enter(const struct mounts *mounts, int *proc_fd);

/* As above for a tree that is to be kept: without any /proc. */
int mounts_change_root(const struct mounts *mounts);

#endif
