/*
 * `fcgi-host logs`: what the host's log has of functions, out of a file and those
 * that it was rotated to, or out of systemd's journal.  Needs no running host and
 * no right but to read them.  A line holds what a function wrote: it is escaped by
 * the gateway, and stays so here but for letters.
 */
#ifndef FCGI_HOST_CMD_LOGS_H
#define FCGI_HOST_CMD_LOGS_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/conf.h"

/* What is asked for; NULL: whatever it is. */
struct logs_want {
	const char *function, *request;
	bool is_json;
};

/* Appends a line of the log as a person or a program is told it.  1; 0: it is not
 * asked for, or is no line about a function; -ENOMEM. */
int logs_line(const struct logs_want *want, const char *line, size_t n,
    struct buf *out);

/* Takes a line, without its end.  Anything but 0 ends the reading. */
struct logs_taker {
	int (*line)(void *arg, const char *line, size_t n);
	/* all that there was has been read; with is_followed more will come */
	int (*end)(void *arg);
	void *arg;
};

/*
 * Reads the log, old files first, and with is_followed for ever.  What the taker
 * said; or a negative errno, and a sentence went to standard error.
 */
int logs_read_file(const char *path, bool is_followed,
    const struct logs_taker *taker);
int logs_read_journal(bool is_followed, const struct logs_taker *taker);

#endif
