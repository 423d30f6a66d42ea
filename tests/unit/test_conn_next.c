/* Which connections are kept, and how they go to the next gateway, through a pair of
 * sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/play.h"

/* Drains into a new pair; the end that the next gateway has. */
static int
drain(struct play *play)
{
	int pair[2];

	assert_int_equal(sock_pair(pair), 0);
	assert_int_equal(fd_set_nonblock(pair[0], true), 0);
	assert_int_equal(fd_set_nonblock(pair[1], true), 0);
	play->stage.server.is_draining = true;
	conn_list_drain(play->stage.conns, pair[0]);
	play_turn(play, 0);
	return pair[1];
}

/* What is left serves again, as the next gateway. */
static void
adopt(struct play *play, int pair_fd, size_t expected)
{
	play->stage.server.is_draining = false;
	assert_int_equal(conn_list_adopt(play->stage.conns, pair_fd),
	    expected);
	close(pair_fd);
}

static void
an_idle_connection_is_served_by_the_next(void **state)
{
	struct play *play = *state;
	int pair_fd = drain(play);

	assert_int_equal(play->stage.server.connections, 0);
	assert_false(play->web.is_closed);
	/* While it belongs to nobody. */
	play_request(play, "GET", "");
	adopt(play, pair_fd, 1);
	play_turn(play, 0);
	play_say(play, play_run(play), PLAIN "served");
	play_end(play, stage_last(&play->stage), 0);
	assert_int_equal(play->web.ends, 1);
	assert_string_equal(strstr(web_text(&play->web), "served"), "served");
}

static void
a_busy_one_follows_when_its_answer_is_out(void **state)
{
	struct play *play = *state;
	int pair_fd;

	web_get(&play->web, 1, FCGI_KEEP_CONN, "/fn/f");
	play_turn(play, 0);
	pair_fd = drain(play);
	assert_int_equal(play->stage.server.connections, 1);
	play_say(play, play_run(play), PLAIN "x");
	play_end(play, stage_last(&play->stage), 0);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play->stage.server.connections, 0);
	assert_false(play->web.is_closed);
	adopt(play, pair_fd, 1);
	web_get(&play->web, 2, FCGI_KEEP_CONN, "/fn/g");
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 2);
}

/* A web server that is slow in reading has had its answer when it has read it. */
static void
one_whose_answer_is_still_on_its_way_follows_behind_it(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	int pair_fd;

	play_flood(play, actor);
	actor_close(actor);
	actor_report(actor, INIT_EXIT, 0);
	stage_turn(&play->stage, 0);
	assert_int_equal(play->stage.server.active, 0);
	pair_fd = drain(play);
	assert_int_equal(play->stage.server.connections, 1);
	for (int i = 0; i < 100 && play->web.ends == 0; i++)
		play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play->stage.server.connections, 0);
	assert_false(play->web.is_closed);
	play_request(play, "GET", "");
	adopt(play, pair_fd, 1);
	play_turn(play, 0);
	play_say(play, play_run(play), PLAIN "next");
	play_end(play, stage_last(&play->stage), 0);
	assert_int_equal(play->web.ends, 2);
}

static void
what_arrived_before_is_served_and_what_is_not_kept_is_closed(void **state)
{
	struct play *play = *state;
	int pair_fd;

	/* Not read yet when the drain begins. */
	web_get(&play->web, 1, 0, "/fn/f");
	pair_fd = drain(play);
	play_say(play, play_run(play), PLAIN "x");
	play_end(play, stage_last(&play->stage), 0);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(play->web.is_closed);
	adopt(play, pair_fd, 0);
}

static void
one_in_the_middle_of_a_record_is_closed(void **state)
{
	struct play *play = *state;
	int pair_fd;

	assert_int_equal(send(play->web.fd, "\1\1\0", 3, 0), 3);
	play_turn(play, 0);
	pair_fd = drain(play);
	assert_true(play->web.is_closed);
	adopt(play, pair_fd, 0);
}

