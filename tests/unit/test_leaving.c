/* The client leaves: in each state, one record or none, and nothing stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/play.h"

static void
leave(struct play *play)
{
	close_fd(&play->web.fd);
	stage_turn(&play->stage, 0);
}

/* Nothing of the request is left, and so many records of the outcome. */
static void
over(struct play *play, const char *outcome, size_t records)
{
	stage_turn(&play->stage, 0);
	assert_int_equal(play->stage.server.active, 0);
	assert_int_equal(play->stage.server.connections, 0);
	assert_int_equal(pools_queued(play->stage.pools), 0);
	assert_int_equal(play_executions(play), records);
	assert_int_equal(play_records(play, outcome), records);
}

static void
before_the_params_ended_there_was_no_execution(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_begin(&bytes, 1, FCGI_RESPONDER, 0), 0);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_PARAMS, 1, "\1\1a", 3),
	    0);
	web_send(&play->web, &bytes);
	stage_turn(&play->stage, 0);
	assert_int_equal(play->stage.server.active, 1);
	leave(play);
	over(play, "aborted", 0);
}

static void
while_its_body_is_held(void **state)
{
	struct play *play = *state;

	play_open(play);
	leave(play);
	over(play, "aborted", 1);
	assert_int_equal(play->stage.actor_count, 0);
}

static void
while_it_waits_for_an_instance(void **state)
{
	struct play *play = *state;

	play_request(play, "GET", "");
	assert_int_equal(pools_queued(play->stage.pools), 1);
	leave(play);
	over(play, "aborted", 1);
	stage_up(&play->stage, stage_last(&play->stage));
	stage_turn(&play->stage, 0);
	assert_false(actor_order(stage_last(&play->stage)));
}

static void
while_the_program_runs_which_ends_within_the_grace(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_ABORT_GRACE_MS] = 1000;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	leave(play);
	assert_int_equal(play->stage.server.active, 1);
	assert_int_equal(play->stage.server.connections, 0);
	assert_int_equal(write(actor->fds[1], PLAIN "x", 27), 27);
	actor_close(actor);
	actor_report(actor, INIT_EXIT, 0);
	stage_turn(&play->stage, 0);
	over(play, "aborted", 1);
	assert_false(actor->is_killed); /* it serves the next */
	assert_int_equal(stage_log_count(&play->stage, "\"bytes_out\":27,"), 1);
}

static void
while_the_program_runs_which_is_killed_after_the_grace(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_ABORT_GRACE_MS] = 200;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	leave(play);
	assert_false(actor->is_killed);
	stage_turn(&play->stage, 250);
	assert_true(actor->is_killed);
	assert_int_equal(play_executions(play), 0);
	stage_gone(&play->stage, actor, 9);
	over(play, "aborted", 1);
}

static void
while_the_program_runs_whose_time_ends_before_the_grace(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_ABORT_GRACE_MS] = 60000;
	play->info.limits.value[LIMIT_TIMEOUT_MS] = 500;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	leave(play);
	assert_false(actor->is_killed);
	stage_turn(&play->stage, 600);
	assert_true(actor->is_killed);
	stage_gone(&play->stage, actor, 9);
	over(play, "aborted", 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":\"deadline\""), 1);
}

/* A grace of as much as there may be is one of the function's own times. */
static void
while_the_program_runs_whose_stall_ends_before_the_grace(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_ABORT_GRACE_MS] = 7 * 86400000;
	play->info.limits.value[LIMIT_TIMEOUT_MS] = 0;
	play->info.limits.value[LIMIT_STALL_TIMEOUT_MS] = 500;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	leave(play);
	assert_false(actor->is_killed);
	stage_turn(&play->stage, 600);
	assert_true(actor->is_killed);
	stage_gone(&play->stage, actor, 9);
	over(play, "aborted", 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":\"stall\""), 1);
}

static void
while_the_program_writes_more_than_anybody_reads(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	char flood[4096];

	memset(flood, 'x', sizeof(flood));
	fd_set_nonblock(actor->fds[1], true);
	play_say(play, actor, PLAIN);
	for (int i = 0; i < 2000; i++) {
		if (write(actor->fds[1], flood, sizeof(flood)) < 0)
			stage_turn(&play->stage, 0);
	}
	/* nobody reads: pipe, our buffer and the socket are full */
	assert_int_equal(write(actor->fds[1], flood, sizeof(flood)), -1);
	leave(play);
	for (int i = 0; i < 10; i++)
		stage_turn(&play->stage, 0);
	assert_int_equal(write(actor->fds[1], flood, sizeof(flood)),
	    sizeof(flood)); /* it is let run to its end */
	actor_close(actor);
	actor_report(actor, INIT_EXIT, 0);
	stage_turn(&play->stage, 0);
	over(play, "aborted", 1);
}

static void
while_its_instance_is_being_killed(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_TIMEOUT_MS] = 20;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	stage_turn(&play->stage, 40);
	assert_true(actor->is_killed);
	leave(play);
	assert_int_equal(play_executions(play), 0);
	stage_gone(&play->stage, actor, 9);
	over(play, "timeout", 1);
}

static void
while_its_record_is_not_yet_in_the_file(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	loop_set_hook(play->stage.loop, NULL, NULL);
	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	leave(play);
	assert_int_equal(play->stage.server.active, 1);
	ledger_flush(play->stage.ledger);
	over(play, "ok", 1);
}

