/*
 * A file as blocks of whole lines.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_LINES_H
#define FCGI_HOST_BOOKS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/books/reader.h"
#include "fcgi-host/books/stream.h"

/* Several lines, each with its newline; the first has the number `line`. */
struct block {
	char *data; /* LINES_BLOCK bytes and the padding of json.h */
	size_t n;
	const char *path;
	uint64_t line;
	struct block *next; /* for who keeps lists of them */
};

#define LINES_BLOCK ((size_t)512 << 10)

struct block *block_new(void); /* NULL: no memory */
void block_free(struct block *block); /* accepts NULL */

/* Goes on to the next line of a block; from all-zero to its first.  False:
 * there is none. */
bool block_next(const struct block *block, struct place *place);

struct lines;

/* Opens a file; path and reader are borrowed; with reader NULL nothing is said
 * of what is in it.  0, or a negative errno after a sentence on standard error;
 * -ENOENT without one: a rotation has taken it away. */
int lines_open(struct lines **out, const char *path, struct reader *reader);
void lines_close(struct lines *lines); /* accepts NULL */

/*
 * Fills a block with the next lines.  1; 0: the end, the block is empty; or a
 * negative errno.  A line that is too long, and data that cannot be
 * uncompressed, are faults of the reader, a last line without an end is
 * warned of; neither is in a block.
 */
int lines_fill(struct lines *lines, struct block *block);

/* Bytes of the file that were read, of how many. */
uint64_t lines_position(const struct lines *lines);

#endif
