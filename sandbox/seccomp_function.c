/*
 * What a function may ask of the kernel.  No entry opens a way out of the tree,
 * to another process's memory, or to parts of the kernel that ordinary programs
 * do not use.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "sandbox/seccomp_list.h"

/* Bytes through descriptors that the program already has. */
static const struct seccomp_entry bytes[] = {
	CALL("read"),              /* stdin, files */
	CALL("write"),             /* stdout, stderr, files */
	CALL("readv"),             /* buffered input of C++ and Perl */
	CALL("writev"),            /* musl's stdio, Node */
	CALL("pread64"),           /* ld.so, databases */
	CALL("pwrite64"),          /* databases in /data */
	CALL("preadv"),            /* the same in pieces */
	CALL("pwritev"),           /* the same in pieces */
	CALL("preadv2"),           /* Node's file streams */
	CALL("pwritev2"),          /* Node's file streams */
	CALL("lseek"),             /* stdio */
	CALL("sendfile"),          /* copying a file out; cannot reach a pipe's pages */
	CALL("copy_file_range"),   /* cp in /tmp and /data */
	CALL("close"),             /* everyone */
	CALL("close_range"),       /* subprocess modules, init */
	CALL("dup"),               /* shells */
	CALL("dup2"),              /* shells, init */
	CALL("dup3"),              /* shells */
	CALL("pipe"),              /* shells */
	CALL("pipe2"),             /* subprocess modules */
	CALL("flock"),             /* databases, session files */
	CALL("fsync"),             /* databases in /data */
	CALL("fdatasync"),         /* databases in /data */
	CALL("sync_file_range"),   /* databases in /data */
	CALL("readahead"),         /* a hint */
	/* A hint; but not to drop what all others run from memory: /usr. */
	CALL_WHEN("fadvise64", BELOW(3, POSIX_FADV_DONTNEED)), /* sort, cp */
	DENY_WHEN("fadvise64", EINVAL, ABOVE(3, POSIX_FADV_DONTNEED - 1)),
	CALL("ftruncate"),         /* databases, memfd */
	CALL("truncate"),          /* files in /tmp and /data; Landlock rules */
	/* Databases.  In /tmp the quota holds.  Elsewhere RLIMIT_FSIZE bounds a file
	 * whose size grows, but not blocks behind its end, with which one file fills
	 * a disk: so to make room that grows it, and to give room back. */
	CALL_IF("fallocate", 1, 0),
	CALL_IF("fallocate", 1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE),
	DENY_WHEN("fallocate", EOPNOTSUPP, IS(1, FALLOC_FL_KEEP_SIZE)),
	DENY_WHEN("fallocate", EOPNOTSUPP,
	    ABOVE(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)),
};

