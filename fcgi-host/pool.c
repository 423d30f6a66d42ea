#include "fcgi-host/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define FIRST_IDLE_US 1000000

TAILQ_HEAD(instance_list, instance);
TAILQ_HEAD(waiter_list, waiter);

struct pool {
	TAILQ_ENTRY(pool) in;
	struct pools *pools;
	char name[CTL_NAME_MAX + 1];
	struct function *function; /* the current one, a reference; NULL: gone */
	struct instance_list all, idle;
	struct waiter_list waiting;
	uint64_t count, idle_count, starting, waiting_count, executions;
	struct funclog_quota log_quota;
	struct loop_task task;
};

struct pools {
	struct fleet *fleet;
	TAILQ_HEAD(, pool) all;
	void *by_name;      /* tsearch(3) */
	void *by_instance;  /* of struct instance, by id */
	uint64_t waiting_count;
	bool is_draining;
};

static void pool_run(void *arg);

static int
pool_compare(const void *a, const void *b)
{
	return strcmp(((const struct pool *)a)->name,
	    ((const struct pool *)b)->name);
}

static int
instance_compare(const void *a, const void *b)
{
	uint64_t x = ((const struct instance *)a)->id;
	uint64_t y = ((const struct instance *)b)->id;

	return (x > y) - (x < y);
}

struct pools *
pools_new(struct fleet *fleet)
{
	struct pools *pools = calloc(1, sizeof(*pools));

	if (pools == NULL)
		return NULL;
	pools->fleet = fleet;
	TAILQ_INIT(&pools->all);
	return pools;
}

static void
pool_free(struct pool *pool)
{
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
	while (!TAILQ_EMPTY(&pools->all))
		pool_free(TAILQ_FIRST(&pools->all));
	free(pools);
}

static struct pool *
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
	memcpy(pool->name, function->info.name, sizeof(pool->name));
	TAILQ_INIT(&pool->all);
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->waiting);
	if (tsearch(pool, &pools->by_name, pool_compare) == NULL) {
		free(pool);
		return NULL;
	}
	pool->function = function_ref(function);
	TAILQ_INSERT_TAIL(&pools->all, pool, in);
	return pool;
}

/* All decisions are taken at the end of the iteration, in one place. */
static void
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
waiter_remove(struct waiter *waiter)
{
	struct pool *pool = waiter->pool;

	TAILQ_REMOVE(&pool->waiting, waiter, in);
	pool->waiting_count--;
	pool->pools->waiting_count--;
	waiter->pool = NULL;
	loop_timer_cancel(pool->pools->fleet->loop, &waiter->timer);
}

static void
waiter_refuse(struct waiter *waiter, enum pool_refusal why)
{
	waiter_remove(waiter);
	waiter->refused(waiter->arg, why);
}

static void
waiter_expire(void *arg)
{
	waiter_refuse(arg, POOL_QUEUE_TIMEOUT);
}

int
pool_submit(struct pools *pools, struct function *function,
    struct waiter *waiter)
{
	struct loop *loop = pools->fleet->loop;
	struct pool *pool = pool_find(pools, function->info.name);
	uint64_t free_soon;

	if (pool == NULL)
		pool = pool_new(pools, function);
	if (pool == NULL)
		return -ENOMEM;
	/* those for whom an instance stands ready are not yet a queue */
	free_soon = pool->idle_count;
	if (pool->count < pool_limit(pool, LIMIT_INSTANCES))
		free_soon++;
	if (pool->waiting_count >= pool_limit(pool, LIMIT_QUEUE) + free_soon)
		return -EAGAIN;
	if (loop_timer_set(loop, &waiter->timer, loop_now_us(loop) +
	    pool_limit(pool, LIMIT_QUEUE_TIMEOUT_MS) * 1000, waiter_expire,
	    waiter) < 0)
		return -ENOMEM;
	waiter->pool = pool;
	TAILQ_INSERT_TAIL(&pool->waiting, waiter, in);
	pool->waiting_count++;
	pools->waiting_count++;
	pool_wake(pool);
	return 0;
}

void
pool_cancel(struct pools *pools, struct waiter *waiter)
{
	(void)pools;
	if (waiter->pool != NULL)
		waiter_remove(waiter);
}

/* ---- instances ---- */

static void
idle_remove(struct pool *pool, struct instance *instance)
{
	if (!instance->is_idle_listed)
		return;
	TAILQ_REMOVE(&pool->idle, instance, in_idle);
	instance->is_idle_listed = false;
	pool->idle_count--;
	loop_timer_cancel(pool->pools->fleet->loop, &instance->timer);
}

static void
instance_end(void *arg)
{
	struct instance *instance = arg;
	struct pool *pool = instance->pool;

	/* a user that still looks at it comes back through pool_release */
	if (instance->user != NULL)
		return;
	idle_remove(pool, instance);
	TAILQ_REMOVE(&pool->all, instance, in_pool);
	tdelete(instance, &pool->pools->by_instance, instance_compare);
	pool->count--;
	instance_free(instance);
	pool_wake(pool);
}

