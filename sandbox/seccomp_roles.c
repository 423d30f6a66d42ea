/*
 * What the host's own unprivileged roles may ask of the kernel once they are
 * confined.  No process is started, no program executed, no memory made
 * executable, no socket of another family made.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "fcgi-host/sock.h"
#include "sandbox/seccomp_list.h"

/* Both roles: a loop, memory, a log. */
static const struct seccomp_entry common[] = {
	CALL("read"),              /* sockets, signalfd, inotify, files */
	CALL("write"),             /* the log on descriptor 2 */
	CALL("readv"),             /* buffers in two pieces */
	CALL("writev"),            /* buffers in two pieces */
	CALL("pread64"),           /* the configuration, which is a memfd */
	CALL("lseek"),             /* stdio on the configuration */
	CALL("fstat"),             /* stdio, sizes of descriptors that were passed */
	/* glibc's fstat of 2.33 and newer is this call with an empty path. */
	CALL("newfstatat"),        /* below the root or by Landlock only */
	CALL("close"),             /* everyone */
	CALL("dup"),               /* handing a descriptor on */
	CALL("dup3"),              /* handing a descriptor on */
	/* No leases, no signals by descriptor: flags, seals, duplicates. */
	CALL_IF("fcntl", 1, F_DUPFD),     /* stdio on a copy */
	CALL_IF("fcntl", 1, F_GETFL),     /* what a passed descriptor is */
	CALL_IF("fcntl", 1, F_SETFL),     /* non-blocking */
	CALL_IF("fcntl", 1, F_GETFD),     /* close-on-exec */
	CALL_IF("fcntl", 1, F_SETFD),     /* close-on-exec */
	CALL_IF("fcntl", 1, F_DUPFD_CLOEXEC), /* stdio on a copy */
	CALL_IF("fcntl", 1, F_GET_SEALS), /* a memfd must be sealed to be read */
	CALL_IF("fcntl", 1, F_ADD_SEALS), /* what the scanner reports is sealed */
	CALL("epoll_create1"),     /* the loop */
	CALL("epoll_ctl"),         /* the loop */
	CALL("epoll_wait"),        /* the loop */
	CALL("epoll_pwait"),       /* the loop, other architectures */
	CALL("poll"),              /* waiting for room in one socket */
	CALL("ppoll"),             /* the same, other architectures */
	CALL("timerfd_create"),    /* timers */
	CALL("timerfd_settime"),   /* timers */
	CALL("timerfd_gettime"),   /* timers */
	CALL("signalfd4"),         /* SIGTERM and SIGHUP as events */
	CALL("eventfd2"),          /* waking the loop */
	CALL("sendmsg"),           /* messages with descriptors */
	CALL("recvmsg"),           /* messages with descriptors */
	CALL("sendto"),            /* messages */
	CALL("recvfrom"),          /* messages */
	CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, FIONREAD), /* bytes waiting */
	CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, FIONBIO),  /* non-blocking */
	CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, TIOCOUTQ), /* bytes not yet taken */
	CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, TCGETS),   /* stdio: a terminal? */
	CALL("brk"),               /* malloc */
	CALL("munmap"),            /* free */
	CALL("mremap"),            /* realloc */
	CALL("madvise"),           /* free */
	CALL("futex"),             /* locks of the C library */
	CALL("clock_gettime"),     /* where the vDSO cannot */
	CALL("clock_nanosleep"),   /* backing off */
	CALL("gettimeofday"),      /* where the vDSO cannot */
	CALL("getrandom"),         /* request ids, malloc */
	CALL("getpid"),            /* the log */
	CALL("gettid"),            /* abort; tgkill of itself is added to it */
	CALL("rt_sigaction"),      /* abort */
	CALL("rt_sigprocmask"),    /* signalfd, abort */
	CALL("rt_sigreturn"),      /* return from every handler */
	CALL("restart_syscall"),   /* the kernel's own, after SIGCONT */
	CALL("getrusage"),         /* its own cost, for status */
	/* Of itself: the other role has the same uid, and limits too. */
	CALL_IF("prlimit64", 0, 0), /* how many descriptors it may have */
	CALL("sysinfo"),           /* qsort asks for the memory's size */
	CALL("exit"),              /* the end */
	CALL("exit_group"),        /* the end */
};

/* Data only: a page that is executable must have been so before. */
static const struct seccomp_entry data_pages[] = {
	CALL_IF("mmap", 2, PROT_READ | PROT_WRITE), /* malloc, the shared table */
	CALL_IF("mmap", 2, PROT_READ),              /* a memfd to be read */
	CALL_IF("mmap", 2, PROT_NONE),              /* malloc's arenas */
	CALL_IF("mprotect", 2, PROT_READ | PROT_WRITE), /* malloc's arenas */
	CALL_IF("mprotect", 2, PROT_READ),          /* late RELRO */
	CALL_IF("mprotect", 2, PROT_NONE),          /* guard pages */
};

