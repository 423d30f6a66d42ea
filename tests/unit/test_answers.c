/* Connection, request and relay in one process: what the web server is told of
 * an execution, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/play.h"

static bool
ends_with(struct play *play, const char *text)
{
	size_t n = strlen(text);

	return buf_len(&play->web.out) >= n && strcmp(web_text(&play->web) +
	    buf_len(&play->web.out) - n, text) == 0;
}

/* From here on nothing is written into the accounting file… */
static void
hold_ledger(struct play *play)
{
	loop_set_hook(play->stage.loop, NULL, NULL);
}

/* … but now. */
static void
flush_ledger(struct play *play)
{
	play_turn(play, 20);
	assert_int_equal(play_executions(play), 0);
	assert_int_equal(play->web.ends, 0);
	assert_false(play->web.has_out_end);
	assert_false(play->web.is_closed);
	ledger_flush(play->stage.ledger);
	assert_int_equal(play_executions(play), 1);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
}

static void
an_answer_passes_as_it_comes_and_ends_with_a_record(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "hel");
	assert_true(ends_with(play, "\r\n\r\nhel"));
	play_say(play, actor, "lo");
	assert_true(ends_with(play, "\r\n\r\nhello"));
	assert_int_equal(play->web.ends, 0);
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play->web.app_status, 0);
	assert_true(play->web.has_out_end);
	assert_false(play->web.is_closed);
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(play_records(play, "ok"), 1);
	assert_int_equal(stage_log_count(&play->stage, "\"bytes_out\":31,"), 1);
	assert_int_equal(stage_log_count(&play->stage, "\"status\":200,"), 1);
	assert_int_equal(stage_log_count(&play->stage, "\"cold\":true"), 1);
}

/* On a socket that keeps what each write sent apart. */
static void
a_short_answer_and_its_end_are_sent_in_one_piece(void **state)
{
	struct play *play = *state;
	struct actor *actor;
	uint8_t bytes[4096];
	int fds[2];
	ssize_t n;

	web_free(&play->web);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(conn_new(play->stage.conns, fds[0], true, "web"), 0);
	web_init(&play->web, fds[1]);
	actor = play_dispatch(play, "GET", "");
	assert_int_equal(write(actor->fds[1], PLAIN "hello",
	    strlen(PLAIN "hello")), strlen(PLAIN "hello"));
	actor_close(actor);
	actor_report(actor, INIT_EXIT, 0);
	stage_turn(&play->stage, 0);
	n = recv(play->web.fd, bytes, sizeof(bytes), 0);
	assert_true(n > 16);
	/* END_REQUEST, its header and body, stands at the end */
	assert_int_equal(bytes[n - 15], FCGI_END_REQUEST);
	assert_int_equal(play_executions(play), 1);
}

static void
the_second_execution_of_an_instance_is_warm(void **state)
{
	struct play *play = *state;

	play_end(play, play_dispatch(play, "GET", ""), 0);
	play_reconnect(play);
	play_end(play, play_dispatch(play, "GET", ""), 0);
	assert_int_equal(play->stage.actor_count, 1);
	assert_int_equal(stage_log_count(&play->stage, "\"cold\":false"), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"start\":\"warm\",\"cold\":false"), 1);
}

static void
without_a_length_the_end_waits_for_the_record(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	hold_ledger(play);
	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	assert_true(ends_with(play, "hello"));
	flush_ledger(play);
}

static void
with_a_length_the_last_byte_waits_for_the_record(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	hold_ledger(play);
	play_say(play, actor, "Content-Length: 5\n" PLAIN "hello");
	assert_true(ends_with(play, "\r\n\r\nhell"));
	play_end(play, actor, 0);
	assert_true(ends_with(play, "\r\n\r\nhell"));
	flush_ledger(play);
	assert_true(ends_with(play, "\r\n\r\nhello"));
}

/* An answer without a body is complete with its head. */
static void
head_waits(struct play *play, const char *method, const char *answer)
{
	struct actor *actor = play_dispatch(play, method, "");

	hold_ledger(play);
	play_say(play, actor, answer);
	play_end(play, actor, 0);
	assert_int_equal(buf_len(&play->web.out), 0);
	flush_ledger(play);
	assert_true(ends_with(play, "\r\n\r\n"));
}

static void
the_answer_to_head_waits_whole_for_the_record(void **state)
{
	head_waits(*state, "HEAD", "Content-Length: 5\n" PLAIN "hello");
}

