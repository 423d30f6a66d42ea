#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/inflight.h"
#include "tests/unit/play.h"

static const struct inflight_log no_log;

static int
table_of(off_t size)
{
	int fd = memfd_create("table", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static void
count(struct inflight_slot *slot, void *arg)
{
	assert_int_equal(slot->is_used, 1);
	++*(size_t *)arg;
}

static size_t
used(struct inflight *inflight)
{
	size_t n = 0;

	inflight_each(inflight, count, &n);
	return n;
}

static void
slots_are_given_until_none_is_left_and_again_when_dropped(void **state)
{
	int fd = table_of(64 * 1024);
	struct inflight *inflight = inflight_open(fd);
	struct inflight_slot *slots[1000], *slot;
	size_t n = 0;

	(void)state;
	while ((slot = inflight_take(inflight)) != NULL) {
		for (size_t i = 0; i < n; i++)
			assert_ptr_not_equal(slots[i], slot);
		assert_int_equal(slot->record.number, 0);
		slot->record.number = n + 1;
		slots[n++] = slot;
	}
	assert_int_equal(n, 64 * 1024 / sizeof(struct inflight_slot) - 1);
	assert_int_equal(used(inflight), n);
	inflight_drop(inflight, slots[3]);
	inflight_drop(inflight, slots[3]); /* twice counts once */
	inflight_drop(inflight, NULL);
	assert_int_equal(used(inflight), n - 1);
	assert_ptr_equal(inflight_take(inflight), slots[3]);
	assert_int_equal(slots[3]->record.number, 0);
	assert_null(inflight_take(inflight));
	inflight_close(inflight);
	close(fd);
}

static void
a_successor_finds_the_debts_the_sequence_and_the_count(void **state)
{
	int fd = table_of(64 * 1024);
	struct inflight *inflight = inflight_open(fd);
	struct inflight_slot *slot;

	(void)state;
	slot = inflight_take(inflight);
	strcpy(slot->record.request_id, "owed");
	inflight_drop(inflight, inflight_take(inflight));
	inflight_set_seq(inflight, 41);
	assert_int_equal(inflight_next_number(inflight), 1);
	assert_int_equal(inflight_next_number(inflight), 2);
	inflight_close(inflight);
	inflight = inflight_open(fd);
	assert_int_equal(used(inflight), 1);
	assert_int_equal(inflight_seq(inflight), 41);
	assert_int_equal(inflight_next_number(inflight), 3);
	inflight_close(inflight);
	close(fd);
}

/* Whoever dies between the write of a batch and its note of it leaves both
 * sums; which holds, the log's last line tells. */
static void
what_is_charged_goes_with_the_lines_in_the_log(void **state)
{
	int fd = table_of(64 * 1024);
	struct inflight *inflight = inflight_open(fd);

	(void)state;
	inflight_begin(inflight, 100, 0, &no_log);
	inflight_set_batch(inflight, 3, 70, NULL);
	assert_int_equal(inflight_charged(inflight), 0);
	inflight_set_seq(inflight, 3);
	assert_int_equal(inflight_charged(inflight), 70);
	inflight_set_batch(inflight, 5, 90, NULL);
	inflight_close(inflight);
	inflight = inflight_open(fd);
	assert_int_equal(inflight_charged(inflight), 70);
	inflight_set_seq(inflight, 4); /* a part of it reached the file */
	assert_int_equal(inflight_charged(inflight), 70);
	inflight_set_seq(inflight, 5);
	assert_int_equal(inflight_charged(inflight), 90);
	inflight_begin(inflight, 200, 80, &no_log);
	inflight_set_seq(inflight, 6); /* the batch was the old run's */
	assert_int_equal(inflight_charged(inflight), 80);
	inflight_close(inflight);
	close(fd);
}

static void
check_taken_over(struct inflight_slot *slot, void *arg)
{
	(void)arg;
	assert_int_equal(slot->record_seq, 0);
	assert_int_equal(slot->ended_us, 3000);
}

/* A host was killed: of its debts the line of one was written, that of one was
 * in a batch, one ran, and one has waited.  Whoever dies while taking over
 * leaves what the next can take over. */
static void
a_new_run_takes_over_what_was_not_written(void **state)
{
	int fd = table_of(64 * 1024);
	struct inflight *inflight = inflight_open(fd);
	struct inflight_slot *written, *batched, *running, *waiting;

	(void)state;
	inflight_begin(inflight, 100, 0, &no_log);
	written = inflight_take(inflight);
	batched = inflight_take(inflight);
	running = inflight_take(inflight);
	waiting = inflight_take(inflight);
	written->record_seq = 7;
	batched->record_seq = 8;
	running->started_us = 1000;
	waiting->record.number = inflight_next_number(inflight);
	inflight_set_seq(inflight, 7);
	inflight_set_alive(inflight, 3000);
	inflight_close(inflight);
	for (uint64_t run = 200; run < 203; run++) {
		inflight = inflight_open(fd);
		assert_int_equal(inflight_run(inflight), run == 200 ? 100 :
		    run - 1);
		inflight_begin(inflight, run, 0, &no_log);
		assert_int_equal(inflight_run(inflight), run);
		assert_int_equal(inflight_seq(inflight), 0);
		assert_int_equal(inflight_next_number(inflight), 1);
		assert_int_equal(used(inflight), 3);
		inflight_set_seq(inflight, 50);
		inflight_set_alive(inflight, 9000);
		inflight_each(inflight, check_taken_over, NULL);
		inflight_close(inflight);
	}
	close(fd);
}

static void
check_kept(struct inflight_slot *slot, void *arg)
{
	const struct record_exec *r = &slot->record;
	size_t *kept = arg;

	if (r->number == 1) {
		assert_string_equal(r->request_id, "owed");
		assert_string_equal(r->function, "alice/f");
		assert_int_equal(r->start, START_FRESH);
		++*kept;
		return;
	}
	assert_int_equal(r->number, 2);
	assert_string_equal(r->request_id, "");
	assert_string_equal(r->function, "");
	assert_int_equal(r->start, START_NONE);
	assert_int_equal(r->cpu_source, SOURCE_NONE);
	assert_int_equal(r->mem_source, SOURCE_NONE);
	assert_int_equal(r->exit_code, -1);
}

/* Of a compromised gateway: no end of a text, no name, no member of an enum. */
static void
what_cannot_be_a_record_is_not_believed(void **state)
{
	int fd = table_of(64 * 1024);
	struct inflight *inflight = inflight_open(fd);
	struct record_exec *sane = &inflight_take(inflight)->record;
	struct record_exec *odd[6];
	size_t kept = 0;

	(void)state;
	sane->number = 1;
	strcpy(sane->request_id, "owed");
	strcpy(sane->function, "alice/f");
	sane->start = START_FRESH;
	for (size_t i = 0; i < 6; i++) {
		odd[i] = &inflight_take(inflight)->record;
		*odd[i] = *sane;
		odd[i]->number = 2;
	}
	memset(odd[0]->function, 'f', sizeof(odd[0]->function));
	strcpy(odd[1]->request_id, "a\"b");
	strcpy(odd[2]->tenant, "a\nb");
	memset(&odd[3]->start, 0x7f, sizeof(odd[3]->start));
	memset(&odd[4]->cpu_source, 0xff, sizeof(odd[4]->cpu_source));
	memset(&odd[5]->mem_source, 0x01, sizeof(odd[5]->mem_source));
	inflight_close(inflight);
	inflight = inflight_open(fd);
	assert_int_equal(used(inflight), 7);
	inflight_each(inflight, check_kept, &kept);
	assert_int_equal(kept, 1);
	inflight_close(inflight);
	close(fd);
}

static void
a_table_that_is_none_is_made_new_or_refused(void **state)
{
	int fd = table_of(64 * 1024), small = table_of(100);
	struct inflight *inflight;
	char noise[4096];

	(void)state;
	memset(noise, 0x5a, sizeof(noise));
	assert_int_equal(pwrite(fd, noise, sizeof(noise), 0), sizeof(noise));
	inflight = inflight_open(fd);
	assert_non_null(inflight);
	assert_int_equal(used(inflight), 0);
	assert_int_equal(inflight_seq(inflight), 0);
	/* of a version whose slots were smaller */
	inflight_begin(inflight, 5, 0, &no_log);
	(void)inflight_take(inflight);
	inflight_close(inflight);
	assert_int_equal(pwrite(fd, "\1", 1, 8), 1);
	inflight = inflight_open(fd);
	assert_int_equal(used(inflight), 0);
	assert_int_equal(inflight_run(inflight), 0);
	inflight_close(inflight);
	inflight_close(NULL);
	assert_null(inflight_open(small));
	assert_null(inflight_open(-1));
	close(fd);
	close(small);
}

/* The gateway dies with one execution in each of these moments; its successor
 * has the same table and file. */
static void
the_executions_of_a_dead_gateway_are_recorded_as_lost_once(void **state)
{
	struct play *play = *state;
	struct stage *stage = &play->stage;
	struct inflight_slot *queued = inflight_take(stage->inflight);
	struct inflight_slot *running = inflight_take(stage->inflight);
	struct inflight_slot *written = inflight_take(stage->inflight);
	struct inflight_slot *pending = inflight_take(stage->inflight);

	strcpy(queued->record.request_id, "queued");
	strcpy(running->record.request_id, "running");
	running->started_us = loop_now_us(stage->loop) - 2000000;
	running->is_invoke = 1;
	/* its line is in the file: only the slot was not yet given back */
	strcpy(written->record.request_id, "written");
	written->record_seq = 5;
	/* its line was in a batch that never reached the file */
	strcpy(pending->record.request_id, "pending");
	pending->record.cpu_us = 700;
	pending->record_seq = 6;
	/* and so a successor begins */
	inflight_set_seq(stage->inflight, 5);
	ledger_free(stage->ledger);
	stage->ledger = stage->server.ledger = stage->fleet.ledger =
	    ledger_new(stage->inflight, STAGE_RUN_ID);
	assert_int_equal(ledger_switch(stage->ledger,
	    fcntl(stage->log_fd, F_DUPFD_CLOEXEC, 3), true), 0);
	request_record_lost(&stage->server);
	request_record_lost(&stage->server);
	assert_int_equal(used(stage->inflight), 0);
	assert_int_equal(play_executions(play), 3);
	assert_int_equal(play_records(play, "lost"), 3);
	assert_int_equal(stage_log_count(stage, "\"request_id\":\"written\""),
	    0);
	assert_int_equal(stage_log_count(stage, "\"request_id\":\"pending\""),
	    1);
	assert_int_equal(stage_log_count(stage, "\"trigger\":\"invoke\""), 1);
	assert_int_equal(stage_log_count(stage, "\"trigger\":\"web\""), 2);
	/* what the clock shows beyond all lines is lost_cpu_us, and told once */
	assert_int_equal(stage_log_count(stage, "\"cpu_us\":0,"), 3);
	assert_int_equal(stage_log_count(stage, "\"cause\":\"host\""), 3);
	assert_int_equal(stage_log_count(stage, "\"run_us\":0,"), 2);
	assert_int_equal(stage_log_count(stage, "\"run_us\":2000000,"), 1);
}

/* Its id is the one that the function and the web server's log know; its seq
 * is of the run that writes it; its end is the last sign of life. */
static void
a_debt_of_an_earlier_run_keeps_its_id(void **state)
{
	struct play *play = *state;
	struct stage *stage = &play->stage;
	struct inflight_slot *slot = inflight_take(stage->inflight);

	strcpy(slot->record.request_id, "old");
	slot->record.run_id = 0xabcdef;
	slot->record.number = 9;
	slot->started_us = 5000;
	inflight_set_alive(stage->inflight, 8000);
	inflight_begin(stage->inflight, STAGE_RUN_ID + 1, 0, &no_log);
	inflight_begin(stage->inflight, STAGE_RUN_ID, 0, &no_log);
	request_record_lost(&stage->server);
	assert_int_equal(play_records(play, "lost"), 1);
	assert_int_equal(stage_log_count(stage, "\"id\":\"abcdef-9\""), 1);
	assert_int_equal(stage_log_count(stage, "\"seq\":1,"), 1);
	assert_int_equal(stage_log_count(stage, "\"run_us\":3000,"), 1);
	assert_int_equal(stage_log_count(stage, "the host died"), 1);
}

static void
a_full_table_admits_nothing_and_serves_again(void **state)
{
	struct play *play = *state;
	struct inflight_slot *slot, *last = NULL;

	while ((slot = inflight_take(play->stage.inflight)) != NULL)
		last = slot;
	play_request(play, "GET", "");
	assert_true(play_has(play, "Status: 503 "));
	assert_int_equal(play_executions(play), 0);
	inflight_drop(play->stage.inflight, last);
	play_reconnect(play);
	play_say(play, play_dispatch(play, "GET", ""), PLAIN "hello");
	play_end(play, stage_last(&play->stage), 0);
	assert_true(play_has(play, "hello"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    slots_are_given_until_none_is_left_and_again_when_dropped),
		cmocka_unit_test(
		    a_successor_finds_the_debts_the_sequence_and_the_count),
		cmocka_unit_test(
		    what_is_charged_goes_with_the_lines_in_the_log),
		cmocka_unit_test(a_new_run_takes_over_what_was_not_written),
		cmocka_unit_test(what_cannot_be_a_record_is_not_believed),
		cmocka_unit_test(a_table_that_is_none_is_made_new_or_refused),
		cmocka_unit_test_setup_teardown(
		    the_executions_of_a_dead_gateway_are_recorded_as_lost_once,
		    play_set_up, play_tear_down),
		cmocka_unit_test_setup_teardown(
		    a_debt_of_an_earlier_run_keeps_its_id,
		    play_set_up, play_tear_down),
		cmocka_unit_test_setup_teardown(
		    a_full_table_admits_nothing_and_serves_again,
		    play_set_up, play_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
