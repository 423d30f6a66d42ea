/* While the machine is short of memory, by simulated time: see policy_world.h.
 * Pools 0 and 1 are one tenant's, 2 and 3 another's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/policy_world.h"

static void
short_set(bool is_short)
{
	world.policy.is_short = is_short;
}

static enum policy_ceiling
ceiling(int pool)
{
	return policy_ceiling(&world.pools[pool].policy);
}

/*      at_ms  op  pool n   waiting starting ready idle busy refused */

static void
what_runs_serves_on_and_nothing_is_started(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(true);
	world_play((const struct row[]) {
		{ 3, COME, 0, 2, 1, 0, 0, 0, 1, 0 }, /* no second one */
		{ 4, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 5, DONE, 0, 1, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(ceiling(2), POLICY_CEILING_MACHINE);
	assert_int_equal(policy_wake_us(&world.policy, world.now_us),
	    world.now_us + POLICY_ROOM_US);
	short_set(false);
	world_play((const struct row[]) {
		{ 6, TICK, 2, 0, 1, 1, 0, 0, 0, 0 },
		{ 7, UP, 2, 0, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(ceiling(2), POLICY_CEILING_NONE);
}

static void
an_empty_sandbox_starts_no_program(void **state)
{
	(void)state;
	world.pools[0].policy.is_cgi = true;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(true);
	world_play((const struct row[]) {
		{ 3, COME, 0, 2, 2, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(ceiling(0), POLICY_CEILING_MACHINE);
	assert_int_equal(policy_wake_us(&world.policy, world.now_us),
	    world.now_us + POLICY_ROOM_US);
	short_set(false);
	world_play((const struct row[]) {
		{ 4, TICK, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* It was asked for before. */
static void
a_start_that_is_done_by_then_serves_nobody_yet(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(true);
	world_play((const struct row[]) {
		{ 1, UP, 0, 0, 1, 0, 1, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(ceiling(0), POLICY_CEILING_MACHINE);
	assert_int_equal(policy_wake_us(&world.policy, world.now_us),
	    world.now_us + POLICY_ROOM_US);
	short_set(false);
	world_play((const struct row[]) {
		{ 2, TICK, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Its program runs, and is not started by the request. */
static void
a_spare_serves(void **state)
{
	struct policy_pool *pool = &world.pools[0].policy, *victim;

	(void)state;
	short_set(true);
	world_move(pool, POLICY_NONE, POLICY_READY);
	pool->used_us = world.now_us = 1;
	pool->spares_most = 1;
	assert_false(policy_spare(pool, world.now_us, &victim));
	pool->waiting = 1;
	assert_int_equal(policy_next(pool, world.now_us), POLICY_WAIT);
	pool->spares = 1;
	assert_int_equal(policy_next(pool, world.now_us), POLICY_TAKE_READY);
	pool->waiting = pool->spares = 0;
	short_set(false);
	assert_true(policy_spare(pool, world.now_us, &victim));
}

/* Three idle ones of pool 0; who waits is another tenant. */
static void
three_idle(void)
{
	world_play((const struct row[]) {
		{ 0, COME, 0, 3, 3, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 2, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 1, 1, 0, 0, 2, 0 },
		{ 3, UP, 0, 0, 0, 0, 0, 0, 3, 0 },
		{ 4, DONE, 0, 3, 0, 0, 0, 3, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(true);
}

static void
the_idle_give_way_as_long_as_somebody_waits(void **state)
{
	(void)state;
	three_idle();
	world_play((const struct row[]) {
		{ 5, TICK, 0, 0, 0, 0, 0, 3, 0, 0 }, /* nobody does */
		{ 6, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 7, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(false);
	world_play((const struct row[]) {
		{ 8, TICK, 2, 0, 1, 1, 0, 0, 0, 0 },
		{ 9, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
the_next_gives_way_when_the_last_has_ended(void **state)
{
	struct policy *policy = &world.policy;
	struct policy_pool *pool = &world.pools[0].policy;

	(void)state;
	three_idle();
	world.pools[2].policy.waiting = 1;
	policy_update(&world.pools[2].policy, world.now_us);
	assert_ptr_equal(policy_relieve(policy, world.now_us), pool);
	world_move(pool, POLICY_IDLE, POLICY_ENDING);
	assert_null(policy_relieve(policy, world.now_us));
	assert_int_equal(policy_wake_us(policy, world.now_us),
	    world.now_us + POLICY_ROOM_US);
	world_move(pool, POLICY_ENDING, POLICY_NONE);
	assert_ptr_equal(policy_relieve(policy, world.now_us), pool);
	/* one that does not end is waited for so long */
	world_move(pool, POLICY_IDLE, POLICY_ENDING);
	world.now_us += POLICY_ROOM_US;
	assert_ptr_equal(policy_relieve(policy, world.now_us), pool);
	world.pools[2].policy.waiting = 0;
}

/* Its check is kept from beginning as a start is. */
static void
the_idle_give_way_for_who_waits_for_a_check(void **state)
{
	(void)state;
	three_idle();
	world.pools[2].policy.is_held = true;
	world_play((const struct row[]) {
		{ 5, TICK, 0, 0, 0, 0, 0, 3, 0, 0 },
		{ 6, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 7, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(false);
	world_play((const struct row[]) {
		{ 8, TICK, 2, 0, 1, 0, 0, 0, 0, 0 }, /* it is held still */
		{ 9, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	world.pools[2].policy.is_held = false;
	world_play((const struct row[]) {
		{ 10, TICK, 2, 0, 1, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
what_min_instances_keeps_does_not_give_way(void **state)
{
	(void)state;
	world_set(0, LIMIT_MIN_INSTANCES, 2);
	three_idle();
	world_play((const struct row[]) {
		{ 5, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 6, TICK, 0, 0, 0, 0, 0, 2, 0, 0 },
		{ 7, TICK, 0, 0, 0, 0, 0, 2, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
none_is_prepared_meanwhile(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(true);
	world_play((const struct row[]) {
		{ 50, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	short_set(false);
	world_play((const struct row[]) {
		{ 51, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_runs_serves_on_and_nothing_is_started),
		TEST(an_empty_sandbox_starts_no_program),
		TEST(a_start_that_is_done_by_then_serves_nobody_yet),
		TEST(a_spare_serves),
		TEST(the_idle_give_way_as_long_as_somebody_waits),
		TEST(the_idle_give_way_for_who_waits_for_a_check),
		TEST(the_next_gives_way_when_the_last_has_ended),
		TEST(what_min_instances_keeps_does_not_give_way),
		TEST(none_is_prepared_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
