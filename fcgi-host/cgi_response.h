/*
 * The head of a CGI answer (RFC 3875 section 6), taken incrementally, checked
 * strictly, and given back in one normal form.  Pure and bounded.  A value can
 * never smuggle a second field or a second answer.
 */
#ifndef FCGI_HOST_CGI_RESPONSE_H
#define FCGI_HOST_CGI_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"

#define CGI_RESPONSE_FIELDS_MAX 256

enum cgi_response_state {
	CGI_RESPONSE_MORE, /* the head is not complete */
	CGI_RESPONSE_DONE, /* complete; what was not consumed is body */
	CGI_RESPONSE_BAD   /* refused; `problem` says why: 502 */
};

struct cgi_response {
	enum cgi_response_state state;
	int status; /* 200–599; when none was given 200, or 302 for Location */
	int64_t content_length; /* -1: none given */
	const char *problem;    /* static text, when BAD */
	bool has_location, has_status, has_content_type, is_nph;
	/* private */
	size_t header_max, taken, fields;
	struct buf line, head;
};

void cgi_response_init(struct cgi_response *response, size_t header_max);
void cgi_response_free(struct cgi_response *response);

/*
 * Takes up to n bytes and returns how many were part of the head (all of them
 * while the state is MORE).  Lines end in LF or CRLF.  Accepted: at least one
 * CGI field (Content-Type, Location, Status), none of these twice and
 * Content-Length not twice; a field name is a token (RFC 9110 section 5.6.2);
 * no control byte but tab in a value; no line without a colon, no leading
 * blank; an "HTTP/1.x NNN" first line (NPH) becomes Status.  A status of 1xx is
 * refused: with a body behind it, it is two answers.  Hop-by-hop fields
 * (Connection, Keep-Alive, Transfer-Encoding, Upgrade, Trailer, TE,
 * Proxy-*) are dropped, and so are those by which a web server is told to send
 * something else (X-Accel-Redirect, X-Sendfile and kin).  The head with its empty line fits in header_max bytes
 * and has at most CGI_RESPONSE_FIELDS_MAX fields.
 */
size_t cgi_response_feed(struct cgi_response *response, const uint8_t *data,
    size_t n);

/* Appends the head in normal form: "Status: 200 OK\r\n" (the reason is ours;
 * behind the fields when Location is one of them), the fields as given, the
 * empty line.  Only in state DONE.  0 or -ENOMEM. */
int cgi_response_put_head(const struct cgi_response *response, struct buf *out);

/* True when an answer of that status to that method has no body (RFC 9110:
 * HEAD, 1xx, 204, 304). */
bool cgi_response_is_bodyless(int status, const char *method);

/* Appends a complete plain answer of our own (Status, Content-Type,
 * Content-Length, extra header lines, each with its CRLF, or NULL, and the
 * sentence with a newline).  0 or -ENOMEM. */
int cgi_response_put_error(struct buf *out, int status, const char *extra,
    const char *sentence);
/* "Not Found" for 404 …; "Unknown" else. */
const char *cgi_response_reason(int status);

#endif
