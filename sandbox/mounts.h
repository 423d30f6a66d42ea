/*
 * The tree that an instance sees.  The spawner's side makes every mount
 * detached and finished (read-only, nosuid, nodev); the child only hangs them
 * into a fresh root by descriptor and changes to it.
 */
#ifndef SANDBOX_MOUNTS_H
#define SANDBOX_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

struct image;
struct sandbox_plan;

#define MOUNTS_MAX 60
#define MOUNTS_PATH_MAX 256

/* What Landlock lets the program do there. */
enum mounts_use {
	MOUNTS_USE_NONE, /* covered by the rule of a directory above */
	MOUNTS_USE_READ,
	MOUNTS_USE_RUN,    /* read and execute */
	MOUNTS_USE_WRITE,  /* read and write, never execute */
	MOUNTS_USE_KEEP,   /* the same, and no socket is made there */
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

/* Makes the root and all mounts of a plan, whose programs are the host's where it
 * has no image.  0, or a negative errno with the
 * failed thing's name in *step, static or a path of the plan's binds, which
 * then has no place; nothing is left open. */
int mounts_prepare(struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step);
void mounts_release(struct mounts *mounts);

/*
 * The same in two parts: what a function's sandboxes have in common, with places
 * for the other part, and what each has for itself.
 */
int mounts_prepare_common(struct mounts *mounts, const struct mounts *own,
    const struct image *host, const struct sandbox_plan *plan,
    const char **step);
int mounts_prepare_own(struct mounts *mounts, const struct sandbox_plan *plan,
    const char **step);

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
