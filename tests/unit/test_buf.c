#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/buf.h"

static void
assert_holds(struct buf *b, const char *text)
{
	assert_int_equal(buf_len(b), strlen(text));
	assert_memory_equal(buf_head(b), text, strlen(text));
}

static void
what_is_added_comes_out_in_order(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_add(&b, "ab", 2), 0);
	assert_int_equal(buf_add_str(&b, "cd"), 0);
	assert_int_equal(buf_addf(&b, "%d-%s", 7, "e"), 0);
	assert_holds(&b, "abcd7-e");
	buf_consume(&b, 3);
	assert_holds(&b, "d7-e");
	buf_free(&b);
}

static void
an_empty_buffer_has_no_head_and_takes_nothing_added(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_null(buf_head(&b));
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_int_equal(buf_add_str(&b, ""), 0);
	assert_int_equal(buf_len(&b), 0);
	buf_consume(&b, 0);
	buf_reset(&b, 0);
	buf_free(&b);
	buf_free(&b);
}

static void
a_reserved_place_counts_only_when_committed(void **state)
{
	struct buf b = { 0 };
	uint8_t *place;

	(void)state;
	place = buf_reserve(&b, 1000);
	assert_non_null(place);
	memset(place, 'x', 1000);
	assert_int_equal(buf_len(&b), 0);
	buf_commit(&b, 3);
	assert_holds(&b, "xxx");
	assert_non_null(buf_reserve(&b, 0));
	buf_free(&b);
}

static void
an_impossible_size_is_refused_and_harms_nothing(void **state)
{
	struct buf b = { 0 };
	/* what a compiler can see would not be compiled */
	volatile size_t impossible = SIZE_MAX - 2;

	(void)state;
	assert_int_equal(buf_add_str(&b, "kept"), 0);
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_null(buf_reserve(&b, SIZE_MAX / 2));
	assert_int_equal(buf_add(&b, "", impossible), -ENOMEM);
	assert_holds(&b, "kept");
	buf_free(&b);
}

static void
a_buffer_that_was_read_empty_starts_over(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_add_str(&b, "abc"), 0);
	buf_consume(&b, 3);
	assert_int_equal(b.start, 0);
	assert_int_equal(b.end, 0);
	buf_free(&b);
}

static void
a_buffer_that_is_read_as_it_is_filled_does_not_grow(void **state)
{
	struct buf b = { 0 };
	uint8_t next_in = 0, next_out = 0;

	(void)state;
	for (int round = 0; round < 10000; round++) {
		for (int i = 0; i < 40; i++, next_in++)
			assert_int_equal(buf_add(&b, &next_in, 1), 0);
		while (buf_len(&b) > 20) {
			assert_int_equal(*buf_head(&b), next_out++);
			buf_consume(&b, 1);
		}
	}
	assert_true(b.size <= 512);
	buf_free(&b);
}

static void
a_slow_reader_does_not_cost_a_copy_for_each_byte(void **state)
{
	enum { LENGTH = 1000000 };
	uint8_t *data = calloc(1, LENGTH);
	struct buf b = { 0 };
	clock_t before = clock();

	(void)state;
	assert_non_null(data);
	assert_int_equal(buf_add(&b, data, LENGTH), 0);
	for (uint32_t i = 0; i < 2 * LENGTH; i++) {
		uint8_t byte = (uint8_t)(i % 251);

		assert_int_equal(*buf_head(&b), i < LENGTH ? 0 :
		    (i - LENGTH) % 251);
		buf_consume(&b, 1);
		assert_int_equal(buf_add(&b, &byte, 1), 0);
	}
	assert_true(b.size <= 4 * LENGTH);
	/* A copy each time would take minutes. */
	assert_true(clock() - before < 10 * CLOCKS_PER_SEC);
	buf_free(&b);
	free(data);
}

static void
a_long_formatted_text_is_whole(void **state)
{
	struct buf b = { 0 };
	char text[5001];

	(void)state;
	memset(text, 'q', 5000);
	text[5000] = '\0';
	assert_int_equal(buf_addf(&b, "<%s>", text), 0);
	assert_int_equal(buf_len(&b), 5002);
	assert_memory_equal(buf_head(&b) + 1, text, 5000);
	assert_int_equal(buf_head(&b)[5001], '>');
	buf_free(&b);
}

static void
a_reset_gives_back_what_is_above_the_size_to_keep(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_non_null(buf_reserve(&b, 100000));
	buf_commit(&b, 100000);
	buf_reset(&b, 200000);
	assert_int_equal(buf_len(&b), 0);
	assert_true(b.size >= 100000);
	buf_reset(&b, 4096);
	assert_int_equal(b.size, 4096);
	assert_int_equal(buf_add_str(&b, "again"), 0);
	assert_holds(&b, "again");
	buf_reset(&b, 0);
	assert_null(b.data);
	assert_int_equal(b.size, 0);
	buf_free(&b);
}

static void
assert_json(const char *text, size_t n, const char *wanted)
{
	struct buf b = { 0 };

	assert_int_equal(buf_add_json(&b, text, n), 0);
	assert_int_equal(buf_add(&b, "", 1), 0);
	assert_string_equal((char *)buf_head(&b), wanted);
	buf_free(&b);
}

