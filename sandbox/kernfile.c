#include "sandbox/kernfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

int
kernfile_write(int dir_fd, const char *path, const char *text)
{
	int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
	ssize_t length = (ssize_t)strlen(text);
	int error = 0;

	if (fd < 0)
		return -errno;
	errno = 0;
	if (write(fd, text, (size_t)length) != length)
		error = errno != 0 ? -errno : -EIO;
	close(fd);
	return error;
}

char *
kernfile_number(char *text, uint64_t number)
{
	char digits[24];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	while (n > 0)
		*text++ = digits[--n];
	*text = '\0';
	return text;
}
