/* Whose turn a check is, by simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fcgi-host/check_queue.h"

#define MS UINT64_C(1000)

static struct check_queue *queue;
static uint64_t now_us;
static const char *without_room; /* a function for which there is none */
static enum check_urgency urgency;

static int
setup(void **state)
{
	(void)state;
	queue = check_queue_new();
	now_us = 1000000;
	without_room = NULL;
	return queue == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	check_queue_free(queue);
	return 0;
}

static void
put(const char *name, enum check_urgency how)
{
	char tenant[64];

	snprintf(tenant, sizeof(tenant), "%.*s", (int)strcspn(name, "/"), name);
	assert_int_equal(check_queue_put(queue, name, tenant, how, now_us),
	    0);
}

static bool
may(void *arg, const char *name)
{
	(void)arg;
	return without_room == NULL || strcmp(name, without_room) != 0;
}

static const char *
pick(bool is_calm)
{
	return check_queue_pick(queue, now_us, is_calm, may, NULL, &urgency);
}

/* It is the turn of this one, which begins; NULL: of nobody. */
static void
begins(const char *name)
{
	const char *found = pick(true);

	if (name == NULL) {
		assert_null(found);
		return;
	}
	assert_non_null(found);
	assert_string_equal(found, name);
	check_queue_begin(queue, name, now_us);
}

static const char *
victim(void)
{
	return check_queue_victim(queue, now_us, may, NULL);
}

/* It takes so long. */
static void
ends(const char *name, uint64_t took_ms)
{
	now_us += took_ms * MS;
	check_queue_over(queue, name, now_us);
}

static void
a_request_goes_before_a_list_and_that_before_what_nobody_asks_for(void **state)
{
	(void)state;
	put("a/found", CHECK_FOUND);
	put("b/changed", CHECK_CHANGED);
	put("c/listed", CHECK_LISTED);
	put("d/waited", CHECK_WAITED);
	now_us += CHECK_QUEUE_CHANGE_US;
	begins("d/waited");
	assert_int_equal(urgency, CHECK_WAITED);
	ends("d/waited", 1);
	begins("c/listed");
	ends("c/listed", 1);
	begins("b/changed");
	ends("b/changed", 1);
	begins(NULL);
	now_us += 4 * MS;
	begins("a/found");
	assert_int_equal(check_queue_count(queue), 0);
}

static void
what_is_written_over_and_over_is_looked_at_when_it_rests(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		put("a/f", CHECK_CHANGED);
		begins(NULL);
		now_us += CHECK_QUEUE_CHANGE_US - 1;
	}
	assert_int_equal(check_queue_count(queue), 1);
	assert_int_equal(check_queue_wake_us(queue, now_us), now_us + 1);
	now_us++;
	begins("a/f");
}

static void
a_request_does_not_wait_for_the_file_to_rest(void **state)
{
	(void)state;
	put("a/f", CHECK_CHANGED);
	begins(NULL);
	put("a/f", CHECK_WAITED);
	begins("a/f");
}

static void
who_changes_without_end_rests_four_times_as_long_as_it_takes(void **state)
{
	(void)state;
	put("a/f", CHECK_CHANGED);
	now_us += CHECK_QUEUE_CHANGE_US;
	begins("a/f");
	put("a/g", CHECK_CHANGED);
	ends("a/f", 1000);
	put("b/f", CHECK_CHANGED);
	now_us += CHECK_QUEUE_CHANGE_US;
	begins("b/f"); /* the others do not rest for him */
	ends("b/f", 10);
	now_us += 4000 * MS - CHECK_QUEUE_CHANGE_US - 10 * MS - 1;
	begins(NULL);
	now_us++;
	begins("a/g");
}

