/* One check's life: the test is spawner, init and program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "tests/unit/stage.h"

#define EXITS(code) ((code) << 8)

static struct stage stage;
static struct function *function;
static bool has_otherwise, is_build;
static unsigned found_count, settled_count;
static enum ctl_check found_state;
static char found_text[CTL_CHECK_TEXT_MAX + 1];

static struct function *
find(void *arg, const char *name)
{
	struct function *one = catalog_find(stage.server.catalog, name);

	(void)arg;
	return one != NULL && one->check == CTL_CHECK_NONE ? one : NULL;
}

static bool
otherwise(void *arg, const struct function *one)
{
	(void)arg;
	(void)one;
	return has_otherwise;
}

static bool
builds(void *arg, const struct function *one)
{
	(void)arg;
	(void)one;
	return is_build;
}

static struct cgi_env *
env(void *arg, const struct function *one)
{
	struct cgi_env *made = cgi_env_new();

	(void)arg;
	(void)one;
	assert_int_equal(cgi_env_set(made, "OWN", "1"), 0);
	return made;
}

static void
found(void *arg, struct function *one, enum ctl_check state, const char *text)
{
	(void)arg;
	found_count++;
	found_state = state;
	snprintf(found_text, sizeof(found_text), "%s", text);
	assert_int_equal(function_set_check(one, state, text), 0);
	pools_look_again(stage.pools, one->info.name);
}

static void
settled(void *arg)
{
	(void)arg;
	settled_count++;
}

static const struct checks_ops ops = { .find = find,
	.has_otherwise = otherwise, .is_build = builds, .env = env, .found = found,
	.settled = settled };

static int
setup(void **state)
{
	struct ctl_function info;

	(void)state;
	stage_open(&stage, NULL);
	stage.checks = checks_new(&stage.fleet, stage.pools, &ops, NULL);
	has_otherwise = is_build = false;
	found_count = settled_count = 0;
	info = stage_function("f", true);
	info.limits.value[LIMIT_QUEUE_TIMEOUT_MS] = 60000;
	function = stage_put(&stage, &info);
	return stage.checks == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	checks_end(stage.checks);
	stage_settle(&stage);
	checks_free(stage.checks);
	stage_close(&stage);
	return 0;
}

/* Its program runs. */
static struct actor *
begin(void)
{
	struct actor *actor;

	checks_begin(stage.checks);
	checks_want(stage.checks, function, CHECK_LISTED);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 1);
	actor = stage_last(&stage);
	stage_up(&stage, actor);
	assert_true(actor_order(actor));
	assert_int_equal(actor->order.type, INIT_RUN);
	assert_int_equal(actor->fd_count, 3);
	return actor;
}

static void
says(struct actor *actor, const char *text)
{
	assert_int_equal(write(actor->fds[2], text, strlen(text)),
	    strlen(text));
}

static void
ends(struct actor *actor, int wait_status)
{
	actor_close(actor);
	actor_report(actor, INIT_EXIT, wait_status);
	stage_turn(&stage, 0);
	assert_true(actor->is_killed);
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
}

static void
assert_found(enum ctl_check state, const char *text)
{
	assert_int_equal(found_count, 1);
	assert_int_equal(found_state, state);
	assert_string_equal(found_text, text);
}

static void
one_that_exits_with_0_is_sound_whatever_it_says(void **state)
{
	struct actor *actor = begin();

	(void)state;
	assert_string_equal(actor_env(actor, "OWN"), "1");
	says(actor, "f: a warning\n");
	ends(actor, EXITS(0));
	assert_found(CTL_CHECK_SOUND, "");
	assert_true(settled_count > 0);
	assert_false(checks_is_busy(stage.checks));
}

static void
its_first_words_are_what_is_wrong(void **state)
{
	struct actor *actor = begin();

	(void)state;
	says(actor, "\n  f:3: \033[1mcaf\xc3\xa9\twrong\r\n\nmore\n");
	ends(actor, EXITS(1));
	assert_found(CTL_CHECK_UNSOUND, "f:3: ?[1mcaf?? wrong; more");
}

