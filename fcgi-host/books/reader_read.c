#include "fcgi-host/books/reader.h"

#include <errno.h>
#include <string.h>

#include "fcgi-host/books/json.h"
#include "fcgi-host/books/lines.h"

static int
take_line(struct reader *reader, struct json *json, struct place *place)
{
	char why[JSON_WHY_MAX];
	struct entry entry;

	if (place->n > JSON_LINE_MAX) {
		reader_fault(reader, place->path, place->line,
		    "the line has more than %zu bytes", JSON_LINE_MAX);
		return 0;
	}
	if (json_read(json, place->text, place->n, &entry, why) != 0) {
		reader_fault(reader, place->path, place->line, "%s", why);
		return 0;
	}
	reader->records++;
	return reader->each(&entry, place, reader->arg);
}

static int
take_block(struct reader *reader, struct json *json,
    const struct block *block)
{
	const char *at = block->data, *end = at + block->n;
	struct place place = { .path = block->path, .line = block->line };
	int error = 0;

	for (; error == 0 && at < end; place.line++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		place.text = at;
		place.n = (size_t)(newline - at);
		at = newline + 1;
		error = take_line(reader, json, &place);
	}
	return error;
}

int
reader_read(struct reader *reader, const char *path)
{
	struct block *block = block_new();
	struct json *json = json_new();
	struct lines *lines = NULL;
	int error = block == NULL || json == NULL ? -ENOMEM :
	    lines_open(&lines, path, reader), state = 0;

	while (error == 0 && (state = lines_fill(lines, block)) > 0)
		error = take_block(reader, json, block);
	lines_close(lines);
	json_free(json);
	block_free(block);
	return error != 0 ? error : state;
}
