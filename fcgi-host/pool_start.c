/* Starts: of instances that are waited for, and of those ahead of need. */
#include <errno.h>
#include <inttypes.h>
#include <search.h>

#include "fcgi-host/log.h"
#include "fcgi-host/pool_impl.h"
#include "fcgi-host/sock.h"

static void pools_run(void *arg);

void
pools_wake(struct pools *pools)
{
	loop_defer(pools->fleet->loop, &pools->task, pools_run, pools);
}

int
pool_instance_compare(const void *a, const void *b)
{
	uint64_t x = ((const struct instance *)a)->id;
	uint64_t y = ((const struct instance *)b)->id;

	return (x > y) - (x < y);
}

/* It could not even be asked for. */
static void
start_refused(struct pool *pool, int error)
{
	enum pool_refusal why = error == -ENOSPC ? POOL_NO_SPACE :
	    sock_is_shortage(-error) ? POOL_SHORTAGE : POOL_START_FAILED;
	const uint64_t *count = pool->policy.count;
	uint64_t now_us = pool_now_us(pool);
	bool is_waited_for = pool->policy.waiting > 0;

	/* with others of its kind at work the queue is theirs */
	if (!is_waited_for || count[POLICY_IDLE] + count[POLICY_BUSY] > 0)
		policy_pause(&pool->policy, now_us);
	else
		pool_refuse_all(pool, why);
	/* a log that takes no record is no function's fault */
	if (why == POOL_START_FAILED)
		policy_fail(&pool->policy, now_us, now_us);
	policy_update(&pool->policy, now_us);
	pool_wake(pool);
}

/* Asks for one; victim (NULL: nobody) gives way only if it could be asked. */
static void
instance_start(struct pool *pool, struct policy_pool *victim)
{
	struct instance *instance;
	int error;

	instance = instance_new(pool->pools->fleet, pool->function, pool,
	    &pool->log_quota, &error);
	if (instance == NULL) {
		start_refused(pool, error);
		return;
	}
	for (; victim != NULL; victim = policy_victim(&pool->policy))
		pool_give_way(victim);
	instance->role = POLICY_NONE;
	instance->generation = pool->generation;
	instance->taken_us = pool_now_us(pool);
	TAILQ_INSERT_TAIL(&pool->all, instance, in_pool);
	pool_role(instance, POLICY_STARTING);
	policy_update(&pool->policy, pool_now_us(pool));
	if (tsearch(instance, &pool->pools->by_instance,
	    pool_instance_compare) != NULL)
		return;
	/* no answer would find it: it counts as a start that failed, and the
	 * spawner's instance ends at the hang-up of its socket */
	log_event(LOG_ERROR, "memory", "instance=%" PRIu64, instance->id);
	instance_failed(instance);
	pool_bury(instance);
	pool_refuse_first(pool, POOL_SHORTAGE);
}

void
pool_give_way(struct policy_pool *policy)
{
	struct pool *pool = (struct pool *)policy;
	struct instance *last;

	if (policy == NULL)
		return;
	last = TAILQ_LAST(&pool->ready, instance_list);
	if (last == NULL)
		last = TAILQ_LAST(&pool->idle, instance_list);
	pool_retire(last, "ceiling");
}

/*
 * Descriptors are the host's: what nobody uses now goes first, and who waits
 * stays.  Of processes and memory a function may lack its own tenant's, which
 * nobody else's prepared instance could mend, and which a tenant could run out
 * of as often as he likes: these cost one of those who wait, and no more.
 */
void
pool_short(struct pool *pool, int error)
{
	struct policy_pool *victim = NULL;

	if (pool->policy.waiting == 0)
		policy_pause(&pool->policy, pool_now_us(pool));
	if (error == EMFILE || error == ENFILE)
		victim = policy_short(&pool->policy, pool_now_us(pool));
	pool_give_way(victim);
	if (victim == NULL)
		pool_refuse_first(pool, POOL_SHORTAGE);
	pools_wake(pool->pools);
}

/* What waited for nothing else may go on when there is some again. */
void
pools_look(struct pools *pools)
{
	bool was_short = pools->policy.is_short;
	struct pool *pool;

	if (pools->is_short == NULL)
		return;
	pools->policy.is_short = pools->is_short(pools->is_short_arg);
	if (was_short && !pools->policy.is_short)
		TAILQ_FOREACH(pool, &pools->all, in)
			pool_wake(pool);
}

static void
wake_due(void *arg)
{
	pools_wake(arg);
}

/* Starts, as far as the policy lets them begin now: those that are waited for,
 * then those ahead of need. */
static void
pools_run(void *arg)
{
	struct pools *pools = arg;
	struct loop *loop = pools->fleet->loop;
	uint64_t now = loop_now_us(loop), wake_us;
	struct policy_pool *pool, *victim;

	pools_look(pools);
	pool_give_way(policy_relieve(&pools->policy, now));
	while ((pool = policy_pick(&pools->policy, now, &victim)) != NULL)
		instance_start((struct pool *)pool, victim);
	if (TAILQ_EMPTY(&pools->policy.hungry) &&
	    (pool = policy_prepare(&pools->policy, now, &victim)) != NULL)
		instance_start((struct pool *)pool, victim);
	wake_us = policy_wake_us(&pools->policy, now);
	if (wake_us == 0)
		loop_timer_cancel(loop, &pools->timer);
	else if (loop_timer_set(loop, &pools->timer, wake_us, wake_due,
	    pools) < 0)
		log_event(LOG_ERROR, "memory", "timer=pools");
}
