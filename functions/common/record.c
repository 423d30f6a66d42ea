#include "functions/common/record.h"

#include <errno.h>
#include <fastcgi.h>
#include <poll.h>
#include <stdint.h>
#include <sys/uio.h>

/* A multiple of 8, so that no record but the last is padded. */
#define CONTENT_MAX 65528u

static int
vector_write(int fd, struct iovec *vector, int count)
{
	while (count > 0) {
		ssize_t n = writev(fd, vector, count);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		while (count > 0 && (size_t)n >= vector->iov_len) {
			n -= (ssize_t)vector->iov_len;
			vector++;
			count--;
		}
		if (count > 0) {
			vector->iov_base = (char *)vector->iov_base + n;
			vector->iov_len -= (size_t)n;
		}
	}
	return 0;
}

int
record_write(int fd, int request_id, const char *data, size_t n)
{
	static char zeros[8];

	while (n > 0) {
		size_t part = n < CONTENT_MAX ? n : CONTENT_MAX;
		size_t padding = (8 - part % 8) % 8;
		FCGI_Header header = {
			.version = FCGI_VERSION_1,
			.type = FCGI_STDOUT,
			.requestIdB1 = (unsigned char)(request_id >> 8 & 0xff),
			.requestIdB0 = (unsigned char)(request_id & 0xff),
			.contentLengthB1 = (unsigned char)(part >> 8),
			.contentLengthB0 = (unsigned char)(part & 0xff),
			.paddingLength = (unsigned char)padding,
		};
		struct iovec vector[] = {
			{ .iov_base = &header, .iov_len = sizeof(header) },
			{ .iov_base = (char *)(uintptr_t)data, .iov_len = part },
			{ .iov_base = zeros, .iov_len = padding },
		};
		int error = vector_write(fd, vector, padding > 0 ? 3 : 2);

		if (error < 0)
			return error;
		data += part;
		n -= part;
	}
	return 0;
}

void
record_wait(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLOUT };

	while (poll(&one, 1, -1) < 0 && errno == EINTR)
		continue;
}
