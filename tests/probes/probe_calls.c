/* Probes of single system calls: rare ones, those that would raise something,
 * and those that are not what their number says. */
#include "tests/probes/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Refused before it was looked at; where it was, the kernel's own code has the
 * word. */
static int
unheard(const char *what, long result)
{
	if (result < 0 && errno != EPERM && errno != ENOSYS)
		return judge(1, "%s: was looked at (%s)", what,
		    strerror(errno));
	return attempt(what, result);
}

int
probe_rare_calls(void)
{
	static const struct {
		const char *name;
		long number;
	} calls[] = {
#ifdef SYS_uselib
		{ "uselib", SYS_uselib },
#endif
#ifdef SYS_modify_ldt
		{ "modify_ldt", SYS_modify_ldt },
#endif
		{ "move_pages", SYS_move_pages }, { "mbind", SYS_mbind },
		{ "get_mempolicy", SYS_get_mempolicy },
		{ "set_mempolicy", SYS_set_mempolicy },
		{ "migrate_pages", SYS_migrate_pages },
		{ "remap_file_pages", SYS_remap_file_pages },
		{ "fanotify_init", SYS_fanotify_init },
		{ "memfd_secret", 447 }, { "process_mrelease", 448 },
		{ "kcmp", SYS_kcmp }, { "io_setup", SYS_io_setup },
		{ "mseal", 462 }, { "lsm_get_self_attr", 459 },
		{ "quotactl_fd", 443 }, { "fsopen", 430 }, { "fsconfig", 431 },
	};
	int holes = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		holes += unheard(calls[i].name,
		    syscall(calls[i].number, 0, 0, 0, 0, 0, 0));
	return holes;
}

/* A filter of its own with a listener would answer for a program that it
 * starts, and the kernel keeps one for each. */
