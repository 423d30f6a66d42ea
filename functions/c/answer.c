#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "functions/c/request.h"
#include "functions/common/record.h"

#define STATUS_NONE 0
#define TEXT_FIRST 1024
#define PRINTED_FIRST 512
#define LENGTH_DIGITS_MAX 18

static const char type_default[] = "text/plain; charset=utf-8";
static const char failure_body[] = "Internal Server Error\n";

static const char *const single_names[SINGLE_COUNT] = {
	[SINGLE_TYPE] = "Content-Type",
	[SINGLE_LOCATION] = "Location",
	[SINGLE_LENGTH] = "Content-Length",
};

static const struct {
	int status;
	const char *phrase;
} phrases[] = {
	{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" },
	{ 204, "No Content" }, { 206, "Partial Content" },
	{ 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" },
	{ 304, "Not Modified" }, { 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" }, { 400, "Bad Request" },
	{ 401, "Unauthorized" }, { 402, "Payment Required" },
	{ 403, "Forbidden" }, { 404, "Not Found" },
	{ 405, "Method Not Allowed" }, { 406, "Not Acceptable" },
	{ 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" },
	{ 412, "Precondition Failed" }, { 413, "Content Too Large" },
	{ 415, "Unsupported Media Type" }, { 416, "Range Not Satisfiable" },
	{ 422, "Unprocessable Content" }, { 429, "Too Many Requests" },
	{ 500, "Internal Server Error" }, { 501, "Not Implemented" },
	{ 502, "Bad Gateway" }, { 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
};

static const char *
phrase_of(int status)
{
	static const char *const classes[] = { "", "", "Success",
		"Redirection", "Client Error", "Server Error" };

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return classes[status / 100];
}

/* ---- a growing text ---- */

static int
text_put(struct text *text, const char *data, size_t n)
{
	size_t room = text->room > 0 ? text->room : TEXT_FIRST;
	char *more;

	while (room - text->used < n) {
		if (room > SIZE_MAX / 2)
			return -ENOMEM;
		room *= 2;
	}
	if (room > text->room) {
		more = realloc(text->data, room);
		if (more == NULL)
			return -ENOMEM;
		text->data = more;
		text->room = room;
	}
	memcpy(text->data + text->used, data, n);
	text->used += n;
	return 0;
}

static int
put_line(struct text *text, const char *name, const char *value)
{
	int error = text_put(text, name, strlen(name));

	if (error == 0)
		error = text_put(text, ": ", 2);
	if (error == 0)
		error = text_put(text, value, strlen(value));
	if (error == 0)
		error = text_put(text, "\r\n", 2);
	return error;
}

/* ---- the head ---- */

void
answer_begin(struct fcgi_request *request)
{
	const char *method = fcgi_param(request, "REQUEST_METHOD");

	request->is_head_method = method != NULL && strcmp(method, "HEAD") == 0;
	request->is_head_sent = request->is_gone = request->is_refused = false;
	request->status = STATUS_NONE;
	request->fields.used = request->held = 0;
	for (int i = 0; i < SINGLE_COUNT; i++)
		request->singles[i] = NULL;
}

int
fcgi_status(struct fcgi_request *request, int status)
{
	if (status < 200 || status > 599)
		return request_refuse(request, -EINVAL,
		    "fcgi_status() takes 200 to 599", NULL);
	if (request->is_head_sent)
		return request_refuse(request, -EALREADY,
		    "fcgi_status() comes behind the first byte of the answer",
		    NULL);
	request->status = status;
	return 0;
}

static bool
is_token(const char *name)
{
	size_t n = 0;

	for (; name[n] != '\0'; n++) {
		unsigned char c = (unsigned char)name[n];

		if (c <= 0x20 || c >= 0x7f ||
		    strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
			return false;
	}
	return n > 0;
}

/* No control characters but a tab: no line's end above all. */
static bool
is_clean(const char *value)
{
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool
is_length(const char *value)
{
	size_t n = strspn(value, "0123456789");

	return n > 0 && n <= LENGTH_DIGITS_MAX && value[n] == '\0';
}

static int
set_single(struct fcgi_request *request, enum single which, const char *value)
{
	size_t n = strlen(value) + 1;
	char *kept;

	if (which == SINGLE_LENGTH && !is_length(value))
		return request_refuse(request, -EINVAL,
		    "the value of the header field", "Content-Length");
	kept = fcgi_alloc(request, n);
	if (kept == NULL)
		return -ENOMEM;
	memcpy(kept, value, n);
	request->singles[which] = kept;
	return 0;
}

int
fcgi_header(struct fcgi_request *request, const char *name, const char *value)
{
	if (!is_token(name) || strcasecmp(name, "Status") == 0)
		return request_refuse(request, -EINVAL, strcasecmp(name,
		    "Status") == 0 ? "the status is set by fcgi_status()" :
		    "the name of a header field", NULL);
	if (!is_clean(value))
		return request_refuse(request, -EINVAL, "control characters "
		    "in the value of the header field", name);
	if (request->is_head_sent)
		return request_refuse(request, -EALREADY, "the answer has "
		    "begun to leave before the header field", name);
	for (int i = 0; i < SINGLE_COUNT; i++)
		if (strcasecmp(name, single_names[i]) == 0)
			return set_single(request, (enum single)i, value);
	if (put_line(&request->fields, name, value) < 0)
		return request_refuse(request, -ENOMEM,
		    "memory for the header field", name);
	return 0;
}

static bool
is_without_content(const struct fcgi_request *request)
{
	return request->status == 204 || request->status == 304;
}

static bool
has_body(const struct fcgi_request *request)
{
	return !request->is_head_method && !is_without_content(request);
}

/* The head into scratch.  is_whole: all of the body is held. */
static int
make_head(struct fcgi_request *request, bool is_whole)
{
	struct text *text = &request->scratch;
	char line[64];
	int error = 0;

	text->used = 0;
	if (request->singles[SINGLE_TYPE] == NULL &&
	    !is_without_content(request) &&
	    (request->held > 0 || request->singles[SINGLE_LOCATION] == NULL))
		error = put_line(text, "Content-Type", type_default);
	if (request->status != STATUS_NONE && error == 0) {
		(void)snprintf(line, sizeof(line), "%d %s", request->status,
		    phrase_of(request->status));
		error = put_line(text, "Status", line);
	}
	for (int i = 0; i < SINGLE_COUNT && error == 0; i++)
		if (request->singles[i] != NULL)
			error = put_line(text, single_names[i],
			    request->singles[i]);
	if (is_whole && has_body(request) && error == 0 &&
	    request->singles[SINGLE_LENGTH] == NULL &&
	    request->singles[SINGLE_LOCATION] == NULL) {
		(void)snprintf(line, sizeof(line), "%zu", request->held);
		error = put_line(text, "Content-Length", line);
	}
	if (error == 0)
		error = text_put(text, request->fields.data,
		    request->fields.used);
	return error == 0 ? text_put(text, "\r\n", 2) : error;
}

/* ---- sending ---- */

/* What is held leaves, and before it the head. */
static int
send_held(struct fcgi_request *request)
{
	struct text *text = &request->scratch;
	int error = 0;

	text->used = 0;
	if (!request->is_head_sent)
		error = make_head(request, false);
	if (error == 0 && has_body(request))
		error = text_put(text, request->body, request->held);
	if (error < 0)
		return request_refuse(request, error, "memory for the answer",
		    NULL);
	request->is_head_sent = true;
	request->held = 0;
	error = record_write(request->fcgi.ipcFd, request->fcgi.requestId,
	    text->data, text->used);
	if (error < 0)
		request->is_gone = true;
	return error < 0 ? -EPIPE : 0;
}

int
fcgi_flush(struct fcgi_request *request)
{
	if (request->is_gone)
		return -EPIPE;
	if (request->is_head_sent && request->held == 0)
		return request->is_head_method ? -EPIPE : 0;
	return send_held(request);
}

int
fcgi_write(struct fcgi_request *request, const void *data, size_t n)
{
	int error = 0;

	if (request->is_gone ||
	    (request->is_head_method && request->is_head_sent))
		return -EPIPE;
	if (request->is_head_method)
		return 0;
	if (n > sizeof(request->body) - request->held)
		error = send_held(request);
	if (error < 0)
		return error;
	if (n <= sizeof(request->body) - request->held) {
		memcpy(request->body + request->held, data, n);
		request->held += n;
		return 0;
	}
	if (!has_body(request))
		return 0;
	if (record_write(request->fcgi.ipcFd, request->fcgi.requestId, data,
	    n) == 0)
		return 0;
	request->is_gone = true;
	return -EPIPE;
}

int
fcgi_puts(struct fcgi_request *request, const char *text)
{
	return fcgi_write(request, text, strlen(text));
}

int
fcgi_printf(struct fcgi_request *request, const char *format, ...)
{
	char small[PRINTED_FIRST], *large;
	va_list arguments;
	int n, error;

	va_start(arguments, format);
	n = vsnprintf(small, sizeof(small), format, arguments);
	va_end(arguments);
	if (n < 0)
		return request_refuse(request, -EINVAL, "fcgi_printf()", NULL);
	if ((size_t)n < sizeof(small))
		return fcgi_write(request, small, (size_t)n);
	large = malloc((size_t)n + 1);
	if (large == NULL)
		return request_refuse(request, -ENOMEM,
		    "memory for fcgi_printf()", NULL);
	va_start(arguments, format);
	n = vsnprintf(large, (size_t)n + 1, format, arguments);
	va_end(arguments);
	error = fcgi_write(request, large, n > 0 ? (size_t)n : 0);
	free(large);
	return error;
}

/* ---- its end ---- */

/* A short answer goes with its END_REQUEST in one write. */
static int
send_whole(struct fcgi_request *request)
{
	struct text *text = &request->scratch;
	FCGX_Stream *out = request->fcgi.out;
	int error = make_head(request, true);

	if (error == 0 && has_body(request))
		error = text_put(text, request->body, request->held);
	if (error < 0)
		return error;
	request->is_head_sent = true;
	if (text->used <= (size_t)(out->stop - out->wrNext))
		return FCGX_PutStr(text->data, (int)text->used, out) < 0 ?
		    -EPIPE : 0;
	return record_write(request->fcgi.ipcFd, request->fcgi.requestId,
	    text->data, text->used);
}

/* Instead of whatever the handler has held back. */
static int
send_failure(struct fcgi_request *request)
{
	request->status = 500;
	request->fields.used = 0;
	for (int i = 0; i < SINGLE_COUNT; i++)
		request->singles[i] = NULL;
	request->held = sizeof(failure_body) - 1;
	memcpy(request->body, failure_body, request->held);
	return send_whole(request);
}

/* The connection closes without END_REQUEST, so that the answer never looks
 * whole. */
static void
cut(struct fcgi_request *request)
{
	FCGX_Free(&request->fcgi, 1);
}

void
answer_end(struct fcgi_request *request, bool is_failed)
{
	bool is_over = request->is_head_method && request->is_head_sent;
	int error = 0;

	if (is_failed)
		FCGX_SetExitStatus(EXIT_FAILURE, request->fcgi.out);
	if (request->is_gone || (is_failed && request->is_head_sent &&
	    !is_over)) {
		cut(request);
		return;
	}
	if (is_failed && !request->is_head_sent)
		error = send_failure(request);
	else if (!request->is_head_sent)
		error = send_whole(request);
	else if (request->held > 0)
		error = send_held(request);
	if (error < 0) {
		cut(request);
		return;
	}
	record_wait(request->fcgi.ipcFd);
	FCGX_Finish_r(&request->fcgi);
}
