#include "fcgi-host/tenant_branch.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "fcgi-host/log.h"

struct tenant_branch {
	TAILQ_ENTRY(tenant_branch) in;
	struct tenant_branches *all;
	char tenant[CTL_TENANT_MAX + 1];
	char branch[16];
	struct cgroup_limits wanted, now;
	struct tenant_weight weight;
	size_t users;
};

struct tenant_branches {
	const struct cgroup_parent *cgroup;
	tenant_branch_fn *unneeded;
	void *arg;
	uint32_t serial;
	void *by_tenant; /* tsearch(3) */
	TAILQ_HEAD(, tenant_branch) list;
};

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct tenant_branch *)a)->tenant,
	    ((const struct tenant_branch *)b)->tenant);
}

struct tenant_branches *
tenant_branches_new(const struct cgroup_parent *cgroup,
    tenant_branch_fn *unneeded, void *arg)
{
	struct tenant_branches *branches = calloc(1, sizeof(*branches));

	if (branches == NULL)
		return NULL;
	branches->cgroup = cgroup;
	branches->unneeded = unneeded;
	branches->arg = arg;
	TAILQ_INIT(&branches->list);
	return branches;
}

void
tenant_branches_free(struct tenant_branches *branches)
{
	free(branches);
}

static void
branch_free(struct tenant_branch *branch)
{
	if (branch->branch[0] != '\0')
		branch->all->unneeded(branch->all->arg, branch->branch);
	free(branch);
}

static int
branch_make(struct tenant_branch *branch)
{
	struct tenant_branches *all = branch->all;
	char name[sizeof(branch->branch)];
	int error;

	if (all->cgroup->fd < 0)
		return 0;
	do {
		snprintf(name, sizeof(name), "t%u", ++all->serial);
		error = cgroup_branch_make(all->cgroup, name);
	} while (error == -EEXIST);
	if (error == 0)
		memcpy(branch->branch, name, sizeof(name));
	return error;
}

static int
branch_new(struct tenant_branches *all, const struct tenant_branch *key,
    struct tenant_branch **out)
{
	struct tenant_branch *branch = calloc(1, sizeof(*branch));
	int error;

	if (branch == NULL)
		return -ENOMEM;
	branch->all = all;
	memcpy(branch->tenant, key->tenant, sizeof(branch->tenant));
	error = branch_make(branch);
	if (error == 0 && tsearch(branch, &all->by_tenant, compare) == NULL)
		error = -ENOMEM;
	if (error != 0) {
		branch_free(branch);
		return error;
	}
	TAILQ_INSERT_TAIL(&all->list, branch, in);
	*out = branch;
	return 0;
}

int
tenant_branch_take(struct tenant_branches *branches, const char *tenant,
    struct tenant_branch **out)
{
	struct tenant_branch key = { .tenant = "" };
	void **found;
	int error = 0;

	strncpy(key.tenant, tenant, sizeof(key.tenant) - 1);
	found = tfind(&key, &branches->by_tenant, compare);
	if (found == NULL)
		error = branch_new(branches, &key, out);
	else
		*out = *found;
	if (error == 0)
		(*out)->users++;
	return error;
}

void
tenant_branch_drop(struct tenant_branch *branch)
{
	if (branch == NULL || --branch->users > 0)
		return;
	TAILQ_REMOVE(&branch->all->list, branch, in);
	tdelete(branch, &branch->all->by_tenant, compare);
	branch_free(branch);
}

const char *
tenant_branch_name(const struct tenant_branch *branch)
{
	return branch->branch;
}

struct tenant_weight *
tenant_branch_weight(struct tenant_branch *branch)
{
	return &branch->weight;
}

void
tenant_branches_each(struct tenant_branches *branches,
    void (*fn)(void *arg, struct tenant_branch *branch), void *arg)
{
	struct tenant_branch *branch;

	TAILQ_FOREACH(branch, &branches->list, in)
		fn(arg, branch);
}

void
tenant_branch_ceilings(const struct limits *limits, struct cgroup_limits *ceilings)
{
	*ceilings = (struct cgroup_limits) {
		.memory_bytes = limits->value[LIMIT_MAX_MEMORY_BYTES],
		.processes = limits->value[LIMIT_MAX_PROCESSES],
		.cpu_milli = limits->value[LIMIT_MAX_CPU_MILLI],
	};
}

int
tenant_branch_fit(struct tenant_branch *branch)
{
	int error;

	if (branch->branch[0] == '\0' ||
	    memcmp(&branch->wanted, &branch->now, sizeof(branch->now)) == 0)
		return 0;
	error = cgroup_branch_limit(branch->all->cgroup, branch->branch,
	    &branch->wanted, &branch->now);
	return error == -EBUSY ? 0 : error;
}

int
tenant_branch_limit(struct tenant_branch *branch,
    const struct cgroup_limits *limits)
{
	branch->wanted = *limits;
	return tenant_branch_fit(branch);
}

void
tenant_branches_limit(struct tenant_branches *branches,
    void (*of)(void *arg, const char *tenant, struct cgroup_limits *limits),
    void *arg)
{
	struct tenant_branch *branch;

	TAILQ_FOREACH(branch, &branches->list, in) {
		struct cgroup_limits limits;
		int error;

		of(arg, branch->tenant, &limits);
		error = tenant_branch_limit(branch, &limits);
		if (error != 0)
			log_event(LOG_WARN, "tenant_ceiling", "tenant=%s "
			    "error=\"%s\"", branch->tenant, strerror(-error));
	}
}
