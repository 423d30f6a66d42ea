#include "tests/unit/pool_guests.h"

static size_t
granted_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < WAITERS_MAX; i++)
		n += guests[i].instance != NULL;
	return n;
}

static void
many_waiters_cause_one_start_at_a_time(void **state)
{
	struct function *function = make(4, 64, 60000);

	(void)state;
	submit(function, 0, 8);
	stage_turn(&stage, 5);
	assert_int_equal(stage.actor_count, 1);
	assert_int_equal(granted_count(), 0);
	assert_int_equal(pools_queued(stage.pools), 8);
	stage_up(&stage, &stage.actors[0]);
	stage_turn(&stage, 0);
	assert_int_equal(granted_count(), 1);
	assert_non_null(guests[0].instance);
	assert_int_equal(stage.actor_count, 2);
}

static void
never_more_than_instances_are_started(void **state)
{
	struct function *function = make(2, 64, 60000);

	(void)state;
	submit(function, 0, 8);
	for (size_t i = 0; i < 2; i++) {
		stage_up(&stage, &stage.actors[i]);
		stage_turn(&stage, 0);
	}
	assert_int_equal(stage.actor_count, 2);
	assert_int_equal(granted_count(), 2);
	leave(&guests[0], NULL);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 2);
	assert_int_equal(guests[2].calls, 1);
	assert_non_null(guests[2].instance);
}

static void
a_free_instance_serves_before_another_is_started(void **state)
{
	struct function *function = make(4, 64, 60000);

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		serve(function, i);
		leave(&guests[i], NULL);
		stage_turn(&stage, 0);
	}
	assert_int_equal(stage.actor_count, 1);
	assert_int_equal(stage.actors[0].instance->served, 5);
}

static void
the_most_recently_used_instance_serves_next(void **state)
{
	struct function *function = make(3, 64, 60000);
	struct instance *last;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		serve(function, i);
	assert_int_equal(stage.actor_count, 3);
	leave(&guests[1], NULL);
	leave(&guests[2], NULL);
	last = guests[0].instance;
	leave(&guests[0], NULL);
	stage_turn(&stage, 0);
	submit(function, 3, 1);
	assert_ptr_equal(guests[3].instance, last);
}

static void
a_full_queue_takes_no_more(void **state)
{
	struct function *function = make(1, 2, 60000);

	(void)state;
	serve(function, 0);
	submit(function, 1, 2);
	assert_int_equal(pool_submit(stage.pools, function,
	    &guests[3].waiter), -EAGAIN);
	assert_int_equal(guests[3].calls, 0);
	leave(&guests[0], NULL);
	stage_turn(&stage, 0);
	assert_non_null(guests[1].instance);
	submit(function, 3, 1);
	assert_int_equal(pools_queued(stage.pools), 2);
}

static void
a_queue_of_none_still_takes_whom_an_instance_can_serve(void **state)
{
	struct function *function = make(1, 0, 60000);

	(void)state;
	submit(function, 0, 1);
	assert_int_equal(pool_submit(stage.pools, function,
	    &guests[1].waiter), -EAGAIN);
	stage_up(&stage, stage_last(&stage));
	stage_turn(&stage, 0);
	assert_non_null(guests[0].instance);
	assert_int_equal(pool_submit(stage.pools, function,
	    &guests[1].waiter), -EAGAIN);
}

static void
who_waits_longer_than_queue_timeout_is_refused(void **state)
{
	struct ctl_function info = stage_function("f", false);
	struct function *function;

	(void)state;
	info.limits.value[LIMIT_INSTANCES] = 1;
	info.limits.value[LIMIT_QUEUE_TIMEOUT_MS] = 300;
	function = stage_put(&stage, &info);
	serve(function, 0);
	submit(function, 1, 1);
	stage_turn(&stage, 30);
	assert_int_equal(guests[1].calls, 0);
	stage_turn(&stage, 350);
	assert_int_equal(guests[1].refusal, POOL_QUEUE_TIMEOUT);
	assert_int_equal(guests[1].calls, 1);
	assert_int_equal(pools_queued(stage.pools), 0);
	assert_non_null(guests[0].instance);
}

static void
one_who_cancels_is_never_called(void **state)
{
	struct function *function = make(1, 64, 60000);

	(void)state;
	submit(function, 0, 2);
	pool_cancel(stage.pools, &guests[0].waiter);
	pool_cancel(stage.pools, &guests[0].waiter);
	stage_up(&stage, stage_last(&stage));
	stage_turn(&stage, 0);
	assert_int_equal(guests[0].calls, 0);
	assert_non_null(guests[1].instance);
}

