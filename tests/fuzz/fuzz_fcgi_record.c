/*
 * The record layer: however the bytes are cut, the records come out that a
 * plain reading finds, each with exactly the content that its header announced.
 */
#include "tests/fuzz/fuzz.h"

#include "fcgi-host/fcgi_record.h"

/* What one record is checked against while it comes. */
struct watch {
	struct buf *story;
	size_t content;
	bool in_record;
};

static void
note(struct watch *watch, const struct fcgi_parser *parser,
    enum fcgi_event event)
{
	if (event == FCGI_EVENT_HEADER) {
		CLAIM(!watch->in_record);
		watch->in_record = true;
		watch->content = 0;
		buf_addf(watch->story, "H%u,%u,%u:", parser->type, parser->id,
		    parser->content_length);
	} else if (event == FCGI_EVENT_DATA) {
		CLAIM(watch->in_record && parser->length > 0);
		watch->content += parser->length;
		CLAIM(watch->content <= parser->content_length);
		buf_add(watch->story, parser->data, parser->length);
	} else if (event == FCGI_EVENT_END) {
		CLAIM(watch->in_record);
		CLAIM(watch->content == parser->content_length);
		watch->in_record = false;
		buf_add_str(watch->story, "E");
	}
}

/* Feeds one piece; false after BAD. */
static bool
feed(struct fcgi_parser *parser, struct watch *watch, const uint8_t *data,
    size_t n)
{
	const uint8_t *end = data + n;

	for (;;) {
		const uint8_t *before = data;
		enum fcgi_event event = fcgi_parse(parser, &data, &n);

		CLAIM(data >= before && data + n == end);
		note(watch, parser, event);
		if (event == FCGI_EVENT_DATA)
			CLAIM(parser->data == before &&
			    parser->data + parser->length == data);
		if (event == FCGI_EVENT_MORE) {
			CLAIM(n == 0);
			return true;
		}
		if (event == FCGI_EVENT_BAD) {
			CLAIM(fcgi_parse(parser, &data, &n) ==
			    FCGI_EVENT_BAD);
			buf_add_str(watch->story, "B");
			return false;
		}
	}
}

static void
run(struct buf *story, const uint8_t *data, size_t n, bool is_cut,
    uint32_t seed)
{
	struct fcgi_parser parser = { 0 };
	struct watch watch = { .story = story };

	while (n > 0) {
		size_t length = is_cut ? next_cut(&seed, n) : n;

		if (!feed(&parser, &watch, data, length))
			return;
		data += length;
		n -= length;
	}
}

/* The same story, of an input that lies there whole. */
static void
plain_reading(struct buf *story, const uint8_t *data, size_t n)
{
	while (n > 0) {
		size_t length, padding;

		if (data[0] != 1) {
			buf_add_str(story, "B");
			return;
		}
		if (n < 8)
			return;
		length = (size_t)data[4] << 8 | data[5];
		padding = data[6];
		buf_addf(story, "H%u,%u,%u:", data[1],
		    (unsigned)data[2] << 8 | data[3], (unsigned)length);
		data += 8;
		n -= 8;
		buf_add(story, data, length < n ? length : n);
		if (length + padding > n)
			return;
		buf_add_str(story, "E");
		data += length + padding;
		n -= length + padding;
	}
}

/* What the encoder writes, the decoder reads as the same stream. */
static void
round_trip(const uint8_t *data, size_t n, uint8_t type, uint16_t id)
{
	struct fcgi_parser parser = { 0 };
	struct buf out = { 0 }, content = { 0 };
	const uint8_t *at;
	size_t left;
	enum fcgi_event event;

	CLAIM(fcgi_put_stream(&out, type, id, data, n) == 0);
	CLAIM(fcgi_put_stream_end(&out, type, id) == 0);
	at = buf_head(&out);
	left = buf_len(&out);
	while ((event = fcgi_parse(&parser, &at, &left)) != FCGI_EVENT_MORE) {
		CLAIM(event != FCGI_EVENT_BAD);
		CLAIM(parser.type == type && parser.id == id);
		if (event == FCGI_EVENT_DATA)
			buf_add(&content, parser.data, parser.length);
	}
	CLAIM(!parser.in_record && parser.content_length == 0);
	CLAIM(buf_len(&content) == n);
	CLAIM(n == 0 || memcmp(buf_head(&content), data, n) == 0);
	buf_free(&out);
	buf_free(&content);
}

static void
bodies(const uint8_t data[8])
{
	struct buf out = { 0 };
	uint32_t app_status, app_status_again;
	uint16_t role, role_again;
	uint8_t status, flags, again;

	fcgi_read_begin(data, &role, &flags);
	CLAIM(fcgi_put_begin(&out, 1, role, flags) == 0);
	fcgi_read_begin(buf_head(&out) + FCGI_HEADER_LEN, &role_again, &again);
	CLAIM(role == role_again && flags == again);
	buf_reset(&out, SIZE_MAX);
	fcgi_read_end(data, &app_status, &status);
	CLAIM(fcgi_put_end(&out, 1, app_status, status) == 0);
	fcgi_read_end(buf_head(&out) + FCGI_HEADER_LEN, &app_status_again,
	    &again);
	CLAIM(app_status == app_status_again && status == again);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf whole = { 0 }, cut = { 0 }, plain = { 0 };
	uint32_t seed = take_byte(&data, &n);

	run(&whole, data, n, false, 0);
	run(&cut, data, n, true, seed * 2654435761u);
	plain_reading(&plain, data, n);
	CLAIM(same_bytes(&whole, &plain));
	CLAIM(same_bytes(&cut, &plain));
	round_trip(data, n, (uint8_t)seed, (uint16_t)(seed * 257));
	if (n >= 8)
		bodies(data);
	buf_free(&whole);
	buf_free(&cut);
	buf_free(&plain);
	return 0;
}
