/*
 * A request's body between a web server that sends at its pace and a function
 * that reads at its own: first in memory, beyond mem_max bytes in an unlinked
 * file.  When the reader has caught up, memory serves again.
 */
#ifndef FCGI_HOST_SPOOL_H
#define FCGI_HOST_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/buf.h"

struct spool {
	struct buf mem;
	int dir_fd; /* borrowed: where unlinked files are made */
	int fd;     /* the file, or -1 */
	uint64_t file_start, file_end; /* unread part of the file */
	size_t mem_max;
	uint64_t total; /* bytes ever added */
};

void spool_init(struct spool *spool, int dir_fd, size_t mem_max);
/* Appends all or nothing; 0, or negative errno (-ENOSPC, -EDQUOT, -EMFILE,
 * -ENOMEM: the caller refuses the request with 503). */
int spool_add(struct spool *spool, const void *data, size_t n);
/* Bytes that wait to be read. */
uint64_t spool_left(const struct spool *spool);
/* Copies up to size unread bytes to out without consuming them; returns how
 * many, or a negative errno. */
ssize_t spool_peek(const struct spool *spool, void *out, size_t size);
/* Consumes n bytes that were peeked. */
void spool_consume(struct spool *spool, size_t n);
/* Puts n bytes before those that wait, as if they had not been consumed.  0 or
 * -ENOMEM, and nothing has changed. */
int spool_give_back(struct spool *spool, const void *data, size_t n);
void spool_free(struct spool *spool);

#endif