/* Names: the tree holds only what the function may see, and Landlock rules. */
static const struct seccomp_entry names[] = {
	CALL("open"),              /* old C libraries */
	CALL("openat"),            /* everyone */
	CALL("openat2"),           /* careful programs; only narrower than openat */
	CALL("creat"),             /* old programs */
	CALL("stat"),              /* everyone */
	CALL("lstat"),             /* everyone */
	CALL("fstat"),             /* everyone */
	CALL("newfstatat"),        /* everyone */
	CALL("statx"),             /* Node, coreutils */
	CALL("statfs"),            /* df, init */
	CALL("fstatfs"),           /* opendir of some libraries */
	CALL("access"),            /* shells, ld.so */
	CALL("faccessat"),         /* shells */
	CALL("faccessat2"),        /* newer shells */
	CALL("readlink"),          /* realpath */
	CALL("readlinkat"),        /* realpath */
	CALL("getdents"),          /* old programs */
	CALL("getdents64"),        /* readdir */
	CALL("getcwd"),            /* shells */
	CALL("chdir"),             /* shells */
	CALL("fchdir"),            /* find, fts */
	CALL("mkdir"),             /* /tmp, /data */
	CALL("mkdirat"),           /* /tmp, /data */
	CALL("rmdir"),             /* /tmp, /data */
	CALL("unlink"),            /* /tmp, /data */
	CALL("unlinkat"),          /* /tmp, /data */
	CALL("rename"),            /* /tmp, /data */
	CALL("renameat"),          /* /tmp, /data */
	CALL("renameat2"),         /* /tmp, /data; mv -n */
	CALL("link"),              /* lock files in /data */
	CALL("linkat"),            /* O_TMPFILE in /data */
	CALL("symlink"),           /* /tmp, /data: they lead nowhere else */
	CALL("symlinkat"),         /* /tmp, /data: they lead nowhere else */
	CALL("chmod"),             /* own files; setuid bits are dead on nosuid */
	CALL("fchmod"),            /* own files */
	CALL("fchmodat"),          /* own files */
	CALL("fchmodat2"),         /* own files, newer C libraries */
	CALL("chown"),             /* to oneself: cp -p, tar; else EPERM */
	CALL("fchown"),            /* to oneself */
	CALL("lchown"),            /* to oneself */
	CALL("fchownat"),          /* to oneself */
	CALL("utime"),             /* old programs: touch */
	CALL("utimes"),            /* touch */
	CALL("futimesat"),         /* touch */
	CALL("utimensat"),         /* touch, tar */
	CALL("umask"),             /* shells */
	CALL("getxattr"),          /* ls, cp; setting is not listed: it would be */
	CALL("lgetxattr"),         /* kernel memory beside the quota of /tmp */
	CALL("fgetxattr"),         /* cp */
	CALL("listxattr"),         /* cp, ls */
	CALL("llistxattr"),        /* cp, ls */
	CALL("flistxattr"),        /* cp */
	CALL("inotify_init"),      /* watchers; counted per uid */
	CALL("inotify_init1"),     /* watchers; counted per uid */
	CALL("inotify_add_watch"), /* watchers */
	CALL("inotify_rm_watch"),  /* watchers */
	/* Pipes by name and plain files; a device or a socket file never. */
	CALL_IF_MASKED("mknod", 1, S_IFMT, S_IFIFO),
	CALL_IF_MASKED("mknod", 1, S_IFMT, S_IFREG),
	CALL_IF_MASKED("mknod", 1, S_IFMT, 0),
	DENY_IF_MASKED("mknod", 1, S_IFMT, S_IFCHR),
	DENY_IF_MASKED("mknod", 1, S_IFMT, S_IFBLK),
	CALL_IF_MASKED("mknodat", 2, S_IFMT, S_IFIFO),
	CALL_IF_MASKED("mknodat", 2, S_IFMT, S_IFREG),
	CALL_IF_MASKED("mknodat", 2, S_IFMT, 0),
	DENY_IF_MASKED("mknodat", 2, S_IFMT, S_IFCHR),
	DENY_IF_MASKED("mknodat", 2, S_IFMT, S_IFBLK),
};

/* Memory of its own.  Just-in-time compilers need PROT_EXEC. */
static const struct seccomp_entry memory[] = {
	CALL("brk"),               /* malloc */
	/* Not from the machine's store of huge pages, which no ceiling of
	 * memory counts and which was laid in for somebody else: ENOSYS, as of
	 * a kernel that has none. */
	CALL_IF_MASKED("mmap", 3, MAP_HUGETLB, 0), /* malloc, ld.so, stacks */
	CALL("munmap"),            /* free */
	CALL("mremap"),            /* realloc */
	CALL("mprotect"),          /* ld.so's RELRO, V8, PCRE */
	CALL("madvise"),           /* malloc, init; only on its own memory */
	CALL("msync"),             /* databases with mapped files */
	CALL("mlock"),             /* crypto libraries; the limit is 0 */
	CALL("mlock2"),            /* crypto libraries; the limit is 0 */
	CALL("munlock"),           /* crypto libraries */
	CALL("membarrier"),        /* V8, user-space RCU; own process */
	CALL("pkey_alloc"),        /* V8's write protection */
	CALL("pkey_free"),         /* V8's write protection */
	CALL("pkey_mprotect"),     /* V8's write protection */
};

