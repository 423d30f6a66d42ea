/* The spawner's answers, changes of functions and of the configuration. */
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/pool_impl.h"
#include "fcgi-host/sock.h"

/* ---- changes ---- */

static void
list_retire(const struct instance_list *list)
{
	struct instance *instance, *next;

	for (instance = TAILQ_FIRST(list); instance != NULL; instance = next) {
		const char *reason = pool_retire_reason(instance);

		next = TAILQ_NEXT(instance, in_role);
		if (reason != NULL)
			pool_retire(instance, reason);
	}
}

void
pool_retire_resting(struct pool *pool)
{
	list_retire(&pool->idle);
	list_retire(&pool->ready);
}

static void
pool_retire_idle(struct pool *pool)
{
	pool_retire_resting(pool);
	pool_wake(pool);
}

void
pools_change(struct pools *pools, const char *name, struct function *function)
{
	struct pool *pool = pool_find(pools, name);

	/* min_instances are there before the first request */
	if (pool == NULL && function != NULL &&
	    function->info.limits.value[LIMIT_MIN_INSTANCES] > 0) {
		pool = pool_get(pools, function);
		if (pool != NULL)
			pool_wake(pool);
		return;
	}
	if (pool == NULL)
		return;
	function_unref(pool->function);
	pool->function = function == NULL ? NULL : function_ref(function);
	if (function != NULL)
		memcpy(pool->policy.runtime, function->info.runtime,
		    sizeof(pool->policy.runtime));
	pool->policy.is_cgi = function != NULL && !function->info.is_fastcgi;
	pool_look_held(pool);
	pool_retire_idle(pool);
	policy_change(&pool->policy, function == NULL ? NULL :
	    &function->info.limits, pool_now_us(pool));
}

void
pools_set_limits(struct pools *pools, uint64_t max_instances,
    uint64_t max_prepared)
{
	struct pool *pool;

	pools->policy.max_instances = max_instances;
	pools->policy.max_prepared = max_prepared;
	TAILQ_FOREACH(pool, &pools->all, in)
		pool_wake(pool);
}

void
pools_set_memory(struct pools *pools, bool (*is_short)(void *arg), void *arg)
{
	pools->is_short = is_short;
	pools->is_short_arg = arg;
}

void
pools_leave_memory(struct pools *pools, bool is_left)
{
	pools->policy.is_memory_left = is_left;
}

void
pools_new_generation(struct pools *pools,
    bool (*is_same)(const struct function *function, void *arg), void *arg)
{
	struct pool *pool;

	TAILQ_FOREACH(pool, &pools->all, in) {
		pool_look_held(pool);
		if (pool->function == NULL || is_same(pool->function, arg))
			continue;
		pool->generation++;
		pool_retire_idle(pool);
		/* what was wrong with it may have been just that */
		policy_change(&pool->policy, &pool->function->info.limits,
		    pool_now_us(pool));
	}
}

void
pools_drain(struct pools *pools)
{
	struct pool *pool;

	pools->policy.is_draining = true;
	TAILQ_FOREACH(pool, &pools->all, in)
		pool_retire_idle(pool);
}

void
pools_kill_all(struct pools *pools, const char *reason)
{
	struct instance *instance, *next;
	struct pool *pool;

	TAILQ_FOREACH(pool, &pools->all, in)
		for (instance = TAILQ_FIRST(&pool->all); instance != NULL;
		    instance = next) {
			next = TAILQ_NEXT(instance, in_pool);
			pool_retire(instance, reason);
		}
}

void
pools_end(struct pools *pools)
{
	struct pool *pool;

	pools->policy.is_draining = pools->policy.is_over = true;
	pools_kill_all(pools, "stop");
	TAILQ_FOREACH(pool, &pools->all, in)
		pool_wake(pool);
}

/* ---- the spawner's answers ---- */

static struct instance *
instance_find(struct pools *pools, uint64_t id)
{
	struct instance key = { .id = id };
	void **found = tfind(&key, &pools->by_instance,
	    pool_instance_compare);

	return found == NULL ? NULL : *found;
}

static size_t
up_fd_count(uint32_t has)
{
	return 1u + (size_t)__builtin_popcount(has & CTL_HAS_ALL);
}

/* Nobody can speak to its init: it is of no use, and waits for its end. */
static void
up_without_fds(struct instance *instance)
{
	struct pool *pool = instance->pool;

	pool_retire(instance, "descriptors");
	pool_short(pool, EMFILE);
}

static void
log_failed(struct pool *pool, const struct ctl_instance_failed *failed)
{
	uint32_t suppressed;

	if (log_limit_pass(&pool->log_limit, 5, 10000, pool_now_us(pool),
	    &suppressed))
		log_event(LOG_ERROR, "start_failed", "function=%s instance=%"
		    PRIu64 " step=\"%s\" error=\"%s\" suppressed=%u%s",
		    pool->name, failed->id, failed->step,
		    strerror(failed->error), suppressed,
		    failed->error == EMFILE || failed->error == ENFILE ?
		    " mend=\"raise LimitNOFILE\"" : "");
}

