#include "fcgi-host/policy.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/policy_impl.h"

void
policy_init(struct policy *policy)
{
	memset(policy, 0, sizeof(*policy));
	TAILQ_INIT(&policy->used);
	TAILQ_INIT(&policy->hungry);
}

void
policy_free(struct policy *policy)
{
	/* a tenant goes with its last pool */
	policy->tenants = NULL;
}

/* ---- tenants ---- */

static int
tenant_compare(const void *a, const void *b)
{
	return strcmp(((const struct policy_tenant *)a)->name,
	    ((const struct policy_tenant *)b)->name);
}

struct policy_tenant *
policy_tenant_find(const struct policy *policy, const char *name)
{
	struct policy_tenant key, **found;

	strncpy(key.name, name, sizeof(key.name) - 1);
	key.name[sizeof(key.name) - 1] = '\0';
	found = tfind(&key, &policy->tenants, tenant_compare);
	return found == NULL ? NULL : *found;
}

struct policy_tenant *
policy_tenant_take(struct policy *policy, const char *name)
{
	struct policy_tenant *tenant = calloc(1, sizeof(*tenant));
	struct policy_tenant **found;

	if (tenant == NULL)
		return NULL;
	strncpy(tenant->name, name, sizeof(tenant->name) - 1);
	found = tsearch(tenant, &policy->tenants, tenant_compare);
	if (found == NULL || *found != tenant)
		free(tenant);
	if (found == NULL)
		return NULL;
	(*found)->pools++;
	return *found;
}

void
policy_tenant_drop(struct policy *policy, struct policy_tenant *tenant)
{
	if (--tenant->pools > 0)
		return;
	tdelete(tenant, &policy->tenants, tenant_compare);
	free(tenant);
}

/* ---- pools come and go ---- */

int
policy_join(struct policy *policy, struct policy_pool *pool,
    const char *tenant, const struct limits *limits)
{
	memset(pool, 0, sizeof(*pool));
	pool->tenant = policy_tenant_take(policy, tenant);
	if (pool->tenant == NULL)
		return -ENOMEM;
	pool->policy = policy;
	pool->limits = limits;
	TAILQ_INSERT_TAIL(&policy->used, pool, in_used);
	return 0;
}

static void
hungry_set(struct policy_pool *pool, bool is_hungry)
{
	struct policy *policy = pool->policy;

	if (pool->is_hungry == is_hungry)
		return;
	pool->is_hungry = is_hungry;
	if (is_hungry)
		TAILQ_INSERT_TAIL(&policy->hungry, pool, in_hungry);
	else
		TAILQ_REMOVE(&policy->hungry, pool, in_hungry);
}

void
policy_leave(struct policy_pool *pool)
{
	hungry_set(pool, false);
	if (pool->policy->room_of == pool)
		pool->policy->room_of = NULL;
	TAILQ_REMOVE(&pool->policy->used, pool, in_used);
	policy_tenant_drop(pool->policy, pool->tenant);
}

void
policy_change(struct policy_pool *pool, const struct limits *limits,
    uint64_t now_us)
{
	pool->limits = limits;
	pool->failures = 0;
	pool->has_answered = false;
	pool->throttled_until_us = pool->paused_until_us = 0;
	pool->wish_us = 0;
	policy_update(pool, now_us);
	if (pool->wish_us != 0)
		pool->wish_us = now_us + POLICY_CHANGE_US;
}

/* ---- what happened ---- */

void
policy_move(struct policy_pool *pool, enum policy_role from,
    enum policy_role to, uint64_t memory_bytes)
{
	if (from != POLICY_NONE) {
		pool->count[from]--;
		pool->tenant->count[from]--;
		pool->tenant->memory_bytes[from] -= memory_bytes;
		pool->policy->count[from]--;
	}
	if (to != POLICY_NONE) {
		pool->count[to]++;
		pool->tenant->count[to]++;
		pool->tenant->memory_bytes[to] += memory_bytes;
		pool->policy->count[to]++;
	} else if (pool->policy->room_of == pool) {
		pool->policy->room_us = 0;
		pool->policy->room_of = NULL;
	}
}

void
policy_use(struct policy_pool *pool, uint64_t now_us)
{
	struct policy *policy = pool->policy;

	pool->used_us = now_us;
	if (TAILQ_FIRST(&policy->used) == pool)
		return;
	TAILQ_REMOVE(&policy->used, pool, in_used);
	TAILQ_INSERT_HEAD(&policy->used, pool, in_used);
}