/* Where their ceilings could be set; nowhere else are they listed. */
static const struct seccomp_entry sysv[] = {
	/* PHP, PostgreSQL clients; own IPC namespace.  Not of huge pages, which
	 * whoever is in the group of vm.hugetlb_shm_group may ask for. */
	CALL_IF_MASKED("shmget", 2, SHM_HUGETLB, 0),
	CALL("shmat"),             /* the same */
	CALL("shmdt"),             /* the same */
	CALL("shmctl"),            /* the same; init cleans with it */
	CALL("semget"),            /* PHP's locks; own IPC namespace, bounded */
	CALL("semop"),             /* the same */
	CALL("semtimedop"),        /* the same */
	CALL("semctl"),            /* the same; init cleans with it */
	CALL("msgget"),            /* own IPC namespace, bounded */
	CALL("msgsnd"),            /* the same */
	CALL("msgrcv"),            /* the same */
	CALL("msgctl"),            /* the same; init cleans with it */
};

/* Where the kernel keeps such files from being executed (6.3 and newer,
 * vm.memfd_noexec = 2); nowhere else is it listed. */
static const struct seccomp_entry memfd[] = {
	/* Of ordinary pages, as above. */
	CALL_IF_MASKED("memfd_create", 1, MFD_HUGETLB, 0), /* JITs, images */
};

#define CLONE_NEW_ANY \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* Processes: only those of the own pid namespace can be named. */
static const struct seccomp_entry processes[] = {
	/* fork and threads, without a namespace; clone3, whose flags lie in
	 * memory where no filter sees them, is not listed: ENOSYS, and C
	 * libraries fall back. */
	CALL_IF_MASKED("clone", 0, CLONE_NEW_ANY, 0),
	DENY_IF_MASKED("clone", 0, CLONE_NEWNS, CLONE_NEWNS),
	DENY_IF_MASKED("clone", 0, CLONE_NEWCGROUP, CLONE_NEWCGROUP),
	DENY_IF_MASKED("clone", 0, CLONE_NEWUTS, CLONE_NEWUTS),
	DENY_IF_MASKED("clone", 0, CLONE_NEWIPC, CLONE_NEWIPC),
	DENY_IF_MASKED("clone", 0, CLONE_NEWUSER, CLONE_NEWUSER),
	DENY_IF_MASKED("clone", 0, CLONE_NEWPID, CLONE_NEWPID),
	DENY_IF_MASKED("clone", 0, CLONE_NEWNET, CLONE_NEWNET),
	CALL("fork"),              /* old C libraries */
	CALL("vfork"),             /* init, shells */
	CALL("execve"),            /* interpreters, shells */
	CALL("execveat"),          /* init's own start; fexecve under Landlock */
	CALL("exit"),              /* threads */
	CALL("exit_group"),        /* everyone */
	CALL("wait4"),             /* shells, init */
	CALL("waitid"),            /* subprocess modules */
	CALL("kill"),              /* shells; own pid namespace, Landlock's scope */
	CALL("tkill"),             /* old raise() */
	CALL("tgkill"),            /* raise(), Go's preemption */
	CALL("pidfd_open"),        /* subprocess modules; own pid namespace */
	CALL("pidfd_send_signal"), /* the same */
	CALL("getpid"),            /* everyone */
	CALL("getppid"),           /* watchdogs */
	CALL("gettid"),            /* thread libraries */
	CALL("getpgid"),           /* shells */
	CALL("getpgrp"),           /* shells */
	CALL("setpgid"),           /* shells */
	CALL("getsid"),            /* shells */
	CALL("setsid"),            /* init, daemons (they are reaped) */
	CALL("set_tid_address"),   /* thread libraries */
	CALL("set_robust_list"),   /* thread libraries */
	CALL("get_robust_list"),   /* thread libraries */
	CALL("rseq"),              /* glibc */
	CALL("arch_prctl"),        /* the thread pointer */
	CALL("futex"),             /* locks */
	CALL("futex_waitv"),       /* locks */
	CALL("restart_syscall"),   /* the kernel's own, after SIGCONT */
};

