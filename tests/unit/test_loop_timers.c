#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/loop_probe.h"

/* Timers */

struct tick {
	struct loop_timer timer;
	struct probe *probe;
	uint64_t when_us;
	bool is_cancelled, has_fired;
};

static uint64_t last_fired_us;
static int fired;

static void
on_tick(void *arg)
{
	struct tick *tick = arg;

	assert_false(tick->is_cancelled);
	assert_false(tick->has_fired);
	assert_int_equal(tick->timer.place, 0);
	assert_true(tick->when_us >= last_fired_us);
	assert_true(loop_clock_us() >= tick->when_us);
	tick->has_fired = true;
	last_fired_us = tick->when_us;
	fired++;
}

static void
timers_fire_in_order_never_early_and_not_when_cancelled(void **state)
{
	enum { COUNT = 2000 };
	struct probe *probe = *state;
	struct tick *ticks = calloc(COUNT, sizeof(*ticks));
	uint64_t start = loop_clock_us();
	unsigned seed = 12345;
	int wanted = COUNT;

	assert_non_null(ticks);
	last_fired_us = 0;
	fired = 0;
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < COUNT; i++) {
			seed = seed * 1103515245 + 12345;
			ticks[i].when_us = start + 20000 + (seed >> 8) % 60000;
			assert_int_equal(loop_timer_set(probe->loop,
			    &ticks[i].timer, ticks[i].when_us, on_tick,
			    &ticks[i]), 0);
		}
	for (int i = 0; i < COUNT; i += 3) {
		ticks[i].is_cancelled = true;
		loop_timer_cancel(probe->loop, &ticks[i].timer);
		loop_timer_cancel(probe->loop, &ticks[i].timer);
		wanted--;
	}
	probe_run_ms(probe, 150);
	assert_int_equal(fired, wanted);
	free(ticks);
}

static void
cancel_next(void *arg)
{
	struct probe *probe = arg;

	probe->count++;
	loop_timer_cancel(probe->loop, &probe->timer);
	loop_timer_cancel(probe->loop, &probe->victim->timer);
}

static void
a_timer_cancelled_by_another_that_is_due_does_not_fire(void **state)
{
	struct probe *probe = *state, victim = { 0 };
	uint64_t now_us = loop_clock_us();

	probe->victim = &victim;
	loop_timer_set(probe->loop, &probe->timer, now_us, cancel_next, probe);
	loop_timer_set(probe->loop, &victim.timer, now_us, cancel_next, probe);
	probe_run_ms(probe, 10);
	assert_int_equal(probe->count, 1);
}

static void
again_at_once(void *arg)
{
	struct probe *probe = arg;

	probe->count++;
	loop_timer_set(probe->loop, &probe->timer, loop_now_us(probe->loop),
	    again_at_once, probe);
}

static void
a_timer_set_anew_for_the_past_does_not_starve_descriptors(void **state)
{
	struct probe *probe = *state;

	probe->wanted = 1;
	assert_int_equal(write(probe->fds[1], "x", 1), 1);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, probe_on_events, probe), 0);
	loop_timer_set(probe->loop, &probe->timer, 0, again_at_once, probe);
	probe_run(probe);
	assert_true((probe->events & EPOLLIN) != 0);
}

static void
count_iteration(void *arg)
{
	((struct probe *)arg)->count++;
}

static void
a_timer_for_the_end_of_time_neither_fires_nor_spins(void **state)
{
	struct probe *probe = *state;

	assert_int_equal(loop_timer_set(probe->loop, &probe->timer, UINT64_MAX,
	    probe_out_of_time, NULL), 0);
	loop_set_hook(probe->loop, count_iteration, probe);
	probe_run_ms(probe, 20);
	/* The far timer alone: the descriptor ends the wait. */
	probe->count = 0;
	probe->wanted = 1;
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLOUT, probe_on_events, probe), 0);
	assert_int_equal(loop_run(probe->loop), 0);
	/* Once as an event, once as an iteration. */
	assert_int_equal(probe->count, 2);
	loop_set_hook(probe->loop, NULL, NULL);
	/* And with no timer at all. */
	loop_timer_cancel(probe->loop, &probe->timer);
	probe->count = 0;
	assert_int_equal(loop_run(probe->loop), 0);
	assert_int_equal(probe->count, 1);
}

static long
switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_nvcsw;
}

