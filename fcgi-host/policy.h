/*
 * What the pools decide, and nothing of how it is done: who is served by what,
 * whose turn a start is, who gives way at a ceiling, which sandboxes are kept
 * prepared, when a function that keeps dying is left alone.  Numbers in, verdict
 * out; time is a parameter (microseconds, CLOCK_MONOTONIC).  pool.h acts on it.
 *
 *  - One instance is started first, more one at a time, while requests wait.
 *  - Starts are asked for few at a time, so that whoever comes next does not
 *    wait behind a herd: the tenant with the fewest instances has the next one,
 *    then his function with the fewest, then whoever waits longest.
 *  - At a ceiling what is prepared gives way first, then what is idle of the one
 *    who waits or of a tenant who has more, then, when its execution is over, an
 *    instance of whoever has more.
 *  - Where no controller does it, a tenant's ceiling of memory is held by the sum
 *    of what his instances may use.  One that does not fit holds back for a second those of his others that
 *    come after it, so that small ones do not take its room bit by bit.
 *  - While the machine's memory is short no program is started, whoever waits:
 *    what is prepared and what is idle gives way, one at a time, until it is not.
 *    A program that runs already serves on.
 *  - Prepared instances are kept for the functions used last.
 *  - Of each runtime so many of those are spares: their program is booted, and
 *    waits before it has read anything of the function.
 *  - An instance that ends by itself before its first answer is a failure.  One
 *    is an accident; from the second in a row on the function is not started
 *    for 250 ms, 500 ms … 30 s, and then tried once.  One whose present version
 *    has answered is never left alone for longer than 250 ms, and who asks
 *    meanwhile waits: a client whose request ends the program must not be able
 *    to keep it from the others.
 */
#ifndef FCGI_HOST_POLICY_H
#define FCGI_HOST_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fcgi-host/ctl_msg.h"

#define POLICY_STARTS_MAX 2 /* asked for at a time: one is made, one waits */
#define POLICY_FIRST_IDLE_US 1000000 /* of one that nobody has used yet */
/* From a use to the making of what replaces it: not beside the request. */
#define POLICY_PREPARE_US 20000
/* A start that failed for want of descriptors: how long at most the
 * next waits for the end of what gave way for it, and how long nothing is
 * prepared. */
#define POLICY_ROOM_US 200000
#define POLICY_SHORT_US 10000000
/* From a change: a file that is written over and over costs one sandbox. */
#define POLICY_CHANGE_US 250000
#define POLICY_USED_LATELY_US (UINT64_C(3600) * 1000000)
/* A prepared instance gives way to another function's only after so long. */
#define POLICY_STAY_US 10000000
/* For so long one that needs more memory than is left holds others back. */
#define POLICY_HOLD_US 1000000
#define POLICY_THROTTLE_FIRST_US 250000
#define POLICY_THROTTLE_MAX_US 30000000

/* What an instance is to the policy. */
enum policy_role {
	POLICY_STARTING, /* asked for */
	POLICY_READY,    /* prepared: has served nobody, runs no program */
	POLICY_IDLE,
	POLICY_BUSY,
	POLICY_ENDING, /* told to end, or dead: serves nobody any more */
	POLICY_ROLE_COUNT,
	POLICY_NONE = POLICY_ROLE_COUNT
};

/* What stands in the way of one more instance. */
enum policy_ceiling {
	POLICY_CEILING_NONE,
	POLICY_CEILING_INSTANCES, /* the tenant's max_instances */
	POLICY_CEILING_MEMORY,    /* the tenant's max_memory */
	POLICY_CEILING_MACHINE    /* the memory that the machine has left */
};

enum policy_act {
	POLICY_WAIT,
	POLICY_REFUSE,     /* throttled, and nothing else can serve */
	POLICY_TAKE_IDLE,  /* the one used last */
	POLICY_TAKE_READY,
	POLICY_START       /* when it is this pool's turn: policy_pick */
};

struct policy_tenant;
TAILQ_HEAD(policy_list, policy_pool);

/* All pools of a gateway. */
struct policy {
	uint64_t max_instances; /* of the host; 0: none */
	uint64_t max_prepared;
	bool is_memory_left; /* to the kernel: no tenant's sum is held */
	bool is_short; /* the machine is, of memory: as the owner saw it last */
	bool is_draining;
	bool is_over; /* nothing is started any more, and nobody served */
	uint64_t count[POLICY_ROLE_COUNT];
	/* no start before, unless one of that pool ends, which gave way */
	uint64_t room_us;
	struct policy_pool *room_of;
	uint64_t prepare_us; /* nothing is prepared before */
	uint64_t held_until_us; /* some are held back until then; 0: none is */
	struct policy_list used;   /* most recently used first */
	struct policy_list hungry; /* who need a start */
	void *tenants;             /* tsearch(3) */
};

/* One function's part; embedded in its pool. */
struct policy_pool {
	TAILQ_ENTRY(policy_pool) in_used, in_hungry;
	struct policy *policy;
	struct policy_tenant *tenant;
	const struct limits *limits; /* borrowed; NULL: the function is gone */
	uint64_t count[POLICY_ROLE_COUNT];
	bool is_cgi; /* each execution starts a program */
	bool is_held; /* its owner does not know yet by what it is served */
	/* kept by the owner */
	uint64_t waiting;
	uint64_t oldest_us;      /* since when the first of them waits */
	uint64_t idle_oldest_us; /* since when the last of the idle is idle */
	uint64_t spares; /* of those that are ready */
	uint64_t spares_most; /* of all functions of its runtime together */
	char runtime[CTL_RUNTIME_MAX + 1];
	/* the policy's own */
	bool is_hungry;
	bool has_answered; /* this version, at some time */
	uint64_t used_us, wish_us; /* 0: never, none */
	uint64_t spare_us; /* no spare is asked for before; 0 */
	unsigned failures;         /* in a row */
	uint64_t failed_us, throttled_until_us;
	uint64_t paused_until_us;
};

