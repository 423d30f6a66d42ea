#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/stage.h"

static struct stage stage;
static struct instance *instance;
static struct funclog_quota log_quota;
static struct init_report last_report;
static int reports, deaths;

static void
on_report(void *arg, const struct init_report *report)
{
	assert_ptr_equal(arg, &stage);
	reports++;
	last_report = *report;
}

static void
on_gone(void *arg)
{
	assert_ptr_equal(arg, &stage);
	deaths++;
}

static const struct instance_user as_user = { on_report, on_gone };

/* The pool is left out: the test holds the instance itself. */
static int
set_up(void **state)
{
	struct ctl_function info = stage_function("f", false);
	int error = 1;

	(void)state;
	stage_open(&stage, NULL);
	instance = instance_new(&stage.fleet, stage_put(&stage, &info), NULL,
	    &log_quota, &error);
	reports = deaths = 0;
	return instance == NULL || error != 0;
}

static void
end_if_living(void)
{
	struct ctl_instance_gone gone = { .id = 1, .wait_status = 9 };

	if (instance->state != INSTANCE_GONE)
		instance_gone(instance, &gone);
	if (instance->user != NULL)
		instance_let_go(instance);
	instance_free(instance);
}

static int
tear_down(void **state)
{
	(void)state;
	end_if_living();
	stage.actors[0].is_gone = true;
	stage_close(&stage);
	return 0;
}

/* Up, with files of the given contents as counters. */
static void
bring_up(int cpu_fd, int events_fd)
{
	struct ctl_instance_up up = { .id = 1, .start_us = 77 };
	int fds[4], pair[2], n = 1;

	assert_int_equal(sock_pair(pair), 0);
	fds[0] = pair[0];
	stage.actors[0].init_fd = pair[1];
	fd_set_nonblock(pair[1], true);
	if (cpu_fd >= 0) {
		up.has |= CTL_HAS_CPU_STAT;
		fds[n++] = cpu_fd;
	}
	if (events_fd >= 0) {
		up.has |= CTL_HAS_MEMORY_EVENTS;
		fds[n++] = events_fd;
	}
	instance_up(instance, &up, fds);
	assert_int_equal(instance->state, INSTANCE_IDLE);
}

/*
 * What the header says of each event, state by state: an answer of the spawner
 * comes once; TAKE is for the idle alone; who was told to end only ends; a
 * user lets go in any state in which it can still hold one.
 */
static void
the_state_table_is_as_the_header_says(void **state)
{
	enum { S = INSTANCE_STARTING, I = INSTANCE_IDLE, B = INSTANCE_BUSY,
		E = INSTANCE_ENDING, G = INSTANCE_GONE, X = -1 };
	static const int expected[][INSTANCE_EVENT_COUNT] = {
		/* UP FAILED TAKE RELEASE KILL GONE */
		{ I, G, X, X, E, G }, /* starting */
		{ X, X, B, X, E, G }, /* idle */
		{ X, X, X, I, E, G }, /* busy */
		{ E, G, X, E, E, G }, /* ending */
		{ X, X, X, G, G, X }, /* gone */
	};

	(void)state;
	(void)S;
	assert_int_equal(sizeof(expected) / sizeof(expected[0]),
	    INSTANCE_STATE_COUNT);
	for (int s = 0; s < INSTANCE_STATE_COUNT; s++)
		for (int e = 0; e < INSTANCE_EVENT_COUNT; e++)
			assert_int_equal(instance_next_state(
			    (enum instance_state)s, (enum instance_event)e),
			    expected[s][e]);
}

static void
every_state_can_end_and_none_comes_back_from_the_dead(void **state)
{
	(void)state;
	for (int s = 0; s < INSTANCE_GONE; s++)
		assert_int_equal(instance_next_state((enum instance_state)s,
		    INSTANCE_EVENT_GONE), INSTANCE_GONE);
	for (int e = 0; e < INSTANCE_EVENT_COUNT; e++) {
		int from_gone = instance_next_state(INSTANCE_GONE,
		    (enum instance_event)e);
		int from_ending = instance_next_state(INSTANCE_ENDING,
		    (enum instance_event)e);

		assert_true(from_gone == -1 || from_gone == INSTANCE_GONE);
		assert_true(from_ending == -1 ||
		    from_ending == INSTANCE_ENDING ||
		    from_ending == INSTANCE_GONE);
	}
}

