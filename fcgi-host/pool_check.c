/* What checks and pools have to do with each other: memory, and whose turn it is. */
#include "fcgi-host/pool_impl.h"

void
pool_look_held(struct pool *pool)
{
	const struct fleet *fleet = pool->pools->fleet;

	pool->policy.is_held = pool->function != NULL &&
	    fleet->ops->holds != NULL && fleet->ops->holds(fleet->ops_arg,
	    pool->function, pool->policy.waiting > 0);
}

void
pool_refuse_unbuilt(struct pool *pool)
{
	const struct fleet *fleet = pool->pools->fleet;

	if (pool->policy.is_held && fleet->ops->is_unbuilt != NULL &&
	    fleet->ops->is_unbuilt(fleet->ops_arg, pool->function))
		pool_refuse_all(pool, POOL_UNBUILT);
}

void
pools_look_again(struct pools *pools, const char *name)
{
	struct pool *pool = pool_find(pools, name);

	if (pool != NULL)
		pool_wake(pool);
}

bool
pools_may_check(struct pools *pools, const struct function *function)
{
	const struct ctl_function *info = &function->info;
	struct pool *pool = pool_find(pools, info->name);
	struct policy_pool *victim;

	pools_look(pools);
	if (pool != NULL && pool->policy.waiting > 0 &&
	    !pools->policy.is_short && !policy_may_check(&pools->policy,
	    info->tenant, &info->limits))
		while ((victim = policy_victim(&pool->policy)) != NULL)
			pool_give_way(victim);
	return policy_may_check(&pools->policy, info->tenant, &info->limits);
}

int
pools_check_begin(struct pools *pools, const struct function *function)
{
	return policy_check_begin(&pools->policy, function->info.tenant,
	    function->info.limits.value[LIMIT_MEMORY_BYTES]);
}

void
pools_check_over(struct pools *pools, const struct function *function)
{
	policy_check_over(&pools->policy, function->info.tenant,
	    function->info.limits.value[LIMIT_MEMORY_BYTES]);
	pools_wake(pools);
}

bool
pools_is_starting(const struct pools *pools)
{
	return pools->policy.count[POLICY_STARTING] > 0;
}
