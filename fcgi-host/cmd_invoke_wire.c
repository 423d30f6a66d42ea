#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/cmd_invoke.h"
#include "fcgi-host/fcgi_params.h"

#define REQUEST_ID 1
#define HEAD_MAX (1 << 20) /* at least header_max's own bound */

static int
put(struct buf *out, const char *name, const char *value)
{
	return params_put(out, name, strlen(name), value, strlen(value));
}

/* Appends a path as a URL has it. */
static int
add_escaped(struct buf *out, const char *path)
{
	int error = 0;

	for (; *path != '\0' && error == 0; path++) {
		unsigned char c = (unsigned char)*path;

		if (isalnum(c) || strchr("/-._~!$&'()*+,;=:@", c) != NULL)
			error = buf_add(out, path, 1);
		else
			error = buf_addf(out, "%%%02X", c);
	}
	return error;
}

static int
put_url(const struct invoke_request *request, const struct conf *conf,
    struct buf *out)
{
	struct buf uri = { .data = NULL };
	char path[4608], prefix[2048];
	int error;

	(void)snprintf(prefix, sizeof(prefix), "%s/%s", conf->url_prefix,
	    request->function);
	(void)snprintf(path, sizeof(path), "%s%s", prefix, request->path_info);
	error = add_escaped(&uri, path);
	if (error == 0 && request->query[0] != '\0')
		error = buf_addf(&uri, "?%s", request->query);
	if (error == 0)
		error = buf_add(&uri, "", 1);
	if (error == 0)
		error = put(out, "REQUEST_URI", (const char *)uri.data);
	if (error == 0)
		error = put(out, "DOCUMENT_URI", path);
	if (error == 0)
		error = put(out, "FCGI_HOST_FUNCTION", request->function);
	if (error == 0)
		error = put(out, "FCGI_HOST_PREFIX", prefix);
	buf_free(&uri);
	return error;
}

static bool
is_token_char(char c)
{
	return isalnum((unsigned char)c) ||
	    (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* "Content-Type: text/plain" → CONTENT_TYPE, others HTTP_NAME. */
static int
put_header(const char *header, struct buf *out, char *problem, size_t size)
{
	char name[256] = "HTTP_";
	const char *colon = strchr(header, ':'), *value, *at;
	size_t n = 5, i;

	for (i = 0; is_token_char(header[i]) && n + 1 < sizeof(name); i++)
		name[n++] = header[i] == '-' ? '_' :
		    (char)toupper((unsigned char)header[i]);
	name[n] = '\0';
	if (colon == NULL || i == 0 || header + i != colon)
		return settings_problem(problem, size, "\"%.80s\" is no "
		    "header; write 'Name: value'", header);
	value = colon + 1 + strspn(colon + 1, " \t");
	for (at = value; *at != '\0'; at++)
		if ((unsigned char)*at < 0x20 && *at != '\t')
			return settings_problem(problem, size, "the header "
			    "%.80s holds a control byte", name + 5);
	if (strcmp(name, "HTTP_CONTENT_TYPE") == 0)
		return put(out, "CONTENT_TYPE", value);
	if (strcmp(name, "HTTP_CONTENT_LENGTH") == 0)
		return settings_problem(problem, size, "Content-Length is "
		    "the length of --data");
	return put(out, name, value);
}

static int
put_params(const struct invoke_request *request, const struct conf *conf,
    struct buf *out, char *problem, size_t size)
{
	static const char *const fixed[][2] = {
		{ "GATEWAY_INTERFACE", "CGI/1.1" },
		{ "SERVER_SOFTWARE", "fcgi-host/" PACKAGE_VERSION_TEXT },
		{ "SERVER_PROTOCOL", "HTTP/1.1" },
		{ "REQUEST_SCHEME", "http" },
		{ "SERVER_NAME", "localhost" }, { "SERVER_PORT", "80" },
		{ "SERVER_ADDR", "127.0.0.1" }, { "REMOTE_ADDR", "127.0.0.1" },
		{ "HTTP_HOST", "localhost" },
	};
	char length[32] = "";
	size_t i;
	int error = 0;

	if (request->has_body)
		(void)snprintf(length, sizeof(length), "%zu",
		    request->body_bytes);
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]) && error == 0; i++)
		error = put(out, fixed[i][0], fixed[i][1]);
	if (error == 0)
		error = put(out, "REQUEST_METHOD", request->method);
	if (error == 0)
		error = put(out, "QUERY_STRING", request->query);
	if (error == 0)
		error = put(out, "CONTENT_LENGTH", length);
	if (error == 0)
		error = put_url(request, conf, out);
	for (i = 0; i < request->headers.count && error == 0; i++)
		error = put_header(request->headers.at[i], out, problem, size);
	return error;
}

