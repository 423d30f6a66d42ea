#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "fcgi-host/amounts.h"

static char problem[200];

static struct amounts
taken(const char *text)
{
	struct amounts amounts;

	if (amounts_parse("budget_day", text, &amounts, problem,
	    sizeof(problem)) != 0)
		fail_msg("%s", problem);
	return amounts;
}

static void
refused(const char *text, const char *words)
{
	struct amounts amounts;

	assert_int_equal(amounts_parse("budget_day", text, &amounts, problem,
	    sizeof(problem)), -EINVAL);
	assert_memory_equal(problem, "budget_day: ", 12);
	if (strstr(problem, words) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", problem, words);
}

static void
an_amount_is_a_number_with_its_unit(void **state)
{
	(void)state;
	assert_int_equal(taken("10000 executions").of[AMOUNT_EXECUTIONS],
	    10000);
	assert_int_equal(taken("1 execution").of[AMOUNT_EXECUTIONS], 1);
	assert_int_equal(taken("2GiB-s").of[AMOUNT_MIB_MS], 2048000);
	assert_int_equal(taken(" 0.001\tgib-s ").of[AMOUNT_MIB_MS], 1024);
	assert_int_equal(taken("1.25 GiB-s").of[AMOUNT_MIB_MS], 1280000);
	assert_int_equal(taken("7 executions").of[AMOUNT_MIB_MS], 0);
	assert_int_equal(taken("999999999999 GiB-s").of[AMOUNT_MIB_MS],
	    UINT64_C(1023999999998976000));
	assert_int_equal(taken("12.345678 EUR").of[AMOUNT_MONEY], 12345678);
	assert_string_equal(taken("12 EUR").currency, "EUR");
	assert_string_equal(taken("12 executions").currency, "");
	assert_int_equal(taken("999999999999.999999 XAU").of[AMOUNT_MONEY],
	    UINT64_C(999999999999999999));
	assert_int_equal(taken("none").of[AMOUNT_EXECUTIONS], 0);
}

static void
amounts_of_different_units_stand_side_by_side(void **state)
{
	struct amounts amounts = taken("5 executions , 0.5 GiB-s");

	(void)state;
	assert_int_equal(amounts.of[AMOUNT_EXECUTIONS], 5);
	assert_int_equal(amounts.of[AMOUNT_MIB_MS], 512000);
	refused("5 executions, 6 executions", "two amounts in executions");
}

static void
what_is_no_amount_is_refused_in_words(void **state)
{
	static const char *const texts[] = { "", " ", ",", "5", "executions",
		"5 apples", "-5 executions", "1.5 executions", "5 GiB",
		"5. GiB-s", "0.0000001 EUR", "5 eur", "5 EURO", "5 E1R", ".5 GiB-s", "0.0005 GiB-s", "5 executions,",
		"1000000000000 executions", "0x5 executions", "nONE",
		"none, 5 executions", "5 executions 6 GiB-s" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		refused(texts[i], "is no amount; write as 10000 executions");
	refused("0 executions", "would refuse every request; write none");
	refused("0.000 GiB-s", "would refuse every request; write none");
	refused("5 EUR, 6 USD", "two amounts in money");
}

static void
an_amount_is_written_as_it_is_read(void **state)
{
	static const char *const texts[] = { "1 execution", "12 executions",
		"3 GiB-s", "0.5 GiB-s", "0.05 GiB-s", "0.055 GiB-s",
		"7.123 GiB-s", "5.00 EUR", "0.50 EUR", "0.000001 EUR",
		"1.125 EUR" };
	char out[48];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		enum amount_unit unit = i < 2 ? AMOUNT_EXECUTIONS :
		    i < 7 ? AMOUNT_MIB_MS : AMOUNT_MONEY;

		assert_string_equal(amounts_text(unit,
		    taken(texts[i]).of[unit], "EUR", out, sizeof(out)),
		    texts[i]);
	}
	assert_string_equal(amounts_text(AMOUNT_MIB_MS, 1023, "", out,
	    sizeof(out)), "0 GiB-s");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_amount_is_a_number_with_its_unit),
		cmocka_unit_test(amounts_of_different_units_stand_side_by_side),
		cmocka_unit_test(what_is_no_amount_is_refused_in_words),
		cmocka_unit_test(an_amount_is_written_as_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
