/* A host without a cgroup: wait4's CPU time, every microsecond in one record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/play.h"

static void
what_executions_were_told_is_not_in_the_instance_record_again(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	for (int i = 0; i < 2; i++) {
		if (i > 0)
			play_dispatch(play, "GET", "");
		play_say(play, actor, PLAIN "hello");
		play_end(play, actor, 0); /* 70 + 30 */
	}
	play->stage.cpu_us = 450;
	play_gone(play, actor, 9);
	assert_int_equal(stage_log_count(&play->stage, "\"cpu_us\":100,"
	    "\"cpu_user_us\":70,\"cpu_sys_us\":30,"
	    "\"cpu_source\":\"process\""), 2);
	assert_int_equal(stage_log_count(&play->stage, "\"start_cpu_us\":0,"
	    "\"exec_cpu_us\":200,\"idle_cpu_us\":250"), 1);
}

static void
one_that_was_killed_pays_what_the_others_did_not(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	play_dispatch(play, "GET", "");
	play->stage.cpu_us = 450;
	play_gone(play, actor, 9);
	assert_int_equal(stage_log_count(&play->stage, "\"cpu_us\":350,"
	    "\"cpu_user_us\":380,\"cpu_sys_us\":0,"
	    "\"cpu_source\":\"process\""), 1);
	assert_int_equal(stage_log_count(&play->stage, "\"start_cpu_us\":0,"
	    "\"exec_cpu_us\":450,\"idle_cpu_us\":0"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_executions_were_told_is_not_in_the_instance_record_again),
		TEST(one_that_was_killed_pays_what_the_others_did_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
