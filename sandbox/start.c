#include "sandbox/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "sandbox/enter.h"
#include "sandbox/grave.h"
#include "sandbox/image.h"
#include "sandbox/landlock.h"
#include "sandbox/lend.h"
#include "sandbox/procfs.h"
#include "sandbox/seccomp_shrink.h"
#include "sandbox/tree.h"
#include "sandbox/userns.h"

#define ARGUMENTS_MAX 256
#define START_LIMIT_MS 5000
#define LOOK_MS 50 /* has somebody stopped it */
/* RLIMIT_NPROC counts over a tenant's instances, of which each has an init and a
 * program at least: a tenant with many functions must not stop itself. */
#define NPROC_INSTANCES 64

/* A filter for each combination of what a sandbox may have. */
enum { FILTER_TERMINAL = 1, FILTER_INTERNET = 2, FILTERS = 4 };

struct sandbox_host {
	struct image image;
	struct procfs_host proc;
	struct tree_watch watch;
	struct graves graves;
	struct seccomp_program seccomp[FILTERS]; /* but the first made at need */
	int abi; /* Landlock's; 0: none */
	int last_capability;
	int memfd_sysctl_fd;
	int init_fd;
	bool has_sysv; /* ceilings of System V objects can be set */
	struct lender *lender;
};

/* ------------------------------------------------------------------ the host */

/* A static program needs nothing of the sandbox; one that is not would fail at
 * every start with ENOENT. */
static int
open_init(const char *path, char *problem, size_t size)
{
	char magic[4];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		snprintf(problem, size, "%s: %s; is the installation complete?",
		    path, strerror(errno));
		return -1;
	}
	if (pread(fd, magic, 4, 0) != 4 || memcmp(magic, "\177ELF", 4) != 0 ||
	    faccessat(fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) != 0) {
		snprintf(problem, size, "%s is not an executable program", path);
		close(fd);
		return -1;
	}
	return fd;
}

/* Root makes a /proc and device files of his own; an ordinary user, in his user
 * namespace, has the machine's. */
static int
fit_to_user(struct sandbox_host *host, const char **step)
{
	host->has_sysv = true;
	if (!userns_is_single())
		return 0;
	host->has_sysv = userns_limits_ipc();
	host->image.is_users = true;
	*step = "/proc";
	host->proc.fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return host->proc.fd < 0 ? -errno : 0;
}

/* Few hosts ever need another than the first, so each is made once, when a start
 * asks for it. */
static int
compile_filter(struct sandbox_host *host, unsigned which)
{
	const struct seccomp_options options = {
		.has_memfd = host->memfd_sysctl_fd >= 0,
		.has_sysv = host->has_sysv,
		.has_terminal = which & FILTER_TERMINAL,
		.has_internet = which & FILTER_INTERNET,
	};
	int error;

	if (host->seccomp[which].code.filter != NULL)
		return 0;
	error = seccomp_compile(&host->seccomp[which], SECCOMP_FUNCTION,
	    &options);
	/* one that cannot be shortened costs each start more, and no more */
	if (error == 0)
		(void)seccomp_shrink(&host->seccomp[which].code);
	return error;
}

struct sandbox_host *
sandbox_host_new(const char *init_path, char *problem, size_t size)
{
	struct sandbox_host *host = calloc(1, sizeof(*host));
	const char *step = "";
	int error;

	if (host == NULL || (host->lender = lender_new()) == NULL) {
		snprintf(problem, size, "out of memory");
		free(host);
		return NULL;
	}
	host->image = (struct image)IMAGE_CLOSED;
	host->proc.fd = -1;
	tree_watch_open(&host->watch);
	host->memfd_sysctl_fd = open("/proc/sys/vm/memfd_noexec",
	    O_RDWR | O_CLOEXEC);
	host->init_fd = open_init(init_path, problem, size);
	if (host->init_fd < 0)
		goto out;
	error = image_open_host(&host->image, &step);
	if (error == 0)
		error = fit_to_user(host, &step);
	if (error != 0) {
		snprintf(problem, size, "cannot open %s: %s", step,
		    strerror(-error));
		goto out;
	}
	error = compile_filter(host, 0);
	if (error != 0) {
		snprintf(problem, size, "cannot compile the seccomp filter: %s",
		    strerror(-error));
		goto out;
	}
	host->abi = landlock_abi();
	host->last_capability = rights_last_capability();
	return host;
out:
	sandbox_host_free(host);
	return NULL;
}

