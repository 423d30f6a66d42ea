/* Bills worked out by hand; tests/rate/judge makes them up by the hundred. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/rate.h"
#include "tests/unit/prices_text.h"

#define BOOK "[book]\ncurrency = EUR\n"
#define DAY 20635 /* 2026-07-01 */
#define CENT (MONEY_ONE / 100)

static int32_t
july(void)
{
	return civil_month_of(DAY);
}

static struct rate_cell
cell(int day, const char *runtime, uint64_t executions)
{
	return (struct rate_cell){ .day = DAY + day - 1, .runtime = runtime,
		.usage = { .executions = executions } };
}

static void
assert_line(const struct rate_line *line, bool is_free, unsigned step,
    uint64_t quantity, money_int amount)
{
	assert_true(line->is_free == is_free);
	assert_int_equal(line->step, step);
	assert_true(line->quantity == quantity);
	assert_true(line->amount == amount);
}

static void
free_tier_and_steps_are_used_up_in_the_order_of_days(void **state)
{
	struct prices *prices = prices_of(BOOK "[prices]\n"
	    "million_executions = 10000, 5000 above 1500\n"
	    "free_executions = 1000\n");
	struct rate_cell cells[] = { cell(1, "", 900), cell(2, "", 200),
		cell(2, "php", 600), cell(31, "", 300) };
	struct rate_bill bill;

	(void)state;
	assert_int_equal(rate_bill(prices, "alice", july(), cells, 4, &bill),
	    0);
	assert_int_equal(bill.count, 3);
	assert_line(&bill.lines[0], true, 0, 1000, 0);
	assert_line(&bill.lines[1], false, 0, 500, 500 * CENT);
	assert_line(&bill.lines[2], false, 1, 500, 250 * CENT);
	assert_true(bill.total == 750 * CENT);
	/* Of the second day 100 were free, 500 at the first price and 200 at
	 * the second: a quarter of each is the first runtime's. */
	assert_true(cells[0].cost[PRICES_EXECUTIONS] == 0);
	assert_true(cells[1].cost[PRICES_EXECUTIONS] == 125 * CENT + 25 * CENT);
	assert_true(cells[2].cost[PRICES_EXECUTIONS] == 375 * CENT + 75 * CENT);
	assert_true(cells[3].cost[PRICES_EXECUTIONS] == 150 * CENT);
	rate_bill_free(&bill);
	prices_free(prices);
}

static void
a_price_that_changes_within_the_month_is_a_line_of_its_own(void **state)
{
	struct prices *prices = prices_of(BOOK "[prices]\n"
	    "million_executions = 10000\nfree_executions = 50\n"
	    "[prices from 2026-07-15]\nmillion_executions = 30000, "
	    "20000 above 200\n[prices from 2026-07-20]\nminimum = 99\n");
	struct rate_cell cells[] = { cell(1, "", 150), cell(14, "", 40),
		cell(15, "", 100), cell(20, "", 10) };
	struct rate_bill bill;

	(void)state;
	assert_int_equal(rate_bill(prices, "a", july(), cells, 4, &bill), 0);
	assert_int_equal(bill.count, 4);
	assert_line(&bill.lines[0], true, 0, 50, 0);
	assert_line(&bill.lines[1], false, 0, 140, 140 * CENT);
	/* The place in the month goes on: 190 were used before. */
	assert_line(&bill.lines[2], false, 0, 10, 30 * CENT);
	assert_line(&bill.lines[3], false, 1, 100, 200 * CENT);
	assert_true(bill.lines[2].list->has_from);
	/* A minimum that begins within the month is the next month's. */
	assert_true(bill.minimum == 0 && bill.total == 370 * CENT);
	rate_bill_free(&bill);
	prices_free(prices);
}

static void
what_has_no_price_uses_up_no_free_tier(void **state)
{
	struct prices *prices = prices_of(BOOK
	    "[prices runtime php]\nmillion_executions = 10000\n"
	    "[prices]\nfree_executions = 10\n");
	struct rate_cell cells[] = { cell(1, "", 1000), cell(1, "php", 30) };
	struct rate_bill bill;

	(void)state;
	assert_int_equal(rate_bill(prices, "a", july(), cells, 2, &bill), 0);
	assert_int_equal(bill.count, 2);
	assert_line(&bill.lines[0], true, 0, 10, 0);
	assert_line(&bill.lines[1], false, 0, 20, 20 * CENT);
	assert_string_equal(bill.lines[1].list->runtime, "php");
	assert_true(cells[0].cost[PRICES_EXECUTIONS] == 0);
	rate_bill_free(&bill);
	prices_free(prices);
}

static void
a_month_below_its_minimum_costs_the_minimum(void **state)
{
	struct prices *prices = prices_of(BOOK "[prices]\n"
	    "million_executions = 10000\nminimum = 5\n"
	    "[prices tenant bob]\nminimum = 0\n");
	struct rate_cell cells[] = { cell(3, "", 30) };
	struct rate_bill bill;

	(void)state;
	assert_int_equal(rate_bill(prices, "a", july(), cells, 1, &bill), 0);
	assert_true(bill.minimum == 470 * CENT && bill.total == 500 * CENT);
	rate_bill_free(&bill);
	assert_int_equal(rate_bill(prices, "a", july(), NULL, 0, &bill), 0);
	assert_true(bill.count == 0 && bill.total == 500 * CENT);
	rate_bill_free(&bill);
	assert_int_equal(rate_bill(prices, "bob", july(), cells, 1, &bill), 0);
	assert_true(bill.minimum == 0 && bill.total == 30 * CENT);
	rate_bill_free(&bill);
	prices_free(prices);
}

