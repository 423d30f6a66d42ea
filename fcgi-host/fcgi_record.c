#include "fcgi-host/fcgi_record.h"

#include <errno.h>
#include <string.h>

#include "fcgi-host/log.h"

/* The structs of fastcgi.h are what the bytes are cast to. */
_Static_assert(sizeof(FCGI_Header) == FCGI_HEADER_LEN, "FCGI_Header");
_Static_assert(sizeof(FCGI_BeginRequestBody) == 8, "FCGI_BeginRequestBody");
_Static_assert(sizeof(FCGI_EndRequestBody) == 8, "FCGI_EndRequestBody");
_Static_assert(sizeof(FCGI_UnknownTypeBody) == 8, "FCGI_UnknownTypeBody");

static uint16_t
join(uint8_t high, uint8_t low)
{
	return (uint16_t)(high << 8 | low);
}

/* Decoding */

static void
take_header(struct fcgi_parser *parser, const uint8_t **input, size_t *n)
{
	size_t wanted = FCGI_HEADER_LEN - (size_t)parser->header_have;

	if (wanted > *n)
		wanted = *n;
	if (wanted == 0)
		return;
	memcpy(parser->header + parser->header_have, *input, wanted);
	parser->header_have = (uint8_t)(parser->header_have + wanted);
	*input += wanted;
	*n -= wanted;
}

/* The version is looked at with the first byte, and stays where it is: a
 * parser that has said BAD says so ever after. */
static enum fcgi_event
parse_header(struct fcgi_parser *parser, const uint8_t **input, size_t *n)
{
	FCGI_Header header;

	if (parser->header_have == 0)
		if (*n == 0)
			return FCGI_EVENT_MORE;
	take_header(parser, input, n);
	if (parser->header[0] != FCGI_VERSION_1)
		return FCGI_EVENT_BAD;
	if (parser->header_have < FCGI_HEADER_LEN)
		return FCGI_EVENT_MORE;
	memcpy(&header, parser->header, sizeof(header));
	parser->in_record = true;
	parser->type = header.type;
	parser->id = join(header.requestIdB1, header.requestIdB0);
	parser->content_length =
	    join(header.contentLengthB1, header.contentLengthB0);
	parser->content_left = parser->content_length;
	parser->padding_left = header.paddingLength;
	return FCGI_EVENT_HEADER;
}

static enum fcgi_event
parse_content(struct fcgi_parser *parser, const uint8_t **input, size_t *n)
{
	size_t length = parser->content_left;

	if (*n == 0)
		return FCGI_EVENT_MORE;
	if (length > *n)
		length = *n;
	parser->data = *input;
	parser->length = length;
	parser->content_left = (uint16_t)(parser->content_left - length);
	*input += length;
	*n -= length;
	return FCGI_EVENT_DATA;
}

static enum fcgi_event
parse_padding(struct fcgi_parser *parser, const uint8_t **input, size_t *n)
{
	size_t length = parser->padding_left;

	if (length > *n)
		length = *n;
	if (length > 0) {
		parser->padding_left =
		    (uint8_t)(parser->padding_left - length);
		*input += length;
		*n -= length;
	}
	if (parser->padding_left > 0)
		return FCGI_EVENT_MORE;
	parser->in_record = false;
	parser->header_have = 0;
	return FCGI_EVENT_END;
}

bool
fcgi_parser_is_between(const struct fcgi_parser *parser)
{
	return parser->header_have == 0 && !parser->in_record;
}

enum fcgi_event
fcgi_parse(struct fcgi_parser *parser, const uint8_t **input, size_t *n)
{
	parser->data = NULL;
	parser->length = 0;
	if (!parser->in_record)
		return parse_header(parser, input, n);
	if (parser->content_left > 0)
		return parse_content(parser, input, n);
	return parse_padding(parser, input, n);
}

void
fcgi_read_begin(const uint8_t data[8], uint16_t *role, uint8_t *flags)
{
	FCGI_BeginRequestBody body;

	memcpy(&body, data, sizeof(body));
	*role = join(body.roleB1, body.roleB0);
	*flags = body.flags;
}

void
fcgi_read_end(const uint8_t data[8], uint32_t *app_status,
    uint8_t *protocol_status)
{
	FCGI_EndRequestBody body;

	memcpy(&body, data, sizeof(body));
	*app_status = (uint32_t)join(body.appStatusB3, body.appStatusB2) << 16 |
	    join(body.appStatusB1, body.appStatusB0);
	*protocol_status = body.protocolStatus;
}

/* Encoding */

void
fcgi_write_header(uint8_t out[FCGI_HEADER_LEN], uint8_t type, uint16_t id,
    uint16_t content_length, uint8_t padding_length)
{
	FCGI_Header header = {
		.version = FCGI_VERSION_1,
		.type = type,
		.requestIdB1 = (uint8_t)(id >> 8),
		.requestIdB0 = (uint8_t)id,
		.contentLengthB1 = (uint8_t)(content_length >> 8),
		.contentLengthB0 = (uint8_t)content_length,
		.paddingLength = padding_length,
	};

	memcpy(out, &header, sizeof(header));
}

