/*
 * The child's half of a start: from clone to the exec of init, in the order
 * that docs/SANDBOX.md gives.  Everything that needs allocation, parsing or a
 * path of the host was done before by start.c; here are only async-signal-safe
 * calls, and each failure ends the child.
 */
#ifndef SANDBOX_ENTER_H
#define SANDBOX_ENTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/mounts.h"
#include "sandbox/rights.h"
#include "sandbox/seccomp.h"

enum enter_step {
	ENTER_NONE,
	ENTER_PARENT,
	ENTER_SESSION,
	ENTER_TERMINAL,
	ENTER_NETWORK,
	ENTER_CGROUP_NS,
	ENTER_HOSTNAME,
	ENTER_IPC,
	ENTER_MEMFD,
	ENTER_MOUNTS,
	ENTER_USER_NS,
	ENTER_LIMITS,
	ENTER_BOUNDING,
	ENTER_IDS,
	ENTER_CAPABILITIES,
	ENTER_VERIFY,
	ENTER_NO_NEW_PRIVS,
	ENTER_LANDLOCK,
	ENTER_DESCRIPTORS,
	ENTER_SECCOMP,
	ENTER_EXEC,
	ENTER_STEPS
};

/* What the child writes to the error pipe. */
struct enter_failure {
	uint32_t step;  /* enum enter_step */
	int32_t error;  /* positive errno */
};

struct enter {
	unsigned layers;
	bool is_apart; /* in a user namespace of its own, see plan.h */
	uid_t uid;
	gid_t gid;
	const char *hostname;
	/* the ceiling of System V shared memory; 0: there is no such object */
	uint64_t shared_pages;
	struct rights_limits limits;
	int last_capability;
	int abi; /* Landlock's */
	const struct mounts *mounts;
	const struct seccomp_program *seccomp;
	int host_proc_fd;    /* a /proc, for the sysctls of namespaces */
	int memfd_sysctl_fd; /* vm.memfd_noexec, open for writing, or -1 */
	int netns_fd;        /* to be joined, or 0 */
	bool has_internet;   /* TCP is not refused */
	int init_fd;         /* init's program */
	int init_sock, listen_fd;
	const int *secret_fds; /* INIT_SECRETS_MAX of them; 0: none */
	int terminal_fd;       /* to be the controlling one, or 0 */
	int error_fd;          /* write end */
	int alive_fd, alive_write_fd; /* the parent alone holds the write end */
	char *const *argv;     /* init's */
};

_Noreturn void enter_child(const struct enter *enter);

/* A static name for people, also for a number that is no step. */
const char *enter_step_name(uint32_t step);

#endif
