/*
 * Starting one instance: from a function's accepted report to a process in its
 * finished sandbox.  Resolving the file, ids, /data, binds, leaf, sockets, the
 * plan, the start; each a step with a name for the log.  Spawner only.
 */
#ifndef FCGI_HOST_LAUNCH_H
#define FCGI_HOST_LAUNCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/built.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/images.h"
#include "fcgi-host/parcel.h"
#include "fcgi-host/sandboxes.h"
#include "fcgi-host/tenants.h"
#include "sandbox/netns.h"
#include "sandbox/plan.h"

/* What does not change while the host runs; all borrowed. */
struct launch_site {
	struct sandbox_host *host;
	struct sandboxes *sandboxes;
	struct tenants *tenants;
	struct images *images; /* of the configuration */
	struct built *built;
	const struct cgroup_parent *cgroup;
	int functions_fd, data_fd, state_fd;
	gid_t gateway_gid;
	struct netns_id machine; /* its network, in which no function is */
	bool is_single; /* an ordinary user's: all ids are his, see userns.h */
};

/*
 * Starts an instance of the function (accepted and served).  0, and `up` (of
 * CTL_INSTANCE_UP) has its message and descriptors; else a negative errno, and
 * step[0..size) says which step failed, with nothing left behind: -ESTALE, the
 * configuration has no command for that purpose.  Blocks for a few milliseconds.
 *
 * One that checks has the function's sandbox with another command: without a
 * socket to listen on, without secrets, and without a network.
 */
int launch_start(const struct launch_site *site, const struct conf *conf,
    const struct ctl_function *function, uint64_t id,
    enum ctl_purpose purpose, struct parcel *up, char *step, size_t size);

/* A person's program in the place of the function's. */
struct launch_shell {
	char *const *argv; /* borrowed */
	int terminal_fd;   /* borrowed; -1: none */
	int init_sock;     /* out: an end of init's socket, the caller's */
	uint64_t start_us; /* out */
};

/*
 * The same sandbox for a person: by the function's file, ids, numbers, binds and
 * data, with a leaf of its own; but no socket to listen on.  It is in no ceiling
 * of the function.  As above.
 */
int launch_shell(const struct launch_site *site, const struct conf *conf,
    const struct ctl_function *function, uint64_t id,
    struct launch_shell *shell, char *step, size_t size);

#endif