static void
instance_end_later(struct instance *instance)
{
	struct pool *pool = instance->pool;

	loop_defer(pool->pools->fleet->loop, &instance->task, instance_end,
	    instance);
}

static void
instance_retire(struct pool *pool, struct instance *instance,
    const char *reason)
{
	idle_remove(pool, instance);
	instance_kill(instance, reason);
	if (instance->state == INSTANCE_GONE)
		instance_end_later(instance);
}

static void
idle_over(void *arg)
{
	struct instance *instance = arg;

	instance_retire(instance->pool, instance, "idle");
}

/* Why an instance must not serve again, or NULL. */
static const char *
retire_reason(const struct pool *pool, const struct instance *instance)
{
	uint64_t most;

	if (pool->function == NULL)
		return "removed";
	if (instance->function != pool->function)
		return "changed";
	if (instance->generation != pool->pools->fleet->generation)
		return "reload";
	most = pool_limit(pool, LIMIT_MAX_REQUESTS);
	if (most > 0 && instance->served >= most)
		return "max_requests";
	if (instance->served > 0 && pool_limit(pool, LIMIT_IDLE_MS) == 0)
		return "idle";
	if (pool->pools->is_draining && pool->waiting_count == 0)
		return "stop";
	return NULL;
}

static void
instance_idle(struct pool *pool, struct instance *instance)
{
	struct loop *loop = pool->pools->fleet->loop;
	const char *reason = retire_reason(pool, instance);
	uint64_t idle_us;

	if (reason == NULL) {
		idle_us = pool_limit(pool, LIMIT_IDLE_MS) * 1000;
		/* a new one waits at least for the one it was started for */
		if (instance->served == 0 && idle_us < FIRST_IDLE_US)
			idle_us = FIRST_IDLE_US;
		if (loop_timer_set(loop, &instance->timer,
		    loop_now_us(loop) + idle_us, idle_over, instance) < 0)
			reason = "memory";
	}
	if (reason != NULL) {
		instance_retire(pool, instance, reason);
		return;
	}
	TAILQ_INSERT_HEAD(&pool->idle, instance, in_idle);
	instance->is_idle_listed = true;
	pool->idle_count++;
	pool_wake(pool);
}

void
pool_release(struct instance *instance, const char *reason)
{
	struct pool *pool = instance->pool;

	if (instance->state == INSTANCE_GONE)
		instance_end_later(instance);
	else if (instance->state == INSTANCE_ENDING)
		pool_wake(pool);
	else if (reason != NULL)
		instance_retire(pool, instance, reason);
	else
		instance_idle(pool, instance);
}

/* Of the spawner's errors those that pass by themselves: the machine has no
 * more to give now, and nothing is wrong with the function. */
static enum pool_refusal
refusal_of(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM ||
	    error == EAGAIN || error == ENOBUFS ? POOL_SHORTAGE :
	    POOL_START_FAILED;
}

static void
start_failed(struct pool *pool, int error)
{
	enum pool_refusal why = error == -ENOSPC || error == -EIO ||
	    error == -EDQUOT ? POOL_NO_SPACE : refusal_of(-error);

	/* others of its kind still work: the queue is theirs */
	if (pool->count > 0)
		return;
	while (!TAILQ_EMPTY(&pool->waiting))
		waiter_refuse(TAILQ_FIRST(&pool->waiting), why);
}

static void
instance_start(struct pool *pool)
{
	struct instance *instance;
	int error;

	instance = instance_new(pool->pools->fleet, pool->function, pool,
	    &pool->log_quota, &error);
	if (instance == NULL) {
		start_failed(pool, error);
		return;
	}
	TAILQ_INSERT_TAIL(&pool->all, instance, in_pool);
	pool->count++;
	pool->starting++;
	if (tsearch(instance, &pool->pools->by_instance,
	    instance_compare) != NULL)
		return;
	/* no answer would find it: it counts as a start that failed, and the
	 * spawner's instance ends at the hang-up of its socket */
	log_event(LOG_ERROR, "memory", "instance=%" PRIu64, instance->id);
	pool->starting--;
	instance_failed(instance);
	instance_end_later(instance);
	if (!TAILQ_EMPTY(&pool->waiting))
		waiter_refuse(TAILQ_FIRST(&pool->waiting), POOL_SHORTAGE);
}

/* Idle instances to those who wait, oldest first; one more instance, one at a
 * time, while somebody still waits. */
static void
pool_run(void *arg)
{
	struct pool *pool = arg;

	if (pool->function == NULL) {
		while (!TAILQ_EMPTY(&pool->waiting))
			waiter_refuse(TAILQ_FIRST(&pool->waiting),
			    POOL_FUNCTION_GONE);
		if (pool->count == 0)
			pool_free(pool);
		return;
	}
	while (!TAILQ_EMPTY(&pool->waiting) && !TAILQ_EMPTY(&pool->idle)) {
		struct waiter *waiter = TAILQ_FIRST(&pool->waiting);
		struct instance *instance = TAILQ_FIRST(&pool->idle);

		idle_remove(pool, instance);
		/* its program ended, or its init spoke nonsense, while it
		 * waited: it is being killed already */
		if (instance->state != INSTANCE_IDLE)
			continue;
		waiter_remove(waiter);
		pool->executions++;
		waiter->granted(waiter->arg, instance);
	}
	if (!TAILQ_EMPTY(&pool->waiting) && pool->starting == 0 &&
	    pool->count < pool_limit(pool, LIMIT_INSTANCES))
		instance_start(pool);
}

