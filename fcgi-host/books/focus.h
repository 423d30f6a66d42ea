/*
 * Rated usage as a FOCUS 1.2 dataset (FinOps Open Cost and Usage
 * Specification) in CSV: a null is an empty field.  Pure.  fcgi-host-books
 * only.
 */
#ifndef FCGI_HOST_BOOKS_FOCUS_H
#define FCGI_HOST_BOOKS_FOCUS_H

#include "fcgi-host/books/rated.h"
#include "fcgi-host/buf.h"

/* What besides rated_keys the groups have: the function, nothing else. */
extern const struct keys focus_by;

/* Appends the heading, and for each group of the days [from, to) a row for
 * executions and one for GiB-seconds, one for each further item that has a
 * price; for a month that lies within, a row of what it is charged up to its
 * minimum.  0, -ENOMEM, -EOVERFLOW. */
int focus_rows(const struct prices *prices, const struct rated *rated,
    int32_t from, int32_t to, struct buf *out);

#endif
