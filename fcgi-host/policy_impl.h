/*
 * What the files of the policy room share: policy.c (what happened, what one pool
 * needs, what is prepared, windows), policy_ceiling.c (whose turn a start is, and
 * who gives way), policy_spare.c, policy_check.c.  Included by nobody else.
 */
#ifndef FCGI_HOST_POLICY_IMPL_H
#define FCGI_HOST_POLICY_IMPL_H

#include "fcgi-host/policy.h"

struct policy_tenant {
	char name[CTL_TENANT_MAX + 1];
	uint64_t pools; /* and checks: it goes with the last of them */
	uint64_t count[POLICY_ROLE_COUNT];
	uint64_t memory_bytes[POLICY_ROLE_COUNT]; /* that they may use */
	/* whose start does not fit and holds others back; of one policy_pick */
	const struct policy_pool *blocked;
};

static inline uint64_t
limit(const struct policy_pool *pool, enum limit_key key)
{
	return pool->limits->value[key];
}

static inline uint64_t
serving(const uint64_t count[POLICY_ROLE_COUNT])
{
	return count[POLICY_IDLE] + count[POLICY_BUSY];
}

/* Every sandbox that is not on its way out. */
static inline uint64_t
total(const uint64_t count[POLICY_ROLE_COUNT])
{
	return count[POLICY_STARTING] + count[POLICY_READY] + serving(count);
}

/* NULL: he has neither. */
struct policy_tenant *policy_tenant_find(const struct policy *policy,
    const char *name);
struct policy_tenant *policy_tenant_take(struct policy *policy,
    const char *name);
void policy_tenant_drop(struct policy *policy, struct policy_tenant *tenant);

/* Whether it needs a start, of whomever's turn it is. */
bool policy_is_hungry(const struct policy_pool *pool, uint64_t now_us);

bool policy_is_tenant_full(const struct policy_pool *pool);
bool policy_is_host_full(const struct policy *policy);
/* The pool with a prepared instance that was used longest ago.  tenant: only of
 * his; NULL: of all. */
struct policy_pool *policy_find_ready(struct policy *policy,
    const struct policy_pool *asker, const struct policy_tenant *tenant);

#endif