int
fcgi_put_header(struct buf *out, uint8_t type, uint16_t id,
    uint16_t content_length, uint8_t padding_length)
{
	uint8_t header[FCGI_HEADER_LEN];

	fcgi_write_header(header, type, id, content_length, padding_length);
	return buf_add(out, header, sizeof(header));
}

/* One record of 8 bytes of content, added whole or not at all. */
static int
put_body(struct buf *out, uint8_t type, uint16_t id, const void *body)
{
	uint8_t record[FCGI_HEADER_LEN + 8];

	fcgi_write_header(record, type, id, 8, 0);
	memcpy(record + FCGI_HEADER_LEN, body, 8);
	return buf_add(out, record, sizeof(record));
}

/* The memory is reserved first: a stream that is cut inside a record could
 * never be mended. */
int
fcgi_put_stream(struct buf *out, uint8_t type, uint16_t id, const void *data,
    size_t n)
{
	const uint8_t *from = data;
	size_t records = n / FCGI_CONTENT_MAX + 1;

	if (n == 0)
		return 0;
	if (n > SIZE_MAX / 2 ||
	    buf_reserve(out, n + records * FCGI_HEADER_LEN) == NULL)
		return -ENOMEM;
	while (n > 0) {
		size_t length = n < FCGI_CONTENT_MAX ? n : FCGI_CONTENT_MAX;
		int rc = fcgi_put_header(out, type, id, (uint16_t)length, 0);

		if (rc == 0)
			rc = buf_add(out, from, length);
		if (rc != 0)
			return rc;
		from += length;
		n -= length;
	}
	return 0;
}

int
fcgi_wrap_stream(struct buf *out, size_t at, uint8_t type, uint16_t id)
{
	size_t n = buf_len(out) - at - FCGI_HEADER_LEN;
	struct buf content = { 0 };
	int rc = 0;

	if (n > 0 && n <= FCGI_CONTENT_MAX) {
		fcgi_write_header(buf_head(out) + at, type, id, (uint16_t)n, 0);
		return 0;
	}
	if (n > 0)
		rc = buf_add(&content, buf_head(out) + at + FCGI_HEADER_LEN, n);
	out->end = out->start + at;
	if (rc == 0)
		rc = fcgi_put_stream(out, type, id, content.data, n);
	buf_free(&content);
	return rc;
}

int
fcgi_put_stream_end(struct buf *out, uint8_t type, uint16_t id)
{
	return fcgi_put_header(out, type, id, 0, 0);
}

int
fcgi_put_begin(struct buf *out, uint16_t id, uint16_t role, uint8_t flags)
{
	FCGI_BeginRequestBody body = {
		.roleB1 = (uint8_t)(role >> 8),
		.roleB0 = (uint8_t)role,
		.flags = flags,
	};

	return put_body(out, FCGI_BEGIN_REQUEST, id, &body);
}

int
fcgi_put_abort(struct buf *out, uint16_t id)
{
	return fcgi_put_header(out, FCGI_ABORT_REQUEST, id, 0, 0);
}

int
fcgi_put_cut(struct buf *out, uint16_t id)
{
	static const uint8_t no_version[FCGI_HEADER_LEN];
	int error = fcgi_put_abort(out, id);

	return error < 0 ? error : buf_add(out, no_version, FCGI_HEADER_LEN);
}

int
fcgi_put_end(struct buf *out, uint16_t id, uint32_t app_status,
    uint8_t protocol_status)
{
	FCGI_EndRequestBody body = {
		.appStatusB3 = (uint8_t)(app_status >> 24),
		.appStatusB2 = (uint8_t)(app_status >> 16),
		.appStatusB1 = (uint8_t)(app_status >> 8),
		.appStatusB0 = (uint8_t)app_status,
		.protocolStatus = protocol_status,
	};

	return put_body(out, FCGI_END_REQUEST, id, &body);
}

int
fcgi_put_unknown_type(struct buf *out, uint8_t type)
{
	FCGI_UnknownTypeBody body = { .type = type };

	return put_body(out, FCGI_UNKNOWN_TYPE, FCGI_NULL_REQUEST_ID, &body);
}

void
fcgi_renumber(struct buf *records, uint16_t id)
{
	uint8_t *at = buf_head(records);
	size_t left = buf_len(records);

	while (left >= FCGI_HEADER_LEN) {
		FCGI_Header header;
		size_t n;

		memcpy(&header, at, sizeof(header));
		header.requestIdB1 = (uint8_t)(id >> 8);
		header.requestIdB0 = (uint8_t)id;
		memcpy(at, &header, sizeof(header));
		n = FCGI_HEADER_LEN + (size_t)join(header.contentLengthB1,
		    header.contentLengthB0) + header.paddingLength;
		LOG_ASSERT(n <= left);
		at += n;
		left -= n;
	}
}
