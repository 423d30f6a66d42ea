/* A web server's connection: what the wire demands, however it is cut. */
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
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/fcgi_params.h"
#include "tests/unit/play.h"

static void
send_bytes(struct play *play, const uint8_t *data, size_t n)
{
	assert_int_equal(send(play->web.fd, data, n, MSG_NOSIGNAL), n);
	play_turn(play, 0);
}

/* The program answers; the whole is as it must be. */
static void
served(struct play *play, const char *body)
{
	struct actor *actor = play_run(play);
	char got[64] = "";

	assert_int_equal(read(actor->fds[0], got, sizeof(got) - 1),
	    strlen(body));
	assert_string_equal(got, body);
	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(play_has(play, "\r\n\r\nhello"));
	assert_int_equal(play->web.protocol_status, FCGI_REQUEST_COMPLETE);
}

static void
put_post(struct buf *bytes, uint8_t flags)
{
	static const char *const params[] = { "REQUEST_METHOD=POST",
		"CONTENT_LENGTH=3", "HTTP_X_A=b", NULL };

	web_put_head(bytes, 7, flags, "/fn/f", params);
	web_put_body(bytes, 7, "abc", 3);
}

static void
a_request_may_be_cut_after_any_byte(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };
	size_t n;

	put_post(&bytes, FCGI_KEEP_CONN);
	n = buf_len(&bytes);
	for (size_t cut = 1; cut < n; cut++) {
		send_bytes(play, buf_head(&bytes), cut);
		send_bytes(play, buf_head(&bytes) + cut, n - cut);
		served(play, "abc");
		play_reconnect(play);
	}
	assert_int_equal(play_records(play, "ok"), n - 1);
	buf_free(&bytes);
}

static void
a_request_may_come_byte_by_byte(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	put_post(&bytes, FCGI_KEEP_CONN);
	for (size_t i = 0; i < buf_len(&bytes); i++)
		send_bytes(play, buf_head(&bytes) + i, 1);
	served(play, "abc");
	buf_free(&bytes);
}

static void
a_kept_connection_serves_one_request_after_another(void **state)
{
	struct play *play = *state;

	for (uint16_t i = 1; i < 4; i++) {
		web_get(&play->web, i, FCGI_KEEP_CONN, "/fn/f");
		play_turn(play, 0);
		play_say(play, play_run(play), PLAIN "hello");
		play_end(play, stage_last(&play->stage), 0);
		assert_int_equal(play->web.ends, i);
		assert_int_equal(play->web.end_id, i);
		assert_false(play->web.is_closed);
	}
}

static void
a_connection_that_is_not_kept_closes_behind_the_answer(void **state)
{
	struct play *play = *state;

	web_get(&play->web, 1, 0, "/fn/f");
	play_turn(play, 0);
	served(play, "");
	assert_true(play->web.is_closed);
	assert_false(play->web.is_cut);
	/* nothing can come any more: it is not waited for */
	assert_int_equal(play->stage.server.connections, 0);
}

static void
get_values_is_answered_with_what_was_asked_for_and_known(void **state)
{
	struct play *play = *state;
	struct buf asked = { 0 }, bytes = { 0 };
	struct params *told = params_new(1000, 10);
	uint8_t answer[256];
	ssize_t n;

	assert_int_equal(params_put(&asked, "FCGI_MPXS_CONNS", 15, "", 0), 0);
	assert_int_equal(params_put(&asked, "FCGI_MAX_REQS", 13, "", 0), 0);
	assert_int_equal(params_put(&asked, "NO_SUCH", 7, "", 0), 0);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_GET_VALUES, 0,
	    buf_head(&asked), buf_len(&asked)), 0);
	assert_int_equal(send(play->web.fd, buf_head(&bytes), buf_len(&bytes),
	    0), buf_len(&bytes));
	stage_turn(&play->stage, 0);
	n = recv(play->web.fd, answer, sizeof(answer), 0);
	assert_true(n > FCGI_HEADER_LEN);
	assert_int_equal(answer[1], FCGI_GET_VALUES_RESULT);
	assert_int_equal(params_feed(told, answer + FCGI_HEADER_LEN,
	    (size_t)n - FCGI_HEADER_LEN), 0);
	assert_int_equal(params_finish(told), 0);
	assert_int_equal(params_count(told), 2);
	assert_string_equal(params_get(told, "FCGI_MPXS_CONNS"), "0");
	assert_non_null(params_get(told, "FCGI_MAX_REQS"));
	params_free(told);
	buf_free(&asked);
	buf_free(&bytes);
}

