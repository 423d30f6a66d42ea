#include "fcgi-host/behind.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "sandbox/weight.h"

#define LOOK_US UINT64_C(100000)
/* The gateway says once a second that executions go on. */
#define REST_US UINT64_C(1200000)
/* A look at a thousand branches takes milliseconds; it may cost a fiftieth of
 * a processor and no more. */
#define COST_SHARE 50

struct behind {
	struct loop *loop;
	const struct cgroup_parent *cgroup;
	struct homes *homes;
	struct loop_timer timer;
	enum weight_manner manner;
	unsigned nice;
	unsigned all_nice;        /* what all branches together have */
	uint64_t usage_us, at_us; /* of all, at the last look */
	uint64_t busy_us;         /* when the gateway said so */
	size_t count;             /* of branches that are behind, or should be */
};

static void look(void *arg);

/* ------------------------------------------------------------------ looking */

/* Has the branch, or "." for all together, so far behind.  Sessions that came
 * since the last look are so only now. */
static void
weigh(const struct behind *behind, const char *branch, unsigned nice,
    unsigned *is)
{
	static struct log_limit limit;
	uint32_t suppressed;
	int error;

	if (*is == nice && (nice == 0 || behind->manner != WEIGHT_SESSIONS))
		return;
	error = weight_branch_set(behind->cgroup, behind->manner, branch,
	    nice);
	if (error == 0)
		*is = nice;
	else if (log_limit_pass(&limit, 1, 60000, loop_clock_us(), &suppressed))
		log_event(LOG_WARN, "behind", "branch=%s nice=%u "
		    "error=\"%s\" suppressed=%u", branch, nice,
		    strerror(-error), suppressed);
}

static void
judge(const struct behind *behind, const char *branch, struct heat *heat)
{
	struct cgroup_cpu cpu;
	uint64_t waits;

	if (cgroup_branch_cpu(behind->cgroup, branch, &cpu) != 0)
		return;
	if (heat_look(heat, cpu.usage_us, loop_clock_us()) &&
	    weight_branch_waits(behind->cgroup, branch, &waits) == 0)
		heat_judge(heat, waits);
	if (heat_turn(heat))
		log_event(LOG_DEBUG, heat->is_hot ? "hot" : "cool",
		    "branch=%s", branch);
}

static void
look_at(void *arg, struct home *home)
{
	struct behind *behind = arg;
	struct heat *heat = home_heat(home);
	const char *branch = home_branch(home);
	unsigned nice;

	if (branch[0] == '\0')
		return;
	judge(behind, branch, heat);
	nice = heat->is_hot ? behind->nice : 0;
	weigh(behind, branch, nice, &heat->nice);
	behind->count += nice > 0 || heat->nice > 0;
	tenant_branch_weight(home_tenant(home))->is_behind |= nice > 0;
}

static void
forget(void *arg, struct tenant_branch *tenant)
{
	(void)arg;
	tenant_branch_weight(tenant)->is_behind = false;
}

static void
weigh_tenant(void *arg, struct tenant_branch *tenant)
{
	struct behind *behind = arg;
	struct tenant_weight *weight = tenant_branch_weight(tenant);

	weigh(behind, tenant_branch_name(tenant),
	    weight->is_behind ? behind->nice : 0, &weight->nice);
	behind->count += weight->nice > 0;
}

/* In a tree of weights the branches of a tenant's functions together are one
 * branch beside the other tenants', and those of all one beside the gateway, as
 * heavy as their heaviest: it goes behind with them. */
static void
look_at_all(struct behind *behind)
{
	struct tenant_branches *tenants = homes_tenants(behind->homes);

	behind->count = 0;
	tenant_branches_each(tenants, forget, NULL);
	homes_each(behind->homes, look_at, behind);
	if (behind->manner != WEIGHT_CGROUP)
		return;
	tenant_branches_each(tenants, weigh_tenant, behind);
	weigh(behind, ".", behind->count > 0 ? behind->nice : 0,
	    &behind->all_nice);
}

static void
again(struct behind *behind, uint64_t after_us)
{
	if (loop_timer_set(behind->loop, &behind->timer,
	    loop_clock_us() + after_us, look, behind) != 0)
		log_event(LOG_WARN, "behind", "error=\"out of memory\"");
}

/* Where all together did not burn, nobody did. */
static bool
somebody_burns(struct behind *behind, uint64_t now_us)
{
	struct cgroup_cpu all = { 0 };
	bool is_burning;

	(void)cgroup_parent_cpu(behind->cgroup, &all);
	is_burning = heat_is_burning(all.usage_us - behind->usage_us,
	    now_us - behind->at_us);
	behind->usage_us = all.usage_us;
	behind->at_us = now_us;
	return is_burning;
}

static void
look(void *arg)
{
	struct behind *behind = arg;
	uint64_t begin_us = loop_clock_us(), cost_us;
	bool is_burning = somebody_burns(behind, begin_us);
	bool is_due = behind->nice > 0 &&
	    (is_burning || begin_us - behind->busy_us < REST_US);

	if (is_burning || behind->count > 0 || behind->all_nice > 0)
		look_at_all(behind);
	cost_us = (loop_clock_us() - begin_us) * COST_SHARE;
	if (is_due || behind->count > 0 || behind->all_nice > 0)
		again(behind, cost_us > LOOK_US ? cost_us : LOOK_US);
}

/* ------------------------------------------------------------------- behind */

/* A host that died may have left all its functions behind. */
struct behind *
behind_new(struct loop *loop, const struct cgroup_parent *cgroup,
    struct homes *homes)
{
	struct behind *behind = calloc(1, sizeof(*behind));

	if (behind == NULL)
		return NULL;
	behind->loop = loop;
	behind->cgroup = cgroup;
	behind->homes = homes;
	behind->manner = weight_manner(cgroup);
	if (behind->manner == WEIGHT_CGROUP) {
		behind->all_nice = WEIGHT_NICE_MAX;
		weigh(behind, ".", 0, &behind->all_nice);
	}
	return behind;
}

void
behind_free(struct behind *behind)
{
	if (behind == NULL)
		return;
	loop_timer_cancel(behind->loop, &behind->timer);
	free(behind);
}

void
behind_set(struct behind *behind, unsigned nice)
{
	behind->nice = nice;
	if (behind->manner != WEIGHT_NONE)
		again(behind, LOOK_US);
}

void
behind_wake(struct behind *behind)
{
	behind->busy_us = loop_clock_us();
	if (behind->nice > 0 && behind->manner != WEIGHT_NONE &&
	    behind->timer.place == 0)
		again(behind, LOOK_US);
}