static void
it_is_the_turn_of_whose_checks_took_least(void **state)
{
	(void)state;
	put("a/1", CHECK_LISTED);
	put("a/2", CHECK_LISTED);
	put("a/3", CHECK_LISTED);
	put("b/1", CHECK_LISTED);
	begins("a/1");
	ends("a/1", 10000);
	begins("b/1");
	ends("b/1", 10);
	put("b/2", CHECK_LISTED);
	begins("b/2");
	ends("b/2", 10);
	begins("a/2"); /* a list does not wait for his rest */
}

static void
one_runs_at_a_time_and_a_second_only_for_a_request(void **state)
{
	(void)state;
	put("a/1", CHECK_LISTED);
	put("b/1", CHECK_LISTED);
	put("c/1", CHECK_WAITED);
	put("d/1", CHECK_WAITED);
	begins("c/1");
	begins("d/1");
	put("e/1", CHECK_WAITED);
	begins(NULL);
	ends("c/1", 1);
	begins("e/1");
	ends("d/1", 1);
	begins(NULL);
	ends("e/1", 1);
	begins("a/1");
	begins(NULL);
}

static void
never_two_of_a_tenant(void **state)
{
	(void)state;
	put("a/1", CHECK_WAITED);
	put("a/2", CHECK_WAITED);
	begins("a/1");
	begins(NULL);
	put("b/1", CHECK_WAITED);
	begins("b/1");
	ends("a/1", 1);
	begins("a/2");
}

static void
while_something_is_started_only_a_request_has_its_check(void **state)
{
	(void)state;
	put("a/1", CHECK_LISTED);
	assert_null(pick(false));
	put("b/1", CHECK_WAITED);
	assert_string_equal(pick(false), "b/1");
	/* and whoever waits for calm is asked again */
	assert_int_not_equal(check_queue_wake_us(queue, now_us), 0);
}

static void
what_has_no_room_keeps_nobody(void **state)
{
	(void)state;
	put("a/1", CHECK_WAITED);
	put("b/1", CHECK_FOUND);
	without_room = "a/1";
	begins("b/1");
	without_room = NULL;
	begins("a/1");
}

static void
one_that_takes_long_gives_way_for_another_tenants_request(void **state)
{
	(void)state;
	put("a/1", CHECK_WAITED);
	put("b/1", CHECK_WAITED);
	begins("a/1");
	now_us += MS;
	begins("b/1");
	put("a/2", CHECK_WAITED); /* his own wait */
	now_us += CHECK_QUEUE_LONG_US;
	assert_null(victim());
	put("c/1", CHECK_LISTED); /* nobody's request */
	assert_null(victim());
	put("d/1", CHECK_WAITED);
	without_room = "d/1"; /* a place would be of no use to it */
	assert_null(victim());
	without_room = NULL;
	assert_string_equal(victim(), "a/1");
	ends("a/1", 1);
	assert_int_equal(check_queue_again(queue, "a/1", "a", CHECK_WAITED,
	    now_us), 0);
	begins("d/1");
}

/* Whoever is long must make way for the next, and each has its end all the same. */
static void
of_many_that_take_long_each_comes_to_its_end(void **state)
{
	static const char *const names[] = { "a/1", "b/1", "c/1", "d/1" };
	const uint64_t takes_us = 3 * CHECK_QUEUE_LONG_US;
	uint64_t begun_us[4] = { 0 };
	bool is_over[4] = { false };
	size_t over = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		put(names[i], CHECK_WAITED);
	for (int turn = 0; turn < 10000 && over < 4; turn++) {
		const char *name = victim();

		for (size_t i = 0; i < 4; i++) {
			bool is_victim = name != NULL &&
			    strcmp(name, names[i]) == 0;

			if (begun_us[i] == 0 || (!is_victim &&
			    now_us < begun_us[i] + takes_us))
				continue;
			begun_us[i] = 0;
			is_over[i] = !is_victim;
			over += !is_victim;
			if (is_victim)
				assert_int_equal(check_queue_again(queue,
				    names[i], (char[]){ names[i][0], '\0' },
				    CHECK_WAITED, now_us), 0);
			check_queue_over(queue, names[i], now_us);
			break;
		}
		while ((name = pick(true)) != NULL) {
			size_t i = (size_t)(name[0] - 'a');

			check_queue_begin(queue, name, now_us);
			begun_us[i] = now_us;
		}
		now_us += 10 * MS;
	}
	for (size_t i = 0; i < 4; i++)
		assert_true(is_over[i]);
}