/* ---- changes ---- */

static void
pool_retire_idle(struct pool *pool)
{
	struct instance *instance, *next;

	for (instance = TAILQ_FIRST(&pool->idle); instance != NULL;
	    instance = next) {
		const char *reason = retire_reason(pool, instance);

		next = TAILQ_NEXT(instance, in_idle);
		if (reason != NULL)
			instance_retire(pool, instance, reason);
	}
}

void
pools_change(struct pools *pools, const char *name, struct function *function)
{
	struct pool *pool = pool_find(pools, name);

	if (pool == NULL)
		return;
	function_unref(pool->function);
	pool->function = function == NULL ? NULL : function_ref(function);
	pool_retire_idle(pool);
	pool_wake(pool);
}

void
pools_new_generation(struct pools *pools)
{
	struct pool *pool;

	pools->fleet->generation++;
	TAILQ_FOREACH(pool, &pools->all, in)
		pool_retire_idle(pool);
}

void
pools_drain(struct pools *pools)
{
	struct pool *pool;

	pools->is_draining = true;
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
			instance_retire(pool, instance, reason);
		}
}

/* ---- the spawner's answers ---- */

static struct instance *
instance_find(struct pools *pools, uint64_t id)
{
	struct instance key = { .id = id };
	void **found = tfind(&key, &pools->by_instance, instance_compare);

	return found == NULL ? NULL : *found;
}

static size_t
up_fd_count(uint32_t has)
{
	return 1u + ((has & CTL_HAS_CPU_STAT) != 0) +
	    ((has & CTL_HAS_MEMORY_PEAK) != 0) +
	    ((has & CTL_HAS_MEMORY_EVENTS) != 0);
}

/* Nobody can speak to its init: it goes on as STARTING until it is gone. */
static void
up_without_fds(struct pool *pool, struct instance *instance)
{
	instance_retire(pool, instance, "descriptors");
	/* as with a start that failed: each costs one who waits */
	if (!TAILQ_EMPTY(&pool->waiting))
		waiter_refuse(TAILQ_FIRST(&pool->waiting), POOL_SHORTAGE);
}

int
pools_instance_up(struct pools *pools, const struct ctl_instance_up *up,
    int *fds, size_t fd_count)
{
	struct instance *instance = instance_find(pools, up->id);
	bool is_known = instance != NULL && instance->init_fd < 0;
	struct pool *pool;

	if (!is_known || fd_count != up_fd_count(up->has)) {
		for (size_t i = 0; i < fd_count; i++)
			close_fd(&fds[i]);
		if (!is_known)
			return -ENOENT;
		up_without_fds(instance->pool, instance);
		return -EMFILE;
	}
	pool = instance->pool;
	pool->starting--;
	instance_up(instance, up, fds);
	if (instance->state == INSTANCE_IDLE)
		instance_idle(pool, instance);
	pool_wake(pool);
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
	pool->starting--;
	instance_failed(instance);
	instance_end_later(instance);
	if (failed->error == ESTALE) /* another version is on its way here */
		return 0;
	if (failed->error == EIDRM) {
		while (!TAILQ_EMPTY(&pool->waiting))
			waiter_refuse(TAILQ_FIRST(&pool->waiting),
			    POOL_FUNCTION_GONE);
		return 0;
	}
	log_event(LOG_ERROR, "start_failed", "function=%s instance=%" PRIu64
	    " step=\"%s\" error=\"%s\"", pool->name, failed->id, failed->step,
	    strerror(failed->error));
	/* one who waits pays for one failure: the next start is the next one's */
	if (!TAILQ_EMPTY(&pool->waiting))
		waiter_refuse(TAILQ_FIRST(&pool->waiting),
		    refusal_of(failed->error));
	return 0;
}

int
pools_instance_gone(struct pools *pools, const struct ctl_instance_gone *gone)
{
	struct instance *instance = instance_find(pools, gone->id);
	struct pool *pool;

	if (instance == NULL || instance->state == INSTANCE_GONE)
		return -ENOENT;
	pool = instance->pool;
	idle_remove(pool, instance);
	if (instance->init_fd < 0)
		pool->starting--;
	instance_gone(instance, gone);
	instance_end_later(instance);
	return 0;
}

size_t
pools_queued(const struct pools *pools)
{
	return pools->waiting_count;
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
		struct pool_facts facts = {
			.function = pool->function,
			.executions = pool->executions,
			.queued = pool->waiting_count,
			.instances = pool->count,
			.idle = pool->idle_count,
			.busy = pool->count - pool->idle_count -
			    pool->starting,
		};

		if (pool->function != NULL)
			pool_fn(&facts, arg);
		TAILQ_FOREACH(instance, &pool->all, in_pool)
			instance_fn(instance, arg);
	}
}
