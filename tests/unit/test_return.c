/* A request whose instance ended before it saw it; the test is the program, and
 * the init that holds its socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/program.h"

static struct program program;
static int next_listen_fd = -1;

static int
set_up(void **state)
{
	int rc = program_set_up(&program, state);

	next_listen_fd = program_listen(2);
	return rc;
}

static int
tear_down(void **state)
{
	close_fd(&next_listen_fd);
	unlink("/2.sock");
	return program_tear_down(&program, state);
}

/* Its processes have ended. */
static void
exits(struct play *play, struct actor *actor, int status)
{
	close_fd(&program.fd);
	actor_report(actor, INIT_EXIT, status);
	play_turn(play, 0);
}

/* The instance is ended, and the next one takes what it left. */
static struct actor *
next_takes(struct play *play, struct actor *actor)
{
	assert_true(actor->is_killed);
	assert_true(actor_order(actor));
	assert_int_equal(actor->order.type, INIT_END);
	play_gone(play, actor, 0);
	close_fd(&program.listen_fd);
	program.listen_fd = steal_fd(&next_listen_fd);
	actor = play_run(play);
	program_receive(&program);
	return actor;
}

static void
next_answers(struct play *play, struct actor *actor)
{
	assert_true(program.has_body_end);
	program_answer(&program, play, actor, "second");
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "second"));
	assert_int_equal(play_executions(play), 2);
	assert_int_equal(play_records(play, "ok"), 2);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"instance\":\"abcdef-2\""), 1);
	/* the first has executed one, not two */
	assert_int_equal(stage_log_count(&play->stage, "\"executions\":1,"),
	    1);
}

/* W17 */
static void
a_request_that_nobody_accepted_goes_to_the_next_instance(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "POST", "a body");
	exits(play, actor, 0);
	actor = next_takes(play, actor);
	assert_int_equal(buf_len(&program.got), 6);
	assert_memory_equal(buf_head(&program.got), "a body", 6);
	next_answers(play, actor);
}

/* W17 */
static void
a_request_on_a_kept_connection_that_nobody_read_goes_to_the_next(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	close_fd(&program.fd); /* told by a reset, then by init */
	play_turn(play, 0);
	exits(play, actor, 0);
	next_answers(play, next_takes(play, actor));
}

static void
init_may_tell_of_the_end_before_the_reset_is_seen(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	exits(play, actor, 256);
	next_answers(play, next_takes(play, actor));
}

static void
a_socket_that_is_gone_sends_a_request_to_the_next_instance(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	close_fd(&program.listen_fd);
	close_fd(&program.fd);
	play_request(play, "POST", "a body");
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	program.listen_fd = steal_fd(&next_listen_fd);
	actor = play_run(play);
	program_receive(&program);
	assert_int_equal(buf_len(&program.got), 6);
	next_answers(play, actor);
}

/* Sends it in pieces, since the gateway has to read meanwhile. */
static void
send_body(struct play *play, const char *body, size_t size)
{
	const char *const params[] = { "CONTENT_LENGTH=3145728", NULL };
	struct buf bytes = { 0 };

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	web_send(&play->web, &bytes);
	for (size_t at = 0; at < size; at += 32768) {
		assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDIN, 1,
		    body + at, 32768), 0);
		web_send(&play->web, &bytes);
		stage_turn(&play->stage, 0);
	}
	assert_int_equal(fcgi_put_stream_end(&bytes, FCGI_STDIN, 1), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
}

/* More than the socket takes, and than is kept in memory of a body. */
static void
a_large_body_goes_to_the_next_instance_whole(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);
	size_t size = 3 << 20;
	char *body = malloc(size);

	assert_non_null(body);
	for (size_t i = 0; i < size; i++)
		body[i] = (char)('a' + i * 31 % 26);
	send_body(play, body, size);
	exits(play, actor, 0);
	actor = next_takes(play, actor);
	for (int i = 0; i < 1000 && !program.has_body_end; i++) {
		play_turn(play, 0);
		program_receive(&program);
	}
	assert_int_equal(buf_len(&program.got), size);
	assert_memory_equal(buf_head(&program.got), body, size);
	free(body);
	next_answers(play, actor);
}

