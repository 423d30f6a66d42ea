#include "fcgi-host/books/sum.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "fcgi-host/books/json.h"
#include "fcgi-host/books/lines.h"
#include "fcgi-host/books/progress.h"
#include "fcgi-host/books/seen.h"
#include "fcgi-host/cmd.h"

#define WORKERS_MAX 8
/* Of each worker: one that it takes lines from, and one that is filled. */
#define BLOCKS_EACH 2

struct crew;

struct worker {
	struct crew *crew;
	pthread_t thread;
	struct json *json;
	struct groups *groups[SUM_GROUPINGS_MAX];
	/* The block's numbers so far, and what of a stretch is doubled. */
	const struct block *block;
	struct stretch stretch;
	int error;
};

struct crew {
	const struct sum_query *query;
	struct reader *reader;
	struct seen *seen;
	struct worker workers[WORKERS_MAX];
	unsigned count, running;
	pthread_mutex_t lock;
	pthread_cond_t is_free, is_full;
	struct block *free, *full, **full_end;
	bool is_done;
	int error; /* of any worker */
};

static int
add_or_take(struct worker *worker, const struct entry *entry, bool is_taken)
{
	const struct sum_query *query = worker->crew->query;
	int error = 0;
	size_t i;

	if (query->tenant != NULL && !span_is(entry->tenant, query->tenant))
		return 0;
	for (i = 0; error == 0 && i < query->count; i++) {
		if (entry->time_us < query->at[i].from_us ||
		    entry->time_us >= query->at[i].to_us)
			continue;
		error = is_taken ? groups_take(worker->groups[i], entry) :
		    groups_add(worker->groups[i], entry);
	}
	return error;
}

/* Takes back what was added of the numbers first … last of the stretch, in the
 * lines of it: they stood elsewhere before. */
static void
take_back(uint64_t first, uint64_t last, void *arg)
{
	struct worker *worker = arg;
	const struct stretch *stretch = &worker->stretch;
	struct stretch part = *stretch;
	struct place place = { .path = NULL };
	char why[JSON_WHY_MAX];
	struct entry entry;

	part.first_line += first - part.first;
	part.first = first;
	part.last = last;
	seen_tell_twice(&part, worker->crew->reader);
	while (block_next(worker->block, &place)) {
		if (place.line < stretch->first_line ||
		    place.line > stretch->last_line ||
		    json_read(worker->json, place.text, place.n, &entry,
		    why) != 0 || entry.seq < first || entry.seq > last)
			continue;
		if (worker->error == 0)
			worker->error = add_or_take(worker, &entry, true);
	}
}

/* Ends the stretch of the block so far. */
static int
claim(struct worker *worker)
{
	struct stretch *stretch = &worker->stretch;
	int error = 0;

	if (stretch->path != NULL)
		error = seen_claim(worker->crew->seen, stretch, take_back,
		    worker);
	stretch->path = NULL;
	return error != 0 ? error : worker->error;
}

static int
note(struct worker *worker, const struct entry *entry, uint64_t line)
{
	int error;

	if (stretch_add(&worker->stretch, entry, worker->block->path, line))
		return 0;
	error = claim(worker);
	worker->stretch = stretch_of(entry, worker->block->path, line);
	return error;
}

static int
take_line(struct worker *worker, const struct place *place)
{
	char why[JSON_WHY_MAX];
	struct entry entry;
	int error;

	if (json_read(worker->json, place->text, place->n, &entry, why) != 0) {
		reader_fault(worker->crew->reader, place->path, place->line,
		    "%s", why);
		return 0;
	}
	error = add_or_take(worker, &entry, false);
	/* The note comes last: it may read the line anew. */
	return error != 0 ? error : note(worker, &entry, place->line);
}

static int
take_block(struct worker *worker, const struct block *block)
{
	struct place place = { .path = NULL };
	int error = 0;

	worker->block = block;
	while (error == 0 && block_next(block, &place))
		error = take_line(worker, &place);
	return error != 0 ? error : claim(worker);
}