static void
each_state_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int a = 0; a < INSTANCE_STATE_COUNT; a++)
		for (int b = 0; b < a; b++)
			assert_string_not_equal(
			    instance_state_name((enum instance_state)a),
			    instance_state_name((enum instance_state)b));
}

static void
it_is_killed_once_and_the_first_reason_stands(void **state)
{
	struct ctl_instance_gone gone = { .id = 1, .wait_status = 9 };

	(void)state;
	bring_up(-1, -1);
	instance_kill(instance, "idle");
	instance_kill(instance, "stop"); /* the stage claims one kill */
	assert_int_equal(instance->state, INSTANCE_ENDING);
	instance_gone(instance, &gone);
	ledger_flush(stage.ledger);
	assert_int_equal(stage_log_count(&stage, "\"reason\":\"idle\""), 1);
	assert_int_equal(stage_log_count(&stage, "\"signal\":9"), 1);
}

static void
one_that_is_killed_while_starting_may_still_come_up(void **state)
{
	struct ctl_instance_up up = { .id = 1 };
	int pair[2];

	(void)state;
	instance_kill(instance, "stop");
	assert_int_equal(sock_pair(pair), 0);
	stage.actors[0].init_fd = pair[1];
	instance_up(instance, &up, pair);
	assert_int_equal(instance->state, INSTANCE_ENDING);
}

static void
an_order_reaches_init_with_its_block_and_descriptors(void **state)
{
	struct buf block = { 0 };
	int fds[2];

	(void)state;
	bring_up(-1, -1);
	instance_take(instance, &as_user, &stage, "req");
	assert_int_equal(sock_pipe(fds), 0);
	assert_int_equal(buf_add(&block, "A=b\0C=", 7), 0);
	assert_int_equal(instance_order(instance, INIT_RUN, &block, fds, 2), 0);
	assert_true(actor_order(&stage.actors[0]));
	assert_int_equal(stage.actors[0].order.type, INIT_RUN);
	assert_int_equal(stage.actors[0].order.serial, 1);
	assert_int_equal(stage.actors[0].fd_count, 2);
	assert_string_equal(actor_env(&stage.actors[0], "A"), "b");
	assert_string_equal(actor_env(&stage.actors[0], "C"), "");
	assert_int_equal(instance_order(instance, INIT_MEASURE, NULL, NULL, 0),
	    0);
	assert_true(actor_order(&stage.actors[0]));
	assert_int_equal(stage.actors[0].order.serial, 2);
	buf_free(&block);
	close(fds[0]);
	close(fds[1]);
}

static void
a_block_that_init_would_not_take_is_not_sent(void **state)
{
	struct buf block = { 0 };

	(void)state;
	bring_up(-1, -1);
	assert_non_null(buf_reserve(&block, INIT_ENV_MAX + 1));
	memset(buf_head(&block), 'x', INIT_ENV_MAX + 1);
	buf_commit(&block, INIT_ENV_MAX + 1);
	assert_int_equal(instance_order(instance, INIT_RUN, &block, NULL, 0),
	    -E2BIG);
	assert_false(actor_order(&stage.actors[0]));
	buf_free(&block);
}

static void
a_report_reaches_the_user_and_only_a_user(void **state)
{
	(void)state;
	bring_up(-1, -1);
	instance_take(instance, &as_user, &stage, "req");
	actor_report(&stage.actors[0], INIT_EXIT, 256);
	stage_turn(&stage, 0);
	assert_int_equal(reports, 1);
	assert_int_equal(last_report.wait_status, 256);
	assert_int_equal(instance->state, INSTANCE_BUSY);
	instance_let_go(instance);
	actor_report(&stage.actors[0], INIT_EXIT, 0);
	stage_turn(&stage, 0);
	assert_int_equal(reports, 1);
	assert_int_equal(instance->state, INSTANCE_ENDING);
}

/* A measure that took too long belongs to nobody, not to the next user either;
 * the one that was asked for last is the user's. */
