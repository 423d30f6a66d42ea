/* Who burns the processor, by clocks that the test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fcgi-host/heat.h"

#define WINDOW_US 100000u

static void
a_window_of_a_quarter_processor_is_burning_and_no_less(void **state)
{
	(void)state;
	assert_true(heat_is_burning(25000, 100000));
	assert_false(heat_is_burning(24999, 100000));
	assert_true(heat_is_burning(400000, 100000)); /* four of them */
	assert_false(heat_is_burning(0, 100000));
	assert_false(heat_is_burning(5, 0));
}

static bool
look(struct heat *heat, uint64_t usage_us, uint64_t waits, uint64_t now_us)
{
	if (heat_look(heat, usage_us, now_us))
		heat_judge(heat, waits);
	return heat_turn(heat);
}

/* One look each window; what was used in it, how often somebody waited in it, and
 * what the function is then. */
static void
hot_is_who_burns_until_he_has_not_for_a_second(void **state)
{
	static const struct {
		unsigned windows, used_us, waits;
		bool is_hot;
	} steps[] = {
		{ 1, 90000, 0, false }, /* first seen: of what time is unknown */
		{ 1, 24000, 0, false },
		{ 1, 25000, 0, false }, /* how often it waited is, too */
		{ 1, 25000, 0, true },
		{ 9, 0, 0, true },
		{ 1, 0, 0, false },
		{ 20, 24000, 0, false },
		{ 2, 190000, 4, true },
		{ 5, 24000, 0, true },
		{ 2, 190000, 0, true },
		{ 9, 24000, 0, true },
		{ 2, 24000, 0, false },
	};
	struct heat heat = { 0 };
	uint64_t now_us = 5000000, usage_us = 700000, waits = 100;

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		for (unsigned n = 0; n < steps[i].windows; n++) {
			bool was_hot = heat.is_hot, has_turned;

			usage_us += steps[i].used_us;
			waits += steps[i].waits;
			now_us += WINDOW_US;
			has_turned = look(&heat, usage_us, waits, now_us);
			assert_int_equal(has_turned,
			    was_hot != heat.is_hot);
		}
		if (heat.is_hot != steps[i].is_hot)
			fail_msg("step %zu", i);
	}
}

static void
who_waits_often_is_not_hot_however_busy(void **state)
{
	struct heat heat = { 0 };
	uint64_t usage_us = 0, waits = 0;

	(void)state;
	for (unsigned n = 1; n < 50; n++) {
		usage_us += 200000; /* two whole processors */
		waits += 401;
		assert_false(look(&heat, usage_us, waits, n * WINDOW_US));
	}
	assert_false(look(&heat, usage_us + 200000, waits + 401,
	    50 * WINDOW_US));
	assert_true(look(&heat, usage_us + 400000, waits + 801,
	    51 * WINDOW_US));
}

static void
numbers_that_go_back_make_nobody_hot(void **state)
{
	struct heat heat = { 0 };

	(void)state;
	assert_false(look(&heat, 1000000, 0, 5000000));
	assert_false(look(&heat, 10, 0, 5100000));
	assert_false(look(&heat, 20, 0, 5200000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_window_of_a_quarter_processor_is_burning_and_no_less),
		cmocka_unit_test(
		    hot_is_who_burns_until_he_has_not_for_a_second),
		cmocka_unit_test(who_waits_often_is_not_hot_however_busy),
		cmocka_unit_test(numbers_that_go_back_make_nobody_hot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
