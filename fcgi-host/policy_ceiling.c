/* Ceilings: whose turn a start is, and who gives way for it. */
#include <stddef.h>

#include "fcgi-host/policy_impl.h"

/* Whether what is left of the tenant's memory is too little for one more.  What
 * ends still holds its own for a while, so that it counts too, but not at once:
 * one that gives way must make room. */
static bool
lacks_memory(const struct policy_pool *pool, uint64_t freed_bytes)
{
	uint64_t most = limit(pool, LIMIT_MAX_MEMORY_BYTES);
	uint64_t one = limit(pool, LIMIT_MEMORY_BYTES);
	const uint64_t *held = pool->tenant->memory_bytes;
	uint64_t all = total(held) + held[POLICY_ENDING];

	return most > 0 && !pool->policy->is_memory_left && (all + one > 2 * most ||
	    total(held) + one > most + freed_bytes);
}

static enum policy_ceiling
ceiling_of(const struct policy_pool *pool)
{
	uint64_t most = limit(pool, LIMIT_MAX_INSTANCES);

	if (most > 0 && total(pool->tenant->count) >= most)
		return POLICY_CEILING_INSTANCES;
	return lacks_memory(pool, 0) ? POLICY_CEILING_MEMORY :
	    POLICY_CEILING_NONE;
}

bool
policy_is_tenant_full(const struct policy_pool *pool)
{
	return ceiling_of(pool) != POLICY_CEILING_NONE;
}

enum policy_ceiling
policy_ceiling(const struct policy_pool *pool)
{
	bool is_full = pool->limits == NULL ||
	    serving(pool->count) >= limit(pool, LIMIT_INSTANCES);

	/* an idle one that must not start its program is not busy */
	if (pool->limits != NULL && pool->policy->is_short &&
	    (!is_full || pool->count[POLICY_IDLE] > 0))
		return POLICY_CEILING_MACHINE;
	return is_full ? POLICY_CEILING_NONE : ceiling_of(pool);
}

bool
policy_is_host_full(const struct policy *policy)
{
	return policy->max_instances > 0 &&
	    total(policy->count) >= policy->max_instances;
}

/* What somebody waits for is as good as taken: it was started for him. */
static bool
has_spare_ready(const struct policy_pool *pool)
{
	return pool->count[POLICY_READY] > 0 && pool->waiting == 0;
}

/* What min_instances holds is not for others. */
static bool
has_spare_idle(const struct policy_pool *pool)
{
	return pool->count[POLICY_IDLE] > 0 && pool->waiting == 0 &&
	    (pool->limits == NULL ||
	    serving(pool->count) > limit(pool, LIMIT_MIN_INSTANCES));
}

struct policy_pool *
policy_find_ready(struct policy *policy, const struct policy_pool *asker,
    const struct policy_tenant *tenant)
{
	struct policy_pool *pool;

	TAILQ_FOREACH_REVERSE(pool, &policy->used, policy_list, in_used)
		if (pool != asker && has_spare_ready(pool) &&
		    (tenant == NULL || pool->tenant == tenant))
			return pool;
	return NULL;
}

/* A warm instance is its tenant's own, unless he has more than who asks: else a
 * tenant with long executions could take them all, and nobody would get his
 * back before those end. */
static bool
may_take_idle(const struct policy_pool *pool, const struct policy_pool *asker)
{
	return pool != asker && has_spare_idle(pool) &&
	    (pool->tenant == asker->tenant ||
	    total(pool->tenant->count) > total(asker->tenant->count));
}

/* That one; then the one with the instance that is idle longest. */
static struct policy_pool *
victim_find(struct policy *policy, const struct policy_pool *asker,
    const struct policy_tenant *tenant)
{
	struct policy_pool *pool;
	struct policy_pool *found = policy_find_ready(policy, asker, tenant);

	if (found != NULL)
		return found;
	TAILQ_FOREACH(pool, &policy->used, in_used)
		if (may_take_idle(pool, asker) &&
		    (tenant == NULL || pool->tenant == tenant) &&
		    (found == NULL ||
		    pool->idle_oldest_us < found->idle_oldest_us))
			found = pool;
	return found;
}

/* What the tenant's other functions could give up. */
static uint64_t
spare_bytes(const struct policy_pool *asker)
{
	const struct policy_pool *pool;
	uint64_t bytes = 0;

	TAILQ_FOREACH(pool, &asker->policy->used, in_used) {
		uint64_t count = 0, idle = pool->count[POLICY_IDLE];

		/* of one that is gone the last go by themselves */
		if (pool->tenant != asker->tenant || pool == asker ||
		    pool->limits == NULL)
			continue;
		if (has_spare_ready(pool))
			count += pool->count[POLICY_READY];
		if (has_spare_idle(pool)) {
			uint64_t more = serving(pool->count) -
			    limit(pool, LIMIT_MIN_INSTANCES);

			count += idle < more ? idle : more;
		}
		bytes += count * limit(pool, LIMIT_MEMORY_BYTES);
	}
	return bytes;
}

/* Whether the pool may have one more; *victim as in policy_pick.  Nothing ends
 * for a start that would not fit all the same. */
static bool
may_start(struct policy_pool *pool, struct policy_pool **victim)
{
	*victim = NULL;
	if (lacks_memory(pool, 0) && lacks_memory(pool, spare_bytes(pool)))
		return false;
	if (policy_is_tenant_full(pool))
		*victim = victim_find(pool->policy, pool, pool->tenant);
	else if (policy_is_host_full(pool->policy))
		*victim = victim_find(pool->policy, pool, NULL);
	else
		return true;
	return *victim != NULL;
}