static void
by_abort_request_the_connection_stays(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };
	struct actor *actor;

	play->info.limits.value[LIMIT_ABORT_GRACE_MS] = 30;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	assert_int_equal(fcgi_put_abort(&bytes, 1), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 60);
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	assert_int_equal(play->web.ends, 1);
	assert_false(play->web.is_closed);
	assert_int_equal(play->stage.server.active, 0);
	assert_int_equal(play_records(play, "aborted"), 1);
	play_say(play, play_dispatch(play, "GET", ""), PLAIN "next");
	play_end(play, stage_last(&play->stage), 0);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "next"));
}

static void
by_abort_request_twice_counts_once(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	play_request(play, "GET", "");
	assert_int_equal(fcgi_put_abort(&bytes, 1), 0);
	assert_int_equal(fcgi_put_abort(&bytes, 1), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(play_records(play, "aborted"), 1);
}

static void
by_half_only_it_still_gets_its_answer(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	assert_int_equal(shutdown(play->web.fd, SHUT_WR), 0);
	play_turn(play, 0);
	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(play->web.is_closed);
	assert_int_equal(play_records(play, "ok"), 1);
}

/* W35 */
static void
by_half_and_then_wholly_it_is_noticed(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_ABORT_GRACE_MS] = 0;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	assert_int_equal(shutdown(play->web.fd, SHUT_WR), 0);
	play_turn(play, 0);
	assert_int_equal(play->stage.server.connections, 1);
	leave(play);
	stage_turn(&play->stage, 5);
	assert_true(actor->is_killed);
	stage_gone(&play->stage, actor, 9);
	over(play, "aborted", 1);
}

static void
all_connections_are_closed_by_draining_but_those_with_work(void **state)
{
	struct play *play = *state;
	struct web other;

	web_init(&other, stage_connect(&play->stage));
	play_request(play, "GET", "");
	play->stage.server.is_draining = true;
	conn_list_drain(play->stage.conns, -1);
	play_turn(play, 0);
	web_read(&other);
	assert_true(other.is_closed);
	assert_false(play->web.is_closed);
	play_say(play, play_run(play), PLAIN "last");
	play_end(play, stage_last(&play->stage), 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(play->web.is_closed);
	web_free(&other);
}

/* Its head, or its body where that has to come first. */
static void
what_is_still_arriving_is_not_waited_for_at_the_end(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_begin(&bytes, 1, FCGI_RESPONDER,
	    FCGI_KEEP_CONN), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	conn_list_hurry(play->stage.conns);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play_executions(play), 0);
	play_reconnect(play);
	play_open(play); /* without a length, and CGI needs one */
	conn_list_hurry(play->stage.conns);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(play_has(play, "Status: 503 "));
	assert_int_equal(play_records(play, "refused"), 1);
	assert_int_equal(play->stage.server.active, 0);
	play_reconnect(play);
	play_request(play, "GET", ""); /* what has come is not touched */
	conn_list_hurry(play->stage.conns);
	play_say(play, play_run(play), PLAIN "last");
	play_end(play, stage_last(&play->stage), 0);
	assert_true(play_has(play, "last"));
}

static void
connect_and(struct play *play, int how)
{
	int fds[2];

	web_free(&play->web);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, fds), 0);
	web_init(&play->web, fds[1]);
	web_get(&play->web, 1, 0, "/fn/f");
	if (how == SHUT_WR) {
		assert_int_equal(shutdown(fds[1], how), 0);
	} else {
		close(fds[1]);
		play->web.fd = -1;
	}
	assert_int_equal(conn_new(play->stage.conns, fds[0], true, "web"), 0);
}

static void
for_one_that_left_before_it_was_taken_nothing_is_started(void **state)
{
	struct play *play = *state;

	connect_and(play, SHUT_RDWR);
	stage_turn(&play->stage, 0);
	assert_int_equal(play->stage.server.executions, 0);
	assert_int_equal(play->stage.actor_count, 0);
	assert_int_equal(play->stage.server.connections, 0);
}

static void
one_that_only_sends_no_more_before_it_is_taken_is_served(void **state)
{
	struct play *play = *state;

	connect_and(play, SHUT_WR);
	assert_int_equal(play->stage.server.active, 1);
	play_turn(play, 0);
	play_say(play, play_run(play), PLAIN "hello");
	play_end(play, stage_last(&play->stage), 0);
	assert_int_equal(play->web.ends, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(before_the_params_ended_there_was_no_execution),
		TEST(while_its_body_is_held),
		TEST(while_it_waits_for_an_instance),
		TEST(while_the_program_runs_which_ends_within_the_grace),
		TEST(while_the_program_runs_which_is_killed_after_the_grace),
		TEST(while_the_program_runs_whose_time_ends_before_the_grace),
		TEST(while_the_program_runs_whose_stall_ends_before_the_grace),
		TEST(while_the_program_writes_more_than_anybody_reads),
		TEST(while_its_instance_is_being_killed),
		TEST(while_its_record_is_not_yet_in_the_file),
		TEST(by_abort_request_the_connection_stays),
		TEST(by_abort_request_twice_counts_once),
		TEST(by_half_only_it_still_gets_its_answer),
		TEST(by_half_and_then_wholly_it_is_noticed),
		TEST(all_connections_are_closed_by_draining_but_those_with_work),
		TEST(what_is_still_arriving_is_not_waited_for_at_the_end),
		TEST(for_one_that_left_before_it_was_taken_nothing_is_started),
		TEST(one_that_only_sends_no_more_before_it_is_taken_is_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
