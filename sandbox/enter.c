#include "sandbox/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/init_msg.h"
#include "sandbox/kernfile.h"
#include "sandbox/landlock.h"
#include "sandbox/plan.h"
#include "sandbox/slice.h"
#include "sandbox/userns.h"

/* Where the child's own descriptors stand for the exec. */
enum { ERROR_FD = INIT_SECRETS_FD + INIT_SECRETS_MAX, PROGRAM_FD, FD_COUNT };
/* Above all of those, so that none is overwritten on its way down. */
#define PARKING_FD 64

const char *
enter_step_name(uint32_t step)
{
	static const char *const names[ENTER_STEPS] = {
		[ENTER_NONE] = "none",
		[ENTER_PARENT] = "parent's life",
		[ENTER_SESSION] = "session",
		[ENTER_TERMINAL] = "terminal",
		[ENTER_NETWORK] = "network namespace",
		[ENTER_CGROUP_NS] = "cgroup namespace",
		[ENTER_HOSTNAME] = "host name",
		[ENTER_IPC] = "ipc ceilings",
		[ENTER_MEMFD] = "vm.memfd_noexec",
		[ENTER_MOUNTS] = "mounts",
		[ENTER_USER_NS] = "user namespace",
		[ENTER_LIMITS] = "resource limits",
		[ENTER_BOUNDING] = "bounding set",
		[ENTER_IDS] = "user and group ids",
		[ENTER_CAPABILITIES] = "capabilities",
		[ENTER_VERIFY] = "verification of rights",
		[ENTER_NO_NEW_PRIVS] = "no_new_privs",
		[ENTER_LANDLOCK] = "landlock",
		[ENTER_DESCRIPTORS] = "descriptors",
		[ENTER_SECCOMP] = "seccomp",
		[ENTER_EXEC] = "exec of init",
	};

	return step < ENTER_STEPS ? names[step] : "unknown";
}

/* error_fd moves while the child goes on, so it is a parameter. */
static _Noreturn void
fail(int error_fd, enum enter_step step, int error)
{
	struct enter_failure failure = { step, error < 0 ? -error : error };
	ssize_t n = write(error_fd, &failure, sizeof(failure));

	(void)n; /* the parent sees the end of the pipe and our exit */
	_exit(127);
}

static void
must(const struct enter *enter, enum enter_step step, int error)
{
	if (error != 0)
		fail(enter->error_fd, step, error);
}

/*
 * getppid is 0 across a pid namespace, so the parent's life shows in a pipe
 * whose other end only it holds; the signal covers what comes later.
 */
static int
follow_parent(const struct enter *enter)
{
	struct pollfd alive = { enter->alive_fd, POLLIN, 0 };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return -errno;
	if (poll(&alive, 1, 0) < 0)
		return -errno;
	return alive.revents != 0 ? -ESRCH : 0;
}

static int
start_session(void)
{
	sigset_t none;

	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) != 0 || setsid() < 0)
		return -errno;
	umask(022);
	return 0;
}

/* System V objects are kernel memory outside /tmp's and the process's limits:
 * the namespace's own ceilings bound them. */
static int
limit_ipc(const struct enter *enter)
{
	const int proc_fd = enter->host_proc_fd;
	char pages[24];
	int error;

	(void)kernfile_number(pages, enter->shared_pages);
	error = kernfile_write(proc_fd, "sys/kernel/shmall", pages);
	if (error == 0)
		error = kernfile_write(proc_fd, "sys/kernel/shmmni", "64");
	if (error == 0)
		error = kernfile_write(proc_fd, "sys/kernel/msgmni", "16");
	if (error == 0)
		error = kernfile_write(proc_fd, "sys/kernel/sem", "250 4000 32 64");
	return error;
}

/*
 * The value counts for the pid namespace of the writer.  At position 0, always:
 * the descriptor is shared by all starts, and the kernel swallows a write at any
 * other position without an error.  So it is read back, too.
 */
static int
forbid_memfd_exec(int fd)
{
	char value = 0;

	if (pwrite(fd, "2", 1, 0) != 1 || pread(fd, &value, 1, 0) != 1)
		return errno != 0 ? -errno : -EIO;
	return value == '2' ? 0 : -EPERM;
}