/* W8 */
static void
management_records_do_not_disturb_a_request(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };
	static const char *const params[] = { "CONTENT_LENGTH=3", NULL };

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	assert_int_equal(fcgi_put_header(&bytes, 99, 0, 0, 0), 0);
	web_put_body(&bytes, 1, "abc", 3);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_int_equal(play->web.others, 1);
	assert_int_equal(play->web.other_type, FCGI_UNKNOWN_TYPE);
	assert_int_equal(play->web.small[0], 99);
	served(play, "abc");
}

static void
records_of_other_ids_and_types_are_ignored(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDIN, 9, "zz", 2), 0);
	assert_int_equal(fcgi_put_abort(&bytes, 9), 0);
	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", NULL);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDIN, 9, "zz", 2), 0);
	assert_int_equal(fcgi_put_abort(&bytes, 9), 0);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_DATA, 1, "zz", 2), 0);
	assert_int_equal(fcgi_put_stream(&bytes, 77, 1, "zz", 2), 0);
	web_put_body(&bytes, 1, "abc", 3);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	served(play, "abc");
	assert_int_equal(play_executions(play), 1);
}

static void
a_second_request_at_a_time_is_refused_and_the_first_goes_on(void **state)
{
	struct play *play = *state;

	play_request(play, "GET", "");
	web_get(&play->web, 2, FCGI_KEEP_CONN, "/fn/f");
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play->web.end_id, 2);
	assert_int_equal(play->web.protocol_status, FCGI_CANT_MPX_CONN);
	play_say(play, play_run(play), PLAIN "hello");
	play_end(play, stage_last(&play->stage), 0);
	assert_int_equal(play->web.ends, 2);
	assert_int_equal(play->web.end_id, 1);
	assert_int_equal(play_executions(play), 1);
}

/* With an answer of the same id the peer could not tell whose it is. */
/* W9 */
static void
requests_of_one_id_in_one_piece_get_the_first_answer_and_the_end(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	for (int i = 0; i < 3; i++)
		put_post(&bytes, FCGI_KEEP_CONN);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	served(play, "abc");
	assert_true(play->web.is_closed);
	assert_int_equal(play->stage.server.connections, 0);
	assert_int_equal(play_executions(play), 1);
}

/* W48 */
static void
what_comes_behind_the_end_of_a_body_is_none_of_it(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", NULL);
	web_put_body(&bytes, 1, "abc", 3);
	web_put_body(&bytes, 1, "def", 3);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	served(play, "abc");
	assert_false(play->web.is_closed);
	assert_int_equal(play_records(play, "ok"), 1);
}

static void
an_unknown_role_is_refused(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_begin(&bytes, 3, FCGI_FILTER,
	    FCGI_KEEP_CONN), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play->web.end_id, 3);
	assert_int_equal(play->web.protocol_status, FCGI_UNKNOWN_ROLE);
	assert_false(play->web.is_closed);
	assert_int_equal(fcgi_put_begin(&bytes, 3, FCGI_FILTER, 0), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 2);
	assert_true(play->web.is_closed);
}

static void
bytes_that_are_no_fastcgi_close_the_peer_and_are_counted(void **state)
{
	struct play *play = *state;

	send_bytes(play, (const uint8_t *)"GET / HTTP/1.1\r\n", 16);
	assert_true(play->web.is_closed);
	assert_int_equal(play->stage.server.bad_peers, 1);
	assert_int_equal(play->stage.server.connections, 0);
}

static void
a_begin_that_is_too_short_closes_the_peer(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_stream(&bytes, FCGI_BEGIN_REQUEST, 1, "\0\1",
	    2), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_true(play->web.is_closed);
	assert_int_equal(play->stage.server.bad_peers, 1);
}

/* A request of these params and this body gets the status. */
static void
told(struct play *play, const char *path, const char *const *params,
    const char *body, const char *status)
{
	struct buf bytes = { 0 };

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, path, params);
	web_put_body(&bytes, 1, body, strlen(body));
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_true(play_has(play, status));
	assert_int_equal(play->web.ends, 1);
	assert_false(play->web.is_cut);
	play_reconnect(play);
	play_turn(play, 0);
	assert_int_equal(play->stage.server.active, 0);
}

static void
what_is_no_execution_leaves_no_record(void **state)
{
	struct play *play = *state;
	struct ctl_function bad = stage_function("bad", false);

	bad.problem = CTL_PROBLEM_MODE;
	stage_put(&play->stage, &bad);
	told(play, "/fn/none", NULL, "", "Status: 404 ");
	told(play, "/elsewhere", NULL, "", "Status: 404 ");
	told(play, "/fn/bad", NULL, "", "Status: 404 ");
	assert_int_equal(play_executions(play), 0);
	assert_int_equal(play->stage.actor_count, 0);
}

