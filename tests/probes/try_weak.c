/*
 * A start has no switch for the mount and the pid namespace, and gets none for
 * a test: this program is linked with --wrap, so that what the start asks comes
 * by here.  The host's own files are shown through an overlay: what is written
 * there is gone with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/lend.h"
#include "sandbox/mounts.h"
#include "sandbox/plan.h"
#include "sandbox/procfs.h"
#include "tests/probes/try.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static unsigned left_out, was_left_out;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e,
    long f);
long __real_lend_clone(struct lender *lender, struct clone_args *arguments,
    void (*run)(const void *), const void *with, unsigned limit_ms, int *pidfd,
    enum lend_hold *hold);
long __wrap_lend_clone(struct lender *lender, struct clone_args *arguments,
    void (*run)(const void *), const void *with, unsigned limit_ms, int *pidfd,
    enum lend_hold *hold);
int __real_mounts_prepare(struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step);
int __wrap_mounts_prepare(struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step);
int __real_procfs_new(enum procfs_use use);
int __wrap_procfs_new(enum procfs_use use);

void
weak_begin(unsigned layers)
{
	left_out = layers & (LAYER_MOUNT | LAYER_PID);
	was_left_out = 0;
}

bool
weak_end(void)
{
	bool is_done = was_left_out == left_out;

	left_out = 0;
	return is_done;
}

static void
leave_out_pid(struct clone_args *clone)
{
	if (!(left_out & LAYER_PID))
		return;
	if (clone->flags & CLONE_NEWPID)
		was_left_out |= LAYER_PID;
	clone->flags &= ~(uint64_t)CLONE_NEWPID;
}

long
__wrap_lend_clone(struct lender *lender, struct clone_args *arguments,
    void (*run)(const void *), const void *with, unsigned limit_ms, int *pidfd,
    enum lend_hold *hold)
{
	leave_out_pid(arguments);
	return __real_lend_clone(lender, arguments, run, with, limit_ms, pidfd,
	    hold);
}

/* Not variadic: it takes whatever stands where six arguments would, and nobody
 * may look for more than there are in a list of them. */
long
__wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if (number == SYS_clone3)
		leave_out_pid((struct clone_args *)(void *)a);
	return __real_syscall(number, a, b, c, d, e, f);
}

/* --------------------------------------------------------- the host's tree */

static int
set(int fs, const char *key, const char *value)
{
	return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) != 0 ? -errno : 0;
}

