/*
 * What a function's instances share, kept for its next ones: a network namespace
 * with nothing in it, or with a loopback, since making one costs as much as half
 * of all the rest of a sandbox and taking it apart as much again; and a branch of
 * its tenant's in the host's cgroup, in which
 * their leaves stand.  (The kernel walks along all its siblings when it reads a
 * leaf's clock: a thousand beside each other make half a millisecond of it.)
 * Another function never sees the namespace, and what a program can leave in it
 * ends with its processes: there is no right to change an address, a route or a
 * setting.  And the read-only part of their tree (sandbox/tree.h).  Spawner only.
 */
#ifndef FCGI_HOST_HOME_H
#define FCGI_HOST_HOME_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/heat.h"
#include "fcgi-host/tenant_branch.h"
#include "sandbox/plan.h"

/* kept without an instance; about 220 KiB each */
#define HOMES_UNUSED_MAX 16

struct home;
struct homes;
struct sandbox_tree;

/* cgroup is borrowed, its descriptor may be -1: then there are no branches. */
struct homes *homes_new(const struct cgroup_parent *cgroup,
    tenant_branch_fn *unneeded, void *arg);
/* When no instance has one any more.  Accepts NULL. */
void homes_free(struct homes *homes);

/* Whose it is; all borrowed. */
struct home_of {
	const char *tenant, *function;
	const struct cgroup_limits *ceilings; /* of the tenant, as they stand */
	enum sandbox_network network;
};

/* The function's for that network, made if there is none: a reload may change it
 * while instances with the old one live.  0; -ENOMEM or what the kernel says. */
int home_take(struct homes *homes, const struct home_of *of,
    struct home **out);
/* Accepts NULL. */
void home_drop(struct home *home);
/* Borrowed; 0: with a way out it is not the function's. */
int home_netns(const struct home *home);
struct sandbox_tree *home_tree(const struct home *home);
/* The branch's name; "" where there is no cgroup. */
const char *home_branch(const struct home *home);
/* Its tenant's, and those of all. */
struct tenant_branch *home_tenant(const struct home *home);
struct tenant_branches *homes_tenants(struct homes *homes);
/* How much its instances burn, as behind sees it. */
struct heat *home_heat(struct home *home);

typedef void homes_each_fn(void *arg, struct home *home);
/* All of them, the unused too; fn takes and drops none. */
void homes_each(struct homes *homes, homes_each_fn *fn, void *arg);

#endif