/* What others are sending uses up what all may keep: a short body is kept still,
 * of a long one nothing, and its memory is given back. */
static void
in_a_crowd_only_short_bodies_go_to_the_next_instance(void **state)
{
	struct play *play = *state;
	uint64_t *all = &play->stage.server.written_all;
	struct actor *actor = program_warm(&program, play);
	char body[8001];

	*all = RELAY_WRITTEN_ALL_MAX;
	memset(body, 'x', sizeof(body));
	body[4000] = '\0';
	play_request(play, "POST", body);
	assert_true(*all > RELAY_WRITTEN_ALL_MAX);
	exits(play, actor, 0);
	assert_int_equal(*all, RELAY_WRITTEN_ALL_MAX);
	actor = next_takes(play, actor);
	assert_int_equal(buf_len(&program.got), 4000);
	next_answers(play, actor);
	assert_int_equal(*all, RELAY_WRITTEN_ALL_MAX);
	body[4000] = 'x';
	body[8000] = '\0';
	play_request(play, "POST", body);
	assert_int_equal(*all, RELAY_WRITTEN_ALL_MAX);
	exits(play, actor, 0);
	assert_int_equal(play->web.ends, 3);
	assert_true(play_has(play, "Status: 502 "));
}

/* The first-job rule is for those. */
static void
a_program_that_ends_before_its_first_answer_has_failed(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	exits(play, actor, 256);
	assert_true(actor->is_killed);
	assert_int_equal(play->web.ends, 1);
	assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play_records(play, "error"), 1);
	assert_int_equal(play_executions(play), 1);
}

static void
what_a_program_had_accepted_is_not_executed_again(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "POST", "a body");
	close_fd(&program.fd);
	program.fd = accept4(program.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(program.fd >= 0);
	exits(play, actor, 0);
	play_turn(play, 400);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play_executions(play), 2);
}

static void
one_that_waits_again_waits_no_longer_than_queue_timeout(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_QUEUE_TIMEOUT_MS] = 100;
	play_put(play);
	actor = program_warm(&program, play);
	play_request(play, "GET", "");
	exits(play, actor, 0);
	play_turn(play, 50);
	assert_int_equal(play->web.ends, 1);
	play_turn(play, 100);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "Status: 503 "));
	assert_int_equal(play_records(play, "refused"), 1);
	assert_int_equal(play_executions(play), 2);
}

static void
a_client_that_leaves_one_that_waits_again_is_recorded_once(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	exits(play, actor, 0);
	close_fd(&play->web.fd);
	stage_turn(&play->stage, 0);
	assert_int_equal(play_executions(play), 2);
	assert_int_equal(play_records(play, "aborted"), 1);
	assert_int_equal(play->stage.server.active, 0);
}

/* Where no queue is to return to, the answer is a word all the same. */
static void
one_whose_function_was_removed_is_told_so(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	stage_del(&play->stage, "f");
	exits(play, actor, 0);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "Status: 404 "));
	assert_int_equal(play_executions(play), 2);
}

/* Nobody has told of its end but the spawner. */
static void
a_request_that_nobody_read_is_returned_though_the_death_is_known_first(
    void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	close_fd(&program.fd); /* a reset that is not looked at yet */
	play_gone(play, actor, 9);
	assert_int_equal(play->web.ends, 1);
	close_fd(&program.listen_fd);
	program.listen_fd = steal_fd(&next_listen_fd);
	actor = play_run(play);
	program_receive(&program);
	next_answers(play, actor);
}

/* None is started for it any more. */
static void
when_the_host_is_ending_it_is_refused(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	pools_end(play->stage.pools);
	play_turn(play, 0);
	assert_true(actor->is_killed);
	close_fd(&program.fd);
	play_gone(play, actor, 9);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "Status: 503 "));
	assert_int_equal(play_records(play, "refused"), 1);
	assert_int_equal(play->stage.actor_count, 1);
}