static void
those_that_find_no_room_or_nobody_are_closed(void **state)
{
	struct play *play = *state;
	int pair[2];

	assert_int_equal(sock_pair(pair), 0);
	close(pair[1]);
	play->stage.server.is_draining = true;
	conn_list_drain(play->stage.conns, pair[0]);
	play_turn(play, 0);
	assert_true(play->web.is_closed);
	assert_int_equal(play->stage.server.connections, 0);
}

static void
only_connected_streams_are_adopted(void **state)
{
	struct play *play = *state;
	int pair[2], stream[2], other = open("/dev/null", O_RDWR | O_CLOEXEC);
	int listening = sock_listen_tcp("127.0.0.1:0", 1);

	assert_int_equal(sock_pair(pair), 0);
	assert_int_equal(fd_set_nonblock(pair[1], true), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    stream), 0);
	assert_int_equal(sock_send(pair[0], "c", 1, &other, 1), 0);
	assert_int_equal(sock_send(pair[0], "c", 1, NULL, 0), 0);
	assert_int_equal(sock_send(pair[0], "c", 1, &listening, 1), 0);
	assert_int_equal(sock_send(pair[0], "c", 1, &pair[0], 1), 0);
	assert_int_equal(sock_send(pair[0], "two", 3, &stream[0], 1), 0);
	assert_int_equal(sock_send(pair[0], "c", 1, &stream[0], 1), 0);
	assert_int_equal(conn_list_adopt(play->stage.conns, pair[1]), 1);
	assert_int_equal(play->stage.server.connections, 2);
	close(stream[1]);
	play_turn(play, 0);
	close(stream[0]);
	close(other);
	close(listening);
	close(pair[0]);
	close(pair[1]);
}

/* A program that reads its length, and no further, has answered before the mark of
 * the body's end is there. */
static void
a_connection_is_kept_though_the_mark_of_the_bodys_end_comes_late(void **state)
{
	static const char *const params[] = { "REQUEST_METHOD=POST",
		"CONTENT_LENGTH=6", NULL };
	struct play *play = *state;
	struct buf bytes = { 0 };
	struct actor *actor;
	int pair_fd;

	for (size_t lap = 1; lap <= 2; lap++) {
		/* the mark that was missing comes with the next request */
		if (lap == 2)
			assert_int_equal(fcgi_put_stream_end(&bytes,
			    FCGI_STDIN, 1), 0);
		web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
		assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDIN, 1,
		    "a body", 6), 0);
		web_send(&play->web, &bytes);
		play_turn(play, 0);
		actor = play_run(play);
		play_say(play, actor, PLAIN "read");
		play_end(play, actor, 0);
		assert_int_equal(play->web.ends, lap);
		assert_false(play->web.is_closed);
		if (lap == 1) { /* nor does it hinder the next gateway */
			pair_fd = drain(play);
			assert_int_equal(play->stage.server.connections, 0);
			adopt(play, pair_fd, 1);
		}
	}
	assert_int_equal(play_records(play, "ok"), 2);
}

/* What is to come of it would be taken for the next request. */
static void
a_connection_is_not_kept_where_a_rest_of_the_body_is_to_come(void **state)
{
	static const char *const params[] = { "REQUEST_METHOD=POST",
		"CONTENT_LENGTH=7", NULL };
	struct play *play = *state;
	struct buf bytes = { 0 };
	struct actor *actor;

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDIN, 1, "a body", 6),
	    0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	actor = play_run(play);
	play_say(play, actor, PLAIN "unread");
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(play->web.is_closed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_idle_connection_is_served_by_the_next),
		TEST(a_busy_one_follows_when_its_answer_is_out),
		TEST(one_whose_answer_is_still_on_its_way_follows_behind_it),
		TEST(what_arrived_before_is_served_and_what_is_not_kept_is_closed),
		TEST(one_in_the_middle_of_a_record_is_closed),
		TEST(those_that_find_no_room_or_nobody_are_closed),
		TEST(only_connected_streams_are_adopted),
		TEST(
		    a_connection_is_kept_though_the_mark_of_the_bodys_end_comes_late),
		TEST(
		    a_connection_is_not_kept_where_a_rest_of_the_body_is_to_come),
	};

	return cmocka_run_group_tests_name("conn_next", tests, NULL, NULL);
}