void
policy_fail(struct policy_pool *pool, uint64_t since_us, uint64_t now_us)
{
	uint64_t pause_us = POLICY_THROTTLE_FIRST_US;

	/* what began before the last failure knows nothing of it: four that die
	 * of one cause are one failure */
	if (pool->failures > 0 && since_us < pool->failed_us)
		return;
	pool->failed_us = now_us;
	if (pool->failures++ == 0)
		return;
	for (unsigned i = 2; !pool->has_answered && i < pool->failures &&
	    pause_us < POLICY_THROTTLE_MAX_US; i++)
		pause_us *= 2;
	if (pause_us > POLICY_THROTTLE_MAX_US)
		pause_us = POLICY_THROTTLE_MAX_US;
	pool->throttled_until_us = now_us + pause_us;
}

void
policy_pause(struct policy_pool *pool, uint64_t now_us)
{
	pool->paused_until_us = now_us + POLICY_THROTTLE_FIRST_US;
}

void
policy_succeed(struct policy_pool *pool)
{
	pool->failures = 0;
	pool->has_answered = true;
	pool->throttled_until_us = 0;
}

/* ---- one pool ---- */

static bool
is_paused(const struct policy_pool *pool, uint64_t now_us)
{
	return now_us < pool->paused_until_us ||
	    now_us < pool->throttled_until_us;
}

bool
policy_is_throttled(const struct policy_pool *pool, uint64_t now_us)
{
	return now_us < pool->throttled_until_us;
}

/* Those that end hold memory for a while: one that cannot be killed must not
 * make room for more and more. */
static bool
has_room(const struct policy_pool *pool)
{
	uint64_t most = limit(pool, LIMIT_INSTANCES);

	return serving(pool->count) < most &&
	    total(pool->count) + pool->count[POLICY_ENDING] < 2 * most;
}

enum policy_act
policy_next(const struct policy_pool *pool, uint64_t now_us)
{
	if (pool->waiting == 0 || pool->limits == NULL ||
	    pool->policy->is_over || pool->is_held)
		return POLICY_WAIT;
	if (pool->count[POLICY_IDLE] > 0)
		return pool->is_cgi && pool->policy->is_short ? POLICY_WAIT :
		    POLICY_TAKE_IDLE;
	if (policy_is_throttled(pool, now_us))
		return pool->has_answered || serving(pool->count) +
		    pool->count[POLICY_STARTING] > 0 ? POLICY_WAIT :
		    POLICY_REFUSE;
	if (serving(pool->count) >= limit(pool, LIMIT_INSTANCES))
		return POLICY_WAIT;
	if (pool->count[POLICY_READY] > 0)
		return pool->policy->is_short && pool->spares == 0 ?
		    POLICY_WAIT : POLICY_TAKE_READY;
	if (pool->count[POLICY_STARTING] > 0 || !has_room(pool) ||
	    is_paused(pool, now_us))
		return POLICY_WAIT;
	return POLICY_START;
}

bool
policy_lacks(const struct policy_pool *pool)
{
	uint64_t least;

	if (pool->limits == NULL || pool->policy->is_draining ||
	    pool->is_held)
		return false;
	least = limit(pool, LIMIT_MIN_INSTANCES);
	if (least > limit(pool, LIMIT_INSTANCES))
		least = limit(pool, LIMIT_INSTANCES);
	return serving(pool->count) < least;
}

/* A sandbox is there, and its program must not be started; or a check is waited for,
 * which does not begin either. */
static bool
waits_for_memory(const struct policy_pool *pool, uint64_t now_us)
{
	const uint64_t *count = pool->count;

	if (!pool->policy->is_short || pool->limits == NULL ||
	    pool->policy->is_over || is_paused(pool, now_us))
		return false;
	if (pool->is_held)
		return pool->waiting > 0;
	if (pool->waiting > 0 && count[POLICY_IDLE] > 0)
		return true;
	return count[POLICY_READY] > pool->spares && (policy_lacks(pool) ||
	    (pool->waiting > 0 &&
	    serving(count) < limit(pool, LIMIT_INSTANCES)));
}

bool
policy_is_hungry(const struct policy_pool *pool, uint64_t now_us)
{
	if (policy_next(pool, now_us) == POLICY_START ||
	    waits_for_memory(pool, now_us))
		return true;
	return policy_lacks(pool) && !is_paused(pool, now_us) &&
	    pool->count[POLICY_STARTING] + pool->count[POLICY_READY] == 0 &&
	    has_room(pool);
}

/* One prepared instance for a function that was used lately, where a request
 * could take it.  With a sandbox for each execution it is made as soon as one is
 * over, and not beside it: both would wait for each other. */
static bool
wants_prepared(const struct policy_pool *pool, uint64_t now_us)
{
	const struct policy *policy = pool->policy;

	return pool->limits != NULL && policy->max_prepared > 0 &&
	    !pool->is_held &&
	    !policy->is_draining && pool->used_us != 0 &&
	    now_us < pool->used_us + POLICY_USED_LATELY_US &&
	    (limit(pool, LIMIT_IDLE_MS) > 0 || pool->count[POLICY_BUSY] == 0) &&
	    pool->failures == 0 && !is_paused(pool, now_us) &&
	    pool->count[POLICY_STARTING] + pool->count[POLICY_READY] == 0 &&
	    has_room(pool);
}