static void
give_back(void *arg, struct instance *instance)
{
	struct guest *guest = arg;

	guest->calls++;
	pool_return(instance);
}

static struct pool_facts facts;

static void
on_facts(const struct pool_facts *of, void *arg)
{
	(void)arg;
	facts = *of;
}

static void
on_instance(const struct instance *instance, void *arg)
{
	(void)instance;
	(void)arg;
}

static void
one_that_is_given_back_serves_the_next_and_is_prepared_as_before(void **state)
{
	struct function *function = make(1, 64, 60000);

	(void)state;
	for (size_t i = 0; i < 3; i++)
		guests[i].waiter.granted = give_back;
	submit(function, 0, 3);
	stage_up(&stage, &stage.actors[0]);
	stage_turn(&stage, 0);
	assert_int_equal(guests[2].calls, 1);
	pools_each(stage.pools, on_facts, on_instance, NULL);
	assert_int_equal(facts.prepared, 1);
	assert_int_equal(facts.idle + facts.busy + facts.queued, 0);
	assert_int_equal(facts.executions, 0);
	serve(function, 3);
	leave(&guests[3], NULL);
	guests[0].waiter.granted = give_back;
	submit(function, 0, 1);
	pools_each(stage.pools, on_facts, on_instance, NULL);
	assert_int_equal(facts.idle, 1);
	assert_int_equal(facts.executions, 1);
	assert_int_equal(stage.actor_count, 1);
}

static const struct instance *kept;

static void
on_kept(const struct instance *instance, void *arg)
{
	(void)arg;
	kept = instance;
}

/* Else what it had waited until then would stand in no record. */
static void
one_that_is_kept_and_given_back_has_waited_since_before(void **state)
{
	struct ctl_function info = stage_function("f", false);
	struct function *function;
	uint64_t since_us;

	(void)state;
	info.limits.value[LIMIT_INSTANCES] = 1;
	info.limits.value[LIMIT_MIN_INSTANCES] = 1;
	function = stage_put(&stage, &info);
	stage_turn(&stage, 0);
	stage_up(&stage, stage_last(&stage));
	stage_turn(&stage, 0);
	pools_each(stage.pools, on_facts, on_kept, NULL);
	assert_int_equal(facts.idle, 1);
	since_us = kept->idle_since_us;
	stage_tick(&stage);
	guests[0].waiter.granted = give_back;
	submit(function, 0, 1);
	stage_turn(&stage, 0);
	assert_int_equal(guests[0].calls, 1);
	pools_each(stage.pools, on_facts, on_kept, NULL);
	assert_int_equal(facts.idle, 1);
	assert_int_equal(kept->idle_since_us, since_us);
	stage_del(&stage, "f");
}

static void
an_idle_instance_ends_after_its_window_and_not_before(void **state)
{
	struct function *function = make(1, 64, 300);

	(void)state;
	serve(function, 0);
	leave(&guests[0], NULL);
	stage_turn(&stage, 30);
	assert_false(stage.actors[0].is_killed);
	serve(function, 1);
	stage_turn(&stage, 400);
	assert_false(stage.actors[0].is_killed); /* it has work in hand */
	leave(&guests[1], NULL);
	stage_turn(&stage, 30);
	assert_false(stage.actors[0].is_killed);
	stage_turn(&stage, 350);
	assert_true(stage.actors[0].is_killed);
	stage_gone(&stage, &stage.actors[0], 9);
	stage_turn(&stage, 0);
	assert_int_equal(stage.fleet.count, 0);
	assert_int_equal(stage_log_count(&stage, "\"reason\":\"idle\""), 1);
}

/* Its windows, however many there are, have one, which is due when the first of
 * them ends. */
