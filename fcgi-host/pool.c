#include "fcgi-host/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/pool_impl.h"
#include "fcgi-host/sock.h"

#define HOLD_US 50000

static void pool_run(void *arg);

static int
pool_compare(const void *a, const void *b)
{
	return strcmp(((const struct pool *)a)->name,
	    ((const struct pool *)b)->name);
}

struct pools *
pools_new(struct fleet *fleet)
{
	struct pools *pools = calloc(1, sizeof(*pools));

	if (pools == NULL)
		return NULL;
	pools->fleet = fleet;
	policy_init(&pools->policy);
	TAILQ_INIT(&pools->all);
	return pools;
}

static void
pool_free(struct pool *pool)
{
	loop_timer_cancel(pool->pools->fleet->loop, &pool->timer);
	policy_leave(&pool->policy);
	TAILQ_REMOVE(&pool->pools->all, pool, in);
	tdelete(pool, &pool->pools->by_name, pool_compare);
	function_unref(pool->function);
	free(pool);
}

void
pools_free(struct pools *pools)
{
	if (pools == NULL)
		return;
	loop_timer_cancel(pools->fleet->loop, &pools->timer);
	while (!TAILQ_EMPTY(&pools->all))
		pool_free(TAILQ_FIRST(&pools->all));
	policy_free(&pools->policy);
	free(pools);
}

struct pool *
pool_find(struct pools *pools, const char *name)
{
	struct pool key;
	void **found;

	strncpy(key.name, name, sizeof(key.name) - 1);
	key.name[sizeof(key.name) - 1] = '\0';
	found = tfind(&key, &pools->by_name, pool_compare);
	return found == NULL ? NULL : *found;
}

static struct pool *
pool_new(struct pools *pools, struct function *function)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pool->pools = pools;
	pool->log_quota.files = pools->fleet->files;
	memcpy(pool->name, function->info.name, sizeof(pool->name));
	TAILQ_INIT(&pool->all);
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->ready);
	TAILQ_INIT(&pool->waiting);
	if (policy_join(&pools->policy, &pool->policy, function->info.tenant,
	    &function->info.limits) < 0) {
		free(pool);
		return NULL;
	}
	if (tsearch(pool, &pools->by_name, pool_compare) == NULL) {
		policy_leave(&pool->policy);
		free(pool);
		return NULL;
	}
	pool->function = function_ref(function);
	memcpy(pool->policy.runtime, function->info.runtime,
	    sizeof(pool->policy.runtime));
	pool->policy.is_cgi = !function->info.is_fastcgi;
	pool_look_held(pool);
	TAILQ_INSERT_TAIL(&pools->all, pool, in);
	return pool;
}

struct pool *
pool_get(struct pools *pools, struct function *function)
{
	struct pool *pool = pool_find(pools, function->info.name);

	return pool != NULL ? pool : pool_new(pools, function);
}

/* All decisions are taken at the end of the iteration, in one place. */
void
pool_wake(struct pool *pool)
{
	loop_defer(pool->pools->fleet->loop, &pool->task, pool_run, pool);
}

static uint64_t
pool_limit(const struct pool *pool, enum limit_key key)
{
	return pool->function->info.limits.value[key];
}

/* ---- waiters ---- */

static void
waiting_note(struct pool *pool)
{
	const struct waiter *first = TAILQ_FIRST(&pool->waiting);

	pool->policy.oldest_us = first == NULL ? 0 : first->since_us;
}

static void
waiter_remove(struct waiter *waiter)
{
	struct pool *pool = waiter->pool;

	TAILQ_REMOVE(&pool->waiting, waiter, in);
	pool->policy.waiting--;
	pool->pools->waiting_count--;
	waiting_note(pool);
	waiter->pool = NULL;
	loop_timer_cancel(pool->pools->fleet->loop, &waiter->timer);
}

static void
waiter_refuse(struct waiter *waiter, enum pool_refusal why)
{
	struct pool *pool = waiter->pool;

	waiter_remove(waiter);
	pool_wake(pool);
	waiter->refused(waiter->arg, why);
}

void
pool_refuse_first(struct pool *pool, enum pool_refusal why)
{
	if (!TAILQ_EMPTY(&pool->waiting))
		waiter_refuse(TAILQ_FIRST(&pool->waiting), why);
}