void
sandbox_host_free(struct sandbox_host *host)
{
	if (host == NULL)
		return;
	lender_free(host->lender);
	image_close(&host->image);
	close_fd(&host->proc.fd);
	close_fd(&host->watch.fd);
	graves_close(&host->graves);
	for (unsigned i = 0; i < FILTERS; i++)
		seccomp_free(&host->seccomp[i]);
	close_fd(&host->memfd_sysctl_fd);
	close_fd(&host->init_fd);
	free(host);
}

unsigned
sandbox_host_layers(const struct sandbox_host *host)
{
	return host->abi > 0 ? LAYER_ALL : LAYER_ALL & ~(unsigned)LAYER_LANDLOCK;
}

/* ------------------------------------------------------------------- a start */

/*
 * Init kills every process that it sees when it cleans up, so there is no
 * sandbox without a pid namespace and a tree of its own.
 */
static const char *
check_plan(const struct sandbox_host *host, const struct sandbox_plan *plan)
{
	const unsigned needed = LAYER_PID | LAYER_MOUNT;

	if ((plan->layers & needed) != needed)
		return "plan: pid and mount namespaces cannot be left out";
	if ((plan->layers & LAYER_IDENTITY) && (plan->uid == 0 || plan->gid == 0))
		return "plan: a function never runs as root";
	if (plan->argv == NULL || plan->argv[0] == NULL)
		return "plan: no program";
	if (plan->network == SANDBOX_NETWORK_EGRESS && plan->netns_fd <= 0)
		return "plan: egress without a namespace";
	if (plan->bind_count > SANDBOX_BINDS_MAX)
		return "plan: too many binds";
	if ((plan->layers & LAYER_LANDLOCK) && host->abi == 0)
		return "landlock: not in this kernel";
	return NULL;
}

/* fcgi-host-init cgi|fastcgi [plain] [terminal] -- PROGRAM ARGUMENT… */
static int
make_arguments(const struct sandbox_plan *plan, const char **argv)
{
	size_t n = 0;

	argv[n++] = "fcgi-host-init";
	argv[n++] = plan->listen_fd >= 0 ? "fastcgi" : "cgi";
	if (!(plan->layers & LAYER_LANDLOCK))
		argv[n++] = "plain";
	if (plan->terminal_fd > 0)
		argv[n++] = "terminal";
	argv[n++] = "--";
	for (size_t i = 0; plan->argv[i] != NULL; i++) {
		if (n == ARGUMENTS_MAX - 1)
			return -E2BIG;
		argv[n++] = plan->argv[i];
	}
	argv[n] = NULL;
	return 0;
}

/* In a user namespace of its own an instance's processes are counted alone. */
static uint64_t
limit_of_processes(const struct sandbox_plan *plan)
{
	uint64_t least = plan->uid_processes;

	if (plan->is_processes_in_cgroup)
		return least;
	if (plan->is_apart && (least == 0 || plan->processes < least))
		return plan->processes;
	return least != 0 ? least : plan->processes * NPROC_INSTANCES;
}

static unsigned
filter_of(const struct sandbox_plan *plan)
{
	return (plan->terminal_fd > 0 ? (unsigned)FILTER_TERMINAL : 0) |
	    (plan->network != SANDBOX_NETWORK_NONE ?
	    (unsigned)FILTER_INTERNET : 0);
}