static void *
work(void *arg)
{
	struct worker *worker = arg;
	struct crew *crew = worker->crew;
	int error = 0;

	(void)pthread_mutex_lock(&crew->lock);
	for (;;) {
		struct block *block;

		while (crew->full == NULL && !crew->is_done)
			(void)pthread_cond_wait(&crew->is_full, &crew->lock);
		block = crew->full;
		if (block == NULL)
			break;
		crew->full = block->next;
		if (crew->full == NULL)
			crew->full_end = &crew->full;
		(void)pthread_mutex_unlock(&crew->lock);
		if (error == 0)
			error = take_block(worker, block);
		(void)pthread_mutex_lock(&crew->lock);
		if (error != 0 && crew->error == 0)
			crew->error = error;
		block->next = crew->free;
		crew->free = block;
		(void)pthread_cond_signal(&crew->is_free);
	}
	(void)pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* A free block; NULL: a worker has failed. */
static struct block *
take_free(struct crew *crew)
{
	struct block *block;

	(void)pthread_mutex_lock(&crew->lock);
	while (crew->free == NULL)
		(void)pthread_cond_wait(&crew->is_free, &crew->lock);
	block = crew->free;
	crew->free = block->next;
	if (crew->error != 0) {
		block->next = crew->free;
		crew->free = block;
		block = NULL;
	}
	(void)pthread_mutex_unlock(&crew->lock);
	return block;
}

static void
give(struct crew *crew, struct block *block, bool is_full)
{
	(void)pthread_mutex_lock(&crew->lock);
	if (is_full) {
		block->next = NULL;
		*crew->full_end = block;
		crew->full_end = &block->next;
		(void)pthread_cond_signal(&crew->is_full);
	} else {
		block->next = crew->free;
		crew->free = block;
	}
	(void)pthread_mutex_unlock(&crew->lock);
}

static int
read_file(struct crew *crew, const struct file *file,
    struct progress *progress)
{
	struct lines *lines;
	int state = lines_open(&lines, file->path, crew->reader);

	if (state != 0)
		return state;
	for (state = 1; state > 0;) {
		struct block *block = take_free(crew);

		if (block == NULL)
			break;
		state = lines_fill(lines, block);
		give(crew, block, state > 0);
		progress_show(progress, lines_position(lines));
	}
	progress_next(progress, file->size);
	lines_close(lines);
	return state < 0 ? state : 0;
}

static unsigned
processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ?
	    CPU_COUNT(&set) : 1;

	return n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

static int
start(struct crew *crew, size_t keys_count)
{
	unsigned i, blocks = crew->count * BLOCKS_EACH;
	size_t j;

	for (i = 0; i < blocks; i++) {
		struct block *block = block_new();

		if (block == NULL)
			return -ENOMEM;
		block->next = crew->free;
		crew->free = block;
	}
	for (i = 0; i < crew->count; i++) {
		struct worker *worker = &crew->workers[i];

		worker->crew = crew;
		worker->json = json_new();
		if (worker->json == NULL)
			return -ENOMEM;
		for (j = 0; j < keys_count; j++) {
			worker->groups[j] = groups_new(
			    crew->query->at[j].keys);
			if (worker->groups[j] == NULL)
				return -ENOMEM;
			if (crew->query->at[j].has_spreads)
				groups_keep_spreads(worker->groups[j]);
		}
	}
	for (; crew->running < crew->count; crew->running++) {
		struct worker *worker = &crew->workers[crew->running];

		if (pthread_create(&worker->thread, NULL, work, worker) != 0)
			break;
	}
	/* Fewer do, too. */
	return crew->running == 0 ? -EAGAIN : 0;
}

static void
stop(struct crew *crew)
{
	unsigned i;

	(void)pthread_mutex_lock(&crew->lock);
	crew->is_done = true;
	(void)pthread_cond_broadcast(&crew->is_full);
	(void)pthread_mutex_unlock(&crew->lock);
	for (i = 0; i < crew->running; i++)
		(void)pthread_join(crew->workers[i].thread, NULL);
}

/* The first worker's groups become everybody's. */
static int
merge(struct crew *crew, struct groups *groups[])
{
	size_t j;
	unsigned i;
	int error = 0;

	for (j = 0; error == 0 && j < crew->query->count; j++)
		for (i = 1; error == 0 && i < crew->count; i++)
			error = groups_merge(crew->workers[0].groups[j],
			    crew->workers[i].groups[j]);
	for (j = 0; error == 0 && j < crew->query->count; j++) {
		groups[j] = crew->workers[0].groups[j];
		crew->workers[0].groups[j] = NULL;
	}
	return error;
}

static void
clear(struct crew *crew)
{
	unsigned i;
	size_t j;

	for (i = 0; i < crew->count; i++) {
		json_free(crew->workers[i].json);
		for (j = 0; j < crew->query->count; j++)
			groups_free(crew->workers[i].groups[j]);
	}
	while (crew->free != NULL) {
		struct block *block = crew->free;

		crew->free = block->next;
		block_free(block);
	}
	seen_free(crew->seen);
	(void)pthread_cond_destroy(&crew->is_free);
	(void)pthread_cond_destroy(&crew->is_full);
	(void)pthread_mutex_destroy(&crew->lock);
}

/* Reading has said itself what went wrong; of the rest this does. */
static int
explain(int error)
{
	if (error == -ENOMEM)
		(void)cmd_fail("no memory for more groups; ask for fewer by "
		    "--by, --from or --to");
	else if (error == -EOVERFLOW)
		(void)cmd_fail(SEEN_OVERFLOW);
	else if (error == -EAGAIN)
		(void)cmd_fail("no thread can be started");
	return error;
}

/* Until when records of a run are missing whose beginning is in no file. */
static uint64_t
begin_of(const struct files *files, const struct seen *seen)
{
	uint64_t begins_us = 0;
	size_t i;

	for (i = 0; i < files->count; i++) {
		const struct file *file = &files->at[i];

		if (file->seq > 1 && file->time_us > begins_us &&
		    seen_first(seen, file->run) == file->seq)
			begins_us = file->time_us;
	}
	return begins_us;
}

int
sum_files(const struct sum_query *query, const struct files *files,
    struct reader *reader, struct groups *groups[])
{
	struct crew crew = { .query = query, .reader = reader,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.is_free = PTHREAD_COND_INITIALIZER,
		.is_full = PTHREAD_COND_INITIALIZER,
		.seen = seen_new(), .count = processors() };
	struct progress progress;
	int error = crew.seen == NULL ? -ENOMEM : 0;
	size_t i;

	progress_begin(&progress, files, query->is_quiet);
	crew.full_end = &crew.full;
	if (error == 0)
		error = start(&crew, query->count);
	for (i = 0; error == 0 && i < files->count; i++)
		error = read_file(&crew, &files->at[i], &progress);
	stop(&crew);
	progress_end(&progress);
	/* Before what is missing is told: a rotation took it elsewhere. */
	if (error == -ENOENT || (error == 0 && files_changed(files)))
		error = -ESTALE;
	if (error == 0)
		error = crew.error;
	if (error == 0)
		error = seen_finish(crew.seen, reader);
	if (error == 0)
		reader->begins_us = begin_of(files, crew.seen);
	if (error == 0)
		error = merge(&crew, groups);
	clear(&crew);
	return explain(error);
}
