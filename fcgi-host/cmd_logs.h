/*
 * `fcgi-host logs`: what functions wrote, out of their own files, or what the host's
 * log has of them, out of a file and those that it was rotated to, or out of
 * systemd's journal.  Needs no running host and no right but to read them.  A line
 * holds what a function wrote: it is escaped by the gateway, and stays so here but
 * for letters.
 */
#ifndef FCGI_HOST_CMD_LOGS_H
#define FCGI_HOST_CMD_LOGS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

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

/* The same from the functions' own files below conf->function_logs; function NULL:
 * of all that may be read, one after the other. */
int logs_read_functions(const struct conf *conf, const char *function,
    bool is_followed, const struct logs_taker *taker);

/* ---- what the readers share ---- */

/* An open source of lines, and the beginning of one that is not whole yet. */
struct logs_source {
	int fd;
	struct buf rest;
	bool is_too_long;
	off_t offset;
};

/* Takes all that is there now.  What the taker said, or a negative errno. */
int logs_drain(struct logs_source *source, const struct logs_taker *taker);
void logs_source_close(struct logs_source *source);
/* Until it is worth looking for lines again. */
void logs_pause(void);

#endif
