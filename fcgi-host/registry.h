/*
 * The functions that the spawner has accepted from the scanner: what may be
 * started, and what a new gateway is told.  The scanner is not believed: names,
 * tenant and numbers are checked and clamped here, the protocol is looked up in
 * the configuration, and descriptors for the gateway must be sealed.  Spawner
 * only.
 */
#ifndef FCGI_HOST_REGISTRY_H
#define FCGI_HOST_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/parcel.h"

#define REGISTRY_MAX 20000

struct registry;

/* env_max: how many functions with an environment of their own (a descriptor
 * each) are kept. */
struct registry *registry_new(size_t env_max);
void registry_free(struct registry *registry);

/*
 * Accepts one report (checked by ctl_msg_check, way scanner → spawner); takes
 * *env_fd, which is -1 without has_env.  0, and *out (borrowed) is what the
 * gateway gets; -EPROTO: the scanner lies; -ENOSPC: there are too many, the
 * report is dropped; -ENOMEM.
 */
int registry_put(struct registry *registry, const struct conf *conf,
    const struct ctl_msg *msg, int *env_fd, struct parcel **out);

/*
 * Where a report would find no room, forgets a function that the scanner which
 * runs now has not reported; fn is told its name before.  What that one says
 * never is too much, but with what stands there from its predecessor it may be.
 */
void registry_make_room(struct registry *registry, const struct ctl_msg *msg,
    void (*fn)(void *arg, const char *name), void *arg);

/* 0, or -ENOENT. */
int registry_del(struct registry *registry, const char *name);

/* Borrowed; NULL: not known. */
const struct ctl_function *registry_find(const struct registry *registry,
    const char *name);

/* Whether a function of the tenant is known, served or not. */
bool registry_has_tenant(const struct registry *registry, const char *tenant);
/* The descriptor of its environment, borrowed; -1: it has none. */
int registry_env(const struct registry *registry, const char *name);
size_t registry_count(const struct registry *registry);
/* The i-th in the order of names; borrowed. */
struct parcel *registry_at(const struct registry *registry, size_t i);

/* A new scanner begins: what it does not report before its first FN_SYNC is
 * gone.  registry_sweep forgets those and calls fn with each name before. */
void registry_begin(struct registry *registry);
void registry_sweep(struct registry *registry,
    void (*fn)(void *arg, const char *name), void *arg);

#endif
