/*
 * The instances of the functions and those who wait for them: one pool a
 * function.  What is decided about them is policy.h's, how an instance lives is
 * instance.h's; here it is carried out.  Nothing here knows a request's bytes.
 */
#ifndef FCGI_HOST_POOL_H
#define FCGI_HOST_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fcgi-host/catalog.h"
#include "fcgi-host/instance.h"
#include "fcgi-host/loop.h"

enum pool_refusal {
	POOL_QUEUE_FULL,
	POOL_QUEUE_TIMEOUT,
	POOL_TENANT_INSTANCES, /* the same, at the tenant's max_instances */
	POOL_TENANT_MEMORY,    /* or at his max_memory */
	POOL_MACHINE_MEMORY,   /* or the machine had too little memory left */
	POOL_START_FAILED, /* the sandbox could not be made */
	POOL_SHORTAGE,     /* of descriptors, processes, memory: it passes */
	POOL_NO_SPACE,     /* the instance's record could not be reserved */
	POOL_FUNCTION_GONE,
	POOL_ENDING,    /* the host ends, and has waited long enough */
	POOL_UNBUILT,   /* no program could be made of its file */
	POOL_THROTTLED, /* it keeps dying; see policy.h */
	POOL_REFUSAL_COUNT
};

/* What an execution says of its function, for the first-job rule. */
enum pool_verdict {
	POOL_ANSWERED,   /* it answered, or had begun to */
	POOL_UNANSWERED, /* a failure, if the instance ended by itself */
	POOL_BLAMELESS   /* the machine had no more to give */
};

struct pool;
struct pools;

/* One who waits; embedded in its owner. */
struct waiter {
	TAILQ_ENTRY(waiter) in;
	struct pool *pool; /* NULL: does not wait */
	uint64_t since_us, timeout_ms;
	struct loop_timer timer;
	/* An IDLE instance to be taken at once.  Called from the loop, never
	 * from inside pool_submit. */
	void (*granted)(void *arg, struct instance *instance);
	void (*refused)(void *arg, enum pool_refusal why);
	void *arg;
};

struct pools *pools_new(struct fleet *fleet);
/* Only when no instance is left. */
void pools_free(struct pools *pools);

/* Puts the waiter into the function's queue.  0; -EAGAIN: the queue is full;
 * -ENOMEM. */
int pool_submit(struct pools *pools, struct function *function,
    struct waiter *waiter);
/* Puts one who was granted this instance, which ended before it took the
 * request, before all others, with what is left of its queue_timeout.  The
 * instance is to be released.  0 or -ENOMEM. */
int pool_resubmit(struct instance *instance, struct waiter *waiter);
/* Gives back an instance that was granted and not taken. */
void pool_return(struct instance *instance);
/* Leaves the queue; harmless when it does not wait. */
void pool_cancel(struct pools *pools, struct waiter *waiter);

/* The execution is over and its backend closed: the instance serves again or
 * is retired.  reason (static): why it must not serve again, or NULL. */
void pool_release(struct instance *instance, const char *reason,
    enum pool_verdict verdict);
/* Before that: the machine had not what it takes to hand the request over.  The
 * next one that waits is tried a little later, so that the moment does not cost
 * all of them. */
void pool_hold(struct instance *instance);

/* The function changed (function: the new one) or is gone (NULL). */
void pools_change(struct pools *pools, const char *name,
    struct function *function);
/* The host's ceilings; max_instances 0: none. */
void pools_set_limits(struct pools *pools, uint64_t max_instances,
    uint64_t max_prepared);
/* Asked before anything is started: whether the machine is short of memory. */
void pools_set_memory(struct pools *pools, bool (*is_short)(void *arg),
    void *arg);
/* The kernel holds the tenants' ceilings of memory: no sum is held here. */
void pools_leave_memory(struct pools *pools, bool is_left);
/* A new configuration: of functions for which it is not the same as before, idle
 * instances are retired, and the others when they are released. */
void pools_new_generation(struct pools *pools,
    bool (*is_same)(const struct function *function, void *arg), void *arg);
/* Retires every idle instance, and the others when they are released. */
void pools_drain(struct pools *pools);
/* Kills every instance now. */
void pools_kill_all(struct pools *pools, const char *reason);
/* Does so, and starts none any more: who waits is refused, now and later. */
void pools_end(struct pools *pools);

/* The spawner's answers, by instance id; an unknown id is ignored (-ENOENT,
 * the descriptors are closed).  -EMFILE: descriptors are missing, which did not
 * fit into this process; the instance is ended. */
int pools_instance_up(struct pools *pools, const struct ctl_instance_up *up,
    int *fds, size_t fd_count);
int pools_instance_failed(struct pools *pools,
    const struct ctl_instance_failed *failed);
int pools_instance_gone(struct pools *pools,
    const struct ctl_instance_gone *gone);

/* What held a function (struct fleet_ops) may do so no longer. */
void pools_look_again(struct pools *pools, const char *name);

/* For checks.  Whether one of the function may begin: by the memory of its
 * tenant, whose idle instances give way if it is waited for, and of the machine. */
bool pools_may_check(struct pools *pools, const struct function *function);
/* 0 or -ENOMEM; and its end, after which there may be room for a start. */
int pools_check_begin(struct pools *pools, const struct function *function);
void pools_check_over(struct pools *pools, const struct function *function);
/* Whether an instance is being started, which a check would delay. */
bool pools_is_starting(const struct pools *pools);

size_t pools_queued(const struct pools *pools);

/* instance_account for all. */
void pools_account(struct pools *pools, uint64_t at_us, uint64_t time_us);

/* For `status`. */
struct pool_facts {
	const struct function *function;
	uint64_t executions, queued, instances, prepared, idle, busy;
	uint64_t throttled_ms; /* until it is tried again; 0: it is not */
};
/* Asks all instances what they hold: instance_look. */
void pools_ask_memory(struct pools *pools);
/* As instance_state_name, and "prepared", "spare", "frozen". */
const char *pool_state_name(const struct instance *instance);
void pools_each(struct pools *pools,
    void (*pool_fn)(const struct pool_facts *facts, void *arg),
    void (*instance_fn)(const struct instance *instance, void *arg),
    void *arg);

#endif
