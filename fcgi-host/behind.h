/*
 * Lets functions that burn the processor go behind everybody else, for as long
 * as they do: who asks for little, another function, the gateway or the web
 * server, is not made to wait for a tick of the scheduler each time.  What
 * nobody else wants of the processors a hot function still gets.  Looks by a
 * timer at the clocks of the branches, and sets their weights.  Spawner only.
 */
#ifndef FCGI_HOST_BEHIND_H
#define FCGI_HOST_BEHIND_H

#include "fcgi-host/home.h"
#include "fcgi-host/loop.h"
#include "sandbox/cgroup.h"

struct behind;

/* All borrowed; NULL without memory. */
struct behind *behind_new(struct loop *loop,
    const struct cgroup_parent *cgroup, struct homes *homes);
/* Accepts NULL. */
void behind_free(struct behind *behind);

/* How far they go behind, `hot_nice`; with 0 all come back. */
void behind_set(struct behind *behind, unsigned nice);
/* Somebody runs, or will: looks until nobody has run for a while. */
void behind_wake(struct behind *behind);

#endif