static int
check(const struct invoke_request *request, char *problem, size_t size)
{
	const char *at;

	if (!ctl_name_ok(request->function))
		return settings_problem(problem, size, "\"%.80s\" is no name "
		    "of a function; write it as in `fcgi-host list`",
		    request->function);
	for (at = request->method; *at != '\0'; at++)
		if (!is_token_char(*at))
			break;
	if (*at != '\0' || at == request->method)
		return settings_problem(problem, size, "\"%.40s\" is no "
		    "method; write GET, POST, …", request->method);
	if (request->path_info[0] != '\0' && request->path_info[0] != '/')
		return settings_problem(problem, size, "--path-info begins "
		    "with a slash");
	if (strlen(request->path_info) > 2048)
		return settings_problem(problem, size, "--path-info is longer "
		    "than 2048 bytes");
	return 0;
}

int
invoke_put(const struct invoke_request *request, const struct conf *conf,
    struct buf *out, char *problem, size_t size)
{
	struct buf params = { .data = NULL };
	int error = check(request, problem, size);

	if (error == 0)
		error = put_params(request, conf, &params, problem, size);
	if (error == 0)
		error = fcgi_put_begin(out, REQUEST_ID, FCGI_RESPONDER, 0);
	if (error == 0)
		error = fcgi_put_stream(out, FCGI_PARAMS, REQUEST_ID,
		    buf_head(&params), buf_len(&params));
	if (error == 0)
		error = fcgi_put_stream_end(out, FCGI_PARAMS, REQUEST_ID);
	if (error == 0 && request->body_bytes > 0)
		error = fcgi_put_stream(out, FCGI_STDIN, REQUEST_ID,
		    request->body, request->body_bytes);
	if (error == 0)
		error = fcgi_put_stream_end(out, FCGI_STDIN, REQUEST_ID);
	buf_free(&params);
	return error;
}

void
invoke_answer_init(struct invoke_answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	cgi_response_init(&answer->head, HEAD_MAX);
}

void
invoke_answer_free(struct invoke_answer *answer)
{
	cgi_response_free(&answer->head);
	buf_free(&answer->body);
	buf_free(&answer->errors);
}

static int
take_stdout(struct invoke_answer *answer, const uint8_t *data, size_t n)
{
	if (answer->head.state == CGI_RESPONSE_MORE) {
		size_t used = cgi_response_feed(&answer->head, data, n);

		data += used;
		n -= used;
	}
	if (answer->head.state == CGI_RESPONSE_BAD)
		answer->is_bad = true;
	if (answer->head.state != CGI_RESPONSE_DONE || n == 0)
		return 0;
	return buf_add(&answer->body, data, n);
}

static int
take_data(struct invoke_answer *answer)
{
	const struct fcgi_parser *parser = &answer->parser;
	size_t left = sizeof(answer->end) - answer->end_have;
	size_t n = parser->length < left ? parser->length : left;

	if (parser->id != REQUEST_ID)
		return 0;
	switch (parser->type) {
	case FCGI_STDOUT:
		return take_stdout(answer, parser->data, parser->length);
	case FCGI_STDERR:
		return buf_add(&answer->errors, parser->data, parser->length);
	case FCGI_END_REQUEST:
		memcpy(answer->end + answer->end_have, parser->data, n);
		answer->end_have += n;
		return 0;
	default:
		return 0;
	}
}

int
invoke_answer_feed(struct invoke_answer *answer, const uint8_t *data, size_t n)
{
	const struct fcgi_parser *parser = &answer->parser;
	int error = 0;

	while (error == 0 && !answer->is_bad && !answer->is_complete &&
	    !answer->is_cut) {
		switch (fcgi_parse(&answer->parser, &data, &n)) {
		case FCGI_EVENT_MORE:
			return 0;
		case FCGI_EVENT_DATA:
			error = take_data(answer);
			break;
		case FCGI_EVENT_END:
			answer->is_complete = parser->id == REQUEST_ID &&
			    parser->type == FCGI_END_REQUEST &&
			    answer->end_have == sizeof(answer->end);
			answer->is_cut = parser->id == REQUEST_ID &&
			    parser->type == FCGI_ABORT_REQUEST;
			break;
		case FCGI_EVENT_BAD:
			answer->is_bad = true;
			break;
		case FCGI_EVENT_HEADER:
			break;
		}
	}
	return error;
}
