/* Bytes both ways between a web server and a CGI program, at their own pace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/play.h"

#define LARGE (3u << 20)

/* Bytes that tell their own position. */
static uint8_t
byte_at(size_t position)
{
	return (uint8_t)(position * 31 + (position >> 8) * 7 +
	    (position >> 16));
}

static void
fill(uint8_t *data, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		data[i] = byte_at(from + i);
}

static void
is_pattern(const uint8_t *data, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (data[i] != byte_at(from + i))
			fail_msg("byte %zu is another", from + i);
}

/* Writes of the pattern what fits; returns the new position. */
static size_t
program_write(struct actor *actor, size_t at, size_t end)
{
	uint8_t piece[8192];

	while (at < end) {
		size_t n = end - at < sizeof(piece) ? end - at : sizeof(piece);
		ssize_t out;

		fill(piece, at, n);
		out = write(actor->fds[1], piece, n);
		if (out < 0)
			return at;
		at += (size_t)out;
	}
	return at;
}

/* The program answers until nobody takes more, for the client reads nothing;
 * how much of the pattern it has written. */
static size_t
write_until_full(struct play *play, struct actor *actor)
{
	size_t at = 0, before;

	fd_set_nonblock(actor->fds[1], true);
	play_say(play, actor, PLAIN);
	do {
		before = at;
		at = program_write(actor, at, LARGE);
		stage_turn(&play->stage, 0);
		stage_turn(&play->stage, 0);
	} while (at > before);
	return at;
}

static void
a_large_answer_waits_in_the_program_for_a_slow_reader(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	size_t at = write_until_full(play, actor);
	const uint8_t *body;

	/* a pipe, our bounded buffer and the socket's: not the whole */
	assert_in_range(at, 100000, 1 << 20);
	while (at < LARGE) {
		at = program_write(actor, at, LARGE);
		play_turn(play, 0);
	}
	play_end(play, actor, 0);
	for (int i = 0; i < 20; i++)
		play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	body = (const uint8_t *)strstr(web_text(&play->web), "\r\n\r\n") + 4;
	assert_int_equal(buf_head(&play->web.out) + buf_len(&play->web.out) -
	    body, LARGE);
	is_pattern(body, 0, LARGE);
	assert_int_equal(play_records(play, "ok"), 1);
}

/* Sends the pattern as the body of a POST; reads nothing. */
static void
send_body(struct play *play, size_t n, const char *length)
{
	const char *const params[] = { "REQUEST_METHOD=POST", length, NULL };
	uint8_t piece[32000];
	struct buf bytes = { 0 };

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	web_send(&play->web, &bytes);
	for (size_t at = 0; at < n; at += sizeof(piece)) {
		size_t part = n - at < sizeof(piece) ? n - at : sizeof(piece);

		fill(piece, at, part);
		assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDIN, 1, piece,
		    part), 0);
		web_send(&play->web, &bytes);
		stage_turn(&play->stage, 0);
	}
	assert_int_equal(fcgi_put_stream_end(&bytes, FCGI_STDIN, 1), 0);
	web_send(&play->web, &bytes);
	stage_turn(&play->stage, 0);
}

static void
a_large_body_is_taken_at_once_and_given_at_the_program_pace(void **state)
{
	struct play *play = *state;
	uint8_t piece[5000];
	struct actor *actor;
	size_t at = 0;
	ssize_t n;

	send_body(play, LARGE, "CONTENT_LENGTH=3145728");
	actor = play_run(play);
	stage_turn(&play->stage, 0);
	while ((n = read(actor->fds[0], piece, sizeof(piece))) > 0) {
		is_pattern(piece, at, (size_t)n);
		at += (size_t)n;
		stage_turn(&play->stage, 0);
	}
	assert_int_equal(n, 0);
	assert_int_equal(at, LARGE);
	play_say(play, actor, PLAIN "read");
	play_end(play, actor, 0);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"bytes_in\":3145728,"), 1);
}

static void
a_program_that_answers_as_it_reads_is_not_stopped_by_itself(void **state)
{
	struct play *play = *state;
	uint8_t piece[4096];
	struct actor *actor;
	size_t at = 0;
	ssize_t n;
	const uint8_t *body;

	send_body(play, LARGE, "CONTENT_LENGTH=3145728");
	actor = play_run(play);
	play_say(play, actor, PLAIN);
	play_turn(play, 0);
	while ((n = read(actor->fds[0], piece, sizeof(piece))) > 0) {
		assert_int_equal(write(actor->fds[1], piece, (size_t)n), n);
		at += (size_t)n;
		play_turn(play, 0);
	}
	assert_int_equal(at, LARGE);
	play_end(play, actor, 0);
	body = (const uint8_t *)strstr(web_text(&play->web), "\r\n\r\n") + 4;
	assert_int_equal(buf_head(&play->web.out) + buf_len(&play->web.out) -
	    body, LARGE);
	is_pattern(body, 0, LARGE);
}

