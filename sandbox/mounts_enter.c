/* The child's part of a tree: async-signal-safe calls only. */
#include "sandbox/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/procfs.h"

static int
attach_proc(int root_fd, int *proc_fd)
{
	int fd = procfs_new(PROCFS_OF_PROGRAM);
	int error = 0;

	if (fd < 0)
		return fd;
	if (move_mount(fd, "", root_fd, "proc", MOVE_MOUNT_F_EMPTY_PATH) != 0)
		error = -errno;
	close(fd);
	if (error != 0)
		return error;
	*proc_fd = procfs_new(PROCFS_OF_INIT);
	return *proc_fd < 0 ? *proc_fd : 0;
}

/* What is there already has no descriptor. */
static int
hang_up(int root_fd, const struct mounts *mounts)
{
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mounts_item *item = &mounts->item[i];

		if (item->fd >= 0 && move_mount(item->fd, "", root_fd,
		        item->path + 1, MOVE_MOUNT_F_EMPTY_PATH) != 0)
			return -errno;
	}
	return 0;
}

static int
hang_up_root(const struct mounts *mounts)
{
	/* Nothing done here may reach the host's own mount table. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -errno;
	if (move_mount(mounts->root_fd, "", AT_FDCWD, "/",
	        MOVE_MOUNT_F_EMPTY_PATH) != 0)
		return -errno;
	return hang_up(mounts->root_fd, mounts);
}

static int
go_in(const struct mounts *mounts)
{
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY,
		.propagation = MS_PRIVATE };

	if (mount_setattr(mounts->root_fd, "", AT_EMPTY_PATH, &read_only,
	        sizeof(read_only)) != 0 ||
	    fchdir(mounts->root_fd) != 0 ||
	    syscall(SYS_pivot_root, ".", ".") != 0 ||
	    umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
		return -errno;
	return 0;
}

int
mounts_change_root(const struct mounts *mounts)
{
	int error = hang_up_root(mounts);

	return error != 0 ? error : go_in(mounts);
}

/* A copy, so that what is hung into it is this sandbox's own.  All mounts of the
 * kept one are private.  Entering makes its root the root and the directory. */
static int
enter_kept(const struct mounts *mounts, int *proc_fd)
{
	int error;

	if (setns(mounts->ns_fd, CLONE_NEWNS) != 0 ||
	    unshare(CLONE_NEWNS) != 0)
		return -errno;
	error = hang_up(AT_FDCWD, mounts);
	return error != 0 ? error : attach_proc(AT_FDCWD, proc_fd);
}

int
mounts_enter(const struct mounts *mounts, int *proc_fd)
{
	int error;

	if (mounts->ns_fd >= 0)
		return enter_kept(mounts, proc_fd);
	error = hang_up_root(mounts);
	if (error == 0)
		error = attach_proc(mounts->root_fd, proc_fd);
	return error != 0 ? error : go_in(mounts);
}
