#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/fcgi_params.h"

#define MANY 100000

/* The pairs as a text "NAME=VALUE;"…, or the error. */
static int
tell(const struct params *params, struct buf *text)
{
	for (size_t i = 0; i < params_count(params); i++) {
		struct param param = params_at(params, i);

		assert_int_equal(strlen(param.name), param.name_length);
		assert_int_equal(strlen(param.value), param.value_length);
		buf_addf(text, "%s=%s;", param.name, param.value);
	}
	return buf_add(text, "", 1);
}

static void
assert_pieces(const uint8_t *data, size_t n, size_t cut, size_t step,
    size_t bytes_max, size_t count_max, int wanted_rc, const char *wanted)
{
	struct params *params = params_new(bytes_max, count_max);
	struct buf text = { 0 };
	int rc;

	assert_non_null(params);
	rc = params_feed(params, data, cut);
	for (size_t i = cut; i < n && rc == 0; i += step)
		rc = params_feed(params, data + i, n - i < step ? n - i : step);
	if (rc == 0)
		rc = params_finish(params);
	assert_int_equal(rc, wanted_rc);
	assert_int_equal(params_finish(params), wanted_rc);
	if (rc != 0)
		assert_int_equal(params_feed(params, data, n), rc);
	assert_int_equal(tell(params, &text), 0);
	assert_string_equal((char *)buf_head(&text), wanted);
	buf_free(&text);
	params_free(params);
}

/* Whole, in two parts cut at every place, byte by byte. */
static void
assert_pairs(const void *data, size_t n, size_t bytes_max, size_t count_max,
    int wanted_rc, const char *wanted)
{
	for (size_t cut = 0; cut <= n; cut++)
		assert_pieces(data, n, cut, n, bytes_max, count_max, wanted_rc,
		    wanted);
	assert_pieces(data, n, 0, 1, bytes_max, count_max, wanted_rc, wanted);
}

#define PAIRS(text) (text), sizeof(text) - 1

/* W1 */
static void
pairs_come_out_in_order_however_they_are_cut(void **state)
{
	(void)state;
	assert_pairs(PAIRS("\4\3NAMEval\1\0X\6\7METHODdefault"), MANY, MANY,
	    0, "NAME=val;X=;METHOD=default;");
}

static void
no_pairs_are_a_valid_stream(void **state)
{
	(void)state;
	assert_pairs(PAIRS(""), 0, 0, 0, "");
}

/* W2 */
static void
lengths_of_four_bytes_and_of_one_mean_the_same(void **state)
{
	(void)state;
	assert_pairs(PAIRS("\200\0\0\1\1Av" "\1\200\0\0\1Bw"
	    "\200\0\0\1\200\0\0\1Cx" "\200\0\0\1\0D"), MANY, MANY, 0,
	    "A=v;B=w;C=x;D=;");
}

static void
a_long_value_is_taken_whole(void **state)
{
	static const size_t lengths[] = { 127, 128, 129, 255, 256, 65536 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct params *params = params_new(MANY, 1);
		char *value = malloc(lengths[i] + 1);
		struct buf out = { 0 };

		assert_non_null(value);
		memset(value, 'v', lengths[i]);
		value[lengths[i]] = '\0';
		assert_int_equal(params_put(&out, "N", 1, value, lengths[i]),
		    0);
		assert_int_equal(buf_len(&out), lengths[i] + 1 + 1 +
		    (lengths[i] < 128 ? 1 : 4));
		assert_int_equal(params_feed(params, buf_head(&out),
		    buf_len(&out)), 0);
		assert_int_equal(params_finish(params), 0);
		assert_string_equal(params_get(params, "N"), value);
		params_free(params);
		buf_free(&out);
		free(value);
	}
}

static void
a_stream_that_ends_inside_a_pair_is_refused(void **state)
{
	static const char text[] = "\1\1Av" "\200\0\0\4\2NAMEab";

	(void)state;
	for (size_t n = 5; n < sizeof(text) - 1; n++)
		assert_pairs(text, n, MANY, MANY, -EPROTO, "A=v;");
	assert_pairs(text, 4, MANY, MANY, 0, "A=v;");
	assert_pairs(text, sizeof(text) - 1, MANY, MANY, 0, "A=v;NAME=ab;");
}

static void
names_and_values_that_no_environment_can_hold_are_refused(void **state)
{
	(void)state;
	assert_pairs(PAIRS("\1\1Av\0\1v"), MANY, MANY, -EPROTO, "A=v;");
	assert_pairs(PAIRS("\1\1Av\0\0"), MANY, MANY, -EPROTO, "A=v;");
	assert_pairs(PAIRS("\3\1A=Bv"), MANY, MANY, -EPROTO, "");
	assert_pairs(PAIRS("\1\1=v"), MANY, MANY, -EPROTO, "");
	assert_pairs(PAIRS("\3\1A\0Bv"), MANY, MANY, -EPROTO, "");
	assert_pairs(PAIRS("\1\3Aa\0b"), MANY, MANY, -EPROTO, "");
	assert_pairs(PAIRS("\1\3Aa=b"), MANY, MANY, 0, "A=a=b;");
}

