#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/given.h"
#include "fcgi-host/sock.h"

/* Digits and nothing else, without a sign or a leading zero. */
static int
parse_number(const char *text, long max, long *number)
{
	char *end;

	errno = 0;
	*number = strtol(text, &end, 10);
	return text[0] >= '1' && text[0] <= '9' && *end == '\0' &&
	    errno == 0 && *number <= max ? 0 : -EINVAL;
}

/* The names stand in the order of the descriptors, with colons between. */
static void
name(struct given *given, const char *names)
{
	size_t i, n;

	for (i = 0; i < given->count; i++) {
		char *out = given->at[i].name;
		size_t length = strcspn(names, ":");

		for (n = 0; n < length && n < GIVEN_NAME_MAX; n++)
			out[n] = names[n] >= 0x20 && names[n] <= 0x7e &&
			    names[n] != '"' ? names[n] : '?';
		out[n] = '\0';
		if (length == 0)
			snprintf(out, GIVEN_NAME_MAX, "without a name");
		names += length;
		names += names[0] == ':';
	}
}

static int
take(struct given *given, const char *fds, const char *names, char *problem,
    size_t size)
{
	long count;
	int i;

	if (parse_number(fds, GIVEN_MAX, &count) != 0) {
		snprintf(problem, size, "LISTEN_FDS is \"%.40s\", and not the "
		    "number of the descriptors that were handed over (1 to "
		    "%d)", fds, GIVEN_MAX);
		return -EINVAL;
	}
	for (i = 0; i < count; i++) {
		int fd = GIVEN_FIRST + i;

		if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
			snprintf(problem, size, "LISTEN_FDS is %ld, but "
			    "descriptor %d is not open; whoever starts the "
			    "host hands over fewer than it says", count, fd);
			return -EINVAL;
		}
		given->at[i].fd = given->at[i].number = fd;
	}
	given->count = (size_t)count;
	name(given, names != NULL ? names : "");
	return 0;
}

int
given_take(struct given *given, char *problem, size_t size)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	long number;
	int error = 0;

	*given = (struct given){ .count = 0 };
	if (fds != NULL && (pid == NULL ||
	    parse_number(pid, INT_MAX, &number) != 0 || number != getpid()))
		given->is_anothers = true;
	else if (fds != NULL)
		error = take(given, fds, getenv("LISTEN_FDNAMES"), problem,
		    size);
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_PIDFDID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	return error;
}

void
given_close(struct given *given)
{
	size_t i;

	for (i = 0; i < given->count; i++)
		close_fd(&given->at[i].fd);
}
