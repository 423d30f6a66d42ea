#include "fcgi-host/scan_users.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
scan_users_open(void)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

static bool
parse_number(const char *text, uid_t *uid)
{
	char *end;
	unsigned long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || number >= UINT32_MAX)
		return false;
	*uid = (uid_t)number;
	return true;
}

/* The stream takes a descriptor of its own, with its own place to read at
 * only once it is rewound: the file's place is shared. */
static FILE *
open_stream(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	FILE *stream;

	if (copy < 0)
		return NULL;
	stream = fdopen(copy, "r");
	if (stream == NULL)
		close(copy);
	else
		rewind(stream);
	return stream;
}

bool
scan_users_find(int fd, const char *name, uid_t *uid)
{
	FILE *stream = fd >= 0 ? open_stream(fd) : NULL;
	struct passwd entry, *found;
	char text[4096];

	/* A line that is too long ends it as well: glibc would give the same
	 * line again and again. */
	while (stream != NULL && fgetpwent_r(stream, &entry, text,
	    sizeof(text), &found) == 0) {
		if (strcmp(entry.pw_name, name) != 0)
			continue;
		*uid = entry.pw_uid;
		fclose(stream);
		return true;
	}
	if (stream != NULL)
		fclose(stream);
	return parse_number(name, uid);
}
