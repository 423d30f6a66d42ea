#include "sandbox/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/devices.h"
#include "sandbox/image.h"
#include "sandbox/plan.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

#define ATTR_ALWAYS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME)

/* ------------------------------------------------------------- making mounts */

/* A detached tmpfs; options are name-value pairs up to a NULL. */
static int
tmpfs_new(uint64_t attributes, const char *const *options)
{
	CLEANUP_FD int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return -errno;
	for (; *options != NULL; options += 2) {
		if (fsconfig(fs, FSCONFIG_SET_STRING, options[0], options[1],
		        0) != 0)
			return -errno;
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attributes);
	return fd < 0 ? -errno : fd;
}

static int
mount_set(int fd, uint64_t attributes, unsigned flags)
{
	/* MNT_NOATIME is a value of a field, which must be cleared whole. */
	struct mount_attr attr = {
		.attr_set = attributes,
		.attr_clr = attributes & MOUNT_ATTR_NOATIME ?
		    MOUNT_ATTR__ATIME : 0,
		.propagation = MS_PRIVATE,
	};

	return mount_setattr(fd, "", AT_EMPTY_PATH | flags, &attr,
	           sizeof(attr)) != 0 ? -errno : 0;
}

/*
 * A detached copy of a mount of the host.  Private, so that what is mounted on
 * the host later does not show up in the sandbox.
 */
static int
bind_at(int dir, const char *path, uint64_t attributes, unsigned recursive)
{
	int fd = open_tree(dir, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW |
	    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
	int error;

	if (fd < 0)
		return -errno;
	error = mount_set(fd, attributes, recursive);
	/* How the machine's mounts note the time of access is nothing that a
	 * user namespace may change, and nothing that a sandbox hangs on. */
	if (error == -EPERM)
		error = mount_set(fd, attributes & ~(uint64_t)MOUNT_ATTR_NOATIME,
		    recursive);
	if (error != 0) {
		close(fd);
		return error;
	}
	return fd;
}

static int
bind_new(int source, uint64_t attributes, bool is_recursive)
{
	return bind_at(source, "", attributes | ATTR_ALWAYS,
	    is_recursive ? AT_RECURSIVE : 0);
}

static int
is_folder(int fd)
{
	struct statx st;

	/* Of a file system over the network nobody asks the server: one that
	 * does not answer would hold up everybody's starts. */
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE,
	    &st) == 0 && S_ISDIR(st.stx_mode);
}

/* Takes fd (a negative errno is passed through). */
static int
add(struct mounts *mounts, int fd, enum mounts_use use, const char *path)
{
	struct mounts_item *item;

	if (fd < 0)
		return fd;
	if (mounts->count == MOUNTS_MAX || strlen(path) >= MOUNTS_PATH_MAX) {
		close(fd);
		return -E2BIG;
	}
	item = &mounts->item[mounts->count++];
	item->fd = fd;
	item->use = use;
	item->is_folder = is_folder(fd);
	strcpy(item->path, path);
	return 0;
}

/* ------------------------------------------------------------------ the root */

