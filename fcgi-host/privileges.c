#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/privileges.h"
#include "sandbox/seccomp.h"
#include "sandbox/userns.h"

#define FILES_ENOUGH 65536
#define BIT(capability) (UINT64_C(1) << (capability))

struct kept {
	int capability;
	const char *name;
	bool is_for_roles; /* their confinement needs it too */
	bool is_users;     /* only an ordinary user's host needs it */
};

static const struct kept kept[] = {
	/* Namespaces, mounts and pivot_root of a sandbox; cgroup files. */
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN", false, false },
	/* chroot, for the gateway's root. */
	{ CAP_SYS_CHROOT, "CAP_SYS_CHROOT", true, false },
	/* The ids of tenants, and of gateway and scanner. */
	{ CAP_SETUID, "CAP_SETUID", true, false },
	{ CAP_SETGID, "CAP_SETGID", true, false },
	/* Dropping what is left, and locking securebits, in children. */
	{ CAP_SETPCAP, "CAP_SETPCAP", true, false },
	/* /data for a tenant; the group of an instance's socket and of logs. */
	{ CAP_CHOWN, "CAP_CHOWN", false, false },
	/* Killing by pidfd what has another uid. */
	{ CAP_KILL, "CAP_KILL", false, false },
	/* null, zero, random … in the /dev of a sandbox. */
	{ CAP_MKNOD, "CAP_MKNOD", false, false },
	/* Functions in a folder that only its tenant may enter (0700), the
	 * oom score of another uid's process, and taking the host's cgroup out
	 * of a hierarchy whose root not even root may write (0555). */
	{ CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", false, false },
	/* Mapping the one id of a user namespace once more, for an instance. */
	{ CAP_SETFCAP, "CAP_SETFCAP", false, true },
};

#define KEPT_COUNT (sizeof(kept) / sizeof(kept[0]))

static int
set_capabilities(uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)permitted,
		    .permitted = (uint32_t)permitted,
		    .inheritable = (uint32_t)inheritable },
		{ .effective = (uint32_t)(permitted >> 32),
		    .permitted = (uint32_t)(permitted >> 32),
		    .inheritable = (uint32_t)(inheritable >> 32) },
	};

	return syscall(SYS_capset, &head, data) == 0 ? 0 : -errno;
}

static int
get_permitted(uint64_t *permitted)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) != 0)
		return -errno;
	*permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

static uint64_t
kept_mask(bool is_for_roles, bool is_users)
{
	uint64_t mask = 0;
	size_t i;

	for (i = 0; i < KEPT_COUNT; i++)
		if ((!is_for_roles || kept[i].is_for_roles) &&
		    (is_users || !kept[i].is_users))
			mask |= BIT(kept[i].capability);
	return mask;
}

uint32_t
privileges_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	if (limit.rlim_cur < FILES_ENOUGH) {
		limit.rlim_cur = limit.rlim_max < FILES_ENOUGH ?
		    limit.rlim_max : FILES_ENOUGH;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur < FILES_ENOUGH ?
	    (uint32_t)limit.rlim_cur : FILES_ENOUGH;
}

int
privileges_shrink(char *problem, size_t size)
{
	const bool is_users = userns_is_single();
	uint64_t permitted = 0;
	size_t i;
	int capability, error = get_permitted(&permitted);

	for (i = 0; i < KEPT_COUNT && error == 0; i++) {
		if ((permitted & BIT(kept[i].capability)) == 0 &&
		    (is_users || !kept[i].is_users)) {
			snprintf(problem, size, "%s is needed and not there; "
			    "start the host as root, or give it to the "
			    "container or unit", kept[i].name);
			return -EPERM;
		}
	}
	/* Nothing becomes inheritable that is no longer in the bounding set. */
	if (error == 0)
		error = set_capabilities(permitted, kept_mask(true, is_users));
	for (capability = 0; error == 0 && capability < 64; capability++)
		if (prctl(PR_CAPBSET_READ, capability) == 1 &&
		    prctl(PR_CAPBSET_DROP, capability) != 0)
			error = -errno;
	if (error == 0)
		error = set_capabilities(kept_mask(false, is_users), kept_mask(true, is_users));
	if (error == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		error = -errno;
	if (error != 0)
		snprintf(problem, size, "the spawner's own rights cannot be "
		    "shrunk: %s", strerror(-error));
	return error;
}

int
privileges_filter(char *problem, size_t size)
{
	const struct seccomp_options options = {
		.is_ordinary = userns_is_single() };
	struct seccomp_program program;
	int error = seccomp_compile(&program, SECCOMP_SPAWNER, &options);

	if (error == 0) {
		error = seccomp_enter(&program);
		seccomp_free(&program);
	}
	if (error != 0)
		snprintf(problem, size, "the spawner's own seccomp filter "
		    "cannot be loaded: %s; the kernel needs "
		    "CONFIG_SECCOMP_FILTER", strerror(-error));
	return error;
}
