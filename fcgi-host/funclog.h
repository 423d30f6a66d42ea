/*
 * What a function writes to stderr (and a FastCGI program to stdout), cut into
 * lines and put into the function's log, or the host's, with function, instance and
 * request id.  Bounded in length and rate: a megabyte without a newline or a flood
 * costs its writer lines and nobody else anything.
 */
#ifndef FCGI_HOST_FUNCLOG_H
#define FCGI_HOST_FUNCLOG_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/logfiles.h"

#define FUNCLOG_LINE_MAX 1024
/* lines that one function may log in a window; the rest is counted */
#define FUNCLOG_BURST 1000
#define FUNCLOG_WINDOW_MS 10000

/* What all executions and instances of a function share: else a function that
 * is called often would have as many bursts. */
struct funclog_quota {
	struct logfiles *files; /* borrowed; NULL: the host's log */
	uint64_t window_start_us, lines;
};

struct funclog {
	struct funclog_quota *quota; /* borrowed */
	const char *function; /* borrowed */
	uint64_t instance;
	size_t used;
	int is_cut; /* the line went past its bound: swallow up to its end */
	uint64_t dropped;
	char line[FUNCLOG_LINE_MAX];
};

/* Borrows function and quota (zeroed, but for `files`, before its
 * first use). */
void funclog_init(struct funclog *log, const char *function, uint64_t instance,
    struct funclog_quota *quota);
/* n more bytes, written on behalf of request_id ("" between requests). */
void funclog_feed(struct funclog *log, const char *request_id,
    const char *data, size_t n, uint64_t now_us);
/* Writes an unfinished last line, and how many lines were dropped. */
void funclog_end(struct funclog *log, const char *request_id, uint64_t now_us);

#endif
