#include "tests/unit/policy_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fcgi-host/settings.h"

struct world world;

void
world_move(struct policy_pool *pool, enum policy_role from,
    enum policy_role to)
{
	policy_move(pool, from, to,
	    ((struct world_pool *)pool)->limits.value[LIMIT_MEMORY_BYTES]);
}

static void
idle_note(struct world_pool *pool)
{
	pool->policy.idle_oldest_us =
	    pool->policy.count[POLICY_IDLE] > 0 ? pool->idle_us[0] : 0;
}

static void
idle_add(struct world_pool *pool)
{
	pool->idle_us[pool->policy.count[POLICY_IDLE]] = world.now_us;
	world_move(&pool->policy, POLICY_BUSY, POLICY_IDLE);
	idle_note(pool);
}

/* is_oldest: else the one used last. */
static void
idle_take(struct world_pool *pool, enum policy_role to, bool is_oldest)
{
	uint64_t n = pool->policy.count[POLICY_IDLE];

	assert_true(n > 0);
	if (is_oldest)
		memmove(pool->idle_us, pool->idle_us + 1,
		    (n - 1) * sizeof(pool->idle_us[0]));
	world_move(&pool->policy, POLICY_IDLE, to);
	idle_note(pool);
}

/* One that ends is gone at once here. */
static void
gone(struct world_pool *pool, enum policy_role from)
{
	world_move(&pool->policy, from, POLICY_NONE);
	pool->ended++;
}

static void
waiter_leave(struct world_pool *pool)
{
	assert_true(pool->policy.waiting > 0);
	pool->policy.waiting--;
	memmove(pool->since_us, pool->since_us + 1,
	    pool->policy.waiting * sizeof(pool->since_us[0]));
	pool->policy.oldest_us = pool->policy.waiting > 0 ?
	    pool->since_us[0] : 0;
}

static void
serve(struct world_pool *pool)
{
	for (;;) {
		switch (policy_next(&pool->policy, world.now_us)) {
		case POLICY_TAKE_IDLE:
			idle_take(pool, POLICY_BUSY, false);
			waiter_leave(pool);
			break;
		case POLICY_TAKE_READY:
			world_move(&pool->policy, POLICY_READY, POLICY_BUSY);
			pool->run_us = world.now_us;
			waiter_leave(pool);
			break;
		case POLICY_REFUSE:
			waiter_leave(pool);
			pool->refused++;
			break;
		default:
			return;
		}
	}
}

static void
expire(struct world_pool *pool)
{
	uint64_t until;

	while (pool->policy.count[POLICY_IDLE] > 0) {
		until = policy_idle_until_us(&pool->policy, pool->idle_us[0]);
		if (until == 0 || until > world.now_us)
			break;
		idle_take(pool, POLICY_ENDING, true);
		gone(pool, POLICY_ENDING);
	}
	if (pool->policy.count[POLICY_READY] > 0 &&
	    policy_ready_until_us(&pool->policy, pool->ready_us) <=
	    world.now_us)
		gone(pool, POLICY_READY);
	while (policy_lacks(&pool->policy) &&
	    pool->policy.count[POLICY_READY] > 0) {
		world_move(&pool->policy, POLICY_READY, POLICY_BUSY);
		idle_add(pool);
	}
}

/* What is taken first is the spare. */
static void
spares_note(struct world_pool *pool)
{
	if (pool->policy.spares > pool->policy.count[POLICY_READY])
		pool->policy.spares = pool->policy.count[POLICY_READY];
}

static void
spare_boot(struct world_pool *pool)
{
	struct policy_pool *victim;

	spares_note(pool);
	if (policy_spare_is_over(&pool->policy)) {
		gone(pool, POLICY_READY);
		spares_note(pool);
	}
	if (!policy_spare(&pool->policy, world.now_us, &victim))
		return;
	if (victim != NULL) {
		gone((struct world_pool *)victim, POLICY_READY);
		spares_note((struct world_pool *)victim);
		policy_update(victim, world.now_us);
	}
	pool->policy.spares++;
}

static void
give_way(struct policy_pool *policy)
{
	struct world_pool *pool = (struct world_pool *)policy;

	if (policy == NULL)
		return;
	if (policy->count[POLICY_READY] > 0) {
		gone(pool, POLICY_READY);
	} else {
		idle_take(pool, POLICY_ENDING, true);
		gone(pool, POLICY_ENDING);
	}
	policy_update(policy, world.now_us);
}

static void
start(struct policy_pool *pool, struct policy_pool *victim)
{
	for (; victim != NULL; victim = policy_victim(pool))
		give_way(victim);
	world_move(pool, POLICY_NONE, POLICY_STARTING);
	policy_update(pool, world.now_us);
}

