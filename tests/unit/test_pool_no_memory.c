/*
 * The pool when memory runs out in the middle of a start: whichever allocation
 * fails, the one who waits is answered, and the next finds a pool that works.
 */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/pool_guests.h"

#if HAS_OWN_ALLOCATOR

#include "fcgi-host/sock.h"

/* The spawner knows nothing of the gateway's memory: its answer comes. */
static void
late_answer(uint64_t id)
{
	struct ctl_instance_up up = { .id = id };
	int fds[2];

	assert_int_equal(sock_pair(fds), 0);
	assert_int_equal(pools_instance_up(stage.pools, &up, fds, 1), -ENOENT);
	/* and its init sees the hang-up */
	assert_int_equal(fds[0], -1);
	close_fd(&fds[1]);
}

/* One waits while allocation n fails.  False: the work needs fewer. */
static bool
round_with(int n)
{
	struct function *function = make(4, 64, 60000);
	struct guest *guest = &guests[0];
	bool has_failed;
	int error;

	until_failure = n;
	error = pool_submit(stage.pools, function, &guest->waiter);
	stage_turn(&stage, 0);
	has_failed = until_failure == 0;
	until_failure = 0;
	if (error == 0 && guest->refusal < 0 && has_failed) {
		/* what failed was not needed for the start */
		stage_up(&stage, stage_last(&stage));
		stage_turn(&stage, 0);
		assert_non_null(guest->instance);
		return true;
	}
	if (error == 0 && has_failed) {
		assert_int_equal(guest->calls, 1);
		assert_int_equal(guest->refusal, POOL_SHORTAGE);
		if (stage.actor_count > 0)
			late_answer(stage.actors[0].id);
	}
	if (has_failed) {
		assert_true(error == 0 || error == -ENOMEM);
		assert_int_equal(stage.fleet.count, 0);
		assert_int_equal(pools_queued(stage.pools), 0);
	}
	return has_failed;
}

static void
whichever_allocation_of_a_start_fails_the_next_one_works(void **state)
{
	bool has_failed = true;
	int n;

	for (n = 1; has_failed; n++) {
		assert_true(n < 100);
		assert_int_equal(set_up(state), 0);
		has_failed = round_with(n);
		for (size_t i = 0; i < stage.actor_count && has_failed; i++)
			if (!stage.actors[i].is_up)
				stage.actors[i].is_gone = true;
		if (has_failed && guests[0].instance == NULL)
			serve(make(4, 64, 60000), 1);
		assert_int_equal(tear_down(state), 0);
	}
	/* pool, its index, timer, instance, its index */
	assert_true(n > 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    whichever_allocation_of_a_start_fails_the_next_one_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* The exit status by which automake knows a test that was skipped. */
int
main(void)
{
	puts("SKIP: a sanitizer's allocator cannot be made to fail");
	return 77;
}

#endif
