/* What the policy makes ahead of need, by simulated time: prepared instances and
 * min_instances; see policy_world.h.  Pools 0 and 1 are alice's, 2 and 3 bob's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/policy_world.h"

/*      at_ms  op  pool n   waiting starting ready idle busy refused */

static void
a_used_function_has_one_prepared_behind_the_request(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 21, TICK, 0, 0, 0, 0, 0, 1, 0, 0 }, /* not beside it */
		{ 23, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 25, UP, 0, 0, 0, 0, 1, 1, 0, 0 },
		/* the warm one first; the prepared one for who comes beside */
		{ 30, COME, 0, 1, 0, 0, 1, 0, 1, 0 },
		{ 31, COME, 0, 1, 0, 0, 0, 0, 2, 0 },
		{ 32, DONE, 0, 2, 0, 0, 0, 2, 0, 0 },
		{ 52, TICK, 0, 0, 0, 1, 0, 2, 0, 0 }, /* and again */
		{ 54, UP, 0, 0, 0, 0, 1, 2, 0, 0 },
		/* scaled to zero: the prepared one stays */
		{ 60032, TICK, 0, 0, 0, 0, 1, 0, 0, 0 },
		{ 100000, COME, 0, 1, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
a_function_not_used_for_an_hour_loses_its_prepared_one(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 23, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 25, UP, 0, 0, 0, 0, 1, 1, 0, 0 },
		{ 3599999, TICK, 0, 0, 0, 0, 1, 0, 0, 0 },
		{ 3600000, TICK, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 3700000, TICK, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* One place, two functions in turn: the place goes to the other one only when
 * it was not used for ten seconds. */
static void
prepared_ones_are_bounded_and_do_not_chase_each_other(void **state)
{
	(void)state;
	world.policy.max_prepared = 1;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 23, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 25, UP, 0, 0, 0, 0, 1, 1, 0, 0 },
		{ 100, COME, 2, 1, 1, 1, 0, 0, 0, 0 },
		{ 102, UP, 2, 0, 0, 0, 0, 0, 1, 0 },
		{ 103, DONE, 2, 1, 0, 0, 0, 1, 0, 0 },
		{ 200, TICK, 2, 0, 0, 0, 0, 1, 0, 0 },
		{ 9000, TICK, 0, 0, 0, 0, 1, 1, 0, 0 },
		{ 10300, TICK, 2, 0, 0, 1, 0, 1, 0, 0 },
		{ 10300, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
with_idle_0_the_next_sandbox_is_made_when_one_is_over(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	world_set(0, LIMIT_IDLE_MS, 0);
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, TICK, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 5, DONE, 0, 1, 0, 1, 0, 0, 0, 0 },
		{ 7, UP, 0, 0, 0, 0, 1, 0, 0, 0 },
		{ 9, COME, 0, 1, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
runtime_is(int pool, const char *runtime, uint64_t most)
{
	strcpy(world.pools[pool].policy.runtime, runtime);
	world.pools[pool].policy.spares_most = most;
}

static void
spares_are(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	const uint64_t wanted[] = { a, b, c, d };

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(world.pools[i].policy.spares, wanted[i]);
}

/* Its start and its end at a millisecond, and a prepared one 30 ms later. */
#define SERVED(at, pool) \
	{ at, COME, pool, 1, 1, 1, 0, 0, 0, 0 }, \
	{ at, UP, pool, 0, 0, 0, 0, 0, 1, 0 }, \
	{ at, DONE, pool, 1, 0, 0, 0, 1, 0, 0 }, \
	{ at + 30, TICK, pool, 0, 0, 1, 0, 1, 0, 0 }, \
	{ at + 31, UP, pool, 0, 0, 0, 1, 1, 0, 0 }

static void
a_prepared_one_of_a_runtime_with_spares_is_booted_and_taken_first(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	runtime_is(0, "python", 1);
	runtime_is(2, "node", 0);
	world_play((const struct row[]) { SERVED(0, 0), SERVED(100, 2),
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(1, 0, 0, 0);
	/* two at once: the warm one and the spare, which is replaced */
	world_play((const struct row[]) {
		{ 200, COME, 0, 2, 0, 0, 0, 0, 2, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(0, 0, 0, 0);
	world_play((const struct row[]) {
		{ 230, TICK, 0, 0, 0, 1, 0, 0, 2, 0 },
		{ 231, UP, 0, 0, 0, 0, 1, 0, 2, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(1, 0, 0, 0);
}

static void
the_spares_of_a_runtime_are_those_of_the_functions_used_last(void **state)
{
	(void)state;
	world.policy.max_prepared = 8;
	for (int i = 0; i < 4; i++)
		runtime_is(i, "python", 2);
	world_play((const struct row[]) { SERVED(0, 0), SERVED(100, 1),
		SERVED(200, 2), { 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	/* a third waits until one was not used for ten seconds */
	spares_are(1, 1, 0, 0);
	world_play((const struct row[]) {
		{ 9000, TICK, 2, 0, 0, 0, 1, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(1, 1, 0, 0);
	world_play((const struct row[]) {
		{ 10500, TICK, 2, 0, 0, 0, 1, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(0, 1, 1, 0);
	/* who lost it is prepared again, without a program: he does not take it
	 * from one who was used later */
	world_play((const struct row[]) {
		{ 10600, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 10601, UP, 0, 0, 0, 0, 1, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(0, 1, 1, 0);
}

static void
a_function_can_refuse_its_spare_and_a_reload_can_take_it(void **state)
{
	(void)state;
	world.policy.max_prepared = 8;
	for (int i = 0; i < 4; i++)
		runtime_is(i, "python", 3);
	world_set(1, LIMIT_SPARE, 0);
	world_play((const struct row[]) { SERVED(0, 0), SERVED(100, 1),
		SERVED(200, 2), { 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(1, 0, 1, 0);
	for (int i = 0; i < 4; i++)
		runtime_is(i, "python", 1);
	world_play((const struct row[]) {
		{ 300, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(0, 0, 1, 0);
	/* and one that allows it again gives it back */
	for (int i = 0; i < 4; i++)
		runtime_is(i, "python", 3);
	world_play((const struct row[]) {
		{ 330, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 331, UP, 0, 0, 0, 0, 1, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 } });
	spares_are(1, 0, 1, 0);
}

static void
what_is_written_over_and_over_is_prepared_once(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 10, CHANGE, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 200, CHANGE, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 400, CHANGE, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 640, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 650, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
what_is_prepared_gives_way_before_what_is_idle(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	world.policy.max_instances = 3;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 23, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 25, UP, 0, 0, 0, 0, 1, 1, 0, 0 },
		{ 30, COME, 2, 1, 1, 1, 0, 0, 0, 0 },
		{ 31, UP, 2, 0, 0, 0, 0, 0, 1, 0 },
		{ 32, COME, 4, 1, 1, 1, 0, 0, 0, 0 },
		{ 32, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* A start that failed because the machine had no more to give: what is prepared
 * goes, and the next start waits until it is gone; what is warm stays. */
static void
for_want_of_descriptors_what_is_prepared_gives_way(void **state)
{
	struct policy_pool *alice = &world.pools[0].policy, *victim;
	struct policy_pool *bob = &world.pools[2].policy;

	(void)state;
	world.policy.max_prepared = 4;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 23, TICK, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 25, UP, 0, 0, 0, 0, 1, 1, 0, 0 },
		{ 30, COME, 2, 1, 1, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	world_move(bob, POLICY_STARTING, POLICY_ENDING);
	assert_ptr_equal(policy_short(bob, world.now_us), alice);
	world_move(alice, POLICY_READY, POLICY_ENDING);
	/* the end of the start that failed makes no room */
	world_move(bob, POLICY_ENDING, POLICY_NONE);
	policy_update(bob, world.now_us);
	assert_null(policy_pick(&world.policy, world.now_us, &victim));
	world_move(alice, POLICY_ENDING, POLICY_NONE);
	assert_ptr_equal(policy_pick(&world.policy, world.now_us, &victim),
	    bob);
	world_move(bob, POLICY_NONE, POLICY_STARTING);
	policy_update(bob, world.now_us);
	world_move(bob, POLICY_STARTING, POLICY_NONE);
	assert_null(policy_short(bob, world.now_us));
	/* and nothing is prepared for a while */
	policy_update(alice, world.now_us);
	assert_null(policy_prepare(&world.policy, world.now_us + 9000000,
	    &victim));
	assert_ptr_equal(policy_prepare(&world.policy, world.now_us + 10000000,
	    &victim), alice);
}

static void
min_instances_are_there_without_a_request_and_stay(void **state)
{
	(void)state;
	world_set(0, LIMIT_MIN_INSTANCES, 2);
	world_play((const struct row[]) {
		{ 0, TICK, 0, 0, 0, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 1, 0, 1, 0, 0 },
		{ 4, UP, 0, 0, 0, 0, 0, 2, 0, 0 },
		{ 500000, TICK, 0, 0, 0, 0, 0, 2, 0, 0 },
		{ 500000, COME, 0, 3, 1, 1, 0, 0, 2, 0 },
		{ 500002, UP, 0, 0, 0, 0, 0, 0, 3, 0 },
		{ 500003, DONE, 0, 3, 0, 0, 0, 3, 0, 0 },
		{ 560003, TICK, 0, 0, 0, 0, 0, 2, 0, 0 }, /* the third ends */
		{ 560004, COME, 0, 1, 0, 0, 0, 1, 1, 0 },
		{ 560005, DIE_LATER, 0, 0, 0, 1, 0, 1, 0, 0 }, /* made good */
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
min_instances_that_cannot_start_are_tried_with_pauses(void **state)
{
	(void)state;
	world_set(0, LIMIT_MIN_INSTANCES, 1);
	world_play((const struct row[]) {
		{ 0, TICK, 0, 0, 0, 1, 0, 0, 0, 0 },
		{ 1, FAIL, 0, 0, 0, 1, 0, 0, 0, 0 },
		{ 2, FAIL, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 251, TICK, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 252, TICK, 0, 0, 0, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
min_instances_take_nobodys_place_and_keep_theirs(void **state)
{
	(void)state;
	world.policy.max_instances = 1;
	world_set(0, LIMIT_MIN_INSTANCES, 1);
	world_play((const struct row[]) {
		{ 0, TICK, 0, 0, 0, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 3, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 3, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	world_set(0, LIMIT_MIN_INSTANCES, 0);
	world_set(4, LIMIT_MIN_INSTANCES, 1);
	world_play((const struct row[]) {
		{ 4, TICK, 4, 0, 0, 0, 0, 0, 0, 0 },
		{ 4, TICK, 2, 0, 1, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
a_drain_prepares_nothing_and_serves_those_who_wait(void **state)
{
	(void)state;
	world.policy.max_prepared = 4;
	world_set(2, LIMIT_MIN_INSTANCES, 1);
	world_play((const struct row[]) {
		{ 0, DRAIN, 2, 0, 0, 0, 0, 0, 0, 0 },
		{ 0, COME, 0, 2, 2, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 3, UP, 0, 0, 0, 0, 0, 0, 2, 0 },
		{ 4, DONE, 0, 2, 0, 0, 0, 2, 0, 0 },
		{ 30, TICK, 0, 0, 0, 0, 0, 2, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_used_function_has_one_prepared_behind_the_request),
		TEST(a_function_not_used_for_an_hour_loses_its_prepared_one),
		TEST(prepared_ones_are_bounded_and_do_not_chase_each_other),
		TEST(with_idle_0_the_next_sandbox_is_made_when_one_is_over),
		TEST(a_prepared_one_of_a_runtime_with_spares_is_booted_and_taken_first),
		TEST(the_spares_of_a_runtime_are_those_of_the_functions_used_last),
		TEST(a_function_can_refuse_its_spare_and_a_reload_can_take_it),
		TEST(what_is_written_over_and_over_is_prepared_once),
		TEST(what_is_prepared_gives_way_before_what_is_idle),
		TEST(for_want_of_descriptors_what_is_prepared_gives_way),
		TEST(min_instances_are_there_without_a_request_and_stay),
		TEST(min_instances_that_cannot_start_are_tried_with_pauses),
		TEST(min_instances_take_nobodys_place_and_keep_theirs),
		TEST(a_drain_prepares_nothing_and_serves_those_who_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