static void
a_measure_that_comes_late_is_dropped_and_costs_nothing(void **state)
{
	struct actor *actor = &stage.actors[0];

	(void)state;
	bring_up(-1, -1);
	for (int i = 0; i < 2; i++) {
		instance_take(instance, &as_user, &stage, "req");
		assert_int_equal(instance_order(instance, INIT_MEASURE, NULL,
		    NULL, 0), 0);
		instance_let_go(instance);
	}
	actor_report(actor, INIT_MEMORY, 0);
	stage_turn(&stage, 0);
	assert_int_equal(instance->state, INSTANCE_IDLE);
	instance_take(instance, &as_user, &stage, "req");
	assert_int_equal(instance_order(instance, INIT_MEASURE, NULL, NULL, 0),
	    0);
	actor_report(actor, INIT_MEMORY, 0);
	stage_turn(&stage, 0);
	assert_int_equal(reports, 0);
	actor_report(actor, INIT_MEMORY, 0);
	stage_turn(&stage, 0);
	assert_int_equal(reports, 1);
	instance_let_go(instance);
	actor_report(actor, INIT_MEMORY, 0); /* nobody asked */
	stage_turn(&stage, 0);
	assert_int_equal(instance->state, INSTANCE_ENDING);
}

/* What was written to its cgroup.freeze last. */
static char
freezer(int fd)
{
	char word;

	return pread(fd, &word, 1, 0) == 1 ? word : '-';
}

static void
between_executions_one_is_frozen_and_a_request_wakes_it(void **state)
{
	int fd = memfd_create("cgroup.freeze", MFD_CLOEXEC);

	(void)state;
	bring_up(-1, -1);
	instance->function->info.is_fastcgi = 1;
	assert_false(instance_freeze(instance)); /* not asked for */
	instance->freeze_fd = fd;
	assert_false(instance_freeze(instance)); /* it gets ready */
	instance_take(instance, &as_user, &stage, "req");
	assert_false(instance_freeze(instance));
	assert_int_equal(instance_order(instance, INIT_MEASURE, NULL, NULL, 0),
	    0);
	instance_let_go(instance);
	assert_false(instance_freeze(instance)); /* init owes an answer */
	assert_int_equal(freezer(fd), '-');
	actor_report(&stage.actors[0], INIT_MEMORY, 0);
	stage_turn(&stage, 0);
	assert_int_equal(freezer(fd), '1');
	assert_true(instance_freeze(instance));
	while (actor_order(&stage.actors[0]))
		continue;
	instance_look(instance);
	assert_false(actor_order(&stage.actors[0])); /* it could not answer */
	instance_take(instance, &as_user, &stage, "req");
	assert_int_equal(freezer(fd), '0');
	instance_let_go(instance);
	instance->function->info.is_fastcgi = 0;
	assert_false(instance_freeze(instance));
	assert_int_equal(freezer(fd), '0');
}

/* n bytes that are no report end the instance and touch nothing else. */
static void
garbage(const void *data, size_t n)
{
	void *state = NULL;

	assert_int_equal(sock_send(stage.actors[0].init_fd, data, n, NULL, 0),
	    0);
	stage_turn(&stage, 0);
	assert_int_equal(reports, 0);
	assert_int_equal(instance->state, INSTANCE_ENDING);
	assert_string_equal(instance->end_reason, "init");
	tear_down(&state);
	set_up(&state);
}

static void
whatever_init_says_wrongly_ends_only_its_instance(void **state)
{
	struct init_report good = { .magic = INIT_MAGIC, .type = INIT_EXIT };
	struct init_report bad = good;
	char large[sizeof(good) + 1] = { 0 };

	(void)state;
	bring_up(-1, -1);
	garbage("x", 1);
	bring_up(-1, -1);
	garbage(&good, sizeof(good) - 1);
	memcpy(large, &good, sizeof(good));
	bring_up(-1, -1);
	garbage(large, sizeof(large));
	bad.magic++;
	bring_up(-1, -1);
	garbage(&bad, sizeof(bad));
	bad = good;
	bad.type = INIT_HELD + 1;
	bring_up(-1, -1);
	garbage(&bad, sizeof(bad));
	bad = good;
	bad.pad = 1;
	bring_up(-1, -1);
	garbage(&bad, sizeof(bad));
}