static void
the_bounds_are_exact(void **state)
{
	(void)state;
	/* Two pairs of 3 and 4 bytes, 8 bytes more for each. */
	assert_pairs(PAIRS("\1\2Avv\2\2BBww"), 23, 2, 0, "A=vv;BB=ww;");
	assert_pairs(PAIRS("\1\2Avv\2\2BBww"), 22, 2, -EMSGSIZE, "A=vv;");
	assert_pairs(PAIRS("\1\2Avv\2\2BBww"), 23, 1, -EMSGSIZE, "A=vv;");
	assert_pairs(PAIRS("\1\0A"), 9, 1, 0, "A=;");
	assert_pairs(PAIRS("\1\0A"), 8, 1, -EMSGSIZE, "");
	assert_pairs(PAIRS("\1\0A"), 7, 1, -EMSGSIZE, "");
	assert_pairs(PAIRS("\1\0A"), 0, 1, -EMSGSIZE, "");
	assert_pairs(PAIRS("\1\0A"), 9, 0, -EMSGSIZE, "");
}

static void
huge_lengths_are_refused(void **state)
{
	(void)state;
	assert_pairs(PAIRS("\377\377\377\377\1A"), MANY, MANY, -EMSGSIZE, "");
	assert_pairs(PAIRS("\1\377\377\377\377A"), MANY, MANY, -EMSGSIZE, "");
	assert_pairs(PAIRS("\377\377\377\377\377\377\377\377A"), MANY, MANY,
	    -EMSGSIZE, "");
	assert_pairs(PAIRS("\200\1\206\240\0A"), MANY, MANY, -EMSGSIZE, "");
}

/* W2 */
static void
a_claim_of_two_gigabytes_takes_no_memory(void **state)
{
	struct params *params = params_new(MANY, MANY);
	struct mallinfo2 before = mallinfo2(), after;

	(void)state;
	assert_int_equal(params_feed(params, (const uint8_t *)
	    "\1\377\377\377\377A", 6), -EMSGSIZE);
	after = mallinfo2();
	assert_true(after.uordblks + after.hblkhd <
	    before.uordblks + before.hblkhd + MANY);
	params_free(params);
}

static void
of_one_name_the_last_value_counts(void **state)
{
	struct params *params = params_new(MANY, MANY);
	const char text[] = "\1\1A1\1\1B2\1\1A3\2\1AB4";

	(void)state;
	assert_int_equal(params_feed(params, (const uint8_t *)text,
	    sizeof(text) - 1), 0);
	assert_int_equal(params_finish(params), 0);
	assert_int_equal(params_count(params), 4);
	assert_string_equal(params_get(params, "A"), "3");
	assert_string_equal(params_get(params, "B"), "2");
	assert_null(params_get(params, "a"));
	assert_null(params_get(params, "ABC"));
	assert_null(params_get(params, ""));
	params_free(params);
	params_free(NULL);
}

static void
after_the_end_nothing_more_is_taken(void **state)
{
	struct params *params = params_new(MANY, MANY);

	(void)state;
	assert_int_equal(params_finish(params), 0);
	assert_int_equal(params_feed(params, (const uint8_t *)"", 0), 0);
	assert_int_equal(params_feed(params, (const uint8_t *)"\1\1Av", 4),
	    -EPROTO);
	assert_int_equal(params_count(params), 0);
	params_free(params);
}

static void
many_pairs_stay_readable_while_the_memory_grows(void **state)
{
	struct params *params = params_new(1 << 20, 10000);
	struct buf out = { 0 };

	(void)state;
	for (int i = 0; i < 10000; i++) {
		char name[32], value[32];

		snprintf(name, sizeof(name), "N%d", i);
		snprintf(value, sizeof(value), "%d", i * 3);
		assert_int_equal(params_put(&out, name, strlen(name), value,
		    strlen(value)), 0);
	}
	assert_int_equal(params_feed(params, buf_head(&out), buf_len(&out)),
	    0);
	assert_int_equal(params_finish(params), 0);
	assert_int_equal(params_count(params), 10000);
	assert_string_equal(params_get(params, "N0"), "0");
	assert_string_equal(params_get(params, "N9999"), "29997");
	assert_string_equal(params_at(params, 5000).value, "15000");
	params_free(params);
	buf_free(&out);
}

static void
a_pair_that_no_length_can_say_is_not_written(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(params_put(&out, "A", (size_t)1 << 31, "", 0),
	    -EMSGSIZE);
	assert_int_equal(params_put(&out, "A", 1, "", (size_t)1 << 31),
	    -EMSGSIZE);
	assert_int_equal(buf_len(&out), 0);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_come_out_in_order_however_they_are_cut),
		cmocka_unit_test(no_pairs_are_a_valid_stream),
		cmocka_unit_test(
		    lengths_of_four_bytes_and_of_one_mean_the_same),
		cmocka_unit_test(a_long_value_is_taken_whole),
		cmocka_unit_test(a_stream_that_ends_inside_a_pair_is_refused),
		cmocka_unit_test(
		    names_and_values_that_no_environment_can_hold_are_refused),
		cmocka_unit_test(the_bounds_are_exact),
		cmocka_unit_test(huge_lengths_are_refused),
		cmocka_unit_test(a_claim_of_two_gigabytes_takes_no_memory),
		cmocka_unit_test(of_one_name_the_last_value_counts),
		cmocka_unit_test(after_the_end_nothing_more_is_taken),
		cmocka_unit_test(
		    many_pairs_stay_readable_while_the_memory_grows),
		cmocka_unit_test(a_pair_that_no_length_can_say_is_not_written),
	};

	return cmocka_run_group_tests_name("fcgi_params", tests, NULL, NULL);
}
