#include "tests/unit/pool_guests.h"

#include <fcntl.h>
#include <sys/resource.h>

static void
a_failed_start_refuses_one_and_the_next_is_tried_for_the_others(void **state)
{
	struct function *function = make(4, 64, 60000);

	(void)state;
	submit(function, 0, 3);
	stage_failed(&stage, &stage.actors[0], EIO);
	stage_turn(&stage, 0);
	assert_int_equal(guests[0].refusal, POOL_START_FAILED);
	assert_int_equal(guests[1].calls, 0);
	assert_int_equal(stage.actor_count, 2);
	stage_up(&stage, &stage.actors[1]);
	stage_turn(&stage, 0);
	assert_non_null(guests[1].instance);
}

static void
a_start_that_failed_for_a_shortage_is_no_fault_of_the_function(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM, EAGAIN };
	struct function *function = make(4, 64, 60000);

	(void)state;
	submit(function, 0, 4);
	for (size_t i = 0; i < 4; i++) {
		stage_failed(&stage, &stage.actors[i], errors[i]);
		stage_turn(&stage, 0);
		assert_int_equal(guests[i].refusal, POOL_SHORTAGE);
	}
}

static void
a_start_of_a_removed_function_sends_all_away(void **state)
{
	struct function *function = make(4, 64, 60000);

	(void)state;
	submit(function, 0, 2);
	stage_failed(&stage, &stage.actors[0], EIDRM);
	stage_turn(&stage, 0);
	assert_int_equal(guests[0].refusal, POOL_FUNCTION_GONE);
	assert_int_equal(guests[1].refusal, POOL_FUNCTION_GONE);
	assert_int_equal(stage.actor_count, 1);
}

static void
a_start_of_an_old_version_costs_nobody_his_place(void **state)
{
	struct function *function = make(4, 64, 60000);

	(void)state;
	submit(function, 0, 1);
	stage_failed(&stage, &stage.actors[0], ESTALE);
	stage_turn(&stage, 0);
	assert_int_equal(guests[0].calls, 0);
	assert_int_equal(pools_queued(stage.pools), 1);
}

static void
a_spawner_that_cannot_be_asked_refuses_all_who_wait(void **state)
{
	struct function *function = make(4, 64, 60000);

	(void)state;
	stage.start_error = -EMFILE;
	submit(function, 0, 2);
	assert_int_equal(guests[0].refusal, POOL_SHORTAGE);
	assert_int_equal(guests[1].refusal, POOL_SHORTAGE);
	assert_int_equal(stage.fleet.count, 0);
}

static void
without_room_for_its_record_no_instance_is_started(void **state)
{
	struct function *function = make(4, 64, 60000);
	struct record_host host = { .event = "start" };

	(void)state;
	/* a ledger that has a line and no file is one that fails */
	ledger_free(stage.ledger);
	stage.ledger = stage.fleet.ledger =
	    ledger_new(stage.inflight, STAGE_RUN_ID);
	assert_int_equal(ledger_host(stage.ledger, &host), 0);
	ledger_flush(stage.ledger);
	assert_true(ledger_is_failing(stage.ledger));
	submit(function, 0, 2);
	assert_int_equal(stage.actor_count, 0);
	assert_int_equal(guests[0].refusal, POOL_NO_SPACE);
	assert_int_equal(guests[1].refusal, POOL_NO_SPACE);
}

/* Another cause than a full disk, and no failed write yet: it is no failure of
 * the function's either. */
