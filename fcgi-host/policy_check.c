/* What checks take of their tenants' memory. */
#include <errno.h>

#include "fcgi-host/policy_impl.h"

bool
policy_may_check(const struct policy *policy, const char *tenant,
    const struct limits *limits)
{
	const struct policy_tenant *found = policy_tenant_find(policy, tenant);
	uint64_t most = limits->value[LIMIT_MAX_MEMORY_BYTES];
	uint64_t one = limits->value[LIMIT_MEMORY_BYTES];
	uint64_t held = found == NULL ? 0 : total(found->memory_bytes);
	uint64_t ending = found == NULL ? 0 :
	    found->memory_bytes[POLICY_ENDING];

	/* as of a start: see lacks_memory in policy_ceiling.c */
	return !policy->is_short && !policy->is_over &&
	    (most == 0 || policy->is_memory_left ||
	    (held + one <= most && held + ending + one <= 2 * most));
}

int
policy_check_begin(struct policy *policy, const char *tenant,
    uint64_t memory_bytes)
{
	struct policy_tenant *found = policy_tenant_take(policy, tenant);

	if (found == NULL)
		return -ENOMEM;
	found->memory_bytes[POLICY_BUSY] += memory_bytes;
	return 0;
}

void
policy_check_over(struct policy *policy, const char *tenant,
    uint64_t memory_bytes)
{
	struct policy_tenant *found = policy_tenant_find(policy, tenant);

	found->memory_bytes[POLICY_BUSY] -= memory_bytes;
	policy_tenant_drop(policy, found);
}
