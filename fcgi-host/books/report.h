/*
 * Groups as text: a table for people, JSON and CSV for programs.  Pure.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_REPORT_H
#define FCGI_HOST_BOOKS_REPORT_H

#include "fcgi-host/books/groups.h"
#include "fcgi-host/buf.h"
#include "fcgi-host/prices.h"

/* Each appends all groups, in order, with what they cost when there is a price
 * book (else NULL); 0 or -ENOMEM. */

/* Aligned, with units that people read, and the sum below. */
int report_table(struct groups *groups, const struct keys *keys,
    const struct prices *prices, struct buf *out);

/* Of the next two: full takes out what there is, as soon as it is more than
 * REPORT_FULL; its error ends the report. */
#define REPORT_FULL 65536

/* One object for each group and line; whole numbers in the log's units. */
int report_json(struct groups *groups, const struct keys *keys,
    const struct prices *prices, struct buf *out,
    int (*full)(struct buf *out));
/* The same numbers, with a heading (RFC 4180; lines end with \n). */
int report_csv(struct groups *groups, const struct keys *keys,
    const struct prices *prices, struct buf *out,
    int (*full)(struct buf *out));

/* A field of CSV, in quotes where it must be; NULL is an empty one. */
int report_field(struct buf *out, struct span value);

/* The digits of a number; at the end of text, where they begin is returned. */
#define REPORT_DIGITS_SIZE 40
char *report_digits(char text[REPORT_DIGITS_SIZE], rate_sum value);

#endif