/* The request id of the params, or one of the host's own. */
static void
has_id(struct play *play, const char *param, const char *other,
    const char *expected)
{
	const char *const params[] = { "CONTENT_LENGTH=", param, other, NULL };
	struct buf bytes = { 0 };
	struct actor *actor;
	char text[128];

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	web_put_body(&bytes, 1, "", 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	actor = play_run(play);
	assert_memory_equal(actor_env(actor, "REQUEST_ID"), expected,
	    strlen(expected));
	snprintf(text, sizeof(text), "\"request_id\":\"%s\"",
	    actor_env(actor, "REQUEST_ID"));
	play_end(play, actor, 0);
	assert_int_equal(stage_log_count(&play->stage, text), 1);
	play_reconnect(play);
}

static void
a_request_id_is_taken_when_it_is_harmless_and_made_when_not(void **state)
{
	static const char letters[] = "REQUEST_ID="
	    "0123456789012345678901234567890123456789012345678901234567890123";
	struct play *play = *state;
	char longer[sizeof(letters) + 1];

	snprintf(longer, sizeof(longer), "%s4", letters);
	has_id(play, "REQUEST_ID=abc-1", "HTTP_X_REQUEST_ID=def", "abc-1");
	has_id(play, "REQUEST_ID=", "HTTP_X_REQUEST_ID=d:e/f", "d:e/f");
	has_id(play, "REQUEST_ID=a b", "HTTP_X_REQUEST_ID=x\"y", "abcdef-");
	has_id(play, "REQUEST_ID=a\nb", "HTTP_X_REQUEST_ID=", "abcdef-");
	has_id(play, letters, "HTTP_X_REQUEST_ID=", letters + 11);
	has_id(play, longer, "HTTP_X_REQUEST_ID=", "abcdef-");
}

static void
a_refused_execution_is_recorded(void **state)
{
	static const char *const letters[] = { "CONTENT_LENGTH=x1", NULL };
	static const char *const huge[] = {
		"CONTENT_LENGTH=99999999999999999999", NULL };
	static const char *const large[] = { "CONTENT_LENGTH=17000000", NULL };
	struct play *play = *state;

	told(play, "/fn/f", letters, "", "Status: 400 ");
	told(play, "/fn/f", huge, "", "Status: 400 ");
	told(play, "/fn/f", large, "", "Status: 413 ");
	assert_int_equal(play_records(play, "refused"), 3);
	assert_int_equal(stage_log_count(&play->stage, "\"billed_ms\":0,"), 3);
	assert_int_equal(play->stage.actor_count, 0);
}

static void
a_body_of_another_length_than_announced_is_refused(void **state)
{
	static const char *const four[] = { "CONTENT_LENGTH=4", NULL };
	struct play *play = *state;

	told(play, "/fn/f", four, "abc", "Status: 400 ");
	told(play, "/fn/f", four, "abcde", "Status: 400 ");
	assert_int_equal(play_records(play, "refused"), 2);
}

/* W3 */
static void
params_over_their_bound_are_431_and_malformed_ones_400(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };
	char *large = malloc(70000);
	const char *const params[] = { large, NULL };

	memset(large, 'x', 69999);
	memcpy(large, "HTTP_A=", 7);
	large[69999] = '\0';
	told(play, "/fn/f", params, "", "Status: 431 ");
	assert_int_equal(fcgi_put_begin(&bytes, 1, FCGI_RESPONDER, 0), 0);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_PARAMS, 1, "\0\1x", 3),
	    0);
	assert_int_equal(fcgi_put_stream_end(&bytes, FCGI_PARAMS, 1), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_true(play_has(play, "Status: 400 "));
	assert_int_equal(play_executions(play), 0);
	free(large);
}

static void
a_body_without_a_length_reaches_a_cgi_program_with_one(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	play_open(play);
	assert_int_equal(play->stage.actor_count, 0);
	web_put_body(&bytes, 1, "chunked", 7);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	served(play, "chunked");
	assert_string_equal(actor_env(&play->stage.actors[0],
	    "CONTENT_LENGTH"), "7");
}

static void
a_function_that_goes_while_a_body_is_held_is_404(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };
	struct web busy;

	/* an instance is busy, so that the pool outlives its function */
	play_request(play, "GET", "");
	play_run(play);
	busy = play->web;
	web_init(&play->web, stage_connect(&play->stage));
	play_open(play);
	stage_del(&play->stage, "f");
	play_turn(play, 0);
	web_put_body(&bytes, 1, "x", 1);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_true(play_has(play, "Status: 404 "));
	assert_int_equal(play_records(play, "refused"), 1);
	web_free(&busy);
}

