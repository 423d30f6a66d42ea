/*
 * What the fuzz targets share: a claim that stops the run, and the cutting of
 * an input into pieces.  Tests only.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/log.h"

#define CLAIM(claim) LOG_ASSERT(claim)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The head of an input steers the run; the rest is what is parsed. */
static inline uint8_t
take_byte(const uint8_t **data, size_t *n)
{
	if (*n == 0)
		return 0;
	(*n)--;
	return *(*data)++;
}

/* The next piece's length, between 1 and left: by one byte for a seed of 0,
 * else by a xorshift that prefers short ones. */
static inline size_t
next_cut(uint32_t *seed, size_t left)
{
	size_t length;

	if (*seed == 0 || left <= 1)
		return 1;
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	length = *seed % ((*seed & 0x100) != 0 ? 7 : 300) + 1;
	return length < left ? length : left;
}

static inline bool
same_bytes(const struct buf *a, const struct buf *b)
{
	size_t n = buf_len(a);

	return n == buf_len(b) && (n == 0 ||
	    memcmp(a->data + a->start, b->data + b->start, n) == 0);
}

#endif
