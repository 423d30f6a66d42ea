/* Exact amounts; tests/rate/judge asks for more of them at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "fcgi-host/money.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void
a_text_comes_back_as_it_was(void **state)
{
	static const char *const texts[] = { "0", "0.000000000001", "0.2",
		"0.0000166667", "1", "10", "100.01", "999999999999999999",
		"999999999999999999.999999999999" };
	char out[MONEY_TEXT_MAX];
	money_int amount;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		assert_int_equal(money_parse(texts[i], MONEY_DIGITS, &amount),
		    0);
		assert_string_equal(money_text(amount, MONEY_DIGITS, 0, out),
		    texts[i]);
	}
	assert_int_equal(money_parse("007.500", MONEY_DIGITS, &amount), 0);
	assert_string_equal(money_text(amount, MONEY_DIGITS, 0, out), "7.5");
	assert_string_equal(money_text(amount, MONEY_DIGITS, 2, out), "7.50");
	assert_string_equal(money_text(0, MONEY_DIGITS, 2, out), "0.00");
	assert_string_equal(money_text(~(money_int)0, 0, 0, out),
	    "340282366920938463463374607431768211455");
}

static void
what_is_no_plain_decimal_is_refused(void **state)
{
	static const char *const texts[] = { "", ".", ".5", "5.", "-1", "+1",
		"1e3", "1,5", " 1", "1 ", "0x10", "1.2.3", "inf", "nan",
		"1_000" };
	money_int amount;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		if (money_parse(texts[i], MONEY_DIGITS, &amount) != -EINVAL)
			fail_msg("\"%s\" was taken", texts[i]);
}

static void
what_is_too_fine_or_too_large_is_told_from_that(void **state)
{
	money_int amount = 7;

	(void)state;
	assert_int_equal(money_parse("0.0000000000001", 12, &amount), -ERANGE);
	assert_int_equal(money_parse("0.5", 0, &amount), -ERANGE);
	assert_int_equal(money_parse("1000000000000000000", 0, &amount),
	    -ERANGE);
	assert_true(amount == 7);
	/* Zeros add nothing, before and behind. */
	assert_int_equal(money_parse("000000000000000000000012.50000000000000",
	    12, &amount), 0);
	assert_true(amount == MONEY_ONE * 25 / 2);
}

static void
a_ratio_is_shown_to_its_last_digit(void **state)
{
	char out[MONEY_TEXT_MAX];

	(void)state;
	assert_string_equal(money_ratio_text(1, 1024000, out),
	    "0.0000009765625");
	assert_string_equal(money_ratio_text(1536000, 1024000, out), "1.5");
	assert_string_equal(money_ratio_text(0, 1000000, out), "0");
	assert_string_equal(money_ratio_text(1000000007, 1000000000, out),
	    "1.000000007");
}

static void
a_line_is_rounded_once_and_a_half_goes_up(void **state)
{
	money_int cent = MONEY_ONE / 100, amount;

	(void)state;
	/* 5 at 0.001: half a cent; 4 are less. */
	assert_int_equal(money_charge(5, MONEY_ONE / 1000, 1, 2, &amount), 0);
	assert_true(amount == cent);
	assert_int_equal(money_charge(4, MONEY_ONE / 1000, 1, 2, &amount), 0);
	assert_true(amount == 0);
	/* A third and two thirds of a currency without decimals. */
	assert_int_equal(money_charge(1, MONEY_ONE, 3, 0, &amount), 0);
	assert_true(amount == 0);
	assert_int_equal(money_charge(2, MONEY_ONE, 3, 0, &amount), 0);
	assert_true(amount == MONEY_ONE);
	assert_int_equal(money_charge(1, 1, 2, 12, &amount), 0);
	assert_true(amount == 1);
	assert_int_equal(money_charge(~(money_int)0, 2, 1, 2, &amount),
	    -EOVERFLOW);
}

static void
shares_sum_up_and_the_largest_fraction_gets_the_rest(void **state)
{
	static const money_int weights[] = { 1, 1, 1, 0, 4 };
	money_int shares[COUNT(weights)], most[2] = { ~(money_int)0 / 2,
		~(money_int)0 / 2 + 1 };

	(void)state;
	/* 11/7 = 1 4/7, three times, and 44/7 = 6 2/7: two are left. */
	assert_int_equal(money_split(11, weights, COUNT(weights), shares), 0);
	assert_true(shares[0] == 2 && shares[1] == 2 && shares[2] == 1 &&
	    shares[3] == 0 && shares[4] == 6);
	assert_int_equal(money_split(~(money_int)0, most, 2, shares), 0);
	assert_true(shares[0] == most[0] && shares[1] == most[1]);
	assert_int_equal(money_split(1, weights + 3, 1, shares), -EINVAL);
	assert_int_equal(money_split(0, weights + 3, 1, shares), 0);
	most[0] += 2;
	assert_int_equal(money_split(1, most, 2, shares), -EOVERFLOW);
}

static void
a_share_of_more_than_128_bits_is_exact(void **state)
{
	const money_int half = (money_int)1 << 126, whole = half * 2;
	money_int rest;

	(void)state;
	/* A half of 2^128 - 1, where what is left is just the whole again and
	 * again. */
	assert_true(money_share(~(money_int)0, half, whole, &rest) ==
	    ~(money_int)0 / 2);
	assert_true(rest == half);
	assert_true(money_share(~(money_int)0, whole, whole, &rest) ==
	    ~(money_int)0);
	assert_true(rest == 0);
	assert_true(money_share(~(money_int)0, 0, whole, &rest) == 0);
	assert_true(rest == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_comes_back_as_it_was),
		cmocka_unit_test(what_is_no_plain_decimal_is_refused),
		cmocka_unit_test(
		    what_is_too_fine_or_too_large_is_told_from_that),
		cmocka_unit_test(a_ratio_is_shown_to_its_last_digit),
		cmocka_unit_test(a_line_is_rounded_once_and_a_half_goes_up),
		cmocka_unit_test(
		    shares_sum_up_and_the_largest_fraction_gets_the_rest),
		cmocka_unit_test(a_share_of_more_than_128_bits_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
