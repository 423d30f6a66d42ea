/*
 * cgroup v2: a parent that outlives its leaves, and one leaf per instance, in
 * branches.
 * The spawner makes and removes; the gateway reads descriptors that it was
 * given.  Controllers are used where they are delegated; cpu.stat,
 * cgroup.kill and cgroup.freeze are there without any.
 */
#ifndef SANDBOX_CGROUP_H
#define SANDBOX_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroup_cpu {
	uint64_t usage_us, user_us, system_us;
};

struct cgroup_parent {
	int fd;        /* the parent's directory, or -1: no cgroup v2 to be had */
	bool has_memory, has_pids, has_cpu; /* controllers delegated to leaves */
	char mount[256]; /* of cgroup2, and */
	char path[512]; /* the place below that: for people */
	char reason[160]; /* why something is missing, with the mend; "" */
	/* What instances of hosts that died here had used before. */
	struct cgroup_cpu left;
};

struct cgroup_limits {
	uint64_t memory_bytes, processes, cpu_milli; /* 0: none; cpu: of branches */
};

/*
 * Finds the v2 hierarchy (pure or hybrid) and the process's own place, makes
 * NAME below it (stale leaves of a dead predecessor with that name are killed
 * and removed) and enables the controllers that are to be had; in a delegated
 * unit the caller itself moves into a leaf of its own first.  0 or negative
 * errno; parent->fd is -1 then and reason says why.
 */
int cgroup_parent_open(struct cgroup_parent *parent, const char *name);
/*
 * Takes a cgroup that is there as the parent of leaves, and changes nothing in
 * it: leaves have the controllers that it gives its children already.  path: of
 * its directory; NULL: the caller's own.  To be closed by closing fd.  0 or
 * negative errno, with the reason.
 */
int cgroup_parent_use(struct cgroup_parent *parent, const char *path);
/* The parent's clock since its opening.  0 or negative errno. */
int cgroup_parent_cpu(const struct cgroup_parent *parent,
    struct cgroup_cpu *cpu);
/* Removes what it made. */
void cgroup_parent_close(struct cgroup_parent *parent);

/* A place for leaves below the parent: BRANCH, or BRANCH/BRANCH.  0 or negative
 * errno. */
int cgroup_branch_make(const struct cgroup_parent *parent, const char *name);
/*
 * Ceilings of all its leaves together, as far as there are controllers; *now:
 * those that stand (none in a new one), and then what stands.  When its memory
 * ends the kernel kills one leaf, as a whole.  0; -EBUSY: more memory is in use,
 * so that this ceiling was left for a later try; or a negative errno.
 */
int cgroup_branch_limit(const struct cgroup_parent *parent, const char *name,
    const struct cgroup_limits *wanted, struct cgroup_limits *now);
/* The clock of a branch, over all that its leaves were and are.  0 or negative
 * errno. */
int cgroup_branch_cpu(const struct cgroup_parent *parent, const char *name,
    struct cgroup_cpu *cpu);

/* Makes a leaf, LEAF or in a branch, with its ceilings (memory.max, memory.swap.max 0,
 * memory.oom.group 1, pids.max).  Its directory's descriptor, or a negative errno. */
int cgroup_leaf_make(const struct cgroup_parent *parent, const char *name,
    const struct cgroup_limits *limits);
/* Its cpu.max, which is not set before a sandbox has been started in it: who starts
 * it waits for that, and would wait for its turns.  0 or negative errno. */
int cgroup_leaf_limit_cpu(const struct cgroup_parent *parent, int leaf_fd,
    uint64_t milli);
/* Kills every process in it; 0 or negative errno. */
int cgroup_leaf_kill(int leaf_fd);
/* rmdir, also of a branch; -EBUSY while a process or a leaf is left. */
int cgroup_leaf_remove(const struct cgroup_parent *parent, const char *name);
/* Opens a file of the leaf ("cpu.stat"); descriptor or negative errno. */
int cgroup_leaf_open(int leaf_fd, const char *file, bool is_writable);

/* Reads by a kept-open descriptor, from its start.  0 or negative errno. */
int cgroup_cpu_read(int fd, struct cgroup_cpu *cpu);
int cgroup_number_read(int fd, uint64_t *number);
/* The value of KEY in a flat keyed file (memory.events: "oom_kill"). */
int cgroup_key_read(int fd, const char *key, uint64_t *value);

#endif