static void
fill_enter(struct enter *enter, const struct sandbox_host *host,
    const struct sandbox_plan *plan)
{
	enter->layers = plan->layers;
	enter->is_apart = plan->is_apart &&
	    (plan->layers & LAYER_IDENTITY) != 0;
	enter->uid = plan->uid;
	enter->gid = plan->gid;
	enter->hostname = plan->hostname != NULL ? plan->hostname : "fn";
	enter->shared_pages = host->has_sysv ?
	    plan->memory_bytes / 4096 + 1 : 0;
	enter->limits.data_bytes = plan->is_memory_in_cgroup ? 0 :
	    plan->memory_bytes;
	enter->limits.processes = limit_of_processes(plan);
	enter->limits.file_bytes = plan->file_bytes;
	enter->last_capability = host->last_capability;
	enter->abi = host->abi;
	enter->seccomp = &host->seccomp[filter_of(plan)];
	enter->memfd_sysctl_fd = host->memfd_sysctl_fd;
	enter->netns_fd = plan->netns_fd;
	enter->has_internet = plan->network != SANDBOX_NETWORK_NONE;
	enter->init_fd = host->init_fd;
	enter->init_sock = plan->init_sock;
	enter->listen_fd = plan->listen_fd;
	enter->secret_fds = plan->secret_fds;
	enter->terminal_fd = plan->terminal_fd;
}

static uint64_t
namespaces_of(const struct sandbox_plan *plan, const struct mounts *mounts)
{
	uint64_t flags = CLONE_NEWPID;

	/* of a kept tree the child takes a copy itself */
	if (mounts->ns_fd < 0)
		flags |= CLONE_NEWNS;
	if ((plan->layers & LAYER_NET) && plan->netns_fd <= 0)
		flags |= CLONE_NEWNET;
	if (plan->layers & LAYER_IPC)
		flags |= CLONE_NEWIPC;
	if (plan->layers & LAYER_UTS)
		flags |= CLONE_NEWUTS;
	return flags;
}

/*
 * A user namespace is entered only by who has his memory to himself.  And where
 * a child may be held up in the kernel for good, by a server behind a bind, its
 * parent must not sleep until it comes back; all else has just been opened by the
 * parent itself.
 */
static bool
may_lend(const struct sandbox_plan *plan)
{
	return !plan->is_apart && plan->bind_count == 0 &&
	    plan->network != SANDBOX_NETWORK_EGRESS;
}

static void
run_child(const void *enter)
{
	enter_child(enter);
}

/* *hold: it was killed, for it did not go on. */
static long
clone_child(const struct sandbox_host *host, const struct sandbox_plan *plan,
    const struct enter *enter, int *pidfd, enum lend_hold *hold)
{
	struct clone_args arguments = {
		.flags = CLONE_CLEAR_SIGHAND |
		    namespaces_of(plan, enter->mounts),
		.exit_signal = SIGCHLD,
	};
	long pid = -ENOTSUP;

	*hold = LEND_NOTHING;
	if ((plan->layers & LAYER_CGROUP) && plan->cgroup_fd >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = (unsigned)plan->cgroup_fd;
	}
	if (may_lend(plan)) {
		struct clone_args lent = arguments;

		pid = lend_clone(host->lender, &lent, run_child, enter,
		    START_LIMIT_MS, pidfd, hold);
	}
	if (pid != -ENOTSUP)
		return pid;
	arguments.flags |= CLONE_PIDFD;
	arguments.pidfd = (uint64_t)(uintptr_t)pidfd;
	pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0)
		enter_child(enter);
	return pid < 0 ? -errno : pid;
}

/* Until it says something or is gone, or what holds it up. */
static enum lend_hold
await_word(int error_fd, int pidfd)
{
	struct pollfd wait = { .fd = error_fd, .events = POLLIN };

	for (int waited_ms = 0; waited_ms < START_LIMIT_MS;
	    waited_ms += LOOK_MS) {
		int ready = poll(&wait, 1, LOOK_MS);

		if (ready > 0)
			return LEND_NOTHING;
		if (lend_is_stopped(pidfd))
			return LEND_STOP;
	}
	return LEND_TIME;
}

/*
 * The end of the pipe without a word is init's exec, unless the child died on
 * the way (killed by a filter, or out of memory), which its pidfd shows.
 */
