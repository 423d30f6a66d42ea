/*
 * What a spawner that has become somebody else's can still ask of the kernel:
 * each deed is tried in a child with the spawner's own rights, once by its
 * capabilities alone and once behind its filter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/privileges.h"
#include "fcgi-host/sock.h"
#include "sandbox/seccomp.h"

#define KILLED 1000

static char base[] = "/tmp/privileges.XXXXXX";

/* Negative: not done, and errno says why. */
typedef long deed(void); /* no struct: a row of the table below */

/* The errno, 0 for done, or KILLED and the signal. */
static int
try(deed *act, bool has_filter)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		char problem[512] = "";

		if (privileges_shrink(problem, sizeof(problem)) != 0 ||
		    (has_filter &&
		        privileges_filter(problem, sizeof(problem)) != 0)) {
			fprintf(stderr, "%s\n", problem);
			_exit(200);
		}
		errno = 0;
		_exit(act() < 0 ? (errno != 0 ? errno : 199) : 0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) :
	    KILLED + WTERMSIG(status);
}

/* -------------------------------------------------------------------- deeds */

static long
make_bpf_map(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4,
		.value_size = 4, .max_entries = 1 };

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static long
count_events(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr), .config = PERF_COUNT_SW_TASK_CLOCK };

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static long
make_ring(void)
{
	char parameters[256] = { 0 };

	return syscall(SYS_io_uring_setup, 1, parameters);
}

static long
handle_faults(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC);
}

static long
watch_the_machine(void)
{
	return syscall(SYS_fanotify_init, FAN_CLASS_NOTIF, O_RDONLY);
}

static long
look_at_keys(void)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID,
	    KEY_SPEC_SESSION_KEYRING, 0);
}

static __attribute__((unused)) long
be_traced(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long
read_memory(void)
{
	char from[1] = "x", to[1];
	struct iovec local = { to, 1 }, remote = { from, 1 };

	return syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1,
	    0);
}

static long
take_descriptor(void)
{
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	return syscall(SYS_pidfd_getfd, self, 0, 0);
}

static long
open_by_number(void)
{
	struct { struct file_handle head; char bytes[128]; } handle = {
		.head.handle_bytes = 8 };

	return open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY);
}

static long
load_kernel(void)
{
	return syscall(SYS_kexec_load, 0, 0, NULL, 0);
}

static long
load_module(void)
{
	return syscall(SYS_init_module, NULL, 0, "");
}

static long
swap_on(void)
{
	return syscall(SYS_swapon, "/nonexistent", 0);
}

static long
reboot_with_no_magic(void)
{
	return syscall(SYS_reboot, 0, 0, 0, NULL);
}

static long
set_no_time(void)
{
	struct timespec time = { .tv_nsec = -1 };

	return syscall(SYS_clock_settime, CLOCK_REALTIME, &time);
}

static long
ask_quota(void)
{
	return syscall(SYS_quotactl, 0x80000700u, "/nonexistent", 0, NULL);
}

static long
unshare_user(void)
{
	return unshare(CLONE_NEWUSER);
}

/* Without CAP_SYS_PTRACE, of a process that has more rights. */
static long
find_machines_mounts(void)
{
	return open("/proc/1/ns/mnt", O_RDONLY);
}

/* 0: whatever the descriptor is of. */
static long
enter_anything(void)
{
	return setns(open("/proc/self/ns/mnt", O_RDONLY), 0);
}

static __attribute__((unused)) long
clone_user(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL,
	    NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}

/* In a tree of its own, lest one that works is seen by anybody. */
static long
mount_by_name(void)
{
	return mount("none", base, "tmpfs", 0, NULL) == 0 ?
	    umount2(base, MNT_DETACH) : -1;
}

static long
bind_by_name(void)
{
	return mount(base, base, NULL, MS_BIND, NULL) == 0 ?
	    umount2(base, MNT_DETACH) : -1;
}

static long
unmount_by_force(void)
{
	return umount2("/nonexistent", MNT_FORCE);
}

static long
make_node(mode_t type, dev_t device)
{
	char path[64];
	int result;

	snprintf(path, sizeof(path), "%s/node", base);
	result = mknod(path, type | 0600, device);
	if (result == 0)
		unlink(path);
	return result;
}

static long
make_disk(void)
{
	return make_node(S_IFBLK, makedev(7, 0));
}

static long
set_label(void)
{
	return setxattr(base, "trusted.label", "x", 1, 0);
}

static long
look_at_flags(void)
{
	int fd = open(base, O_RDONLY | O_DIRECTORY);
	int64_t size = 0;

	return ioctl(fd, FIOQSIZE, &size);
}

static long
weaken_itself(void)
{
	return personality(ADDR_NO_RANDOMIZE);
}

static long
packet_socket(void)
{
	return socket(AF_PACKET, SOCK_DGRAM, 0);
}

static long
listening_filter(void)
{
	struct sock_filter allow = { BPF_RET | BPF_K, 0, 0,
		SECCOMP_RET_ALLOW };
	struct sock_fprog program = { 1, &allow };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static __attribute__((unused)) long
keep_capabilities(void)
{
	return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
}

#if defined(__x86_64__)
static long
other_numbers(void)
{
	return syscall(0x40000000 | SYS_getpid);
}
#endif

/* ------------------------------------------------------- what must go on working */

static long
start_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/bin/true", "true", NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status == 0 ? 0 : -1;
}

static long
make_network(void)
{
	int own = open("/proc/self/ns/net", O_RDONLY);

	return unshare(CLONE_NEWNET) != 0 ? -1 : setns(own, CLONE_NEWNET);
}