int
probe_own_filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { 1, &allow };
	int holes = unheard("a filter with a listener", syscall(SYS_seccomp,
	    SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
	    &program));

	return holes + unheard("a filter by prctl",
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

int
probe_prctl(void)
{
	int holes = attempt("prctl(SET_SECUREBITS)",
	    prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS, 0, 0, 0));

	holes += attempt("prctl(CAP_AMBIENT_RAISE)", prctl(PR_CAP_AMBIENT,
	    PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
	holes += attempt("prctl(SET_MM)",
	    prctl(PR_SET_MM, PR_SET_MM_BRK, 0x10000, 0, 0));
	holes += attempt("prctl(SET_IO_FLUSHER)", prctl(57, 1, 0, 0, 0));
	holes += attempt("prctl(NO_NEW_PRIVS off)",
	    prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	return holes + attempt("prctl(MCE_KILL)",
	    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
}

/* ------------------------------------------------------------------- priority */

int
probe_priority(void)
{
	struct sched_param first = { .sched_priority = 1 };
	/* sched_setattr: SCHED_DEADLINE, of whose time there is so much */
	struct {
		unsigned size, policy;
		unsigned long flags;
		int nice;
		unsigned priority;
		unsigned long runtime, deadline, period;
	} deadline = { 48, 6, 0, 0, 0, 9000000, 10000000, 10000000 };
	int holes = attempt("SCHED_FIFO",
	    syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &first));

	holes += attempt("SCHED_RR",
	    syscall(SYS_sched_setscheduler, 0, SCHED_RR, &first));
	holes += attempt("SCHED_DEADLINE",
	    syscall(SYS_sched_setattr, 0, &deadline, 0));
	holes += attempt("nice -20", setpriority(PRIO_PROCESS, 0, -20));
	return holes + attempt("real-time input and output",
	    syscall(SYS_ioprio_set, 1, 0, 1 << 13));
}

/* --------------------------------------------------------------------- limits */

int
probe_raise_limits(void)
{
	static const struct {
		const char *name;
		int which;
		rlim_t most; /* it may have at all */
	} limits[] = {
		{ "core", RLIMIT_CORE, 1 },
		{ "files", RLIMIT_NOFILE, 4096 },
		{ "locked memory", RLIMIT_MEMLOCK, 65536 },
		{ "message queues", RLIMIT_MSGQUEUE, 0 },
		{ "real-time priority", RLIMIT_RTPRIO, 0 },
		{ "nice", RLIMIT_NICE, 0 },
		{ "signals", RLIMIT_SIGPENDING, 4096 },
		{ "file size", RLIMIT_FSIZE, (rlim_t)1 << 40 },
	};
	int holes = 0;

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		__rlimit_resource_t which = (__rlimit_resource_t)limits[i].which;
		struct rlimit limit;
		char what[64];

		if (getrlimit(which, &limit) != 0)
			continue;
		if (limit.rlim_max > limits[i].most)
			holes += judge(1, "%s: has no bound that counts",
			    limits[i].name);
		if (limit.rlim_max == RLIM_INFINITY)
			continue;
		limit.rlim_max++;
		limit.rlim_cur = limit.rlim_max;
		snprintf(what, sizeof(what), "raise: %s", limits[i].name);
		holes += attempt(what, setrlimit(which, &limit));
	}
	return holes;
}

/* ----------------------------------------------------- numbers that are others */

#if defined(__x86_64__)
#define HIGH 0x100000000L
#else
#define HIGH 0L
#endif

static void
unshare_by_high_bits(void)
{
	long result = syscall(HIGH | SYS_unshare, CLONE_NEWUSER);

	/* what is no call at all, to the kernel, is none to us */
	if (result >= 0)
		_exit(0);
}

static void
ptrace_by_high_bits(void)
{
	if (syscall(HIGH | SYS_ptrace, PTRACE_TRACEME, 0, 0, 0) >= 0)
		_exit(0);
}

int
probe_high_bits(void)
{
	int holes = attempt_in_child("unshare, with high bits in the number",
	    unshare_by_high_bits);

	return holes + attempt_in_child("ptrace, with high bits in the number",
	    ptrace_by_high_bits);
}

int
probe_page_zero(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return attempt("map page 0", page == MAP_FAILED ? -1 : 0);
}

/* ------------------------------------------------------------ queues, attributes */

int
probe_posix_queue(void)
{
	struct {
		long flags, most, size, now, pad[4];
	} attributes = { 0, 10, 8192, 0, { 0 } };
	long fd = syscall(SYS_mq_open, "probe", O_RDWR | O_CREAT, 0600,
	    &attributes);

	if (fd >= 0)
		syscall(SYS_mq_unlink, "probe");
	return attempt("a POSIX message queue", fd);
}

#define PEER_PIDFD 77 /* SO_PEERPIDFD */

int
probe_socket_options(void)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, 0xffffffff);
	struct sock_fprog program = { 1, &all };
	int pair[2], peer = -1, holes;
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	socklen_t size = sizeof(peer);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return judge(1, "no pair of sockets: %s", strerror(errno));
	holes = attempt("a packet filter on a socket", setsockopt(pair[0],
	    SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
	holes += attempt("the same, with high bits in the level", syscall(
	    SYS_setsockopt, pair[0], (1UL << 32) | SOL_SOCKET,
	    (1UL << 32) | SO_ATTACH_FILTER, &program, sizeof(program)));
	holes += attempt("a byte out of band", send(pair[0], &byte, 1, MSG_OOB));
	holes += attempt("the same, with high bits in the flags", syscall(
	    SYS_sendto, pair[0], &byte, 1, (1UL << 32) | MSG_OOB, NULL, 0));
	holes += attempt("a message out of band",
	    sendmsg(pair[0], &message, MSG_OOB));
	holes += attempt("a handle of the peer's process", getsockopt(pair[0],
	    SOL_SOCKET, PEER_PIDFD, &peer, &size));
	return holes;
}

/* Whoever closes such a socket last waits, and that is who was sent it. */
int
probe_linger(void)
{
	struct linger long_one = { 1, 3600 };
	int pair[2], holes;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return judge(1, "no pair of sockets: %s", strerror(errno));
	holes = attempt("a socket that lingers", setsockopt(pair[0],
	    SOL_SOCKET, SO_LINGER, &long_one, sizeof(long_one)));
	holes += attempt("the same, with high bits", syscall(SYS_setsockopt,
	    pair[0], (1UL << 32) | SOL_SOCKET, (1UL << 32) | SO_LINGER,
	    &long_one, sizeof(long_one)));
	return holes;
}

/* The machine has a store of them or not; what counts is that it is asked.  By
 * shmget the kernel refuses most itself (EPERM), but not who is in the group of
 * vm.hugetlb_shm_group: only what the filter says is taken for a refusal. */
int
probe_huge_pages(void)
{
	void *place = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int holes = unheard("mmap of huge pages", place == MAP_FAILED ? -1 : 0);
	int fd = memfd_create("probe", MFD_HUGETLB);
	int segment;

	if (fd >= 0) {
		place = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
		holes += judge(place != MAP_FAILED || errno == ENOMEM,
		    "a memfd of huge pages: %s", strerror(errno));
	} else {
		holes += unheard("a memfd of huge pages", fd);
	}
	segment = shmget(IPC_PRIVATE, 2 << 20, SHM_HUGETLB | IPC_CREAT | 0600);
	holes += judge(segment >= 0 || errno != ENOSYS,
	    "a segment of huge pages: %s", segment >= 0 ? "made" :
	    strerror(errno));
	if (segment >= 0)
		shmctl(segment, IPC_RMID, NULL);
	return holes;
}

/* Of a file that it may only read: all others would wait for the disk. */
int
probe_page_cache(void)
{
	int fd = open("/proc/self/exe", O_RDONLY), holes;

	if (fd < 0)
		return judge(1, "no file: %s", strerror(errno));
	holes = attempt("drop a program from the machine's memory",
	    syscall(SYS_fadvise64, fd, 0, 0, POSIX_FADV_DONTNEED));
	holes += attempt("the same, with high bits", syscall(SYS_fadvise64, fd,
	    0, 0, (1UL << 32) | POSIX_FADV_DONTNEED));
	close(fd);
	return holes;
}

/* By a socket there one instance would be given descriptors of another. */
int
probe_data_socket(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX,
		.sun_path = "/data/probe.sock" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), holes;

	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1)
		absent("Landlock");
	unlink(at.sun_path);
	holes = attempt("a socket in /data",
	    bind(fd, (struct sockaddr *)&at, sizeof(at)));
	unlink(at.sun_path);
	strcpy(at.sun_path, "/tmp/probe.sock");
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 && holes == 0)
		holes += judge(1, "none in /tmp either: %s", strerror(errno));
	unlink(at.sun_path);
	return holes;
}

static int
attributes_of(const char *path)
{
	static const char *const names[] = { "user.probe",
		"security.capability", "system.posix_acl_access",
		"trusted.overlay.redirect", "security.selinux" };
	int fd = open(path, O_CREAT | O_RDWR, 0700), holes = 0;

	if (fd < 0)
		return judge(0, "no file at %s", path);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char what[128];

		snprintf(what, sizeof(what), "%s on %s", names[i], path);
		holes += attempt(what, fsetxattr(fd, names[i], "x", 1, 0));
	}
	close(fd);
	unlink(path);
	return holes;
}

int
probe_attributes(void)
{
	int holes = attributes_of("/tmp/attributes");

	return holes + attributes_of("/data/attributes");
}
