/* The numbers of records that were read, against a table of all of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "fcgi-host/books/seen.h"

#define NUMBERS 400

struct world {
	struct seen *seen;
	bool is_there[NUMBERS];
	uint64_t doubled; /* numbers that were called twice */
};

static uint32_t state_of_random = 1;

static uint32_t
number(uint32_t below)
{
	state_of_random ^= state_of_random << 13;
	state_of_random ^= state_of_random >> 17;
	state_of_random ^= state_of_random << 5;
	return state_of_random % below;
}

static void
twice(uint64_t first, uint64_t last, void *arg)
{
	struct world *world = arg;
	uint64_t i;

	assert_true(first <= last && last < NUMBERS);
	for (i = first; i <= last; i++)
		assert_true(world->is_there[i]);
	world->doubled += last - first + 1;
}

static void
claim(struct world *world, uint64_t first, uint64_t last)
{
	struct stretch stretch = { .run = 7, .first = first, .last = last,
		.path = "a", .last_path = "a", .first_line = first + 1000,
		.last_line = last + 1000 };
	uint64_t there = 0, i;

	world->doubled = 0;
	for (i = first; i <= last; i++)
		there += world->is_there[i];
	assert_int_equal(seen_claim(world->seen, &stretch, twice, world), 0);
	assert_int_equal(world->doubled, there);
	for (i = first; i <= last; i++)
		world->is_there[i] = true;
}

static void
count_twice(uint64_t first, uint64_t last, void *arg)
{
	*(uint64_t *)arg += last - first + 1;
}

static uint64_t
holes(const struct world *world)
{
	uint64_t count = 0, i, first = 0, last = 0;

	for (i = 0; i < NUMBERS; i++) {
		if (!world->is_there[i])
			continue;
		if (last == 0)
			first = i;
		last = i;
	}
	for (i = first + 1; i < last; i++)
		count += !world->is_there[i] && world->is_there[i - 1];
	return count;
}

static void
what_was_read_twice_and_what_is_missing_is_known_exactly(void **state)
{
	unsigned round, i;

	(void)state;
	for (round = 0; round < 300; round++) {
		struct reader reader = { .faults = 1000 };
		struct world world = { .seen = seen_new() };

		assert_non_null(world.seen);
		for (i = 0; i < 40; i++) {
			uint64_t first = number(NUMBERS - 1) + 1;
			uint64_t last = first + number(round % 40 + 1);

			claim(&world, first, last < NUMBERS ? last :
			    NUMBERS - 1);
		}
		assert_int_equal(seen_finish(world.seen, &reader), 0);
		assert_int_equal(reader.faults - 1000, holes(&world));
		seen_free(world.seen);
	}
}

static void
lost_ones_belong_to_the_run_beside_them(void **state)
{
	struct stretch parts[] = {
		{ .run = 9, .first = 1, .last = 5, .first_line = 1,
		    .last_line = 5 },
		{ .run = 3, .is_orphan = true, .first = 11, .last = 20,
		    .first_line = 11, .last_line = 20 },
		{ .run = 3, .is_orphan = true, .first = 6, .last = 10,
		    .first_line = 6, .last_line = 10 },
		{ .run = 9, .first = 22, .last = 30, .first_line = 21,
		    .last_line = 29 },
	};
	struct reader reader = { .faults = 1000 };
	struct seen *seen = seen_new();
	size_t i;

	(void)state;
	assert_non_null(seen);
	for (i = 0; i < 4; i++) {
		parts[i].path = parts[i].last_path = "a";
		assert_int_equal(seen_claim(seen, &parts[i], NULL, NULL), 0);
	}
	assert_int_equal(seen_finish(seen, &reader), 0);
	assert_int_equal(reader.faults, 1001);
	seen_free(seen);
}

