#include "tests/bench/samples.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t
samples_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void
samples_add(struct samples *samples, uint64_t us)
{
	if (samples->count == samples->size) {
		samples->size = samples->size == 0 ? 1024 : samples->size * 2;
		samples->us = reallocarray(samples->us, samples->size,
		    sizeof(samples->us[0]));
		if (samples->us == NULL)
			err(1, "samples");
	}
	samples->us[samples->count++] = us > UINT32_MAX ? UINT32_MAX :
	    (uint32_t)us;
}

void
samples_free(struct samples *samples)
{
	free(samples->us);
	*samples = (struct samples){ 0 };
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The smallest sample that at least so many per cent do not exceed. */
static uint32_t
percentile(const struct samples *samples, size_t per_cent)
{
	size_t rank = (samples->count * per_cent + 99) / 100;

	return samples->count == 0 ? 0 : samples->us[rank == 0 ? 0 : rank - 1];
}

void
samples_print(const struct samples *samples, const char *name)
{
	printf("\"%s\":[", name);
	for (size_t i = 0; i < samples->count; i++)
		printf("%s%u", i == 0 ? "" : ",", samples->us[i]);
	printf("]");
}

void
samples_summarise(struct samples *samples, const char *name)
{
	if (samples->count > 0)
		qsort(samples->us, samples->count, sizeof(samples->us[0]),
		    compare);
	printf("\"%s\":{\"p50\":%u,\"p90\":%u,\"p99\":%u,\"max\":%u}", name,
	    percentile(samples, 50), percentile(samples, 90),
	    percentile(samples, 99), percentile(samples, 100));
}