static void
a_log_that_may_not_grow_is_no_fault_of_the_function(void **state)
{
	struct function *function = make(4, 64, 60000);
	struct rlimit limit, none = { 0 };
	int log_fd = fcntl(stage.log_fd, F_DUPFD_CLOEXEC, 3);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none.rlim_max = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	/* it is asked for when a log is switched to */
	assert_int_equal(ledger_switch(stage.ledger, log_fd, false), 0);
	for (size_t i = 0; i < 3; i++) {
		submit(function, i, 1);
		stage_turn(&stage, 0);
		assert_int_equal(guests[i].refusal, POOL_NO_SPACE);
	}
	assert_int_equal(stage.actor_count, 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	log_fd = fcntl(stage.log_fd, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(ledger_switch(stage.ledger, log_fd, false), 0);
	submit(function, 3, 1);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 1);
}

/* g has a prepared instance, f's start fails. */
static struct actor *
prepared_beside_a_failing_start(struct function **f)
{
	struct ctl_function info = stage_function("g", false);
	struct actor *prepared;

	*f = make(4, 64, 60000);
	pools_set_limits(stage.pools, 0, 4);
	submit(stage_put(&stage, &info), 0, 1);
	prepared = stage_last(&stage);
	pool_cancel(stage.pools, &guests[0].waiter);
	stage_up(&stage, prepared);
	stage_turn(&stage, 0);
	submit(*f, 1, 1);
	assert_int_equal(stage.actor_count, 2);
	return prepared;
}

static void
for_want_of_descriptors_a_prepared_one_ends_before_the_next_try(void **state)
{
	struct function *f;
	struct actor *prepared = prepared_beside_a_failing_start(&f);

	(void)state;
	stage_failed(&stage, stage_last(&stage), EMFILE);
	stage_turn(&stage, 5);
	assert_true(prepared->is_killed);
	assert_int_equal(stage.actor_count, 2); /* not before it is gone */
	assert_int_equal(guests[1].calls, 0);
	stage_gone(&stage, prepared, 9);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 3);
	/* with nothing left to give up it costs him his place */
	stage_failed(&stage, stage_last(&stage), EMFILE);
	stage_turn(&stage, 0);
	assert_int_equal(guests[1].refusal, POOL_SHORTAGE);
}

/* A tenant may run out of processes of his own as often as he likes. */
static void
for_want_of_processes_nobody_else_loses_anything(void **state)
{
	struct function *f;
	struct actor *prepared = prepared_beside_a_failing_start(&f);

	(void)state;
	stage_failed(&stage, stage_last(&stage), EAGAIN);
	stage_turn(&stage, 0);
	assert_int_equal(guests[1].refusal, POOL_SHORTAGE);
	assert_false(prepared->is_killed);
}

static void
a_start_that_cannot_be_asked_for_costs_nobody_an_instance(void **state)
{
	struct function *f;
	struct actor *prepared;

	(void)state;
	prepared = prepared_beside_a_failing_start(&f);
	stage_failed(&stage, stage_last(&stage), EIO);
	stage_turn(&stage, 0);
	pools_set_limits(stage.pools, 1, 4);
	stage.start_error = -ENOMEM;
	submit(f, 2, 1);
	stage_turn(&stage, 0);
	assert_int_equal(guests[2].refusal, POOL_SHORTAGE);
	assert_false(prepared->is_killed);
}

/* Until the scanner's word is here each start would end like the one before. */
static void
a_stale_start_is_not_tried_without_a_pause(void **state)
{
	static const int errors[] = { ESTALE, EIDRM };
	struct ctl_function info = stage_function("f", false);
	struct function *function;

	(void)state;
	info.limits.value[LIMIT_MIN_INSTANCES] = 1;
	function = stage_put(&stage, &info);
	stage_turn(&stage, 0);
	for (size_t i = 0; i < 2; i++) {
		size_t before = stage.actor_count;

		if (i == 0)
			submit(function, 0, 1);
		stage_failed(&stage, stage_last(&stage), errors[i]);
		for (int turn = 0; turn < 20; turn++)
			stage_turn(&stage, 1);
		assert_int_equal(stage.actor_count, before);
		stage_turn(&stage, 300);
		assert_int_equal(stage.actor_count, before + 1);
	}
	stage_del(&stage, "f"); /* or it would be made good for ever */
}

static void
a_boot_that_lacks_descriptors_is_no_fault_of_the_function(void **state)
{
	struct ctl_function info = stage_function("f", true);
	struct function *function;

	(void)state;
	info.limits.value[LIMIT_MIN_INSTANCES] = 1;
	stage.boot_error = -EMFILE;
	function = stage_put(&stage, &info);
	for (int i = 0; i < 3; i++) {
		stage_turn(&stage, 300);
		stage_up(&stage, stage_last(&stage));
		stage_turn(&stage, 0);
		assert_true(stage_last(&stage)->is_killed);
		stage_gone(&stage, stage_last(&stage), 9);
	}
	stage.boot_error = 0;
	submit(function, 0, 1);
	stage_turn(&stage, 300);
	assert_int_equal(guests[0].refusal, -1);
	stage_up(&stage, stage_last(&stage));
	stage_turn(&stage, 0);
	assert_non_null(guests[0].instance);
	stage_del(&stage, "f");
}