static void
an_answer_204_waits_whole_for_the_record(void **state)
{
	head_waits(*state, "GET", "Status: 204\n\n");
}

static void
an_answer_304_waits_whole_for_the_record(void **state)
{
	head_waits(*state, "GET", "Status: 304\n\nbody that must not be");
}

static void
an_answer_of_length_0_waits_whole_for_the_record(void **state)
{
	head_waits(*state, "GET", "Content-Length: 0\n" PLAIN);
}

static void
an_error_of_our_own_waits_whole_for_the_record(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	hold_ledger(play);
	play_end(play, actor, 0);
	assert_int_equal(buf_len(&play->web.out), 0);
	flush_ledger(play);
	assert_true(play_has(play, "Status: 502 "));
}

/* Nothing more can be written into the accounting file, or again. */
static void
file_size_limit(struct play *play, bool is_limited)
{
	struct rlimit limit;
	struct stat status;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(fstat(play->stage.log_fd, &status), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = is_limited ? (rlim_t)status.st_size + 10 :
	    limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
an_answer_whose_record_cannot_be_written_is_cut(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, "Content-Length: 5\n" PLAIN "hello");
	file_size_limit(play, true);
	play_end(play, actor, 0);
	assert_int_equal(play->web.ends, 0);
	assert_true(play->web.is_cut);
	/* a little later, so that the cut is not found together with the head */
	assert_false(play->web.is_closed);
	play_turn(play, 150);
	assert_true(play->web.is_closed);
	assert_true(ends_with(play, "hell"));
	assert_int_equal(stage_log_count(&play->stage, "{"), 0);
	/* the next is refused without an execution */
	play_reconnect(play);
	play_request(play, "GET", "");
	assert_true(play_has(play, "Status: 503 "));
	assert_true(play_has(play, "Retry-After: "));
	assert_int_equal(play->web.ends, 1);
	file_size_limit(play, false);
	ledger_flush(play->stage.ledger);
	assert_int_equal(play_records(play, "ok"), 1);
	assert_int_equal(ledger_refused(play->stage.ledger), 1);
	/* and when there is room again, served */
	play_reconnect(play);
	play_say(play, play_dispatch(play, "GET", ""), PLAIN "again");
	play_end(play, stage_last(&play->stage), 0);
	assert_true(ends_with(play, "again"));
	assert_int_equal(play_executions(play), 2);
	assert_int_equal(stage_log_count(&play->stage, "\"seq\":2,"), 1);
}

/* The program does what the text says and ends; what comes of it. */
static void
judged(struct play *play, const char *answer, int wait_status,
    const char *outcome, const char *status, bool is_whole)
{
	struct actor *actor = play_dispatch(play, "GET", "");

	if (answer[0] != '\0')
		play_say(play, actor, answer);
	if (actor->is_killed)
		play_gone(play, actor, 9);
	else
		play_end(play, actor, wait_status);
	assert_int_equal(play_records(play, outcome), 1);
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(play->web.ends, is_whole ? 1 : 0);
	assert_int_equal(play->web.is_cut, !is_whole);
	if (status != NULL)
		assert_true(play_has(play, status));
}

static void
no_answer_is_502(void **state)
{
	judged(*state, "", 0, "error", "Status: 502 ", true);
}

static void
an_invalid_head_is_502_and_costs_the_instance(void **state)
{
	struct play *play = *state;

	judged(play, "no colon here\n\n", 0, "error", "Status: 502 ", true);
	assert_true(play->stage.actors[0].is_killed);
}

static void
an_unfinished_head_is_502(void **state)
{
	judged(*state, "Content-Type: text/plain\n", 0, "error",
	    "Status: 502 ", true);
}

static void
an_exit_code_is_recorded_and_told_but_the_answer_stands(void **state)
{
	struct play *play = *state;

	judged(play, PLAIN "hello", 3 << 8, "error", "Status: 200 ", true);
	assert_int_equal(play->web.app_status, 3);
	assert_int_equal(stage_log_count(&play->stage, "\"exit\":3"), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":null"), 1);
}

static void
a_crash_before_the_head_is_502(void **state)
{
	struct play *play = *state;

	judged(play, "", SIGSEGV, "crash", "Status: 502 ", true);
	assert_int_equal(stage_log_count(&play->stage, "\"signal\":11"), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":\"signal\""), 1);
}