static int
mount_new(const char *type, const char *const *options)
{
	CLEANUP_FD int fs = fsopen(type, FSOPEN_CLOEXEC);
	int error = fs < 0 ? -errno : 0, fd;

	for (; error == 0 && *options != NULL; options += 2)
		error = set(fs, options[0], options[1]);
	if (error == 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
		error = -errno;
	if (error != 0)
		return error;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* In this process's mount namespace, which is its own (box_setup). */
static int
make_overlay(const char *folder)
{
	static const char *const bounded[] = { "size", "64m", NULL };
	CLEANUP_FD int store = mount_new("tmpfs", bounded);
	char upper[128], work[128];
	const char *const options[] = { "lowerdir", "/", "upperdir", upper,
		"workdir", work, NULL };
	int fd;

	if (store < 0)
		return store;
	if (move_mount(store, "", AT_FDCWD, folder, MOVE_MOUNT_F_EMPTY_PATH) != 0)
		return -errno;
	snprintf(upper, sizeof(upper), "%s/upper", folder);
	snprintf(work, sizeof(work), "%s/work", folder);
	fd = mkdir(upper, 0755) != 0 || mkdir(work, 0755) != 0 ? -errno :
	    mount_new("overlay", options);
	umount2(folder, MNT_DETACH);
	return fd;
}

static int
add(struct mounts *mounts, int fd, const char *path, enum mounts_use use)
{
	struct mounts_item *item;

	if (fd < 0)
		return errno != 0 ? -errno : -EIO;
	if (mounts->count == MOUNTS_MAX) {
		close(fd);
		return -E2BIG;
	}
	item = &mounts->item[mounts->count++];
	item->fd = fd;
	item->use = use;
	item->is_folder = true;
	snprintf(item->path, sizeof(item->path), "%s", path);
	return mkdirat(mounts->root_fd, path + 1, 0755) != 0 &&
	    errno != EEXIST ? -errno : 0;
}

/* What a program finds at the same places, with the same rules of Landlock, but
 * writable, executable, without a bound that counts. */
static int
add_host_tree(struct mounts *mounts, int tree)
{
	static const struct {
		const char *path;
		enum mounts_use use;
		bool is_of_host; /* not by the overlay, which has no mounts */
	} places[] = { { "/usr", MOUNTS_USE_RUN, false },
		{ "/etc", MOUNTS_USE_NONE, false },
		{ "/root", MOUNTS_USE_NONE, false },
		{ "/home", MOUNTS_USE_NONE, false },
		{ "/var", MOUNTS_USE_NONE, false },
		{ "/boot", MOUNTS_USE_NONE, false },
		{ "/run", MOUNTS_USE_NONE, false },
		{ "/sys", MOUNTS_USE_NONE, true },
		{ "/dev", MOUNTS_USE_DEVICE, true } };
	int error = 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
		const char *path = places[i].path;
		int fd = places[i].is_of_host ?
		    open_tree(AT_FDCWD, path, flags | AT_RECURSIVE) :
		    open_tree(tree, path + 1, flags);

		if (fd < 0 && errno == ENOENT)
			continue;
		error = add(mounts, fd, path, places[i].use);
		if (error != 0)
			return error;
	}
	return 0;
}

static int
add_scratch(struct mounts *mounts, const char *path)
{
	/* The machine has a bound, though the sandbox has none. */
	static const char *const bounded[] = { "size", "256m", "mode", "1777",
		NULL };

	return add(mounts, mount_new("tmpfs", bounded), path, MOUNTS_USE_WRITE);
}

/* The function's folder and /data: as the plan binds them, without flags. */
static int
open_up(struct mounts *mounts, const struct mounts_item *item)
{
	struct mount_attr attr = { .attr_clr = MOUNT_ATTR_RDONLY |
		    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };

	if (mount_setattr(item->fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) != 0)
		return -errno;
	return add(mounts, fcntl(item->fd, F_DUPFD_CLOEXEC, 0), item->path,
	    item->use);
}

static bool
is_own(const char *path)
{
	return strncmp(path, "/fn", 3) == 0 || strcmp(path, "/data") == 0;
}

int
__wrap_mounts_prepare(struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step)
{
	int error = __real_mounts_prepare(mounts, host, plan, step);
	char folder[] = "/tmp/box-tree.XXXXXX";
	struct mounts whole;
	int tree;

	if (error != 0 || !(left_out & LAYER_MOUNT))
		return error;
	*step = "the host's tree";
	if (mkdtemp(folder) == NULL)
		return -errno;
	whole = *mounts;
	mounts->count = 0;
	tree = make_overlay(folder);
	rmdir(folder);
	error = tree < 0 ? tree : add_host_tree(mounts, tree);
	close_fd(&tree);
	if (error == 0)
		error = add_scratch(mounts, "/tmp");
	if (error == 0)
		error = add_scratch(mounts, "/dev/shm");
	for (size_t i = 0; i < whole.count; i++) {
		if (error == 0 && is_own(whole.item[i].path))
			error = open_up(mounts, &whole.item[i]);
		close(whole.item[i].fd);
	}
	if (error != 0)
		mounts_release(mounts);
	else
		was_left_out |= LAYER_MOUNT;
	return error;
}

/* The ordinary /proc, which is part of the tree. */
int
__wrap_procfs_new(enum procfs_use use)
{
	return __real_procfs_new(use == PROCFS_OF_PROGRAM &&
	    (left_out & LAYER_MOUNT) ? PROCFS_OF_HOST : use);
}
