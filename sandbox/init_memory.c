#include "sandbox/init_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* The kernel escapes a newline in the process's name, so a line that begins
 * with such a name is the kernel's own. */
static uint64_t
kib_of(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line == NULL ? 0 : strtoull(line + strlen(name), NULL, 10);
}

/* Of this process's file, cut if it is long; its length, 0 if it cannot be read. */
static size_t
file_read(int proc_fd, const char *pid, const char *name, char *text,
    size_t size)
{
	char path[32];
	ssize_t n;
	int fd;

	strcpy(path, pid);
	strcat(path, name);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, size - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (size_t)n;
}

/* A process that is not dumpable refuses; its peak then goes on from the old
 * one, which errs to the dear side for the tenant that did that. */
static void
start_anew(int proc_fd, const char *pid)
{
	char path[32];
	int fd;

	strcpy(path, pid);
	strcat(path, "/clear_refs");
	fd = openat(proc_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	while (write(fd, "5", 1) < 0 && errno == EINTR)
		continue;
	close(fd);
}

/* What was found of the processes looked at so far. */
struct found {
	uint64_t first_kib, second_kib;
	bool is_hidden;
};

/* Raises both to what this process had at most, and has. */
static void
look_at_peak(int proc_fd, const char *pid, struct found *found)
{
	char text[2048];
	uint64_t kib;

	/* this process is not the function's */
	if (strcmp(pid, "1") == 0)
		return;
	if (file_read(proc_fd, pid, "/status", text, sizeof(text)) > 0) {
		kib = kib_of(text, "\nVmHWM:");
		if (kib > found->first_kib)
			found->first_kib = kib;
		kib = kib_of(text, "\nVmRSS:");
		if (kib > found->second_kib)
			found->second_kib = kib;
	}
	start_anew(proc_fd, pid);
}

/* Adds what this process holds.  One that is no more has no such line, and one
 * that is not dumpable does not show its share. */
static void
look_at_held(int proc_fd, const char *pid, struct found *found)
{
	char text[2048];
	uint64_t resident_kib, share_kib = 0;

	if (file_read(proc_fd, pid, "/status", text, sizeof(text)) == 0)
		return;
	resident_kib = kib_of(text, "\nVmRSS:");
	if (file_read(proc_fd, pid, "/smaps_rollup", text, sizeof(text)) > 0)
		share_kib = kib_of(text, "\nPss:");
	found->is_hidden |= share_kib == 0 && resident_kib > 0;
	found->first_kib += share_kib;
	found->second_kib += resident_kib;
}

static struct found
each_process(int proc_fd,
    void (*look)(int proc_fd, const char *pid, struct found *found))
{
	_Alignas(struct entry) char buf[1024];
	int dir = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct found found = { 0 };
	long n;

	while (dir >= 0 &&
	    (n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			struct entry *entry = (struct entry *)(void *)(buf + at);

			at += entry->length;
			if (entry->name[0] >= '0' && entry->name[0] <= '9' &&
			    strlen(entry->name) <= 10)
				look(proc_fd, entry->name, &found);
		}
	}
	if (dir >= 0)
		close(dir);
	return found;
}

uint64_t
memory_peak_kib(int proc_fd, uint64_t *now_kib)
{
	struct found found = each_process(proc_fd, look_at_peak);

	*now_kib = found.second_kib;
	return found.first_kib;
}

uint64_t
memory_held_kib(int proc_fd, uint64_t *resident_kib)
{
	struct found found = each_process(proc_fd, look_at_held);

	*resident_kib = found.second_kib;
	return found.is_hidden ? 0 : found.first_kib;
}