static void
json_escapes_quotes_backslashes_and_control_bytes(void **state)
{
	(void)state;
	assert_json("", 0, "\"\"");
	assert_json("plain /text", 11, "\"plain /text\"");
	assert_json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
	assert_json("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
	assert_json("\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"");
}

static void
json_keeps_utf8_and_replaces_each_byte_that_is_none(void **state)
{
	(void)state;
	assert_json("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
	    "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	assert_json("a\xff" "b", 3, "\"a\xef\xbf\xbd" "b\"");
	assert_json("\xc3", 1, "\"\xef\xbf\xbd\"");
	assert_json("\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_json("\xed\xa0\x80", 3,
	    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* An independent reading of RFC 3629: by the value, not by ranges of bytes. */
static size_t
utf8_by_value(const uint8_t *t, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t value;
	size_t length = t[0] < 0x80 ? 1 : (t[0] & 0xe0) == 0xc0 ? 2 :
	    (t[0] & 0xf0) == 0xe0 ? 3 : (t[0] & 0xf8) == 0xf0 ? 4 : 0;

	if (length == 0 || length > n)
		return 0;
	value = length == 1 ? t[0] : t[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((t[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (t[i] & 0x3f);
	}
	if (value < least[length] || value > 0x10ffff ||
	    (value >= 0xd800 && value <= 0xdfff))
		return 0;
	return length;
}

static void
json_agrees_with_another_reading_of_utf8(void **state)
{
	struct buf got = { 0 }, wanted = { 0 };
	uint8_t text[4];

	(void)state;
	for (uint32_t i = 0; i < 1u << 21; i++) {
		/* Leading bytes all, the rest around the edges. */
		static const uint8_t edge[] = { 0x7e, 0x80, 0x8f, 0x90, 0x9f,
			0xa0, 0xbf, 0xc0 };

		text[0] = (uint8_t)(0x80 | (i & 0x7f));
		text[1] = (uint8_t)(0x40 | ((i >> 7) & 0xff) % 0xc0);
		text[2] = edge[(i >> 15) & 7];
		text[3] = edge[(i >> 18) & 7];
		if (text[1] == '\\' || text[1] == 0x7f)
			text[1] = 'x';
		buf_reset(&got, SIZE_MAX);
		buf_reset(&wanted, SIZE_MAX);
		buf_add(&wanted, "\"", 1);
		for (size_t at = 0, n; at < 4; at += n == 0 ? 1 : n) {
			n = utf8_by_value(text + at, 4 - at);
			if (n > 0)
				buf_add(&wanted, text + at, n);
			else
				buf_add_str(&wanted, "\xef\xbf\xbd");
		}
		buf_add(&wanted, "\"", 1);
		assert_int_equal(buf_add_json(&got, (char *)text, 4), 0);
		if (buf_len(&got) != buf_len(&wanted) ||
		    memcmp(got.data, wanted.data, buf_len(&got)) != 0)
			fail_msg("%02x %02x %02x %02x", text[0], text[1],
			    text[2], text[3]);
	}
	buf_free(&got);
	buf_free(&wanted);
}

static void
a_number_is_its_digits_with_zeros_up_to_a_width(void **state)
{
	struct buf b = { 0 };
	char text[BUF_DIGITS_SIZE];

	(void)state;
	assert_string_equal(buf_digits(text, 0, 1), "0");
	assert_string_equal(buf_digits(text, 7, 3), "007");
	assert_string_equal(buf_digits(text, 1234, 3), "1234");
	assert_string_equal(buf_digits(text, UINT64_MAX, 20),
	    "18446744073709551615");
	assert_string_equal(buf_hex(text, 0), "0");
	assert_string_equal(buf_hex(text, UINT64_MAX), "ffffffffffffffff");
	assert_int_equal(buf_add_number(&b, 42, 1), 0);
	assert_int_equal(buf_add_number(&b, 5, 2), 0);
	assert_int_equal(buf_len(&b), 4);
	assert_memory_equal(buf_head(&b), "4205", 4);
	buf_free(&b);
}

static void
html_escapes_markup_and_replaces_what_is_no_text(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_add_html(&b, "<a href=\"x\">'&\xc3\xa4\0\n\xc3.",
	    20), 0);
	assert_int_equal(buf_add(&b, "", 1), 0);
	assert_string_equal((const char *)buf_head(&b),
	    "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\xc3\xa4\xef\xbf\xbd"
	    "\xef\xbf\xbd\xef\xbf\xbd.");
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_added_comes_out_in_order),
		cmocka_unit_test(
		    an_empty_buffer_has_no_head_and_takes_nothing_added),
		cmocka_unit_test(a_reserved_place_counts_only_when_committed),
		cmocka_unit_test(
		    an_impossible_size_is_refused_and_harms_nothing),
		cmocka_unit_test(a_buffer_that_was_read_empty_starts_over),
		cmocka_unit_test(
		    a_buffer_that_is_read_as_it_is_filled_does_not_grow),
		cmocka_unit_test(
		    a_slow_reader_does_not_cost_a_copy_for_each_byte),
		cmocka_unit_test(a_long_formatted_text_is_whole),
		cmocka_unit_test(
		    a_reset_gives_back_what_is_above_the_size_to_keep),
		cmocka_unit_test(
		    json_escapes_quotes_backslashes_and_control_bytes),
		cmocka_unit_test(
		    json_keeps_utf8_and_replaces_each_byte_that_is_none),
		cmocka_unit_test(
		    html_escapes_markup_and_replaces_what_is_no_text),
		cmocka_unit_test(
		    a_number_is_its_digits_with_zeros_up_to_a_width),
		cmocka_unit_test(json_agrees_with_another_reading_of_utf8),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
