/* The connection to a FastCGI program between two executions; the test is the
 * program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>

#include "fcgi-host/sock.h"
#include "tests/unit/program.h"

static struct program program;

static int
set_up(void **state)
{
	return program_set_up(&program, state);
}

static int
tear_down(void **state)
{
	return program_tear_down(&program, state);
}

static struct channel *
channel_of(struct actor *actor)
{
	union {
		const struct instance *given;
		struct instance *own;
	} instance = { actor->instance };

	return &instance.own->channel;
}

static void
ask(struct play *play)
{
	play_request(play, "GET", "");
}

/* The program takes the request that it was asked, and answers. */
static void
serve(struct play *play, struct actor *actor, const char *text)
{
	size_t ends = play->web.ends;

	program_receive(&program);
	assert_true(program.has_body_end);
	program_answer(&program, play, actor, text);
	assert_int_equal(play->web.ends, ends + 1);
	assert_true(play_has(play, text));
	assert_int_equal(play_records(play, "ok"), ends + 1);
}

static void
is_closed_by_the_host(void)
{
	ssize_t n = recv(program.fd, &(char){ 0 }, 1, MSG_DONTWAIT);

	/* a reset, where it had not read what came */
	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
	close_fd(&program.fd);
}

static void
is_kept_by_the_host(void)
{
	char byte;

	assert_int_equal(recv(program.fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void
nobody_connects(void)
{
	assert_int_equal(accept4(program.listen_fd, NULL, NULL,
	    SOCK_CLOEXEC), -1);
	assert_int_equal(errno, EAGAIN);
}

/* What was asked came on a connection of its own, which ends with it. */
static void
serve_alone(struct play *play, struct actor *actor)
{
	serve(play, actor, "alone");
	assert_int_equal(program.id, 1);
	assert_int_equal(program.flags & FCGI_KEEP_CONN, 0);
	is_closed_by_the_host();
}

static void
serve_kept(struct play *play, struct actor *actor)
{
	serve(play, actor, "kept");
	assert_int_equal(program.flags & FCGI_KEEP_CONN, FCGI_KEEP_CONN);
	is_kept_by_the_host();
}

/* Whatever is asked next. */
static void
is_single_use(struct play *play, struct actor *actor)
{
	for (int i = 0; i < 2; i++) {
		ask(play);
		serve_alone(play, actor);
	}
}

/* What the program said out of turn reached nobody, and ended the connection. */
static void
is_not_heard(struct play *play, struct actor *actor)
{
	assert_false(play_has(play, "evil"));
	is_closed_by_the_host();
	is_single_use(play, actor);
}

static void
say(const char *bytes, size_t n)
{
	assert_int_equal(send(program.fd, bytes, n, MSG_NOSIGNAL), n);
}

static void
say_record(uint8_t type, uint16_t id, const char *text)
{
	struct buf bytes = { 0 };

	if (type == FCGI_END_REQUEST)
		assert_int_equal(fcgi_put_end(&bytes, id, 0,
		    FCGI_REQUEST_COMPLETE), 0);
	else
		assert_int_equal(fcgi_put_stream(&bytes, type, id, text,
		    strlen(text)), 0);
	say((const char *)buf_head(&bytes), buf_len(&bytes));
	buf_free(&bytes);
}

/* W16 */
static void
one_connection_serves_many_requests_and_each_has_its_own_id(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	assert_int_equal(program.flags & FCGI_KEEP_CONN, FCGI_KEEP_CONN);
	for (uint16_t id = 2; id < 6; id++) {
		is_kept_by_the_host();
		ask(play);
		serve(play, actor, "more");
		assert_int_equal(program.id, id);
	}
	assert_int_equal(program.accepts, 1);
	nobody_connects();
}

static int
unread(void)
{
	int left = -1;

	assert_int_equal(ioctl(program.fd, SIOCOUTQ, &left), 0);
	return left;
}

static void
an_answer_that_was_only_looked_at_is_taken_soon(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	/* nobody asks: with the loop's next turn */
	play_turn(play, 0);
	assert_int_equal(unread(), 0);
	is_kept_by_the_host();
	for (int i = 0; i < 3; i++) {
		ask(play);
		assert_int_equal(unread(), 0);
		serve(play, actor, "once");
	}
	assert_int_equal(program.accepts, 1);
}

static void
an_answer_of_any_length_is_passed_on_once(void **state)
{
	static const size_t lengths[] = { 1, CHANNEL_LOOK_MAX - 60,
		CHANNEL_LOOK_MAX, CHANNEL_LOOK_MAX + 1, 60000 };
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		char text[65536];
		size_t before;

		memset(text, 'a' + (int)i, lengths[i]);
		text[lengths[i]] = '\0';
		ask(play);
		before = buf_len(&play->web.out);
		serve(play, actor, text);
		assert_in_range(buf_len(&play->web.out) - before, lengths[i],
		    lengths[i] + 100);
	}
	assert_int_equal(program.accepts, 1);
}

static void
ids_begin_again_behind_the_last_and_are_never_0(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	channel_of(actor)->id = UINT16_MAX - 1;
	ask(play);
	serve(play, actor, "last");
	assert_int_equal(program.id, UINT16_MAX);
	ask(play);
	serve(play, actor, "again");
	assert_int_equal(program.id, 1);
	assert_int_equal(program.accepts, 1);
}

/* W16; libfcgi would take what a program leaves of a body for records. */
static void
a_request_with_a_body_has_a_connection_of_its_own(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "POST", "a body");
	/* libfcgi waits on the one that is kept: that has to end first */
	is_closed_by_the_host();
	serve_alone(play, actor);
	ask(play);
	serve_kept(play, actor);
}

/* One that might be done twice, should the program read otherwise today. */
static void
a_request_that_may_change_something_has_a_connection_of_its_own(void **state)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "PATCH",
		"get", "GETS" };
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		play_request(play, methods[i], "");
		is_closed_by_the_host();
		serve_alone(play, actor);
		play_request(play, i % 2 == 0 ? "GET" : "OPTIONS", "");
		serve_kept(play, actor);
	}
}