static int
await_exec(int error_fd, enum lend_hold hold, struct sandbox_child *child)
{
	struct enter_failure failure;
	siginfo_t info = { .si_pid = 0 };
	ssize_t n;

	/* a `bind` of a server that does not answer would hold the spawner,
	 * and with it every tenant */
	if (hold == LEND_NOTHING)
		hold = await_word(error_fd, child->pidfd);
	if (hold == LEND_STOP) {
		child->failed_step = "child was stopped by a process of its uid";
		return -ECANCELED;
	}
	if (hold == LEND_TIME) {
		child->failed_step = "mounts, within 5 seconds";
		return -ETIMEDOUT;
	}
	do
		n = read(error_fd, &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(failure)) {
		child->failed_step = enter_step_name(failure.step);
		return failure.error > 0 ? -failure.error : -EIO;
	}
	if (n == 0 && (waitid(P_PIDFD, (id_t)child->pidfd, &info,
	                   WEXITED | WNOHANG | WNOWAIT) != 0 ||
	               info.si_pid == 0))
		return 0;
	child->failed_step = "child died before init";
	return -ECHILD;
}

static int
start_prepared(struct sandbox_host *host, const struct sandbox_plan *plan,
    struct enter *enter, struct sandbox_child *child)
{
	int error_pipe[2] = { -1, -1 }, alive_pipe[2] = { -1, -1 };
	enum lend_hold hold;
	int error = 0;
	long pid;

	child->failed_step = "pipes";
	if (pipe2(error_pipe, O_CLOEXEC) != 0 ||
	    pipe2(alive_pipe, O_CLOEXEC) != 0) {
		error = -errno;
		goto out;
	}
	enter->error_fd = error_pipe[1];
	enter->alive_fd = alive_pipe[0];
	enter->alive_write_fd = alive_pipe[1];
	child->failed_step = "clone3";
	pid = clone_child(host, plan, enter, &child->pidfd, &hold);
	if (pid < 0) {
		error = (int)pid;
		child->pidfd = -1;
		goto out;
	}
	child->pid = (pid_t)pid;
	close_fd(&error_pipe[1]);
	child->failed_step = NULL;
	error = await_exec(error_pipe[0], hold, child);
	if (error != 0) {
		graves_bury(&host->graves, &child->pidfd);
		child->pid = -1;
	}
out:
	for (int i = 0; i < 2; i++) {
		close_fd(&error_pipe[i]);
		close_fd(&alive_pipe[i]);
	}
	return error;
}

/* Binds may lie anywhere, also below what each sandbox has for itself. */
static int
prepare_tree(struct sandbox_host *host, const struct sandbox_plan *plan,
    struct mounts *mounts, const char **step)
{
	/* with egress resolv.conf may be another the next time */
	if (plan->tree == NULL || plan->bind_count > 0 || host->watch.fd < 0 ||
	    plan->network == SANDBOX_NETWORK_EGRESS)
		return mounts_prepare(mounts, &host->image, plan, step);
	return tree_prepare(plan->tree, &host->watch, &host->graves, mounts,
	    &host->image, plan, step);
}

int
sandbox_start(struct sandbox_host *host, const struct sandbox_plan *plan,
    struct sandbox_child *child)
{
	const char *argv[ARGUMENTS_MAX];
	struct enter enter = { 0 };
	struct mounts mounts;
	int error;

	graves_reap(&host->graves);
	child->pid = -1;
	child->pidfd = -1;
	child->failed_step = check_plan(host, plan);
	if (child->failed_step != NULL)
		return -EINVAL;
	child->failed_step = "plan: too many arguments";
	error = make_arguments(plan, argv);
	if (error != 0)
		return error;
	child->failed_step = "seccomp filter";
	error = compile_filter(host, filter_of(plan));
	if (error != 0)
		return error;
	error = prepare_tree(host, plan, &mounts, &child->failed_step);
	if (error != 0)
		return error;
	fill_enter(&enter, host, plan);
	enter.mounts = &mounts;
	enter.argv = (char *const *)argv;
	enter.host_proc_fd = procfs_host_fd(&host->proc);
	child->failed_step = "a /proc for sysctls";
	error = enter.host_proc_fd < 0 ? enter.host_proc_fd :
	    start_prepared(host, plan, &enter, child);
	mounts_release(&mounts);
	return error;
}
