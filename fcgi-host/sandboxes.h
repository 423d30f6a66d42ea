/*
 * The instances that live: each with its cgroup leaf, its listening socket's
 * file and its init, watched by pidfd, killed on demand, counted and cleared
 * away at its end.  Making one is launch's part.  Spawner only.
 */
#ifndef FCGI_HOST_SANDBOXES_H
#define FCGI_HOST_SANDBOXES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/home.h"
#include "fcgi-host/loop.h"
#include "sandbox/cgroup.h"

#define SANDBOXES_MAX 8192 /* at a time */

struct sandboxes;

/* All processes of an instance are dead; its socket and leaf are removed. */
typedef void sandboxes_gone_fn(void *arg, const struct ctl_instance_gone *gone);

struct instance {
	struct sandboxes *sandboxes;
	uint64_t id;
	char name[CTL_NAME_MAX + 1], version[CTL_VERSION_LENGTH + 1];
	char tenant[CTL_TENANT_MAX + 1];
	uint64_t memory_bytes; /* that it may use */
	uint64_t cpu_milli;    /* the same */
	char leaf[48], socket[32]; /* names; "": none */
	int leaf_fd;               /* the leaf's directory, or -1 */
	struct home *home;         /* its use of it, or NULL */
	pid_t pid;                 /* init; set by the one who starts it */
	int pidfd;
	struct loop_io io;
	struct loop_task free_task;
	bool is_killed;
	bool is_shell;    /* a person's; in no ceiling of the function */
	bool is_check;    /* it serves nobody; in no ceiling but of memory */
	bool is_disowned; /* killed, and nobody is told of its end */
	struct instance *next; /* among the disowned */
};

/* loop and cgroup are borrowed; instances_fd: where sockets stand. */
struct sandboxes *sandboxes_new(struct loop *loop,
    struct cgroup_parent *cgroup, int instances_fd, sandboxes_gone_fn *gone,
    void *arg);
/* Kills and reaps what is left. */
void sandboxes_free(struct sandboxes *sandboxes);

/*
 * A new instance of the function, with no process yet.  0; -ENFILE: too many
 * of all; -EAGAIN: too many of this function, or of its tenant; -EINVAL: ids must
 * rise; -ENOMEM.
 */
int sandboxes_add(struct sandboxes *sandboxes,
    const struct ctl_function *function, uint64_t id, struct instance **out);
/* At a time, of all tenants: the gateway asks for half as many. */
#define SANDBOXES_CHECKS_MAX 4
/* The same for a check, of which there are few at a time, whosesoever (-EAGAIN), and
 * which takes no other instance's place. */
int sandboxes_add_check(struct sandboxes *sandboxes,
    const struct ctl_function *function, uint64_t id, struct instance **out);
/* The same for a person's shell, which takes no function's place. */
int sandboxes_add_shell(struct sandboxes *sandboxes,
    const struct ctl_function *function, uint64_t id, struct instance **out);

/* What it shares with the function's other instances; ceilings: of its tenant.
 * Its network namespace (borrowed; 0: it has none of its own) or negative
 * errno. */
int instance_take_home(struct instance *instance,
    const struct cgroup_limits *ceilings, enum sandbox_network network);
/* What the tenants may have is another now; of: as in
 * tenant_branches_limit. */
void sandboxes_limit(struct sandboxes *sandboxes,
    void (*of)(void *arg, const char *tenant, struct cgroup_limits *limits),
    void *arg);
/* Gives it a leaf in that; nothing where there is no cgroup.  0 or negative
 * errno. */
int instance_make_leaf(struct instance *instance, const struct limits *limits);
/* Its listening socket, blocking, group gid.  Descriptor or negative errno. */
int instance_make_socket(struct instance *instance, gid_t gid);
/* Bounds its processor time, and watches pid and pidfd, which the instance then
 * owns; from here on `gone` tells its end.  0, or a negative errno and the
 * process is dead. */
int instance_watch(struct instance *instance, pid_t pid, int pidfd);
/* Undoes one that was not watched. */
void instance_drop(struct instance *instance);

/* 0; -ENOENT: no such instance (any more). */
int sandboxes_kill(struct sandboxes *sandboxes, uint64_t id);
void sandboxes_kill_all(struct sandboxes *sandboxes);
/* Their gateway is dead: kills all, `gone` is told of none, and ids may begin
 * anew even if one of them does not die soon. */
void sandboxes_disown(struct sandboxes *sandboxes);
/* All whose processes are there, the disowned too. */
size_t sandboxes_count(const struct sandboxes *sandboxes);

/* How far functions that burn the processor go behind others (behind.h). */
void sandboxes_put_behind(struct sandboxes *sandboxes, unsigned nice);
/* Executions go on. */
void sandboxes_busy(struct sandboxes *sandboxes);

/* The host's totals: of the parent cgroup, else of the instances that ended. */
void sandboxes_totals(const struct sandboxes *sandboxes,
    struct ctl_totals *totals);

#endif
