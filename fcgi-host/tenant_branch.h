/*
 * A branch of the host's cgroup for each tenant of whom instances are there: in
 * it stand the branches of his functions (home.h), on it the ceilings that they
 * share, and in the kernel's eyes he is one against the others, however many
 * functions he has.  It goes with the last of them.  Spawner only.
 */
#ifndef FCGI_HOST_TENANT_BRANCH_H
#define FCGI_HOST_TENANT_BRANCH_H

#include <stdbool.h>

#include "fcgi-host/ctl_msg.h"
#include "sandbox/cgroup.h"

struct tenant_branch;
struct tenant_branches;

/* A branch whose leaves are removed, or will be soon, is not needed any more. */
typedef void tenant_branch_fn(void *arg, const char *branch);

/* cgroup is borrowed, its descriptor may be -1: then there are no branches. */
struct tenant_branches *tenant_branches_new(const struct cgroup_parent *cgroup,
    tenant_branch_fn *unneeded, void *arg);
/* When nobody uses one any more.  Accepts NULL. */
void tenant_branches_free(struct tenant_branches *branches);

/* The tenant's, made if there is none.  0; -ENOMEM or what the kernel says. */
int tenant_branch_take(struct tenant_branches *branches, const char *tenant,
    struct tenant_branch **out);
/* Accepts NULL. */
void tenant_branch_drop(struct tenant_branch *branch);
/* Its name; "" where there is no cgroup. */
const char *tenant_branch_name(const struct tenant_branch *branch);

/* How far he stands behind the other tenants, as behind.h sees it. */
struct tenant_weight {
	bool is_behind;
	unsigned nice;
};
struct tenant_weight *tenant_branch_weight(struct tenant_branch *branch);
void tenant_branches_each(struct tenant_branches *branches,
    void (*fn)(void *arg, struct tenant_branch *branch), void *arg);

/* What a tenant's instances may have together, of his numbers. */
void tenant_branch_ceilings(const struct limits *limits,
    struct cgroup_limits *ceilings);
/*
 * The ceilings, which stand at once; but one of memory below what is in use only
 * when that has become less (tenant_branch_fit), for nobody is to be killed by a
 * reload.  0 or negative errno.
 */
int tenant_branch_limit(struct tenant_branch *branch,
    const struct cgroup_limits *limits);
int tenant_branch_fit(struct tenant_branch *branch);
/* Of all that are there.  of: fills in what the tenant may have now. */
void tenant_branches_limit(struct tenant_branches *branches,
    void (*of)(void *arg, const char *tenant, struct cgroup_limits *limits),
    void *arg);

#endif