static void
what_is_kept_of_them_is_bounded(void **state)
{
	struct actor *actor = begin();
	char line[1000];

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	for (int i = 0; i < 40; i++)
		says(actor, line);
	stage_turn(&stage, 0);
	ends(actor, EXITS(1));
	assert_int_equal(found_state, CTL_CHECK_UNSOUND);
	assert_in_range(strlen(found_text), 100, CTL_CHECK_TEXT_MAX);
}

static void
one_that_floods_finds_nobody_who_reads(void **state)
{
	struct actor *actor = begin();
	static char block[65536];
	ssize_t n = 0;

	(void)state;
	fd_set_nonblock(actor->fds[2], true);
	for (int i = 0; i < 2000 && (n >= 0 || errno == EAGAIN); i++) {
		n = write(actor->fds[2], block, sizeof(block));
		stage_turn(&stage, 0);
	}
	assert_int_equal(n, -1);
	assert_int_equal(errno, EPIPE);
	ends(actor, 13);
	assert_int_equal(found_state, CTL_CHECK_UNSOUND);
}

static void
one_that_says_nothing_has_its_end_told(void **state)
{
	struct actor *actor = begin();

	(void)state;
	ends(actor, EXITS(7));
	assert_found(CTL_CHECK_UNSOUND,
	    "the check exits with 7 and says nothing");
}

static void
one_that_dies_has_its_signal_told(void **state)
{
	struct actor *actor = begin();

	(void)state;
	ends(actor, 11);
	assert_found(CTL_CHECK_UNSOUND,
	    "the check was ended by signal 11");
}

static void
exit_2_gives_the_file_to_the_runtime_that_is_named_otherwise(void **state)
{
	struct actor *actor;

	(void)state;
	has_otherwise = true;
	actor = begin();
	ends(actor, EXITS(2));
	assert_found(CTL_CHECK_OTHERWISE, "");
}

static void
and_is_an_error_like_others_where_none_is_named(void **state)
{
	struct actor *actor = begin();

	(void)state;
	says(actor, "usage");
	ends(actor, EXITS(2));
	assert_found(CTL_CHECK_UNSOUND, "usage");
}

static void
a_program_that_is_not_there_says_nothing_of_the_file(void **state)
{
	struct actor *actor = begin();

	(void)state;
	actor_report(actor, INIT_EXEC_FAILED, ENOENT);
	stage_turn(&stage, 0);
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
	assert_int_equal(found_state, CTL_CHECK_FAILED);
	assert_non_null(strstr(found_text, "No such file"));
}

static void
one_whose_sandbox_dies_is_unsound(void **state)
{
	struct actor *actor = begin();

	(void)state;
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
	assert_found(CTL_CHECK_UNSOUND, "the check was killed");
}

static void
a_sandbox_that_cannot_be_made_is_told_and_a_shortage_is_tried_again(
    void **state)
{
	(void)state;
	checks_begin(stage.checks);
	checks_want(stage.checks, function, CHECK_WAITED);
	stage_turn(&stage, 0);
	stage_failed(&stage, stage_last(&stage), EMFILE);
	stage_turn(&stage, 0);
	assert_int_equal(found_count, 0);
	assert_true(checks_is_busy(stage.checks));
	stage_turn(&stage, CHECK_QUEUE_CHANGE_US / 1000 + 20);
	assert_int_equal(stage.actor_count, 2);
	stage_failed(&stage, stage_last(&stage), EPERM);
	stage_turn(&stage, 0);
	assert_found(CTL_CHECK_FAILED, "the sandbox of its check cannot be "
	    "made: test: Operation not permitted");
	assert_int_equal(stage_log_count(&stage, "\"check\""), 0);
}

/* Else one of its processes could write what is served already. */
static void
a_build_is_sound_when_none_of_its_processes_lives(void **state)
{
	struct actor *actor;

	(void)state;
	is_build = true;
	actor = begin();
	actor_close(actor);
	actor_report(actor, INIT_EXIT, EXITS(0));
	stage_turn(&stage, 0);
	assert_true(actor->is_killed);
	assert_int_equal(found_count, 0);
	assert_true(checks_is_busy(stage.checks));
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
	assert_found(CTL_CHECK_SOUND, "");
	assert_int_equal(function->check_again_us, 0);
	stage_settle(&stage);
	assert_int_equal(stage_log_count(&stage, "\"reason\":\"build\""), 1);
}