static const struct seccomp_entry gateway[] = {
	CALL("accept4"),           /* web servers */
	CALL_IF("socket", 0, AF_UNIX), /* to instances, below its root */
	DENY_UNLESS("socket", EAFNOSUPPORT, 0, AF_UNIX),
	CALL_IF("socketpair", 0, AF_UNIX), /* an invoked request's own ends */
	CALL("connect"),           /* to instances, below its root */
	CALL("shutdown"),          /* end of a request's body */
	CALL("getsockopt"),        /* the error of a connect */
	/* Taking no descriptors.  Nothing else: a socket that lingers would
	 * have whoever is handed it wait at its close. */
	CALL_WHEN("setsockopt", IS(1, SOL_SOCKET), IS(2, SOCK_PASSRIGHTS)),
	DENY_WHEN("setsockopt", EPERM, IS(1, SOL_SOCKET),
	    IS_NOT(2, SOCK_PASSRIGHTS)),
	CALL("getsockname"),       /* which listener */
	CALL("getpeername"),       /* the log */
	CALL("pipe2"),             /* a CGI program's three */
	CALL("fchmod"),            /* so that it can open /dev/stderr */
	CALL("pwrite64"),          /* the spool */
	CALL("pwritev"),           /* records */
	CALL("ftruncate"),         /* the spool, a torn last line of the log */
	CALL("fallocate"),         /* a record's space, ahead of its execution */
	CALL("fdatasync"),         /* sync = yes */
	CALL("fsync"),             /* a log that is switched */
	CALL("fstatfs"),           /* how much room the log has */
	/* Only to make a new file; Landlock says where. */
	CALL_IF_MASKED("openat", 2, O_TMPFILE, O_TMPFILE), /* the spool */
	/* The same, where O_TMPFILE is not known. */
	CALL_IF_MASKED("openat", 2, O_CREAT | O_EXCL, O_CREAT | O_EXCL),
	DENY_IF_MASKED("openat", 2, O_CREAT | O_TMPFILE, 0), /* "no", not ENOSYS */
	DENY_IF_MASKED("openat", 2, O_CREAT | O_TMPFILE, O_DIRECTORY),
	CALL_IF("unlinkat", 2, 0), /* a spool file where O_TMPFILE is not known */
};

static const struct seccomp_entry scanner[] = {
	/* Reading: Landlock knows only the one directory, and writes nothing. */
	CALL("openat"),            /* the same by name: files, "." */
	CALL("openat2"),           /* beneath, without links */
	CALL("getdents64"),        /* listing */
	CALL("readlinkat"),        /* why a link is refused */
	CALL("readlink"),          /* why a link is refused */
	CALL("statx"),             /* owner, mode */
	CALL("fchdir"),            /* a watch by descriptor is on "." */
	CALL("fgetxattr"),         /* an ACL that lets others write */
	CALL("flock"),             /* half-written files */
	CALL_IF("fcntl", 1, F_SETLEASE), /* half-written: is it open for writing? */
	CALL_IF("fcntl", 1, F_GETLEASE), /* the same */
	CALL("inotify_init1"),     /* watching */
	CALL("inotify_add_watch"), /* watching */
	CALL("inotify_rm_watch"),  /* watching */
	CALL("memfd_create"),      /* a sidecar's environment, sealed */
	CALL("ftruncate"),         /* the same */
	CALL("pwrite64"),          /* the same */
};

#if defined(__SANITIZE_ADDRESS__)
/* What AddressSanitizer's run time does beside the program, in builds for tests
 * only. */
static const struct seccomp_entry sanitizer[] = {
	CALL("sigaltstack"),       /* the stack of its handlers, at the end */
	CALL("readlink"),          /* the program's name in a report */
	CALL("sched_yield"),       /* its locks */
	CALL("prctl"),             /* naming its thread */
};
#endif

const struct seccomp_group seccomp_gateway_groups[] = {
	SECCOMP_GROUP(common),
	SECCOMP_GROUP(data_pages),
	SECCOMP_GROUP(gateway),
#if defined(__SANITIZE_ADDRESS__)
	SECCOMP_GROUP(sanitizer),
#endif
	{ NULL, 0 },
};

const struct seccomp_group seccomp_scanner_groups[] = {
	SECCOMP_GROUP(common),
	SECCOMP_GROUP(data_pages),
	SECCOMP_GROUP(scanner),
#if defined(__SANITIZE_ADDRESS__)
	SECCOMP_GROUP(sanitizer),
#endif
	{ NULL, 0 },
};
