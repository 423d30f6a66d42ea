/* A FastCGI program behind the relay; the test is the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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

static struct actor *
start(struct play *play, const char *body)
{
	return program_start(&program, play, body);
}

static void
put(struct play *play, uint8_t type, const char *text)
{
	program_put(&program, play, type, text);
}

static void
put_end(struct play *play, uint32_t app_status, uint8_t protocol_status)
{
	program_end(&program, play, app_status, protocol_status);
}

/* W16 */
static void
a_program_has_one_connection_at_a_time_and_stays_warm(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "abc");
	char end;

	assert_true(program.has_begin && program.has_params_end && program.has_body_end);
	assert_int_equal(buf_len(&program.got), 3);
	assert_memory_equal(buf_head(&program.got), "abc", 3);
	put(play, FCGI_STDOUT, PLAIN "hello");
	assert_true(play_has(play, "hello"));
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	assert_int_equal(play->web.ends, 0); /* its memory is asked for */
	program_measured(play, actor);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"mem_peak_kib\":512,\"mem_source\":\"process\""), 1);
	assert_int_equal(recv(program.fd, &end, 1, 0), 0); /* closed by the host */
	close_fd(&program.fd);
	play_request(play, "GET", "");
	assert_false(actor_order(actor)); /* it runs already */
	program_receive(&program);
	put(play, FCGI_STDOUT, PLAIN "again");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	program_measured(play, actor);
	assert_int_equal(play->web.ends, 2);
	assert_int_equal(stage_log_count(&play->stage, "\"cold\":false"), 1);
	assert_int_equal(play_records(play, "ok"), 2);
	/* what it held when it was last asked is what it begins with */
	assert_int_equal(stage_log_count(&play->stage,
	    "\"mem_start_kib\":0,\"mem_start_source\":\"none\""), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"mem_start_kib\":400,\"mem_start_source\":\"process\""), 1);
	assert_int_equal(stage_log_count(&play->stage, "\"program_us\":0,"), 1);
}

static void
clock_set(struct play *play, unsigned usage_us)
{
	char text[80];

	snprintf(text, sizeof(text), "usage_usec %u\nuser_usec %u\n"
	    "system_usec 0\n", usage_us, usage_us);
	assert_int_equal(ftruncate(play->stage.cpu_stat_fd, 0), 0);
	assert_int_equal(pwrite(play->stage.cpu_stat_fd, text, strlen(text),
	    0), strlen(text));
}

/* An execution that takes so much processor time; whether init was asked for
 * its memory. */
static bool
is_measured(struct play *play, struct actor *actor, unsigned *at_us,
    unsigned cpu_us)
{
	size_t ends = play->web.ends;

	if (actor->is_up)
		play_request(play, "GET", "");
	program_receive(&program);
	clock_set(play, *at_us += cpu_us);
	put(play, FCGI_STDOUT, PLAIN "hello");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	if (play->web.ends > ends)
		return false;
	program_measured(play, actor);
	assert_int_equal(play->web.ends, ends + 1);
	return true;
}

static void
the_memory_of_short_executions_is_read_once_for_some_of_them(void **state)
{
	struct play *play = *state;
	struct actor *actor;
	unsigned at_us = 0;

	play->stage.cpu_stat_fd = memfd_create("cpu.stat", MFD_CLOEXEC);
	clock_set(play, 0);
	actor = start(play, "");
	clock_set(play, at_us += 300);
	put(play, FCGI_STDOUT, PLAIN "hello");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	program_measured(play, actor);
	/* short, and soon after a short one that was measured */
	assert_false(is_measured(play, actor, &at_us, 400));
	assert_int_equal(stage_log_count(&play->stage,
	    "\"mem_peak_kib\":512,\"mem_source\":\"process-lately\""), 1);
	/* a long one is measured itself, and its peak is not the next one's */
	assert_true(is_measured(play, actor, &at_us, 5000));
	assert_true(is_measured(play, actor, &at_us, 100));
	assert_false(is_measured(play, actor, &at_us, 100));
	/* an older reading holds while little was done since */
	play_turn(play, 60);
	assert_false(is_measured(play, actor, &at_us, 100));
	assert_true(is_measured(play, actor, &at_us, 900));
	assert_false(is_measured(play, actor, &at_us, 900));
	/* an old one says nothing any more */
	play_turn(play, 1010);
	assert_true(is_measured(play, actor, &at_us, 10));
	assert_int_equal(stage_log_count(&play->stage,
	    "\"mem_source\":\"process\""), 5);
	close_fd(&play->stage.cpu_stat_fd);
}

