/*
 * A function in C: one handler, which is called for each request.
 *
 *	#include <fcgi-host/function.h>
 *
 *	int
 *	handler(struct fcgi_request *request)
 *	{
 *		fcgi_printf(request, "Hello from %s\n", fcgi_path(request));
 *		return 0;
 *	}
 *
 * `fcgi-host-cc hello.c` makes hello.fcgi of it: a FastCGI program, that runs in an
 * instance's sandbox with the function's rights and serves one request after
 * another.  What is static stays from one to the next.
 *
 * Strings are UTF-8 or whatever the visitor sent, and end with a NUL.  What a
 * function returns here belongs to the request: it is there until the handler
 * returns, and nobody frees it.  Who fails returns a negative errno (-EPIPE) or
 * NULL.  All calls are for the thread in which the handler was called.
 *
 * What the program prints to stdout and stderr stands in the function's log, with
 * the request's id, and is no part of the answer.
 */
#ifndef FCGI_HOST_FUNCTION_H
#define FCGI_HOST_FUNCTION_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct fcgi_request;

/*
 * Yours.  0: the answer is done, and what was not sent yet is sent.  Any other value:
 * the request failed; it is told in the log, and the visitor gets 500 with nothing of
 * what was written, or, where the answer had begun to leave, one that is cut and never
 * looks whole.
 */
int handler(struct fcgi_request *request);

/* ---- the request ---- */

/* GET, HEAD, POST, ... */
const char *fcgi_method(struct fcgi_request *request);
/* The path behind the function's route, decoded; "/" if there is none. */
const char *fcgi_path(struct fcgi_request *request);
/* The value of a parameter of the URL, decoded, of several the first; "" if it has
 * none, NULL if it is not there. */
const char *fcgi_query(struct fcgi_request *request, const char *name);
/* The same of any text of the form a=1&b=2, such as a form's body. */
const char *fcgi_value(struct fcgi_request *request, const char *text,
    const char *name);
/* A header field of the request, "Accept-Language" in any case; NULL: none. */
const char *fcgi_field(struct fcgi_request *request, const char *name);
/* A FastCGI param (RFC 3875 section 4.1) as REMOTE_ADDR, QUERY_STRING; NULL: none. */
const char *fcgi_param(struct fcgi_request *request, const char *name);
/* The id under which the request stands in all logs; "" if it has none. */
const char *fcgi_id(struct fcgi_request *request);
/* n bytes, zeroed, that are freed when the handler has returned.  NULL: no memory;
 * the request fails then (500), whatever the handler returns. */
void *fcgi_alloc(struct fcgi_request *request, size_t n);

/* ---- the body of the request ---- */

/* Takes up to n bytes of what has come, and waits if there are none.  0: the end;
 * -ECONNABORTED: the visitor has left. */
ssize_t fcgi_read(struct fcgi_request *request, void *to, size_t n);
/*
 * What is left of the body, at once, with a NUL behind it; *length, which may be
 * NULL, is the number of its bytes.  NULL: it is longer than most bytes (errno is
 * EFBIG: answer 413), the visitor has left (ECONNABORTED), no memory (ENOMEM).
 */
char *fcgi_body(struct fcgi_request *request, size_t most, size_t *length);

/* ---- the answer ---- */

/*
 * It is held until 32 KiB are written, fcgi_flush() is called or the handler
 * returns: until its first byte has left, status and header can be set, and a failure
 * is a 500.  One that is held to its end has a Content-Length without being told.
 * Without a Content-Type it is text/plain; charset=utf-8.
 *
 * What is refused here with -EINVAL or -EALREADY is a mistake of the handler's: it
 * stands in the log, and the request fails, whether the handler looks or not.
 */

/* 200 to 599; without it 200.  -EINVAL: another number; -EALREADY: the answer has
 * begun to leave. */
int fcgi_status(struct fcgi_request *request, int status);
/*
 * Adds a header field; one of Content-Type, Location and Content-Length replaces an
 * earlier one.  -EINVAL: no name of a field, a value with control characters, as a
 * line break, or "Status", which is fcgi_status()'s; -EALREADY: the answer has begun
 * to leave.
 */
int fcgi_header(struct fcgi_request *request, const char *name,
    const char *value);
/*
 * Writes n bytes of the body, all of them; waits where the visitor reads slowly.
 * -EPIPE: the visitor takes no more, because he has left, or because it was HEAD and
 * the head has left; it is time to return.  -ENOMEM.
 */
int fcgi_write(struct fcgi_request *request, const void *data, size_t n);
int fcgi_puts(struct fcgi_request *request, const char *text);
int fcgi_printf(struct fcgi_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Sends what was written, now: for events, progress, streams.  As fcgi_write(). */
int fcgi_flush(struct fcgi_request *request);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
