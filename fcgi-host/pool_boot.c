/* Programs that are started ahead of any request: those of min_instances, and the
 * spares among the prepared. */
#include <inttypes.h>

#include "fcgi-host/log.h"
#include "fcgi-host/pool_impl.h"
#include "fcgi-host/sock.h"

void
pool_keep(struct pool *pool)
{
	const struct fleet *fleet = pool->pools->fleet;
	struct instance *instance;
	int error = 0;

	while (error == 0 && policy_lacks(&pool->policy) &&
	    !pool->pools->policy.is_short &&
	    !policy_is_throttled(&pool->policy, pool_now_us(pool)) &&
	    !TAILQ_EMPTY(&pool->ready)) {
		instance = pool_pop(pool, POLICY_READY);
		if (instance == NULL)
			continue;
		instance->taken_us = pool_now_us(pool);
		error = pool->function->info.is_fastcgi &&
		    !instance->is_program_running ?
		    fleet->ops->boot(fleet->ops_arg, instance, false) : 0;
		if (error == 0) {
			instance_keep(instance);
			pool_role(instance, POLICY_IDLE);
		} else {
			pool_retire(instance, "memory");
		}
	}
	if (sock_is_shortage(-error))
		policy_pause(&pool->policy, pool_now_us(pool));
	else if (error < 0)
		policy_fail(&pool->policy, pool_now_us(pool),
		    pool_now_us(pool));
}

struct instance *
pool_spare(struct pool *pool)
{
	struct instance *instance;

	TAILQ_FOREACH(instance, &pool->ready, in_role)
		if (instance->is_spare)
			return instance;
	return NULL;
}

void
pool_count_spares(struct pool *pool)
{
	const struct instance *instance;

	pool->policy.spares = 0;
	TAILQ_FOREACH(instance, &pool->ready, in_role)
		pool->policy.spares += instance->is_spare;
}

/* One that is being killed already is no more of use. */
static struct instance *
bootable(struct pool *pool)
{
	struct instance *instance;

	TAILQ_FOREACH(instance, &pool->ready, in_role)
		if (instance->state == INSTANCE_IDLE)
			return instance;
	return NULL;
}

static void
spare_end(struct pool *pool)
{
	struct instance *instance = pool_spare(pool);

	if (instance != NULL)
		pool_retire(instance, "ceiling");
}

void
pool_spare_boot(struct pool *pool)
{
	const struct fleet *fleet = pool->pools->fleet;
	struct policy_pool *victim;
	struct instance *instance;
	int error;

	pool->policy.spares_most = !pool->function->info.is_fastcgi ? 0 :
	    fleet->ops->spares(fleet->ops_arg, pool->function);
	if (policy_spare_is_over(&pool->policy))
		spare_end(pool);
	instance = bootable(pool);
	if (instance == NULL ||
	    !policy_spare(&pool->policy, pool_now_us(pool), &victim))
		return;
	if (victim != NULL)
		spare_end((struct pool *)victim);
	instance->taken_us = pool_now_us(pool);
	error = fleet->ops->boot(fleet->ops_arg, instance, true);
	instance->is_spare = error == 0;
	pool_count_spares(pool);
	if (error == 0)
		return;
	log_event(LOG_WARN, "spare", "function=%s instance=%" PRIu64
	    " errno=%d", pool->name, instance->id, -error);
	pool_retire(instance, "memory");
	policy_pause(&pool->policy, pool_now_us(pool));
}
