/*
 * FCGI_STDOUT records straight to a connection, beside libfcgi's buffered ones, for
 * the runtimes that are C programs.  Runs in an instance's sandbox.
 * Source: FastCGI 1.0 section 3.3.
 */
#ifndef FUNCTIONS_COMMON_RECORD_H
#define FUNCTIONS_COMMON_RECORD_H

#include <stddef.h>

/* Blocks until all n bytes are taken; an interruption does not count.  0 or
 * -errno; then part of a record may have gone, and nothing may follow. */
int record_write(int fd, int request_id, const char *data, size_t n);

/* Waits until the connection takes more; an interruption does not count.  Before
 * libfcgi writes: it takes an interrupted write for an error. */
void record_wait(int fd);

#endif
