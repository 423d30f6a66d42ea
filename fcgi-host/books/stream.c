#include "fcgi-host/books/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

#define IN_SIZE ((size_t)64 << 10)
/* With or without a header of gzip: the largest window there is. */
#define GZIP_BITS (15 + 16)
/* 8 MiB, as much as zstd -19 makes; more only by --ultra and --long. */
#define ZSTD_WINDOW_LOG 23

enum kind { PLAIN, GZIP, ZSTD, UNREAD };

struct stream {
	int fd;
	enum kind kind;
	uint64_t position;
	unsigned char in[IN_SIZE];
	size_t at, n; /* what of it is not used yet */
	bool is_between; /* no member or frame is begun */
	z_stream gzip;
	ZSTD_DCtx *zstd;
	const char *why;
};

/* More bytes of the file, behind those that there are: the number, 0 at the
 * end. */
static ssize_t
more(struct stream *s)
{
	ssize_t got;

	if (s->at == s->n)
		s->at = s->n = 0;
	do
		got = read(s->fd, s->in + s->n, IN_SIZE - s->n);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	s->n += (size_t)got;
	s->position += (uint64_t)got;
	return got;
}

static bool
begins(const struct stream *s, const char *magic, size_t n)
{
	return s->n - s->at >= n && memcmp(s->in + s->at, magic, n) == 0;
}

/* Of other programs that logrotate may be told to pack by. */
static const struct foreign {
	const char *magic;
	size_t n;
	const char *why;
} foreign[] = {
#define FOREIGN(magic, name) { magic, sizeof(magic) - 1, "it is packed by " \
	name ", and only gzip and zstd can be read: unpack it" }
	FOREIGN("\xfd\x37zX", "xz"),
	FOREIGN("BZh", "bzip2"),
	FOREIGN("\x04\x22\x4d\x18", "lz4"),
	FOREIGN("LZIP", "lzip"),
	FOREIGN("\x5d\0\0", "lzma"),
	FOREIGN("\x1f\x9d", "compress"),
#undef FOREIGN
};

static void
begin_foreign(struct stream *s)
{
	size_t i;

	for (i = 0; i < sizeof(foreign) / sizeof(*foreign); i++)
		if (begins(s, foreign[i].magic, foreign[i].n)) {
			s->kind = UNREAD;
			s->why = foreign[i].why;
		}
}

static int
begin(struct stream *s)
{
	ssize_t got = 1;

	while (got > 0 && s->n < 4) {
		got = more(s);
		if (got < 0)
			return (int)got;
	}
	s->is_between = true;
	if (begins(s, "\x1f\x8b", 2)) {
		s->kind = GZIP;
		return inflateInit2(&s->gzip, GZIP_BITS) == Z_OK ? 0 : -ENOMEM;
	}
	if (!begins(s, "\x28\xb5\x2f\xfd", 4)) {
		begin_foreign(s);
		return 0;
	}
	s->kind = ZSTD;
	s->zstd = ZSTD_createDCtx();
	if (s->zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd,
	    ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
		return -ENOMEM;
	return 0;
}

int
stream_open(struct stream **out, const char *path)
{
	struct stream *s = calloc(1, sizeof(*s));
	int error;

	*out = NULL;
	if (s == NULL)
		return -ENOMEM;
	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	error = s->fd < 0 ? -errno : begin(s);
	if (error != 0) {
		stream_close(s);
		return error;
	}
	*out = s;
	return 0;
}

void
stream_close(struct stream *s)
{
	if (s == NULL)
		return;
	if (s->kind == GZIP)
		(void)inflateEnd(&s->gzip);
	(void)ZSTD_freeDCtx(s->zstd);
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s);
}

static ssize_t
damaged(struct stream *s, const char *why)
{
	s->why = why;
	return -EBADMSG;
}

/* Bytes to uncompress: 1; 0: a well-formed end; or negative errno. */
static ssize_t
need_input(struct stream *s)
{
	ssize_t got = 1;

	if (s->at == s->n)
		got = more(s);
	if (got != 0 || s->is_between)
		return got > 0 ? 1 : got;
	return damaged(s, "the compressed data is cut off");
}

static ssize_t
read_gzip(struct stream *s, char *out, size_t size)
{
	int result;
	ssize_t state;

	s->gzip.next_out = (unsigned char *)out;
	s->gzip.avail_out = (unsigned)size;
	while (s->gzip.avail_out == size) {
		state = need_input(s);
		if (state <= 0)
			return state;
		s->is_between = false;
		s->gzip.next_in = s->in + s->at;
		s->gzip.avail_in = (unsigned)(s->n - s->at);
		result = inflate(&s->gzip, Z_NO_FLUSH);
		s->at = s->n - s->gzip.avail_in;
		if (result == Z_MEM_ERROR)
			return -ENOMEM;
		if (result == Z_STREAM_END) {
			s->is_between = true;
			(void)inflateReset(&s->gzip);
		} else if (result != Z_OK && result != Z_BUF_ERROR)
			return damaged(s, "the data of gzip is damaged");
	}
	return (ssize_t)(size - s->gzip.avail_out);
}

static ssize_t
read_zstd(struct stream *s, char *out, size_t size)
{
	ZSTD_outBuffer to = { out, size, 0 };
	ZSTD_inBuffer from;
	ssize_t state;
	size_t left;

	while (to.pos == 0) {
		state = need_input(s);
		if (state <= 0)
			return state;
		from = (ZSTD_inBuffer){ s->in + s->at, s->n - s->at, 0 };
		left = ZSTD_decompressStream(s->zstd, &to, &from);
		s->at += from.pos;
		s->is_between = left == 0;
		if (ZSTD_isError(left))
			return damaged(s, ZSTD_getErrorName(left));
	}
	return (ssize_t)to.pos;
}

ssize_t
stream_read(struct stream *s, char *out, size_t size)
{
	ssize_t got;

	if (s->kind == GZIP)
		return read_gzip(s, out, size);
	if (s->kind == ZSTD)
		return read_zstd(s, out, size);
	if (s->kind == UNREAD)
		return -EBADMSG;
	if (s->at < s->n) {
		size_t n = s->n - s->at < size ? s->n - s->at : size;

		memcpy(out, s->in + s->at, n);
		s->at += n;
		return (ssize_t)n;
	}
	do
		got = read(s->fd, out, size);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	s->position += (uint64_t)got;
	return got;
}

const char *
stream_why(const struct stream *s)
{
	return s->why;
}

uint64_t
stream_position(const struct stream *s)
{
	return s->position;
}
