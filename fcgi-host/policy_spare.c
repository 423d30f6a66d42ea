/* Spares: whose prepared instances have a program that is booted already. */
#include <stddef.h>
#include <string.h>

#include "fcgi-host/policy_impl.h"

static bool
is_kin(const struct policy_pool *pool, const struct policy_pool *other)
{
	return other->spares > 0 && strcmp(pool->runtime, other->runtime) == 0;
}

/* Of the runtime; *last: the one with a spare that was used longest ago. */
static uint64_t
spares_of(const struct policy_pool *pool, struct policy_pool **last)
{
	struct policy_pool *other;
	uint64_t count = 0;

	*last = NULL;
	TAILQ_FOREACH(other, &pool->policy->used, in_used)
		if (is_kin(pool, other)) {
			count += other->spares;
			*last = other;
		}
	return count;
}

static bool
wants_spare(const struct policy_pool *pool, uint64_t now_us)
{
	return pool->limits != NULL && pool->spares_most > 0 &&
	    limit(pool, LIMIT_SPARE) != 0 && !pool->policy->is_draining &&
	    !pool->policy->is_short &&
	    pool->count[POLICY_READY] > 0 && pool->spares == 0 &&
	    pool->waiting == 0 && pool->failures == 0 && pool->used_us != 0 &&
	    now_us < pool->used_us + POLICY_USED_LATELY_US &&
	    now_us >= pool->spare_us;
}

/* As with the prepared ones a place changes hands only when its owner was not
 * used for a while.  Who finds none looks again after as long: the look is at
 * every function. */
bool
policy_spare(struct policy_pool *pool, uint64_t now_us,
    struct policy_pool **victim)
{
	struct policy_pool *last;

	*victim = NULL;
	if (!wants_spare(pool, now_us))
		return false;
	pool->spare_us = 0;
	if (spares_of(pool, &last) < pool->spares_most)
		return true;
	if (last != NULL && last->used_us < pool->used_us &&
	    now_us >= last->used_us + POLICY_STAY_US) {
		*victim = last;
		return true;
	}
	pool->spare_us = now_us + POLICY_STAY_US;
	return false;
}

bool
policy_spare_is_over(const struct policy_pool *pool)
{
	struct policy_pool *last;

	return pool->spares > 0 &&
	    (pool->limits == NULL || limit(pool, LIMIT_SPARE) == 0 ||
	    spares_of(pool, &last) > pool->spares_most);
}
