/* What of each layer this machine has: tried, not read from a version. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/landlock.h"
#include "sandbox/netns.h"
#include "sandbox/plan.h"
#include "sandbox/rights.h"
#include "sandbox/seccomp.h"
#include "sandbox/userns.h"

static const struct {
	unsigned layer;
	const char *name;
} layers[] = {
	{ LAYER_MOUNT, "mount" },
	{ LAYER_PID, "pid" },
	{ LAYER_NET, "net" },
	{ LAYER_IPC, "ipc" },
	{ LAYER_UTS, "uts" },
	{ LAYER_CGROUP_NS, "cgroup_ns" },
	{ LAYER_IDENTITY, "identity" },
	{ LAYER_CAPABILITIES, "capabilities" },
	{ LAYER_NO_NEW_PRIVS, "no_new_privs" },
	{ LAYER_LANDLOCK, "landlock" },
	{ LAYER_SECCOMP, "seccomp" },
	{ LAYER_RLIMITS, "rlimits" },
	{ LAYER_CGROUP, "cgroup" },
	{ LAYER_MEMFD_NOEXEC, "memfd_noexec" },
};
#define LAYER_COUNT (sizeof(layers) / sizeof(layers[0]))

unsigned
sandbox_layer_by_name(const char *name)
{
	for (size_t i = 0; i < LAYER_COUNT; i++) {
		if (strcmp(name, layers[i].name) == 0)
			return layers[i].layer;
	}
	return 0;
}

static void __attribute__((format(printf, 3, 4)))
say(struct sandbox_probe *probe, bool is_on, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(probe->fact, sizeof(probe->fact), format, arguments);
	va_end(arguments);
	probe->is_on = is_on;
}

/* A child that ends at once in a namespace of the kind.  0 or errno. */
static int
try_namespace(uint64_t flag)
{
	struct clone_args arguments = { .flags = flag | CLONE_CLEAR_SIGHAND,
		.exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	int status;

	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return errno;
	while (waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return 0;
}

/* How many of them the kernel allows, or 0: it does not say. */
static unsigned long
namespaces_max(const char *kind)
{
	char path[64], text[24] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", kind);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtoul(text, NULL, 10);
}

static const struct namespace_kind {
	unsigned layer;
	uint64_t flag;
	const char *kind; /* as in user.max_KIND_namespaces */
	const char *what;
} namespaces[] = {
	{ LAYER_MOUNT, CLONE_NEWNS, "mnt", "a fresh read-only root in a mount "
	    "namespace, mounts by descriptor" },
	{ LAYER_PID, CLONE_NEWPID, "pid", "a namespace of its own" },
	{ LAYER_NET, CLONE_NEWNET, "net", "a namespace of its own" },
	{ LAYER_IPC, CLONE_NEWIPC, "ipc", "a namespace of its own" },
	{ LAYER_UTS, CLONE_NEWUTS, "uts", "a namespace of its own" },
	{ LAYER_CGROUP_NS, CLONE_NEWCGROUP, "cgroup", "a namespace of its own" },
};
#define NAMESPACE_COUNT (sizeof(namespaces) / sizeof(namespaces[0]))

static void
probe_namespace(struct sandbox_probe *probe, const struct namespace_kind *kind)
{
	int error = try_namespace(kind->flag);

	if (error == 0)
		say(probe, true, "%s; user.max_%s_namespaces is %lu",
		    kind->what, kind->kind, namespaces_max(kind->kind));
	else if (error == EPERM)
		say(probe, false, "not permitted: start as root");
	else
		say(probe, false, "%s: the kernel has no such namespace, or "
		    "user.max_%s_namespaces, %lu, is used up",
		    strerror(error), kind->kind, namespaces_max(kind->kind));
}

/* With a loopback it can be had by way of a user namespace only. */
static void
probe_net(struct sandbox_probe *probe, const struct namespace_kind *kind)
{
	size_t length;
	int fd;

	probe_namespace(probe, kind);
	if (!probe->is_on)
		return;
	length = strlen(probe->fact);
	fd = netns_new_loopback();
	if (fd < 0)
		snprintf(probe->fact + length, sizeof(probe->fact) - length,
		    "; network = loopback cannot be had: %s, "
		    "user.max_user_namespaces is %lu", strerror(-fd),
		    namespaces_max("user"));
	else
		close(fd);
}

static void
probe_mount(struct sandbox_probe *probe, const struct namespace_kind *kind)
{
	int fd;

	probe_namespace(probe, kind);
	if (!probe->is_on)
		return;
	fd = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (fd < 0)
		say(probe, false, "mounts by descriptor: %s; Linux 5.12 or "
		    "newer and CAP_SYS_ADMIN are needed", strerror(errno));
	else
		close(fd);
}

static void
probe_ipc(struct sandbox_probe *probe, const struct namespace_kind *kind)
{
	probe_namespace(probe, kind);
	if (probe->is_on && userns_is_single() && !userns_limits_ipc())
		say(probe, true, "%s; System V calls are refused, since before "
		    "Linux 6.8 only root can set their ceilings", kind->what);
}

/* False: the layer is none of them. */
static bool
probe_namespaces(struct sandbox_probe *probe)
{
	size_t i = 0;

	while (i < NAMESPACE_COUNT && namespaces[i].layer != probe->layer)
		i++;
	if (i == NAMESPACE_COUNT)
		return false;
	(probe->layer == LAYER_MOUNT ? probe_mount :
	    probe->layer == LAYER_IPC ? probe_ipc :
	    probe->layer == LAYER_NET ? probe_net : probe_namespace)(probe,
	    &namespaces[i]);
	return true;
}

static bool
has_capability(cap_value_t value)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t flag = CAP_CLEAR;

	if (caps == NULL)
		return false;
	cap_get_flag(caps, value, CAP_EFFECTIVE, &flag);
	cap_free(caps);
	return flag == CAP_SET;
}

static void
probe_identity(struct sandbox_probe *probe)
{
	bool is_on = has_capability(CAP_SETUID) && has_capability(CAP_SETGID);
	int groups = getgroups(0, NULL);

	if (userns_is_single()) {
		say(probe, false, "an ordinary user's host: to the machine the "
		    "host and all tenants are that user%s; only mounts and "
		    "namespaces keep them apart, so let tenants in who trust "
		    "each other, or start as root", groups <= 0 ? "" :
		    ", with his other groups, which he cannot put off");
		return;
	}
	say(probe, is_on, "%s", is_on ? "a user id for every tenant; "
	    "CAP_SETUID and CAP_SETGID are held" : "all tenants run as one user: start as root");
}

static void
probe_capabilities(struct sandbox_probe *probe)
{
	bool is_on = has_capability(CAP_SETPCAP);

	say(probe, is_on, is_on ? "all five sets emptied (0 to %d); "
	    "CAP_SETPCAP is held" :
	    "the bounding set (0 to %d) cannot be emptied: start as root",
	    (int)cap_max_bits() - 1);
}

static void
probe_landlock(struct sandbox_probe *probe)
{
	int abi = landlock_abi();

	if (abi == 0)
		say(probe, false, errno == EOPNOTSUPP ?
		    "switched off: add landlock to the kernel's lsm= list" :
		    "not in this kernel: Linux 5.13 or newer with "
		    "CONFIG_SECURITY_LANDLOCK");
	else
		say(probe, true, "ABI %d: %s", abi, abi >= 6 ?
		    "files, TCP, abstract sockets, signals" : abi >= 4 ?
		    "files, TCP; abstract sockets and signals from ABI 6 "
		    "(Linux 6.12)" : "files; TCP from ABI 4 (Linux 6.7), "
		    "abstract sockets and signals from ABI 6 (Linux 6.12)");
}

static void
probe_seccomp(struct sandbox_probe *probe)
{
	bool is_on = seccomp_is_there();

	say(probe, is_on, "%s", is_on ?
	    "an allow-list; the kernel has filters that kill the process" :
	    "not in this kernel: CONFIG_SECCOMP_FILTER");
}

/*
 * What stands in for the controllers that are missing, and what that is not
 * worth: nobody is to believe in a ceiling that is not there.
 */
static void
say_stand_ins(struct sandbox_probe *probe, bool has_memory, bool has_pids,
    bool has_cpu)
{
	const struct {
		bool is_missing;
		const char *text;
	} all[] = {
		{ !has_memory, "memory by RLIMIT_DATA of each process, which "
		    "is neither their sum nor shared memory" },
		{ !has_pids, userns_is_single() ? "processes by RLIMIT_NPROC "
		    "of each instance" : "processes by RLIMIT_NPROC of a "
		    "tenant's instances together" },
		{ !has_cpu, "cpu by nothing" },
	};
	const char *joint = "; bounded instead: ";

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		size_t n = strlen(probe->fact);

		if (!all[i].is_missing)
			continue;
		(void)snprintf(probe->fact + n, sizeof(probe->fact) - n,
		    "%s%s", joint, all[i].text);
		joint = ", ";
	}
}

