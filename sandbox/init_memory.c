#include "sandbox/init_memory.h"

#include <errno.h>
#include <fcntl.h>
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

/* Raises both to what this process had at most, and has. */
static void
look_at(int proc_fd, const char *pid, uint64_t *peak_kib, uint64_t *now_kib)
{
	char path[32], text[2048];
	uint64_t kib;
	ssize_t n;
	int fd;

	strcpy(path, pid);
	strcat(path, "/status");
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = '\0';
	kib = kib_of(text, "\nVmHWM:");
	if (kib > *peak_kib)
		*peak_kib = kib;
	kib = kib_of(text, "\nVmRSS:");
	if (kib > *now_kib)
		*now_kib = kib;
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

uint64_t
memory_peak_kib(int proc_fd, uint64_t *now_kib)
{
	_Alignas(struct entry) char buf[1024];
	int dir = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t peak = 0;
	long n;

	*now_kib = 0;
	while (dir >= 0 &&
	    (n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			struct entry *entry = (struct entry *)(void *)(buf + at);

			at += entry->length;
			if (entry->name[0] < '0' || entry->name[0] > '9' ||
			    strlen(entry->name) > 10 ||
			    strcmp(entry->name, "1") == 0)
				continue;
			look_at(proc_fd, entry->name, &peak, now_kib);
			start_anew(proc_fd, entry->name);
		}
	}
	if (dir >= 0)
		close(dir);
	return peak;
}
