/*
 * FCGI_STDOUT records straight to a connection, beside libfcgi's buffered ones.
 * Source: FastCGI 1.0 section 3.3.
 */
#ifndef FUNCTIONS_PYTHON_RECORD_H
#define FUNCTIONS_PYTHON_RECORD_H

#include <stddef.h>

/* Blocks until all n bytes are taken; an interruption does not count.  0 or
 * -errno; then part of a record may have gone, and nothing may follow. */
int record_write(int fd, int request_id, const char *data, size_t n);

#endif