/* The program has read it: it may have done anything. */
static void
a_request_that_was_read_is_not_returned_when_its_instance_dies(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "GET", "");
	program_receive(&program);
	close_fd(&program.fd);
	play_gone(play, actor, 9);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play_executions(play), 2);
}

#define WARM 17 /* one more than a request returns from */

/* So many instances, each of which has answered once. */
static void
warm_many(struct play *play, struct program *programs)
{
	struct web webs[WARM];

	for (size_t i = 0; i < WARM; i++) {
		programs[i] = (struct program){ .fd = -1,
			.listen_fd = i == 0 ? program.listen_fd : i == 1 ?
			next_listen_fd : program_listen((unsigned)i + 1) };
		web_init(&webs[i], stage_connect(&play->stage));
		web_get(&webs[i], 1, 0, "/fn/f");
	}
	play_turn(play, 0);
	for (size_t i = 0; i < WARM; i++) {
		struct actor *actor = &play->stage.actors[i];

		stage_up(&play->stage, actor);
		play_turn(play, 0);
		assert_true(actor_order(actor));
		program_receive(&programs[i]);
	}
	for (size_t i = 0; i < WARM; i++) {
		program_answer(&programs[i], play, &play->stage.actors[i],
		    "warm");
		web_free(&webs[i]);
	}
	assert_int_equal(play_records(play, "ok"), WARM);
}

static struct actor *
busy_one(struct play *play)
{
	for (size_t i = 0; i < play->stage.actor_count; i++) {
		struct actor *actor = &play->stage.actors[i];

		if (!actor->is_gone && actor->instance != NULL &&
		    actor->instance->state == INSTANCE_BUSY)
			return actor;
	}
	return NULL;
}

/* Each of them ends when it gets the request, and has not accepted it. */
static void
one_request_returns_sixteen_times_and_no_more(void **state)
{
	struct play *play = *state;
	struct program programs[WARM];
	char path[32];

	play->info.limits.value[LIMIT_INSTANCES] = WARM;
	play_put(play);
	warm_many(play, programs);
	play_request(play, "POST", "a body");
	for (size_t i = 0; i < WARM; i++) {
		struct actor *actor = busy_one(play);

		assert_non_null(actor);
		assert_int_equal(play->web.ends, 0);
		actor_report(actor, INIT_EXIT, 0);
		play_turn(play, 0);
		assert_true(actor->is_killed);
	}
	assert_null(busy_one(play));
	assert_int_equal(play->web.ends, 1);
	assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play_records(play, "error"), 1);
	assert_int_equal(play_executions(play), WARM + 1);
	for (size_t i = 0; i < WARM; i++) {
		close_fd(&programs[i].fd);
		buf_free(&programs[i].got);
		if (i < 2)
			continue;
		close_fd(&programs[i].listen_fd);
		snprintf(path, sizeof(path), "/%zu.sock", i + 1);
		unlink(path);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_that_nobody_accepted_goes_to_the_next_instance),
		TEST(
		    a_request_on_a_kept_connection_that_nobody_read_goes_to_the_next),
		TEST(init_may_tell_of_the_end_before_the_reset_is_seen),
		TEST(a_socket_that_is_gone_sends_a_request_to_the_next_instance),
		TEST(a_large_body_goes_to_the_next_instance_whole),
		TEST(in_a_crowd_only_short_bodies_go_to_the_next_instance),
		TEST(a_program_that_ends_before_its_first_answer_has_failed),
		TEST(what_a_program_had_accepted_is_not_executed_again),
		TEST(one_that_waits_again_waits_no_longer_than_queue_timeout),
		TEST(a_client_that_leaves_one_that_waits_again_is_recorded_once),
		TEST(one_whose_function_was_removed_is_told_so),
		TEST(
		    a_request_that_nobody_read_is_returned_though_the_death_is_known_first),
		TEST(when_the_host_is_ending_it_is_refused),
		TEST(one_request_returns_sixteen_times_and_no_more),
		TEST(
		    a_request_that_was_read_is_not_returned_when_its_instance_dies),
	};

	if (!program_is_possible())
		return 77;
	return cmocka_run_group_tests(tests, program_enter_root,
	    program_leave_root);
}
