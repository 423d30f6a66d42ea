#include "fcgi-host/books/ledgers.h"

#include <errno.h>
#include <unistd.h>

#include "fcgi-host/books/progress.h"
#include "fcgi-host/books/seen.h"
#include "fcgi-host/cmd.h"
#include "fcgi-host/conf.h"

/* Of reading a log that is rotated meanwhile: so often one is not. */
#define TRIES 10

int
ledgers_files(struct files *files, char **paths, const char *conf_path)
{
	struct conf *conf = NULL;
	char *one[2] = { NULL, NULL };
	int error = 0;

	if (*paths == NULL) {
		conf = cmd_conf(conf_path);
		if (conf == NULL)
			return CMD_WRONG;
		one[0] = conf->accounting;
		paths = one;
	}
	for (; error == 0 && *paths != NULL; paths++)
		error = files_add(files, *paths);
	conf_unref(conf);
	return error != 0 ? CMD_FAILED : CMD_DONE;
}

static void
show(uint64_t position, void *arg)
{
	progress_show(arg, position);
}

/* What was read in one go must be what is there at its end. */
static int
read_all(struct reader *reader, const struct files *files)
{
	struct progress progress;
	int error = 0;
	size_t i;

	/* Not between lines that are shown there, too. */
	progress_begin(&progress, files,
	    reader->prints && isatty(STDOUT_FILENO) == 1);
	reader->moved = show;
	reader->moved_arg = &progress;
	for (i = 0; error == 0 && i < files->count; i++) {
		error = reader_read(reader, files->at[i].path);
		progress_next(&progress, files->at[i].size);
	}
	progress_end(&progress);
	reader->moved = NULL;
	if (error == -ENOENT || (error == 0 && files_changed(files)))
		error = -ESTALE;
	return error;
}

/* An exit code, after a sentence on what is not told yet. */
static int
explain(int error)
{
	if (error == -ENOMEM)
		(void)cmd_fail("no memory");
	else if (error == -EOVERFLOW)
		(void)cmd_fail(SEEN_OVERFLOW);
	else if (error == -ESTALE)
		(void)cmd_fail("the log was rotated while it was read; run "
		    "this again");
	return error != 0 ? CMD_FAILED : CMD_DONE;
}

int
ledgers_read(struct reader *reader, char **paths, const char *conf_path)
{
	struct files files = { .count = 0 };
	int code = ledgers_files(&files, paths, conf_path);

	if (code == CMD_DONE)
		code = explain(read_all(reader, &files));
	files_free(&files);
	return code;
}

/* Stands between a reader and who gets each record. */
struct once {
	struct reader reader; /* as it was given */
	struct reader *told;  /* of faults */
	struct seen *seen;
	struct stretch stretch; /* that the last record was of */
	struct stretch doubled; /* what of it is not told yet; without a path:
				 * nothing */
};

static void
tell_doubled(struct once *once)
{
	if (once->doubled.path != NULL)
		seen_tell_twice(&once->doubled, once->told);
	once->doubled.path = NULL;
}

static void
set_true(uint64_t first, uint64_t last, void *arg)
{
	(void)first;
	(void)last;
	*(bool *)arg = true;
}

static int
take_once(const struct entry *entry, const struct place *place, void *arg)
{
	struct once *once = arg;
	struct stretch one = stretch_of(entry, place->path, place->line);
	bool is_doubled = false;
	int error;

	if (!stretch_add(&once->stretch, entry, place->path, place->line))
		once->stretch = one;
	one.run = once->stretch.run;
	one.is_orphan = once->stretch.is_orphan;
	error = seen_claim(once->seen, &one, set_true, &is_doubled);
	if (error != 0 || !is_doubled) {
		tell_doubled(once);
		return error != 0 ? error :
		    once->reader.each(entry, place, once->reader.arg);
	}
	if (!stretch_add(&once->doubled, entry, place->path, place->line)) {
		tell_doubled(once);
		once->doubled = one;
	}
	return 0;
}

int
ledgers_read_once(struct reader *reader, char **paths, const char *conf_path)
{
	struct files files = { .count = 0 };
	struct once once = { .reader = *reader, .told = reader,
		.seen = seen_new() };
	int code = ledgers_files(&files, paths, conf_path);
	int error = once.seen == NULL ? -ENOMEM : 0;

	reader->each = take_once;
	reader->arg = &once;
	if (error == 0 && code == CMD_DONE)
		error = read_all(reader, &files);
	tell_doubled(&once);
	if (error == 0)
		error = seen_finish(once.seen, reader);
	reader->each = once.reader.each;
	reader->arg = once.reader.arg;
	if (code == CMD_DONE)
		code = explain(error);
	seen_free(once.seen);
	files_free(&files);
	return code;
}

int
ledgers_sum(const struct sum_query *query, char **paths, const char *conf_path,
    struct reader *reader, struct groups *groups[])
{
	int code = CMD_FAILED, error = -ESTALE, tries;

	for (tries = 0; error == -ESTALE && tries < TRIES &&
	    reader->faults == 0; tries++) {
		struct files files = { .count = 0 };

		code = ledgers_files(&files, paths, conf_path);
		error = code == CMD_DONE ?
		    sum_files(query, &files, reader, groups) : 0;
		files_free(&files);
	}
	/* What else went wrong is told. */
	if (error == -ESTALE)
		return explain(error);
	return error != 0 ? CMD_FAILED : code;
}
