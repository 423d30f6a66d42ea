#include "functions/c/request.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "functions/common/child.h"
#include "functions/common/given.h"

#define PIECE_BYTES (16 * 1024)
#define FIELD_NAME_MAX 200

struct block {
	struct block *next;
	max_align_t data[];
};

int
request_init(struct fcgi_request *request, int fd)
{
	memset(request, 0, sizeof(*request));
	if (FCGX_InitRequest(&request->fcgi, fd, 0) != 0)
		return -ENOMEM;
	return child_init();
}

int
request_refuse(struct fcgi_request *request, int error, const char *what,
    const char *name)
{
	fprintf(stderr, "fcgi-host: %s%s%s: %s\n", what,
	    name != NULL ? " " : "", name != NULL ? name : "",
	    strerror(-error));
	request->is_refused = true;
	return error;
}

/* ---- what the request says ---- */

const char *
fcgi_param(struct fcgi_request *request, const char *name)
{
	return FCGX_GetParam(name, request->fcgi.envp);
}

static const char *
param_or(struct fcgi_request *request, const char *name, const char *other)
{
	const char *value = fcgi_param(request, name);

	return value != NULL && value[0] != '\0' ? value : other;
}

const char *
fcgi_method(struct fcgi_request *request)
{
	return param_or(request, "REQUEST_METHOD", "GET");
}

const char *
fcgi_path(struct fcgi_request *request)
{
	return param_or(request, "PATH_INFO", "/");
}

const char *
fcgi_id(struct fcgi_request *request)
{
	return param_or(request, "REQUEST_ID", "");
}

const char *
fcgi_field(struct fcgi_request *request, const char *name)
{
	char param[sizeof("HTTP_") + FIELD_NAME_MAX] = "HTTP_";
	size_t n = strlen(name), at = sizeof("HTTP_") - 1;

	if (n > FIELD_NAME_MAX)
		return NULL;
	for (size_t i = 0; i <= n; i++)
		param[at + i] = (char)(name[i] == '-' ? '_' :
		    toupper((unsigned char)name[i]));
	if (strcmp(param + at, "CONTENT_TYPE") == 0 ||
	    strcmp(param + at, "CONTENT_LENGTH") == 0)
		return param_or(request, param + at, NULL);
	return fcgi_param(request, param);
}

/* ---- memory ---- */

static void
block_keep(struct fcgi_request *request, struct block *block)
{
	block->next = request->blocks;
	request->blocks = block;
}

void *
fcgi_alloc(struct fcgi_request *request, size_t n)
{
	struct block *block = NULL;

	if (n <= SIZE_MAX - sizeof(*block))
		block = calloc(1, sizeof(*block) + n);
	if (block == NULL) {
		request_refuse(request, -ENOMEM, "memory for the request",
		    NULL);
		return NULL;
	}
	block_keep(request, block);
	return block->data;
}

static void
free_all(struct fcgi_request *request)
{
	while (request->blocks != NULL) {
		struct block *next = request->blocks->next;

		free(request->blocks);
		request->blocks = next;
	}
}

/* ---- a=1&b=2 ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * The next byte of text, decoded, which has n bytes; *taken: how many it is made of.
 * What is no code stands for itself; so does %00, which would end a string that the
 * visitor has not ended.
 */
static char
decode(const char *text, size_t n, size_t *taken)
{
	int high, low;

	*taken = 1;
	if (text[0] == '+')
		return ' ';
	if (text[0] != '%' || n < 3)
		return text[0];
	high = hex_digit(text[1]);
	low = hex_digit(text[2]);
	if (high < 0 || low < 0 || (high == 0 && low == 0))
		return text[0];
	*taken = 3;
	return (char)(high << 4 | low);
}

static bool
is_name(const char *text, size_t n, const char *name)
{
	size_t taken;

	for (; n > 0; text += taken, n -= taken, name++)
		if (*name == '\0' || decode(text, n, &taken) != *name)
			return false;
	return *name == '\0';
}

static const char *
decoded(struct fcgi_request *request, const char *text, size_t n)
{
	char *value = fcgi_alloc(request, n + 1);
	size_t taken, used = 0;

	for (; value != NULL && n > 0; text += taken, n -= taken)
		value[used++] = decode(text, n, &taken);
	return value;
}