void
pool_refuse_all(struct pool *pool, enum pool_refusal why)
{
	while (!TAILQ_EMPTY(&pool->waiting))
		waiter_refuse(TAILQ_FIRST(&pool->waiting), why);
}

static void
waiter_expire(void *arg)
{
	static const enum pool_refusal why[] = {
		[POLICY_CEILING_NONE] = POOL_QUEUE_TIMEOUT,
		[POLICY_CEILING_INSTANCES] = POOL_TENANT_INSTANCES,
		[POLICY_CEILING_MEMORY] = POOL_TENANT_MEMORY,
		[POLICY_CEILING_MACHINE] = POOL_MACHINE_MEMORY,
	};
	struct waiter *waiter = arg;

	waiter_refuse(waiter, why[policy_ceiling(&waiter->pool->policy)]);
}

/* Those for whom an instance stands ready, or may be started at once, are not
 * yet a queue. */
static bool
is_queue_full(const struct pool *pool)
{
	const uint64_t *count = pool->policy.count;
	uint64_t busy = count[POLICY_BUSY] + count[POLICY_IDLE];
	uint64_t free_soon = count[POLICY_IDLE];

	if (busy < pool_limit(pool, LIMIT_INSTANCES))
		free_soon++;
	return pool->policy.waiting >=
	    pool_limit(pool, LIMIT_QUEUE) + free_soon;
}

/* is_first: before all who wait, for it has waited before. */
static int
waiter_add(struct pool *pool, struct waiter *waiter, uint64_t timeout_ms,
    bool is_first)
{
	if (loop_timer_set(pool->pools->fleet->loop, &waiter->timer,
	    waiter->since_us + timeout_ms * 1000, waiter_expire, waiter) < 0)
		return -ENOMEM;
	waiter->pool = pool;
	waiter->timeout_ms = timeout_ms;
	if (is_first)
		TAILQ_INSERT_HEAD(&pool->waiting, waiter, in);
	else
		TAILQ_INSERT_TAIL(&pool->waiting, waiter, in);
	pool->policy.waiting++;
	pool->pools->waiting_count++;
	waiting_note(pool);
	pool_wake(pool);
	return 0;
}

int
pool_submit(struct pools *pools, struct function *function,
    struct waiter *waiter)
{
	struct pool *pool = pool_get(pools, function);
	int error;

	if (pool == NULL)
		return -ENOMEM;
	if (is_queue_full(pool))
		return -EAGAIN;
	waiter->since_us = loop_now_us(pools->fleet->loop);
	error = waiter_add(pool, waiter,
	    pool_limit(pool, LIMIT_QUEUE_TIMEOUT_MS), false);
	if (error == 0)
		policy_use(&pool->policy, waiter->since_us);
	return error;
}

int
pool_resubmit(struct instance *instance, struct waiter *waiter)
{
	struct pool *pool = instance->pool;
	int error = waiter_add(pool, waiter, waiter->timeout_ms, true);

	if (error == 0)
		pool->executions--;
	return error;
}

void
pool_cancel(struct pools *pools, struct waiter *waiter)
{
	struct pool *pool = waiter->pool;

	(void)pools;
	if (pool == NULL)
		return;
	waiter_remove(waiter);
	pool_wake(pool);
}

/* ---- instances ---- */

static struct instance_list *
list_of(struct pool *pool, int role)
{
	return role == POLICY_IDLE ? &pool->idle :
	    role == POLICY_READY ? &pool->ready : NULL;
}

void
pool_role(struct instance *instance, enum policy_role role)
{
	struct pool *pool = instance->pool;
	struct instance_list *from = list_of(pool, instance->role);
	struct instance_list *to = list_of(pool, (int)role);
	const struct instance *last;

	if (from != NULL)
		TAILQ_REMOVE(from, instance, in_role);
	if (to != NULL)
		TAILQ_INSERT_HEAD(to, instance, in_role);
	policy_move(&pool->policy, (enum policy_role)instance->role, role,
	    instance->function->info.limits.value[LIMIT_MEMORY_BYTES]);
	instance->role = (int)role;
	last = TAILQ_LAST(&pool->idle, instance_list);
	pool->policy.idle_oldest_us = last == NULL ? 0 : last->idle_since_us;
	pool_count_spares(pool);
	/* what one pool gives up may be what another waits for, or wishes */
	if (!TAILQ_EMPTY(&pool->pools->policy.hungry) ||
	    role >= POLICY_ENDING)
		pools_wake(pool->pools);
	pool_wake(pool);
}