static void
probe_cgroup(struct sandbox_probe *probe, const struct cgroup_parent *parent)
{
	if (parent == NULL || parent->fd < 0) {
		say(probe, false, "%s", parent != NULL &&
		    parent->reason[0] != '\0' ? parent->reason :
		    "not looked at: the host makes it when it starts");
		if (parent != NULL)
			say_stand_ins(probe, false, false, false);
		return;
	}
	say(probe, parent->has_memory && parent->has_pids,
	    "cgroup v2 at %s%s: cpu.stat and kill, memory %s, pids %s, "
	    "cpu %s%s%s", parent->mount, parent->path, parent->has_memory ? "on" : "off", parent->has_pids ? "on" : "off",
	    parent->has_cpu ? "on" : "off",
	    parent->reason[0] != '\0' ? "; " : "", parent->reason);
	say_stand_ins(probe, parent->has_memory, parent->has_pids,
	    parent->has_cpu);
}

static void
probe_memfd(struct sandbox_probe *probe)
{
	bool has_sysctl = access("/proc/sys/vm/memfd_noexec", W_OK) == 0;
	struct utsname name;

	if (uname(&name) != 0)
		strcpy(name.release, "?");
	/* Either way no memfd can be executed. */
	say(probe, true, "Linux %s: %s", name.release, has_sysctl ?
	    "vm.memfd_noexec = 2 in every instance" :
	    access("/proc/sys/vm/memfd_noexec", F_OK) == 0 ?
	    "memfd_create refused by seccomp; vm.memfd_noexec is root's" :
	    "memfd_create refused by seccomp; 6.3 has vm.memfd_noexec");
}

