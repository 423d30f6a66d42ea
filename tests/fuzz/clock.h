/*
 * A monotonic clock that is turned by hand, for fuzz targets: the definition
 * stands before the C library's, so that deadlines, back-off and idle windows
 * pass in no time and the same input always sees the same time.  To be
 * included by one file of a target.
 */
#ifndef TESTS_FUZZ_CLOCK_H
#define TESTS_FUZZ_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CLOCK_BEGIN_US 1000000000000ull

static struct {
	bool is_ours; /* else it is the real one: the fuzzer looks too */
	uint64_t now_us;
} fuzz_clock;

int
clock_gettime(clockid_t id, struct timespec *now)
{
	if (!fuzz_clock.is_ours || id != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, id, now);
	now->tv_sec = (time_t)(fuzz_clock.now_us / 1000000);
	now->tv_nsec = (long)(fuzz_clock.now_us % 1000000) * 1000;
	return 0;
}

static inline void
clock_take(bool is_ours)
{
	fuzz_clock.is_ours = is_ours;
	fuzz_clock.now_us = CLOCK_BEGIN_US;
}

static inline void
clock_skip_ms(uint64_t ms)
{
	fuzz_clock.now_us += ms * 1000;
}

#endif
