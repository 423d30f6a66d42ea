/* init stands inside the sandbox: what it says wrongly, twice or without end
 * costs its own execution and instance, and no record more or less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/play.h"

/* One execution, one record, and the host serves on with another instance. */
static void
only_itself(struct play *play, struct actor *actor, const char *outcome)
{
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(play_records(play, outcome), 1);
	assert_int_equal(play->stage.server.active, 0);
	if (actor->is_killed && !actor->is_gone)
		play_gone(play, actor, 9);
	play_reconnect(play);
	play_say(play, play_dispatch(play, "GET", ""), PLAIN "next");
	play_end(play, stage_last(&play->stage), 0);
	assert_true(play_has(play, "next"));
	assert_int_equal(play_executions(play), 2);
}

static void
a_report_of_another_serial_is_no_end_of_this_execution(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "half of");
	actor->order.serial += 7;
	actor_report(actor, INIT_EXIT, 0);
	play_turn(play, 0);
	assert_true(play->web.is_cut);
	assert_true(actor->is_killed);
	only_itself(play, actor, "error");
}

static void
an_end_that_is_reported_twice_is_recorded_once(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "hello");
	actor_close(actor);
	actor_report(actor, INIT_EXIT, 0);
	actor_report(actor, INIT_EXIT, 0);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	only_itself(play, actor, "ok");
}

static void
an_end_that_is_reported_again_later_costs_the_instance(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	assert_false(actor->is_killed);
	actor_report(actor, INIT_EXIT, 0);
	play_turn(play, 0);
	assert_true(actor->is_killed);
	only_itself(play, actor, "ok");
}

static void
an_end_while_the_pipe_is_held_open_waits_for_the_deadline(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_TIMEOUT_MS] = 100;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	play_say(play, actor, PLAIN "half of");
	actor_report(actor, INIT_EXIT, 0);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 0);
	play_turn(play, 200);
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	assert_true(play->web.is_cut);
	only_itself(play, actor, "timeout");
}

static void
a_flood_of_measures_that_nobody_asked_for_changes_nothing(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	struct init_report report = { .magic = INIT_MAGIC,
		.type = INIT_MEMORY, .memory_kib = UINT64_MAX };
	int sent = 0;

	while (sock_send(actor->init_fd, &report, sizeof(report), NULL, 0) ==
	    0)
		sent++;
	assert_true(sent > 16);
	for (int i = 0; i < sent; i++)
		play_turn(play, 0);
	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"mem_peak_kib\":512,"), 1);
	only_itself(play, actor, "ok");
}

static struct instance *
of(struct actor *actor)
{
	return (struct instance *)actor->instance;
}

static void
what_it_holds_can_be_asked_in_mid_execution_and_nothing_else_changes(
    void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	struct init_order running = actor->order;
	enum ctl_memory_source source;

	assert_int_equal(instance_memory_held(of(actor), &source), 0);
	assert_int_equal(source, CTL_MEMORY_UNKNOWN);
	instance_look(of(actor));
	instance_look(of(actor)); /* one is on its way already */
	assert_int_equal(play->stage.fleet.looks_due, 1);
	assert_true(actor_order(actor));
	assert_int_equal(actor->order.type, INIT_LOOK);
	actor_report(actor, INIT_HELD, 0);
	play_turn(play, 0);
	assert_false(actor_order(actor));
	assert_int_equal(play->stage.fleet.looks_due, 0);
	assert_int_equal(instance_memory_held(of(actor), &source), 512);
	assert_int_equal(source, CTL_MEMORY_PSS);
	of(actor)->share_kib = 0; /* one of its processes did not show it */
	assert_int_equal(instance_memory_held(of(actor), &source), 400);
	assert_int_equal(source, CTL_MEMORY_RSS);
	actor->order = running;
	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	only_itself(play, actor, "ok");
}

static void
one_that_goes_without_its_answer_is_waited_for_no_longer(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	instance_look(of(actor));
	assert_int_equal(play->stage.fleet.looks_due, 1);
	play_gone(play, actor, 9);
	assert_int_equal(play->stage.fleet.looks_due, 0);
	only_itself(play, actor, "crash");
}

static void
what_it_holds_that_nobody_asked_for_costs_the_instance(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "half of");
	actor_report(actor, INIT_HELD, 0);
	play_turn(play, 0);
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	assert_true(play->web.is_cut);
	only_itself(play, actor, "crash");
}

static void
garbage_in_mid_execution_ends_it_with_a_cut(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "half of");
	assert_int_equal(sock_send(actor->init_fd, "x", 1, NULL, 0), 0);
	play_turn(play, 0);
	assert_true(actor->is_killed);
	assert_int_equal(play_executions(play), 0);
	play_gone(play, actor, 9);
	assert_true(play->web.is_cut);
	assert_int_equal(stage_log_count(&play->stage, "\"reason\":\"init\""),
	    1);
	only_itself(play, actor, "crash");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_report_of_another_serial_is_no_end_of_this_execution),
		TEST(an_end_that_is_reported_twice_is_recorded_once),
		TEST(an_end_that_is_reported_again_later_costs_the_instance),
		TEST(an_end_while_the_pipe_is_held_open_waits_for_the_deadline),
		TEST(a_flood_of_measures_that_nobody_asked_for_changes_nothing),
		TEST(
		    what_it_holds_can_be_asked_in_mid_execution_and_nothing_else_changes),
		TEST(one_that_goes_without_its_answer_is_waited_for_no_longer),
		TEST(what_it_holds_that_nobody_asked_for_costs_the_instance),
		TEST(garbage_in_mid_execution_ends_it_with_a_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
