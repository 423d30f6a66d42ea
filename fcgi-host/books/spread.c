#include "fcgi-host/books/spread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARTS 16 /* of a power of two */
#define PARTS_LOG 4
#define STEP 8 /* ranges that are made room for at once */

static unsigned
range_of(uint64_t value)
{
	unsigned log;

	if (value < PARTS)
		return (unsigned)value;
	log = 63 - (unsigned)__builtin_clzll(value);
	return (log - PARTS_LOG + 1) * PARTS +
	    (unsigned)(value >> (log - PARTS_LOG) & (PARTS - 1));
}

/* The highest number of a range. */
static uint64_t
top_of(unsigned range)
{
	unsigned shift;

	if (range < PARTS)
		return range;
	shift = range / PARTS - 1;
	return (((uint64_t)(PARTS + range % PARTS) + 1) << shift) - 1;
}

/* Room for the ranges [first, end). */
static int
widen(struct spread *spread, unsigned first, unsigned end)
{
	uint32_t *counts;

	if (spread->n > 0) {
		if (first >= spread->first && end <= spread->first + spread->n)
			return 0;
		if (spread->first < first)
			first = spread->first;
		if (spread->first + spread->n > end)
			end = spread->first + spread->n;
	}
	first -= first % STEP;
	end += STEP - 1 - (end + STEP - 1) % STEP;
	counts = calloc(end - first, sizeof(*counts));
	if (counts == NULL)
		return -ENOMEM;
	if (spread->n > 0)
		memcpy(counts + (spread->first - first), spread->counts,
		    spread->n * sizeof(*counts));
	free(spread->counts);
	spread->counts = counts;
	spread->first = first;
	spread->n = end - first;
	return 0;
}

int
spread_change(struct spread *spread, uint64_t value, bool is_taken)
{
	unsigned range = range_of(value);
	int error = widen(spread, range, range + 1);
	uint32_t *count;

	if (error != 0)
		return error;
	count = &spread->counts[range - spread->first];
	*count += is_taken ? UINT32_MAX : 1;
	spread->count += is_taken ? UINT64_MAX : 1;
	return 0;
}

int
spread_merge(struct spread *spread, const struct spread *other)
{
	unsigned i;
	int error;

	if (other->n == 0)
		return 0;
	error = widen(spread, other->first, other->first + other->n);
	if (error != 0)
		return error;
	for (i = 0; i < other->n; i++)
		spread->counts[other->first - spread->first + i] +=
		    other->counts[i];
	spread->count += other->count;
	return 0;
}

void
spread_free(struct spread *spread)
{
	free(spread->counts);
	memset(spread, 0, sizeof(*spread));
}

uint64_t
spread_at(const struct spread *spread, unsigned permille)
{
	uint64_t below = 0;
	/* Rounded up, so that the least of one number is that number. */
	uint64_t wanted = spread->count / 1000 * permille +
	    (spread->count % 1000 * permille + 999) / 1000;
	unsigned i;

	for (i = 0; i < spread->n; i++) {
		below += spread->counts[i];
		if (below > 0 && below >= wanted)
			return top_of(spread->first + i);
	}
	return 0;
}
