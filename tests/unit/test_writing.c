/* A function whose file is being written: it is there, and cannot be run yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tests/unit/play.h"

static void
put(struct play *play, enum ctl_problem problem)
{
	play->info.problem = (uint8_t)problem;
	play_put(play);
	play_turn(play, 0);
}

/* So many have been told to come again, and are in the books. */
static void
told_to_come_again(struct play *play, size_t count)
{
	assert_int_equal(play->web.ends, 1);
	assert_true(play_has(play, "Status: 503 "));
	assert_true(play_has(play, "Retry-After: 1\r\n"));
	assert_true(play_has(play, "being written"));
	assert_int_equal(play_records(play, "refused"), count);
	assert_int_equal(stage_log_count(&play->stage, "\"billed_ms\":0,"),
	    count);
	play_reconnect(play);
}

static void
is_served(struct play *play)
{
	play_say(play, play_dispatch(play, "GET", ""), PLAIN "hello");
	play_end(play, stage_last(&play->stage), 0);
	assert_true(play_has(play, "\r\n\r\nhello"));
	assert_int_equal(play_records(play, "ok"), 1);
}

static void
a_request_for_it_is_refused_in_words_recorded_and_served_when_it_is_whole(
    void **state)
{
	struct play *play = *state;

	memset(&play->info.limits, 0, sizeof(play->info.limits));
	put(play, CTL_PROBLEM_WRITING);
	play_request(play, "GET", "");
	told_to_come_again(play, 1);
	/* of a body no bound is known, and none is held against it */
	play_request(play, "POST", "a body");
	told_to_come_again(play, 2);
	assert_int_equal(play->stage.actor_count, 0);
	play->info = stage_function("f", false);
	put(play, CTL_PROBLEM_NONE);
	is_served(play);
}

static void
one_that_waits_for_a_start_is_told_the_same(void **state)
{
	struct play *play = *state;

	play_request(play, "GET", "");
	assert_int_equal(play->web.ends, 0);
	put(play, CTL_PROBLEM_WRITING);
	told_to_come_again(play, 1);
}

static void
one_whose_start_the_spawner_refuses_for_it_is_told_the_same(void **state)
{
	struct play *play = *state;

	play_request(play, "GET", "");
	/* its word and the gateway's question have crossed */
	play->info.problem = CTL_PROBLEM_WRITING;
	play_put(play);
	stage_failed(&play->stage, stage_last(&play->stage), EIDRM);
	play_turn(play, 0);
	told_to_come_again(play, 1);
}

static void
one_whose_body_was_held_meanwhile_is_told_the_same(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	play_open(play);
	put(play, CTL_PROBLEM_WRITING);
	web_put_body(&bytes, 1, "x", 1);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	told_to_come_again(play, 1);
}

static void
an_authorizer_of_which_that_is_so_allows_nothing(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };
	static const char *const params[] = { "FCGI_HOST_AUTHORIZER=f", NULL };

	put(play, CTL_PROBLEM_WRITING);
	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/any", params);
	bytes.data[bytes.start + FCGI_HEADER_LEN + 1] = FCGI_AUTHORIZER;
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	told_to_come_again(play, 1);
}

/* The kernel knows of a writer before the scanner does, or of one who has
 * written nothing: it is no failure of the function's, however often. */
static void
a_program_that_somebody_has_open_for_writing_is_no_failure(void **state)
{
	struct play *play = *state;

	for (size_t i = 1; i <= 4; i++) {
		struct actor *actor = play_dispatch(play, "GET", "");

		actor_close(actor);
		actor_report(actor, INIT_EXEC_FAILED, ETXTBSY);
		play_turn(play, 0);
		assert_true(play_has(play, "Status: 503 "));
		assert_true(play_has(play, "Retry-After: 1\r\n"));
		assert_true(play_has(play, "open for writing"));
		assert_int_equal(play_records(play, "refused"), i);
		assert_int_equal(stage_log_count(&play->stage,
		    "\"billed_ms\":0,"), i);
		play_gone(play, actor, 9);
		play_reconnect(play);
	}
	is_served(play);
}

/* One that is started ahead of requests waits a little for its next start. */
static void
nor_is_it_where_min_instances_boots_it(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info = stage_function("f", true);
	play->info.limits.value[LIMIT_MIN_INSTANCES] = 1;
	put(play, CTL_PROBLEM_NONE);
	for (size_t i = 1; i <= 3; i++) {
		actor = stage_last(&play->stage);
		stage_up(&play->stage, actor);
		play_turn(play, 0);
		assert_int_equal(play->stage.boots, i);
		actor_report(actor, INIT_EXEC_FAILED, ETXTBSY);
		play_turn(play, 0);
		play_gone(play, actor, 9);
		assert_int_equal(play->stage.actor_count, i);
		play_turn(play, 300);
		assert_int_equal(play->stage.actor_count, i + 1);
	}
	stage_del(&play->stage, "f"); /* or it would be made good for ever */
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, play_set_up, play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_for_it_is_refused_in_words_recorded_and_served_when_it_is_whole),
		TEST(one_that_waits_for_a_start_is_told_the_same),
		TEST(one_whose_start_the_spawner_refuses_for_it_is_told_the_same),
		TEST(one_whose_body_was_held_meanwhile_is_told_the_same),
		TEST(an_authorizer_of_which_that_is_so_allows_nothing),
		TEST(a_program_that_somebody_has_open_for_writing_is_no_failure),
		TEST(nor_is_it_where_min_instances_boots_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
