/*
 * Which logs a verb reads: those that were named, or the configuration's, each
 * with its rotated files.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_LEDGERS_H
#define FCGI_HOST_BOOKS_LEDGERS_H

#include "fcgi-host/books/files.h"
#include "fcgi-host/books/reader.h"
#include "fcgi-host/books/sum.h"

/*
 * Of all four: paths has a NULL at its end; without any the accounting log of
 * the configuration is meant.  CMD_DONE, or CMD_FAILED or CMD_WRONG after a
 * sentence; faults are left to reader_faults, to be said last.
 */

/* The files of these logs, in order; to be freed in any case. */
int ledgers_files(struct files *files, char **paths, const char *conf);

/* Gives the reader each record, in order; also one that stands there twice. */
int ledgers_read(struct reader *reader, char **paths, const char *conf);

/* The same, each record once: what is doubled or missing are faults. */
int ledgers_read_once(struct reader *reader, char **paths, const char *conf);

/* Sums them up, as sum_files. */
int ledgers_sum(const struct sum_query *query, char **paths, const char *conf,
    struct reader *reader, struct groups *groups[]);

#endif
