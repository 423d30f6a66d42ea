/*
 * FCGI_GET_VALUES: what a web server may ask of an application, and the answer.
 * Pure: bytes in, bytes out.  The gateway links it.
 */
#ifndef FCGI_HOST_FCGI_VALUES_H
#define FCGI_HOST_FCGI_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"

/* Of the names that the protocol knows, the longest. */
#define FCGI_VALUES_NAME_MAX 16

/* The pairs of one record, looked at as they come: nothing of them is kept but
 * which of the known names were among them.  All zero: at the beginning. */
struct fcgi_values {
	uint8_t lengths[8], lengths_have;
	char name[FCGI_VALUES_NAME_MAX];
	size_t name_length, name_have;
	size_t left;    /* of the pair in hand: name and value */
	unsigned asked; /* a bit for each known name */
};

/* Looks at n more bytes of the record; any number of names is good. */
void fcgi_values_feed(struct fcgi_values *values, const uint8_t *data,
    size_t n);

/* Appends the answer to what was asked: what this host can say, each name once.
 * 0; -EPROTO: the record ended inside a pair; -ENOMEM.  Source: FastCGI 1.0
 * section 4.1. */
int fcgi_values_answer(const struct fcgi_values *values,
    uint64_t max_connections, struct buf *out);

#endif
