/*
 * A wall clock that somebody turns back and forth: preloaded, it moves
 * CLOCK_REALTIME by an hour, ten times a second.  CLOCK_MONOTONIC stays.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

typedef int clock_fn(clockid_t clock, struct timespec *time);

static long
shift(clock_fn *real)
{
	struct timespec now;

	real(CLOCK_MONOTONIC, &now);
	return (now.tv_nsec / 100000000 % 3 - 1) * 3600;
}

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	static clock_fn *real;
	int rc;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	rc = real(clock, time);
	if (rc == 0 && clock == CLOCK_REALTIME)
		time->tv_sec += shift(real);
	return rc;
}

time_t
time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

int
gettimeofday(struct timeval *out, void *zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}