const char *
fcgi_value(struct fcgi_request *request, const char *text, const char *name)
{
	while (text != NULL && *text != '\0') {
		size_t n = strcspn(text, "&");
		const char *equals = memchr(text, '=', n);
		size_t name_n = equals != NULL ? (size_t)(equals - text) : n;

		if (is_name(text, name_n, name))
			return equals == NULL ? "" :
			    decoded(request, equals + 1, n - name_n - 1);
		text += n + (text[n] == '&');
	}
	return NULL;
}

const char *
fcgi_query(struct fcgi_request *request, const char *name)
{
	return fcgi_value(request, fcgi_param(request, "QUERY_STRING"), name);
}

/* ---- the body ---- */

/* Bytes that can be taken, after waiting for some; 0: the end; -ECONNABORTED.
 * libfcgi takes the interruption of a read for an error of the stream. */
static ssize_t
wait_for_some(struct fcgi_request *request)
{
	FCGX_Stream *stream = request->fcgi.in;
	size_t there;

	while (request->body_left > 0 && stream->rdNext == stream->stop) {
		int c = FCGX_GetChar(stream);

		if (c != EOF) {
			FCGX_UnGetChar(c, stream);
			break;
		}
		if (FCGX_GetError(stream) == 0)
			return 0;
		if (FCGX_GetError(stream) != EINTR)
			return -ECONNABORTED;
		FCGX_ClearError(stream);
		stream->isClosed = 0;
	}
	there = (size_t)(stream->stop - stream->rdNext);
	return (ssize_t)(there < request->body_left ? there :
	    request->body_left);
}

ssize_t
fcgi_read(struct fcgi_request *request, void *to, size_t n)
{
	ssize_t there = n > 0 ? wait_for_some(request) : 0;

	if (there <= 0)
		return there;
	if (n > (size_t)there)
		n = (size_t)there;
	memcpy(to, request->fcgi.in->rdNext, n);
	request->fcgi.in->rdNext += n;
	request->body_left -= n;
	return (ssize_t)n;
}

/* What of the body was read, in a block to be. */
struct rest {
	struct block *block;
	size_t used, room;
};

/* Room for more behind what is used, and for a NUL; not beyond most. */
static int
rest_grow(struct rest *rest, size_t most)
{
	size_t room = rest->room > 0 ? rest->room * 2 : PIECE_BYTES;
	struct block *more;

	if (room > most)
		room = most;
	more = realloc(rest->block, sizeof(*more) + room + 1);
	if (more == NULL)
		return -ENOMEM;
	rest->block = more;
	rest->room = room;
	return 0;
}

/* As fcgi_read(), until the end; -EFBIG, -ENOMEM. */
static ssize_t
rest_read(struct fcgi_request *request, struct rest *rest, size_t most)
{
	ssize_t n = rest_grow(rest, PIECE_BYTES < most ? PIECE_BYTES : most);

	if (n < 0)
		return n;
	while ((n = wait_for_some(request)) > 0) {
		if ((size_t)n > most - rest->used)
			return -EFBIG;
		while (rest->room - rest->used < (size_t)n)
			if (rest_grow(rest, most) < 0)
				return -ENOMEM;
		rest->used += (size_t)fcgi_read(request,
		    (char *)rest->block->data + rest->used, (size_t)n);
	}
	return n;
}

char *
fcgi_body(struct fcgi_request *request, size_t most, size_t *length)
{
	struct rest rest = { 0 };
	ssize_t error = -EFBIG;

	if (length != NULL)
		*length = 0;
	if (most < SIZE_MAX / 4)
		error = rest_read(request, &rest, most);
	if (error < 0) {
		free(rest.block);
		if (error == -ENOMEM)
			request_refuse(request, -ENOMEM, "memory for the body",
			    NULL);
		errno = (int)-error;
		return NULL;
	}
	((char *)rest.block->data)[rest.used] = '\0';
	block_keep(request, rest.block);
	if (length != NULL)
		*length = rest.used;
	return (char *)rest.block->data;
}

/* ---- its life ---- */

void
request_serve(struct fcgi_request *request)
{
	int result;

	request->body_left = given_length(fcgi_param(request, "CONTENT_LENGTH"));
	answer_begin(request);
	child_watch(&request->fcgi);
	result = handler(request);
	child_watch(NULL);
	/* it comes back from the function, and ends as a program does */
	if (child_is_one())
		exit(result == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
	if (result != 0 && !request->is_gone && !request->is_refused)
		fprintf(stderr, "fcgi-host: the handler returned %d, which is "
		    "no success\n", result);
	(void)fflush(stdout);
	(void)fflush(stderr);
	answer_end(request, result != 0 || request->is_refused);
	free_all(request);
}