static void
the_idle_instances_of_a_pool_share_one_timer(void **state)
{
	struct function *function = make(8, 64, 60000);
	uint64_t first_us = 0, due_us = 0;
	size_t before;

	(void)state;
	for (size_t i = 0; i < 8; i++)
		serve(function, i);
	before = loop_timers(stage.loop, &due_us);
	for (size_t i = 0; i < 8; i++) {
		stage_tick(&stage);
		leave(&guests[i], NULL);
		stage_turn(&stage, 0);
		assert_int_equal(loop_timers(stage.loop, &due_us), before + 1);
		if (i == 0)
			first_us = due_us;
		assert_int_equal(due_us, first_us);
	}
	/* the last one used serves, so the first window stays that of the first */
	for (size_t i = 0; i < 6; i++) {
		submit(function, i, 1);
		assert_int_equal(loop_timers(stage.loop, &due_us), before + 1);
		assert_int_equal(due_us, first_us);
	}
	/* and is the next one's when the first is gone */
	stage_gone(&stage, &stage.actors[0], 9);
	stage_turn(&stage, 0);
	assert_int_equal(loop_timers(stage.loop, &due_us), before + 1);
	assert_true(due_us > first_us);
	submit(function, 6, 1);
	assert_int_equal(loop_timers(stage.loop, &due_us), before);
}

static void
with_idle_0_every_execution_has_an_instance_of_its_own(void **state)
{
	struct function *function = make(1, 64, 0);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		serve(function, i);
		leave(&guests[i], NULL);
		assert_true(stage_last(&stage)->is_killed);
		stage_gone(&stage, stage_last(&stage), 9);
		stage_turn(&stage, 0);
	}
	assert_int_equal(stage.actor_count, 3);
}

static void
an_instance_ends_after_max_requests(void **state)
{
	struct ctl_function info = stage_function("f", false);
	struct function *function;

	(void)state;
	info.limits.value[LIMIT_MAX_REQUESTS] = 2;
	function = stage_put(&stage, &info);
	serve(function, 0);
	leave(&guests[0], NULL);
	assert_false(stage.actors[0].is_killed);
	serve(function, 1);
	leave(&guests[1], NULL);
	assert_true(stage.actors[0].is_killed);
	stage_gone(&stage, &stage.actors[0], 9);
	stage_turn(&stage, 0);
	assert_int_equal(stage_log_count(&stage,
	    "\"reason\":\"max_requests\""), 1);
}

static void
a_changed_function_retires_the_idle_at_once_and_the_busy_when_done(void **state)
{
	struct ctl_function info = stage_function("f", false);
	struct function *function = stage_put(&stage, &info);

	(void)state;
	serve(function, 0);
	serve(function, 1);
	leave(&guests[0], NULL);
	strcpy(info.version, "fedcba9876543210");
	function = stage_put(&stage, &info);
	assert_true(stage.actors[0].is_killed);
	assert_false(stage.actors[1].is_killed);
	submit(function, 2, 1);
	assert_int_equal(stage.actor_count, 3);
	assert_string_equal(stage_last(&stage)->instance->function->
	    info.version, info.version);
	leave(&guests[1], NULL);
	assert_true(stage.actors[1].is_killed);
	assert_null(guests[2].instance);
}

static void
a_removed_function_refuses_those_who_wait(void **state)
{
	struct function *function = make(1, 64, 60000);

	(void)state;
	serve(function, 0);
	submit(function, 1, 2);
	stage_del(&stage, "f");
	stage_turn(&stage, 0);
	assert_int_equal(guests[1].refusal, POOL_FUNCTION_GONE);
	assert_int_equal(guests[2].refusal, POOL_FUNCTION_GONE);
	assert_false(stage.actors[0].is_killed);
	leave(&guests[0], NULL);
	assert_true(stage.actors[0].is_killed);
}

static bool
said_to_be(const struct function *function, void *arg)
{
	(void)function;
	return *(const bool *)arg;
}

static void
a_new_generation_retires_between_executions(void **state)
{
	struct function *function = make(2, 64, 60000);
	bool is_same = false;

	(void)state;
	serve(function, 0);
	serve(function, 1);
	leave(&guests[0], NULL);
	pools_new_generation(stage.pools, said_to_be, &is_same);
	assert_true(stage.actors[0].is_killed);
	assert_false(stage.actors[1].is_killed);
	leave(&guests[1], NULL);
	assert_true(stage.actors[1].is_killed);
}

static void
a_new_generation_that_says_the_same_keeps_all(void **state)
{
	struct function *function = make(2, 64, 60000);
	bool is_same = true;

	(void)state;
	serve(function, 0);
	serve(function, 1);
	leave(&guests[0], NULL);
	pools_new_generation(stage.pools, said_to_be, &is_same);
	leave(&guests[1], NULL);
	stage_turn(&stage, 0);
	assert_false(stage.actors[0].is_killed);
	assert_false(stage.actors[1].is_killed);
	assert_int_equal(stage.actor_count, 2);
}