static void
an_init_that_does_not_measure_delays_the_end_only_shortly(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");
	char *log, *at;

	put(play, FCGI_STDOUT, PLAIN "hello");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	play_turn(play, 50);
	assert_int_equal(play->web.ends, 0);
	play_turn(play, 300);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play_records(play, "ok"), 1);
	/* from the end of its answer on it was waiting */
	play_gone(play, actor, 0);
	log = stage_log(&play->stage);
	at = strstr(log, "\"idle_us\":");
	assert_non_null(at);
	assert_true(strtoul(at + 10, NULL, 10) >= 300000);
	free(log);
}

static void
a_client_that_leaves_while_the_memory_is_asked_for_is_recorded_once(
    void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	put(play, FCGI_STDOUT, PLAIN "hello");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	close_fd(&play->web.fd);
	stage_turn(&play->stage, 0);
	assert_int_equal(play_executions(play), 0);
	program_measured(play, actor);
	assert_int_equal(play->stage.server.active, 0);
	assert_int_equal(play_executions(play), 1);
}

static void
an_instance_that_dies_while_the_memory_is_asked_for_is_recorded_once(
    void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	put(play, FCGI_STDOUT, PLAIN "hello");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	play_gone(play, actor, 9);
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(play->stage.server.active, 0);
}

static void
stderr_records_are_no_part_of_the_answer(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	put(play, FCGI_STDERR, "before\n");
	put(play, FCGI_STDOUT, PLAIN "hello");
	put(play, FCGI_STDERR, "after\n");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	program_measured(play, actor);
	assert_true(play_has(play, "hello"));
	assert_false(play_has(play, "before"));
	assert_false(play_has(play, "after"));
}

/* W13 */
static void
an_app_status_is_the_exit_code(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	put(play, FCGI_STDOUT, PLAIN "hello");
	put_end(play, 7, FCGI_REQUEST_COMPLETE);
	program_measured(play, actor);
	assert_int_equal(play->web.app_status, 7);
	assert_int_equal(stage_log_count(&play->stage, "\"exit\":7"), 1);
	assert_int_equal(play_records(play, "error"), 1);
}

/* What is not an orderly end is 502, or a cut, and costs the instance. */
static void
ended_badly(struct play *play, struct actor *actor, bool is_cut)
{
	if (!is_cut)
		assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play->web.is_cut, is_cut);
	assert_true(actor->is_killed);
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(play_records(play, "ok"), 0);
}

static void
a_program_that_refuses_the_request_is_502(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	put_end(play, 0, FCGI_OVERLOADED);
	play_turn(play, 400);
	program_measured(play, actor);
	ended_badly(play, actor, false);
}