/*
 * A check runs for a tenant: in no ceiling but that of his memory, where the sum
 * is held here.  policy_may_check: whether that leaves room for it.
 * policy_check_begin: 0 or -ENOMEM; the sum has it until policy_check_over.
 */
bool policy_may_check(const struct policy *policy, const char *tenant,
    const struct limits *limits);
int policy_check_begin(struct policy *policy, const char *tenant,
    uint64_t memory_bytes);
void policy_check_over(struct policy *policy, const char *tenant,
    uint64_t memory_bytes);

void policy_init(struct policy *policy);
/* When no pool is left. */
void policy_free(struct policy *policy);

/* limits is borrowed until policy_change or policy_leave.  0 or -ENOMEM. */
int policy_join(struct policy *policy, struct policy_pool *pool,
    const char *tenant, const struct limits *limits);
/* Only with every count at 0. */
void policy_leave(struct policy_pool *pool);
/* A new version (limits) or none (NULL): its failures are forgotten. */
void policy_change(struct policy_pool *pool, const struct limits *limits,
    uint64_t now_us);

/* An instance's role changes; POLICY_NONE: it is new, or no more.
 * memory_bytes: what it may use, the same each time. */
void policy_move(struct policy_pool *pool, enum policy_role from,
    enum policy_role to, uint64_t memory_bytes);
/* A request for the function came. */
void policy_use(struct policy_pool *pool, uint64_t now_us);
/* An instance of it ended by itself without an answer; since_us: when it was
 * started or given its first execution. */
void policy_fail(struct policy_pool *pool, uint64_t since_us, uint64_t now_us);
/* A start came to nothing, and that is no failure: the next is not at once. */
void policy_pause(struct policy_pool *pool, uint64_t now_us);
/* A start failed for want of descriptors.  The pool that gives a prepared
 * instance up for it, or NULL: none can. */
struct policy_pool *policy_short(struct policy_pool *pool, uint64_t now_us);
/* An execution was answered. */
void policy_succeed(struct policy_pool *pool);

/* What to do for the one who waits longest. */
enum policy_act policy_next(const struct policy_pool *pool, uint64_t now_us);
bool policy_is_throttled(const struct policy_pool *pool, uint64_t now_us);
/* Takes the pool into or out of the list of those who need a start, and notes
 * whether it wants one prepared.  After every change of its numbers. */
void policy_update(struct policy_pool *pool, uint64_t now_us);

/*
 * Whose turn a start is; NULL: nobody's now.  *victim: the pool that must first
 * give up a prepared instance, or with none its longest idle one; or NULL.
 * The caller starts one and calls again.
 */
struct policy_pool *policy_pick(struct policy *policy, uint64_t now_us,
    struct policy_pool **victim);
/* Before it does: the victim that must follow the one which has just given way,
 * or NULL: there is room now. */
struct policy_pool *policy_victim(struct policy_pool *pool);
/* While the machine is short of memory: the pool that gives up a prepared or an
 * idle instance for those who wait; NULL: none can, or the last that did has not
 * ended yet. */
struct policy_pool *policy_relieve(struct policy *policy, uint64_t now_us);
/* Which ceiling, and not its own, keeps the pool from one more. */
enum policy_ceiling policy_ceiling(const struct policy_pool *pool);
/* Who gets one prepared now; NULL: nobody.  Only while nobody needs a start. */
struct policy_pool *policy_prepare(struct policy *policy, uint64_t now_us,
    struct policy_pool **victim);
/* Whether the program of a prepared one is to be booted now.  *victim: the pool
 * whose spare must end for it, or NULL. */
bool policy_spare(struct policy_pool *pool, uint64_t now_us,
    struct policy_pool **victim);
/* Whether its spare is one more than its runtime has by now. */
bool policy_spare_is_over(const struct policy_pool *pool);
/* Whether an instance whose execution is over must end for another's sake. */
bool policy_yields(const struct policy_pool *pool);
/* Whether the pool has fewer instances at work than min_instances. */
bool policy_lacks(const struct policy_pool *pool);

/* The end of the idle window of one that is idle since then; 0: it stays. */
uint64_t policy_idle_until_us(const struct policy_pool *pool,
    uint64_t since_us);
/* The same for one that is ready since then. */
uint64_t policy_ready_until_us(const struct policy_pool *pool,
    uint64_t since_us);
/* When the pool must be looked at again without an event, but for the ends of
 * windows: its pause is over; 0: never. */
uint64_t policy_due_us(const struct policy_pool *pool, uint64_t now_us);
/* When policy_pick and policy_prepare must be asked again without an event; 0:
 * never. */
uint64_t policy_wake_us(const struct policy *policy, uint64_t now_us);
/* max_requests of one instance: up to a tenth less, so that those which began
 * together do not end together.  0: no end. */
uint64_t policy_max_served(const struct policy_pool *pool, uint64_t id);

#endif