/* Signals and clocks. */
static const struct seccomp_entry time_and_signals[] = {
	CALL("rt_sigaction"),      /* everyone */
	CALL("rt_sigprocmask"),    /* everyone */
	CALL("rt_sigreturn"),      /* return from every handler */
	CALL("rt_sigpending"),     /* shells */
	CALL("rt_sigsuspend"),     /* shells */
	CALL("rt_sigtimedwait"),   /* sigwait */
	CALL("rt_sigqueueinfo"),   /* sigqueue to itself */
	CALL("rt_tgsigqueueinfo"), /* pthread_sigqueue */
	CALL("sigaltstack"),       /* runtimes' overflow handlers */
	CALL("pause"),             /* waiting programs */
	CALL("alarm"),             /* time-outs */
	CALL("setitimer"),         /* PHP's max_execution_time */
	CALL("getitimer"),         /* the same */
	CALL("timer_create"),      /* PHP 8.2's max_execution_time, Go's profiler */
	CALL("timer_settime"),     /* the same */
	CALL("timer_gettime"),     /* the same */
	CALL("timer_getoverrun"),  /* the same */
	CALL("timer_delete"),      /* the same */
	CALL("timerfd_create"),    /* event loops */
	CALL("timerfd_settime"),   /* event loops */
	CALL("timerfd_gettime"),   /* event loops */
	CALL("signalfd"),          /* event loops */
	CALL("signalfd4"),         /* init, event loops */
	CALL("eventfd"),           /* event loops */
	CALL("eventfd2"),          /* event loops */
	CALL("nanosleep"),         /* sleep */
	CALL("clock_nanosleep"),   /* sleep */
	CALL("clock_gettime"),     /* where the vDSO cannot */
	CALL("clock_getres"),      /* runtimes */
	CALL("gettimeofday"),      /* where the vDSO cannot */
	CALL("time"),              /* where the vDSO cannot */
	CALL("times"),             /* shells */
};

/* Waiting for several descriptors. */
static const struct seccomp_entry waiting[] = {
	CALL("poll"),              /* libfcgi, init */
	CALL("ppoll"),             /* Python, Rust */
	CALL("select"),            /* libfcgi, Perl */
	CALL("pselect6"),          /* php-cgi */
	CALL("epoll_create"),      /* event loops */
	CALL("epoll_create1"),     /* event loops */
	CALL("epoll_ctl"),         /* event loops */
	CALL("epoll_wait"),        /* event loops */
	CALL("epoll_pwait"),       /* event loops */
	CALL("epoll_pwait2"),      /* event loops */
};

/* What there is to do with a socket that one has; which ones can be made is said
 * in seccomp_sockets.c. */
static const struct seccomp_entry sockets[] = {
	CALL_IF("socketpair", 0, AF_UNIX), /* Node's and Python's children */
	DENY_UNLESS("socketpair", EAFNOSUPPORT, 0, AF_UNIX),
	CALL("accept"),            /* libfcgi */
	CALL("accept4"),           /* Go, Node */
	CALL("bind"),              /* own sockets in /tmp; abstract ones stay inside */
	CALL("listen"),            /* the same */
	CALL("connect"),           /* the same */
	CALL("shutdown"),          /* libfcgi */
	CALL("getsockname"),       /* FastCGI detection */
	CALL("getpeername"),       /* FastCGI detection */
	/* out of band is a seldom tried part of every family, of AF_UNIX too */
	CALL_IF_MASKED("sendto", 3, MSG_OOB, 0), /* answers */
	DENY_WHEN("sendto", EOPNOTSUPP, MASKED(3, MSG_OOB, MSG_OOB)),
	CALL("recvfrom"),          /* requests */
	/* answers; the gateway takes no descriptors */
	CALL_IF_MASKED("sendmsg", 2, MSG_OOB, 0),
	DENY_WHEN("sendmsg", EOPNOTSUPP, MASKED(2, MSG_OOB, MSG_OOB)),
	CALL("recvmsg"),           /* requests, init's orders */
	CALL_IF_MASKED("sendmmsg", 3, MSG_OOB, 0), /* event loops */
	DENY_WHEN("sendmmsg", EOPNOTSUPP, MASKED(3, MSG_OOB, MSG_OOB)),
	CALL("recvmmsg"),          /* event loops */
};