/* Apache sends it behind the parameters, in a write of its own. */
static void
a_web_servers_connection_is_kept_though_the_mark_of_no_body_comes_late(
    void **state)
{
	static const char *const params[] = { "REQUEST_METHOD=GET", NULL };
	struct play *play = *state;
	struct actor *actor = program_warm(&program, play);
	struct buf bytes = { 0 };

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	close_fd(&program.fd); /* the first request's, which ended with it */
	program_receive(&program);
	program_answer(&program, play, actor, "early");
	assert_int_equal(play->web.ends, 2);
	assert_false(play->web.is_closed);
	assert_int_equal(fcgi_put_stream_end(&bytes, FCGI_STDIN, 1), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_false(play->web.is_closed);
	assert_int_equal(play_records(play, "ok"), 2);
}

static void
a_program_that_speaks_no_fastcgi_is_502(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	assert_int_equal(send(program.fd, "HTTP/1.1 200 OK\r\n\r\n", 19, 0), 19);
	play_turn(play, 400);
	program_measured(play, actor);
	ended_badly(play, actor, false);
}

static void
a_connection_that_closes_without_an_end_cuts_the_answer(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	put(play, FCGI_STDOUT, PLAIN "half of");
	close_fd(&program.fd);
	play_turn(play, 400);
	program_measured(play, actor);
	ended_badly(play, actor, true);
}

static void
a_program_that_crashes_is_told_by_its_signal(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	close_fd(&program.fd);
	actor_report(actor, INIT_EXIT, 11);
	play_turn(play, 0);
	ended_badly(play, actor, false);
	assert_int_equal(stage_log_count(&play->stage, "\"signal\":11"), 1);
	assert_int_equal(play_records(play, "crash"), 1);
}

/* The program writes its answer to the end, of which the gateway has taken only
 * a part since the client does not read; then it exits. */
static void
answer_unread_and_exit(struct play *play, struct actor *actor)
{
	struct buf end = { 0 };
	char text[10000];
	int left = 0;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	put(play, FCGI_STDOUT, PLAIN);
	while (left == 0) {
		struct buf bytes = { 0 };

		assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDOUT, 1, text,
		    strlen(text)), 0);
		assert_int_equal(send(program.fd, buf_head(&bytes), buf_len(&bytes),
		    MSG_NOSIGNAL), buf_len(&bytes));
		buf_free(&bytes);
		stage_turn(&play->stage, 0);
		assert_int_equal(ioctl(program.fd, SIOCOUTQ, &left), 0);
	}
	assert_int_equal(fcgi_put_end(&end, 1, 0, FCGI_REQUEST_COMPLETE), 0);
	assert_int_equal(send(program.fd, buf_head(&end), buf_len(&end),
	    MSG_NOSIGNAL), buf_len(&end));
	buf_free(&end);
	close_fd(&program.fd);
	actor_report(actor, INIT_EXIT, 0);
}

static void
read_to_the_end(struct play *play)
{
	for (int i = 0; i < 100 && play->web.ends == 0; i++)
		play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_false(play->web.is_cut);
	assert_int_equal(play_records(play, "ok"), 1);
	assert_int_equal(play_executions(play), 1);
}

/* W36 */
static void
the_last_answer_of_a_program_that_retires_waits_for_a_slow_client(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	answer_unread_and_exit(play, actor);
	stage_turn(&play->stage, 0);
	stage_gone(&play->stage, actor, 0);
	stage_turn(&play->stage, 400);
	read_to_the_end(play);
}

static void
the_spawner_may_tell_of_a_death_before_init_is_heard(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");

	answer_unread_and_exit(play, actor);
	stage_gone(&play->stage, actor, 0);
	read_to_the_end(play);
}