int
pools_instance_up(struct pools *pools, const struct ctl_instance_up *up,
    int *fds, size_t fd_count)
{
	struct instance *instance = instance_find(pools, up->id);
	bool is_known = instance != NULL && instance->init_fd < 0;

	if (!is_known || fd_count != up_fd_count(up->has)) {
		for (size_t i = 0; i < fd_count; i++)
			close_fd(&fds[i]);
		if (!is_known)
			return -ENOENT;
		up_without_fds(instance);
		return -EMFILE;
	}
	instance_up(instance, up, fds);
	if (instance->state == INSTANCE_IDLE)
		pool_rest(instance, POLICY_READY);
	else if (instance->role != POLICY_ENDING)
		pool_role(instance, POLICY_ENDING);
	pools_wake(pools);
	return 0;
}

int
pools_instance_failed(struct pools *pools,
    const struct ctl_instance_failed *failed)
{
	struct instance *instance = instance_find(pools, failed->id);
	struct pool *pool;

	if (instance == NULL || instance->init_fd >= 0)
		return -ENOENT;
	pool = instance->pool;
	instance_failed(instance);
	pool_bury(instance);
	pools_wake(pools);
	/* the scanner's word is on its way here, and ends the pause; until then
	 * each start would end like this one */
	if (failed->error == ESTALE || failed->error == EIDRM) {
		policy_pause(&pool->policy, pool_now_us(pool));
		if (failed->error == EIDRM)
			pool_refuse_all(pool, POOL_FUNCTION_GONE);
		return 0;
	}
	log_failed(pool, failed);
	if (sock_is_shortage(failed->error)) {
		pool_short(pool, failed->error);
		return 0;
	}
	pool_judge(instance, true, POOL_UNANSWERED);
	/* one who waits pays for one failure: the next start is the next one's */
	pool_refuse_first(pool, POOL_START_FAILED);
	return 0;
}

/* The end of one that has served nobody: a prepared one, or a program that was
 * started ahead. */
static void
boot_judge(struct instance *instance)
{
	struct pool *pool = instance->pool;

	if (sock_is_shortage(instance->exec_error) ||
	    instance->exec_error == ETXTBSY)
		policy_pause(&pool->policy, pool_now_us(pool));
	else
		pool_judge(instance, instance->has_died, POOL_UNANSWERED);
}

int
pools_instance_gone(struct pools *pools, const struct ctl_instance_gone *gone)
{
	struct instance *instance = instance_find(pools, gone->id);
	bool is_used;

	if (instance == NULL || instance->state == INSTANCE_GONE)
		return -ENOENT;
	is_used = instance->user != NULL;
	instance_gone(instance, gone);
	/* one that a user still looks at is judged when he lets go */
	if (!is_used && instance->served == 0)
		boot_judge(instance);
	pool_bury(instance);
	return 0;
}

size_t
pools_queued(const struct pools *pools)
{
	return pools->waiting_count;
}

const char *
pool_state_name(const struct instance *instance)
{
	return instance->role == POLICY_READY ?
	    (instance->is_spare ? "spare" : "prepared") :
	    instance->is_frozen ? "frozen" :
	    instance_state_name(instance->state);
}

void
pools_account(struct pools *pools, uint64_t at_us, uint64_t time_us)
{
	struct instance *instance;
	struct pool *pool;

	TAILQ_FOREACH(pool, &pools->all, in)
		TAILQ_FOREACH(instance, &pool->all, in_pool)
			instance_account(instance, at_us, time_us);
}

void
pools_ask_memory(struct pools *pools)
{
	struct instance *instance;
	struct pool *pool;

	TAILQ_FOREACH(pool, &pools->all, in)
		TAILQ_FOREACH(instance, &pool->all, in_pool)
			instance_look(instance);
}

void
pools_each(struct pools *pools,
    void (*pool_fn)(const struct pool_facts *facts, void *arg),
    void (*instance_fn)(const struct instance *instance, void *arg),
    void *arg)
{
	struct instance *instance;
	struct pool *pool;

	TAILQ_FOREACH(pool, &pools->all, in) {
		const uint64_t *count = pool->policy.count;
		struct pool_facts facts = {
			.function = pool->function,
			.executions = pool->executions,
			.queued = pool->policy.waiting,
			.instances = count[POLICY_STARTING] +
			    count[POLICY_READY] + count[POLICY_IDLE] +
			    count[POLICY_BUSY],
			.prepared = count[POLICY_READY],
			.idle = count[POLICY_IDLE],
			.busy = count[POLICY_BUSY],
			.throttled_ms = policy_is_throttled(&pool->policy,
			    pool_now_us(pool)) ?
			    (pool->policy.throttled_until_us -
			    pool_now_us(pool)) / 1000 + 1 : 0,
		};

		if (pool->function != NULL)
			pool_fn(&facts, arg);
		TAILQ_FOREACH(instance, &pool->all, in_pool)
			instance_fn(instance, arg);
	}
}