static void
a_program_that_reads_no_body_still_answers(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	send_body(play, LARGE, "CONTENT_LENGTH=3145728");
	actor = play_run(play);
	close_fd(&actor->fds[0]);
	play_turn(play, 0);
	play_say(play, actor, PLAIN "not read");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(play_has(play, "not read"));
	assert_int_equal(play_records(play, "ok"), 1);
}

static void
a_body_that_grows_over_body_max_kills_the_execution(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	play->info.limits.value[LIMIT_BODY_MAX] = 4;
	play_put(play);
	play_open(play); /* without a length: held */
	web_put_body(&bytes, 1, "abcde", 5);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_true(play_has(play, "Status: 413 "));
	assert_int_equal(play_records(play, "refused"), 1);
	assert_int_equal(play->stage.actor_count, 0);
}

static void
an_answer_may_be_cut_after_any_byte(void **state)
{
	static const char answer[] = "Status: 201\r\nX-A: b\r\n"
	    "Content-Length: 11\nContent-Type: text/plain\r\n\r\n"
	    "hello world";
	struct play *play = *state;
	char first[sizeof(answer)], *expected = NULL;

	for (size_t cut = 0; cut < sizeof(answer); cut++) {
		struct actor *actor = play_dispatch(play, "GET", "");

		memcpy(first, answer, cut);
		first[cut] = '\0';
		play_say(play, actor, first);
		play_say(play, actor, answer + cut);
		play_end(play, actor, 0);
		assert_int_equal(play->web.ends, 1);
		if (expected == NULL)
			expected = strdup(web_text(&play->web));
		assert_string_equal(web_text(&play->web), expected);
		play_reconnect(play);
	}
	assert_non_null(strstr(expected, "Status: 201 Created\r\n"));
	assert_non_null(strstr(expected, "\r\n\r\nhello world"));
	assert_int_equal(play_records(play, "ok"), sizeof(answer));
	free(expected);
}

static void
a_head_over_header_max_is_502(void **state)
{
	struct play *play = *state;
	struct actor *actor;
	char head[300];

	play->info.limits.value[LIMIT_HEADER_MAX] = 200;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	snprintf(head, sizeof(head), "X-A: %0200d\n" PLAIN, 1);
	play_say(play, actor, head);
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play_records(play, "error"), 1);
}

/* W36 */
static void
what_a_program_left_in_its_pipe_waits_for_a_slow_client(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	size_t at = write_until_full(play, actor);
	const uint8_t *body;

	/* the pipe is full, and nobody reads it, when the program ends */
	actor_close(actor);
	actor_report(actor, INIT_EXIT, 0);
	stage_turn(&play->stage, 400);
	for (int i = 0; i < 100 && play->web.ends == 0; i++)
		play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	body = (const uint8_t *)strstr(web_text(&play->web), "\r\n\r\n") + 4;
	assert_int_equal(buf_head(&play->web.out) + buf_len(&play->web.out) -
	    body, at);
	is_pattern(body, 0, at);
	assert_int_equal(play_records(play, "ok"), 1);
}

static void
what_was_written_before_the_end_is_never_lost(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	size_t at;

	/* the report overtakes what still stands in the pipe */
	fd_set_nonblock(actor->fds[1], true);
	assert_int_equal(write(actor->fds[1], PLAIN, strlen(PLAIN)),
	    strlen(PLAIN));
	at = program_write(actor, 0, LARGE);
	assert_true(at > 30000);
	play_end(play, actor, 0);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(buf_len(&play->web.out) -
	    (size_t)(strstr(web_text(&play->web), "\r\n\r\n") + 4 -
	    (char *)buf_head(&play->web.out)), at);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_large_answer_waits_in_the_program_for_a_slow_reader),
		TEST(a_large_body_is_taken_at_once_and_given_at_the_program_pace),
		TEST(a_program_that_answers_as_it_reads_is_not_stopped_by_itself),
		TEST(a_program_that_reads_no_body_still_answers),
		TEST(a_body_that_grows_over_body_max_kills_the_execution),
		TEST(an_answer_may_be_cut_after_any_byte),
		TEST(a_head_over_header_max_is_502),
		TEST(what_a_program_left_in_its_pipe_waits_for_a_slow_client),
		TEST(what_was_written_before_the_end_is_never_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
