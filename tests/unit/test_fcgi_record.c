#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fcgi-host/fcgi_record.h"

/* The records of a stream as a text: type/id/length<content> each; a record
 * that has not ended has no '>', and BAD is '!'. */
struct story {
	struct fcgi_parser parser;
	struct buf text;
	bool is_bad;
};

static void
feed(struct story *story, const uint8_t *data, size_t n)
{
	struct fcgi_parser *parser = &story->parser;

	for (;;) {
		switch (fcgi_parse(parser, &data, &n)) {
		case FCGI_EVENT_MORE:
			assert_int_equal(n, 0);
			return;
		case FCGI_EVENT_HEADER:
			buf_addf(&story->text, "%d/%d/%d<", parser->type,
			    parser->id, parser->content_length);
			break;
		case FCGI_EVENT_DATA:
			assert_true(parser->length > 0);
			buf_add(&story->text, parser->data, parser->length);
			break;
		case FCGI_EVENT_END:
			buf_add_str(&story->text, ">");
			break;
		case FCGI_EVENT_BAD:
			story->is_bad = true;
			return;
		}
	}
}

static void
assert_story(struct story *story, const char *wanted)
{
	assert_int_equal(buf_add(&story->text, "", 1), 0);
	assert_string_equal((char *)buf_head(&story->text), wanted);
	buf_free(&story->text);
}

static void
assert_byte_by_byte(const uint8_t *data, size_t n, const char *wanted,
    bool is_bad)
{
	struct story story = { 0 };

	for (size_t i = 0; i < n && !story.is_bad; i++)
		feed(&story, data + i, 1);
	assert_int_equal(story.is_bad, is_bad);
	assert_story(&story, wanted);
}

/* The bytes must tell the same story whole, in two parts cut at every place,
 * and byte by byte. */
static void
assert_stream(const uint8_t *data, size_t n, const char *wanted, bool is_bad)
{
	for (size_t cut = 0; cut <= n; cut++) {
		struct story story = { 0 };

		feed(&story, data, cut);
		if (!story.is_bad)
			feed(&story, data + cut, n - cut);
		assert_int_equal(story.is_bad, is_bad);
		assert_story(&story, wanted);
	}
	assert_byte_by_byte(data, n, wanted, is_bad);
}

#define STREAM(text) (const uint8_t *)(text), sizeof(text) - 1

static void
a_stream_means_the_same_however_it_is_cut(void **state)
{
	(void)state;
	assert_stream(STREAM(
	    "\1\1\0\1\0\10\0\0" "BEGIN678"
	    "\1\4\0\1\0\3\5\0" "abc" "PPPPP"
	    "\1\4\0\1\0\0\0\0"
	    "\1\5\1\2\0\5\1\0" "hello" "P"
	    "\1\5\1\2\0\0\3\0" "PPP"),
	    "1/1/8<BEGIN678>4/1/3<abc>4/1/0<>5/258/5<hello>5/258/0<>",
	    false);
}

static void
records_of_management_and_of_unknown_type_are_passed_up(void **state)
{
	(void)state;
	assert_stream(STREAM("\1\11\0\0\0\2\6\0" "GV" "123456"
	    "\1\377\377\377\0\1\0\0" "x"), "9/0/2<GV>255/65535/1<x>", false);
}

/* W4 */
static void
padding_of_any_length_is_skipped(void **state)
{
	(void)state;
	for (int content = 0; content < 2; content++)
		for (int padding = 0; padding < 256; padding++) {
			uint8_t data[8 + 1 + 255 + 8] = { 1, 5, 0, 1, 0,
				(uint8_t)content, (uint8_t)padding, 0, 'c' };
			size_t n = 8 + (size_t)content + (size_t)padding;

			memset(data + 8 + content, 1, (size_t)padding);
			memcpy(data + n, "\1\5\0\1\0\0\0\0", 8);
			assert_stream(data, n + 8, content ?
			    "5/1/1<c>5/1/0<>" : "5/1/0<>5/1/0<>", false);
		}
}

static void
an_unfinished_record_does_not_end(void **state)
{
	(void)state;
	assert_stream(STREAM(""), "", false);
	assert_stream(STREAM("\1\5\0\1\0\5\0"), "", false);
	assert_stream(STREAM("\1\5\0\1\0\5\0\0"), "5/1/5<", false);
	assert_stream(STREAM("\1\5\0\1\0\5\2\0" "abcd"), "5/1/5<abcd", false);
	assert_stream(STREAM("\1\5\0\1\0\5\2\0" "abcdeP"), "5/1/5<abcde",
	    false);
}

