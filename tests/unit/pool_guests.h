/*
 * Those who wait at a pool, as requests would, on a stage of their own: the
 * fixture that the tests of the pool share.
 */
#ifndef TESTS_UNIT_POOL_GUESTS_H
#define TESTS_UNIT_POOL_GUESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/stage.h"

#define WAITERS_MAX 16

/* One who waits, as a request would. */
struct guest {
	struct waiter waiter;
	struct instance *instance;
	int refusal; /* -1: none */
	int calls;
};

static struct stage stage;
static struct guest guests[WAITERS_MAX];

static inline void
on_report(void *arg, const struct init_report *report)
{
	(void)arg;
	(void)report;
}

static inline void
on_gone(void *arg)
{
	(void)arg;
}

static const struct instance_user as_user = { on_report, on_gone };

static inline void
on_granted(void *arg, struct instance *instance)
{
	struct guest *guest = arg;

	assert_int_equal(instance->state, INSTANCE_IDLE);
	guest->calls++;
	guest->instance = instance;
	instance_take(instance, &as_user, guest, "r");
}

static inline void
on_refused(void *arg, enum pool_refusal why)
{
	struct guest *guest = arg;

	guest->calls++;
	guest->refusal = (int)why;
}

static inline int
set_up(void **state)
{
	(void)state;
	stage_open(&stage, NULL);
	for (size_t i = 0; i < WAITERS_MAX; i++)
		guests[i] = (struct guest){ .refusal = -1,
			.waiter = { .granted = on_granted,
			    .refused = on_refused, .arg = &guests[i] } };
	return 0;
}

static inline void
leave(struct guest *guest, const char *reason)
{
	struct instance *instance = guest->instance;

	guest->instance = NULL;
	instance_let_go(instance);
	pool_release(instance, reason, reason == NULL ? POOL_ANSWERED :
	    POOL_UNANSWERED);
}

static inline int
tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < WAITERS_MAX; i++) {
		pool_cancel(stage.pools, &guests[i].waiter);
		if (guests[i].instance != NULL)
			leave(&guests[i], "test");
	}
	stage_close(&stage);
	return 0;
}

/* A function f with limits that the tests vary; 0 keeps the default. */
static inline struct function *
make(uint64_t instances, uint64_t queue, uint64_t idle_ms)
{
	struct ctl_function info = stage_function("f", false);

	info.limits.value[LIMIT_INSTANCES] = instances;
	info.limits.value[LIMIT_QUEUE] = queue;
	info.limits.value[LIMIT_IDLE_MS] = idle_ms;
	return stage_put(&stage, &info);
}

static inline void
submit(struct function *function, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++)
		assert_int_equal(pool_submit(stage.pools, function,
		    &guests[i].waiter), 0);
	stage_turn(&stage, 0);
}

/* The instance that the guest has, up and his. */
static inline void
serve(struct function *function, size_t i)
{
	size_t before = stage.actor_count;

	submit(function, i, 1);
	if (stage.actor_count > before) {
		stage_up(&stage, stage_last(&stage));
		stage_turn(&stage, 0);
	}
	assert_non_null(guests[i].instance);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
