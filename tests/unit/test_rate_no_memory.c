/*
 * A bill when memory runs out: whichever allocation fails, it is refused as a
 * whole and nothing leaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/rate.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/prices_text.h"

#define DAY 20635 /* 2026-07-01 */
#define CELLS 62

#if HAS_OWN_ALLOCATOR

static void
a_bill_is_made_whole_or_refused(void **state)
{
	struct prices *prices = prices_of("[book]\ncurrency = EUR\n[prices]\n"
	    "million_executions = 3, 2 above 40, 1 above 60\n"
	    "gib_second = 0.1\nfree_executions = 7\n"
	    "[prices runtime php]\nmillion_executions = 5, 4 above 50\n"
	    "[prices from 2026-07-15]\ngib_second = 0.2\n");
	int rc, n, refused = 0, left = 0;
	money_int total = 0;

	(void)state;
	for (n = 1; left == 0; n++) {
		struct rate_cell cells[CELLS] = { 0 };
		struct rate_bill bill;
		size_t i;

		for (i = 0; i < CELLS; i++)
			cells[i] = (struct rate_cell){
				.day = DAY + (int32_t)i / 2,
				.runtime = i % 2 == 0 ? "" : "php",
				.usage = { .executions = 3, .mib_ms = 1024 } };
		alive = 0;
		until_failure = n;
		is_counting = true;
		rc = rate_bill(prices, "alice", civil_month_of(DAY), cells,
		    CELLS, &bill);
		/* qsort does without the memory that it wants. */
		if (rc == 0 && total != 0)
			assert_true(bill.total == total);
		total = rc == 0 ? bill.total : total;
		rate_bill_free(&bill);
		is_counting = false;
		left = until_failure;
		until_failure = 0;
		assert_true(rc == -ENOMEM || rc == 0);
		assert_int_equal(alive, 0);
		refused += rc != 0;
	}
	assert_int_equal(rc, 0);
	/* The arrays, the pieces and the lines, and each split. */
	assert_true(refused > 40);
	prices_free(prices);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bill_is_made_whole_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int
main(void)
{
	puts("SKIP: a sanitizer's allocator cannot be made to fail");
	return 77;
}

#endif