static void
a_stretch_goes_on_with_the_next_number_and_line_of_its_run(void **state)
{
	static const char path[] = "a", other[] = "a";
	struct entry ok = { .type = ENTRY_EXEC, .outcome = { "ok", 2 },
		.run = 7, .seq = 5 }, lost = { .type = ENTRY_EXEC,
		.outcome = { "lost", 4 }, .run = 3, .seq = 6 }, next = ok;
	struct stretch stretch = { .path = NULL };

	(void)state;
	assert_false(stretch_add(&stretch, &ok, path, 1));
	stretch = stretch_of(&ok, path, 1);
	assert_false(stretch_add(&stretch, &lost, path, 3));
	assert_false(stretch_add(&stretch, &lost, other, 2));
	assert_true(stretch_add(&stretch, &lost, path, 2));
	assert_int_equal(stretch.run, 7);
	next.run = 3;
	next.seq = 7;
	assert_false(stretch_add(&stretch, &next, path, 3));
	next.run = 7;
	next.seq = 8;
	assert_false(stretch_add(&stretch, &next, path, 3));
	next.seq = 7;
	assert_true(stretch_add(&stretch, &next, path, 3));
	assert_int_equal(stretch.first, 5);
	assert_int_equal(stretch.last, 7);
	assert_int_equal(stretch.last_line, 3);
	/* Lost ones in front are of whose lines follow. */
	stretch = stretch_of(&lost, path, 1);
	assert_true(stretch.is_orphan);
	assert_true(stretch_add(&stretch, &next, path, 2));
	assert_false(stretch.is_orphan);
	assert_int_equal(stretch.run, 7);
}

static void
the_memory_for_holes_is_bounded(void **state)
{
	struct seen *seen = seen_new();
	struct stretch stretch = { .run = 1, .path = "a", .last_path = "a" };
	int error = 0;
	uint64_t i;

	(void)state;
	assert_non_null(seen);
	for (i = 0; error == 0 && i < 200000; i++) {
		stretch.first = stretch.last = 2 * i + 1;
		error = seen_claim(seen, &stretch, NULL, NULL);
	}
	assert_int_equal(error, -EOVERFLOW);
	assert_int_equal(i, 100001);
	seen_free(seen);
}

/* Those that stand beside no run come first: a look at all of them for each one
 * that finds its run would not come to its end. */
static void
many_lost_ones_find_their_runs(void **state)
{
	const uint64_t count = 4000;
	struct seen *seen = seen_new();
	struct reader reader = { .faults = 0 };
	struct stretch stretch = { .path = "a", .last_path = "a" };
	uint64_t i;

	(void)state;
	assert_non_null(seen);
	for (i = 0; i < count * 3; i++) {
		uint64_t at = 4 * (i % count) + 1 + (i >= count * 2);

		stretch.run = i < count ? 1 : 3;
		stretch.is_orphan = i >= count;
		stretch.first = stretch.last = at;
		stretch.first_line = stretch.last_line =
		    at + (i >= count && i < count * 2 ? 1000000 : 0);
		assert_int_equal(seen_claim(seen, &stretch, NULL, NULL), 0);
	}
	assert_int_equal(seen_finish(seen, &reader), 0);
	assert_int_equal(reader.faults, count - 1);
	/* each was claimed by its run, so that it is there already */
	stretch.run = 1;
	stretch.is_orphan = false;
	for (i = 0; i < count; i++) {
		uint64_t doubled = 0;

		stretch.first = stretch.last = 4 * i + 2;
		assert_int_equal(seen_claim(seen, &stretch, count_twice,
		    &doubled), 0);
		assert_int_equal(doubled, 1);
	}
	seen_free(seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    what_was_read_twice_and_what_is_missing_is_known_exactly),
		cmocka_unit_test(lost_ones_belong_to_the_run_beside_them),
		cmocka_unit_test(
		    a_stretch_goes_on_with_the_next_number_and_line_of_its_run),
		cmocka_unit_test(the_memory_for_holes_is_bounded),
		cmocka_unit_test(many_lost_ones_find_their_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