static void
a_line_is_rounded_and_not_its_days(void **state)
{
	struct prices *prices = prices_of(BOOK "[prices]\n"
	    "million_executions = 3333\n");
	struct rate_cell cells[31];
	struct rate_bill bill;
	money_int sum = 0;
	int day;

	(void)state;
	for (day = 1; day <= 31; day++)
		cells[day - 1] = cell(day, "", 1);
	assert_int_equal(rate_bill(prices, "a", july(), cells, 31, &bill), 0);
	/* 31 * 0.003333 = 0.103323 */
	assert_true(bill.total == 10 * CENT);
	for (day = 0; day < 31; day++)
		sum += cells[day].cost[PRICES_EXECUTIONS];
	assert_true(sum == bill.total);
	rate_bill_free(&bill);
	prices_free(prices);
}

static void
lines_stand_in_the_order_of_the_book_and_costs_begin_at_nothing(void **state)
{
	struct prices *prices = prices_of(BOOK "[prices]\n"
	    "million_executions = 10000\ngb_out = 1\n"
	    "[prices runtime php]\nmillion_executions = 30000\n"
	    "[prices runtime perl]\nmillion_executions = 20000, 1 above 25\n"
	    "[prices from 2026-07-02]\nfree_executions = 45\n");
	struct rate_cell cells[] = { cell(1, "perl", 20), cell(1, "php", 10),
		cell(2, "", 20), cell(2, "perl", 40) };
	struct rate_bill bill;
	int again;

	(void)state;
	/* Of the first day 25 lie below perl's step, 17 of them perl's; of the
	 * second 15 are free, a third of them not perl's. */
	for (again = 0; again < 2; again++) {
		assert_int_equal(rate_bill(prices, "a", july(), cells, 4,
		    &bill), 0);
		assert_int_equal(bill.count, 5);
		assert_line(&bill.lines[0], true, 0, 15, 0);
		assert_line(&bill.lines[1], false, 0, 15, 15 * CENT);
		assert_line(&bill.lines[2], false, 0, 10, 30 * CENT);
		assert_line(&bill.lines[3], false, 0, 17, 34 * CENT);
		assert_line(&bill.lines[4], false, 1, 33, 0);
		assert_string_equal(bill.lines[1].list->runtime, "");
		assert_string_equal(bill.lines[2].list->runtime, "php");
		assert_string_equal(bill.lines[3].list->runtime, "perl");
		assert_true(cells[0].cost[PRICES_EXECUTIONS] == 34 * CENT);
		rate_bill_free(&bill);
	}
	prices_free(prices);
}

static void
a_bill_that_does_not_fit_is_refused(void **state)
{
	struct prices *prices = prices_of(BOOK "[prices]\n"
	    "gib_second = 999999999999\n");
	struct rate_cell cells[] = { cell(1, "", 1), cell(2, "", 1) };
	struct rate_meter meter = { .month = 0 };
	struct rate_bill bill;
	money_int cost;

	(void)state;
	cells[0].usage.mib_ms = (rate_sum)1 << 100;
	assert_int_equal(rate_bill(prices, "a", july(), cells, 2, &bill),
	    -EOVERFLOW);
	rate_bill_free(&bill);
	cells[0].usage.mib_ms = ~(rate_sum)0;
	cells[1].usage.mib_ms = 1;
	assert_int_equal(rate_bill(prices, "a", july(), cells, 2, &bill),
	    -EOVERFLOW);
	rate_bill_free(&bill);
	assert_int_equal(rate_meter_add(&meter, prices, "a", "", DAY,
	    &cells[0].usage, &cost), -EOVERFLOW);
	assert_true(meter.at[PRICES_GIB_SECONDS] == 0);
	prices_free(prices);
}

static void
a_meter_begins_anew_with_each_month(void **state)
{
	struct prices *prices = prices_of(BOOK "[prices]\n"
	    "million_executions = 10000\nfree_executions = 50\n");
	struct rate_usage usage = { .executions = 40 };
	struct rate_meter meter = { .month = 0 };
	money_int cost;

	(void)state;
	assert_int_equal(rate_meter_add(&meter, prices, "a", "", DAY, &usage,
	    &cost), 0);
	assert_true(cost == 0);
	assert_int_equal(rate_meter_add(&meter, prices, "a", "", DAY + 30,
	    &usage, &cost), 0);
	assert_true(cost == 30 * CENT * RATE_EXACT);
	assert_int_equal(rate_meter_add(&meter, prices, "a", "", DAY + 31,
	    &usage, &cost), 0);
	assert_true(cost == 0);
	prices_free(prices);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    free_tier_and_steps_are_used_up_in_the_order_of_days),
		cmocka_unit_test(
		    a_price_that_changes_within_the_month_is_a_line_of_its_own),
		cmocka_unit_test(what_has_no_price_uses_up_no_free_tier),
		cmocka_unit_test(a_month_below_its_minimum_costs_the_minimum),
		cmocka_unit_test(a_line_is_rounded_and_not_its_days),
		cmocka_unit_test(
		    lines_stand_in_the_order_of_the_book_and_costs_begin_at_nothing),
		cmocka_unit_test(a_bill_that_does_not_fit_is_refused),
		cmocka_unit_test(a_meter_begins_anew_with_each_month),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
