/* A day ends while instances live: what they have used so far is recorded, and
 * all their records together say what one would have said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/stage.h"

#define DAY_US UINT64_C(86400000000)
#define TIME_US (DAY_US * 20000 - 1) /* 2024-10-03T23:59:59.999999Z */

static struct stage stage;
static struct instance *instance;
static struct funclog_quota log_quota;
static int cpu_fd;

static void
on_report(void *arg, const struct init_report *report)
{
	(void)arg;
	(void)report;
}

static void
on_gone(void *arg)
{
	(void)arg;
}

static const struct instance_user as_user = { on_report, on_gone };

static void
cpu_set(uint64_t us)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "usage_usec %" PRIu64
	    "\nuser_usec 0\nsystem_usec 0\n", us);

	assert_int_equal(ftruncate(cpu_fd, 0), 0);
	assert_int_equal(pwrite(cpu_fd, text, (size_t)n, 0), n);
}

/* Up, and the pool is left out: the test holds the instance itself. */
static int
set_up(void **state)
{
	struct ctl_function info = stage_function("f", false);
	struct ctl_instance_up up = { .id = 1, .start_us = 77,
		.has = CTL_HAS_CPU_STAT };
	int pair[2], error = 1;

	(void)state;
	info.limits.value[LIMIT_MEMORY_BYTES] = UINT64_C(64) << 20;
	stage_open(&stage, NULL);
	instance = instance_new(&stage.fleet, stage_put(&stage, &info), NULL,
	    &log_quota, &error);
	if (instance == NULL || error != 0)
		return 1;
	cpu_fd = memfd_create("counter", MFD_CLOEXEC);
	cpu_set(100);
	assert_int_equal(sock_pair(pair), 0);
	stage.actors[0].init_fd = pair[1];
	fd_set_nonblock(pair[1], true);
	instance_up(instance, &up, (int[]){ pair[0], cpu_fd });
	return 0;
}

static void
end(uint64_t cpu_us)
{
	struct ctl_instance_gone gone = { .id = 1, .has_cgroup = 1,
		.cpu_usage_us = cpu_us };

	instance_gone(instance, &gone);
	if (instance->user != NULL)
		instance_let_go(instance);
	ledger_flush(stage.ledger);
}

static int
tear_down(void **state)
{
	(void)state;
	if (instance->state != INSTANCE_GONE)
		end(0);
	instance_free(instance);
	stage.actors[0].is_gone = true;
	stage_close(&stage);
	return 0;
}

static void
day_end(void)
{
	instance_account(instance, loop_now_us(stage.loop), TIME_US);
	ledger_flush(stage.ledger);
}

/* The number behind the key in line `index` of the log; -1: no such line. */
static int64_t
number(size_t index, const char *key)
{
	char *log = stage_log(&stage), *line = log, *at;
	int64_t value = -1;

	while (index-- > 0 && line != NULL) {
		line = strchr(line, '\n');
		line = line == NULL ? NULL : line + 1;
	}
	at = line == NULL ? NULL : strstr(line, key);
	if (at != NULL)
		value = strtoll(at + strlen(key) + 2, NULL, 10);
	free(log);
	return value;
}

static int64_t
sum(const char *key)
{
	int64_t sum = 0;

	for (size_t i = 0; number(i, key) >= 0; i++)
		sum += number(i, key);
	return sum;
}

static void
what_it_waited_is_of_the_day_in_which_it_did(void **state)
{
	uint64_t first_us, second_us;

	(void)state;
	instance_take(instance, &as_user, &stage, "a");
	cpu_set(350);
	(void)instance_cpu_charge(instance);
	(void)stage_tick(&stage);
	instance_let_go(instance);
	first_us = stage_tick(&stage);
	cpu_set(400);
	day_end();
	assert_int_equal(stage_log_count(&stage, "\"time\":"
	    "\"2024-10-03T23:59:59.999999Z\""), 1);
	assert_int_equal(stage_log_count(&stage, "\"reason\":\"day\",\"exe"
	    "cutions\":1,"), 1);
	assert_int_equal(stage_log_count(&stage, "\"start_cpu_us\":100,"
	    "\"exec_cpu_us\":250,\"idle_cpu_us\":50,\"cpu_source\":\"cgroup\""),
	    1);
	assert_int_equal(stage_log_count(&stage, "\"exit\":null,\"signal\":"
	    "null"), 1);
	assert_int_equal(number(0, "idle_us"), first_us);
	assert_int_equal(instance_cpu_open(instance), 0);
	cpu_set(460);
	assert_int_equal(instance_cpu_open(instance), 60);
	second_us = stage_tick(&stage);
	end(500);
	assert_int_equal(number(1, "idle_us"), second_us);
	assert_int_equal(number(1, "executions"), 0);
	assert_int_equal(number(1, "start_us"), 0);
	assert_int_equal(stage_log_count(&stage, "\"start_cpu_us\":0,"
	    "\"exec_cpu_us\":0,\"idle_cpu_us\":100,"), 1);
	assert_int_equal(sum("lifetime_us"), loop_now_us(stage.loop) -
	    instance->asked_us);
	assert_false(instance->is_admitted);
}

