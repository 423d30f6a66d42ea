/*
 * Durations that a benchmark has measured, all of them kept: percentiles are
 * exact, and no bucket hides the largest.  For the programs of `make bench`.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
	uint32_t *us;
	size_t count, size;
};

/* CLOCK_MONOTONIC in microseconds. */
uint64_t samples_clock_us(void);
/* Ends the program when there is no memory left. */
void samples_add(struct samples *samples, uint64_t us);
void samples_free(struct samples *samples);

/* Writes `"NAME":[…]`, in the order in which they were added. */
void samples_print(const struct samples *samples, const char *name);
/* Sorts, and writes `"NAME":{"p50":…,"p90":…,"p99":…,"max":…}`. */
void samples_summarise(struct samples *samples, const char *name);

#endif
