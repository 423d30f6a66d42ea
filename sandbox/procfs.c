#include "sandbox/procfs.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mount.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

/* entries that one comes to have, four a start */
#define HOST_USES_MAX 32

static bool
option_set(int fs, const char *key, const char *value)
{
	return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) == 0;
}

/* hidepid=invisible hides init too, which is not dumpable; subset=pid leaves
 * sys, sysrq-trigger, kcore and all of that kind out. */
static bool
options_set(int fs, enum procfs_use use)
{
	return (use != PROCFS_OF_PROGRAM ||
	           option_set(fs, "hidepid", "invisible")) &&
	    (use == PROCFS_OF_HOST || option_set(fs, "subset", "pid"));
}

int
procfs_new(enum procfs_use use)
{
	unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
	    MOUNT_ATTR_NOEXEC |
	    (use == PROCFS_OF_PROGRAM ? MOUNT_ATTR_RDONLY : 0u);
	int fs = fsopen("proc", FSOPEN_CLOEXEC);
	int fd = -1;

	if (fs < 0)
		return -errno;
	if (options_set(fs, use) &&
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	if (fd < 0)
		fd = -errno;
	close(fs);
	return fd;
}

int
procfs_host_fd(struct procfs_host *host)
{
	int fd;

	if (host->fd >= 0 && host->uses++ < HOST_USES_MAX)
		return host->fd;
	fd = procfs_new(PROCFS_OF_HOST);
	/* an old one is slower, and no worse */
	if (fd < 0)
		return host->fd >= 0 ? host->fd : fd;
	close_fd(&host->fd);
	host->fd = fd;
	host->uses = 1;
	return fd;
}
