#include "tests/unit/web.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

void
web_init(struct web *web, int fd)
{
	memset(web, 0, sizeof(*web));
	web->fd = fd;
}

void
web_free(struct web *web)
{
	close_fd(&web->fd);
	buf_free(&web->out);
}

static void
put_param(struct buf *block, const char *param)
{
	const char *equals = strchr(param, '=');

	LOG_ASSERT(equals != NULL && params_put(block, param,
	    (size_t)(equals - param), equals + 1, strlen(equals + 1)) == 0);
}

void
web_put_head(struct buf *out, uint16_t id, uint8_t flags, const char *path,
    const char *const *params)
{
	struct buf block = { 0 };

	LOG_ASSERT(params_put(&block, "DOCUMENT_URI", 12, path,
	    strlen(path)) == 0);
	for (; params != NULL && *params != NULL; params++)
		put_param(&block, *params);
	LOG_ASSERT(fcgi_put_begin(out, id, FCGI_RESPONDER, flags) == 0);
	LOG_ASSERT(fcgi_put_stream(out, FCGI_PARAMS, id, buf_head(&block),
	    buf_len(&block)) == 0);
	LOG_ASSERT(fcgi_put_stream_end(out, FCGI_PARAMS, id) == 0);
	buf_free(&block);
}

void
web_put_body(struct buf *out, uint16_t id, const char *body, size_t n)
{
	LOG_ASSERT(fcgi_put_stream(out, FCGI_STDIN, id, body, n) == 0);
	LOG_ASSERT(fcgi_put_stream_end(out, FCGI_STDIN, id) == 0);
}

void
web_put_get(struct buf *out, uint16_t id, uint8_t flags, const char *path)
{
	static const char *const params[] = { "REQUEST_METHOD=GET",
		"CONTENT_LENGTH=", NULL };

	web_put_head(out, id, flags, path, params);
	web_put_body(out, id, "", 0);
}

void
web_send(struct web *web, struct buf *bytes)
{
	ssize_t n = send(web->fd, buf_head(bytes), buf_len(bytes),
	    MSG_NOSIGNAL | MSG_DONTWAIT);

	LOG_ASSERT(n == (ssize_t)buf_len(bytes));
	buf_free(bytes);
}

void
web_get(struct web *web, uint16_t id, uint8_t flags, const char *path)
{
	struct buf bytes = { 0 };

	web_put_get(&bytes, id, flags, path);
	web_send(web, &bytes);
}

static void
record_take(struct web *web)
{
	const struct fcgi_parser *parser = &web->parser;

	if (parser->type == FCGI_STDOUT) {
		if (parser->content_length == 0)
			web->has_out_end = true;
	} else if (parser->type == FCGI_END_REQUEST) {
		LOG_ASSERT(web->small_have == 8);
		web->ends++;
		web->end_id = parser->id;
		fcgi_read_end(web->small, &web->app_status,
		    &web->protocol_status);
	} else if (parser->type == FCGI_ABORT_REQUEST) {
		web->has_abort = true;
	} else {
		web->others++;
		web->other_type = parser->type;
	}
}

static void
bytes_take(struct web *web, const uint8_t *data, size_t n)
{
	enum fcgi_event event;

	while ((event = fcgi_parse(&web->parser, &data, &n)) !=
	    FCGI_EVENT_MORE) {
		size_t room = sizeof(web->small) - web->small_have;

		if (event == FCGI_EVENT_BAD) {
			LOG_ASSERT(web->has_abort);
			web->is_cut = true;
			return;
		}
		if (event == FCGI_EVENT_HEADER) {
			web->small_have = 0;
		} else if (event == FCGI_EVENT_END) {
			record_take(web);
		} else if (web->parser.type == FCGI_STDOUT) {
			LOG_ASSERT(buf_add(&web->out, web->parser.data,
			    web->parser.length) == 0);
		} else {
			if (room > web->parser.length)
				room = web->parser.length;
			memcpy(web->small + web->small_have, web->parser.data,
			    room);
			web->small_have += room;
		}
	}
}

size_t
web_read(struct web *web)
{
	static uint8_t bytes[65536];
	size_t all = 0;
	ssize_t n;

	while ((n = recv(web->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		bytes_take(web, bytes, (size_t)n);
		all += (size_t)n;
	}
	if (n == 0)
		web->is_closed = true;
	return all;
}

const char *
web_text(struct web *web)
{
	LOG_ASSERT(buf_add(&web->out, "", 1) == 0);
	web->out.end--;
	return (const char *)buf_head(&web->out);
}
