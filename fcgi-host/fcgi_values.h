/*
 * FCGI_GET_VALUES: what a web server may ask of an application, and the answer.
 * Pure: bytes in, bytes out.  The gateway links it.
 */
#ifndef FCGI_HOST_FCGI_VALUES_H
#define FCGI_HOST_FCGI_VALUES_H

#include "fcgi-host/buf.h"

/* Appends the answer to the names in asked[0..n): what this host can say, each
 * name once, whatever was asked.  0; -EPROTO or -EMSGSIZE: malformed, or more
 * than any web server asks; -ENOMEM.  Source: FastCGI 1.0 section 4.1. */
int fcgi_values_answer(const uint8_t *asked, size_t n,
    uint64_t max_connections, struct buf *out);

#endif