static void
a_build_that_was_killed_may_be_tried_again_and_one_that_failed_not(void **state)
{
	struct actor *actor;

	(void)state;
	is_build = true;
	actor = begin();
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
	assert_found(CTL_CHECK_UNSOUND, "the build was killed");
	assert_true(function->check_again_us != 0);
	function->check = CTL_CHECK_NONE;
	found_count = 0;
	checks_want(stage.checks, function, CHECK_LISTED);
	stage_turn(&stage, 0);
	actor = stage_last(&stage);
	stage_up(&stage, actor);
	assert_true(actor_order(actor));
	ends(actor, EXITS(1));
	assert_found(CTL_CHECK_UNSOUND,
	    "the build exits with 1 and says nothing");
	assert_int_equal(function->check_again_us, 0);
}

/* Another program of the tenant's may go, and so make room. */
static void
a_build_that_could_not_be_begun_may_be_tried_again(void **state)
{
	(void)state;
	is_build = true;
	checks_begin(stage.checks);
	checks_want(stage.checks, function, CHECK_WAITED);
	stage_turn(&stage, 0);
	stage_failed(&stage, stage_last(&stage), EDQUOT);
	stage_turn(&stage, 0);
	assert_int_equal(found_state, CTL_CHECK_FAILED);
	assert_true(function->check_again_us != 0);
}

static void
a_build_that_says_that_it_lacked_something_may_be_tried_again(void **state)
{
	struct actor *actor;

	(void)state;
	is_build = true;
	actor = begin();
	says(actor, "no space");
	ends(actor, EXITS(75));
	assert_found(CTL_CHECK_UNSOUND, "no space");
	assert_true(function->check_again_us != 0);
}

static void
a_build_whose_program_is_not_there_may_be_tried_again(void **state)
{
	struct actor *actor;

	(void)state;
	is_build = true;
	actor = begin();
	actor_report(actor, INIT_EXEC_FAILED, ENOENT);
	stage_turn(&stage, 0);
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
	assert_int_equal(found_state, CTL_CHECK_FAILED);
	assert_true(function->check_again_us != 0);
}

static void
a_change_ends_the_check_of_what_was(void **state)
{
	struct actor *actor = begin();

	(void)state;
	checks_forget(stage.checks, "f");
	assert_true(actor->is_killed);
	checks_want(stage.checks, function, CHECK_LISTED);
	says(actor, "what was");
	actor_report(actor, INIT_EXIT, EXITS(1));
	stage_turn(&stage, 0);
	assert_int_equal(found_count, 0);
	assert_int_equal(stage.actor_count, 1); /* one at a time */
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 2);
}

/* All that it used stands in a record of its own, as waiting. */
static void
it_has_a_record_that_its_tenant_pays(void **state)
{
	struct actor *actor = begin();

	(void)state;
	stage.cpu_us = 4321;
	ends(actor, EXITS(1));
	ledger_flush(stage.ledger);
	assert_int_equal(stage_log_count(&stage, "\"reason\":\"check\""), 1);
	assert_int_equal(stage_log_count(&stage, "\"executions\":0,"), 1);
	assert_int_equal(stage_log_count(&stage, "\"start_cpu_us\":0,"
	    "\"exec_cpu_us\":0,\"idle_cpu_us\":4321,"), 1);
	assert_int_equal(stage_log_count(&stage, "\"exit\":1,"), 1);
}

static void
nothing_begins_before_all_functions_are_known(void **state)
{
	(void)state;
	assert_true(checks_is_busy(stage.checks));
	checks_want(stage.checks, function, CHECK_WAITED);
	stage_turn(&stage, 5);
	assert_int_equal(stage.actor_count, 0);
	assert_int_equal(settled_count, 0);
	checks_begin(stage.checks);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 1);
}