void
policy_update(struct policy_pool *pool, uint64_t now_us)
{
	hungry_set(pool, policy_is_hungry(pool, now_us));
	if (!wants_prepared(pool, now_us))
		pool->wish_us = 0;
	else if (pool->wish_us == 0)
		pool->wish_us = now_us +
		    (limit(pool, LIMIT_IDLE_MS) == 0 ? 0 : POLICY_PREPARE_US);
}

/* ---- prepared instances ---- */

/* The prepared instance of the function used longest ago, if it has had its
 * time: else a few more functions than places would only chase each other. */
static struct policy_pool *
prepared_give_up(struct policy *policy, const struct policy_pool *asker,
    uint64_t now_us)
{
	struct policy_pool *pool = policy_find_ready(policy, asker, NULL);

	return pool != NULL && now_us >= pool->used_us + POLICY_STAY_US ?
	    pool : NULL;
}

struct policy_pool *
policy_prepare(struct policy *policy, uint64_t now_us,
    struct policy_pool **victim)
{
	struct policy_pool *pool;
	uint64_t looked = 0;

	*victim = NULL;
	if (policy->count[POLICY_STARTING] > 0 ||
	    now_us < policy->prepare_us || policy->is_short)
		return NULL;
	TAILQ_FOREACH(pool, &policy->used, in_used) {
		if (looked++ >= policy->max_prepared)
			return NULL;
		if (pool->wish_us == 0 || now_us < pool->wish_us ||
		    !wants_prepared(pool, now_us) ||
		    policy_is_tenant_full(pool) ||
		    policy_is_host_full(policy))
			continue;
		if (policy->count[POLICY_READY] < policy->max_prepared)
			return pool;
		*victim = prepared_give_up(policy, pool, now_us);
		if (*victim != NULL)
			return pool;
		pool->wish_us = now_us + POLICY_STAY_US;
	}
	return NULL;
}

/* ---- windows ---- */

uint64_t
policy_idle_until_us(const struct policy_pool *pool, uint64_t since_us)
{
	if (serving(pool->count) <= limit(pool, LIMIT_MIN_INSTANCES))
		return 0;
	return since_us + limit(pool, LIMIT_IDLE_MS) * 1000;
}

uint64_t
policy_ready_until_us(const struct policy_pool *pool, uint64_t since_us)
{
	uint64_t idle_us = limit(pool, LIMIT_IDLE_MS) * 1000;

	if (pool->count[POLICY_READY] == 1 && pool->used_us != 0 &&
	    pool->policy->count[POLICY_READY] <= pool->policy->max_prepared)
		return pool->used_us + POLICY_USED_LATELY_US;
	/* one whom a request was started for and then did not need */
	return since_us + (idle_us < POLICY_FIRST_IDLE_US ?
	    POLICY_FIRST_IDLE_US : idle_us);
}

uint64_t
policy_due_us(const struct policy_pool *pool, uint64_t now_us)
{
	if (!is_paused(pool, now_us) || (pool->waiting == 0 &&
	    !policy_lacks(pool)))
		return 0;
	return pool->throttled_until_us > pool->paused_until_us ?
	    pool->throttled_until_us : pool->paused_until_us;
}

/* A wish that is due and was not granted waits for an event: for the start that
 * is under way, or for room. */
uint64_t
policy_wake_us(const struct policy *policy, uint64_t now_us)
{
	const struct policy_pool *pool;
	uint64_t looked = 0, first_us = 0;

	if (now_us < policy->room_us && !TAILQ_EMPTY(&policy->hungry))
		return policy->room_us;
	if (policy->is_short && !TAILQ_EMPTY(&policy->hungry))
		return now_us + POLICY_ROOM_US;
	if (now_us < policy->held_until_us)
		first_us = policy->held_until_us;
	TAILQ_FOREACH(pool, &policy->used, in_used) {
		uint64_t wish_us = pool->wish_us;

		if (looked++ >= policy->max_prepared)
			break;
		if (wish_us != 0 && wish_us < policy->prepare_us)
			wish_us = policy->prepare_us;
		if (wish_us > now_us && (first_us == 0 || wish_us < first_us))
			first_us = wish_us;
	}
	return first_us;
}

uint64_t
policy_max_served(const struct policy_pool *pool, uint64_t id)
{
	uint64_t most = limit(pool, LIMIT_MAX_REQUESTS);

	/* a multiple of the golden ratio spreads neighbours far apart */
	return most - (id * UINT64_C(0x9e3779b97f4a7c15) >> 32) %
	    (most / 10 + 1);
}