/* Who and where am I; changing is possible only to what one is already. */
static const struct seccomp_entry identity[] = {
	CALL("getuid"),            /* everyone */
	CALL("geteuid"),           /* everyone */
	CALL("getgid"),            /* everyone */
	CALL("getegid"),           /* everyone */
	CALL("getresuid"),         /* Perl, Ruby */
	CALL("getresgid"),         /* Perl, Ruby */
	CALL("getgroups"),         /* shells */
	CALL("setuid"),            /* to oneself; no capability is there */
	CALL("setgid"),            /* to oneself */
	CALL("setreuid"),          /* to oneself */
	CALL("setregid"),          /* to oneself */
	CALL("setresuid"),         /* to oneself */
	CALL("setresgid"),         /* to oneself */
	CALL("setgroups"),         /* refused by the kernel in clear words */
	CALL("setfsuid"),          /* to oneself */
	CALL("setfsgid"),          /* to oneself */
	CALL("capget"),            /* looking */
	CALL("capset"),            /* nothing to gain */
	CALL("uname"),             /* everyone */
	CALL("sysinfo"),           /* memory sizes for collectors */
	CALL("getrusage"),         /* runtimes */
	CALL("getrlimit"),         /* runtimes */
	CALL("setrlimit"),         /* downwards */
	/* Of oneself only: init has the same uid, and its limits are those of
	 * the next execution. */
	CALL_IF("prlimit64", 0, 0),
	DENY_UNLESS("prlimit64", EPERM, 0, 0),
	CALL("getpriority"),       /* shells */
	CALL("sched_yield"),       /* locks */
	CALL("sched_getaffinity"), /* counting cores */
	CALL_IF("sched_setaffinity", 0, 0), /* of oneself, as above */
	DENY_UNLESS("sched_setaffinity", EPERM, 0, 0),
	CALL("sched_getparam"),    /* thread libraries */
	CALL("sched_getscheduler"), /* thread libraries */
	CALL("sched_getattr"),     /* thread libraries */
	CALL("sched_get_priority_max"), /* thread libraries */
	CALL("sched_get_priority_min"), /* thread libraries */
	CALL("sched_rr_get_interval"), /* runtimes */
	CALL("getcpu"),            /* where the vDSO cannot */
	CALL("getrandom"),         /* everyone */
	/* Asking only: READ_IMPLIES_EXEC and old ABIs weaken a process. */
	CALL_IF("personality", 0, 0xffffffff),
	DENY_UNLESS("personality", EPERM, 0, 0xffffffff),
	CALL("landlock_create_ruleset"), /* init's deeper domain: only narrower */
	CALL("landlock_add_rule"), /* the same */
	CALL("landlock_restrict_self"), /* the same */
};

#define PRCTL(option) CALL_IF_MASKED("prctl", 0, SECCOMP_LOW, (option))

/* prctl: names, signals to oneself, and questions. */
static const struct seccomp_entry prctls[] = {
	PRCTL(PR_SET_NAME),        /* thread names */
	PRCTL(PR_GET_NAME),        /* thread names */
	PRCTL(PR_SET_PDEATHSIG),   /* workers of runtimes */
	PRCTL(PR_GET_PDEATHSIG),   /* workers of runtimes */
	PRCTL(PR_SET_DUMPABLE),    /* init, crypto programs */
	PRCTL(PR_GET_DUMPABLE),    /* looking */
	PRCTL(PR_SET_NO_NEW_PRIVS), /* already so */
	PRCTL(PR_GET_NO_NEW_PRIVS), /* looking */
	PRCTL(PR_GET_SECCOMP),     /* looking */
	PRCTL(PR_CAPBSET_READ),    /* looking */
	PRCTL(PR_SET_CHILD_SUBREAPER), /* pools; init kills all of them */
	PRCTL(PR_GET_CHILD_SUBREAPER), /* looking */
	PRCTL(PR_SET_TIMERSLACK),  /* event loops */
	PRCTL(PR_GET_TIMERSLACK),  /* event loops */
	PRCTL(PR_SET_THP_DISABLE), /* databases, collectors */
	PRCTL(PR_GET_THP_DISABLE), /* looking */
	PRCTL(0x53564d41),         /* PR_SET_VMA: names of mappings, glibc */
};

