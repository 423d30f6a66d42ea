#include "sandbox/weight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/cgroup_place.h"
#include "sandbox/kernfile.h"

#define WEIGHT_DEFAULT 100u

/*
 * Only what stands in no cgroup with a share of its own is shared out by session.
 * One that the root hands its share stands above all, whether it has the controller
 * for its own children or not.
 */
static bool
has_autogroups(const struct cgroup_parent *parent)
{
	CLEANUP_FD int fd = open("/proc/sys/kernel/sched_autogroup_enabled",
	    O_RDONLY | O_CLOEXEC);
	char digit;

	return fd >= 0 && read(fd, &digit, 1) == 1 && digit == '1' &&
	    access("/proc/self/autogroup", W_OK) == 0 &&
	    !cgroup_place_root_hands_down(parent->mount, "cpu") &&
	    !cgroup_place_is_below_v1("cpu");
}

enum weight_manner
weight_manner(const struct cgroup_parent *parent)
{
	if (parent->fd < 0)
		return WEIGHT_NONE; /* nobody knows who burns, either */
	if (parent->has_cpu)
		return WEIGHT_CGROUP;
	return has_autogroups(parent) ? WEIGHT_SESSIONS : WEIGHT_NONE;
}

const char *
weight_manner_name(enum weight_manner manner)
{
	static const char *const names[] = {
		[WEIGHT_NONE] = "none",
		[WEIGHT_CGROUP] = "cpu.weight",
		[WEIGHT_SESSIONS] = "autogroup",
	};

	return names[manner];
}

/* A step of nice is a factor of 1.25, as among processes. */
static int
cgroup_set(int branch, unsigned nice)
{
	unsigned weight = WEIGHT_DEFAULT * 100;
	char text[16];

	while (nice-- > 0)
		weight = weight * 4 / 5;
	snprintf(text, sizeof(text), "%u", weight < 100 ? 1 : weight / 100);
	return kernfile_write(branch, "cpu.weight", text);
}

/* ----------------------------------------------------------------- sessions */

/*
 * Between reading a number and using it its process may end and another have
 * it; the kernel hands out all other numbers before that one again, and what
 * could be hit is a new session's weight.
 */
static int
session_set(const char *pid, void *arg)
{
	const unsigned *nice = arg;
	char path[40], text[8];
	int error;

	snprintf(path, sizeof(path), "/proc/%.16s/autogroup", pid);
	snprintf(text, sizeof(text), "%u", *nice);
	error = kernfile_write(AT_FDCWD, path, text);
	return error == -ENOENT || error == -ESRCH ? 0 : error;
}

/* For each that stands in a list of a leaf, or of all leaves of a branch. */
typedef int each_fn(const char *number, void *arg);

static int
leaf_each(int branch, const char *leaf, const char *list, each_fn *fn,
    void *arg)
{
	char path[288], pid[24];
	FILE *file = NULL;
	int fd, error = 0;

	snprintf(path, sizeof(path), "%.255s/%.20s", leaf, list);
	fd = openat(branch, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	file = fdopen(fd, "r");
	if (file == NULL) {
		close(fd);
		return -ENOMEM;
	}
	while (fscanf(file, "%16s", pid) == 1) {
		int failed = fn(pid, arg);

		if (error == 0)
			error = failed;
	}
	fclose(file);
	return error;
}

static int
branch_each(int branch, const char *list, each_fn *fn, void *arg)
{
	int copy = openat(branch, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int error = 0;

	if (dir == NULL) {
		close_fd(&copy);
		return -ENOMEM;
	}
	while ((entry = readdir(dir)) != NULL) {
		int failed = 0;

		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			failed = leaf_each(branch, entry->d_name, list, fn,
			    arg);
		if (error == 0)
			error = failed;
	}
	closedir(dir);
	return error;
}

/* ---------------------------------------------------------------- the branch */

static int
branch_open(const struct cgroup_parent *parent, const char *branch)
{
	int fd = openat(parent->fd, branch, O_RDONLY | O_DIRECTORY |
	    O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int
weight_branch_set(const struct cgroup_parent *parent,
    enum weight_manner manner, const char *branch, unsigned nice)
{
	CLEANUP_FD int fd = -1;

	if (manner == WEIGHT_NONE)
		return -EOPNOTSUPP;
	if (nice > WEIGHT_NICE_MAX)
		return -EINVAL;
	fd = branch_open(parent, branch);
	if (fd < 0)
		return fd;
	return manner == WEIGHT_CGROUP ? cgroup_set(fd, nice) :
	    branch_each(fd, "cgroup.procs", session_set, &nice);
}

/* Of a thread: its status has such a line of its own under its number. */
static int
waits_add(const char *tid, void *arg)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	CLEANUP_FD int fd = -1;
	char path[40], text[4096];
	const char *at;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%.16s/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	text[n] = '\0';
	at = strstr(text, key);
	if (at == NULL)
		return -EPROTO;
	*(uint64_t *)arg += strtoull(at + strlen(key), NULL, 10);
	return 0;
}

int
weight_branch_waits(const struct cgroup_parent *parent, const char *branch,
    uint64_t *waits)
{
	CLEANUP_FD int fd = branch_open(parent, branch);

	*waits = 0;
	return fd < 0 ? fd : branch_each(fd, "cgroup.threads", waits_add,
	    waits);
}
