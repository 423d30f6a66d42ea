/* Too many connections: who is idle gives way, who has a request never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tests/unit/play.h"

/* A connection beyond the one that is allowed, with a request. */
static void
another(struct play *play, struct web *other)
{
	web_init(other, stage_connect(&play->stage));
	web_get(other, 1, FCGI_KEEP_CONN, "/fn/f");
	play_turn(play, 0);
	web_read(other);
}

static void
expect_refused(struct play *play, struct web *other)
{
	assert_non_null(strstr(web_text(other), "Status: 503 "));
	assert_non_null(strstr(web_text(other), "Retry-After: "));
	assert_true(other->is_closed);
	assert_int_equal(play_records(play, "refused"), 1);
	web_free(other);
}

static void
one_that_was_silent_for_a_while_gives_way(void **state)
{
	struct play *play = *state;
	struct web other;

	play->stage.server.conf->max_connections = 1;
	play_turn(play, 300);
	another(play, &other);
	web_read(&play->web);
	assert_true(play->web.is_closed);
	assert_false(other.is_closed);
	assert_int_equal(play->stage.actor_count, 1);
	assert_int_equal(play->stage.server.connections, 1);
	web_free(&other);
	play_turn(play, 0);
}

static void
one_whose_request_was_answered_gives_way_later_too(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	struct web other;

	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	play->stage.server.conf->max_connections = 1;
	play_turn(play, 300);
	another(play, &other);
	web_read(&play->web);
	assert_true(play->web.is_closed);
	assert_false(other.is_closed);
	web_free(&other);
	play_turn(play, 0);
}

static void
one_that_came_a_moment_ago_does_not(void **state)
{
	struct play *play = *state;
	struct web other;

	play->stage.server.conf->max_connections = 1;
	another(play, &other);
	expect_refused(play, &other);
	web_read(&play->web);
	assert_false(play->web.is_closed);
}

static void
one_with_a_request_never_does(void **state)
{
	struct play *play = *state;
	struct actor *actor = play_dispatch(play, "GET", "");
	struct web other;

	play->stage.server.conf->max_connections = 1;
	play_turn(play, 300);
	another(play, &other);
	expect_refused(play, &other);
	play_say(play, actor, PLAIN "hello");
	play_end(play, actor, 0);
	assert_true(play_has(play, "hello"));
}

static void
one_whose_request_is_just_arriving_does_not(void **state)
{
	struct play *play = *state;
	struct web other;

	play->stage.server.conf->max_connections = 1;
	play_turn(play, 300);
	/* written, and the loop has not seen it yet */
	web_get(&play->web, 1, FCGI_KEEP_CONN, "/fn/f");
	another(play, &other);
	expect_refused(play, &other);
	assert_int_equal(play->stage.actor_count, 1);
	web_read(&play->web);
	assert_false(play->web.is_closed);
}

static void
descriptors_are_a_ceiling_too(void **state)
{
	struct play *play = *state;
	struct web other;

	play->stage.server.fd_ceiling = 3;
	another(play, &other);
	expect_refused(play, &other);
	play_turn(play, 300);
	another(play, &other);
	assert_false(other.is_closed);
	assert_int_equal(play->stage.actor_count, 1);
	web_free(&other);
	play_turn(play, 0);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, play_set_up, play_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_that_was_silent_for_a_while_gives_way),
		TEST(one_whose_request_was_answered_gives_way_later_too),
		TEST(one_that_came_a_moment_ago_does_not),
		TEST(one_with_a_request_never_does),
		TEST(one_whose_request_is_just_arriving_does_not),
		TEST(descriptors_are_a_ceiling_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