static void
settle(void)
{
	struct policy_pool *pool, *victim;

	for (size_t i = 0; i < POOLS; i++) {
		serve(&world.pools[i]);
		expire(&world.pools[i]);
		spare_boot(&world.pools[i]);
		policy_update(&world.pools[i].policy, world.now_us);
	}
	give_way(policy_relieve(&world.policy, world.now_us));
	while ((pool = policy_pick(&world.policy, world.now_us, &victim)) !=
	    NULL)
		start(pool, victim);
	if (TAILQ_EMPTY(&world.policy.hungry) &&
	    (pool = policy_prepare(&world.policy, world.now_us, &victim)) !=
	    NULL)
		start(pool, victim);
}

static void
come(struct world_pool *pool, int n)
{
	for (int i = 0; i < n; i++)
		pool->since_us[pool->policy.waiting++] = world.now_us;
	pool->policy.oldest_us = pool->since_us[0];
	policy_use(&pool->policy, world.now_us);
}

static void
done(struct world_pool *pool)
{
	uint64_t is_fresh = pool->limits.value[LIMIT_IDLE_MS] == 0;

	policy_succeed(&pool->policy);
	if (is_fresh || policy_yields(&pool->policy))
		gone(pool, POLICY_BUSY);
	else
		idle_add(pool);
}

static void
act(const struct row *row)
{
	struct world_pool *pool = &world.pools[row->pool];

	switch (row->op) {
	case COME:
		come(pool, row->n);
		break;
	case UP:
		world_move(&pool->policy, POLICY_STARTING, POLICY_READY);
		pool->ready_us = world.now_us;
		break;
	case FAIL:
		gone(pool, POLICY_STARTING);
		policy_fail(&pool->policy, world.now_us, world.now_us);
		break;
	case DONE:
		for (int i = 0; i < row->n; i++) {
			done(pool);
			serve(pool);
			policy_update(&pool->policy, world.now_us);
		}
		break;
	case DIE:
		policy_fail(&pool->policy, pool->run_us, world.now_us);
		gone(pool, POLICY_BUSY);
		break;
	case DIE_LATER:
		gone(pool, POLICY_BUSY);
		break;
	case CHANGE:
		policy_change(&pool->policy, &pool->limits, world.now_us);
		break;
	case DRAIN:
		world.policy.is_draining = true;
		break;
	default:
		break;
	}
}

static void
expect(const struct row *row, size_t i)
{
	const struct world_pool *pool = &world.pools[row->pool];
	const uint64_t *count = pool->policy.count;
	const int wanted[] = { row->waiting, row->starting, row->ready,
		row->idle, row->busy, row->refused };
	const int is[] = { (int)pool->policy.waiting,
		(int)count[POLICY_STARTING], (int)count[POLICY_READY],
		(int)count[POLICY_IDLE], (int)count[POLICY_BUSY],
		pool->refused };
	static const char *const names[] = { "waiting", "starting", "ready",
		"idle", "busy", "refused" };

	for (size_t j = 0; j < sizeof(is) / sizeof(is[0]); j++)
		if (wanted[j] != is[j])
			fail_msg("row %zu, at %llu ms, pool %d: %d %s, not %d",
			    i, (unsigned long long)row->at_ms, row->pool,
			    is[j], names[j], wanted[j]);
}

void
world_play(const struct row *rows)
{
	for (size_t i = 0; rows[i].op != END; i++) {
		/* a day after the machine's start */
		world.now_us = (UINT64_C(86400000) + rows[i].at_ms) * 1000;
		act(&rows[i]);
		settle();
		expect(&rows[i], i);
	}
}

int
world_open(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	policy_init(&world.policy);
	for (int i = 0; i < POOLS; i++) {
		char tenant[8];

		snprintf(tenant, sizeof(tenant), "t%d", i / 2);
		settings_defaults(&world.pools[i].limits);
		assert_int_equal(policy_join(&world.policy,
		    &world.pools[i].policy, tenant, &world.pools[i].limits),
		    0);
	}
	return 0;
}

int
world_close(void **state)
{
	(void)state;
	for (int i = 0; i < POOLS; i++) {
		struct policy_pool *pool = &world.pools[i].policy;

		for (int role = 0; role < POLICY_ROLE_COUNT; role++)
			while (pool->count[role] > 0)
				world_move(pool, (enum policy_role)role,
				    POLICY_NONE);
		policy_leave(pool);
	}
	for (int role = 0; role < POLICY_ROLE_COUNT; role++)
		assert_int_equal(world.policy.count[role], 0);
	policy_free(&world.policy);
	return 0;
}

void
world_set(int pool, enum limit_key key, uint64_t value)
{
	world.pools[pool].limits.value[key] = value;
}
