/*
 * What the files of the pool room share: pool.c (who waits, who is served),
 * pool_start.c (who is started), pool_boot.c (whose program is booted), pool_check.c
 * (who waits for a check), pool_life.c (the spawner's answers, changes of
 * functions and configuration).  Included by nobody else.
 */
#ifndef FCGI_HOST_POOL_IMPL_H
#define FCGI_HOST_POOL_IMPL_H

#include "fcgi-host/policy.h"
#include "fcgi-host/pool.h"

TAILQ_HEAD(instance_list, instance);
TAILQ_HEAD(waiter_list, waiter);

struct pool {
	struct policy_pool policy; /* first: policy.h hands it back */
	TAILQ_ENTRY(pool) in;
	struct pools *pools;
	char name[CTL_NAME_MAX + 1];
	struct function *function; /* the current one, a reference; NULL: gone */
	uint64_t generation; /* of what the configuration says of it */
	struct instance_list all, idle, ready;
	struct waiter_list waiting;
	uint64_t executions;
	uint64_t held_until_us; /* none is served before; 0: no hold */
	struct funclog_quota log_quota;
	struct log_limit log_limit; /* of what is said of its failing starts */
	/* the end of whatever window ends first, of instances and of a pause */
	struct loop_timer timer;
	struct loop_task task;
};

struct pools {
	struct policy policy;
	struct fleet *fleet;
	TAILQ_HEAD(, pool) all;
	void *by_name;     /* tsearch(3) */
	void *by_instance; /* of struct instance, by id */
	uint64_t waiting_count;
	bool (*is_short)(void *arg); /* NULL: never */
	void *is_short_arg;
	struct loop_timer timer; /* the next prepared instance */
	struct loop_task task;
};

static inline uint64_t
pool_now_us(const struct pool *pool)
{
	return loop_now_us(pool->pools->fleet->loop);
}

/* Decides for the pool at the end of the iteration. */
void pool_wake(struct pool *pool);
/* Decides who is started, likewise. */
void pools_wake(struct pools *pools);
/* Looks at the machine's memory, for the policy. */
void pools_look(struct pools *pools);

/* NULL: there is none.  pool_get makes it; NULL: no memory. */
struct pool *pool_find(struct pools *pools, const char *name);
struct pool *pool_get(struct pools *pools, struct function *function);

/* Alone changes the role, and with it the lists and the policy's numbers. */
void pool_role(struct instance *instance, enum policy_role role);
/* Tells it to end; reason is static. */
void pool_retire(struct instance *instance, const char *reason);
/* Frees it at the iteration's end, unless a user still looks at it. */
void pool_bury(struct instance *instance);
/* Of the idle and the prepared ones, those that must not serve again. */
void pool_retire_resting(struct pool *pool);
/* Why it must not serve again, or NULL. */
const char *pool_retire_reason(const struct instance *instance);
/* It serves whoever comes next, or is retired. */
void pool_rest(struct instance *instance, enum policy_role role);

/* The first-job rule: what ends by itself before any answer is a failure of
 * the function; what was told to end is not. */
void pool_judge(struct instance *instance, bool has_died,
    enum pool_verdict verdict);
/* Of tsearch(3), by id. */
int pool_instance_compare(const void *a, const void *b);

/* Ends what its pool gives up for another's start (NULL: nothing). */
void pool_give_way(struct policy_pool *policy);
/* A start failed with an errno that is a shortage. */
void pool_short(struct pool *pool, int error);
/* The instance of the role to be taken next.  NULL, and it is out of the way: its
 * program ended, or its init spoke nonsense, while it waited, and it is being
 * killed already.  There must be one. */
struct instance *pool_pop(struct pool *pool, enum policy_role role);
/* Brings prepared ones up to what min_instances wants at work. */
void pool_keep(struct pool *pool);
/* A prepared one whose program is booted, or NULL. */
struct instance *pool_spare(struct pool *pool);
void pool_count_spares(struct pool *pool);
/* Boots the program of a prepared one, or ends one too many. */
void pool_spare_boot(struct pool *pool);
/* Notes whether nothing of it may be started yet. */
void pool_look_held(struct pool *pool);
void pool_refuse_first(struct pool *pool, enum pool_refusal why);
/* Nobody waits for what cannot be built. */
void pool_refuse_unbuilt(struct pool *pool);
void pool_refuse_all(struct pool *pool, enum pool_refusal why);

#endif
