/*
 * One sandbox, started without the host's roles: what the tests of sandbox/
 * and the probes share.  Needs root; box_setup says so aloud where it is not.
 */
#ifndef TESTS_UNIT_BOX_H
#define TESTS_UNIT_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sandbox/cgroup.h"
#include "sandbox/init_msg.h"
#include "sandbox/plan.h"

/* Ids that no account of a Debian has, and others for each test program: the
 * kernel counts processes by user id, over all of the machine. */
extern uid_t box_uid;
#define BOX_UID box_uid
#define BOX_GID ((gid_t)box_uid)

struct box_host {
	struct sandbox_host *host;
	struct sandbox_tree *tree; /* kept, as the spawner does for a function */
	struct cgroup_parent cgroup;
	char folder[64]; /* a function's, on the host, below /tmp */
	unsigned leaves;
	struct cgroup_limits limits; /* of the next leaf; all 0: none */
};

struct box {
	struct sandbox_child child;
	int sock; /* the gateway's end of init's socket */
	int leaf_fd;
	char leaf[32];
	uint64_t serial;
};

/* What one execution left behind. */
struct box_result {
	struct init_report report;
	char output[16384]; /* stdout and stderr, terminated */
	size_t length;
	bool has_ended; /* init was gone before its report */
};

/* 0; 77 when this machine cannot run such tests, after saying why. */
int box_setup(struct box_host *host);
void box_teardown(struct box_host *host);

/* A plan with all layers; the caller may change it before box_start. */
void box_plan(const struct box_host *host, struct sandbox_plan *plan,
    char *const *argv);
void box_plan_release(struct sandbox_plan *plan);

/* Fills plan's sockets and leaf and starts it.  0 or negative errno. */
int box_start(struct box_host *host, struct sandbox_plan *plan,
    struct box *box);
/* Starts one, idle, whose program is a shell script.  0 or negative errno. */
int box_start_shell(struct box_host *host, struct box *box,
    const char *script);
/* One CGI execution; env: "A=b" strings up to a NULL, or NULL.  0 or negative
 * errno (-ETIME after longest_ms: the sandbox is killed). */
int box_run(struct box *box, const char *const *env, int longest_ms,
    struct box_result *result);
/* The pieces of box_run. */
int box_order(struct box *box, uint32_t type, const char *const *env,
    const int *fds, size_t fd_count);
int box_report(struct box *box, int longest_ms, struct init_report *report);
/* Hangs up, waits for init's end (kills it after two seconds) and removes the
 * leaf.  Returns wait status as waitid's si_status, or -1 if it was killed. */
int box_end(struct box_host *host, struct box *box);

/* All at once: start, one execution, end. */
int box_try(struct box_host *host, struct sandbox_plan *plan,
    const char *const *env, struct box_result *result);

/* The built programs: FILE below the build directory. */
const char *box_built(const char *file, char *path, size_t size);
/* How many directories, processes or descriptors there are, to compare. */
size_t box_count_entries(const char *path);
/* /proc/self/mountinfo; free() it. */
char *box_mounts(void);
/* The mounts of now that are not in an earlier one.  Fewer may be left: a copy of
 * the machine's ends when another removes the directory below it. */
size_t box_count_new_mounts(const char *before);

#endif
