/* What the policy decides, by simulated time: see policy_world.h.  Pools 0 and 1
 * are alice's, 2 and 3 bob's, 4 and 5 carol's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/policy_world.h"

/*      at_ms  op  pool n   waiting starting ready idle busy refused */

/* W46 */
static void
many_waiters_cause_one_start(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 8, 8, 1, 0, 0, 0, 0 },
		{ 1, COME, 0, 8, 16, 1, 0, 0, 0, 0 },
		{ 3, UP, 0, 0, 15, 1, 0, 0, 1, 0 },
		{ 4, UP, 0, 0, 14, 1, 0, 0, 2, 0 },
		{ 5, UP, 0, 0, 13, 1, 0, 0, 3, 0 },
		{ 6, UP, 0, 0, 12, 0, 0, 0, 4, 0 }, /* instances = 4 */
		{ 7, DONE, 0, 4, 8, 0, 0, 0, 4, 0 },
		{ 8, DONE, 0, 8, 0, 0, 0, 0, 4, 0 },
		{ 9, DONE, 0, 4, 0, 0, 0, 4, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
one_that_is_free_is_taken_before_another_is_started(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 3, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 4, COME, 0, 1, 0, 0, 0, 0, 1, 0 },
		{ 5, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Four at a peak; afterwards the load of one keeps one, and the three that
 * were used longest ago end. */
/* W56 */
static void
pools_shrink_to_what_is_needed(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 4, 4, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 3, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 2, 1, 0, 0, 2, 0 },
		{ 3, UP, 0, 0, 1, 1, 0, 0, 3, 0 },
		{ 4, UP, 0, 0, 0, 0, 0, 0, 4, 0 },
		{ 5, DONE, 0, 4, 0, 0, 0, 4, 0, 0 },
		{ 30000, COME, 0, 1, 0, 0, 0, 3, 1, 0 },
		{ 30001, DONE, 0, 1, 0, 0, 0, 4, 0, 0 },
		{ 60004, TICK, 0, 0, 0, 0, 0, 4, 0, 0 },
		{ 60005, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 90000, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 90001, TICK, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Each is the first execution of its instance, after one that was answered. */
static void
play_deaths_after_an_answer(int count)
{
	uint64_t at_ms = 0;

	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 3, COME, 0, 1, 0, 0, 0, 0, 1, 0 },
		{ 4, DIE_LATER, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	for (int i = 0; i < count; i++) {
		at_ms += 1000;
		world_play((const struct row[]) {
			{ at_ms, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
			{ at_ms + 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
			{ at_ms + 2, DIE, 0, 0, 0, 0, 0, 0, 0, 0 },
			{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
		});
	}
}

static void
one_death_is_an_accident_and_the_next_throttle(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DIE, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 3, COME, 0, 1, 1, 1, 0, 0, 0, 0 }, /* tried at once */
		{ 4, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 5, DIE, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 6, COME, 0, 3, 0, 0, 0, 0, 0, 3 }, /* 502 at once */
		{ 6, COME, 1, 1, 1, 1, 0, 0, 0, 0 }, /* nobody else suffers */
		{ 254, COME, 0, 1, 0, 0, 0, 0, 0, 4 },
		{ 255, COME, 0, 1, 1, 1, 0, 0, 0, 4 }, /* 250 ms are over */
		{ 256, UP, 0, 0, 0, 0, 0, 0, 1, 4 },
		{ 257, DIE, 0, 0, 0, 0, 0, 0, 0, 4 },
		{ 756, COME, 0, 1, 0, 0, 0, 0, 0, 5 }, /* 500 ms now */
		{ 757, COME, 0, 1, 1, 1, 0, 0, 0, 5 },
		{ 758, UP, 0, 0, 0, 0, 0, 0, 1, 5 },
		{ 759, DONE, 0, 1, 0, 0, 0, 1, 0, 5 }, /* all is forgotten */
		{ 760, COME, 0, 1, 0, 0, 0, 0, 1, 5 },
		{ 761, DIE, 0, 0, 0, 0, 0, 0, 0, 5 },
		{ 762, COME, 0, 1, 1, 1, 0, 0, 0, 5 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
the_pause_ends_at_thirty_seconds(void **state)
{
	uint64_t now_us = 1, pause_us = 0;
	struct policy_pool *pool = &world.pools[0].policy;

	(void)state;
	for (int i = 0; i < 100; i++) {
		now_us += pause_us;
		assert_false(policy_is_throttled(pool, now_us));
		policy_fail(pool, now_us, now_us);
		pause_us = pool->throttled_until_us == 0 ? 1 :
		    pool->throttled_until_us - now_us;
		assert_true(pause_us <= POLICY_THROTTLE_MAX_US);
	}
	assert_int_equal(pause_us, POLICY_THROTTLE_MAX_US);
}

/* A request that ends the program must not keep it from the others for long: they
 * wait with it, and are not sent away. */
static void
a_version_that_has_answered_is_paused_shortly_and_refuses_nobody(void **state)
{
	(void)state;
	play_deaths_after_an_answer(6);
	world_play((const struct row[]) {
		{ 60000, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 60001, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 60002, DIE, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 60003, COME, 0, 2, 2, 0, 0, 0, 0, 0 },
		{ 60251, TICK, 0, 0, 2, 0, 0, 0, 0, 0 },
		{ 60252, TICK, 0, 0, 2, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	/* of a new version nothing is known */
	world_play((const struct row[]) {
		{ 61000, FAIL, 0, 0, 2, 0, 0, 0, 0, 0 },
		{ 61001, CHANGE, 0, 0, 2, 1, 0, 0, 0, 0 },
		{ 61002, FAIL, 0, 0, 2, 1, 0, 0, 0, 0 },
		{ 61003, FAIL, 0, 0, 0, 0, 0, 0, 0, 2 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
those_that_die_of_one_cause_are_one_failure(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 4, 4, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 3, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 2, 1, 0, 0, 2, 0 },
		{ 3, UP, 0, 0, 1, 1, 0, 0, 3, 0 },
		{ 10, DIE, 0, 0, 1, 1, 0, 0, 2, 0 },
		{ 11, DIE, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 12, DIE, 0, 0, 1, 1, 0, 0, 0, 0 },
		{ 13, UP, 0, 0, 0, 0, 0, 0, 1, 0 }, /* not throttled */
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
a_death_after_an_answer_throttles_nobody(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 3, COME, 0, 1, 0, 0, 0, 0, 1, 0 },
		{ 4, DIE_LATER, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 5, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* While one instance works the others' deaths hold back starts, not requests:
 * it serves them. */
static void
a_throttled_function_is_served_by_what_works(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 2, 2, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 2, FAIL, 0, 0, 1, 1, 0, 0, 1, 0 },
		{ 3, FAIL, 0, 0, 1, 0, 0, 0, 1, 0 },
		{ 4, TICK, 0, 0, 1, 0, 0, 0, 1, 0 },
		{ 5, DONE, 0, 1, 0, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
a_new_version_is_tried_at_once(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, FAIL, 0, 0, 1, 1, 0, 0, 0, 0 },
		{ 2, FAIL, 0, 0, 0, 0, 0, 0, 0, 1 },
		{ 3, COME, 0, 1, 0, 0, 0, 0, 0, 2 },
		{ 4, CHANGE, 0, 0, 0, 0, 0, 0, 0, 2 },
		{ 5, COME, 0, 1, 1, 1, 0, 0, 0, 2 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Two starts are asked for at a time.  Alice's herd came first; bob and carol
 * wait for what is under way, not for the herd. */
static void
a_herd_of_one_tenant_does_not_delay_another(void **state)
{
	(void)state;
	world_play((const struct row[]) {
		{ 0, COME, 0, 9, 9, 1, 0, 0, 0, 0 },
		{ 0, COME, 1, 9, 9, 1, 0, 0, 0, 0 },
		{ 1, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 1, COME, 4, 1, 1, 0, 0, 0, 0, 0 },
		{ 2, UP, 0, 0, 8, 0, 0, 0, 1, 0 },
		{ 2, TICK, 2, 0, 1, 1, 0, 0, 0, 0 }, /* bob */
		{ 4, UP, 1, 0, 8, 0, 0, 0, 1, 0 },
		{ 4, TICK, 4, 0, 1, 1, 0, 0, 0, 0 }, /* carol */
		{ 6, UP, 2, 0, 0, 0, 0, 0, 1, 0 },
		{ 6, TICK, 0, 0, 8, 1, 0, 0, 1, 0 }, /* alice again */
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
at_the_hosts_ceiling_what_is_idle_longest_gives_way(void **state)
{
	(void)state;
	world.policy.max_instances = 2;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 0, COME, 2, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 1, UP, 2, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 3, DONE, 2, 1, 0, 0, 0, 1, 0, 0 },
		{ 4, COME, 4, 1, 1, 1, 0, 0, 0, 0 },
		{ 4, TICK, 0, 0, 0, 0, 0, 0, 0, 0 }, /* gave way */
		{ 4, TICK, 2, 0, 0, 0, 0, 1, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Bob has no more than alice: her warm instance is hers, however long he waits.
 * Carol has none, and may have it. */
static void
a_warm_instance_goes_only_to_who_has_fewer(void **state)
{
	(void)state;
	world.policy.max_instances = 2;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 0, COME, 2, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 1, UP, 2, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, DONE, 0, 1, 0, 0, 0, 1, 0, 0 },
		{ 3, COME, 2, 3, 3, 0, 0, 0, 1, 0 },
		{ 9000, TICK, 0, 0, 0, 0, 0, 1, 0, 0 },
		{ 9001, COME, 4, 1, 1, 1, 0, 0, 0, 0 },
		{ 9001, TICK, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* All places are alice's and her queue is long: bob's first request has the
 * next place, and they end with two each. */
static void
at_the_hosts_ceiling_who_has_more_gives_to_who_has_less(void **state)
{
	(void)state;
	world.policy.max_instances = 4;
	world_play((const struct row[]) {
		{ 0, COME, 0, 30, 30, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 29, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 28, 1, 0, 0, 2, 0 },
		{ 3, UP, 0, 0, 27, 1, 0, 0, 3, 0 },
		{ 4, UP, 0, 0, 26, 0, 0, 0, 4, 0 },
		{ 5, COME, 2, 30, 30, 0, 0, 0, 0, 0 },
		{ 6, DONE, 0, 1, 26, 0, 0, 0, 3, 0 }, /* not reused */
		{ 6, TICK, 2, 0, 30, 1, 0, 0, 0, 0 },
		{ 7, UP, 2, 0, 29, 0, 0, 0, 1, 0 },
		{ 8, DONE, 0, 1, 26, 0, 0, 0, 2, 0 },
		{ 8, TICK, 2, 0, 29, 1, 0, 0, 1, 0 },
		{ 9, UP, 2, 0, 28, 0, 0, 0, 2, 0 },
		{ 10, DONE, 0, 2, 24, 0, 0, 0, 2, 0 }, /* two each: keeps */
		{ 11, DONE, 2, 2, 26, 0, 0, 0, 2, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

/* Whatever comes first in an iteration: the start of one, or the serving of
 * another whose instance has just come up. */
static void
what_was_started_for_one_who_waits_is_nobody_elses(void **state)
{
	struct policy_pool *alice = &world.pools[0].policy, *victim;
	struct policy_pool *bob = &world.pools[2].policy;

	(void)state;
	world.policy.max_instances = 1;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
	world_move(alice, POLICY_STARTING, POLICY_READY);
	policy_update(alice, world.now_us);
	assert_true(bob->is_hungry);
	assert_null(policy_pick(&world.policy, world.now_us, &victim));
	world_move(alice, POLICY_READY, POLICY_IDLE);
	assert_null(policy_pick(&world.policy, world.now_us, &victim));
}

static void
with_one_place_who_waits_longest_has_it(void **state)
{
	(void)state;
	world.policy.max_instances = 1;
	world_play((const struct row[]) {
		{ 0, COME, 0, 1, 1, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 2, COME, 2, 1, 1, 0, 0, 0, 0, 0 },
		{ 3, COME, 0, 5, 5, 0, 0, 0, 1, 0 },
		{ 4, DONE, 0, 1, 5, 0, 0, 0, 0, 0 }, /* bob came first */
		{ 4, TICK, 2, 0, 1, 1, 0, 0, 0, 0 },
		{ 5, UP, 2, 0, 0, 0, 0, 0, 1, 0 },
		{ 6, DONE, 2, 1, 0, 0, 0, 0, 0, 0 },
		{ 6, TICK, 0, 0, 5, 1, 0, 0, 0, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
a_tenant_at_its_ceiling_waits_and_slows_nobody(void **state)
{
	(void)state;
	world_set(0, LIMIT_MAX_INSTANCES, 2);
	world_set(1, LIMIT_MAX_INSTANCES, 2);
	world_play((const struct row[]) {
		{ 0, COME, 0, 5, 5, 1, 0, 0, 0, 0 },
		{ 1, UP, 0, 0, 4, 1, 0, 0, 1, 0 },
		{ 2, UP, 0, 0, 3, 0, 0, 0, 2, 0 }, /* her ceiling */
		{ 3, COME, 1, 1, 1, 0, 0, 0, 0, 0 }, /* her other function */
		{ 4, COME, 2, 1, 1, 1, 0, 0, 0, 0 }, /* bob is not held up */
		{ 5, DONE, 0, 1, 3, 0, 0, 0, 1, 0 },
		{ 5, TICK, 1, 0, 1, 1, 0, 0, 0, 0 }, /* one each */
		{ 6, UP, 1, 0, 0, 0, 0, 0, 1, 0 },
		{ 7, DONE, 0, 1, 2, 0, 0, 0, 1, 0 },
		{ 0, END, 0, 0, 0, 0, 0, 0, 0, 0 },
	});
}

static void
max_requests_differ_between_instances_by_a_tenth_at_most(void **state)
{
	const struct policy_pool *pool = &world.pools[0].policy;
	uint64_t seen[3] = { 0, 0, 0 };

	(void)state;
	assert_int_equal(policy_max_served(pool, 1), 0); /* none is set */
	world_set(0, LIMIT_MAX_REQUESTS, 1000);
	for (uint64_t id = 1; id <= 300; id++) {
		uint64_t most = policy_max_served(pool, id);

		assert_true(most >= 900 && most <= 1000);
		assert_int_equal(most, policy_max_served(pool, id));
		assert_int_not_equal(most, policy_max_served(pool, id + 1));
		seen[most < 933 ? 0 : most < 967 ? 1 : 2]++;
	}
	for (int i = 0; i < 3; i++)
		assert_true(seen[i] > 50);
	world_set(0, LIMIT_MAX_REQUESTS, 9); /* exact where a tenth is nothing */
	for (uint64_t id = 1; id <= 300; id++)
		assert_int_equal(policy_max_served(pool, id), 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_waiters_cause_one_start),
		TEST(one_that_is_free_is_taken_before_another_is_started),
		TEST(pools_shrink_to_what_is_needed),
		TEST(one_death_is_an_accident_and_the_next_throttle),
		TEST(the_pause_ends_at_thirty_seconds),
		TEST(a_version_that_has_answered_is_paused_shortly_and_refuses_nobody),
		TEST(those_that_die_of_one_cause_are_one_failure),
		TEST(a_death_after_an_answer_throttles_nobody),
		TEST(a_throttled_function_is_served_by_what_works),
		TEST(a_new_version_is_tried_at_once),
		TEST(a_herd_of_one_tenant_does_not_delay_another),
		TEST(at_the_hosts_ceiling_what_is_idle_longest_gives_way),
		TEST(a_warm_instance_goes_only_to_who_has_fewer),
		TEST(at_the_hosts_ceiling_who_has_more_gives_to_who_has_less),
		TEST(what_was_started_for_one_who_waits_is_nobody_elses),
		TEST(with_one_place_who_waits_longest_has_it),
		TEST(a_tenant_at_its_ceiling_waits_and_slows_nobody),
		TEST(max_requests_differ_between_instances_by_a_tenth_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