static void
who_closes_what_was_not_to_be_kept_is_not_blamed(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	play_request(play, "POST", "a body");
	is_closed_by_the_host();
	program_receive(&program);
	program_put(&program, play, FCGI_STDOUT, PLAIN "hello");
	program_end(&program, play, 0, FCGI_REQUEST_COMPLETE);
	close_fd(&program.fd); /* while its memory is asked for */
	play_turn(play, 0);
	program_measured(play, actor);
	assert_int_equal(play->web.ends, 2);
	ask(play);
	serve_kept(play, actor);
}

static void
a_request_that_is_not_read_at_once_has_a_connection_of_its_own(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);
	static char long_value[CHANNEL_REQUEST_MAX] = "HTTP_X=";
	const char *const params[] = { long_value, "CONTENT_LENGTH=0", NULL };
	struct buf bytes = { 0 };

	memset(long_value + 7, 'x', sizeof(long_value) - 8);
	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	web_put_body(&bytes, 1, "", 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	is_closed_by_the_host();
	serve_alone(play, actor);
}

static void
where_descriptors_are_few_no_connection_is_kept(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->stage.fleet.fd_ceiling = 3;
	actor = program_warm(&program, play);
	for (int i = 0; i < 2; i++) {
		is_closed_by_the_host();
		ask(play);
		serve(play, actor, "alone");
	}
	play->stage.fleet.fd_ceiling = 0;
	ask(play);
	is_closed_by_the_host();
	serve_kept(play, actor);
}

/* As php-cgi, which never asks for the end of a STDIN that it does not need:
 * a reset would say nothing of what it has done. */