/* Those who wait before those who only should have more; then the tenant with
 * the fewest instances, and of his functions the one with the fewest; then who
 * waits longest. */
static bool
goes_before(const struct policy_pool *a, const struct policy_pool *b)
{
	uint64_t of_a = total(a->tenant->count), of_b = total(b->tenant->count);

	if ((a->waiting > 0) != (b->waiting > 0))
		return a->waiting > 0;
	if (of_a == of_b && a->tenant == b->tenant) {
		of_a = total(a->count);
		of_b = total(b->count);
	}
	if (of_a != of_b)
		return of_a < of_b;
	return a->waiting > 0 && a->oldest_us < b->oldest_us;
}

struct policy_pool *
policy_victim(struct policy_pool *pool)
{
	struct policy_pool *victim;

	return may_start(pool, &victim) ? victim : NULL;
}

/* Of each tenant the first whose start does not fit into his memory. */
static void
find_blocked(struct policy *policy, uint64_t now_us)
{
	struct policy_pool *pool, *way;

	policy->held_until_us = 0;
	TAILQ_FOREACH(pool, &policy->hungry, in_hungry)
		pool->tenant->blocked = NULL;
	TAILQ_FOREACH(pool, &policy->hungry, in_hungry) {
		const struct policy_pool *other = pool->tenant->blocked;

		if (pool->limits != NULL && pool->waiting > 0 &&
		    now_us < pool->oldest_us + POLICY_HOLD_US &&
		    policy_is_hungry(pool, now_us) && lacks_memory(pool, 0) &&
		    (other == NULL || goes_before(pool, other)) &&
		    !may_start(pool, &way))
			pool->tenant->blocked = pool;
	}
}

/* For a second it holds back who comes after it; whoever cannot have its room by
 * then, as streams that last take it, must not be in the way of all others. */
static bool
is_held_back(struct policy_pool *pool)
{
	struct policy *policy = pool->policy;
	const struct policy_pool *blocked = pool->tenant->blocked;
	uint64_t until_us;

	if (blocked == NULL || blocked == pool || !goes_before(blocked, pool))
		return false;
	until_us = blocked->oldest_us + POLICY_HOLD_US;
	if (policy->held_until_us == 0 || until_us < policy->held_until_us)
		policy->held_until_us = until_us;
	return true;
}

struct policy_pool *
policy_pick(struct policy *policy, uint64_t now_us,
    struct policy_pool **victim)
{
	struct policy_pool *pool, *best = NULL, *way;

	*victim = NULL;
	if (policy->count[POLICY_STARTING] >= POLICY_STARTS_MAX ||
	    now_us < policy->room_us || policy->is_short)
		return NULL;
	find_blocked(policy, now_us);
	TAILQ_FOREACH(pool, &policy->hungry, in_hungry) {
		if (!policy_is_hungry(pool, now_us) ||
		    (best != NULL && !goes_before(pool, best)) ||
		    is_held_back(pool) || !may_start(pool, &way))
			continue;
		/* an instance that nobody waits for takes nobody's place */
		if (way != NULL && pool->waiting == 0)
			continue;
		best = pool;
		*victim = way;
	}
	return best;
}

struct policy_pool *
policy_relieve(struct policy *policy, uint64_t now_us)
{
	struct policy_pool *pool, *best = NULL, *victim = NULL;

	if (!policy->is_short || now_us < policy->room_us)
		return NULL;
	TAILQ_FOREACH(pool, &policy->hungry, in_hungry) {
		struct policy_pool *way;

		if (pool->waiting == 0 || !policy_is_hungry(pool, now_us) ||
		    (best != NULL && !goes_before(pool, best)))
			continue;
		way = victim_find(policy, pool, NULL);
		if (way == NULL)
			continue;
		best = pool;
		victim = way;
	}
	if (victim != NULL) {
		policy->room_us = now_us + POLICY_ROOM_US;
		policy->room_of = victim;
	}
	return victim;
}

/* Only what is prepared: the end of a warm one frees less than a start needs,
 * and would disturb its function.  It is of use only when it has ended: until
 * then the next start would fail as this one did. */
struct policy_pool *
policy_short(struct policy_pool *pool, uint64_t now_us)
{
	struct policy *policy = pool->policy;
	struct policy_pool *victim = pool->waiting == 0 ? NULL :
	    policy_find_ready(policy, pool, NULL);

	policy->prepare_us = now_us + POLICY_SHORT_US;
	if (victim != NULL) {
		policy->room_us = now_us + POLICY_ROOM_US;
		policy->room_of = victim;
	}
	return victim;
}

/* More for whoever has fewer; with one between them, for who waits longer. */
static bool
is_owed(uint64_t theirs, uint64_t ours, const struct policy_pool *them,
    const struct policy_pool *us)
{
	if (theirs + 1 < ours)
		return true;
	return theirs < ours && (us->waiting == 0 ||
	    them->oldest_us < us->oldest_us);
}

bool
policy_yields(const struct policy_pool *pool)
{
	const struct policy *policy = pool->policy;
	const struct policy_pool *them;
	bool is_full = policy_is_host_full(policy);

	TAILQ_FOREACH(them, &policy->hungry, in_hungry) {
		if (them == pool || them->waiting == 0 || them->limits == NULL)
			continue;
		if (them->tenant == pool->tenant) {
			if ((is_full || policy_is_tenant_full(them)) &&
			    is_owed(total(them->count), total(pool->count),
			    them, pool))
				return true;
		} else if (is_full && !policy_is_tenant_full(them) &&
		    is_owed(total(them->tenant->count),
		    total(pool->tenant->count), them, pool)) {
			return true;
		}
	}
	return false;
}