static void
gives_way(const char *name, const char *tenant)
{
	const char *found = victim();

	assert_non_null(found);
	assert_string_equal(found, name);
	assert_int_equal(check_queue_again(queue, name, tenant, CHECK_WAITED,
	    now_us), 0);
	check_queue_over(queue, name, now_us);
}

static void
those_that_take_long_leave_a_place_to_who_takes_less(void **state)
{
	(void)state;
	put("a/1", CHECK_WAITED);
	put("b/1", CHECK_WAITED);
	begins("a/1");
	now_us += MS;
	begins("b/1");
	put("c/1", CHECK_WAITED);
	now_us += CHECK_QUEUE_LONG_US;
	gives_way("a/1", "a");
	begins("c/1");
	now_us += CHECK_QUEUE_CHANGE_US;
	gives_way("b/1", "b");
	begins("a/1");
	now_us += CHECK_QUEUE_LONG_US;
	assert_null(victim()); /* for b/1 there is no place while a/1 runs */
	put("d/1", CHECK_WAITED);
	gives_way("c/1", "c");
	begins("d/1");
	ends("d/1", 10);
	begins(NULL);
	put("e/1", CHECK_WAITED);
	begins("e/1");
	ends("e/1", 1);
	ends("a/1", CHECK_QUEUE_LONG_US / MS);
	begins("b/1");
}

static void
what_could_not_be_begun_is_not_tried_at_once(void **state)
{
	(void)state;
	assert_int_equal(check_queue_again(queue, "a/1", "a", CHECK_LISTED,
	    now_us), 0);
	begins(NULL);
	assert_int_equal(check_queue_wake_us(queue, now_us),
	    now_us + CHECK_QUEUE_AGAIN_US);
	now_us += CHECK_QUEUE_AGAIN_US;
	begins("a/1");
}

static void
what_is_gone_is_forgotten(void **state)
{
	(void)state;
	put("a/1", CHECK_WAITED);
	check_queue_del(queue, "a/1");
	check_queue_del(queue, "a/2");
	begins(NULL);
	assert_int_equal(check_queue_count(queue), 0);
	assert_int_equal(check_queue_wake_us(queue, now_us), 0);
}

static void
tenants_of_whom_nothing_is_left_are_swept_and_the_others_stay(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "t%d/f", i);
		put(name, CHECK_LISTED);
		if (i % 100 != 0)
			check_queue_del(queue, name);
	}
	assert_int_equal(check_queue_count(queue), 50);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "t%d/f", 100 * i);
		begins(name);
		ends(name, 1);
	}
	begins(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_goes_before_a_list_and_that_before_what_nobody_asks_for),
		TEST(what_is_written_over_and_over_is_looked_at_when_it_rests),
		TEST(a_request_does_not_wait_for_the_file_to_rest),
		TEST(who_changes_without_end_rests_four_times_as_long_as_it_takes),
		TEST(it_is_the_turn_of_whose_checks_took_least),
		TEST(one_runs_at_a_time_and_a_second_only_for_a_request),
		TEST(never_two_of_a_tenant),
		TEST(while_something_is_started_only_a_request_has_its_check),
		TEST(what_has_no_room_keeps_nobody),
		TEST(one_that_takes_long_gives_way_for_another_tenants_request),
		TEST(of_many_that_take_long_each_comes_to_its_end),
		TEST(those_that_take_long_leave_a_place_to_who_takes_less),
		TEST(what_could_not_be_begun_is_not_tried_at_once),
		TEST(what_is_gone_is_forgotten),
		TEST(tenants_of_whom_nothing_is_left_are_swept_and_the_others_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
