/*
 * FastCGI name-value pairs (FastCGI 1.0 section 3.4), decoded from a stream
 * that may be cut anywhere, even inside a length.  Pure and bounded.
 */
#ifndef FCGI_HOST_FCGI_PARAMS_H
#define FCGI_HOST_FCGI_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"

/* One pair; both strings are NUL-terminated inside the decoder's memory (a
 * value that held a NUL byte is refused, see params_feed), the value behind the
 * name's NUL. */
struct param {
	const char *name, *value;
	size_t name_length, value_length;
};

struct params; /* a decoder and the pairs that it has decoded */

/* bytes_max: of names, values and bookkeeping of 8 bytes a pair;
 * count_max pairs.  NULL: no memory. */
struct params *params_new(size_t bytes_max, size_t count_max);
void params_free(struct params *params);

/* Decodes n more bytes.  0, -EMSGSIZE (over a bound), -EPROTO (empty name,
 * NUL or '=' in a name, NUL in a value), -ENOMEM.  After an error nothing more
 * is taken. */
int params_feed(struct params *params, const uint8_t *data, size_t n);
/* The stream ended; -EPROTO when in the middle of a pair. */
int params_finish(struct params *params);

size_t params_count(const struct params *params);
/* Pair i, in order of arrival; valid until params_free, after params_finish. */
struct param params_at(const struct params *params, size_t i);
/* The value of the last pair of that name (case-sensitive), or NULL. */
const char *params_get(const struct params *params, const char *name);

/* Reads the length at from[0..n): how many bytes it has, 0 when there are not
 * enough. */
size_t params_read_length(const uint8_t *from, size_t n, size_t *length);

/* Appends one encoded pair; 0, -ENOMEM, or -EMSGSIZE (2^31 and over). */
int params_put(struct buf *out, const char *name, size_t name_length,
    const char *value, size_t value_length);

#endif
