/*
 * What an instance's sandbox is to be, and the making of it.  A plan holds
 * only descriptors that were resolved beforehand, numbers, and strings of the
 * administrator or of the strict name pattern: nothing that a web client or a
 * tenant wrote.  The spawner makes plans; enter.c carries them out in the
 * child, in the order that SANDBOX in docs/ gives, and fails closed.
 */
#ifndef SANDBOX_PLAN_H
#define SANDBOX_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/cgroup.h"
#include "sandbox/init_msg.h"

/* Layers, one bit each.  Switched off only by tests and by `require`'s report. */
enum sandbox_layer {
	LAYER_MOUNT = 1 << 0, /* mount namespace and fresh root */
	LAYER_PID = 1 << 1,
	LAYER_NET = 1 << 2,
	LAYER_IPC = 1 << 3,
	LAYER_UTS = 1 << 4,
	LAYER_CGROUP_NS = 1 << 5,
	LAYER_IDENTITY = 1 << 6, /* uid, gid, groups */
	LAYER_CAPABILITIES = 1 << 7,
	LAYER_NO_NEW_PRIVS = 1 << 8,
	LAYER_LANDLOCK = 1 << 9,
	LAYER_SECCOMP = 1 << 10,
	LAYER_RLIMITS = 1 << 11,
	LAYER_CGROUP = 1 << 12, /* a leaf with whatever controllers there are */
	LAYER_MEMFD_NOEXEC = 1 << 13,
	LAYER_ALL = (1 << 14) - 1
};

/* What sockets a program may make; how far they reach is the namespace's to say. */
enum sandbox_network {
	SANDBOX_NETWORK_NONE,    /* AF_UNIX */
	SANDBOX_NETWORK_LOOPBACK, /* TCP and UDP as well */
	SANDBOX_NETWORK_EGRESS   /* the same, and names are resolved */
};

struct image;

#define SANDBOX_BINDS_MAX 32
#define SANDBOX_FN_DIR "/fn"
/* When the machine runs out of memory, functions go before the host. */
#define SANDBOX_OOM_SCORE "500"

struct sandbox_bind {
	int fd; /* O_PATH, of the host's file or directory */
	const char *path; /* where it stands in the sandbox, absolute */
	bool is_writable;
};

struct sandbox_tree;

struct sandbox_plan {
	unsigned layers;
	/* The ids are those of a user namespace of its own, since the host's
	 * has no second one; see userns.h. */
	bool is_apart;
	uid_t uid;
	gid_t gid;
	const char *hostname;
	const struct image *image; /* NULL: programs are the host's */
	int function_fd; /* O_PATH: the file, or the folder */
	bool function_is_folder;
	/* the file's name below SANDBOX_FN_DIR: "resize.py", "main.py" */
	const char *function_file;
	int data_fd; /* O_PATH of the tenant's /data, or -1 */
	struct sandbox_bind binds[SANDBOX_BINDS_MAX];
	size_t bind_count;
	uint64_t memory_bytes, tmp_bytes, processes;
	/* RLIMIT_NPROC, which the kernel counts over all instances of the uid;
	 * 0: none where the cgroup bounds processes, else sixty-four times
	 * `processes` */
	uint64_t uid_processes;
	uint64_t file_bytes; /* the largest file that it writes; 0: 1 GiB */
	bool is_memory_in_cgroup; /* else RLIMIT_DATA stands in for it */
	bool is_processes_in_cgroup; /* else RLIMIT_NPROC does */
	int cgroup_fd; /* the leaf, or -1 */
	/* a network namespace to join; 0: one of its own (a kept one is never
	 * descriptor 0) */
	int netns_fd;
	enum sandbox_network network;
	const char *resolv_conf; /* the text of /etc/resolv.conf; NULL: none */
	int init_sock; /* init's end of its socket; init's fd 3 */
	int listen_fd; /* the program's fd 0, or -1: CGI */
	/* the `env_file`s of tenant, sidecar and function, for init to read; 0:
	 * there is none (a kept one is never descriptor 0) */
	int secret_fds[INIT_SECRETS_MAX];
	/*
	 * A terminal that a person sits at (by way of a pair): it becomes the
	 * controlling one of the session, and the filter lets a shell set it.
	 * 0: none, as for every function.
	 */
	int terminal_fd;
	char *const *argv; /* the program's, with "%f" already replaced */
	struct sandbox_tree *tree; /* the function's, or NULL: none is kept */
};

struct sandbox_child {
	pid_t pid;
	int pidfd;
	/* when sandbox_start failed: static, or the path of one of the plan's
	 * binds, which finds no place in the sandbox */
	const char *failed_step;
};

/*
 * What is opened, probed and compiled once: the host's /usr and /etc files as
 * descriptors, the seccomp program, Landlock's ABI, init's binary.
 * NULL with a sentence in problem.  init_path: the static init.
 */
struct sandbox_host;
struct sandbox_host *sandbox_host_new(const char *init_path, char *problem,
    size_t size);
void sandbox_host_free(struct sandbox_host *host);
/* LAYER_ALL less what this kernel cannot do at all (today: Landlock, where it is
 * missing).  A plan that asks for a layer outside of this is refused; leaving
 * one out is the caller's to say aloud. */
unsigned sandbox_host_layers(const struct sandbox_host *host);

/*
 * What the trees of one function's sandboxes have in common, kept from its
 * second start on (see tree.h); empty at first.  NULL: no memory.
 */
struct sandbox_tree *sandbox_tree_new(void);
void sandbox_tree_free(struct sandbox_tree *tree);

/*
 * Starts init in a finished sandbox; returns when init has been exec'd (the
 * error pipe closed) or a step failed.  0, or a negative errno with
 * child->failed_step set and no process left.  Blocks for a few milliseconds.
 */
int sandbox_start(struct sandbox_host *host, const struct sandbox_plan *plan,
    struct sandbox_child *child);

/* One layer's state on this machine, for `check` and `require`. */
struct sandbox_probe {
	unsigned layer;
	const char *name; /* "landlock", as `require` spells it */
	bool is_on;
	char fact[640]; /* "ABI 7: …", or why not and the mend */
};
/* Fills up to max; returns how many.  parent may be NULL (not opened). */
size_t sandbox_probe(const struct cgroup_parent *parent,
    struct sandbox_probe *out, size_t max);
/* The layer's bit, or 0. */
unsigned sandbox_layer_by_name(const char *name);

#endif