static void
one_that_was_asked_for_before_a_new_generation_serves_nobody(void **state)
{
	struct function *function = make(1, 64, 60000);
	bool is_same = false;

	(void)state;
	submit(function, 0, 1);
	stage_turn(&stage, 0);
	pools_new_generation(stage.pools, said_to_be, &is_same);
	stage_up(&stage, &stage.actors[0]);
	stage_turn(&stage, 0);
	assert_true(stage.actors[0].is_killed);
	assert_null(guests[0].instance);
	assert_int_equal(stage.actor_count, 2);
	stage_up(&stage, &stage.actors[1]);
	stage_turn(&stage, 0);
	assert_ptr_equal(guests[0].instance, stage.actors[1].instance);
}

static void
draining_serves_those_who_wait_and_then_retires_all(void **state)
{
	struct function *function = make(1, 64, 60000);

	(void)state;
	serve(function, 0);
	submit(function, 1, 1);
	pools_drain(stage.pools);
	stage_turn(&stage, 0);
	assert_false(stage.actors[0].is_killed);
	leave(&guests[0], NULL);
	stage_turn(&stage, 0);
	assert_non_null(guests[1].instance);
	assert_false(stage.actors[0].is_killed);
	leave(&guests[1], NULL);
	assert_true(stage.actors[0].is_killed);
}

static void
at_the_end_all_are_killed_and_none_is_started_for_who_waits(void **state)
{
	struct function *function = make(2, 64, 60000);

	(void)state;
	serve(function, 0);
	submit(function, 1, 2); /* for whom one is being started */
	assert_int_equal(stage.actor_count, 2);
	pools_end(stage.pools);
	stage_turn(&stage, 0);
	assert_true(stage.actors[0].is_killed);
	assert_true(stage.actors[1].is_killed);
	submit(function, 3, 1); /* or comes later */
	stage_up(&stage, &stage.actors[1]);
	stage_gone(&stage, &stage.actors[1], 9);
	leave(&guests[0], NULL);
	stage_turn(&stage, 100);
	for (size_t i = 1; i < 4; i++) {
		assert_null(guests[i].instance);
		assert_int_equal(guests[i].calls, 1);
		assert_int_equal(guests[i].refusal, POOL_ENDING);
	}
	assert_int_equal(stage.actor_count, 2);
}

static void
messages_about_unknown_instances_are_refused(void **state)
{
	struct ctl_instance_up up = { .id = 99 };
	struct ctl_instance_failed failed = { .id = 99 };
	struct ctl_instance_gone gone = { .id = 99 };
	int fds[1] = { -1 };

	(void)state;
	assert_int_equal(pools_instance_up(stage.pools, &up, fds, 1), -ENOENT);
	assert_int_equal(pools_instance_failed(stage.pools, &failed), -ENOENT);
	assert_int_equal(pools_instance_gone(stage.pools, &gone), -ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_waiters_cause_one_start_at_a_time),
		TEST(never_more_than_instances_are_started),
		TEST(a_free_instance_serves_before_another_is_started),
		TEST(the_most_recently_used_instance_serves_next),
		TEST(a_full_queue_takes_no_more),
		TEST(a_queue_of_none_still_takes_whom_an_instance_can_serve),
		TEST(who_waits_longer_than_queue_timeout_is_refused),
		TEST(one_who_cancels_is_never_called),
		TEST(one_that_is_given_back_serves_the_next_and_is_prepared_as_before),
		TEST(one_that_is_kept_and_given_back_has_waited_since_before),
		TEST(an_idle_instance_ends_after_its_window_and_not_before),
		TEST(the_idle_instances_of_a_pool_share_one_timer),
		TEST(with_idle_0_every_execution_has_an_instance_of_its_own),
		TEST(an_instance_ends_after_max_requests),
		TEST(a_changed_function_retires_the_idle_at_once_and_the_busy_when_done),
		TEST(a_removed_function_refuses_those_who_wait),
		TEST(a_new_generation_retires_between_executions),
		TEST(a_new_generation_that_says_the_same_keeps_all),
		TEST(one_that_was_asked_for_before_a_new_generation_serves_nobody),
		TEST(draining_serves_those_who_wait_and_then_retires_all),
		TEST(at_the_end_all_are_killed_and_none_is_started_for_who_waits),
		TEST(messages_about_unknown_instances_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
