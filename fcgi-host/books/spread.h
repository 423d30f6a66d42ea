/*
 * How numbers are spread, in little memory: counts by ranges that are a
 * sixteenth of a power of two wide, so that a percentile is at most a
 * sixteenth too high.  Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_SPREAD_H
#define FCGI_HOST_BOOKS_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All-zero is empty. */
struct spread {
	uint64_t count;
	uint32_t *counts; /* of ranges first …, only as many as are used */
	unsigned first, n;
};

/* Adds a number, or takes one back that was added.  0 or -ENOMEM. */
int spread_change(struct spread *spread, uint64_t value, bool is_taken);
/* 0 or -ENOMEM. */
int spread_merge(struct spread *spread, const struct spread *other);
void spread_free(struct spread *spread);

/* The number that permille of a thousand do not exceed; 0 of none. */
uint64_t spread_at(const struct spread *spread, unsigned permille);

#endif