static void
another_version_is_bad_from_its_first_byte_and_for_ever(void **state)
{
	struct fcgi_parser parser = { 0 };
	const uint8_t good[] = "\1\5\0\1\0\0\0\0", *at;
	size_t n = 1;

	(void)state;
	for (int version = 0; version < 256; version++) {
		uint8_t data[9] = { 1, 5, 0, 1, 0, 0, 0, 0,
			(uint8_t)version };

		assert_stream(data, 9, "5/1/0<>", version != 1);
	}
	assert_stream(STREAM("GET / HTTP/1.1\r\n"), "", true);
	at = (const uint8_t *)"\2";
	assert_int_equal(fcgi_parse(&parser, &at, &n), FCGI_EVENT_BAD);
	at = good;
	n = 8;
	assert_int_equal(fcgi_parse(&parser, &at, &n), FCGI_EVENT_BAD);
}

static void
content_points_into_the_input_and_is_not_copied(void **state)
{
	const uint8_t input[] = "\1\6\0\1\0\3\0\0abc", *at = input;
	struct fcgi_parser parser = { 0 };
	size_t n = sizeof(input) - 1;

	(void)state;
	assert_int_equal(fcgi_parse(&parser, &at, &n), FCGI_EVENT_HEADER);
	assert_int_equal(fcgi_parse(&parser, &at, &n), FCGI_EVENT_DATA);
	assert_ptr_equal(parser.data, input + 8);
	assert_int_equal(parser.length, 3);
	assert_ptr_equal(at, input + 11);
	assert_int_equal(fcgi_parse(&parser, &at, &n), FCGI_EVENT_END);
	assert_int_equal(fcgi_parse(&parser, &at, &n), FCGI_EVENT_MORE);
}

/* Encoding */

static void
assert_bytes(struct buf *out, const char *wanted, size_t n)
{
	assert_int_equal(buf_len(out), n);
	assert_memory_equal(buf_head(out), wanted, n);
	buf_free(out);
}

/* W4 */
static void
the_encoder_writes_what_the_specification_draws(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(fcgi_put_begin(&out, 0x102, FCGI_RESPONDER,
	    FCGI_KEEP_CONN), 0);
	assert_bytes(&out, "\1\1\1\2\0\10\0\0" "\0\1\1\0\0\0\0\0", 16);
	assert_int_equal(fcgi_put_end(&out, 1, 0x01020304,
	    FCGI_CANT_MPX_CONN), 0);
	assert_bytes(&out, "\1\3\0\1\0\10\0\0" "\1\2\3\4\1\0\0\0", 16);
	assert_int_equal(fcgi_put_unknown_type(&out, 77), 0);
	assert_bytes(&out, "\1\13\0\0\0\10\0\0" "\115\0\0\0\0\0\0\0", 16);
	assert_int_equal(fcgi_put_abort(&out, 0xffff), 0);
	assert_bytes(&out, "\1\2\377\377\0\0\0\0", 8);
	assert_int_equal(fcgi_put_header(&out, FCGI_STDOUT, 5, 0xabcd, 3), 0);
	assert_bytes(&out, "\1\6\0\5\253\315\3\0", 8);
	assert_int_equal(fcgi_put_stream(&out, FCGI_STDERR, 1, "oh", 2), 0);
	assert_int_equal(fcgi_put_stream_end(&out, FCGI_STDERR, 1), 0);
	assert_bytes(&out, "\1\7\0\1\0\2\0\0oh\1\7\0\1\0\0\0\0", 18);
}

static void
a_stream_of_nothing_writes_no_record_that_would_end_it(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(fcgi_put_stream(&out, FCGI_STDOUT, 1, "", 0), 0);
	assert_int_equal(fcgi_put_stream(&out, FCGI_STDOUT, 1, NULL, 0), 0);
	assert_int_equal(buf_len(&out), 0);
	buf_free(&out);
}