static void
an_instance_that_dies_while_starting_is_replaced(void **state)
{
	struct function *function = make(4, 64, 60000);

	(void)state;
	submit(function, 0, 1);
	stage_gone(&stage, &stage.actors[0], 9);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 2);
	stage_up(&stage, &stage.actors[1]);
	stage_turn(&stage, 0);
	assert_non_null(guests[0].instance);
}

static void
an_instance_that_comes_up_without_its_descriptors_costs_one_who_waits(
    void **state)
{
	struct function *function = make(4, 64, 60000);
	struct ctl_instance_up up = { .id = 1 };

	(void)state;
	submit(function, 0, 2);
	assert_int_equal(pools_instance_up(stage.pools, &up, NULL, 0),
	    -EMFILE);
	assert_int_equal(guests[0].refusal, POOL_SHORTAGE);
	assert_int_equal(guests[1].calls, 0);
	assert_true(stage.actors[0].is_killed);
	stage_gone(&stage, &stage.actors[0], 9);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 2);
	stage_up(&stage, &stage.actors[1]);
	stage_turn(&stage, 0);
	assert_non_null(guests[1].instance);
}

static void
an_instance_that_dies_idle_serves_nobody(void **state)
{
	struct function *function = make(1, 64, 60000);

	(void)state;
	serve(function, 0);
	leave(&guests[0], NULL);
	stage_turn(&stage, 0);
	stage_gone(&stage, &stage.actors[0], 9);
	submit(function, 1, 1);
	assert_null(guests[1].instance);
	assert_int_equal(stage.actor_count, 2);
	assert_int_equal(stage_log_count(&stage, "\"reason\":\"died\""), 1);
}

static void
an_instance_whose_program_ends_while_it_waits_serves_nobody(void **state)
{
	struct function *function = make(1, 64, 60000);

	(void)state;
	serve(function, 0);
	leave(&guests[0], NULL);
	stage_turn(&stage, 0);
	actor_report(&stage.actors[0], INIT_EXIT, 0);
	stage_turn(&stage, 0);
	assert_true(stage.actors[0].is_killed);
	submit(function, 1, 1); /* it is dying, but not gone yet */
	assert_null(guests[1].instance);
	stage_gone(&stage, &stage.actors[0], 0);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 2);
	stage_up(&stage, &stage.actors[1]);
	stage_turn(&stage, 0);
	assert_non_null(guests[1].instance);
}

static void
an_instance_that_dies_busy_stays_until_its_user_lets_go(void **state)
{
	struct function *function = make(1, 64, 60000);

	(void)state;
	serve(function, 0);
	stage_gone(&stage, &stage.actors[0], 9);
	stage_turn(&stage, 0);
	assert_int_equal(guests[0].instance->state, INSTANCE_GONE);
	assert_int_equal(stage.fleet.count, 1);
	leave(&guests[0], NULL);
	stage_turn(&stage, 0);
	assert_int_equal(stage.fleet.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_failed_start_refuses_one_and_the_next_is_tried_for_the_others),
		TEST(a_start_that_failed_for_a_shortage_is_no_fault_of_the_function),
		TEST(a_start_of_a_removed_function_sends_all_away),
		TEST(a_start_of_an_old_version_costs_nobody_his_place),
		TEST(a_spawner_that_cannot_be_asked_refuses_all_who_wait),
		TEST(without_room_for_its_record_no_instance_is_started),
		TEST(a_log_that_may_not_grow_is_no_fault_of_the_function),
		TEST(for_want_of_descriptors_a_prepared_one_ends_before_the_next_try),
		TEST(for_want_of_processes_nobody_else_loses_anything),
		TEST(a_start_that_cannot_be_asked_for_costs_nobody_an_instance),
		TEST(a_stale_start_is_not_tried_without_a_pause),
		TEST(a_boot_that_lacks_descriptors_is_no_fault_of_the_function),
		TEST(an_instance_that_dies_while_starting_is_replaced),
		TEST(an_instance_that_comes_up_without_its_descriptors_costs_one_who_waits),
		TEST(an_instance_that_dies_idle_serves_nobody),
		TEST(an_instance_whose_program_ends_while_it_waits_serves_nobody),
		TEST(an_instance_that_dies_busy_stays_until_its_user_lets_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
