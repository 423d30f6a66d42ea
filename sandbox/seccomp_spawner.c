/*
 * What the spawner may ask of the kernel beyond what its children may.  A filter
 * is inherited, so its own is the union of this list and of theirs: what is in
 * none of the lists, no process of the host can ask, whatever it has become.
 *
 * Of clone3 the flags lie in memory, where no filter sees them; of fsopen the
 * name of the file system.  All else that has an argument worth a look is
 * allowed only with those that are used.
 */
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "sandbox/seccomp_list.h"

#define PRCTL(option) CALL_IF_MASKED("prctl", 0, SECCOMP_LOW, (option))

/* The making of a sandbox, in the spawner and in the child before its own
 * filter. */
static const struct seccomp_entry sandboxes[] = {
	CALL("clone3"),            /* the child, straight into its namespaces */
	CALL_IF_MASKED("unshare", 0, SECCOMP_LOW, CLONE_NEWNET), /* a function's network */
	CALL_IF_MASKED("unshare", 0, SECCOMP_LOW, CLONE_NEWCGROUP), /* root: its leaf */
	CALL_IF_MASKED("setns", 1, SECCOMP_LOW, CLONE_NEWNET), /* into it */
	/* The child, into the tree that its function keeps, and a copy of that.
	 * Of the machine's others none can be opened without CAP_SYS_PTRACE. */
	CALL_IF_MASKED("setns", 1, SECCOMP_LOW, CLONE_NEWNS),
	CALL_IF_MASKED("unshare", 0, SECCOMP_LOW, CLONE_NEWNS),
	CALL("sethostname"),       /* in the child's own namespace */
	CALL("fsopen"),            /* tmpfs and proc, detached */
	CALL("fsconfig"),          /* their sizes and modes */
	CALL("fsmount"),           /* the same */
	CALL("open_tree"),         /* detached copies of /usr and of the function */
	CALL("mount_setattr"),     /* read-only, nosuid, nodev, private */
	CALL("move_mount"),        /* into the fresh root */
	/* No file system by name, no bind, no remount of the host's. */
	CALL_IF("mount", 3, MS_REC | MS_PRIVATE),
	CALL("pivot_root"),        /* the fresh root in the host's place */
	CALL_IF_MASKED("umount2", 1, SECCOMP_LOW, MNT_DETACH), /* the old root */
	/* null, zero, random …; a disk never. */
	CALL_IF_MASKED("mknodat", 2, S_IFMT, S_IFCHR),
	/* A child's, in the network that it made. */
	CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, SIOCSIFFLAGS), /* a loopback */
	CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, NS_GET_NSTYPE), /* egress: is it one */
	CALL("sched_setattr"),     /* a shorter slice of the processor */
	CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, TIOCSCTTY), /* a shell's terminal */
};

/* Whatever its children's own filters look at: theirs is enough, and a call that
 * this one allows without a look costs nothing here. */
static const struct seccomp_entry memory[] = {
	CALL("mmap"),              /* everyone */
};

/* Its listening sockets, and what it hands to others. */
static const struct seccomp_entry sockets[] = {
	CALL("setsockopt"),        /* addresses, buffers, taking no descriptors */
};

/* Giving up rights: of the roles, of a sandbox, and its own. */
static const struct seccomp_entry rights[] = {
	CALL("chroot"),            /* the gateway */
	/* Filters without a listener, which could answer calls of others. */
	CALL_IF_MASKED("seccomp", 1, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0),
	PRCTL(PR_SET_SECUREBITS),  /* locked */
	PRCTL(PR_CAPBSET_DROP),    /* the bounding set */
	PRCTL(PR_CAP_AMBIENT),     /* cleared */
};

/* What a look at the machine's accounts may need: an administrator's directory
 * service, asked by the C library at a reload.  Functions with a network have the
 * first two as well, with less. */
static const struct seccomp_entry accounts[] = {
	CALL_IF("socket", 0, AF_INET), /* the service's own, or its resolver */
	CALL_IF("socket", 0, AF_INET6), /* the same */
	CALL_IF("socket", 0, AF_NETLINK), /* which addresses there are */
};

#if defined(__SANITIZE_ADDRESS__)
/* The leak check at the end, in builds for tests only: a thread that stops the
 * others and reads them. */
static const struct seccomp_entry sanitizer[] = {
	CALL("ptrace"), CALL("prctl"), CALL("clone"),
};
#endif

/* Where an ordinary user is the host. */
static const struct seccomp_entry ordinary[] = {
	/* an instance's, in which no right reaches what its sandbox is made of */
	CALL_IF_MASKED("unshare", 0, SECCOMP_LOW, CLONE_NEWUSER),
};

const struct seccomp_group seccomp_spawner_groups[] = {
	SECCOMP_GROUP(sandboxes),
	SECCOMP_GROUP(memory),
	SECCOMP_GROUP(sockets),
	SECCOMP_GROUP(rights),
	SECCOMP_GROUP(accounts),
#if defined(__SANITIZE_ADDRESS__)
	SECCOMP_GROUP(sanitizer),
#endif
	{ NULL, 0 },
};

const struct seccomp_group seccomp_ordinary_groups[] = {
	SECCOMP_GROUP(ordinary),
	{ NULL, 0 },
};
