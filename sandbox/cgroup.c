#include "sandbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/cgroup_place.h"
#include "sandbox/kernfile.h"

#define PERIOD_US 100000
/* A killed process is gone within milliseconds; one that hangs in the kernel
 * must not hang us. */
#define KILL_WAIT_MS 2000
#define DEPTH_MAX 3 /* a leaf of a function's branch in a tenant's */

/* ------------------------------------------------------------------- files */

static ssize_t
file_read(int dir, const char *name, char *text, size_t size)
{
	CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return n;
}

static int
file_write_number(int dir, const char *name, uint64_t number)
{
	char text[24];

	(void)kernfile_number(text, number);
	return kernfile_write(dir, name, text);
}

/* Whether WORD stands in a list separated by spaces. */
static bool
has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL;
	     at += length) {
		bool is_start = at == list || at[-1] == ' ';

		if (is_start && (at[length] == ' ' || at[length] == '\n' ||
		                    at[length] == '\0'))
			return true;
	}
	return false;
}

static bool
file_has_word(int dir, const char *name, const char *word)
{
	char text[512];

	return file_read(dir, name, text, sizeof(text)) > 0 &&
	    has_word(text, word);
}

/* Names come from our own numbers; any other slash or dot is our bug. */
static bool
is_name(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL &&
	    strlen(name) < 200;
}