static void
a_program_that_answers_before_it_has_read_all_keeps_no_connection(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	uint8_t some[100];

	program.fd = accept4(program.listen_fd, NULL, NULL,
	    SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_int_equal(recv(program.fd, some, sizeof(some), 0),
	    sizeof(some));
	program.id = 1;
	program_answer(&program, play, actor, "early");
	assert_int_equal(play->web.ends, 1);
	while (recv(program.fd, some, sizeof(some), 0) > 0)
		;
	is_closed_by_the_host();
	is_single_use(play, actor);
}

static void
what_comes_between_two_requests_reaches_nobody(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} words[] = {
		{ "\1\6\0\1\0\4\0\0evil", 12 }, /* of the last one */
		{ "\1\6\0\2\0\4\0\0evil", 12 }, /* of the next one */
		{ "\1\6\0\2", 4 },
		{ "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0", 16 },
		{ "\1\12\0\0\0\0\0\0", 8 },
		{ "HTTP/1.1 200 OK\r\n\r\n", 19 },
	};
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		say(words[i].bytes, words[i].n);
		play_turn(play, 0);
		is_not_heard(play, actor);
		assert_false(play_has(play, "evil"));
		/* forgotten, for the next word */
		channel_of(actor)->is_single_use = false;
		ask(play);
		serve_kept(play, actor);
	}
}

static void
what_comes_with_the_end_of_a_request_reaches_nobody(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_start(&program, play, "");
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDOUT, 1, PLAIN "good",
	    strlen(PLAIN "good")), 0);
	assert_int_equal(fcgi_put_end(&bytes, 1, 0, FCGI_REQUEST_COMPLETE), 0);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDOUT, 2, "evil", 4), 0);
	say((const char *)buf_head(&bytes), buf_len(&bytes));
	buf_free(&bytes);
	play_turn(play, 0);
	program_measured(play, actor);
	is_closed_by_the_host();
	ask(play);
	serve(play, actor, "better");
	assert_false(play_has(play, "evil"));
}

/* Nothing of it came before the next request was under way. */
static void
what_comes_late_of_a_request_is_no_part_of_the_next(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	ask(play);
	say_record(FCGI_STDOUT, 1, "evil");
	say_record(FCGI_STDERR, 1, "evil");
	play_turn(play, 0);
	serve(play, actor, "its own");
	is_not_heard(play, actor);
}

static void
a_late_end_of_a_request_is_not_the_end_of_the_next(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	ask(play);
	say_record(FCGI_END_REQUEST, 1, NULL);
	play_turn(play, 0);
	serve(play, actor, "its own");
	play_turn(play, 400);
	assert_false(actor->is_killed);
	is_closed_by_the_host();
	is_single_use(play, actor);
}

static void
what_comes_late_before_a_close_costs_no_request(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	ask(play);
	say_record(FCGI_STDOUT, 1, "evil");
	say_record(FCGI_END_REQUEST, 1, NULL);
	close_fd(&program.fd); /* with the request unread */
	play_turn(play, 0);
	serve(play, actor, "good");
	is_not_heard(play, actor);
}

/* A program that answers each request as if it were the first. */
static void
a_second_end_of_a_request_is_not_waited_behind(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);
	int second = program_listen(2);

	ask(play);
	program_receive(&program);
	say_record(FCGI_STDOUT, 1, PLAIN "evil");
	say_record(FCGI_END_REQUEST, 1, NULL);
	play_turn(play, 700);
	assert_int_equal(play->web.ends, 1);
	program_measured(play, actor);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "Status: 502 "));
	assert_false(play_has(play, "evil"));
	assert_true(actor->is_killed);
	/* the function's next program is asked so that it can be right */
	play_gone(play, actor, 9);
	close_fd(&program.fd);
	close_fd(&program.listen_fd);
	program.listen_fd = second;
	ask(play);
	actor = play_run(play);
	program_receive(&program);
	assert_int_equal(program.flags & FCGI_KEEP_CONN, 0);
	program_answer(&program, play, actor, "right");
	assert_true(play_has(play, "right"));
	unlink("/2.sock");
}

