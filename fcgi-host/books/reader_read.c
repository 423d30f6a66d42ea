#include "fcgi-host/books/reader.h"

#include <errno.h>

#include "fcgi-host/books/json.h"
#include "fcgi-host/books/lines.h"

static int
take_block(struct reader *reader, struct json *json,
    const struct block *block)
{
	struct place place = { .path = NULL };
	char why[JSON_WHY_MAX];
	struct entry entry;
	int error = 0;

	while (error == 0 && block_next(block, &place)) {
		if (json_read(json, place.text, place.n, &entry, why) != 0) {
			reader_fault(reader, place.path, place.line, "%s",
			    why);
			continue;
		}
		error = reader->each(&entry, &place, reader->arg);
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

	while (error == 0 && (state = lines_fill(lines, block)) > 0) {
		error = take_block(reader, json, block);
		if (reader->moved != NULL)
			reader->moved(lines_position(lines),
			    reader->moved_arg);
	}
	lines_close(lines);
	json_free(json);
	block_free(block);
	return error != 0 ? error : state;
}