/* Up to `most` names, each below the one before. */
static bool
is_path(const char *path, int most)
{
	char name[200];
	size_t n;

	if (strlen(path) >= sizeof(name))
		return false;
	for (; most > 0; most--, path += n + 1) {
		n = strcspn(path, "/");
		memcpy(name, path, n);
		name[n] = '\0';
		if (!is_name(name))
			return false;
		if (path[n] == '\0')
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ killing */

static bool
is_populated(int leaf_fd)
{
	char text[256];

	return file_read(leaf_fd, "cgroup.events", text, sizeof(text)) > 0 &&
	    strstr(text, "populated 1") != NULL;
}

int
cgroup_leaf_kill(int leaf_fd)
{
	return kernfile_write(leaf_fd, "cgroup.kill", "1");
}

static void
kill_and_wait(int leaf_fd)
{
	const struct timespec pause = { 0, 2000000 };

	if (!is_populated(leaf_fd))
		return;
	cgroup_leaf_kill(leaf_fd);
	for (int ms = 0; ms < KILL_WAIT_MS && is_populated(leaf_fd); ms += 2)
		nanosleep(&pause, NULL);
}

/* What stands in it, whose processes are gone. */
static void
remove_below(int dir_fd, int depth)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (dir == NULL) {
		close_fd(&copy);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		CLEANUP_FD int child = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = openat(dir_fd, entry->d_name,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0)
			continue;
		if (depth == DEPTH_MAX)
			kill_and_wait(child);
		if (depth > 1)
			remove_below(child, depth - 1);
		unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

/* What a dead predecessor left: branches with their leaves, or leaves. */
static void
remove_stale(int parent_fd)
{
	remove_below(parent_fd, DEPTH_MAX);
}

/* --------------------------------------------------------------- the parent */

static const char *const controllers[] = { "memory", "pids", "cpu" };
#define CONTROLLERS (sizeof(controllers) / sizeof(controllers[0]))

static void
enable_controllers(int dir)
{
	for (size_t i = 0; i < CONTROLLERS; i++) {
		char text[16];

		/* One by one: a single one that is not there spoils a list. */
		snprintf(text, sizeof(text), "+%s", controllers[i]);
		if (file_has_word(dir, "cgroup.controllers", controllers[i]))
			kernfile_write(dir, "cgroup.subtree_control", text);
	}
}

static void
disable_controllers(int dir)
{
	for (size_t i = 0; i < CONTROLLERS; i++) {
		char text[16];

		snprintf(text, sizeof(text), "-%s", controllers[i]);
		if (file_has_word(dir, "cgroup.subtree_control", controllers[i]))
			kernfile_write(dir, "cgroup.subtree_control", text);
	}
}

static void
look_at_controllers(struct cgroup_parent *parent)
{
	static const char file[] = "cgroup.subtree_control";

	parent->has_memory = file_has_word(parent->fd, file, "memory");
	parent->has_pids = file_has_word(parent->fd, file, "pids");
	parent->has_cpu = file_has_word(parent->fd, file, "cpu");
}

static void
explain(struct cgroup_parent *parent, const struct cgroup_place *place)
{
	if (parent->has_memory && parent->has_pids && parent->has_cpu)
		return;
	if (place->is_hybrid)
		cgroup_place_explain_v1(parent->reason,
		    sizeof(parent->reason));
	else if (place->is_shared)
		snprintf(parent->reason, sizeof(parent->reason),
		    "other processes share the cgroup: start as a service "
		    "with Delegate=yes");
	else
		snprintf(parent->reason, sizeof(parent->reason),
		    "controllers are not delegated: set Delegate=yes in the "
		    "unit");
}

static int
clock_read(int dir, struct cgroup_cpu *cpu)
{
	CLEANUP_FD int fd = cgroup_leaf_open(dir, "cpu.stat", false);

	return fd < 0 ? fd : cgroup_cpu_read(fd, cpu);
}

int
cgroup_parent_cpu(const struct cgroup_parent *parent, struct cgroup_cpu *cpu)
{
	int error = parent->fd < 0 ? -EBADF : clock_read(parent->fd, cpu);

	if (error != 0)
		return error;
	cpu->usage_us -= parent->left.usage_us;
	cpu->user_us -= parent->left.user_us;
	cpu->system_us -= parent->left.system_us;
	return 0;
}

static int
parent_open_at(struct cgroup_parent *parent, int place_fd, const char *name)
{
	if (mkdirat(place_fd, name, 0755) != 0 && errno != EEXIST)
		return -errno;
	parent->fd = openat(place_fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return parent->fd < 0 ? -errno : 0;
}

/* A host that died left its leaves here, and its clock, which goes on: what
 * nobody has recorded of it is still there if this host dies at once, too. */
static int
parent_take_over(struct cgroup_parent *parent, int place_fd, const char *name)
{
	int error = parent_open_at(parent, place_fd, name);

	if (error != 0)
		return error;
	remove_stale(parent->fd);
	(void)clock_read(parent->fd, &parent->left);
	return 0;
}

static int
parent_make(struct cgroup_parent *parent, struct cgroup_place *place,
    const char *name)
{
	int error = parent_take_over(parent, place->fd, name);

	if (error != 0)
		return error;
	if (cgroup_place_leave(place))
		enable_controllers(place->fd);
	enable_controllers(parent->fd);
	look_at_controllers(parent);
	memcpy(parent->mount, place->mount, sizeof(parent->mount));
	snprintf(parent->path, sizeof(parent->path), "%s/%s",
	    strcmp(place->path, "/") == 0 ? "" : place->path, name);
	explain(parent, place);
	return 0;
}

int
cgroup_parent_open(struct cgroup_parent *parent, const char *name)
{
	struct cgroup_place place;
	int error;

	memset(parent, 0, sizeof(*parent));
	parent->fd = -1;
	if (!is_name(name))
		return -EINVAL;
	error = cgroup_place_find(&place);
	if (error != 0) {
		snprintf(parent->reason, sizeof(parent->reason),
		    error == -ENOENT ? "cgroup v2 is not mounted: boot with "
		                       "systemd, or mount cgroup2" :
		                       "cannot open the own cgroup: %s",
		    strerror(-error));
		return error;
	}
	error = parent_make(parent, &place, name);
	if (error != 0)
		snprintf(parent->reason, sizeof(parent->reason),
		    "cannot make a cgroup: %s; start as root, or as a service "
		    "or a scope with Delegate=yes", strerror(-error));
	close_fd(&place.fd);
	if (error != 0)
		close_fd(&parent->fd);
	return error;
}

/* The caller's own, or the one that is named. */
static int
find_used(struct cgroup_parent *parent, const char *path, bool *is_hybrid)
{
	struct cgroup_place place;
	struct statfs fs;
	int error = cgroup_place_find(&place);

	*is_hybrid = place.is_hybrid;
	if (path == NULL) {
		parent->fd = place.fd;
		memcpy(parent->mount, place.mount, sizeof(parent->mount));
		snprintf(parent->path, sizeof(parent->path), "%s", place.path);
		return error;
	}
	close_fd(&place.fd);
	snprintf(parent->path, sizeof(parent->path), "%s", path);
	parent->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent->fd < 0)
		return -errno;
	return fstatfs(parent->fd, &fs) == 0 &&
	    fs.f_type == CGROUP2_SUPER_MAGIC ? 0 : -ENOTSUP;
}

int
cgroup_parent_use(struct cgroup_parent *parent, const char *path)
{
	bool is_hybrid;
	int error;

	memset(parent, 0, sizeof(*parent));
	parent->fd = -1;
	error = find_used(parent, path, &is_hybrid);
	if (error != 0) {
		snprintf(parent->reason, sizeof(parent->reason),
		    error == -ENOTSUP ? "that is no cgroup v2" :
		    error == -ENOENT && path == NULL ?
		    "cgroup v2 is not mounted" : "cannot open the cgroup: %s",
		    strerror(-error));
		close_fd(&parent->fd);
		return error;
	}
	look_at_controllers(parent);
	if (parent->has_memory && parent->has_pids && parent->has_cpu)
		return 0;
	if (is_hybrid)
		cgroup_place_explain_v1(parent->reason,
		    sizeof(parent->reason));
	else
		snprintf(parent->reason, sizeof(parent->reason), "the cgroup "
		    "gives its children no others: see its "
		    "cgroup.subtree_control");
	return 0;
}

void
cgroup_parent_close(struct cgroup_parent *parent)
{
	CLEANUP_FD int above = -1;
	const char *name = strrchr(parent->path, '/');

	if (parent->fd < 0)
		return;
	remove_stale(parent->fd);
	disable_controllers(parent->fd);
	above = openat(parent->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close_fd(&parent->fd);
	if (above < 0 || name == NULL)
		return;
	unlinkat(above, name + 1, AT_REMOVEDIR);
	disable_controllers(above);
	cgroup_place_return(above);
}

/* ------------------------------------------------------ branches and leaves */

static int
write_cpu_max(int dir, uint64_t milli)
{
	char text[64];

	if (milli == 0)
		return kernfile_write(dir, "cpu.max", "max");
	snprintf(text, sizeof(text), "%" PRIu64 " %d",
	    milli * (PERIOD_US / 1000), PERIOD_US);
	return kernfile_write(dir, "cpu.max", text);
}

static int
leaf_limit(const struct cgroup_parent *parent, int leaf,
    const struct cgroup_limits *limits)
{
	int error = 0;

	if (parent->has_memory && limits->memory_bytes != 0) {
		error = file_write_number(leaf, "memory.max",
		    limits->memory_bytes);
		/* Absent without swap accounting; then there is none to use. */
		if (error == 0)
			error = kernfile_write(leaf, "memory.swap.max", "0");
		if (error == -ENOENT)
			error = 0;
		if (error == 0)
			error = kernfile_write(leaf, "memory.oom.group", "1");
	}
	if (error == 0 && parent->has_pids && limits->processes != 0)
		error = file_write_number(leaf, "pids.max", limits->processes);
	return error;
}

int
cgroup_leaf_limit_cpu(const struct cgroup_parent *parent, int leaf_fd,
    uint64_t milli)
{
	return parent->has_cpu && milli != 0 ? write_cpu_max(leaf_fd, milli) : 0;
}

int
cgroup_branch_make(const struct cgroup_parent *parent, const char *name)
{
	CLEANUP_FD int branch = -1;

	if (!is_path(name, DEPTH_MAX - 1))
		return -EINVAL;
	if (mkdirat(parent->fd, name, 0755) != 0)
		return -errno;
	branch = openat(parent->fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (branch < 0) {
		int error = -errno;

		unlinkat(parent->fd, name, AT_REMOVEDIR);
		return error;
	}
	enable_controllers(branch);
	return 0;
}

/* What cannot be taken back from its processes; or all, if that is not told. */
static uint64_t
kept_bytes(int branch)
{
	CLEANUP_FD int current_fd = cgroup_leaf_open(branch, "memory.current",
	    false);
	CLEANUP_FD int stat_fd = cgroup_leaf_open(branch, "memory.stat", false);
	uint64_t current, active, inactive;

	if (current_fd < 0 || cgroup_number_read(current_fd, &current) != 0)
		return UINT64_MAX;
	if (stat_fd >= 0 &&
	    cgroup_key_read(stat_fd, "active_file", &active) == 0 &&
	    cgroup_key_read(stat_fd, "inactive_file", &inactive) == 0)
		current -= active + inactive < current ? active + inactive :
		    current;
	return current;
}

static int
write_or_max(int dir, const char *file, uint64_t number)
{
	return number == 0 ? kernfile_write(dir, file, "max") :
	    file_write_number(dir, file, number);
}

static int
branch_memory(int branch, uint64_t wanted, uint64_t *now)
{
	bool is_lower = wanted != 0 && (*now == 0 || wanted < *now);
	int error;

	if (is_lower && kept_bytes(branch) > wanted)
		return -EBUSY;
	error = write_or_max(branch, "memory.max", wanted);
	if (error == 0)
		*now = wanted;
	return error;
}

int
cgroup_branch_limit(const struct cgroup_parent *parent, const char *name,
    const struct cgroup_limits *wanted, struct cgroup_limits *now)
{
	CLEANUP_FD int branch = -1;
	int error = 0, busy = 0;

	if (!is_path(name, DEPTH_MAX - 1))
		return -EINVAL;
	branch = openat(parent->fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (branch < 0)
		return -errno;
	if (parent->has_pids && wanted->processes != now->processes)
		error = write_or_max(branch, "pids.max", wanted->processes);
	if (error == 0)
		now->processes = wanted->processes;
	if (error == 0 && parent->has_cpu &&
	    wanted->cpu_milli != now->cpu_milli)
		error = write_cpu_max(branch, wanted->cpu_milli);
	if (error == 0)
		now->cpu_milli = wanted->cpu_milli;
	if (error == 0 && parent->has_memory &&
	    wanted->memory_bytes != now->memory_bytes)
		busy = branch_memory(branch, wanted->memory_bytes,
		    &now->memory_bytes);
	return error != 0 ? error : busy;
}

int
cgroup_branch_cpu(const struct cgroup_parent *parent, const char *name,
    struct cgroup_cpu *cpu)
{
	CLEANUP_FD int fd = -1;
	char path[224];

	if (!is_path(name, DEPTH_MAX - 1))
		return -EINVAL;
	snprintf(path, sizeof(path), "%s/cpu.stat", name);
	fd = cgroup_leaf_open(parent->fd, path, false);
	return fd < 0 ? fd : cgroup_cpu_read(fd, cpu);
}

int
cgroup_leaf_make(const struct cgroup_parent *parent, const char *name,
    const struct cgroup_limits *limits)
{
	int leaf, error;

	if (!is_path(name, DEPTH_MAX))
		return -EINVAL;
	if (mkdirat(parent->fd, name, 0755) != 0)
		return -errno;
	leaf = openat(parent->fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	error = leaf < 0 ? -errno : leaf_limit(parent, leaf, limits);
	if (error == 0)
		return leaf;
	close_fd(&leaf);
	unlinkat(parent->fd, name, AT_REMOVEDIR);
	return error;
}

int
cgroup_leaf_remove(const struct cgroup_parent *parent, const char *name)
{
	if (!is_path(name, DEPTH_MAX))
		return -EINVAL;
	return unlinkat(parent->fd, name, AT_REMOVEDIR) != 0 ? -errno : 0;
}

int
cgroup_leaf_open(int leaf_fd, const char *file, bool is_writable)
{
	int fd = openat(leaf_fd, file, O_NOFOLLOW | O_CLOEXEC |
	    (is_writable ? O_RDWR : O_RDONLY));

	return fd < 0 ? -errno : fd;
}
