/*
 * The FastCGI 1.0 record layer, both directions, both sides of the wire.
 * Pure: bytes in, values out, no descriptors.  Source: FastCGI 1.0 section 3.3
 * to 5.5 and fcgi2's fastcgi.h, whose constants and structs it uses.
 */
#ifndef FCGI_HOST_FCGI_RECORD_H
#define FCGI_HOST_FCGI_RECORD_H

#include <fastcgi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"

#define FCGI_CONTENT_MAX 65535

enum fcgi_event {
	FCGI_EVENT_MORE,   /* all input is used up, more is needed */
	FCGI_EVENT_HEADER, /* a header is complete: type, id, content_length */
	FCGI_EVENT_DATA,   /* content bytes in data[0..length) */
	FCGI_EVENT_END,    /* the record and its padding are complete */
	FCGI_EVENT_BAD     /* not FastCGI 1.0 (version byte): close the peer */
};

/* All-zero is a parser at a record's start. */
struct fcgi_parser {
	uint8_t header[FCGI_HEADER_LEN];
	uint8_t header_have;
	bool in_record;
	uint8_t type;
	uint16_t id;
	uint16_t content_length;
	uint16_t content_left;
	uint8_t padding_left;
	/* of the last FCGI_EVENT_DATA; points into the caller's input */
	const uint8_t *data;
	size_t length;
};

/* Whether it is at a record's start. */
bool fcgi_parser_is_between(const struct fcgi_parser *parser);

/*
 * Takes bytes from *input (advancing it and lowering *n) up to the next event.
 * For every record: one HEADER, zero or more DATA, one END, however the bytes
 * are cut.  A record with no content gives HEADER, END.  Call it until it says
 * MORE: END may come when no input is left.  After BAD it says BAD for ever.
 */
enum fcgi_event fcgi_parse(struct fcgi_parser *parser, const uint8_t **input,
    size_t *n);

/* Appends; each returns 0 or -ENOMEM.  Padding that is written is zero. */
int fcgi_put_header(struct buf *out, uint8_t type, uint16_t id,
    uint16_t content_length, uint8_t padding_length);
/* Content of any length as as many records of a stream as it takes; none for
 * n == 0. */
int fcgi_put_stream(struct buf *out, uint8_t type, uint16_t id,
    const void *data, size_t n);
/* The same for content that was appended behind the room for a header at `at`,
 * counted from the buffer's head: where it fits into one record it is not
 * copied.  -ENOMEM: it is gone, with its header. */
int fcgi_wrap_stream(struct buf *out, size_t at, uint8_t type, uint16_t id);
/* The empty record that ends a stream. */
int fcgi_put_stream_end(struct buf *out, uint8_t type, uint16_t id);
int fcgi_put_begin(struct buf *out, uint16_t id, uint16_t role, uint8_t flags);
int fcgi_put_abort(struct buf *out, uint16_t id);
int fcgi_put_end(struct buf *out, uint16_t id, uint32_t app_status,
    uint8_t protocol_status);
/* What makes a web server see that an answer is not whole: ABORT_REQUEST, which
 * an application never sends (without it nginx, which keeps no connection by
 * default, takes the mere close for the regular end), and a header of version
 * 0 (Caddy passes over the other).  The close must follow. */
int fcgi_put_cut(struct buf *out, uint16_t id);
int fcgi_put_unknown_type(struct buf *out, uint8_t type);

/* Gives whole records that were appended here another request id. */
void fcgi_renumber(struct buf *records, uint16_t id);

/* Writes a record header into 8 bytes, for content that is placed already. */
void fcgi_write_header(uint8_t out[FCGI_HEADER_LEN], uint8_t type, uint16_t id,
    uint16_t content_length, uint8_t padding_length);

/* Bodies of BEGIN_REQUEST and END_REQUEST; data holds 8 bytes. */
void fcgi_read_begin(const uint8_t data[8], uint16_t *role, uint8_t *flags);
void fcgi_read_end(const uint8_t data[8], uint32_t *app_status,
    uint8_t *protocol_status);

#endif
