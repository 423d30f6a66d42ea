#include "fcgi-host/books/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_MS 200
#define EVERY_MS 200
#define MB 1000000

static uint64_t
now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void
progress_begin(struct progress *progress, const struct files *files,
    bool is_quiet)
{
	size_t i;

	*progress = (struct progress){ .is_on = !is_quiet &&
		isatty(STDERR_FILENO) == 1, .start_ms = now_ms() };
	progress->next_ms = progress->start_ms + FIRST_MS;
	for (i = 0; i < files->count; i++)
		progress->total += files->at[i].size;
}

void
progress_show(struct progress *progress, uint64_t position)
{
	uint64_t done = progress->done + position, now;

	if (!progress->is_on)
		return;
	now = now_ms();
	if (now < progress->next_ms || progress->total == 0)
		return;
	/* A log that grows meanwhile. */
	if (done > progress->total)
		progress->total = done;
	progress->next_ms = now + EVERY_MS;
	progress->is_shown = true;
	(void)fprintf(stderr, "\r\033[K%" PRIu64 "%% of %" PRIu64 " MB, %"
	    PRIu64 " MB/s", done * 100 / progress->total,
	    progress->total / MB,
	    done / MB * 1000 / (now - progress->start_ms));
}

void
progress_next(struct progress *progress, uint64_t size)
{
	progress->done += size;
}

void
progress_end(struct progress *progress)
{
	if (progress->is_shown)
		(void)fputs("\r\033[K", stderr);
}
