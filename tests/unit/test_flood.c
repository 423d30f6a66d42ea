/* A web server's connection that asks and asks and reads no answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_flood_that_reads_no_answer_is_not_read),
		TEST(a_flood_within_a_request_is_bounded_and_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