static void
a_function_that_changes_while_a_body_is_held_runs_as_the_new_one(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	play_open(play);
	strcpy(play->info.version, "fedcba9876543210");
	play_put(play);
	web_put_body(&bytes, 1, "x", 1);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	served(play, "x");
	assert_int_equal(stage_log_count(&play->stage,
	    "\"version\":\"fedcba9876543210\""), 1);
}

static void
when_the_queue_is_full_the_answer_is_503_with_retry_after(void **state)
{
	struct play *play = *state;
	struct web first;

	play->info.limits.value[LIMIT_QUEUE] = 0;
	play_put(play);
	play_request(play, "GET", "");
	first = play->web;
	web_init(&play->web, stage_connect(&play->stage));
	play_request(play, "GET", "");
	assert_true(play_has(play, "Status: 503 "));
	assert_true(play_has(play, "Retry-After: "));
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play_records(play, "refused"), 1);
	web_free(&first);
}

/* W37 */
static void
a_connection_too_many_is_told_so_and_not_kept(void **state)
{
	struct play *play = *state;
	struct web second;

	play->stage.server.conf->max_connections = 1;
	web_init(&second, stage_connect(&play->stage));
	web_get(&second, 1, FCGI_KEEP_CONN, "/fn/f");
	play_turn(play, 0);
	web_read(&second);
	assert_non_null(strstr(web_text(&second), "Status: 503 "));
	assert_non_null(strstr(web_text(&second), "Retry-After: "));
	assert_int_equal(second.ends, 1);
	assert_true(second.is_closed);
	web_free(&second);
	assert_int_equal(play_records(play, "refused"), 1);
	play_request(play, "POST", "abc");
	served(play, "abc");
}

static void
an_answer_that_is_still_on_its_way_does_not_hold_up_a_drain(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_flood(play, actor);
	actor_close(actor);
	actor_report(actor, INIT_EXIT, 0);
	stage_turn(&play->stage, 0);
	assert_int_equal(play->stage.server.active, 0);
	play->stage.server.is_draining = true;
	conn_list_drain(play->stage.conns, -1);
	for (int i = 0; i < 100 && !play->web.is_closed; i++)
		play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_false(play->web.is_cut);
	assert_true(play->web.is_closed);
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

static void
a_fast_answer_does_not_hold_the_loop(void **state)
{
	static const char text[192 * 1024] = "";
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	struct loop_task task = { .is_queued = false };
	int arrived = 0;

	play_say(play, actor, PLAIN);
	assert_true(fcntl(actor->fds[1], F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
	assert_int_equal(write(actor->fds[1], text, sizeof(text)),
	    sizeof(text));
	loop_defer(play->stage.loop, &task, stop, play->stage.loop);
	assert_int_equal(loop_run(play->stage.loop), 0);
	assert_int_equal(ioctl(play->web.fd, FIONREAD, &arrived), 0);
	assert_in_range(arrived, 64 * 1024, 160 * 1024);
	for (int i = 0; i < 10; i++)
		play_turn(play, 0);
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(buf_len(&play->web.out) > sizeof(text));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_may_be_cut_after_any_byte),
		TEST(a_request_may_come_byte_by_byte),
		TEST(a_kept_connection_serves_one_request_after_another),
		TEST(a_connection_that_is_not_kept_closes_behind_the_answer),
		TEST(get_values_is_answered_with_what_was_asked_for_and_known),
		TEST(management_records_do_not_disturb_a_request),
		TEST(records_of_other_ids_and_types_are_ignored),
		TEST(a_second_request_at_a_time_is_refused_and_the_first_goes_on),
		TEST(requests_of_one_id_in_one_piece_get_the_first_answer_and_the_end),
		TEST(what_comes_behind_the_end_of_a_body_is_none_of_it),
		TEST(an_unknown_role_is_refused),
		TEST(bytes_that_are_no_fastcgi_close_the_peer_and_are_counted),
		TEST(a_begin_that_is_too_short_closes_the_peer),
		TEST(what_is_no_execution_leaves_no_record),
		TEST(a_request_id_is_taken_when_it_is_harmless_and_made_when_not),
		TEST(a_refused_execution_is_recorded),
		TEST(a_body_of_another_length_than_announced_is_refused),
		TEST(params_over_their_bound_are_431_and_malformed_ones_400),
		TEST(a_body_without_a_length_reaches_a_cgi_program_with_one),
		TEST(a_function_that_goes_while_a_body_is_held_is_404),
		TEST(a_function_that_changes_while_a_body_is_held_runs_as_the_new_one),
		TEST(when_the_queue_is_full_the_answer_is_503_with_retry_after),
		TEST(a_connection_too_many_is_told_so_and_not_kept),
		TEST(an_answer_that_is_still_on_its_way_does_not_hold_up_a_drain),
		TEST(a_fast_answer_does_not_hold_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