/* The loop comes late to it: then the day has ended a while ago. */
static void
a_day_that_ended_a_while_ago_ended_then(void **state)
{
	uint64_t first_us, second_us, day_us;

	(void)state;
	instance_keep(instance);
	first_us = stage_tick(&stage);
	day_us = loop_now_us(stage.loop);
	second_us = stage_tick(&stage);
	instance_account(instance, day_us, TIME_US);
	second_us += stage_tick(&stage);
	end(0);
	assert_int_equal(number(0, "idle_us"), first_us);
	assert_int_equal(number(1, "idle_us"), second_us);
}

/* Its execution has a record of its own, and may be no execution of it. */
static void
one_that_is_busy_tells_what_it_did_before(void **state)
{
	uint64_t waited_us, unseen_us;

	(void)state;
	instance_keep(instance);
	waited_us = stage_tick(&stage);
	instance_take(instance, &as_user, &stage, "a");
	unseen_us = stage_tick(&stage);
	cpu_set(150);
	(void)instance_cpu_charge(instance);
	day_end();
	assert_int_equal(number(0, "idle_us"), waited_us);
	assert_int_equal(number(0, "executions"), 0);
	assert_int_equal(number(0, "exec_cpu_us"), 0);
	day_end(); /* a day later it has nothing more to tell */
	assert_int_equal(number(1, "idle_us"), -1);
	instance_untake(instance);
	instance_let_go(instance);
	end(150);
	assert_int_equal(number(1, "idle_us"), unseen_us);
	assert_int_equal(number(1, "executions"), 0);
	assert_int_equal(number(1, "exec_cpu_us"), 0);
	assert_int_equal(number(1, "idle_cpu_us"), 50);
	assert_true(number(1, "lifetime_us") >= number(1, "idle_us"));
}

static void
who_has_nothing_to_tell_has_no_record_and_keeps_no_space(void **state)
{
	(void)state;
	cpu_set(0);
	(void)stage_tick(&stage);
	day_end();
	instance_take(instance, &as_user, &stage, "a");
	(void)stage_tick(&stage);
	day_end();
	instance_kill(instance, "stop");
	day_end();
	assert_int_equal(stage_log_count(&stage, "\n"), 0);
	end(0);
	assert_int_equal(stage_log_count(&stage, "\n"), 1);
	assert_int_equal(number(0, "executions"), 1);
}

/* Day after day, whatever it does: nothing is told twice or not at all, and no
 * record has waited longer than it was there. */
static void
all_records_together_say_what_one_would_have_said(void **state)
{
	uint64_t cpu_us = 100, seed = 1;

	(void)state;
	for (int step = 0; step < 300; step++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		cpu_set(cpu_us += seed >> 60);
		if (seed >> 40 & 1)
			(void)stage_tick(&stage);
		if (instance->user == NULL && (seed >> 41 & 1))
			instance_take(instance, &as_user, &stage, "a");
		else if (instance->user != NULL && (seed >> 41 & 3) == 3) {
			(void)instance_cpu_charge(instance);
			if (seed >> 43 & 1)
				instance_untake(instance);
			instance_let_go(instance);
		} else if ((seed >> 44 & 3) == 0)
			day_end();
	}
	end(cpu_us);
	assert_true(number(10, "idle_us") >= 0);
	for (size_t i = 0; number(i, "idle_us") >= 0; i++)
		assert_true(number(i, "idle_us") <= number(i, "lifetime_us"));
	assert_int_equal(sum("idle_us"), instance->idle_us);
	assert_int_equal(sum("executions"), instance->served);
	assert_int_equal(sum("lifetime_us"), loop_now_us(stage.loop) -
	    instance->asked_us);
	assert_int_equal(sum("start_us"), 77);
	assert_int_equal(sum("start_cpu_us") + sum("exec_cpu_us") +
	    sum("idle_cpu_us"), cpu_us);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_it_waited_is_of_the_day_in_which_it_did),
		TEST(a_day_that_ended_a_while_ago_ended_then),
		TEST(one_that_is_busy_tells_what_it_did_before),
		TEST(who_has_nothing_to_tell_has_no_record_and_keeps_no_space),
		TEST(all_records_together_say_what_one_would_have_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
