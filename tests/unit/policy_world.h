/*
 * The policy's small world by simulated time: requests that wait, instances
 * with a role, pools that do what the policy says, so that every number that it
 * is given is the outcome of its own decisions.  A test is a table of moments,
 * each row an event and what must be true of its pool then.
 */
#ifndef TESTS_UNIT_POLICY_WORLD_H
#define TESTS_UNIT_POLICY_WORLD_H

#include <stdint.h>

#include "fcgi-host/policy.h"

#define POOLS 8

enum op {
	END,
	/* n requests come for the pool */
	COME,
	/* one start of the pool is done; or it fails */
	UP,
	FAIL,
	/* n executions end well; or one program dies in its execution, the first
	 * of its instance (DIE) or a later one (DIE_LATER) */
	DONE,
	DIE,
	DIE_LATER,
	/* all windows are looked at */
	TICK,
	CHANGE,
	DRAIN
};

/* What the pool must have afterwards; -1: not looked at. */
struct row {
	uint64_t at_ms;
	enum op op;
	int pool, n;
	int waiting, starting, ready, idle, busy, refused;
};

struct world_pool {
	struct policy_pool policy;
	struct limits limits;
	uint64_t since_us[64]; /* waiters, oldest first */
	uint64_t idle_us[64];  /* the idle, oldest first */
	uint64_t ready_us, run_us;
	int refused, ended;
};

struct world {
	struct policy policy;
	struct world_pool pools[POOLS];
	uint64_t now_us;
};

extern struct world world;

/* Plays rows up to one with END. */
void world_play(const struct row *rows);
/* As policy_move, with the memory that the pool's limits say. */
void world_move(struct policy_pool *pool, enum policy_role from,
    enum policy_role to);
void world_set(int pool, enum limit_key key, uint64_t value);
/* For cmocka: a world with POOLS pools, two of each tenant; and its end, at
 * which nothing may be left in the policy's numbers. */
int world_open(void **state);
int world_close(void **state);

#endif