static int
make_file(int root, const char *path, const char *text)
{
	CLEANUP_FD int fd = openat(root, path,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	size_t length = strlen(text);

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	return write(fd, text, length) == (ssize_t)length ? 0 : -EIO;
}

/* Makes the place on which a mount is hung, and what is above it. */
static int
make_place(int root, const char *path, bool is_for_folder)
{
	char part[MOUNTS_PATH_MAX];

	for (size_t i = 1; path[i] != '\0'; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path + 1, i - 1);
		part[i - 1] = '\0';
		if (mkdirat(root, part, 0755) != 0 && errno != EEXIST)
			return -errno;
	}
	if (!is_for_folder)
		return make_file(root, path + 1, "");
	if (mkdirat(root, path + 1, 0755) != 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int __attribute__((format(printf, 3, 4)))
make_text(int root, const char *path, const char *format, ...)
{
	char text[512];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -E2BIG;
	return make_file(root, path, text);
}

/* Names for the tenant's ids, so that getpwuid works; nobody else's. */
static int
make_stubs(int root, const struct sandbox_plan *plan)
{
	int error = make_text(root, "etc/passwd",
	    "root:x:0:0:root:/:/usr/sbin/nologin\n"
	    "fn:x:%u:%u:function:/tmp:/usr/sbin/nologin\n",
	    (unsigned)plan->uid, (unsigned)plan->gid);

	if (error == 0)
		error = make_text(root, "etc/group", "root:x:0:\nfn:x:%u:\n",
		    (unsigned)plan->gid);
	if (error == 0)
		error = make_text(root, "etc/hosts",
		    "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n",
		    plan->hostname);
	if (error == 0)
		error = make_text(root, "etc/nsswitch.conf",
		    "passwd: files\ngroup: files\nhosts: files%s\n",
		    plan->network == SANDBOX_NETWORK_EGRESS ? " dns" : "");
	if (error == 0 && plan->resolv_conf != NULL)
		error = make_file(root, "etc/resolv.conf", plan->resolv_conf);
	return error;
}

static int
make_root(struct mounts *mounts, const struct image *image,
    const struct sandbox_plan *plan)
{
	static const char *const options[] = { "size", "256k", "nr_inodes",
		"256", "mode", "0755", NULL };
	static const char *const folders[] = { "etc", "proc" };
	int error = 0;

	mounts->root_fd = tmpfs_new(ATTR_ALWAYS, options);
	if (mounts->root_fd < 0)
		return mounts->root_fd;
	for (size_t i = 0; i < 2; i++) {
		if (mkdirat(mounts->root_fd, folders[i], 0755) != 0)
			return -errno;
	}
	for (size_t i = 0; i < image->link_count && error == 0; i++) {
		const struct image_link *link = &image->link[i];

		if (link->target[0] != '\0' && symlinkat(link->target,
		        mounts->root_fd, link->name) != 0)
			error = -errno;
	}
	return error != 0 ? error : make_stubs(mounts->root_fd, plan);
}

/* --------------------------------------------------------- what stands in it */

static int
add_runtime(struct mounts *mounts, const struct image *image)
{
	int error = add(mounts, bind_new(image->usr_fd, MOUNT_ATTR_RDONLY, true),
	    MOUNTS_USE_RUN, "/usr");

	for (size_t i = 0; i < image->link_count && error == 0; i++) {
		CLEANUP_FD int fd = -1;
		char path[32];

		if (image->link[i].target[0] != '\0')
			continue;
		fd = openat(image->slash_fd, image->link[i].name,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		snprintf(path, sizeof(path), "/%s", image->link[i].name);
		error = add(mounts, bind_new(fd, MOUNT_ATTR_RDONLY, true),
		    MOUNTS_USE_RUN, path);
	}
	return error;
}

/* The time zone is mostly a link, whose text is itself the answer. */
static int
add_localtime(struct mounts *mounts, const struct image *image)
{
	char target[128];
	ssize_t n = readlinkat(image->etc_fd, "localtime", target,
	    sizeof(target) - 1);

	if (n <= 0)
		return 0;
	target[n] = '\0';
	if (strncmp(target, "/usr/", 5) != 0)
		return 0;
	return symlinkat(target, mounts->root_fd, "etc/localtime") != 0 ?
	    -errno : 0;
}

/* Opened anew for every tree: ldconfig and update-ca-certificates replace these
 * files. */
static int
add_etc(struct mounts *mounts, const struct image *image)
{
	const char *const *name = image_etc_names();
	const uint64_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC;

	for (; *name != NULL; name++) {
		CLEANUP_FD int fd = image_etc(image, *name);
		char path[64];
		int error;

		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		snprintf(path, sizeof(path), "/etc/%s", *name);
		error = add(mounts, bind_new(fd, attributes, false),
		    MOUNTS_USE_NONE, path);
		if (error != 0)
			return error;
	}
	return add_localtime(mounts, image);
}

/* A user's: the machine's own, each hung onto an empty file. */
static int
add_nodes(struct mounts *mounts, int slash_fd)
{
	int error = 0;

	for (size_t i = 0; devices_name(i) != NULL && error == 0; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/dev/%s", devices_name(i));
		error = add(mounts, bind_at(slash_fd, path + 1,
		        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0),
		    MOUNTS_USE_NONE, path);
	}
	return error;
}

static int
add_dev(struct mounts *mounts, const struct image *host)
{
	static const char *const options[] = { "size", "16k", "nr_inodes", "32",
		"mode", "0755", NULL };
	int fd = tmpfs_new(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, options);
	int error = fd < 0 ? fd : devices_fill(fd, host->is_users);

	if (error == 0)
		error = mount_set(fd, MOUNT_ATTR_RDONLY, 0);
	if (error != 0) {
		if (fd >= 0)
			close(fd);
		return error;
	}
	error = add(mounts, fd, MOUNTS_USE_DEVICE, "/dev");
	return error == 0 && host->is_users ?
	    add_nodes(mounts, host->slash_fd) : error;
}

/* Owned by root, so that a program cannot change the directory's own mode. */
static int
add_scratch(struct mounts *mounts, uint64_t bytes, const char *path)
{
	uint64_t pages = bytes / 4096;
	uint64_t inodes = pages < 256 ? 256 : pages > 65536 ? 65536 : pages;
	char size_text[24], inodes_text[24];
	const char *const options[] = { "size", size_text, "nr_inodes",
		inodes_text, "mode", "1777", NULL };

	snprintf(size_text, sizeof(size_text), "%llu",
	    (unsigned long long)(pages == 0 ? 4096 : pages * 4096));
	snprintf(inodes_text, sizeof(inodes_text), "%llu",
	    (unsigned long long)inodes);
	return add(mounts,
	    tmpfs_new(ATTR_ALWAYS | MOUNT_ATTR_NOEXEC, options),
	    MOUNTS_USE_WRITE, path);
}

static int
add_function(struct mounts *mounts, const struct sandbox_plan *plan)
{
	char path[MOUNTS_PATH_MAX] = SANDBOX_FN_DIR;
	int n;

	if (!plan->function_is_folder) {
		if (plan->function_file == NULL ||
		    strchr(plan->function_file, '/') != NULL)
			return -EINVAL;
		n = snprintf(path, sizeof(path), SANDBOX_FN_DIR "/%s",
		    plan->function_file);
		if (n < 0 || (size_t)n >= sizeof(path))
			return -ENAMETOOLONG;
	}
	return add(mounts,
	    bind_new(plan->function_fd, MOUNT_ATTR_RDONLY, false),
	    MOUNTS_USE_RUN, path);
}

/* The mount that a path of the sandbox lies in and what is left of the path
 * there, or NULL: the fresh root. */
static const struct mounts_item *
find_cover(const struct mounts *mounts, const char *path, const char **rest)
{
	for (size_t i = mounts->count; i-- > 0;) {
		const struct mounts_item *item = &mounts->item[i];
		size_t n = strlen(item->path);

		if (strncmp(path, item->path, n) != 0 || path[n] != '/')
			continue;
		*rest = path + n + 1;
		return item;
	}
	return NULL;
}

/*
 * A bind below another mount is hung on what stands there.  Not by way of a link:
 * the child hangs it up while the host's root is still its own, and an image's
 * link could lead it there.
 */
static int
check_place(const struct mounts *mounts, const struct image *image,
    const char *path)
{
	const char *rest;
	const struct mounts_item *item = find_cover(mounts, path, &rest);
	size_t n = strcspn(path + 1, "/");

	if (item != NULL)
		return image_check_beneath(item->fd, rest);
	for (size_t i = 0; i < image->link_count; i++) {
		const struct image_link *link = &image->link[i];

		if (strlen(link->name) == n && link->target[0] != '\0' &&
		    memcmp(link->name, path + 1, n) == 0)
			return -ELOOP;
	}
	return 0;
}

/* A tree is writable or executable, never both.  image: NULL where there are no
 * binds. */
static int
add_binds(struct mounts *mounts, const struct image *image,
    const struct sandbox_plan *plan, const char **step)
{
	int error = 0;

	/* No socket there, by which an instance would be given what another
	 * has: memory of /tmp that outlives it and its bounds, a network. */
	if (plan->data_fd >= 0)
		error = add(mounts,
		    bind_new(plan->data_fd, MOUNT_ATTR_NOEXEC, false),
		    MOUNTS_USE_KEEP, "/data");
	for (size_t i = 0; i < plan->bind_count && error == 0; i++) {
		const struct sandbox_bind *bind = &plan->binds[i];

		if (bind->path[0] != '/' || bind->path[1] == '\0' ||
		    strstr(bind->path, "..") != NULL)
			return -EINVAL;
		error = check_place(mounts, image, bind->path);
		if (error != 0) {
			*step = bind->path;
			return error;
		}
		error = add(mounts, bind_new(bind->fd, bind->is_writable ?
		        MOUNT_ATTR_NOEXEC : MOUNT_ATTR_RDONLY, true),
		    bind->is_writable ? MOUNTS_USE_WRITE : MOUNTS_USE_RUN,
		    bind->path);
	}
	return error;
}

/* What lies below another mount finds its place in that one. */
static int
make_places(int root_fd, const struct mounts *mounts)
{
	int error = 0;

	for (size_t i = 0; i < mounts->count && error == 0; i++)
		error = make_place(root_fd, mounts->item[i].path,
		    mounts->item[i].is_folder);
	return error;
}

static const struct image *
image_of(const struct sandbox_plan *plan, const struct image *host)
{
	return plan->image != NULL ? plan->image : host;
}

static int
prepare_common(struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step)
{
	const struct image *image = image_of(plan, host);
	int error;

	*step = "fresh root";
	error = make_root(mounts, image, plan);
	if (error == 0) {
		*step = "/usr";
		error = add_runtime(mounts, image);
	}
	if (error == 0) {
		*step = "/etc";
		error = add_etc(mounts, image);
	}
	if (error == 0) {
		*step = "/dev";
		error = add_dev(mounts, host);
	}
	return error;
}

static int
prepare_own(struct mounts *mounts, const struct image *image,
    const struct sandbox_plan *plan, const char **step)
{
	int error;

	*step = "/tmp";
	error = add_scratch(mounts, plan->tmp_bytes, "/dev/shm");
	if (error == 0)
		error = add_scratch(mounts, plan->tmp_bytes, "/tmp");
	if (error == 0) {
		*step = "the function's mount";
		error = add_function(mounts, plan);
	}
	if (error == 0) {
		*step = "/data and binds";
		error = add_binds(mounts, image, plan, step);
	}
	return error;
}

static int
prepare_places(struct mounts *mounts, const struct mounts *others,
    const char **step)
{
	int error;

	*step = "mount points";
	error = make_places(mounts->root_fd, mounts);
	if (error == 0 && others != NULL)
		error = make_places(mounts->root_fd, others);
	return error;
}

/* Before anything is in it. */
static mode_t
begin(struct mounts *mounts)
{
	mounts->root_fd = mounts->ns_fd = -1;
	mounts->count = 0;
	return umask(022);
}

static int
end(struct mounts *mounts, mode_t mask, int error)
{
	umask(mask);
	if (error != 0)
		mounts_release(mounts);
	return error;
}

int
mounts_prepare(struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step)
{
	mode_t mask = begin(mounts);
	int error = prepare_common(mounts, host, plan, step);

	if (error == 0)
		error = prepare_own(mounts, image_of(plan, host), plan, step);
	if (error == 0)
		error = prepare_places(mounts, NULL, step);
	return end(mounts, mask, error);
}

int
mounts_prepare_common(struct mounts *mounts, const struct mounts *own,
    const struct image *host, const struct sandbox_plan *plan,
    const char **step)
{
	mode_t mask = begin(mounts);
	int error = prepare_common(mounts, host, plan, step);

	if (error == 0)
		error = prepare_places(mounts, own, step);
	return end(mounts, mask, error);
}

int
mounts_prepare_own(struct mounts *mounts, const struct sandbox_plan *plan,
    const char **step)
{
	mode_t mask = begin(mounts);

	return end(mounts, mask, prepare_own(mounts, plan->image, plan, step));
}

void
mounts_release(struct mounts *mounts)
{
	close_fd(&mounts->root_fd);
	for (size_t i = 0; i < mounts->count; i++)
		close_fd(&mounts->item[i].fd);
	mounts->count = 0;
}
