#include "tests/bench/answer.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const names[FAULT_COUNT] = {
	"none", "connect", "closed", "protocol", "status", "body", "end",
	"timeout",
};

const char *
fault_name(enum fault fault)
{
	return names[fault];
}

void
answer_reset(struct answer *answer)
{
	struct buf kept = answer->output;

	buf_reset(&kept, 64 * 1024);
	*answer = (struct answer){ .output = kept };
}

static void
data_take(struct answer *answer)
{
	const struct fcgi_parser *parser = &answer->parser;
	size_t room = sizeof(answer->end) - answer->end_have;

	if (parser->type == FCGI_STDOUT) {
		answer->has_begun = true;
		if (buf_add(&answer->output, parser->data,
		    parser->length) < 0)
			errx(1, "no memory for an answer");
	} else if (parser->type == FCGI_END_REQUEST) {
		if (room > parser->length)
			room = parser->length;
		memcpy(answer->end + answer->end_have, parser->data, room);
		answer->end_have += room;
	}
}

static bool
is_expected(const struct fcgi_parser *parser, uint16_t id)
{
	return parser->id == id && (parser->type == FCGI_STDOUT ||
	    parser->type == FCGI_STDERR || parser->type == FCGI_END_REQUEST);
}

enum fault
answer_feed(struct answer *answer, uint16_t id, const uint8_t *data, size_t n)
{
	/* even after the end: what stands behind it is nobody's answer */
	while (!answer->is_over || n > 0) {
		if (answer->is_over)
			return FAULT_PROTOCOL;
		switch (fcgi_parse(&answer->parser, &data, &n)) {
		case FCGI_EVENT_MORE:
			return FAULT_NONE;
		case FCGI_EVENT_HEADER:
			if (!is_expected(&answer->parser, id))
				return FAULT_PROTOCOL;
			break;
		case FCGI_EVENT_DATA:
			data_take(answer);
			break;
		case FCGI_EVENT_END:
			answer->is_over =
			    answer->parser.type == FCGI_END_REQUEST;
			break;
		case FCGI_EVENT_BAD:
			return FAULT_PROTOCOL;
		}
	}
	return FAULT_NONE;
}

/* The body, after the first empty line; NULL: there is none. */
static const char *
body_find(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] != '\n')
			continue;
		if (i + 1 < n && text[i + 1] == '\n')
			return text + i + 2;
		if (i + 2 < n && text[i + 1] == '\r' && text[i + 2] == '\n')
			return text + i + 3;
	}
	return NULL;
}

/* Of the head's `Status:`, else 200. */
static int
status_find(const char *head, const char *end)
{
	static const char field[] = "Status:";
	const char *line = head;

	while (line < end) {
		const char *next = memchr(line, '\n', (size_t)(end - line));

		if ((size_t)(end - line) >= sizeof(field) &&
		    strncasecmp(line, field, sizeof(field) - 1) == 0)
			return atoi(line + sizeof(field) - 1);
		if (next == NULL)
			break;
		line = next + 1;
	}
	return 200;
}

static bool
is_body(const struct expected *expected, const char *body, size_t n)
{
	if (expected->body != NULL && (n != strlen(expected->body) ||
	    memcmp(body, expected->body, n) != 0))
		return false;
	if (expected->holds != NULL &&
	    memmem(body, n, expected->holds, strlen(expected->holds)) == NULL)
		return false;
	return expected->body_bytes < 0 || (size_t)expected->body_bytes == n;
}

enum fault
answer_judge(const struct answer *answer, const struct expected *expected)
{
	const char *text = (const char *)answer->output.data +
	    answer->output.start;
	size_t n = buf_len(&answer->output);
	const char *body = n == 0 ? NULL : body_find(text, n);
	uint32_t app_status = 1;
	uint8_t protocol_status = FCGI_OVERLOADED;

	if (body == NULL || status_find(text, body) != expected->status)
		return FAULT_STATUS;
	if (!is_body(expected, body, n - (size_t)(body - text)))
		return FAULT_BODY;
	if (answer->end_have == sizeof(answer->end))
		fcgi_read_end(answer->end, &app_status, &protocol_status);
	if (app_status != 0 || protocol_status != FCGI_REQUEST_COMPLETE)
		return FAULT_END;
	return FAULT_NONE;
}