static void
enter_namespaces(const struct enter *enter)
{
	if ((enter->layers & LAYER_NET) && enter->netns_fd > 0 &&
	    setns(enter->netns_fd, CLONE_NEWNET) != 0)
		fail(enter->error_fd, ENTER_NETWORK, errno);
	/* Here and not in clone: its root is the leaf that clone put us in. */
	if ((enter->layers & LAYER_CGROUP_NS) && unshare(CLONE_NEWCGROUP) != 0)
		fail(enter->error_fd, ENTER_CGROUP_NS, errno);
	if ((enter->layers & LAYER_UTS) &&
	    sethostname(enter->hostname, strlen(enter->hostname)) != 0)
		fail(enter->error_fd, ENTER_HOSTNAME, errno);
	if ((enter->layers & LAYER_IPC) && enter->shared_pages != 0)
		must(enter, ENTER_IPC, limit_ipc(enter));
	if ((enter->layers & LAYER_MEMFD_NOEXEC) && enter->memfd_sysctl_fd >= 0)
		must(enter, ENTER_MEMFD,
		    forbid_memfd_exec(enter->memfd_sysctl_fd));
}

/*
 * What was made so far belongs to the namespace above, in which this process has
 * no right from here on, even if it won back all that it has in its own.  The
 * score is set here, since afterwards nobody but root may: init is not dumpable.
 */
static void
set_apart(const struct enter *enter, int proc_fd)
{
	(void)kernfile_write(proc_fd, "self/oom_score_adj", SANDBOX_OOM_SCORE);
	must(enter, ENTER_USER_NS,
	    userns_apart(proc_fd, enter->uid, enter->gid));
}

static void
take_ids(const struct enter *enter)
{
	if (!enter->is_apart)
		must(enter, ENTER_IDS, rights_drop_groups());
	must(enter, ENTER_IDS, rights_take_ids(enter->uid, enter->gid));
}

static void
verify_ids(const struct enter *enter)
{
	if (!enter->is_apart)
		must(enter, ENTER_VERIFY, rights_verify_groups());
	must(enter, ENTER_VERIFY, rights_verify_ids(enter->uid, enter->gid));
}

static void
drop_rights(const struct enter *enter)
{
	const bool has_ids = enter->layers & LAYER_IDENTITY;
	const bool has_capabilities = enter->layers & LAYER_CAPABILITIES;

	if (enter->layers & LAYER_RLIMITS)
		must(enter, ENTER_LIMITS, rights_limit(&enter->limits));
	if (has_capabilities) {
		must(enter, ENTER_BOUNDING, rights_lock_securebits());
		must(enter, ENTER_BOUNDING,
		    rights_empty_bounding(enter->last_capability));
	}
	if (has_ids)
		take_ids(enter);
	if (has_capabilities)
		must(enter, ENTER_CAPABILITIES, rights_empty_capabilities());
	if (has_ids)
		verify_ids(enter);
	if (has_capabilities)
		must(enter, ENTER_VERIFY,
		    rights_verify_capabilities(enter->last_capability));
	/* A change of uid takes the parent-death signal away. */
	must(enter, ENTER_PARENT, follow_parent(enter));
	if (enter->layers & LAYER_NO_NEW_PRIVS)
		must(enter, ENTER_NO_NEW_PRIVS, rights_no_new_privs());
}

static unsigned
use_of(enum mounts_use use)
{
	switch (use) {
	case MOUNTS_USE_RUN:
		return LANDLOCK_USE_READ | LANDLOCK_USE_EXECUTE;
	case MOUNTS_USE_WRITE:
		return LANDLOCK_USE_READ | LANDLOCK_USE_WRITE;
	case MOUNTS_USE_KEEP:
		return LANDLOCK_USE_READ | LANDLOCK_USE_KEEP;
	case MOUNTS_USE_DEVICE:
		return LANDLOCK_USE_READ | LANDLOCK_USE_REWRITE;
	case MOUNTS_USE_READ:
		return LANDLOCK_USE_READ;
	case MOUNTS_USE_NONE:
		break;
	}
	return 0;
}

static int
allow_tree(const struct enter *enter, int ruleset)
{
	const struct mounts *mounts = enter->mounts;
	int error = 0;

	for (size_t i = 0; i < mounts->count && error == 0; i++) {
		const struct mounts_item *item = &mounts->item[i];
		unsigned use = use_of(item->use);

		if (use != 0)
			error = landlock_allow_path(ruleset, enter->abi,
			    item->path, use, item->is_folder);
	}
	if (error == 0)
		error = landlock_allow_path(ruleset, enter->abi, "/etc",
		    LANDLOCK_USE_READ, true);
	if (error == 0)
		error = landlock_allow_path(ruleset, enter->abi, "/proc",
		    LANDLOCK_USE_READ, true);
	/* Every folder of the tree may be listed: there is nothing secret in
	 * its names, and programs look around. */
	if (error == 0)
		error = landlock_allow_path(ruleset, enter->abi, "/",
		    LANDLOCK_USE_LIST, true);
	return error;
}

