/*
 * How much memory the machine has left, or the cgroup in which the host runs,
 * whichever is less: what may still be given away before the kernel kills
 * somebody.  The gateway, which opens the files before it is confined and reads
 * them by their descriptors.
 */
#ifndef FCGI_HOST_GATEWAY_MEMORY_H
#define FCGI_HOST_GATEWAY_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

struct gateway_memory {
	int machine_fd; /* /proc/meminfo; -1: nothing is known */
	/* of the cgroup v2 around the host with the lowest ceiling; -1: none */
	int max_fd, current_fd, stat_fd;
	uint64_t all_bytes; /* of the machine, or that ceiling */
};

/* Of this process: /proc/meminfo, and its cgroup with those above. */
void gateway_memory_open(struct gateway_memory *memory);
/* The same of other files.  mount: of the hierarchy; path: of the cgroup below
 * it, "/a/b"; NULL: there is none. */
void gateway_memory_open_at(struct gateway_memory *memory, const char *machine,
    const char *mount, const char *path);
void gateway_memory_close(struct gateway_memory *memory);

/* What is left, with the machine's swap, and with what is only cached.
 * UINT64_MAX: not known. */
uint64_t gateway_memory_left(const struct gateway_memory *memory);
/* What is kept back where the configuration does not say: a twentieth of all,
 * 32 MiB at least, 512 MiB at most. */
uint64_t gateway_memory_reserve(const struct gateway_memory *memory);

#endif
