#include "sandbox/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/kernfile.h"
#include "sandbox/procfs.h"

#define MAP_MAX 64

/* ------------------------------------------------------------------ the maps */

/* "INSIDE OUTSIDE 1", without stdio: a child between clone and exec asks. */
static int
write_map(int proc_fd, const char *path, uint64_t inside, uint64_t outside)
{
	char text[MAP_MAX], *at = kernfile_number(text, inside);

	*at++ = ' ';
	at = kernfile_number(at, outside);
	memcpy(at, " 1", 3);
	return kernfile_write(proc_fd, path, text);
}

/* An ordinary user may map only himself, and only when no process of the
 * namespace can put on or off groups: a group may also take rights away. */
static int
write_maps(int proc_fd, uid_t inside_uid, uid_t uid, gid_t inside_gid,
    gid_t gid)
{
	int error = kernfile_write(proc_fd, "self/setgroups", "deny");

	if (error == 0)
		error = write_map(proc_fd, "self/uid_map", inside_uid, uid);
	if (error == 0)
		error = write_map(proc_fd, "self/gid_map", inside_gid, gid);
	return error;
}

int
userns_apart(int proc_fd, uid_t uid, gid_t gid)
{
	if (unshare(CLONE_NEWUSER) != 0)
		return -errno;
	return write_maps(proc_fd, uid, 0, gid, 0);
}

bool
userns_is_single(void)
{
	FILE *file = fopen("/proc/self/uid_map", "re");
	unsigned long inside, outside, count, sum = 0;

	if (file == NULL)
		return false;
	while (sum < 2 &&
	    fscanf(file, "%lu %lu %lu", &inside, &outside, &count) == 3)
		sum += count;
	fclose(file);
	return sum == 1;
}

/* -------------------------------------------------------------- what can fail */

/* A switch of the machine's; -1: this kernel has none of the name. */
static long
sysctl_read(const char *path)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[24];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

static const struct {
	const char *path, *name;
	long closed; /* the value that forbids */
	const char *mend;
} switches[] = {
	{ "/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", 0,
	    "sysctl -w user.max_user_namespaces=10000" },
	{ "/proc/sys/kernel/unprivileged_userns_clone",
	    "kernel.unprivileged_userns_clone", 0,
	    "sysctl -w kernel.unprivileged_userns_clone=1" },
	{ "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
	    "kernel.apparmor_restrict_unprivileged_userns", 1,
	    "give fcgi-host-spawner an AppArmor profile with `userns,`, or "
	    "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" },
};

static int
fail(int error, const char *step, char *problem, size_t size)
{
	size_t i, count = sizeof(switches) / sizeof(switches[0]);

	for (i = 0; i < count; i++)
		if (sysctl_read(switches[i].path) == switches[i].closed)
			break;
	if (i < count)
		snprintf(problem, size, "without root a sandbox needs a user "
		    "namespace, and %s is %ld on this machine: as root %s; or "
		    "start as root", switches[i].name,
		    switches[i].closed, switches[i].mend);
	else
		snprintf(problem, size, "without root a sandbox needs a user "
		    "namespace, and %s: %s; a container or a chroot may forbid "
		    "it: start outside of it, or as root", step,
		    strerror(-error));
	return error;
}

/* ------------------------------------------------------- tried in a child */

static int
await(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EPERM;
}

/* The errno of what a child in namespaces of its own does, negative. */
static int
try_in_child(uint64_t namespaces, int (*act)(void))
{
	struct clone_args arguments = { .flags = namespaces |
		CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));

	if (pid == 0)
		_exit(-act());
	return pid < 0 ? -errno : await((pid_t)pid);
}

static int
mount_proc(void)
{
	int fd = procfs_new(PROCFS_OF_PROGRAM);

	return fd < 0 ? fd : 0;
}

static int
open_ceiling(void)
{
	return open("/proc/sys/kernel/shmall", O_WRONLY | O_CLOEXEC) < 0 ?
	    -errno : 0;
}

bool
userns_limits_ipc(void)
{
	return try_in_child(CLONE_NEWIPC, open_ceiling) == 0;
}

/* ---------------------------------------------------------------- entering */

int
userns_enter(char *problem, size_t size)
{
	CLEANUP_FD int proc_fd = open("/proc",
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int error;

	if (proc_fd < 0)
		return fail(-errno, "/proc cannot be opened", problem, size);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return fail(-errno, "the kernel makes none", problem, size);
	error = write_maps(proc_fd, 0, uid, 0, gid);
	if (error != 0)
		return fail(error, "its map of ids cannot be written", problem,
		    size);
	error = try_in_child(CLONE_NEWPID | CLONE_NEWNS, mount_proc);
	if (error == 0)
		return 0;
	/* mount_too_revealing in the kernel: what is hidden in the /proc that
	 * is there must not be seen in a new one. */
	snprintf(problem, size, "a sandbox's /proc cannot be mounted in an "
	    "ordinary user's namespace: %s; in a container whose /proc is "
	    "masked that needs --security-opt unmask=ALL (podman) or "
	    "systempaths=unconfined (docker); or start the host as root",
	    strerror(-error));
	return error;
}