/* As a child does with the tree that its function keeps. */
static long
copy_mounts(void)
{
	int kept = open("/proc/self/ns/mnt", O_RDONLY);

	return setns(kept, CLONE_NEWNS) != 0 ? -1 : unshare(CLONE_NEWNS);
}

static long
make_null(void)
{
	return make_node(S_IFCHR, makedev(1, 3));
}

static long
load_filter(void)
{
	const struct seccomp_options options = { .has_memfd = false };
	struct seccomp_program program;

	errno = 0;
	return seccomp_compile(&program, SECCOMP_SCANNER, &options) != 0 ||
	    seccomp_enter(&program) != 0 ? -1 : 0;
}

static const struct {
	const char *about;
	deed *act;
	int behind_filter; /* the errno, 0, or KILLED and the signal */
} rows[] = {
	{ "load a program into the kernel", make_bpf_map, ENOSYS },
	{ "count events", count_events, ENOSYS },
	{ "make an io_uring", make_ring, ENOSYS },
	{ "handle page faults", handle_faults, ENOSYS },
	{ "watch all files", watch_the_machine, ENOSYS },
	{ "look at keys", look_at_keys, ENOSYS },
	{ "read a process's memory", read_memory, ENOSYS },
	{ "take a process's descriptor", take_descriptor, ENOSYS },
	{ "open a file by its number", open_by_number, ENOSYS },
	{ "load another kernel", load_kernel, ENOSYS },
	{ "load a module", load_module, ENOSYS },
	{ "swap", swap_on, ENOSYS },
	{ "reboot", reboot_with_no_magic, ENOSYS },
	{ "set the clock", set_no_time, ENOSYS },
	{ "ask for quota", ask_quota, ENOSYS },
	{ "unshare the user namespace", unshare_user, ENOSYS },
	{ "find the machine's mount namespace", find_machines_mounts, EACCES },
	{ "enter any namespace", enter_anything, ENOSYS },
	{ "mount a file system by name", mount_by_name, ENOSYS },
	{ "bind by name", bind_by_name, ENOSYS },
	{ "unmount by force", unmount_by_force, ENOSYS },
	{ "make a disk's node", make_disk, ENOSYS },
	{ "set a trusted attribute", set_label, ENOSYS },
	{ "ioctl of another kind", look_at_flags, ENOSYS },
	{ "another personality", weaken_itself, ENOSYS },
	{ "a packet socket", packet_socket, ENOSYS },
	{ "a filter with a listener", listening_filter, ENOSYS },
#if !defined(__SANITIZE_ADDRESS__) /* its leak check needs these calls */
	{ "trace", be_traced, ENOSYS },
	{ "clone into a user namespace", clone_user, ENOSYS },
	{ "keep capabilities over a change of uid", keep_capabilities, ENOSYS },
#endif
#if defined(__x86_64__)
	{ "the numbers of x32", other_numbers, KILLED + SIGSYS },
#endif
	{ "start a program", start_child, 0 },
	{ "make a network namespace and come back", make_network, 0 },
	{ "copy a mount namespace", copy_mounts, 0 },
	{ "make a null device", make_null, 0 },
	{ "load a child's filter", load_filter, 0 },
};

/* Whether the capabilities alone would do is shown, for the table in docs. */
static void
a_spawner_that_is_somebody_elses_finds_the_kernel_closed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int open = try(rows[i].act, false);
		int closed = try(rows[i].act, true);

		print_message("%-40s %s\n", rows[i].about, open == 0 ?
		    "the filter alone" : open == ENOSYS ? "not in this kernel" :
		    strerrorname_np(open));
		if (closed != rows[i].behind_filter)
			fail_msg("%s: %d, not %d", rows[i].about, closed,
			    rows[i].behind_filter);
		if (rows[i].behind_filter == 0 && open != 0)
			fail_msg("%s: %s, without a filter", rows[i].about,
			    strerror(open));
	}
}

/* -------------------------------------------------------- what it may not lack */

/* Whether the refusal of a spawner without the capability names it. */
static bool
is_refused_without(int capability)
{
	cap_t caps = cap_get_proc();
	cap_value_t value = capability;
	char problem[512] = "", *name = cap_to_name(value);
	bool is_right;

	if (caps == NULL || name == NULL ||
	    cap_set_flag(caps, CAP_EFFECTIVE, 1, &value, CAP_CLEAR) != 0 ||
	    cap_set_flag(caps, CAP_PERMITTED, 1, &value, CAP_CLEAR) != 0 ||
	    cap_set_proc(caps) != 0)
		return false;
	is_right = privileges_shrink(problem, sizeof(problem)) == -EPERM &&
	    strncasecmp(problem, name, strlen(name)) == 0;
	cap_free(name);
	cap_free(caps);
	return is_right;
}

static void
without_a_capability_that_it_needs_it_does_not_start_and_names_it(void **state)
{
	static const int needed[] = { CAP_SYS_ADMIN, CAP_SYS_CHROOT,
		CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_CHOWN, CAP_KILL,
		CAP_MKNOD, CAP_DAC_OVERRIDE };

	(void)state;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			_exit(is_refused_without(needed[i]) ? 0 : 1);
		waitpid(pid, &status, 0);
		if (status != 0)
			fail_msg("it starts without capability %d, or says "
			    "another thing", needed[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_spawner_that_is_somebody_elses_finds_the_kernel_closed),
		cmocka_unit_test(
		    without_a_capability_that_it_needs_it_does_not_start_and_names_it),
	};
	int failed;

	if (geteuid() != 0) {
		fprintf(stderr, "SKIPPED: the spawner's rights are root's\n");
		return 77;
	}
	if (mkdtemp(base) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(base);
	return failed;
}
