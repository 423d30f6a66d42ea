/*
 * Follows the chain over the lines of accounting logs: `usage --verify`.  What
 * does not follow is reported with file and line.  fcgi-host-accounting(5) says
 * what it cannot show.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_VERIFY_H
#define FCGI_HOST_BOOKS_VERIFY_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/books/reader.h"

struct verify;

/* NULL: no memory. */
struct verify *verify_new(void);
/* Overwrites the keys. */
void verify_free(struct verify *verify);

/* A file with keys, one a line: each verifies what it and the keys behind it have
 * written.  0, or -EINVAL after a sentence on standard error. */
int verify_keys(struct verify *verify, const char *path);
/* A file in which heads stand, among any words: each must be the mac of a line, or
 * of the one before the first.  As above. */
int verify_heads(struct verify *verify, const char *path);

/* The next line, in the order in which they were written. */
void verify_line(struct verify *verify, struct reader *reader,
    const struct place *place);

/* Says what was verified, on standard output; and on standard error what could
 * not be.  True: all was, and follows. */
bool verify_end(struct verify *verify, const struct reader *reader);

/* What `usage --verify` is told.  conf: whose chain_key counts without keys. */
struct verify_options {
	const char *conf, *keys, *heads;
};

/* Verifies these logs, oldest first, NULL at the end; an exit status. */
int verify_run(char **paths, const struct verify_options *options);

#endif