static void
probe_rlimits(struct sandbox_probe *probe)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		files.rlim_max = 0;
	say(probe, true, "%d files, 1 GiB a file, no locked memory, no core; "
	    "the hard limit of files is %llu here", RIGHTS_FILES,
	    (unsigned long long)files.rlim_max);
}

static void
probe_one(struct sandbox_probe *probe, const struct cgroup_parent *parent)
{
	if (probe_namespaces(probe))
		return;
	switch (probe->layer) {
	case LAYER_IDENTITY:
		probe_identity(probe);
		break;
	case LAYER_CAPABILITIES:
		probe_capabilities(probe);
		break;
	case LAYER_LANDLOCK:
		probe_landlock(probe);
		break;
	case LAYER_SECCOMP:
		probe_seccomp(probe);
		break;
	case LAYER_CGROUP:
		probe_cgroup(probe, parent);
		break;
	case LAYER_MEMFD_NOEXEC:
		probe_memfd(probe);
		break;
	case LAYER_NO_NEW_PRIVS:
		say(probe, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0,
		    "setuid files change nothing, by prctl(2)");
		break;
	default:
		probe_rlimits(probe);
		break;
	}
}

size_t
sandbox_probe(const struct cgroup_parent *parent, struct sandbox_probe *out,
    size_t max)
{
	size_t n = max < LAYER_COUNT ? max : LAYER_COUNT;

	for (size_t i = 0; i < n; i++) {
		out[i].layer = layers[i].layer;
		out[i].name = layers[i].name;
		out[i].fact[0] = '\0';
		probe_one(&out[i], parent);
	}
	return n;
}
