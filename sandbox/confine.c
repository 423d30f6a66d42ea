#include "sandbox/confine.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sandbox/landlock.h"
#include "sandbox/rights.h"
#include "sandbox/seccomp.h"
#include "sandbox/userns.h"

#if defined(__SANITIZE_ADDRESS__)
/*
 * The leak check at exit clones a tracer, which a confined role cannot.  The
 * name and the weak default are the sanitizer's.
 */
int __lsan_is_turned_off(void);
static bool is_confined;

int
__lsan_is_turned_off(void)
{
	return is_confined;
}
#endif

/*
 * A chroot is a wall only for who has no capability and no directory outside.
 * Both roles end without capabilities; the one directory that the gateway keeps
 * outside, the spool, is closed upwards by Landlock, and by the filter, which
 * lets it only make new files.
 */
static int
change_root(int root_fd)
{
	if (fchdir(root_fd) != 0 || chroot(".") != 0 || chdir("/") != 0)
		return -errno;
	return 0;
}

static int
drop_ids(const struct confine *confine, bool is_root, const char **step)
{
	/* where there is one id only, its owner's groups cannot be put off */
	bool has_groups = confine->uid == 0;
	int last = rights_last_capability();
	int error = 0;

	if (is_root) {
		*step = "securebits";
		error = rights_lock_securebits();
	}
	if (error == 0 && is_root) {
		*step = "bounding set";
		error = rights_empty_bounding(last);
	}
	if (error == 0 && is_root) {
		*step = "user and group ids";
		error = has_groups ? 0 : rights_drop_groups();
	}
	if (error == 0 && is_root) {
		error = rights_take_ids(confine->uid, confine->gid);
	}
	if (error == 0) {
		*step = "capabilities";
		error = rights_empty_capabilities();
	}
	if (error != 0 || !is_root)
		return error;
	*step = "verification of rights";
	error = has_groups ? 0 : rights_verify_groups();
	if (error == 0)
		error = rights_verify_ids(confine->uid, confine->gid);
	return error != 0 ? error : rights_verify_capabilities(last);
}

/*
 * Root of the machine cannot be confined: too much is his by his id alone.  Of a
 * user namespace whose only id is 0 he can: that is an ordinary user, and what is
 * his by his id is closed by root directory, Landlock and filter.
 */
static bool
can_be_confined(const struct confine *confine)
{
	return (confine->uid != 0 && confine->gid != 0) ||
	    (confine->uid == 0 && confine->gid == 0 && userns_is_single());
}

/* libcap's own look, by another way than ours: all sets as it prints them. */
static int
look_again(void)
{
	cap_t caps = cap_get_proc(), none = cap_init();
	int difference = caps == NULL || none == NULL ? -1 :
	    cap_compare(caps, none);

	if (caps != NULL)
		cap_free(caps);
	if (none != NULL)
		cap_free(none);
	return difference == 0 ? 0 : -EPERM;
}

/* fd -1: nothing at all may be opened. */
static int
restrict_files(int fd, unsigned use)
{
	int abi = landlock_abi();
	int ruleset, error = 0;

	if (abi == 0)
		return 0; /* `check` says so, and `require` refuses */
	ruleset = landlock_new(abi, false);
	if (ruleset < 0)
		return ruleset;
	if (fd >= 0)
		error = landlock_allow(ruleset, abi, fd, use, true);
	if (error == 0)
		error = landlock_restrict(ruleset);
	close(ruleset);
	return error;
}

static int
finish(enum seccomp_role role, int fd, unsigned use, const char **step)
{
	const struct seccomp_options options = { .has_memfd = false };
	struct seccomp_program program;
	int error;

	/* Set here, because a change of ids clears it.  A parent that died
	 * before shows in the end of the socket to it. */
	*step = "parent-death signal";
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return -errno;
	/* Both roles have one uid: neither may look into the other. */
	*step = "dumpable";
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return -errno;
	*step = "no_new_privs";
	error = rights_no_new_privs();
	if (error != 0)
		return error;
	*step = "seccomp";
	error = seccomp_compile(&program, role, &options);
	if (error != 0)
		return error;
	*step = "landlock";
	error = restrict_files(fd, use);
	if (error == 0) {
		*step = "seccomp";
		error = seccomp_enter(&program);
	}
	seccomp_free(&program);
#if defined(__SANITIZE_ADDRESS__)
	is_confined = error == 0;
#endif
	return error;
}

int
confine_gateway(const struct confine *confine, const char **step)
{
	bool is_root = geteuid() == 0;
	int error = 0;

	*step = "user: root cannot be confined";
	if (is_root && !can_be_confined(confine))
		return -EINVAL;
	*step = "root directory";
	if (is_root)
		error = change_root(confine->root_fd);
	if (error == 0)
		error = drop_ids(confine, is_root, step);
	if (error == 0) {
		*step = "verification of capabilities";
		error = look_again();
	}
	return error != 0 ? error : finish(SECCOMP_GATEWAY, confine->spool_fd,
	    LANDLOCK_USE_UNLINKED, step);
}

/* No change of root: the scanner watches the directory above too, to see the
 * functions directory itself replaced. */
int
confine_scanner(const struct confine *confine, const char **step)
{
	bool is_root = geteuid() == 0;
	int error = 0;

	*step = "user: root cannot be confined";
	if (is_root && !can_be_confined(confine))
		return -EINVAL;
	*step = "functions directory";
	if (fchdir(confine->read_fd) != 0)
		return -errno;
	error = drop_ids(confine, is_root, step);
	if (error == 0) {
		*step = "verification of capabilities";
		error = look_again();
	}
	return error != 0 ? error : finish(SECCOMP_SCANNER, confine->read_fd,
	    LANDLOCK_USE_READ, step);
}
