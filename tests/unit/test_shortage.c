/* No descriptor is left for handing a request over: the request is refused in
 * words, and the instance, which has no part in that, serves the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/loop.h"
#include "fcgi-host/sock.h"
#include "tests/unit/program.h"

static struct program program;

static int
set_up(void **state)
{
	return program_set_up(&program, state);
}

/* None is given from here on; those that are open stay. */
static void
descriptors_end(bool do_end)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = do_end ? 0 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int
tear_down(void **state)
{
	descriptors_end(false);
	return program_tear_down(&program, state);
}

static int
cgi_tear_down(void **state)
{
	descriptors_end(false);
	return play_tear_down(state);
}

static void
is_refused_and_the_instance_lives(struct play *play,
    const struct actor *actor, size_t ends)
{
	assert_int_equal(play->web.ends, ends);
	assert_true(play_has(play, "Status: 503 "));
	assert_true(play_has(play, "short of descriptors"));
	assert_int_equal(play_records(play, "refused"), 1);
	assert_false(actor->is_killed);
	descriptors_end(false);
	play_turn(play, 60);
}

/* Its next request finds a new connection. */
static void
serves(struct play *play, struct actor *actor, const char *method)
{
	size_t ends = play->web.ends;

	close_fd(&program.fd);
	play_request(play, method, method[0] == 'P' ? "a body" : "");
	program_receive(&program);
	assert_true(program.has_body_end);
	program_answer(&program, play, actor, "served");
	assert_int_equal(play->web.ends, ends + 1);
	assert_true(play_has(play, "served"));
	assert_int_equal(play->stage.actor_count, 1);
}

/* The program has closed it, and what was sent lies unread. */
static void
none_for_a_new_connection_in_place_of_a_kept_one(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	close_fd(&program.fd);
	descriptors_end(true);
	play_turn(play, 0);
	is_refused_and_the_instance_lives(play, actor, 2);
	serves(play, actor, "GET");
}

static void
none_for_a_connection(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	descriptors_end(true);
	play_request(play, "POST", "a body");
	is_refused_and_the_instance_lives(play, actor, 2);
	serves(play, actor, "POST");
}

/* It retires in the moment in which its request could not be handed on. */
static void
one_whose_program_ends_meanwhile_serves_no_other(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	close_fd(&program.fd);
	descriptors_end(true);
	actor_report(actor, INIT_EXIT, 0);
	play_turn(play, 0);
	descriptors_end(false);
	play_turn(play, 60);
	assert_true(actor->is_killed);
}

/* A prepared sandbox, whose program has to be started first. */
static void
none_for_the_start_of_a_program(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play_request(play, "GET", "");
	actor = stage_last(&play->stage);
	stage_up(&play->stage, actor);
	descriptors_end(true);
	play_turn(play, 0);
	is_refused_and_the_instance_lives(play, actor, 1);
	assert_false(actor_order(actor)); /* it was told nothing */
	play_request(play, "GET", "");
	assert_true(actor_order(actor));
	assert_int_equal(actor->order.type, INIT_RUN);
	assert_int_equal(actor->fd_count, 2);
	program_receive(&program);
	program_answer(&program, play, actor, "served");
	assert_int_equal(play->web.ends, 2);
	assert_int_equal(play->stage.actor_count, 1);
}

static void
none_for_the_pipes_of_a_cgi_program(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "first");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	descriptors_end(true);
	play_request(play, "GET", "");
	is_refused_and_the_instance_lives(play, actor, 2);
	play_request(play, "GET", "");
	assert_true(actor_order(actor));
	play_say(play, actor, PLAIN "served");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 3);
	assert_int_equal(play_records(play, "ok"), 2);
	assert_int_equal(play->stage.actor_count, 1);
}

/* The others are tried a moment later. */
static void
the_moment_costs_one_of_those_who_wait(void **state)
{
	struct play *play = *state;
	struct actor *actor;
	struct web other;
	uint64_t begun_us;

	actor = play_dispatch(play, "GET", "");
	web_init(&other, stage_connect(&play->stage));
	web_get(&other, 1, FCGI_KEEP_CONN, "/fn/f");
	stage_turn(&play->stage, 0);
	play_say(play, actor, PLAIN "first");
	descriptors_end(true);
	begun_us = loop_clock_us();
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	play_request(play, "GET", "");
	play_turn(play, 5);
	if (loop_clock_us() - begun_us > 40000) {
		fprintf(stderr, "SKIPPED: here the moment was over before "
		    "anybody could look\n");
		web_free(&other);
		skip();
	}
	web_read(&other);
	assert_int_equal(play->web.ends + other.ends, 2);
	assert_int_equal(play_records(play, "refused"), 1);
	descriptors_end(false);
	play_turn(play, 60);
	assert_true(actor_order(actor));
	play_say(play, actor, PLAIN "second");
	play_end(play, actor, 0);
	web_read(&other);
	assert_int_equal(play->web.ends + other.ends, 3);
	assert_int_equal(play_records(play, "ok"), 2);
	web_free(&other);
	play_turn(play, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define CGI(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    cgi_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(none_for_a_new_connection_in_place_of_a_kept_one),
		TEST(none_for_a_connection),
		TEST(one_whose_program_ends_meanwhile_serves_no_other),
		TEST(none_for_the_start_of_a_program),
		CGI(none_for_the_pipes_of_a_cgi_program),
		CGI(the_moment_costs_one_of_those_who_wait),
	};

	if (!program_is_possible())
		return 77;
	return cmocka_run_group_tests(tests, program_enter_root,
	    program_leave_root);
}