static void
a_crash_in_mid_answer_cuts_it(void **state)
{
	judged(*state, PLAIN "half of", SIGSEGV, "crash", NULL, false);
}

static void
a_crash_behind_a_whole_body_of_known_length_hurts_nobody(void **state)
{
	judged(*state, "Content-Length: 5\n" PLAIN "hello", SIGSEGV, "crash",
	    "hello", true);
}

static void
an_answer_shorter_than_its_length_is_cut(void **state)
{
	judged(*state, "Content-Length: 6\n" PLAIN "hello", 0, "error", NULL,
	    false);
}

static void
an_answer_longer_than_its_length_is_cut(void **state)
{
	struct play *play = *state;

	judged(play, "Content-Length: 4\n" PLAIN "hello", 0, "error", NULL,
	    false);
	assert_true(ends_with(play, "\r\n\r\nhel"));
}

static void
a_program_that_cannot_be_executed_is_502(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	actor_close(actor);
	actor_report(actor, INIT_EXEC_FAILED, ENOEXEC);
	play_turn(play, 0);
	assert_true(play_has(play, "Status: 502 "));
	assert_true(play_has(play, "could not be executed"));
	assert_int_equal(play_records(play, "error"), 1);
}

static void
a_sandbox_that_cannot_be_cleaned_serves_nobody_else(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "hello");
	actor_close(actor);
	actor_report(actor, INIT_DIRTY, 0);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_true(actor->is_killed);
}

static void
an_instance_that_dies_in_mid_answer_cuts_it(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play_say(play, actor, PLAIN "half of");
	play_gone(play, actor, 9);
	assert_true(play->web.is_cut);
	assert_int_equal(play->web.ends, 0);
	assert_int_equal(play_records(play, "crash"), 1);
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":\"died\""), 1);
}

static void
what_an_overdue_drain_cuts_is_a_timeout_and_no_crash(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	play->stage.server.is_draining = play->stage.server.is_overdue = true;
	pools_end(play->stage.pools);
	play_turn(play, 0);
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	assert_true(play_has(play, "Status: 504 "));
	assert_int_equal(play_records(play, "timeout"), 1);
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":\"drain\""), 1);
}

static void
a_deadline_is_504_and_kills_the_instance(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_TIMEOUT_MS] = 30;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	play_turn(play, 60);
	assert_true(actor->is_killed);
	assert_int_equal(buf_len(&play->web.out), 0);
	play_gone(play, actor, 9);
	assert_true(play_has(play, "Status: 504 "));
	assert_int_equal(play_records(play, "timeout"), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":\"deadline\""), 1);
}

static void
a_deadline_in_mid_answer_cuts_it(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_TIMEOUT_MS] = 30;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	play_say(play, actor, PLAIN "half of");
	play_turn(play, 60);
	play_say(play, actor, " the rest");
	play_gone(play, actor, 9);
	assert_true(play->web.is_cut);
	assert_true(ends_with(play, "half of"));
	assert_int_equal(play_records(play, "timeout"), 1);
}

static void
silence_for_stall_timeout_is_stalled_but_progress_is_not(void **state)
{
	struct play *play = *state;
	struct actor *actor;

	play->info.limits.value[LIMIT_STALL_TIMEOUT_MS] = 500;
	play_put(play);
	actor = play_dispatch(play, "GET", "");
	play_say(play, actor, PLAIN);
	for (int i = 0; i < 5; i++) {
		play_turn(play, 150);
		play_say(play, actor, "tick");
	}
	assert_false(actor->is_killed);
	play_turn(play, 600);
	assert_true(actor->is_killed);
	play_gone(play, actor, 9);
	assert_int_equal(play_records(play, "stalled"), 1);
	assert_int_equal(stage_log_count(&play->stage,
	    "\"cause\":\"stall\""), 1);
}

static void
a_failed_start_is_502_with_one_record(void **state)
{
	struct play *play = *state;

	play_request(play, "GET", "");
	stage_failed(&play->stage, stage_last(&play->stage), EIO);
	play_turn(play, 0);
	assert_true(play_has(play, "Status: 502 "));
	assert_int_equal(play_executions(play), 1);
	assert_int_equal(play_records(play, "error"), 1);
}

static void
what_the_program_writes_to_stderr_is_no_part_of_the_answer(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");

	assert_int_equal(write(actor->fds[2], "oops\n", 5), 5);
	play_say(play, actor, PLAIN "hello");
	assert_int_equal(write(actor->fds[2], "oops\n", 5), 5);
	play_end(play, actor, 0);
	assert_false(play_has(play, "oops"));
	assert_true(ends_with(play, "hello"));
}

