#include "fcgi-host/books/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/books/json.h"
#include "fcgi-host/cmd.h"

struct lines {
	struct reader *reader;
	struct stream *stream;
	const char *path;
	uint64_t line; /* lines that were seen */
	char *rest;    /* what follows the last block's last line */
	size_t rest_n;
	bool is_skipping; /* in a line that is too long */
	bool is_at_end;
};

struct block *
block_new(void)
{
	struct block *block = calloc(1, sizeof(*block));

	if (block == NULL)
		return NULL;
	block->data = calloc(1, LINES_BLOCK + JSON_PADDING);
	if (block->data != NULL)
		return block;
	free(block);
	return NULL;
}

void
block_free(struct block *block)
{
	if (block == NULL)
		return;
	free(block->data);
	free(block);
}

bool
block_next(const struct block *block, struct place *place)
{
	const char *end = block->data + block->n, *newline;

	if (place->text == NULL)
		*place = (struct place){ .path = block->path,
			.line = block->line, .text = block->data };
	else {
		place->line++;
		place->text += place->n + 1;
	}
	if (place->text == end)
		return false;
	newline = memchr(place->text, '\n', (size_t)(end - place->text));
	place->n = (size_t)(newline - place->text);
	return true;
}

int
lines_open(struct lines **out, const char *path, struct reader *reader)
{
	struct lines *lines = calloc(1, sizeof(*lines));
	int error = -ENOMEM;

	*out = NULL;
	if (lines != NULL) {
		lines->rest = malloc(JSON_LINE_MAX);
		lines->reader = reader;
		lines->path = path;
		if (lines->rest != NULL)
			error = stream_open(&lines->stream, path);
	}
	if (error == 0) {
		*out = lines;
		return 0;
	}
	if (error != -ENOENT)
		(void)cmd_fail("%s: %s", path, strerror(-error));
	lines_close(lines);
	return error;
}

void
lines_close(struct lines *lines)
{
	if (lines == NULL)
		return;
	stream_close(lines->stream);
	free(lines->rest);
	free(lines);
}

uint64_t
lines_position(const struct lines *lines)
{
	return stream_position(lines->stream);
}

static void
too_long(struct lines *lines)
{
	lines->line++;
	lines->is_skipping = true;
	if (lines->reader == NULL)
		return;
	reader_fault(lines->reader, lines->path, lines->line,
	    "the line has more than %zu bytes", JSON_LINE_MAX);
}

/* Drops the end of a line that is too long, if it is in the block. */
static void
skip(struct lines *lines, struct block *block)
{
	char *newline = memchr(block->data, '\n', block->n);

	if (newline == NULL) {
		block->n = 0;
		return;
	}
	lines->is_skipping = false;
	block->n -= (size_t)(newline + 1 - block->data);
	memmove(block->data, newline + 1, block->n);
}

/* Reads until the block is full, or all is read.  0 or negative errno. */
static int
fill(struct lines *lines, struct block *block)
{
	ssize_t got;

	memcpy(block->data, lines->rest, lines->rest_n);
	block->n = lines->rest_n;
	lines->rest_n = 0;
	while (block->n < LINES_BLOCK && !lines->is_at_end) {
		got = stream_read(lines->stream, block->data + block->n,
		    LINES_BLOCK - block->n);
		if (got == -EBADMSG) {
			if (lines->reader != NULL)
				reader_fault(lines->reader, lines->path,
				    lines->line, "the file cannot be read from "
				    "about here: %s",
				    stream_why(lines->stream));
			lines->is_skipping = true; /* what is begun is lost */
			got = 0;
		}
		if (got < 0) {
			(void)cmd_fail("%s: %s", lines->path,
			    strerror((int)-got));
			return (int)got;
		}
		lines->is_at_end = got == 0;
		block->n += (size_t)got;
		if (lines->is_skipping && !lines->is_at_end)
			skip(lines, block);
	}
	return 0;
}

/* Keeps what follows the last newline for the next block. */
static void
cut(struct lines *lines, struct block *block)
{
	char *last = memrchr(block->data, '\n', block->n);
	size_t whole = last == NULL ? 0 : (size_t)(last + 1 - block->data);
	size_t rest = block->n - whole;
	const char *at;

	block->n = whole;
	block->path = lines->path;
	block->line = lines->line + 1;
	for (at = block->data; at < block->data + whole; at++) {
		at = memchr(at, '\n', (size_t)(block->data + whole - at));
		lines->line++;
	}
	if (rest > JSON_LINE_MAX)
		too_long(lines);
	else {
		memcpy(lines->rest, block->data + whole, rest);
		lines->rest_n = rest;
	}
}

int
lines_fill(struct lines *lines, struct block *block)
{
	int error;

	block->n = 0;
	while (block->n == 0 && !lines->is_at_end) {
		error = fill(lines, block);
		if (error != 0)
			return error;
		cut(lines, block);
	}
	if (lines->is_at_end && lines->rest_n > 0 && !lines->is_skipping &&
	    lines->reader != NULL)
		(void)cmd_fail("warning: %s:%" PRIu64 ": the last line is not "
		    "finished, and not counted", lines->path, lines->line + 1);
	if (lines->is_at_end)
		lines->rest_n = 0;
	return block->n > 0 ? 1 : 0;
}
