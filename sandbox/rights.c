#include "sandbox/rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One file can fill a disk; no function needs more than this in one piece. */
#define FILE_BYTES (UINT64_C(1) << 30)
#define STACK_BYTES (UINT64_C(8) << 20)
#define SIGNALS_PENDING 1024

static int
limit_set(int which, uint64_t value)
{
	struct rlimit limit, old;

	if (getrlimit((__rlimit_resource_t)which, &old) != 0)
		return -errno;
	/* Never above what the host itself was given. */
	if (old.rlim_max != RLIM_INFINITY && value > old.rlim_max)
		value = old.rlim_max;
	limit.rlim_cur = limit.rlim_max = value;
	return setrlimit((__rlimit_resource_t)which, &limit) != 0 ? -errno : 0;
}

int
rights_limit(const struct rights_limits *limits)
{
	static const struct {
		int which;
		uint64_t value;
	} fixed[] = {
		/* A core would hold a request's data.  At 0 a host that gives
		 * cores to a program would start that, as root, for each crash;
		 * 1 alone says that there is to be none. */
		{ RLIMIT_CORE, 1 },
		{ RLIMIT_FSIZE, FILE_BYTES },
		{ RLIMIT_STACK, STACK_BYTES },
		{ RLIMIT_MEMLOCK, 0 },  /* locked pages escape reclaim */
		{ RLIMIT_MSGQUEUE, 0 }, /* queues would outlive an execution */
		{ RLIMIT_NICE, 0 },     /* no way to raise its own priority */
		{ RLIMIT_RTPRIO, 0 },   /* a real-time loop stops the machine */
		/* At 0 the kernel kills whoever's timer of processor time
		 * fires, real-time or not. */
		{ RLIMIT_RTTIME, 1 },
		{ RLIMIT_SIGPENDING, SIGNALS_PENDING },
	};
	int error = 0;

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		error = limit_set(fixed[i].which, fixed[i].value);
		if (error != 0)
			return error;
	}
	if (limits->file_bytes != 0)
		error = limit_set(RLIMIT_FSIZE, limits->file_bytes);
	if (error == 0 && limits->data_bytes != 0)
		error = limit_set(RLIMIT_DATA, limits->data_bytes);
	if (error == 0 && limits->processes != 0)
		error = limit_set(RLIMIT_NPROC, limits->processes);
	return error;
}

int
rights_limit_files(uint64_t files)
{
	return limit_set(RLIMIT_NOFILE, files);
}

int
rights_lock_securebits(void)
{
	unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
	    SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
	    SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

	return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0 ? -errno : 0;
}

int
rights_empty_bounding(int last)
{
	/* the spawner's is empty mostly, and to ask costs less than to drop */
	for (int i = 0; i <= last; i++) {
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0 ||
		    prctl(PR_CAPBSET_READ, i, 0, 0, 0) != 0)
			return errno != 0 ? -errno : -EPERM;
	}
	return 0;
}

int
rights_drop_groups(void)
{
	return syscall(SYS_setgroups, 0, NULL) != 0 ? -errno : 0;
}

int
rights_take_ids(uid_t uid, gid_t gid)
{
	if (syscall(SYS_setresgid, gid, gid, gid) != 0 ||
	    syscall(SYS_setresuid, uid, uid, uid) != 0)
		return -errno;
	return 0;
}

int
rights_empty_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
	    syscall(SYS_capset, &header, data) != 0)
		return -errno;
	return 0;
}

int
rights_no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : -EPERM;
}

int
rights_verify_groups(void)
{
	return syscall(SYS_getgroups, 0, NULL) != 0 ? -EPERM : 0;
}

int
rights_verify_ids(uid_t uid, gid_t gid)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (syscall(SYS_getresuid, &ruid, &euid, &suid) != 0 ||
	    syscall(SYS_getresgid, &rgid, &egid, &sgid) != 0)
		return -EPERM;
	if (ruid != uid || euid != uid || suid != uid || rgid != gid ||
	    egid != gid || sgid != gid)
		return -EPERM;
	/* The way back must be closed by the kernel, not by our arithmetic. */
	if (uid != 0 && syscall(SYS_setresuid, 0, 0, 0) == 0)
		return -EPERM;
	if (gid != 0 && syscall(SYS_setresgid, 0, 0, 0) == 0)
		return -EPERM;
	return 0;
}

int
rights_verify_capabilities(int last)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) != 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		if ((data[i].effective | data[i].permitted |
		     data[i].inheritable) != 0)
			return -EPERM;
	}
	/* The ambient set is never more than what is both permitted and
	 * inheritable (capabilities(7)), which are empty. */
	for (int i = 0; i <= last; i++) {
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			return -EPERM;
	}
	return 0;
}

int
rights_last_capability(void)
{
	return (int)cap_max_bits() - 1;
}
