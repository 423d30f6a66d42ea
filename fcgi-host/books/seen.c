#include "fcgi-host/books/seen.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Of all runs together: 100 bytes each. */
#define STRETCHES_MAX 100000

struct run {
	uint64_t id;
	struct stretch *at; /* sorted, apart from each other */
	size_t count, size;
};

struct seen {
	pthread_mutex_t lock;
	struct run *runs;
	size_t run_count, total;
	struct run orphans;
};

/* A lost execution has the id of an old run, and a seq of the one that wrote
 * it: that of the lines around it. */
bool
stretch_add(struct stretch *stretch, const struct entry *entry,
    const char *path, uint64_t line)
{
	if (stretch->path != path || entry->seq != stretch->last + 1 ||
	    line != stretch->last_line + 1)
		return false;
	if (!entry_is_lost(entry)) {
		if (!stretch->is_orphan && entry->run != stretch->run)
			return false;
		stretch->run = entry->run;
		stretch->is_orphan = false;
	}
	stretch->last = entry->seq;
	stretch->last_line = line;
	return true;
}

struct stretch
stretch_of(const struct entry *entry, const char *path, uint64_t line)
{
	return (struct stretch){ .run = entry->run,
		.is_orphan = entry_is_lost(entry), .first = entry->seq,
		.last = entry->seq, .path = path, .last_path = path,
		.first_line = line, .last_line = line };
}

struct seen *
seen_new(void)
{
	struct seen *seen = calloc(1, sizeof(*seen));

	if (seen != NULL)
		(void)pthread_mutex_init(&seen->lock, NULL);
	return seen;
}

void
seen_free(struct seen *seen)
{
	size_t i;

	if (seen == NULL)
		return;
	for (i = 0; i < seen->run_count; i++)
		free(seen->runs[i].at);
	free(seen->runs);
	free(seen->orphans.at);
	(void)pthread_mutex_destroy(&seen->lock);
	free(seen);
}

