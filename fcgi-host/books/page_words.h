/*
 * Numbers of a page as people read them, and what stands around all of it.
 * Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_PAGE_WORDS_H
#define FCGI_HOST_BOOKS_PAGE_WORDS_H

#include "fcgi-host/buf.h"
#include "fcgi-host/rate.h"

/* From the first byte to the open <main>, and from there to the last. */
extern const char words_head[], words_foot[];

/* Each appends a value; 0 or -ENOMEM.  arg is for words_cost the price book,
 * else it is not looked at. */
int words_count(struct buf *out, rate_sum value, const void *arg);
int words_us(struct buf *out, rate_sum value, const void *arg);
int words_gib_s(struct buf *out, rate_sum value, const void *arg); /* MiB ms */
int words_permille(struct buf *out, rate_sum value, const void *arg);
/* Rounded to what the currency has, for the eye; the bill is another thing. */
int words_cost(struct buf *out, rate_sum value, const void *arg);

#endif