/* W18 */
static void
descriptors_that_init_sends_are_not_taken(void **state)
{
	struct init_report good = { .magic = INIT_MAGIC, .type = INIT_MEMORY };
	int before, after, fd = 0;

	(void)state;
	bring_up(-1, -1);
	instance_take(instance, &as_user, &stage, "req");
	before = dup(0);
	close(before);
	assert_int_equal(sock_send(stage.actors[0].init_fd, &good,
	    sizeof(good), &fd, 1), 0);
	stage_turn(&stage, 0);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

static void
the_death_of_init_alone_changes_nothing_until_the_spawner_says_so(void **state)
{
	(void)state;
	bring_up(-1, -1);
	instance_take(instance, &as_user, &stage, "req");
	close_fd(&stage.actors[0].init_fd);
	stage_turn(&stage, 0);
	assert_int_equal(instance->state, INSTANCE_BUSY);
	assert_int_equal(deaths, 0);
}

static int
counter_file(const char *text)
{
	int fd = memfd_create("counter", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void
counter_set(int fd, const char *text)
{
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
}

static void
cpu_time_is_split_between_start_executions_and_waiting(void **state)
{
	int fd = counter_file("usage_usec 100\nuser_usec 60\n"
	    "system_usec 40\n");
	struct ctl_instance_gone gone = { .id = 1, .has_cgroup = 1,
		.cpu_usage_us = 1000, .cpu_user_us = 600,
		.cpu_sys_us = 400 };

	(void)state;
	bring_up(fd, -1);
	instance_take(instance, &as_user, &stage, "a"); /* start: 100 */
	counter_set(fd, "usage_usec 350\nuser_usec 200\nsystem_usec 150\n");
	assert_true(instance_cpu_charge(instance)); /* execution: 250 */
	assert_int_equal(instance->last_cpu.usage_us, 250);
	assert_int_equal(instance->last_cpu.user_us, 140);
	assert_int_equal(instance->last_cpu.system_us, 110);
	instance_let_go(instance);
	counter_set(fd, "usage_usec 400\nuser_usec 230\nsystem_usec 170\n");
	stage_turn(&stage, 2);
	instance_take(instance, &as_user, &stage, "b"); /* idle: 50 */
	assert_int_equal(instance->last_cpu.usage_us, 0);
	counter_set(fd, "usage_usec 390\nuser_usec 1\nsystem_usec 1\n");
	assert_true(instance_cpu_charge(instance)); /* no step back */
	assert_int_equal(instance->last_cpu.usage_us, 0);
	instance_gone(instance, &gone); /* execution: 600 */
	assert_int_equal(deaths, 1);
	assert_int_equal(instance->last_cpu.usage_us, 600);
	assert_int_equal(instance->start_cpu_us, 100);
	assert_int_equal(instance->exec_cpu_us, 850);
	assert_int_equal(instance->idle_cpu_us, 50);
	ledger_flush(stage.ledger);
	assert_int_equal(stage_log_count(&stage, "\"executions\":2"), 1);
	assert_int_equal(stage_log_count(&stage, "\"start_cpu_us\":100,"
	    "\"exec_cpu_us\":850,\"idle_cpu_us\":50"), 1);
}

/* The clock is not read twice in one turn of the loop: what the program still
 * tidied up is the next execution's, and nothing is lost. */
static void
without_waiting_no_time_is_the_waitings(void **state)
{
	int fd = counter_file("usage_usec 100\nuser_usec 60\n"
	    "system_usec 40\n");

	(void)state;
	bring_up(fd, -1);
	instance_take(instance, &as_user, &stage, "a");
	counter_set(fd, "usage_usec 350\nuser_usec 200\nsystem_usec 150\n");
	assert_true(instance_cpu_charge(instance));
	instance_let_go(instance);
	counter_set(fd, "usage_usec 360\nuser_usec 200\nsystem_usec 160\n");
	instance_take(instance, &as_user, &stage, "b");
	counter_set(fd, "usage_usec 400\nuser_usec 230\nsystem_usec 170\n");
	assert_true(instance_cpu_charge(instance));
	assert_int_equal(instance->last_cpu.usage_us, 50);
	assert_int_equal(instance->start_cpu_us, 100);
	assert_int_equal(instance->exec_cpu_us, 300);
	assert_int_equal(instance->idle_cpu_us, 0);
}

static void
a_prepared_one_waits_for_nobody_and_one_that_is_kept_does(void **state)
{
	uint64_t waited_us;

	(void)state;
	bring_up(-1, -1);
	(void)stage_tick(&stage);
	instance_keep(instance);
	waited_us = stage_tick(&stage);
	instance_take(instance, &as_user, &stage, "a");
	assert_int_equal(instance->idle_us, waited_us);
	(void)stage_tick(&stage);
	instance_let_go(instance);
	waited_us += stage_tick(&stage);
	instance_take(instance, &as_user, &stage, "b");
	assert_int_equal(instance->idle_us, waited_us);
}

/* It knows that somebody is there, and may do for him what it likes. */
static void
a_request_that_it_did_not_accept_was_waiting(void **state)
{
	uint64_t waited_us;

	(void)state;
	bring_up(-1, -1);
	instance_take(instance, &as_user, &stage, "a");
	(void)stage_tick(&stage);
	instance_let_go(instance);
	instance_take(instance, &as_user, &stage, "b");
	waited_us = stage_tick(&stage);
	instance_untake(instance);
	assert_int_equal(instance->idle_us, waited_us);
	instance_let_go(instance);
	assert_int_equal(instance->served, 1);
}

static void
an_oom_kill_is_told_from_those_before_the_execution(void **state)
{
	int fd = counter_file("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n");

	(void)state;
	bring_up(-1, fd);
	instance_take(instance, &as_user, &stage, "a");
	assert_false(instance_had_oom(instance));
	counter_set(fd, "low 0\nhigh 0\nmax 3\noom 3\noom_kill 3\n");
	assert_true(instance_had_oom(instance));
	instance_let_go(instance);
	instance_take(instance, &as_user, &stage, "b");
	assert_false(instance_had_oom(instance));
}

static void
without_counters_there_is_no_clock_and_no_peak(void **state)
{
	uint64_t kib;

	(void)state;
	bring_up(-1, -1);
	instance_take(instance, &as_user, &stage, "a");
	assert_false(instance_cpu_charge(instance));
	assert_false(instance_peak_read(instance, &kib));
	assert_false(instance_had_oom(instance));
}

static void
one_that_never_started_leaves_no_record_and_no_reserve(void **state)
{
	(void)state;
	instance_failed(instance);
	assert_int_equal(instance->state, INSTANCE_GONE);
	assert_true(instance->is_admitted);
	ledger_flush(stage.ledger);
	assert_int_equal(stage_log_count(&stage, "\n"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_state_table_is_as_the_header_says),
		cmocka_unit_test(
		    every_state_can_end_and_none_comes_back_from_the_dead),
		cmocka_unit_test(each_state_has_a_name_of_its_own),
		TEST(it_is_killed_once_and_the_first_reason_stands),
		TEST(one_that_is_killed_while_starting_may_still_come_up),
		TEST(an_order_reaches_init_with_its_block_and_descriptors),
		TEST(a_block_that_init_would_not_take_is_not_sent),
		TEST(a_report_reaches_the_user_and_only_a_user),
		TEST(a_measure_that_comes_late_is_dropped_and_costs_nothing),
		TEST(between_executions_one_is_frozen_and_a_request_wakes_it),
		TEST(whatever_init_says_wrongly_ends_only_its_instance),
		TEST(descriptors_that_init_sends_are_not_taken),
		TEST(the_death_of_init_alone_changes_nothing_until_the_spawner_says_so),
		TEST(cpu_time_is_split_between_start_executions_and_waiting),
		TEST(without_waiting_no_time_is_the_waitings),
		TEST(a_prepared_one_waits_for_nobody_and_one_that_is_kept_does),
		TEST(a_request_that_it_did_not_accept_was_waiting),
		TEST(an_oom_kill_is_told_from_those_before_the_execution),
		TEST(without_counters_there_is_no_clock_and_no_peak),
		TEST(one_that_never_started_leaves_no_record_and_no_reserve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