static void
a_held_answer_waits_for_the_end_of_the_request(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };
	static const char *const params[] = { "REQUEST_METHOD=POST",
		"CONTENT_LENGTH=6", NULL };
	struct actor *actor;

	web_put_head(&bytes, 1, 0, "/fn/f", params);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDIN, 1, "abc", 3), 0);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	actor = play_run(play);
	play_say(play, actor, PLAIN "early");
	assert_int_equal(buf_len(&play->web.out), 0);
	web_put_body(&bytes, 1, "def", 3);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_true(ends_with(play, "early"));
	play_end(play, actor, 0);
	assert_int_equal(play_records(play, "ok"), 1);
	assert_int_equal(stage_log_count(&play->stage, "\"bytes_in\":6,"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, \
	    play_tear_down)

static void
of_one_that_is_not_kept_the_rest_of_a_request_is_read_and_dropped(void **state)
{
	struct play *play = *state;
	struct buf bytes = { 0 };

	web_put_head(&bytes, 1, 0, "/fn/no-such", NULL);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	assert_int_equal(play->web.ends, 1);
	assert_int_equal(play->stage.server.connections, 1);
	web_put_body(&bytes, 1, "x", 1);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
	close(play->web.fd);
	play->web.fd = -1;
	stage_turn(&play->stage, 0);
	assert_int_equal(play->stage.server.connections, 0);
}

static void
what_was_sent_before_a_connection_is_taken_spares_a_turn(void **state)
{
	struct play *play = *state;
	int fds[2];

	web_free(&play->web);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, fds), 0);
	web_init(&play->web, fds[1]);
	web_get(&play->web, 1, 0, "/fn/f");
	assert_int_equal(conn_new(play->stage.conns, fds[0], true, "web"), 0);
	assert_int_equal(play->stage.server.active, 1);
	play_turn(play, 0);
	play_say(play, play_run(play), PLAIN "hello");
	play_end(play, stage_last(&play->stage), 0);
	assert_int_equal(play->web.ends, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer_passes_as_it_comes_and_ends_with_a_record),
		TEST(a_short_answer_and_its_end_are_sent_in_one_piece),
		TEST(of_one_that_is_not_kept_the_rest_of_a_request_is_read_and_dropped),
		TEST(what_was_sent_before_a_connection_is_taken_spares_a_turn),
		TEST(the_second_execution_of_an_instance_is_warm),
		TEST(without_a_length_the_end_waits_for_the_record),
		TEST(with_a_length_the_last_byte_waits_for_the_record),
		TEST(the_answer_to_head_waits_whole_for_the_record),
		TEST(an_answer_204_waits_whole_for_the_record),
		TEST(an_answer_304_waits_whole_for_the_record),
		TEST(an_answer_of_length_0_waits_whole_for_the_record),
		TEST(an_error_of_our_own_waits_whole_for_the_record),
		TEST(an_answer_whose_record_cannot_be_written_is_cut),
		TEST(no_answer_is_502),
		TEST(an_invalid_head_is_502_and_costs_the_instance),
		TEST(an_unfinished_head_is_502),
		TEST(an_exit_code_is_recorded_and_told_but_the_answer_stands),
		TEST(a_crash_before_the_head_is_502),
		TEST(a_crash_in_mid_answer_cuts_it),
		TEST(a_crash_behind_a_whole_body_of_known_length_hurts_nobody),
		TEST(an_answer_shorter_than_its_length_is_cut),
		TEST(an_answer_longer_than_its_length_is_cut),
		TEST(a_program_that_cannot_be_executed_is_502),
		TEST(a_sandbox_that_cannot_be_cleaned_serves_nobody_else),
		TEST(an_instance_that_dies_in_mid_answer_cuts_it),
		TEST(what_an_overdue_drain_cuts_is_a_timeout_and_no_crash),
		TEST(a_deadline_is_504_and_kills_the_instance),
		TEST(a_deadline_in_mid_answer_cuts_it),
		TEST(silence_for_stall_timeout_is_stalled_but_progress_is_not),
		TEST(a_failed_start_is_502_with_one_record),
		TEST(what_the_program_writes_to_stderr_is_no_part_of_the_answer),
		TEST(a_held_answer_waits_for_the_end_of_the_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
