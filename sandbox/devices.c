#include "sandbox/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MEMORY_MAJOR 1

static const struct {
	const char *name;
	unsigned minor;
} nodes[] = { { "null", 3 }, { "zero", 5 }, { "full", 7 }, { "random", 8 },
	{ "urandom", 9 } };
#define NODE_COUNT (sizeof(nodes) / sizeof(nodes[0]))

const char *
devices_name(size_t i)
{
	return i < NODE_COUNT ? nodes[i].name : NULL;
}

static int
make_node(int dir_fd, size_t i)
{
	if (mknodat(dir_fd, nodes[i].name, S_IFCHR | 0666,
	        makedev(MEMORY_MAJOR, nodes[i].minor)) != 0 ||
	    fchmodat(dir_fd, nodes[i].name, 0666, 0) != 0)
		return -errno;
	return 0;
}

static int
make_place(int dir_fd, size_t i)
{
	return mknodat(dir_fd, nodes[i].name, S_IFREG | 0444, 0) != 0 ?
	    -errno : 0;
}

int
devices_fill(int dir_fd, bool is_users)
{
	static const char *const links[][2] = { { "/proc/self/fd", "fd" },
		{ "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
		{ "/proc/self/fd/2", "stderr" } };
	int error = 0;

	for (size_t i = 0; i < NODE_COUNT && error == 0; i++)
		error = (is_users ? make_place : make_node)(dir_fd, i);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]) && error == 0;
	    i++)
		if (symlinkat(links[i][0], dir_fd, links[i][1]) != 0)
			error = -errno;
	if (error != 0)
		return error;
	return mkdirat(dir_fd, "shm", 0755) != 0 ? -errno : 0;
}
