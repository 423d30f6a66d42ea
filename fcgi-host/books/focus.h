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

/* Appends the heading.  0 or -ENOMEM. */
int focus_heading(struct buf *out);

/* Appends the rows of a tenant's month: for each group of the days [from, to)
 * one for executions and one for GiB-seconds, one for each further item that
 * has a price; if the month lies within, a row of what it is charged up to its
 * minimum.  0, -ENOMEM, -EOVERFLOW. */
int focus_month(const struct prices *prices, const struct rated *rated,
    const struct rated_month *month, int32_t from, int32_t to,
    struct buf *out);

#endif
