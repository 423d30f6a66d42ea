/*
 * How far the reading is, on a terminal and there only.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_PROGRESS_H
#define FCGI_HOST_BOOKS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/books/files.h"

struct progress {
	bool is_on, is_shown;
	uint64_t done, total; /* bytes: of the files before, and of all */
	uint64_t start_ms, next_ms;
};

void progress_begin(struct progress *progress, const struct files *files,
    bool is_quiet);
/* The current file is read up to position; shows it now and then. */
void progress_show(struct progress *progress, uint64_t position);
/* That file, of size bytes, is done. */
void progress_next(struct progress *progress, uint64_t size);
/* Leaves an empty line behind. */
void progress_end(struct progress *progress);

#endif