static void
instance_end(void *arg)
{
	struct instance *instance = arg;
	struct pool *pool = instance->pool;

	/* a user that still looks at it comes back through pool_release */
	if (instance->user != NULL)
		return;
	pool_role(instance, POLICY_NONE);
	TAILQ_REMOVE(&pool->all, instance, in_pool);
	tdelete(instance, &pool->pools->by_instance, pool_instance_compare);
	instance_free(instance);
}

void
pool_bury(struct instance *instance)
{
	const struct pool *pool = instance->pool;

	if (instance->role != POLICY_ENDING)
		pool_role(instance, POLICY_ENDING);
	loop_defer(pool->pools->fleet->loop, &instance->task, instance_end,
	    instance);
}

void
pool_retire(struct instance *instance, const char *reason)
{
	if (instance->role != POLICY_ENDING)
		pool_role(instance, POLICY_ENDING);
	instance_kill(instance, reason);
	if (instance->state == INSTANCE_GONE)
		pool_bury(instance);
}

const char *
pool_retire_reason(const struct instance *instance)
{
	const struct pool *pool = instance->pool;
	uint64_t most;

	if (pool->function == NULL)
		return "removed";
	if (instance->function != pool->function)
		return "changed";
	if (instance->generation != pool->generation)
		return "reload";
	most = policy_max_served(&pool->policy, instance->id);
	if (most > 0 && instance->served >= most)
		return "max_requests";
	if (instance->served > 0 && pool_limit(pool, LIMIT_IDLE_MS) == 0)
		return "idle";
	if (pool->pools->policy.is_draining && pool->policy.waiting == 0)
		return "stop";
	if (instance->served > 0 && policy_yields(&pool->policy))
		return "ceiling";
	return NULL;
}

void
pool_rest(struct instance *instance, enum policy_role role)
{
	const char *reason = pool_retire_reason(instance);

	if (reason != NULL)
		pool_retire(instance, reason);
	else
		pool_role(instance, role);
}

/* The first-job rule: what ends by itself before any answer is a failure of the
 * function; what was told to end is not. */
void
pool_judge(struct instance *instance, bool has_died, enum pool_verdict verdict)
{
	struct pool *pool = instance->pool;

	if (verdict == POOL_ANSWERED)
		policy_succeed(&pool->policy);
	else if (verdict == POOL_UNANSWERED && has_died &&
	    instance->served <= 1)
		policy_fail(&pool->policy, instance->taken_us, pool_now_us(pool));
}

void
pool_release(struct instance *instance, const char *reason,
    enum pool_verdict verdict)
{
	struct pool *pool = instance->pool;

	pool_judge(instance, instance->state == INSTANCE_GONE ?
	    instance->has_died : instance->state == INSTANCE_IDLE &&
	    reason != NULL, verdict);
	if (instance->state == INSTANCE_GONE)
		pool_bury(instance);
	else if (instance->state == INSTANCE_ENDING)
		pool_role(instance, POLICY_ENDING);
	else if (reason != NULL)
		pool_retire(instance, reason);
	else
		pool_rest(instance, POLICY_IDLE);
	pool_wake(pool);
}

/* As it was: one that was prepared, and no more, is that still. */
void
pool_return(struct instance *instance)
{
	struct pool *pool = instance->pool;

	pool->executions--;
	pool_rest(instance, instance->served > 0 || instance->is_kept ||
	    (instance->is_program_running && !instance->is_spare) ?
	    POLICY_IDLE : POLICY_READY);
}

void
pool_hold(struct instance *instance)
{
	struct pool *pool = instance->pool;

	pool->held_until_us = pool_now_us(pool) + HOLD_US;
}

/* ---- one pool's decisions ---- */

/* Of those prepared a spare. */
static struct instance *
first_of(struct pool *pool, enum policy_role role)
{
	struct instance *instance = role == POLICY_READY &&
	    pool->policy.spares > 0 ? pool_spare(pool) : NULL;

	return instance != NULL ? instance :
	    TAILQ_FIRST(list_of(pool, (int)role));
}

struct instance *
pool_pop(struct pool *pool, enum policy_role role)
{
	struct instance *instance = first_of(pool, role);

	if (instance->state == INSTANCE_IDLE)
		return instance;
	pool_role(instance, POLICY_ENDING);
	return NULL;
}