static void
the_loop_sleeps_without_a_wake_up_until_the_next_timer(void **state)
{
	struct probe *probe = *state;
	long before = switches();

	loop_set_hook(probe->loop, count_iteration, probe);
	probe_run_ms(probe, 300);
	loop_set_hook(probe->loop, NULL, NULL);
	assert_int_equal(probe->count, 1);
	assert_true(switches() - before <= 3);
}

/* Tasks and hook */

static void
task_two(void *arg)
{
	probe_note(arg, '2');
}

static void
task_one(void *arg)
{
	struct probe *probe = arg;

	probe_note(probe, '1');
	loop_defer(probe->loop, &probe->second, task_two, probe);
}

static void
defer_and_stop(void *arg)
{
	struct probe *probe = arg;

	probe_note(probe, 't');
	loop_defer(probe->loop, &probe->task, task_one, probe);
	loop_defer(probe->loop, &probe->task, task_one, probe);
	loop_stop(probe->loop);
}

static void
hook(void *arg)
{
	struct probe *probe = arg;

	probe_note(probe, 'h');
	if (strchr(probe->order, 'h') == strrchr(probe->order, 'h'))
		loop_defer(probe->loop, &probe->task, task_two, probe);
}

static void
begin(void *arg)
{
	probe_note(arg, 'b');
}

static void
tasks_follow_callbacks_once_and_the_hook_looks_last(void **state)
{
	struct probe *probe = *state;

	loop_set_begin(probe->loop, begin, probe);
	loop_set_hook(probe->loop, hook, probe);
	loop_timer_set(probe->loop, &probe->timer, 0, defer_and_stop, probe);
	probe_run(probe);
	assert_string_equal(probe->order, "bt12h2h");
	loop_set_begin(probe->loop, NULL, NULL);
	loop_set_hook(probe->loop, NULL, NULL);
}

struct mortal {
	struct loop_task task;
	struct probe *probe;
};

static void
free_mortal(void *arg)
{
	struct mortal *mortal = arg;

	probe_note(mortal->probe, 'f');
	free(mortal);
}

static void
a_task_may_free_its_own_struct(void **state)
{
	struct probe *probe = *state;

	for (int i = 0; i < 3; i++) {
		struct mortal *mortal = calloc(1, sizeof(*mortal));

		assert_non_null(mortal);
		mortal->probe = probe;
		loop_defer(probe->loop, &mortal->task, free_mortal, mortal);
	}
	loop_defer(probe->loop, &probe->task, probe_stop, probe);
	probe_run(probe);
	assert_string_equal(probe->order, "fff");
}

static void
a_task_queued_before_the_run_does_not_wait_for_an_event(void **state)
{
	struct probe *probe = *state;
	uint64_t before = loop_clock_us();

	loop_defer(probe->loop, &probe->task, probe_stop, probe);
	probe_run(probe);
	assert_true(loop_clock_us() - before < 5000000);
}

static void
freeing_the_loop_runs_what_was_deferred(void **state)
{
	struct probe probe = { 0 };
	struct mortal *mortal = calloc(1, sizeof(*mortal));

	(void)state;
	assert_non_null(mortal);
	probe.loop = loop_new();
	mortal->probe = &probe;
	loop_defer(probe.loop, &mortal->task, free_mortal, mortal);
	loop_free(probe.loop);
	assert_string_equal(probe.order, "f");
	loop_free(NULL);
}

static void
the_loop_runs_again_after_a_stop(void **state)
{
	struct probe *probe = *state;

	for (int i = 0; i < 3; i++)
		probe_run_ms(probe, 1);
	assert_true(loop_now_us(probe->loop) <= loop_clock_us());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, probe_set_up, \
	    probe_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timers_fire_in_order_never_early_and_not_when_cancelled),
		TEST(a_timer_cancelled_by_another_that_is_due_does_not_fire),
		TEST(a_timer_set_anew_for_the_past_does_not_starve_descriptors),
		TEST(a_timer_for_the_end_of_time_neither_fires_nor_spins),
		TEST(the_loop_sleeps_without_a_wake_up_until_the_next_timer),
		TEST(tasks_follow_callbacks_once_and_the_hook_looks_last),
		TEST(a_task_may_free_its_own_struct),
		TEST(a_task_queued_before_the_run_does_not_wait_for_an_event),
		TEST(freeing_the_loop_runs_what_was_deferred),
		TEST(the_loop_runs_again_after_a_stop),
	};

	return cmocka_run_group_tests_name("loop_timers", tests, NULL, NULL);
}
