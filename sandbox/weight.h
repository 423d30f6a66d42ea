/*
 * How much the processes of a branch count where processors are short, against
 * all others: a nice value, 0 to 19, that holds for the branch as a whole.  With
 * the cpu controller it is the branch's cpu.weight.  Without it Linux shares
 * the processors among sessions (sched_autogroup_enabled), and a process's own
 * nice value counts only within its session: then it is each session's,
 * which a process that makes a session of its own leaves; so it is set again
 * and again.  Spawner only.
 */
#ifndef SANDBOX_WEIGHT_H
#define SANDBOX_WEIGHT_H

#include "sandbox/cgroup.h"

#define WEIGHT_NICE_MAX 19u

enum weight_manner {
	WEIGHT_NONE,    /* neither is to be had */
	WEIGHT_CGROUP,  /* cpu.weight */
	WEIGHT_SESSIONS /* /proc/PID/autogroup */
};

/* What this machine has for the parent's branches. */
enum weight_manner weight_manner(const struct cgroup_parent *parent);
const char *weight_manner_name(enum weight_manner manner);

/* 0 or a negative errno of the first that failed; processes that end meanwhile
 * are no failure. */
int weight_branch_set(const struct cgroup_parent *parent,
    enum weight_manner manner, const char *branch, unsigned nice);
/* How often the processes of a branch have waited for something, over those that
 * are there.  0 or a negative errno. */
int weight_branch_waits(const struct cgroup_parent *parent,
    const char *branch, uint64_t *waits);

#endif