static struct run *
find_run(struct seen *seen, uint64_t id)
{
	struct run *grown;
	size_t i;

	/* The run of most lines is the latest. */
	for (i = seen->run_count; i > 0; i--)
		if (seen->runs[i - 1].id == id)
			return &seen->runs[i - 1];
	if (seen->run_count == STRETCHES_MAX)
		return NULL;
	grown = reallocarray(seen->runs, seen->run_count + 1, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	seen->runs = grown;
	grown += seen->run_count++;
	*grown = (struct run){ .id = id };
	return grown;
}

static int
insert(struct seen *seen, struct run *run, size_t at,
    const struct stretch *stretch)
{
	if (seen->total == STRETCHES_MAX)
		return -EOVERFLOW;
	if (run->count == run->size) {
		size_t size = run->size == 0 ? 4 : run->size * 2;
		struct stretch *grown = reallocarray(run->at, size,
		    sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		run->at = grown;
		run->size = size;
	}
	memmove(run->at + at + 1, run->at + at,
	    (run->count - at) * sizeof(*run->at));
	run->at[at] = *stretch;
	run->count++;
	seen->total++;
	return 0;
}

/* The first that ends at number or later. */
static size_t
search(const struct run *run, uint64_t number)
{
	size_t low = 0, high = run->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (run->at[mid].last < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Joins the one at `at` to the one before, if nothing is in between. */
static void
join(struct seen *seen, struct run *run, size_t at)
{
	struct stretch *left, *right;

	if (at == 0 || at >= run->count)
		return;
	left = &run->at[at - 1];
	right = &run->at[at];
	if (left->last + 1 != right->first)
		return;
	left->last = right->last;
	left->last_path = right->last_path;
	left->last_line = right->last_line;
	memmove(right, right + 1,
	    (run->count - at - 1) * sizeof(*run->at));
	run->count--;
	seen->total--;
}

/* The numbers first … last, which nobody has noted. */
static int
note(struct seen *seen, struct run *run, const struct stretch *stretch,
    uint64_t first, uint64_t last)
{
	struct stretch part = *stretch;
	size_t at = search(run, first);
	int error;

	/* One line has one number. */
	part.first_line += first - stretch->first;
	part.last_line -= stretch->last - last;
	part.first = first;
	part.last = last;
	if (at > 0 && run->at[at - 1].last + 1 == first) {
		run->at[at - 1].last = last;
		run->at[at - 1].last_path = part.last_path;
		run->at[at - 1].last_line = part.last_line;
		join(seen, run, at);
		return 0;
	}
	error = insert(seen, run, at, &part);
	if (error == 0)
		join(seen, run, at + 1);
	return error;
}

static int
claim(struct seen *seen, struct run *run, const struct stretch *stretch,
    void (*twice)(uint64_t first, uint64_t last, void *arg), void *arg)
{
	uint64_t next = stretch->first;
	int error = 0;

	while (error == 0 && next <= stretch->last) {
		size_t at = search(run, next);
		uint64_t end = stretch->last;

		if (at < run->count && run->at[at].first <= next) {
			if (run->at[at].last < end)
				end = run->at[at].last;
			if (twice != NULL)
				twice(next, end, arg);
		} else {
			if (at < run->count && run->at[at].first <= end)
				end = run->at[at].first - 1;
			error = note(seen, run, stretch, next, end);
		}
		next = end + 1;
		if (next == 0)
			break;
	}
	return error;
}

int
seen_claim(struct seen *seen, const struct stretch *stretch,
    void (*twice)(uint64_t first, uint64_t last, void *arg), void *arg)
{
	struct run *run;
	int error;

	(void)pthread_mutex_lock(&seen->lock);
	if (stretch->is_orphan)
		error = insert(seen, &seen->orphans, seen->orphans.count,
		    stretch);
	else {
		run = find_run(seen, stretch->run);
		error = run == NULL ? -ENOMEM :
		    claim(seen, run, stretch, twice, arg);
	}
	(void)pthread_mutex_unlock(&seen->lock);
	return error;
}

/* What stands right before or right behind an orphan is its run's. */
static bool
is_beside(const struct stretch *one, const struct stretch *orphan)
{
	return (one->last + 1 == orphan->first &&
	    one->last_line + 1 == orphan->first_line &&
	    strcmp(one->last_path, orphan->path) == 0) ||
	    (one->first == orphan->last + 1 &&
	    one->first_line == orphan->last_line + 1 &&
	    strcmp(one->path, orphan->path) == 0);
}

static struct run *
run_of(struct seen *seen, const struct stretch *orphan)
{
	size_t i, j;

	for (i = seen->run_count; i > 0; i--)
		for (j = 0; j < seen->runs[i - 1].count; j++)
			if (is_beside(&seen->runs[i - 1].at[j], orphan))
				return &seen->runs[i - 1];
	return NULL;
}

/* Whether some more of them found their run: one look at each, for a log of none
 * but such lines must be told, too, and not be pondered for days. */
static bool
adopt(struct seen *seen, int *error)
{
	bool is_any = false;
	size_t i = 0;

	while (i < seen->orphans.count && *error == 0) {
		struct stretch orphan = seen->orphans.at[i];
		struct run *run = run_of(seen, &orphan);

		if (run == NULL) {
			i++;
			continue;
		}
		seen->orphans.at[i] =
		    seen->orphans.at[--seen->orphans.count];
		seen->total--;
		*error = claim(seen, run, &orphan, NULL, NULL);
		is_any = true;
	}
	return is_any && *error == 0;
}

uint64_t
seen_first(const struct seen *seen, uint64_t run)
{
	size_t i;

	for (i = 0; i < seen->run_count; i++)
		if (seen->runs[i].id == run && seen->runs[i].count > 0)
			return seen->runs[i].at[0].first;
	return 0;
}

void
seen_tell_twice(const struct stretch *stretch, struct reader *reader)
{
	reader_fault(reader, stretch->path, stretch->first_line, "seq %" PRIu64
	    " to %" PRIu64 " of run %" PRIx64 " stand in the books twice, and "
	    "are counted once", stretch->first, stretch->last, stretch->run);
}

int
seen_finish(struct seen *seen, struct reader *reader)
{
	size_t i, j;
	int error = 0;

	while (adopt(seen, &error))
		;
	for (i = 0; error == 0 && i < seen->run_count; i++) {
		const struct run *run = &seen->runs[i];

		for (j = 1; j < run->count; j++) {
			const struct stretch *a = &run->at[j - 1];
			const struct stretch *b = &run->at[j];

			reader_fault(reader, b->path, b->first_line, "seq "
			    "%" PRIu64 " of run %" PRIx64 " comes after %"
			    PRIu64 ": %" PRIu64 " record%s missing",
			    b->first, run->id, a->last,
			    b->first - a->last - 1,
			    b->first - a->last == 2 ? " is" : "s are");
		}
	}
	return error;
}
