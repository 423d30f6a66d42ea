#include "fcgi-host/home.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/sock.h"
#include "sandbox/netns.h"

struct home {
	TAILQ_ENTRY(home) in_unused, in_all;
	struct homes *homes;
	char function[CTL_NAME_MAX + 1];
	enum sandbox_network network;
	struct tenant_branch *tenant;
	char branch[32];
	int netns_fd;
	struct sandbox_tree *tree;
	size_t users;
	struct heat heat;
};

struct homes {
	const struct cgroup_parent *cgroup;
	struct tenant_branches *tenants;
	tenant_branch_fn *unneeded;
	void *arg;
	uint32_t serial; /* of branches */
	void *by_name;   /* tsearch(3) */
	size_t unused_count;
	TAILQ_HEAD(home_list, home) unused; /* the one used last first */
	struct home_list all;
};

static int
compare(const void *a, const void *b)
{
	const struct home *left = a, *right = b;
	int order = strcmp(left->function, right->function);

	return order != 0 ? order :
	    (int)left->network - (int)right->network;
}

struct homes *
homes_new(const struct cgroup_parent *cgroup, tenant_branch_fn *unneeded,
    void *arg)
{
	struct homes *homes = calloc(1, sizeof(*homes));

	if (homes == NULL)
		return NULL;
	homes->tenants = tenant_branches_new(cgroup, unneeded, arg);
	if (homes->tenants == NULL) {
		free(homes);
		return NULL;
	}
	homes->cgroup = cgroup;
	homes->unneeded = unneeded;
	homes->arg = arg;
	TAILQ_INIT(&homes->unused);
	TAILQ_INIT(&homes->all);
	return homes;
}

static void
unused_remove(struct home *home)
{
	TAILQ_REMOVE(&home->homes->unused, home, in_unused);
	home->homes->unused_count--;
}

static void
home_free(struct home *home)
{
	close_fd(&home->netns_fd);
	sandbox_tree_free(home->tree);
	if (home->branch[0] != '\0')
		home->homes->unneeded(home->homes->arg, home->branch);
	tenant_branch_drop(home->tenant);
	free(home);
}

static void
unused_shrink(struct homes *homes, size_t most)
{
	while (homes->unused_count > most) {
		struct home *last = TAILQ_LAST(&homes->unused, home_list);

		unused_remove(last);
		tdelete(last, &homes->by_name, compare);
		TAILQ_REMOVE(&homes->all, last, in_all);
		home_free(last);
	}
}

void
homes_free(struct homes *homes)
{
	if (homes == NULL)
		return;
	unused_shrink(homes, 0);
	tenant_branches_free(homes->tenants);
	free(homes);
}

static int
make_branch(struct home *home)
{
	struct homes *homes = home->homes;
	char branch[sizeof(home->branch)];
	int error;

	if (homes->cgroup->fd < 0)
		return 0;
	do {
		snprintf(branch, sizeof(branch), "%s/f%u",
		    tenant_branch_name(home->tenant), ++homes->serial);
		error = cgroup_branch_make(homes->cgroup, branch);
	} while (error == -EEXIST); /* after four thousand million of them */
	if (error == 0)
		memcpy(home->branch, branch, sizeof(branch));
	return error;
}

/* With a way out it is the administrator's, and opened for each instance. */
static int
make_netns(struct home *home, enum sandbox_network network)
{
	home->network = network;
	home->netns_fd = -1;
	if (network == SANDBOX_NETWORK_EGRESS)
		return 0;
	home->netns_fd = network == SANDBOX_NETWORK_NONE ? netns_new() :
	    netns_new_loopback();
	return home->netns_fd < 0 ? home->netns_fd : 0;
}

static int
home_new(struct homes *homes, const char *tenant, const struct home *key,
    struct home **out)
{
	struct home *home = calloc(1, sizeof(*home));
	int error = 0;

	if (home == NULL)
		return -ENOMEM;
	home->homes = homes;
	memcpy(home->function, key->function, sizeof(home->function));
	error = make_netns(home, key->network);
	home->tree = sandbox_tree_new();
	if (error == 0 && home->tree == NULL)
		error = -ENOMEM;
	if (error == 0)
		error = tenant_branch_take(homes->tenants, tenant,
		    &home->tenant);
	if (error == 0)
		error = make_branch(home);
	if (error == 0 && tsearch(home, &homes->by_name, compare) == NULL)
		error = -ENOMEM;
	if (error != 0) {
		home_free(home);
		return error;
	}
	TAILQ_INSERT_TAIL(&homes->all, home, in_all);
	*out = home;
	return 0;
}

int
home_take(struct homes *homes, const struct home_of *of, struct home **out)
{
	struct home key = { .network = of->network };
	void **found;
	int error = 0;

	strncpy(key.function, of->function, sizeof(key.function) - 1);
	key.function[sizeof(key.function) - 1] = '\0';
	found = tfind(&key, &homes->by_name, compare);
	if (found == NULL)
		error = home_new(homes, of->tenant, &key, out);
	else
		*out = *found;
	if (error != 0)
		return error;
	if ((*out)->users++ == 0 && found != NULL)
		unused_remove(*out);
	error = tenant_branch_limit((*out)->tenant, of->ceilings);
	if (error != 0) {
		home_drop(*out);
		*out = NULL;
	}
	return error;
}

void
home_drop(struct home *home)
{
	if (home == NULL)
		return;
	(void)tenant_branch_fit(home->tenant);
	if (--home->users > 0)
		return;
	TAILQ_INSERT_HEAD(&home->homes->unused, home, in_unused);
	home->homes->unused_count++;
	unused_shrink(home->homes, HOMES_UNUSED_MAX);
}

int
home_netns(const struct home *home)
{
	return home->netns_fd < 0 ? 0 : home->netns_fd;
}

struct sandbox_tree *
home_tree(const struct home *home)
{
	return home->tree;
}

const char *
home_branch(const struct home *home)
{
	return home->branch;
}

struct tenant_branch *
home_tenant(const struct home *home)
{
	return home->tenant;
}

struct tenant_branches *
homes_tenants(struct homes *homes)
{
	return homes->tenants;
}

struct heat *
home_heat(struct home *home)
{
	return &home->heat;
}

void
homes_each(struct homes *homes, homes_each_fn *fn, void *arg)
{
	struct home *home;

	TAILQ_FOREACH(home, &homes->all, in_all)
		fn(arg, home);
}