static void
a_program_that_nobody_can_reach_is_502(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	close_fd(&program.listen_fd);
	play_request(play, "GET", "");
	actor = stage_last(&play->stage);
	stage_up(&play->stage, actor);
	play_turn(play, 0);
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	ended_badly(play, actor, false);
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

/* Records without an answer cost most where they are small: of each turn of the
 * loop they get a small and bounded part. */
static void
a_flood_that_holds_no_answer_does_not_hold_the_loop(void **state)
{
	struct play *play = *state;
	struct actor *actor = start(play, "");
	struct loop_task task = { .is_queued = false };
	struct buf flood = { 0 };
	int size = 8 << 20, left = 0, sent = 0;

	for (int i = 0; i < 1000; i++)
		assert_int_equal(fcgi_put_header(&flood, FCGI_STDERR, 1, 0, 0),
		    0);
	assert_int_equal(setsockopt(program.fd, SOL_SOCKET, SO_SNDBUFFORCE, &size,
	    sizeof(size)), 0);
	while (sent < 2 << 20 && send(program.fd, buf_head(&flood), buf_len(&flood),
	    MSG_DONTWAIT) > 0)
		sent += (int)buf_len(&flood);
	assert_true(sent >= 2 << 20);
	loop_defer(play->stage.loop, &task, stop, play->stage.loop);
	assert_int_equal(loop_run(play->stage.loop), 0);
	play_turn(play, 0);
	loop_defer(play->stage.loop, &task, stop, play->stage.loop);
	assert_int_equal(loop_run(play->stage.loop), 0);
	assert_int_equal(ioctl(program.fd, SIOCOUTQ, &left), 0);
	assert_true(left > sent - (256 << 10));
	for (int i = 0; i < 2000; i++)
		play_turn(play, 0);
	assert_int_equal(ioctl(program.fd, SIOCOUTQ, &left), 0);
	assert_int_equal(left, 0);
	put(play, FCGI_STDOUT, PLAIN "hello");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	program_measured(play, actor);
	assert_true(play_has(play, "hello"));
	buf_free(&flood);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* FastCGI 1.0 section 6.3; what the web server sends of a body all the same
 * is dropped.  libfcgi needs an end where its program reads. */
static void
an_authorizer_is_asked_in_its_role_and_with_an_empty_stdin(void **state)
{
	static const char *const params[] = { "FCGI_HOST_AUTHORIZER=f",
		"CONTENT_LENGTH=5", NULL };
	struct play *play = *state;
	struct buf bytes = { 0 };
	struct actor *actor;

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/private/x", params);
	bytes.data[bytes.start + FCGI_HEADER_LEN + 1] = FCGI_AUTHORIZER;
	web_put_body(&bytes, 1, "hello", 5);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	actor = play_run(play);
	program_receive(&program);
	assert_int_equal(program.role, FCGI_AUTHORIZER);
	assert_true(program.has_params_end);
	assert_true(program.has_body_end);
	assert_int_equal(buf_len(&program.got), 0);
	put(play, FCGI_STDOUT, "Status: 200\nVariable-X: y\n\n");
	put_end(play, 0, FCGI_REQUEST_COMPLETE);
	program_measured(play, actor);
	assert_int_equal(play->web.ends, 1);
	assert_true(play_has(play, "Variable-X: y"));
	assert_int_equal(play_records(play, "ok"), 1);
	/* the connection is kept, and its next request is a responder's */
	play_request(play, "GET", "");
	assert_int_equal(play->web.ends, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_program_has_one_connection_at_a_time_and_stays_warm),
		TEST(the_memory_of_short_executions_is_read_once_for_some_of_them),
		TEST(an_init_that_does_not_measure_delays_the_end_only_shortly),
		TEST(a_client_that_leaves_while_the_memory_is_asked_for_is_recorded_once),
		TEST(an_instance_that_dies_while_the_memory_is_asked_for_is_recorded_once),
		TEST(stderr_records_are_no_part_of_the_answer),
		TEST(an_app_status_is_the_exit_code),
		TEST(a_program_that_refuses_the_request_is_502),
		TEST(
		    a_web_servers_connection_is_kept_though_the_mark_of_no_body_comes_late),
		TEST(a_program_that_speaks_no_fastcgi_is_502),
		TEST(a_connection_that_closes_without_an_end_cuts_the_answer),
		TEST(a_program_that_crashes_is_told_by_its_signal),
		TEST(the_last_answer_of_a_program_that_retires_waits_for_a_slow_client),
		TEST(the_spawner_may_tell_of_a_death_before_init_is_heard),
		TEST(a_program_that_nobody_can_reach_is_502),
		TEST(a_flood_that_holds_no_answer_does_not_hold_the_loop),
		TEST(
		    an_authorizer_is_asked_in_its_role_and_with_an_empty_stdin),
	};

	if (!program_is_possible())
		return 77;
	return cmocka_run_group_tests(tests, program_enter_root,
	    program_leave_root);
}
