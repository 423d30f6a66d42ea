#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "fcgi-host/request.h"

#define STATES REQUEST_STATE_COUNT
#define EVENTS REQUEST_EVENT_COUNT

enum {
	P = REQUEST_PARAMS, B = REQUEST_BODY, Q = REQUEST_QUEUED,
	R = REQUEST_RUNNING, L = REQUEST_LEFT, M = REQUEST_MEASURING,
	K = REQUEST_KILLING, W = REQUEST_RECORDING, D = REQUEST_DONE, X = -1
};

/*
 * From the header's words.  HOLD and SUBMIT admit; a body that is held is
 * submitted when it has come; who was never granted is refused; a running one
 * ends, is killed, dies, or was never seen by its instance and waits again; the client may leave at any moment; every
 * admitted one is recorded, and only a record (or a rejection before
 * admission) makes it done.
 */
static const int expected[STATES][EVENTS] = {
/* HOLD SUBMIT GRANT RETURN REFUSE REJECT END MEASURED KILL GONE LEAVE
 * RECORDED */
	[P] = { B, Q, X, X, W, D, X, X, X, X, D, X },
	[B] = { X, Q, X, X, W, X, X, X, X, X, W, X },
	[Q] = { X, X, R, X, W, X, X, X, X, X, W, X },
	[R] = { X, X, X, Q, X, X, M, X, K, W, L, X },
	[L] = { X, X, X, X, X, X, M, X, K, W, L, X },
	[M] = { X, X, X, X, X, X, X, W, X, W, M, X },
	[K] = { X, X, X, X, X, X, K, K, K, W, K, X },
	[W] = { X, X, X, X, X, X, X, X, X, X, W, D },
	[D] = { X, X, X, X, X, X, X, X, X, X, D, X },
};

static int
next_of(int state, int event)
{
	return request_next_state((enum request_state)state,
	    (enum request_event)event);
}

static void
the_state_table_is_as_the_header_says(void **state)
{
	(void)state;
	for (int s = 0; s < STATES; s++)
		for (int e = 0; e < EVENTS; e++)
			assert_int_equal(next_of(s, e), expected[s][e]);
}

static void
every_next_state_is_a_state_or_a_bug(void **state)
{
	(void)state;
	for (int s = 0; s < STATES; s++)
		for (int e = 0; e < EVENTS; e++)
			assert_in_range(next_of(s, e) + 1, 0, STATES);
}

static void
each_state_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int a = 0; a < STATES; a++)
		for (int b = 0; b < a; b++)
			assert_string_not_equal(
			    request_state_name((enum request_state)a),
			    request_state_name((enum request_state)b));
}

/*
 * A walk over all paths that visit no state twice.  An event that leaves a
 * state as it is adds nothing; a path that came back to a state would be a
 * circle, on which the counts below could be broken without end: it fails.  The
 * one circle that there is, from running back to the queue, adds no record.
 */
struct walk {
	bool is_on_path[STATES];
	bool was_visited[STATES];
	size_t recordings;
	bool is_admitted;
	size_t paths, admitted_paths;
};

static void
walk_from(struct walk *walk, int from)
{
	bool has_exit = false;

	walk->is_on_path[from] = true;
	walk->was_visited[from] = true;
	for (int e = 0; e < EVENTS; e++) {
		int to = next_of(from, e);
		bool was_admitted = walk->is_admitted;

		if (to == X || to == from)
			continue;
		if (e == REQUEST_EVENT_RETURN) {
			assert_true(from == R && to == Q);
			continue;
		}
		assert_false(walk->is_on_path[to]);
		has_exit = true;
		/* an execution: from the moment that a slot is taken */
		if (e == REQUEST_EVENT_HOLD || e == REQUEST_EVENT_SUBMIT ||
		    e == REQUEST_EVENT_REFUSE)
			walk->is_admitted = true;
		if (to == W)
			walk->recordings++;
		assert_true(walk->recordings <= 1);
		walk_from(walk, to);
		if (to == W)
			walk->recordings--;
		walk->is_admitted = was_admitted;
	}
	if (!has_exit) {
		assert_int_equal(from, D);
		assert_int_equal(walk->recordings, walk->is_admitted ? 1 : 0);
		walk->paths++;
		walk->admitted_paths += walk->is_admitted;
	}
	walk->is_on_path[from] = false;
}

static void
every_path_reaches_done_and_every_admitted_one_is_recorded_once(void **state)
{
	struct walk walk = { .paths = 0 };

	(void)state;
	walk_from(&walk, P);
	for (int s = 0; s < STATES; s++)
		assert_true(walk.was_visited[s]);
	assert_true(walk.admitted_paths > 10);
	/* two ways to be done without a record: rejected, left before params */
	assert_int_equal(walk.paths - walk.admitted_paths, 2);
}

static void
done_is_entered_from_a_record_or_before_admission_only(void **state)
{
	(void)state;
	for (int s = 0; s < STATES; s++)
		for (int e = 0; e < EVENTS; e++)
			if (s != D && next_of(s, e) == D)
				assert_true((s == W &&
				    e == REQUEST_EVENT_RECORDED) || (s == P &&
				    (e == REQUEST_EVENT_REJECT ||
				    e == REQUEST_EVENT_LEAVE)));
}

static void
the_client_may_leave_in_every_state(void **state)
{
	(void)state;
	for (int s = 0; s < STATES; s++)
		assert_int_not_equal(next_of(s, REQUEST_EVENT_LEAVE), X);
}

static void
the_instance_may_die_in_every_state_that_holds_one(void **state)
{
	static const int holders[] = { R, L, M, K };

	(void)state;
	for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]); i++)
		assert_int_equal(next_of(holders[i], REQUEST_EVENT_GONE), W);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_state_table_is_as_the_header_says),
		cmocka_unit_test(every_next_state_is_a_state_or_a_bug),
		cmocka_unit_test(each_state_has_a_name_of_its_own),
		cmocka_unit_test(
		    every_path_reaches_done_and_every_admitted_one_is_recorded_once),
		cmocka_unit_test(
		    done_is_entered_from_a_record_or_before_admission_only),
		cmocka_unit_test(the_client_may_leave_in_every_state),
		cmocka_unit_test(
		    the_instance_may_die_in_every_state_that_holds_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
