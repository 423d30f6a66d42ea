/*
 * Which logs a verb reads: those that were named, or the configuration's.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_LEDGERS_H
#define FCGI_HOST_BOOKS_LEDGERS_H

#include "fcgi-host/books/reader.h"

/* Reads the files of paths (NULL at the end), or without any the accounting log
 * of the configuration.  CMD_DONE, or CMD_FAILED or CMD_WRONG after a sentence;
 * faults of lines are left to reader_faults, to be said last. */
int ledgers_read(struct reader *reader, char **paths, const char *conf);

#endif