#define FCNTL(command) CALL_IF_MASKED("fcntl", 1, SECCOMP_LOW, (command))

/*
 * fcntl by command.  Not leases: whoever opens a file of /data would wait for
 * their holder, a backup of the host too.
 */
static const struct seccomp_entry fcntls[] = {
	FCNTL(F_DUPFD),            /* shells */
	FCNTL(F_DUPFD_CLOEXEC),    /* shells, subprocess modules */
	FCNTL(F_GETFD),            /* everyone */
	FCNTL(F_SETFD),            /* everyone */
	FCNTL(F_GETFL),            /* event loops */
	FCNTL(F_SETFL),            /* event loops */
	FCNTL(F_GETLK),            /* databases in /data */
	FCNTL(F_SETLK),            /* databases in /data */
	FCNTL(F_SETLKW),           /* databases in /data */
	FCNTL(F_OFD_GETLK),        /* databases in /data */
	FCNTL(F_OFD_SETLK),        /* databases in /data */
	FCNTL(F_OFD_SETLKW),       /* databases in /data */
	FCNTL(F_GETOWN),           /* Perl's and Python's modules: SIGIO */
	FCNTL(F_GETOWN_EX),        /* so glibc asks it */
	FCNTL(F_SETOWN),           /* the same; own processes */
	FCNTL(F_GETPIPE_SZ),       /* looking */
	FCNTL(F_ADD_SEALS),        /* memfd of image libraries */
	FCNTL(F_GET_SEALS),        /* memfd of image libraries */
	/* Its pipes were made by the gateway and count as the gateway's: large
	 * ones would leave all other functions with the smallest. */
	DENY_IF_MASKED("fcntl", 1, SECCOMP_LOW, F_SETPIPE_SZ),
	DENY_IF_MASKED("fcntl", 1, SECCOMP_LOW, F_SETLEASE),
};

#define IOCTL(request) CALL_IF_MASKED("ioctl", 1, SECCOMP_LOW, (request))

/*
 * ioctl by request; the kernel looks at 32 bits, so the filter does.  Most are
 * asked on files and pipes only to learn that they are no terminals.
 */
static const struct seccomp_entry ioctls[] = {
	IOCTL(FIONREAD),           /* bytes waiting */
	IOCTL(FIONBIO),            /* non-blocking: Node, Ruby */
	IOCTL(FIOCLEX),            /* close-on-exec: Node, Python */
	IOCTL(FIONCLEX),           /* close-on-exec: Node, Python */
	IOCTL(FIOASYNC),           /* Perl */
	IOCTL(TCGETS),             /* isatty */
	IOCTL(0x802c542a),         /* TCGETS2: isatty of newer C libraries */
	IOCTL(TIOCGWINSZ),         /* width of a terminal */
	IOCTL(TIOCGPGRP),          /* shells */
	IOCTL(TIOCOUTQ),           /* bytes not yet taken */
	IOCTL(0x40049409),         /* FICLONE: cp */
	/* Typing into a terminal: another session's input. */
	DENY_IF_MASKED("ioctl", 1, SECCOMP_LOW, TIOCSTI),
	DENY_IF_MASKED("ioctl", 1, SECCOMP_LOW, TIOCLINUX),
	DENY_IF_MASKED("ioctl", 1, SECCOMP_LOW, TIOCSCTTY),
};

/*
 * Setting the terminal that it has.  A function has none, and so no use of these;
 * a person's shell does.  What types into a terminal, takes one or gives it away
 * is denied here as everywhere.
 */
