#include "functions/common/given.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

int
given_listener(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0)
		return -errno;
	close(null);
	return fd;
}

/* Digits only. */
uint64_t
given_length(const char *text)
{
	uint64_t length = 0;

	if (text == NULL || text[0] == '\0')
		return UINT64_MAX;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (length > (UINT64_MAX - 9) / 10)
			return UINT64_MAX;
		length = length * 10 + (uint64_t)(*text - '0');
	}
	return *text == '\0' ? length : UINT64_MAX;
}
