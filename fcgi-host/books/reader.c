#include "fcgi-host/books/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/books/json.h"
#include "fcgi-host/cmd.h"
#include "fcgi-host/sock.h"

#define BLOCK_SIZE ((size_t)1 << 20)
#define FAULTS_SHOWN 20
#define PATH_SHOWN 1024

/* One file that is being read. */
struct file {
	struct reader *reader;
	struct json *json;
	struct place place;
	char *block; /* BLOCK_SIZE bytes, and the padding */
	size_t n;    /* bytes in it */
	bool is_skipping; /* in a line that is too long */
};

void
reader_fault(struct reader *reader, const char *path, uint64_t line,
    const char *fmt, ...)
{
	char text[256], shown[PATH_SHOWN];
	va_list args;

	if (reader->faults++ >= FAULTS_SHOWN)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	(void)cmd_fail("%s:%" PRIu64 ": %s",
	    log_value(shown, sizeof(shown), path, strlen(path)), line, text);
}

bool
reader_faults(const struct reader *reader)
{
	if (reader->faults > FAULTS_SHOWN)
		(void)cmd_fail("%" PRIu64 " more lines are wrong",
		    reader->faults - FAULTS_SHOWN);
	return reader->faults > 0;
}

static int
take_line(struct file *file, const char *line, size_t n)
{
	char why[JSON_WHY_MAX];
	struct entry entry;

	file->place.line++;
	file->place.text = line;
	file->place.n = n;
	if (json_read(file->json, line, n, &entry, why) != 0) {
		reader_fault(file->reader, file->place.path, file->place.line,
		    "%s", why);
		return 0;
	}
	file->reader->records++;
	return file->reader->each(&entry, &file->place, file->reader->arg);
}

static void
too_long(struct file *file)
{
	file->place.line++;
	reader_fault(file->reader, file->place.path, file->place.line,
	    "the line has more than %zu bytes", JSON_LINE_MAX);
}

/* All whole lines of the block; what is left moves to its beginning. */
static int
take_lines(struct file *file)
{
	const char *at = file->block, *end = at + file->n, *newline;
	int error = 0;

	while (error == 0 &&
	    (newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		if (file->is_skipping)
			file->is_skipping = false;
		else if ((size_t)(newline - at) > JSON_LINE_MAX)
			too_long(file);
		else
			error = take_line(file, at, (size_t)(newline - at));
		at = newline + 1;
	}
	file->n = (size_t)(end - at);
	if (!file->is_skipping && file->n > JSON_LINE_MAX) {
		too_long(file);
		file->is_skipping = true;
	}
	if (file->is_skipping)
		file->n = 0;
	memmove(file->block, at, file->n);
	return error;
}

static int
read_blocks(struct file *file, int fd)
{
	ssize_t got;
	int error = 0;

	while (error == 0) {
		got = read(fd, file->block + file->n, BLOCK_SIZE - file->n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			error = -errno;
			(void)cmd_fail("%s: %s", file->place.path,
			    strerror(-error));
		}
		if (got <= 0)
			break;
		file->n += (size_t)got;
		error = take_lines(file);
	}
	if (error == 0 && (file->n > 0 || file->is_skipping))
		(void)cmd_fail("warning: %s:%" PRIu64 ": the last line is not "
		    "finished, and not counted", file->place.path,
		    file->place.line + (file->is_skipping ? 0 : 1));
	return error;
}

int
reader_read(struct reader *reader, const char *path)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct file file = { .reader = reader, .place = { .path = path } };
	int error = fd < 0 ? -errno : 0;

	if (error != 0) {
		(void)cmd_fail("%s: %s", path, strerror(-error));
		return error;
	}
	file.block = calloc(1, BLOCK_SIZE + JSON_PADDING);
	file.json = json_new();
	error = file.block == NULL || file.json == NULL ? -ENOMEM :
	    read_blocks(&file, fd);
	if (error == -ENOMEM)
		(void)cmd_fail("no memory to read %s", path);
	json_free(file.json);
	free(file.block);
	return error;
}
