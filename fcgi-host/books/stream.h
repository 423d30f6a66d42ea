/*
 * The bytes of one file, plain or compressed by gzip or zstd, which its first
 * bytes tell.  Memory is bounded whatever a compressed file asks for.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_STREAM_H
#define FCGI_HOST_BOOKS_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stream;

/* 0; -ENOMEM, or the errno of opening or of its first bytes.  *out is to be
 * closed. */
int stream_open(struct stream **out, const char *path);
void stream_close(struct stream *stream); /* accepts NULL */

/* At most size bytes; 0: the end.  A negative errno is final; -EBADMSG: the
 * compressed data is damaged, cut or of another program, and stream_why says
 * so. */
ssize_t stream_read(struct stream *stream, char *out, size_t size);
const char *stream_why(const struct stream *stream);

/* Bytes of the file that were read so far. */
uint64_t stream_position(const struct stream *stream);

#endif
