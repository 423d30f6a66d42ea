#include "fcgi-host/gateway_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/cgroup.h"
#include "sandbox/cgroup_place.h"

#define MIB (UINT64_C(1) << 20)
#define RESERVE_PART 20
#define RESERVE_LEAST (32 * MIB)
#define RESERVE_MOST (512 * MIB)

/* A file of lines "KEY NUMBER", or "KEY: NUMBER kB". */
struct keys {
	char text[8192];
};

static bool
keys_read(struct keys *keys, int fd)
{
	ssize_t n;

	do
		n = pread(fd, keys->text, sizeof(keys->text) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	keys->text[n] = '\0';
	return true;
}

/* 0: there is no such key. */
static uint64_t
keys_find(const struct keys *keys, const char *key)
{
	size_t length = strlen(key);
	const char *line = keys->text;

	while (line != NULL && strncmp(line, key, length) != 0) {
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return line == NULL ? 0 : strtoull(line + length, NULL, 10);
}

static uint64_t
less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int
file_open(const char *folder, const char *name)
{
	char path[800];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Takes the folder's files if its ceiling is the lowest so far. */
static void
ceiling_look(struct gateway_memory *memory, const char *folder)
{
	int max_fd = file_open(folder, "memory.max");
	uint64_t bytes;

	if (max_fd < 0 || cgroup_number_read(max_fd, &bytes) != 0 ||
	    bytes >= memory->all_bytes) {
		close_fd(&max_fd);
		return;
	}
	close_fd(&memory->max_fd);
	close_fd(&memory->current_fd);
	close_fd(&memory->stat_fd);
	memory->all_bytes = bytes;
	memory->max_fd = max_fd;
	memory->current_fd = file_open(folder, "memory.current");
	memory->stat_fd = file_open(folder, "memory.stat");
}

void
gateway_memory_open_at(struct gateway_memory *memory, const char *machine,
    const char *mount, const char *path)
{
	struct keys keys;
	char folder[700];

	*memory = (struct gateway_memory){ .machine_fd = -1, .max_fd = -1,
		.current_fd = -1, .stat_fd = -1 };
	memory->machine_fd = open(machine, O_RDONLY | O_CLOEXEC);
	if (memory->machine_fd < 0 || !keys_read(&keys, memory->machine_fd))
		return;
	memory->all_bytes = keys_find(&keys, "MemTotal:") * 1024;
	if (mount == NULL)
		return;
	/* from the own one up to the root, which has none */
	snprintf(folder, sizeof(folder), "%s%s", mount, path);
	while (strlen(folder) > strlen(mount)) {
		ceiling_look(memory, folder);
		*strrchr(folder, '/') = '\0';
	}
	ceiling_look(memory, mount); /* that of a container has one */
}

void
gateway_memory_open(struct gateway_memory *memory)
{
	struct cgroup_place place = { .fd = -1 };
	int error = cgroup_place_find(&place);

	gateway_memory_open_at(memory, "/proc/meminfo",
	    error == 0 ? place.mount : NULL, place.path);
	close_fd(&place.fd);
}

void
gateway_memory_close(struct gateway_memory *memory)
{
	close_fd(&memory->machine_fd);
	close_fd(&memory->max_fd);
	close_fd(&memory->current_fd);
	close_fd(&memory->stat_fd);
}

/* Up to the cgroup's ceiling: before it is reached the kernel takes back what
 * holds copies of files. */
static uint64_t
cgroup_left(const struct gateway_memory *memory)
{
	struct keys keys;
	uint64_t max, current, cached;

	/* "max": it was taken away */
	if (cgroup_number_read(memory->max_fd, &max) != 0 ||
	    cgroup_number_read(memory->current_fd, &current) != 0 ||
	    !keys_read(&keys, memory->stat_fd))
		return UINT64_MAX;
	cached = keys_find(&keys, "inactive_file ") +
	    keys_find(&keys, "active_file ") +
	    keys_find(&keys, "slab_reclaimable ");
	current -= less(current, cached);
	return max - less(max, current);
}

uint64_t
gateway_memory_left(const struct gateway_memory *memory)
{
	struct keys keys;
	uint64_t left;

	if (memory->all_bytes == 0 || !keys_read(&keys, memory->machine_fd) ||
	    strstr(keys.text, "MemAvailable:") == NULL)
		return UINT64_MAX;
	left = (keys_find(&keys, "MemAvailable:") +
	    keys_find(&keys, "SwapFree:")) * 1024;
	return memory->max_fd < 0 ? left : less(left, cgroup_left(memory));
}

uint64_t
gateway_memory_reserve(const struct gateway_memory *memory)
{
	uint64_t part = memory->all_bytes / RESERVE_PART;

	return part < RESERVE_LEAST ? RESERVE_LEAST : less(part, RESERVE_MOST);
}
