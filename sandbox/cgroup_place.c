#include "sandbox/cgroup_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/kernfile.h"

#define OWN_CHILD "supervisor"

/* "0::/system.slice/x.service": the v2 line of /proc/self/cgroup. */
static int
find_own_path(char *path, size_t size, bool *is_hybrid)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[512];
	int error = -ENOENT;

	if (file == NULL)
		return -errno;
	*is_hybrid = false;
	while (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) != 0) {
			const char *names = strchr(line, ':');

			/* "5:name=systemd:" is no controller. */
			if (names != NULL && names[1] != 'n')
				*is_hybrid = true;
			continue;
		}
		error = strlen(line + 3) < size ? 0 : -ENAMETOOLONG;
		if (error == 0)
			strcpy(path, line + 3);
	}
	fclose(file);
	return error;
}

/* The mount point of cgroup2, from the fields of mountinfo: "… - TYPE". */
static int
find_mount(char *mount, size_t size)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[1024], root[256], point[256];
	int error = -ENOENT;

	if (file == NULL)
		return -errno;
	while (error == -ENOENT && fgets(line, sizeof(line), file) != NULL) {
		const char *type = strstr(line, " - ");

		if (type == NULL || strncmp(type + 3, "cgroup2 ", 8) != 0 ||
		    sscanf(line, "%*s %*s %*s %255s %255s", root, point) != 2)
			continue;
		if (strlen(point) < size) {
			strcpy(mount, point);
			error = 0;
		}
	}
	fclose(file);
	return error;
}

/* Whether a word stands in a list separated by commas. */
static bool
has_option(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (;; list++) {
		if (strncmp(list, word, n) == 0 &&
		    (list[n] == ',' || list[n] == '\0'))
			return true;
		list = strchr(list, ',');
		if (list == NULL)
			return false;
	}
}

/* The folder of a v1 mount with the controller, if the line is of one:
 * "… ROOT POINT … - cgroup SOURCE rw,memory". */
static bool
is_v1_with(const char *line, const char *controller, char folder[256])
{
	const char *type = strstr(line, " - cgroup ");
	const char *options = type == NULL ? NULL : strrchr(line, ' ');
	char *slash;

	if (options == NULL || !has_option(options + 1, controller) ||
	    sscanf(line, "%*s %*s %*s %*s %255s", folder) != 1)
		return false;
	slash = strrchr(folder, '/');
	if (slash != NULL && slash != folder)
		*slash = '\0';
	return true;
}

void
cgroup_place_explain_v1(char *out, size_t size)
{
	static const char *const wanted[] = { "memory", "pids", "cpu" };
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[1024], folder[256] = "", words[64] = "";
	size_t n = 0;

	for (size_t i = 0; i < 3 && file != NULL; i++) {
		bool is_there = false;

		rewind(file);
		while (!is_there && fgets(line, sizeof(line), file) != NULL) {
			line[strcspn(line, "\n")] = '\0';
			is_there = is_v1_with(line, wanted[i], folder);
		}
		if (is_there)
			n += (size_t)snprintf(words + n, sizeof(words) - n,
			    "%s%s", n > 0 ? ", " : "", wanted[i]);
	}
	if (file != NULL)
		fclose(file);
	snprintf(out, size, "on cgroup v1: %s, below %s; boot with "
	    "systemd.unified_cgroup_hierarchy=1", n > 0 ? words :
	    "some controllers", folder[0] != '\0' ? folder : "/sys/fs/cgroup");
}

bool
cgroup_place_root_hands_down(const char *mount, const char *controller)
{
	char path[300], line[512], *rest = line, *word;
	bool result = false;
	FILE *file;

	/* which the machine's own root has not: a container's was handed what
	 * it has */
	snprintf(path, sizeof(path), "%.256s/cgroup.events", mount);
	snprintf(path, sizeof(path), "%.256s/%s", mount, access(path, F_OK) == 0 ?
	    "cgroup.controllers" : "cgroup.subtree_control");
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	if (fgets(line, sizeof(line), file) != NULL)
		while ((word = strsep(&rest, " \n")) != NULL)
			result |= strcmp(word, controller) == 0;
	fclose(file);
	return result;
}

bool
cgroup_place_is_below_v1(const char *controller)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[512], names[128];
	bool result = false;
	int at = 0;

	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "%*d:%127[^:]:%n", names, &at) == 1 &&
		    has_option(names, controller))
			result = strcmp(line + at, "/\n") != 0;
	fclose(file);
	return result;
}

/* Whether a process other than this one stands in the cgroup.  Those that this
 * process cannot name show as 0. */
static bool
has_others(int dir)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	bool result = false;
	char line[32];

	if (file == NULL) {
		close_fd(&fd);
		return true;
	}
	while (fgets(line, sizeof(line), file) != NULL)
		result |= atol(line) != (long)getpid();
	fclose(file);
	return result;
}

static bool
has_controllers(int dir)
{
	CLEANUP_FD int fd = openat(dir, "cgroup.controllers",
	    O_RDONLY | O_CLOEXEC);
	char byte;

	return fd >= 0 && read(fd, &byte, 1) == 1 && byte != '\n';
}

int
cgroup_place_find(struct cgroup_place *place)
{
	char path[700];
	size_t length;
	int error = find_own_path(place->path, sizeof(place->path),
	    &place->is_hybrid);

	place->fd = -1;
	if (error == 0)
		error = find_mount(place->mount, sizeof(place->mount));
	if (error != 0)
		return error;
	/* Started again in the place into which a predecessor stepped. */
	length = strlen(place->path);
	if (length > sizeof(OWN_CHILD) &&
	    strcmp(place->path + length - sizeof(OWN_CHILD),
	        "/" OWN_CHILD) == 0)
		place->path[length - sizeof(OWN_CHILD)] = '\0';
	snprintf(path, sizeof(path), "%s%s", place->mount, place->path);
	place->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place->fd < 0)
		return -errno;
	place->is_root = faccessat(place->fd, "cgroup.events", F_OK, 0) != 0;
	place->is_shared = !place->is_root && has_others(place->fd);
	return 0;
}

static int
move_self(int dir, const char *file)
{
	return kernfile_write(dir, file, "0");
}

bool
cgroup_place_leave(struct cgroup_place *place)
{
	if (place->is_root)
		return true;
	if (place->is_shared || !has_controllers(place->fd))
		return false;
	if (mkdirat(place->fd, OWN_CHILD, 0755) != 0 && errno != EEXIST)
		return false;
	return move_self(place->fd, OWN_CHILD "/cgroup.procs") == 0;
}

void
cgroup_place_return(int place_fd)
{
	if (faccessat(place_fd, OWN_CHILD "/cgroup.procs", F_OK, 0) != 0)
		return;
	move_self(place_fd, "cgroup.procs");
	unlinkat(place_fd, OWN_CHILD, AT_REMOVEDIR);
}