static void
serve_first(struct pool *pool, enum policy_role role)
{
	struct instance *instance = pool_pop(pool, role);
	struct waiter *waiter = TAILQ_FIRST(&pool->waiting);

	if (instance == NULL)
		return;
	pool_role(instance, POLICY_BUSY);
	waiter_remove(waiter);
	pool->executions++;
	waiter->granted(waiter->arg, instance);
}

static void
serve_all(struct pool *pool)
{
	while (pool->held_until_us <= pool_now_us(pool)) {
		switch (policy_next(&pool->policy, pool_now_us(pool))) {
		case POLICY_TAKE_IDLE:
			serve_first(pool, POLICY_IDLE);
			break;
		case POLICY_TAKE_READY:
			serve_first(pool, POLICY_READY);
			break;
		case POLICY_REFUSE:
			pool_refuse_all(pool, POOL_THROTTLED);
			break;
		default:
			return;
		}
	}
}

/* Ends what has waited too long, the longest idle first; returns when the next
 * one will have, 0: none. */
static uint64_t
expire(struct pool *pool)
{
	struct instance *last;
	uint64_t until = 0, ready_until = 0;

	while ((last = TAILQ_LAST(&pool->idle, instance_list)) != NULL) {
		until = policy_idle_until_us(&pool->policy,
		    last->idle_since_us);
		if (until == 0 || until > pool_now_us(pool))
			break;
		pool_retire(last, "idle");
		until = 0;
	}
	while ((last = TAILQ_LAST(&pool->ready, instance_list)) != NULL) {
		ready_until = policy_ready_until_us(&pool->policy,
		    last->up_us);
		if (ready_until > pool_now_us(pool))
			break;
		pool_retire(last, "idle");
		ready_until = 0;
	}
	return until == 0 || (ready_until != 0 && ready_until < until) ?
	    ready_until : until;
}

/* Those that came to rest lately stand before all others.  Not earlier: who waits
 * may have taken them. */
static void
freeze(struct pool *pool)
{
	struct instance *instance;

	if (pool_limit(pool, LIMIT_FREEZE_IDLE) == 0)
		return;
	TAILQ_FOREACH(instance, &pool->idle, in_role) {
		if (instance->is_frozen)
			break;
		(void)instance_freeze(instance);
	}
}

static void
timer_over(void *arg)
{
	pool_wake(arg);
}

static void
timer_set(struct pool *pool, uint64_t expiry_us)
{
	struct loop *loop = pool->pools->fleet->loop;
	uint64_t due_us = policy_due_us(&pool->policy, pool_now_us(pool));

	if (due_us == 0 || (expiry_us != 0 && expiry_us < due_us))
		due_us = expiry_us;
	if (pool->held_until_us > pool_now_us(pool) &&
	    (due_us == 0 || pool->held_until_us < due_us))
		due_us = pool->held_until_us;
	if (pool->policy.spare_us > pool_now_us(pool) &&
	    (due_us == 0 || pool->policy.spare_us < due_us))
		due_us = pool->policy.spare_us;
	if (due_us == 0)
		loop_timer_cancel(loop, &pool->timer);
	else if (due_us != pool->timer.when_us || pool->timer.place == 0)
		if (loop_timer_set(loop, &pool->timer, due_us, timer_over,
		    pool) < 0)
			log_event(LOG_ERROR, "memory", "timer=pool");
}

static void
pool_run(void *arg)
{
	struct pool *pool = arg;
	struct pools *pools = pool->pools;

	pool_look_held(pool);
	if (pool->function == NULL) {
		pool_refuse_all(pool, POOL_FUNCTION_GONE);
		policy_update(&pool->policy, pool_now_us(pool));
		if (TAILQ_EMPTY(&pool->all) && !pool->task.is_queued)
			pool_free(pool);
		return;
	}
	if (pools->policy.is_over)
		pool_refuse_all(pool, POOL_ENDING);
	pool_refuse_unbuilt(pool);
	pools_look(pools);
	serve_all(pool);
	if (pools->policy.is_draining)
		pool_retire_resting(pool);
	pool_keep(pool);
	pool_spare_boot(pool);
	timer_set(pool, expire(pool));
	freeze(pool);
	policy_update(&pool->policy, pool_now_us(pool));
	/* who leaves the queue may make an instance another's */
	if (!TAILQ_EMPTY(&pools->policy.hungry) || pool->policy.wish_us != 0)
		pools_wake(pools);
}