static const struct seccomp_entry terminal[] = {
	IOCTL(TCSETS),             /* line editing */
	IOCTL(TCSETSW),            /* the same */
	IOCTL(TCSETSF),            /* the same */
	IOCTL(0x402c542b),         /* TCSETS2: newer C libraries */
	IOCTL(0x402c542c),         /* TCSETSW2 */
	IOCTL(0x402c542d),         /* TCSETSF2 */
	IOCTL(TCSBRK),             /* tcdrain */
	IOCTL(TCXONC),             /* tcflow */
	IOCTL(TCFLSH),             /* tcflush */
	IOCTL(TIOCSPGRP),          /* job control; own session only */
	IOCTL(TIOCGSID),           /* job control */
	IOCTL(TIOCSWINSZ),         /* stty cols; of this pair only */
};

/* Known dangerous: EPERM, so that a person sees at once what was tried. */
static const struct seccomp_entry dangerous[] = {
	DENY("mount"), DENY("umount2"), DENY("pivot_root"), DENY("chroot"),
	DENY("mount_setattr"), DENY("move_mount"), DENY("open_tree"),
	DENY("fsopen"), DENY("fsconfig"), DENY("fsmount"), DENY("fspick"),
	/* namespaces */
	DENY("unshare"), DENY("setns"),
	/* other processes' memory and descriptors */
	DENY("ptrace"), DENY("process_vm_readv"), DENY("process_vm_writev"),
	DENY("pidfd_getfd"), DENY("kcmp"), DENY("process_madvise"),
	/* programs in the kernel, and its large young parts */
	DENY("bpf"), DENY("perf_event_open"), DENY("io_uring_setup"),
	DENY("io_uring_enter"), DENY("io_uring_register"),
	DENY("userfaultfd"), DENY("fanotify_init"),
	/* keys are shared by all processes of a uid */
	DENY("keyctl"), DENY("add_key"), DENY("request_key"),
	/* files by number go round every path rule */
	DENY("open_by_handle_at"), DENY("name_to_handle_at"),
	/* the machine */
	DENY("kexec_load"), DENY("kexec_file_load"), DENY("init_module"),
	DENY("finit_module"), DENY("delete_module"), DENY("reboot"),
	DENY("swapon"), DENY("swapoff"), DENY("syslog"), DENY("acct"),
	DENY("quotactl"), DENY("quotactl_fd"), DENY("iopl"), DENY("ioperm"),
	DENY("modify_ldt"), DENY("vhangup"), DENY("settimeofday"),
	DENY("clock_settime"), DENY("clock_adjtime"), DENY("adjtimex"),
	DENY("sethostname"), DENY("setdomainname"),
	/* pages of pipes that belong to others; EINVAL makes copying loops of
	 * Go and Rust fall back to read and write */
	DENY_WITH("splice", EINVAL), DENY_WITH("tee", EINVAL),
	DENY_WITH("vmsplice", EINVAL),
};

const struct seccomp_group seccomp_function_groups[] = {
	SECCOMP_GROUP(bytes),
	SECCOMP_GROUP(names),
	SECCOMP_GROUP(memory),
	SECCOMP_GROUP(processes),
	SECCOMP_GROUP(time_and_signals),
	SECCOMP_GROUP(waiting),
	SECCOMP_GROUP(sockets),
	SECCOMP_GROUP(identity),
	SECCOMP_GROUP(prctls),
	SECCOMP_GROUP(fcntls),
	SECCOMP_GROUP(ioctls),
	SECCOMP_GROUP(dangerous),
	{ NULL, 0 },
};

const struct seccomp_group seccomp_terminal_groups[] = {
	SECCOMP_GROUP(terminal),
	{ NULL, 0 },
};

const struct seccomp_group seccomp_sysv_groups[] = {
	SECCOMP_GROUP(sysv),
	{ NULL, 0 },
};

const struct seccomp_group seccomp_memfd_groups[] = {
	SECCOMP_GROUP(memfd),
	{ NULL, 0 },
};
