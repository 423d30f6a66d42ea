/*
 * A web server for tests: writes FastCGI requests and reads answers, with the
 * project's own codec.  Works without cmocka, for the fuzz targets too.
 */
#ifndef TESTS_UNIT_WEB_H
#define TESTS_UNIT_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/fcgi_record.h"

/* What has come over one connection so far. */
struct web {
	int fd;
	struct fcgi_parser parser;
	struct buf out; /* STDOUT's bytes of every request, NUL behind them */
	uint8_t small[8];
	size_t small_have;
	size_t ends;      /* END_REQUEST records */
	size_t others;    /* management and unexpected records */
	uint8_t other_type;
	uint16_t end_id;
	uint32_t app_status;
	uint8_t protocol_status;
	bool has_out_end; /* an empty STDOUT record */
	bool has_abort;
	bool is_cut;      /* the mark of a cut answer: ABORT_REQUEST, then a
			   * header of no version */
	bool is_closed;
};

void web_init(struct web *web, int fd);
void web_free(struct web *web);

/* Appends BEGIN_REQUEST, PARAMS of "NAME=VALUE" strings (NULL-terminated) with
 * the path PATH in DOCUMENT_URI, and their end. */
void web_put_head(struct buf *out, uint16_t id, uint8_t flags,
    const char *path, const char *const *params);
/* Appends STDIN, and its end. */
void web_put_body(struct buf *out, uint16_t id, const char *body, size_t n);
/* A GET of the path without a body, whole. */
void web_put_get(struct buf *out, uint16_t id, uint8_t flags,
    const char *path);

/* Sends and empties. */
void web_send(struct web *web, struct buf *bytes);
void web_get(struct web *web, uint16_t id, uint8_t flags, const char *path);
/* Reads what is there, without blocking; returns how many bytes. */
size_t web_read(struct web *web);
/* What STDOUT said so far, as text. */
const char *web_text(struct web *web);

#endif
