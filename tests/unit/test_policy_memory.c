/* A tenant's ceiling of memory, held by the sum of what his instances may use, by
 * simulated time: see policy_world.h.  Pools 0 and 1 are alice's, 2 and 3
 * bob's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/policy_world.h"

#define MIB (UINT64_C(1) << 20)

/* What one instance of either function of alice's may use, and all of hers. */
static void
alice(uint64_t first_mib, uint64_t second_mib, uint64_t all_mib)
{
	world_set(0, LIMIT_MEMORY_BYTES, first_mib * MIB);
	world_set(1, LIMIT_MEMORY_BYTES, second_mib * MIB);
	world_set(0, LIMIT_MAX_MEMORY_BYTES, all_mib * MIB);
	world_set(1, LIMIT_MAX_MEMORY_BYTES, all_mib * MIB);
}

static enum policy_ceiling
ceiling(int pool)
{
	return policy_ceiling(&world.pools[pool].policy);
}

/*      at_ms  op  pool n   waiting starting ready idle busy refused */

static void
a_tenant_at_its_memory_waits_and_slows_nobody(void **state)
{
	(void)state;
	alice(128, 128, 300);
	world_play((const struct row[]) {
		{ 0, COME, 0, 5, 5, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 4, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 3, 0, 0, 0, 2, 0 }, /* 256 of 300 */
		{ 3, COME, 1, 1, 1, 0, 0, 0, 0, 0 },
		{ 4, COME, 2, 1, 1, 1, 0, 0, 0, 0 }, /* bob is not held up */
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(ceiling(0), POLICY_CEILING_MEMORY);
	assert_int_equal(ceiling(1), POLICY_CEILING_MEMORY);
	assert_int_equal(ceiling(2), POLICY_CEILING_NONE);
	world_play((const struct row[]) {
		{ 5, DONE, 0, 1, 3, 0, 0, 0, 1, 0 },
		{ 5, TICK, 1, 0, 1, 1, 0, 0, 0, 0 }, /* one each */
		{ 6, UP, 1, 0, 0, 0, 0, 0, 1, 0 },
		{ 7, DONE, 0, 1, 2, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* What is at its own ceiling, or has none, is told nothing of the tenant's. */
static void
the_ceiling_that_is_named_is_the_one_in_the_way(void **state)
{
	(void)state;
	alice(128, 128, 256);
	world_set(0, LIMIT_INSTANCES, 2);
	world_play((const struct row[]) {
		{ 0, COME, 0, 3, 3, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 2, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 1, 0, 0, 0, 2, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(ceiling(0), POLICY_CEILING_NONE);
	assert_int_equal(ceiling(1), POLICY_CEILING_MEMORY);
	world_set(1, LIMIT_MAX_INSTANCES, 2);
	assert_int_equal(ceiling(1), POLICY_CEILING_INSTANCES);
	policy_change(&world.pools[1].policy, NULL, world.now_us);
	assert_int_equal(ceiling(1), POLICY_CEILING_NONE);
}

static void
as_many_idle_ones_give_way_as_are_needed(void **state)
{
	(void)state;
	alice(128, 256, 400);
	world_play((const struct row[]) {
		{ 0, COME, 0, 3, 3, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 2, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 1, 1, 0, 0, 2, 0 },
		{ 3, UP, 0, 0, 0, 0, 0, 0, 3, 0 }, /* 384 of 400 */
		{ 4, DONE, 0, 3, 0, 0, 0, 3, 0, 0 },
		{ 5, COME, 1, 1, 1, 1, 0, 0, 0, 0 },
		{ 5, TICK, 0, 0, 0, 0, 0, 1, 0, 0 }, /* two of three */
		{ 6, UP, 1, 0, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
none_gives_way_where_that_would_not_be_enough(void **state)
{
	(void)state;
	alice(128, 256, 300);
	world_play((const struct row[]) {
		{ 0, COME, 0, 2, 2, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 2, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 1, 0 },
		{ 4, COME, 1, 1, 1, 0, 0, 0, 0, 0 },
		{ 5, TICK, 0, 0, 0, 0, 0, 1, 1, 0 }, /* it stays warm */
		{ 6, DONE, 0, 1, 0, 0, 0, 0, 0, 0 }, /* both go now */
		{ 6, TICK, 1, 0, 1, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
what_min_instances_keeps_does_not_give_way(void **state)
{
	(void)state;
	alice(128, 128, 256);
	world_set(0, LIMIT_MIN_INSTANCES, 2);
	world_play((const struct row[]) {
		{ 0, TICK, 0, 0, 0, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 2, 0, 0 },
		{ 3, COME, 1, 1, 1, 0, 0, 0, 0, 0 },
		{ 4, TICK, 0, 0, 0, 0, 0, 2, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Her small function would take what becomes free, bit by bit. */
static void
one_that_does_not_fit_holds_back_who_has_more(void **state)
{
	(void)state;
	alice(100, 300, 400);
	world_play((const struct row[]) {
		{ 0, COME, 0, 9, 9, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 8, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 7, 1, 0, 0, 2, 0 },
		{ 3, COME, 1, 1, 1, 0, 0, 0, 0, 0 },
		{ 4, UP, 0, 0, 6, 0, 0, 0, 3, 0 }, /* 300, and no fourth */
		{ 5, DONE, 0, 1, 6, 0, 0, 0, 2, 0 },
		{ 6, DONE, 0, 1, 6, 0, 0, 0, 1, 0 },
		{ 6, TICK, 1, 0, 1, 1, 0, 0, 0, 0 },
		{ 7, UP, 1, 0, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Streams that last: the big one waits, and the others are served again. */
static void
it_holds_them_back_for_a_second_and_no_longer(void **state)
{
	struct policy *policy = &world.policy;

	(void)state;
	alice(100, 300, 400);
	world_play((const struct row[]) {
		{ 0, COME, 0, 2, 2, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 2, 0 },
		{ 3, COME, 1, 1, 1, 0, 0, 0, 0, 0 },
		{ 500, COME, 0, 1, 1, 0, 0, 0, 2, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(policy_wake_us(policy, world.now_us),
	    world.now_us + 503000);
	world_play((const struct row[]) {
		{ 1002, TICK, 0, 0, 1, 0, 0, 0, 2, 0 },
		{ 1003, TICK, 0, 0, 1, 1, 0, 0, 2, 0 },
		{ 1004, UP, 0, 0, 0, 0, 0, 0, 3, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	/* and nobody is woken for it any more */
	assert_int_equal(policy_wake_us(policy, world.now_us), 0);
}

/* Bob has nothing to do with alice's memory. */
static void
it_holds_back_no_other_tenant(void **state)
{
	(void)state;
	alice(100, 300, 400);
	world_play((const struct row[]) {
		{ 0, COME, 0, 2, 2, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 2, 0 },
		{ 3, COME, 1, 1, 1, 0, 0, 0, 0, 0 },
		{ 4, COME, 2, 2, 2, 1, 0, 0, 0, 0 },
		{ 5, UP, 2, 0, 1, 1, 0, 0, 1, 0 },
		{ 6, UP, 2, 0, 0, 0, 0, 0, 2, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
none_is_prepared_beyond_it(void **state)
{
	(void)state;
	alice(128, 128, 200);
	world.policy.max_prepared = 4;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 50, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* What ends still holds its memory: one that cannot be killed must not make room
 * for more and more. */
static void
what_ends_is_counted_once_more(void **state)
{
	struct policy_pool *pool = &world.pools[0].policy;

	(void)state;
	alice(128, 128, 128);
	world_move(pool, POLICY_NONE, POLICY_BUSY);
	world_move(pool, POLICY_BUSY, POLICY_ENDING);
	assert_int_equal(ceiling(0), POLICY_CEILING_NONE);
	world_move(pool, POLICY_NONE, POLICY_BUSY);
	world_move(pool, POLICY_BUSY, POLICY_ENDING);
	assert_int_equal(ceiling(0), POLICY_CEILING_MEMORY);
	world_move(pool, POLICY_ENDING, POLICY_NONE);
	assert_int_equal(ceiling(0), POLICY_CEILING_NONE);
}

static bool
may_check(int pool)
{
	return policy_may_check(&world.policy, pool < 2 ? "t0" : "t1",
	    &world.pools[pool].limits);
}

/* A check takes no instance's place, but its tenant's memory. */
static void
what_a_check_may_use_is_counted_until_its_end(void **state)
{
	(void)state;
	alice(128, 128, 256);
	assert_true(may_check(0));
	assert_int_equal(policy_check_begin(&world.policy, "t0", 128 * MIB),
	    0);
	world_play((const struct row[]) {
		{ 0, COME, 0, 2, 2, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 1, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	assert_int_equal(ceiling(0), POLICY_CEILING_MEMORY);
	assert_false(may_check(0));
	assert_true(may_check(2));
	policy_check_over(&world.policy, "t0", 128 * MIB);
	assert_int_equal(ceiling(0), POLICY_CEILING_NONE);
	assert_true(may_check(0));
	world.policy.is_short = true;
	assert_false(may_check(2));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_tenant_at_its_memory_waits_and_slows_nobody),
		TEST(the_ceiling_that_is_named_is_the_one_in_the_way),
		TEST(as_many_idle_ones_give_way_as_are_needed),
		TEST(none_gives_way_where_that_would_not_be_enough),
		TEST(what_min_instances_keeps_does_not_give_way),
		TEST(one_that_does_not_fit_holds_back_who_has_more),
		TEST(it_holds_them_back_for_a_second_and_no_longer),
		TEST(it_holds_back_no_other_tenant),
		TEST(none_is_prepared_beyond_it),
		TEST(what_ends_is_counted_once_more),
		TEST(what_a_check_may_use_is_counted_until_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
