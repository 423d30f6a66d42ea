/* Numbers from the kernel's files, by descriptors that stay open. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/cgroup.h"

static ssize_t
read_again(int fd, char *text, size_t size)
{
	ssize_t n;

	do
		n = pread(fd, text, size - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return n;
}

/* The kernel's own digits; without strtoull, since each execution has three. */
static uint64_t
number_of(const char *digits)
{
	uint64_t number = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		number = number * 10 + (uint64_t)(*digits - '0');
	return number;
}

/* A line "KEY NUMBER". */
static int
find_key(const char *text, const char *key, uint64_t *value)
{
	size_t length = strlen(key);

	for (const char *line = text; line != NULL && *line != '\0';) {
		if (strncmp(line, key, length) == 0 && line[length] == ' ') {
			*value = number_of(line + length + 1);
			return 0;
		}
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return -ENOENT;
}

int
cgroup_cpu_read(int fd, struct cgroup_cpu *cpu)
{
	char text[1024];
	ssize_t n = read_again(fd, text, sizeof(text));

	if (n < 0)
		return (int)n;
	if (find_key(text, "usage_usec", &cpu->usage_us) != 0 ||
	    find_key(text, "user_usec", &cpu->user_us) != 0 ||
	    find_key(text, "system_usec", &cpu->system_us) != 0)
		return -EPROTO;
	return 0;
}

int
cgroup_number_read(int fd, uint64_t *number)
{
	char text[32], *end;
	ssize_t n = read_again(fd, text, sizeof(text));

	if (n < 0)
		return (int)n;
	errno = 0;
	*number = strtoull(text, &end, 10);
	if (end == text || errno != 0 || (*end != '\n' && *end != '\0'))
		return -EPROTO; /* "max": no number */
	return 0;
}

int
cgroup_key_read(int fd, const char *key, uint64_t *value)
{
	char text[1024];
	ssize_t n = read_again(fd, text, sizeof(text));

	return n < 0 ? (int)n : find_key(text, key, value);
}