static void
a_long_stream_is_cut_into_records_that_join_to_it(void **state)
{
	static const struct { size_t n, records; } cases[] = {
		{ 1, 1 }, { 65534, 1 }, { 65535, 1 }, { 65536, 2 },
		{ 131070, 2 }, { 131071, 3 }, { 1000000, 16 },
	};
	uint8_t *data = malloc(1000000);

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < 1000000; i++)
		data[i] = (uint8_t)(i * 7 ^ i >> 9);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fcgi_parser parser = { 0 };
		struct buf out = { 0 };
		const uint8_t *at;
		size_t left, seen = 0, records = 0;
		enum fcgi_event event;

		assert_int_equal(fcgi_put_stream(&out, FCGI_STDIN, 9, data,
		    cases[i].n), 0);
		at = buf_head(&out);
		left = buf_len(&out);
		while ((event = fcgi_parse(&parser, &at, &left)) !=
		    FCGI_EVENT_MORE) {
			assert_int_equal(parser.type, FCGI_STDIN);
			records += event == FCGI_EVENT_END;
			if (event != FCGI_EVENT_DATA)
				continue;
			assert_memory_equal(parser.data, data + seen,
			    parser.length);
			seen += parser.length;
		}
		assert_int_equal(seen, cases[i].n);
		assert_int_equal(records, cases[i].records);
		buf_free(&out);
	}
	free(data);
}

static void
content_behind_the_room_for_a_header_becomes_the_same_records(void **state)
{
	static const size_t lengths[] = { 0, 1, 65535, 65536, 200000 };
	uint8_t *data = malloc(200000);

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < 200000; i++)
		data[i] = (uint8_t)(i * 5 ^ i >> 8);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct buf wanted = { 0 }, out = { 0 };

		fcgi_put_abort(&wanted, 3);
		fcgi_put_stream(&wanted, FCGI_PARAMS, 9, data, lengths[i]);
		fcgi_put_abort(&out, 3);
		fcgi_put_header(&out, FCGI_PARAMS, 9, 0, 0);
		buf_add(&out, data, lengths[i]);
		assert_int_equal(fcgi_wrap_stream(&out, 8, FCGI_PARAMS, 9), 0);
		assert_int_equal(buf_len(&out), buf_len(&wanted));
		assert_memory_equal(buf_head(&out), buf_head(&wanted),
		    buf_len(&out));
		buf_free(&wanted);
		buf_free(&out);
	}
	free(data);
}

static void
a_stream_too_long_for_memory_adds_nothing(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_true(fcgi_put_stream(&out, FCGI_STDIN, 1, "", SIZE_MAX) < 0);
	assert_int_equal(buf_len(&out), 0);
	buf_free(&out);
}

static void
bodies_are_read_as_they_were_written(void **state)
{
	static const uint32_t values[] = { 0, 1, 0x7f, 0x80, 0xff, 0x8000,
		0xffff, 0x10000, 0x1234567, 0x7fffffff, 0x80000000,
		0xffffffff };

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct buf out = { 0 };
		uint8_t flags, status;
		uint16_t role;
		uint32_t app;

		fcgi_put_begin(&out, 1, (uint16_t)values[i],
		    (uint8_t)values[i]);
		fcgi_read_begin(buf_head(&out) + 8, &role, &flags);
		assert_int_equal(role, (uint16_t)values[i]);
		assert_int_equal(flags, (uint8_t)values[i]);
		buf_reset(&out, SIZE_MAX);
		fcgi_put_end(&out, 1, values[i], (uint8_t)~values[i]);
		fcgi_read_end(buf_head(&out) + 8, &app, &status);
		assert_int_equal(app, values[i]);
		assert_int_equal(status, (uint8_t)~values[i]);
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_means_the_same_however_it_is_cut),
		cmocka_unit_test(
		    records_of_management_and_of_unknown_type_are_passed_up),
		cmocka_unit_test(padding_of_any_length_is_skipped),
		cmocka_unit_test(an_unfinished_record_does_not_end),
		cmocka_unit_test(
		    another_version_is_bad_from_its_first_byte_and_for_ever),
		cmocka_unit_test(
		    content_points_into_the_input_and_is_not_copied),
		cmocka_unit_test(
		    the_encoder_writes_what_the_specification_draws),
		cmocka_unit_test(
		    a_stream_of_nothing_writes_no_record_that_would_end_it),
		cmocka_unit_test(
		    a_long_stream_is_cut_into_records_that_join_to_it),
		cmocka_unit_test(
		    content_behind_the_room_for_a_header_becomes_the_same_records),
		cmocka_unit_test(a_stream_too_long_for_memory_adds_nothing),
		cmocka_unit_test(bodies_are_read_as_they_were_written),
	};

	return cmocka_run_group_tests_name("fcgi_record", tests, NULL, NULL);
}