/* Init lies outside the tree and its /proc is mounted nowhere: both are rules
 * of their own, on things that no program can name. */
static int
enter_landlock(const struct enter *enter, int proc_fd)
{
	int ruleset = landlock_new(enter->abi, enter->has_internet);
	int error;

	if (ruleset < 0)
		return ruleset;
	error = allow_tree(enter, ruleset);
	if (error == 0)
		error = landlock_allow(ruleset, enter->abi, enter->init_fd,
		    LANDLOCK_USE_READ | LANDLOCK_USE_EXECUTE, false);
	if (error == 0)
		error = landlock_allow(ruleset, enter->abi, proc_fd,
		    LANDLOCK_USE_READ | LANDLOCK_USE_REWRITE, true);
	if (error == 0)
		error = landlock_restrict(ruleset);
	close(ruleset);
	return error;
}

/*
 * 0–2 /dev/null, 3 the socket, 4 the listening socket or nothing, 5 init's
 * /proc, 6–8 secrets or nothing, 9 the error pipe, 10 the program; these two end
 * at exec.
 */
static void
place_descriptors(const struct enter *enter, int proc_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int wanted[FD_COUNT] = { null, null, null, enter->init_sock,
		enter->listen_fd, proc_fd, [ERROR_FD] = enter->error_fd,
		[PROGRAM_FD] = enter->init_fd };
	int parked[FD_COUNT];

	for (int i = 0; i < INIT_SECRETS_MAX; i++)
		wanted[INIT_SECRETS_FD + i] = enter->secret_fds[i] > 0 ?
		    enter->secret_fds[i] : -1;

	if (null < 0)
		fail(enter->error_fd, ENTER_DESCRIPTORS, errno);
	for (int i = 0; i < FD_COUNT; i++) {
		parked[i] = wanted[i] < 0 ? -1 :
		    fcntl(wanted[i], F_DUPFD, PARKING_FD);
		/* EINVAL: the limit lies below the parking place. */
		if (wanted[i] >= 0 && parked[i] < 0)
			fail(enter->error_fd, ENTER_DESCRIPTORS,
			    errno == EINVAL ? EMFILE : errno);
	}
	for (int i = 0; i < FD_COUNT; i++) {
		if (parked[i] < 0)
			close(i);
		else if (dup3(parked[i], i, i < ERROR_FD ? 0 : O_CLOEXEC) < 0)
			fail(parked[ERROR_FD], ENTER_DESCRIPTORS, errno);
	}
	if (syscall(SYS_close_range, FD_COUNT, ~0U, 0) != 0)
		fail(ERROR_FD, ENTER_DESCRIPTORS, errno);
	if ((enter->layers & LAYER_RLIMITS) &&
	    rights_limit_files(RIGHTS_FILES) != 0)
		fail(ERROR_FD, ENTER_DESCRIPTORS, EPERM);
}

void
enter_child(const struct enter *enter)
{
	static char *const no_environment[] = { NULL };
	int proc_fd = -1;
	int error;

	close(enter->alive_write_fd);
	must(enter, ENTER_PARENT, follow_parent(enter));
	must(enter, ENTER_SESSION, start_session());
	/* Now, since no program of a sandbox may take a terminal by itself. */
	if (enter->terminal_fd > 0 && ioctl(enter->terminal_fd, TIOCSCTTY, 0) != 0)
		fail(enter->error_fd, ENTER_TERMINAL, errno);
	(void)slice_set(SLICE_FUNCTION_US); /* older kernels know none */
	enter_namespaces(enter);
	must(enter, ENTER_MOUNTS, mounts_enter(enter->mounts, &proc_fd));
	if (enter->is_apart)
		set_apart(enter, proc_fd);
	drop_rights(enter);
	if (enter->layers & LAYER_LANDLOCK)
		must(enter, ENTER_LANDLOCK, enter_landlock(enter, proc_fd));
	place_descriptors(enter, proc_fd);
	if (enter->layers & LAYER_SECCOMP) {
		error = seccomp_enter(enter->seccomp);
		if (error != 0)
			fail(ERROR_FD, ENTER_SECCOMP, error);
	}
	syscall(SYS_execveat, PROGRAM_FD, "", enter->argv, no_environment,
	    AT_EMPTY_PATH);
	fail(ERROR_FD, ENTER_EXEC, errno);
}
