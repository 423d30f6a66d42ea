/* A web server's connection that asks and asks and reads no answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/play.h"

/* Sends what must be answered, as long as it is taken; returns how much. */
static uint64_t
flood(struct play *play)
{
	struct buf bytes = { 0 };
	uint64_t sent = 0;

	for (int i = 0; i < 1000; i++)
		assert_int_equal(fcgi_put_header(&bytes, 99, 0, 0, 0), 0);
	for (int i = 0; i < 100000; i++) {
		ssize_t n = send(play->web.fd, buf_head(&bytes),
		    buf_len(&bytes), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (uint64_t)n : 0;
		stage_turn(&play->stage, 0);
	}
	buf_free(&bytes);
	return sent;
}

static void
a_flood_that_reads_no_answer_is_not_read(void **state)
{
	struct play *play = *state;

	/* what the two sockets hold, and one bufferful */
	assert_in_range(flood(play), 1, 1 << 20);
	assert_int_equal(play->stage.server.bad_peers, 0);
	assert_int_equal(play->stage.server.connections, 1);
}

static void
a_flood_within_a_request_is_bounded_and_ends(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_begin(&bytes, 1, FCGI_RESPONDER, 1), 0);
	assert_int_equal(send(play->web.fd, buf_head(&bytes), buf_len(&bytes),
	    MSG_NOSIGNAL), buf_len(&bytes));
	buf_free(&bytes);
	/* each of our answers is twice as long as what asked for it */
	assert_in_range(flood(play), 1 << 18, 2 << 20);
	assert_int_equal(play->stage.server.bad_peers, 1);
	assert_int_equal(play->stage.server.connections, 0);
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

/* Each empty line costs as much as a long one: of a pipe full of them one turn
 * of the loop takes little, and the next ones the rest. */
static void
a_flood_of_lines_on_stderr_does_not_hold_the_loop(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	struct loop_task task = { .is_queued = false };
	char lines[4096];
	int sent = 0, left = 0;
	ssize_t n;

	memset(lines, '\n', sizeof(lines));
	assert_int_equal(fcntl(actor->fds[2], F_SETFL, O_NONBLOCK), 0);
	while ((n = write(actor->fds[2], lines, sizeof(lines))) > 0)
		sent += (int)n;
	assert_true(sent >= 1 << 15);
	loop_defer(play->stage.loop, &task, stop, play->stage.loop);
	assert_int_equal(loop_run(play->stage.loop), 0);
	assert_int_equal(ioctl(actor->fds[2], FIONREAD, &left), 0);
	assert_in_range(sent - left, 1, sizeof(lines));
	for (int i = 0; i < 100; i++)
		play_turn(play, 0);
	assert_int_equal(ioctl(actor->fds[2], FIONREAD, &left), 0);
	assert_int_equal(left, 0);
	/* and what comes last is not lost with its end */
	assert_true(write(actor->fds[2], lines, sizeof(lines)) > 0);
	play_say(play, actor, "Content-Type: text/plain\n\nhello");
	play_end(play, actor, 0);
	assert_true(play_has(play, "hello"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_flood_that_reads_no_answer_is_not_read),
		TEST(a_flood_within_a_request_is_bounded_and_ends),
		TEST(a_flood_of_lines_on_stderr_does_not_hold_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
