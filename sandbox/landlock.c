#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's headers. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* ABI 3 */
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#endif
#define ACCESS_NET_ALL 3ULL /* ABI 4: bind and connect of TCP */
#define SCOPED_ALL 3ULL     /* ABI 6: abstract sockets, signals */

#define ABI1_FS ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define READ_FS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define NODES_FS (LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)
#define FILE_FS \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_TRUNCATE | \
	    LANDLOCK_ACCESS_FS_IOCTL_DEV)

/* Grew with the ABIs; a kernel takes a longer struct if the rest is zero. */
struct ruleset_attr {
	uint64_t fs, net, scoped;
};

static uint64_t
handled_fs(int abi)
{
	uint64_t access = ABI1_FS;

	if (abi >= 2)
		access |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		access |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 5)
		access |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	return access;
}

int
landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 1 ? 0 : (int)abi;
}

int
landlock_new(int abi, bool has_internet)
{
	struct ruleset_attr attr = { handled_fs(abi), 0, 0 };
	size_t size = sizeof(attr.fs);
	long fd;

	if (abi >= 4) {
		attr.net = has_internet ? 0 : ACCESS_NET_ALL;
		size += sizeof(attr.net);
	}
	if (abi >= 6) {
		attr.scoped = SCOPED_ALL;
		size += sizeof(attr.scoped);
	}
	fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	return fd < 0 ? -errno : (int)fd;
}

static uint64_t
access_of(unsigned use)
{
	uint64_t access = 0;

	if (use & LANDLOCK_USE_READ)
		access |= READ_FS;
	if (use & LANDLOCK_USE_LIST)
		access |= LANDLOCK_ACCESS_FS_READ_DIR;
	if (use & LANDLOCK_USE_EXECUTE)
		access |= LANDLOCK_ACCESS_FS_EXECUTE;
	/* IOCTL_DEV stays out: no device is reachable that needs it. */
	if (use & (LANDLOCK_USE_WRITE | LANDLOCK_USE_KEEP))
		access |= (ABI1_FS & ~(uint64_t)(NODES_FS |
		    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_SOCK)) |
		    LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE;
	if (use & LANDLOCK_USE_WRITE)
		access |= LANDLOCK_ACCESS_FS_MAKE_SOCK;
	if (use & LANDLOCK_USE_REWRITE)
		access |= LANDLOCK_ACCESS_FS_WRITE_FILE |
		    LANDLOCK_ACCESS_FS_TRUNCATE;
	if (use & LANDLOCK_USE_UNLINKED)
		access |= LANDLOCK_ACCESS_FS_WRITE_FILE |
		    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_TRUNCATE |
		    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
	return access;
}

int
landlock_allow(int ruleset, int abi, int fd, unsigned use, bool is_folder)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = access_of(use) & handled_fs(abi),
		.parent_fd = fd,
	};

	/* Rights that only a folder can have are an error on a file. */
	if (!is_folder)
		rule.allowed_access &= FILE_FS;
	return syscall(SYS_landlock_add_rule, ruleset,
	           LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 ? -errno : 0;
}

int
landlock_allow_path(int ruleset, int abi, const char *path, unsigned use,
    bool is_folder)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	int error;

	if (fd < 0)
		return -errno;
	error = landlock_allow(ruleset, abi, fd, use, is_folder);
	close(fd);
	return error;
}

int
landlock_restrict(int ruleset)
{
	return syscall(SYS_landlock_restrict_self, ruleset, 0) != 0 ?
	    -errno : 0;
}