static void
a_drain_ends_what_nobody_waits_for(void **state)
{
	struct actor *actor = begin();

	(void)state;
	checks_drain(stage.checks);
	assert_true(actor->is_killed);
	stage_gone(&stage, actor, 9);
	stage_turn(&stage, 0);
	assert_int_equal(found_count, 0);
	checks_want(stage.checks, function, CHECK_LISTED);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 1);
	checks_want(stage.checks, function, CHECK_WAITED);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 2);
}

static void
on_granted(void *arg, struct instance *instance)
{
	*(struct instance **)arg = instance;
}

static void
on_refused(void *arg, enum pool_refusal why)
{
	(void)arg;
	(void)why;
}

static void
one_that_finds_no_calm_begins_all_the_same_after_a_while(void **state)
{
	struct instance *instance = NULL;
	struct waiter waiter = { .granted = on_granted,
		.refused = on_refused, .arg = &instance };

	(void)state;
	checks_begin(stage.checks);
	assert_int_equal(pool_submit(stage.pools, function, &waiter), 0);
	stage_turn(&stage, 0);
	assert_int_equal(stage.actor_count, 1); /* and is being started */
	checks_want(stage.checks, function, CHECK_LISTED);
	stage_turn(&stage, CHECK_QUEUE_CHANGE_US / 1000 + 20);
	assert_int_equal(stage.actor_count, 1);
	for (int i = 0; i < 40 && stage.actor_count == 1; i++)
		stage_turn(&stage, CHECKS_PATIENCE_US / 1000 / 10);
	assert_int_equal(stage.actor_count, 2);
	stage_up(&stage, &stage.actors[0]);
	stage_turn(&stage, 0);
	assert_non_null(instance);
	pool_return(instance);
}

static void
nothing_of_a_function_is_started_before_its_check_says_by_whom(void **state)
{
	struct instance *instance = NULL;
	struct waiter waiter = { .granted = on_granted,
		.refused = on_refused, .arg = &instance };
	struct actor *actor;

	(void)state;
	stage.is_holding = true;
	assert_int_equal(pool_submit(stage.pools, function, &waiter), 0);
	stage_turn(&stage, 5);
	assert_int_equal(stage.actor_count, 0);
	assert_int_not_equal(stage.holds_waited, 0);
	actor = begin();
	ends(actor, EXITS(0));
	assert_int_equal(stage.actor_count, 2);
	stage_up(&stage, stage_last(&stage));
	stage_turn(&stage, 0);
	assert_non_null(instance);
	pool_return(instance);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_that_exits_with_0_is_sound_whatever_it_says),
		TEST(its_first_words_are_what_is_wrong),
		TEST(what_is_kept_of_them_is_bounded),
		TEST(one_that_floods_finds_nobody_who_reads),
		TEST(one_that_says_nothing_has_its_end_told),
		TEST(one_that_dies_has_its_signal_told),
		TEST(exit_2_gives_the_file_to_the_runtime_that_is_named_otherwise),
		TEST(and_is_an_error_like_others_where_none_is_named),
		TEST(a_program_that_is_not_there_says_nothing_of_the_file),
		TEST(one_whose_sandbox_dies_is_unsound),
		TEST(a_sandbox_that_cannot_be_made_is_told_and_a_shortage_is_tried_again),
		TEST(a_build_is_sound_when_none_of_its_processes_lives),
		TEST(
		    a_build_that_was_killed_may_be_tried_again_and_one_that_failed_not),
		TEST(a_build_that_could_not_be_begun_may_be_tried_again),
		TEST(a_build_that_says_that_it_lacked_something_may_be_tried_again),
		TEST(a_build_whose_program_is_not_there_may_be_tried_again),
		TEST(a_change_ends_the_check_of_what_was),
		TEST(it_has_a_record_that_its_tenant_pays),
		TEST(nothing_begins_before_all_functions_are_known),
		TEST(a_drain_ends_what_nobody_waits_for),
		TEST(one_that_finds_no_calm_begins_all_the_same_after_a_while),
		TEST(nothing_of_a_function_is_started_before_its_check_says_by_whom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