static void
a_request_that_a_closed_connection_never_took_is_sent_again(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	ask(play);
	close_fd(&program.fd); /* what was sent lies unread */
	play_turn(play, 0);
	program_receive(&program);
	assert_int_equal(program.accepts, 2);
	assert_int_equal(program.id, 1);
	program_answer(&program, play, actor, "answered");
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "answered"));
	assert_int_equal(play_records(play, "ok"), 2);
	is_closed_by_the_host();
	is_single_use(play, actor);
}

static void
a_connection_that_closes_while_nobody_asks_costs_nothing(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	close_fd(&program.fd);
	is_single_use(play, actor);
	play_turn(play, 0);
	is_single_use(play, actor);
}

/* It may have been executed: it is not executed twice. */
static void
a_request_that_was_read_is_never_sent_again(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	ask(play);
	program_receive(&program);
	close_fd(&program.fd);
	play_turn(play, 400);
	nobody_connects();
	program_measured(play, actor);
	assert_int_equal(play->web.ends, 2);
	assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play_records(play, "error"), 1);
	assert_true(actor->is_killed);
}

static void
a_request_with_a_part_of_an_answer_is_never_sent_again(void **state)
{
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);

	ask(play);
	say_record(FCGI_STDOUT, 2, PLAIN "half");
	play_turn(play, 0);
	close_fd(&program.fd);
	play_turn(play, 400);
	nobody_connects();
	program_measured(play, actor);
	assert_true(play->web.is_cut);
}

static void
a_client_that_leaves_in_mid_answer_costs_the_connection(void **state)
{
	struct play *play = *state;
	struct actor *actor;
	uint8_t record[FCGI_HEADER_LEN];

	play->info.limits.value[LIMIT_ABORT_GRACE_MS] = 0;
	play_put(play);
	actor = program_warm(&program, play);
	ask(play);
	program_receive(&program);
	program_put(&program, play, FCGI_STDOUT, PLAIN "half");
	close_fd(&play->web.fd);
	stage_turn(&play->stage, 10);
	assert_true(actor->is_killed);
	stage_gone(&play->stage, actor, 9);
	stage_turn(&play->stage, 0);
	assert_int_equal(recv(program.fd, record, 8, MSG_DONTWAIT), 8);
	assert_int_equal(record[1], FCGI_ABORT_REQUEST);
	is_closed_by_the_host();
	assert_int_equal(play_records(play, "aborted"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_connection_serves_many_requests_and_each_has_its_own_id),
		TEST(an_answer_that_was_only_looked_at_is_taken_soon),
		TEST(an_answer_of_any_length_is_passed_on_once),
		TEST(ids_begin_again_behind_the_last_and_are_never_0),
		TEST(a_request_with_a_body_has_a_connection_of_its_own),
		TEST(who_closes_what_was_not_to_be_kept_is_not_blamed),
		TEST(a_request_that_may_change_something_has_a_connection_of_its_own),
		TEST(a_request_that_is_not_read_at_once_has_a_connection_of_its_own),
		TEST(where_descriptors_are_few_no_connection_is_kept),
		TEST(a_program_that_answers_before_it_has_read_all_keeps_no_connection),
		TEST(what_comes_between_two_requests_reaches_nobody),
		TEST(what_comes_with_the_end_of_a_request_reaches_nobody),
		TEST(what_comes_late_of_a_request_is_no_part_of_the_next),
		TEST(a_late_end_of_a_request_is_not_the_end_of_the_next),
		TEST(what_comes_late_before_a_close_costs_no_request),
		TEST(a_second_end_of_a_request_is_not_waited_behind),
		TEST(a_request_that_a_closed_connection_never_took_is_sent_again),
		TEST(a_connection_that_closes_while_nobody_asks_costs_nothing),
		TEST(a_request_that_was_read_is_never_sent_again),
		TEST(a_request_with_a_part_of_an_answer_is_never_sent_again),
		TEST(a_client_that_leaves_in_mid_answer_costs_the_connection),
	};

	if (!program_is_possible())
		return 77;
	return cmocka_run_group_tests(tests, program_enter_root,
	    program_leave_root);
}
