#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "fcgi-host/spool.h"
#include "tests/unit/deeds.h"

struct confine deeds_confine;
static char base[] = "/tmp/confine.XXXXXX";
static int table_fd; /* a memfd that was passed, as the inflight table is */
static pid_t other;  /* a process of the roles' uid, in no confinement */

/* -------------------------------------------------------------------- deeds */

static int
read_shadow(void)
{
	return open("/etc/shadow", O_RDONLY);
}

static int
read_passwd(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static int
read_up(void)
{
	return openat(deeds_confine.spool_fd, "../../../../../etc/passwd", O_RDONLY);
}

static int
read_function(void)
{
	return openat(deeds_confine.read_fd, "file", O_RDONLY);
}

static int
write_function(void)
{
	return openat(deeds_confine.read_fd, "file", O_WRONLY);
}

static int
create_function(void)
{
	return openat(deeds_confine.read_fd, "new", O_WRONLY | O_CREAT | O_EXCL, 0600);
}

static int
spool_unlinked(void)
{
	struct spool spool;
	char byte = 0;
	int rc;

	spool_init(&spool, deeds_confine.spool_fd, 0);
	rc = spool_add(&spool, "x", 1);
	if (rc == 0 && spool_peek(&spool, &byte, 1) != 1)
		rc = -EIO;
	spool_free(&spool);
	errno = -rc;
	return rc != 0 ? -1 : byte == 'x' ? 0 : -1;
}

static int
make_above_spool(void)
{
	return openat(deeds_confine.spool_fd, "..", O_RDWR | O_TMPFILE, 0600);
}

static int
connect_below(void)
{
	int fd = sock_connect_unix("/socket");

	errno = -fd;
	return fd < 0 ? -1 : 0;
}

static int
make_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int
make_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static int
run_shell(void)
{
	return execl("/bin/sh", "sh", "-c", "exit 0", NULL);
}

static int
make_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static int
map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC,
	           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static int
make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? 0 :
	    mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int
become_root(void)
{
	return (int)syscall(SYS_setresuid, 0, 0, 0);
}

static int
new_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static int
signal_parent(void)
{
	return kill(getppid(), SIGTERM);
}

static int
use_loop(void)
{
	int loop = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN };

	return loop < 0 || timer < 0 ||
	    epoll_ctl(loop, EPOLL_CTL_ADD, timer, &event) != 0 ? -1 : 0;
}

static int
use_memory(void)
{
	for (size_t size = 16; size < (64 << 20); size *= 2) {
		char *block = malloc(size);

		if (block == NULL)
			return -1;
		memset(block, 1, size);
		free(block);
	}
	return 0;
}

static int
watch(void)
{
	int fd = inotify_init1(IN_CLOEXEC);

	return fd < 0 ? -1 : inotify_add_watch(fd, ".", IN_CREATE);
}

static int
seal(void)
{
	int fd = sock_sealed("env", "A=b", 4);

	errno = fd < 0 ? -fd : 0;
	return fd < 0 ? -1 : 0;
}

static int
share_table(void)
{
	char *table = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
	    table_fd, 0);

	if (table == MAP_FAILED)
		return -1;
	table[0] = 1;
	return 0;
}

/* -------------------------------------------------- deeds against the others */

static long
ask(long result)
{
	return result < 0 ? -1 : 0;
}

static int
signal_other(void)
{
	return (int)syscall(SYS_tgkill, other, other, 0);
}

static int
limit_other(void)
{
	struct rlimit limit;

	/* who has the same uid may, and root where it has that capability */
	if (geteuid() == 0 && (setresgid(DEEDS_UID, DEEDS_UID, DEEDS_UID) != 0 ||
	    setresuid(DEEDS_UID, DEEDS_UID, DEEDS_UID) != 0))
		return -1;
	if (prlimit(other, RLIMIT_CORE, NULL, &limit) != 0)
		return -1;
	return prlimit(other, RLIMIT_CORE, &limit, NULL);
}

static int
trace_other(void)
{
	return ptrace(PTRACE_SEIZE, other, NULL, NULL) < 0 ? -1 : 0;
}

static int
read_other(void)
{
	char byte;
	struct iovec local = { &byte, 1 }, remote = { base, 1 };

	return (int)ask(syscall(SYS_process_vm_readv, other, &local, 1, &remote,
	    1, 0));
}

static int
connect_outside(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/outside", base);
	fd = sock_connect_unix(path);
	errno = -fd;
	return fd < 0 ? -1 : 0;
}

static int
connect_abstract(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = (socklen_t)offsetof(struct sockaddr_un, sun_path) +
	    (socklen_t)strlen(base) + 1;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path + 1, base);
	return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, size);
}

static int
listen_anywhere(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int pair[2];

	/* a pair's end too can be bound; the scanner has no socket(2) */
	return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0 ? -1 :
	    bind(pair[0], (struct sockaddr *)&address, sizeof(sa_family_t));
}

static int
remove_function(void)
{
	int fd;

	if (unlinkat(deeds_confine.read_fd, "victim", 0) != 0)
		return -1;
	fd = openat(deeds_confine.read_fd, "victim", O_WRONLY | O_CREAT, 0666);
	return fd < 0 ? 0 : fchmod(fd, 0666);
}

static int
rename_function(void)
{
	return renameat(deeds_confine.read_fd, "file", deeds_confine.read_fd, "file");
}

static int
own_mounts(void)
{
	return unshare(CLONE_NEWNS);
}

static __attribute__((unused)) int
make_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int
run_memory(void)
{
	static char *const none[] = { NULL };
	int fd = memfd_create("x", 0);
	int from = fd < 0 ? -1 : open("/proc/self/exe", O_RDONLY);

	(void)from;
	if (fd < 0 || write(fd, "#!/bin/true\n", 12) != 12)
		return -1;
	return fexecve(fd, (char *const[]){ "x", NULL }, none);
}

static int
make_pipe_by_name(void)
{
	if (mknodat(deeds_confine.read_fd, "new", S_IFIFO | 0600, 0) != 0)
		return -1;
	(void)unlinkat(deeds_confine.read_fd, "new", 0);
	return 0;
}

const struct deeds_row deeds_rows[] = {
	{ "read /etc/shadow", read_shadow, EPERM, EACCES,
	    "", "", 0 },
	{ "read /etc/passwd", read_passwd, EPERM, EACCES,
	    "", "l", 0 },
	{ "read above the spool", read_up, EPERM, EACCES,
	    "", "l", DEEDS_FOR_CONFINED },
	{ "read a function", read_function, EPERM, 0,
	    "", "", 0 },
	{ "write a function", write_function, EPERM, EACCES,
	    "", "l", 0 },
	{ "create a function", create_function, EACCES, EACCES,
	    "l", "l", 0 },
	{ "spool a body", spool_unlinked, 0, EACCES,
	    "", "l", 0 },
	{ "make a file above the spool", make_above_spool, EACCES, EACCES,
	    "", "", 0 },
	{ "connect to an instance", connect_below, 0, ENOSYS,
	    "", "", DEEDS_FOR_CONFINED },
	{ "make an INET socket", make_inet, EAFNOSUPPORT, ENOSYS,
	    "s", "s", 0 },
	{ "make a NETLINK socket", make_netlink, EAFNOSUPPORT, ENOSYS,
	    "s", "s", 0 },
	{ "run a shell", run_shell, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "make a process", make_process, ENOSYS, ENOSYS,
	    "s", "s", 0 },
	{ "map executable memory", map_code, ENOSYS, ENOSYS,
	    "s", "s", 0 },
	{ "make memory executable", make_code, ENOSYS, ENOSYS,
	    "s", "s", 0 },
	{ "become root", become_root, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "make a namespace", new_namespace, ENOSYS, ENOSYS,
	    "", "s", 0 },
	{ "signal the spawner", signal_parent, ENOSYS, ENOSYS,
	    "", "", DEEDS_FOR_CONFINED },
	{ "signal another process of its uid", signal_other, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "limit another process", limit_other, ENOSYS, ENOSYS,
	    "s", "s", 0 },
	{ "trace another process", trace_other, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "read another's memory", read_other, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "connect outside its root", connect_outside, ENOENT, ENOSYS,
	    "r", "s", 0 },
	{ "connect to an abstract socket", connect_abstract, EPERM, ENOSYS,
	    "l", "", DEEDS_NEED_SCOPE },
	{ "bind a socket", listen_anywhere, ENOSYS, ENOSYS,
	    "s", "s", 0 },
	{ "remove a function", remove_function, EACCES, ENOSYS,
	    "l", "", 0 },
	{ "rename a function", rename_function, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "make a pipe among the functions", make_pipe_by_name, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "make a mount namespace", own_mounts, ENOSYS, ENOSYS,
	    "", "", 0 },
#if !defined(__SANITIZE_ADDRESS__) /* it names its thread by that call */
	{ "be dumpable again", make_dumpable, ENOSYS, ENOSYS,
	    "s", "s", 0 },
#endif
	{ "run what lies in memory", run_memory, ENOSYS, ENOSYS,
	    "", "", 0 },
	{ "use a loop", use_loop, 0, 0,
	    "", "", 0 },
	{ "use memory", use_memory, 0, 0,
	    "", "", 0 },
	{ "watch a directory", watch, ENOSYS, 0,
	    "s", "", 0 },
	{ "seal an environment", seal, ENOSYS, 0,
	    "s", "", 0 },
	{ "map a shared table", share_table, 0, 0,
	    "", "", 0 },
};

const size_t deeds_count = sizeof(deeds_rows) / sizeof(deeds_rows[0]);

/* -------------------------------------------------------------------- world */

/* What the confined must not reach though the uid is theirs. */
static void
make_outside(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[128];

	strcpy(address.sun_path + 1, base);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address,
	    (socklen_t)offsetof(struct sockaddr_un, sun_path) +
	    (socklen_t)strlen(base) + 1) != 0 || listen(fd, 64) != 0)
		exit(1);
	snprintf(path, sizeof(path), "%s/outside", base);
	if (sock_listen_unix(path, 0666, (gid_t)-1, 64) < 0)
		exit(1);
	other = fork();
	if (other != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (setresgid(DEEDS_UID, DEEDS_UID, DEEDS_UID) != 0 ||
	    setresuid(DEEDS_UID, DEEDS_UID, DEEDS_UID) != 0)
		_exit(1);
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	poll(NULL, 0, -1);
	_exit(0);
}

void
deeds_begin(void)
{
	char path[128];
	int fd;

	if (mkdtemp(base) == NULL || chmod(base, 0755) != 0)
		exit(1);
	snprintf(path, sizeof(path), "%s/root", base);
	mkdir(path, 0755);
	deeds_confine.root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	deeds_confine.read_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Writable for the role, so that only its confinement says no. */
	if (fchown(deeds_confine.root_fd, DEEDS_UID, DEEDS_UID) != 0)
		exit(1);
	snprintf(path, sizeof(path), "%s/root/file", base);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fchown(fd, DEEDS_UID, DEEDS_UID) != 0)
		exit(1);
	close(fd);
	snprintf(path, sizeof(path), "%s/root/victim", base);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fchown(fd, DEEDS_UID, DEEDS_UID) != 0)
		exit(1);
	close(fd);
	snprintf(path, sizeof(path), "%s/root/socket", base);
	if (sock_listen_unix(path, 0666, (gid_t)-1, 8) < 0)
		exit(1);
	snprintf(path, sizeof(path), "%s/spool", base);
	mkdir(path, 0700);
	deeds_confine.spool_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fchown(deeds_confine.spool_fd, DEEDS_UID, DEEDS_UID) != 0)
		exit(1);
	table_fd = memfd_create("table", MFD_CLOEXEC);
	if (table_fd < 0 || ftruncate(table_fd, 4096) != 0)
		exit(1);
	deeds_confine.uid = DEEDS_UID;
	deeds_confine.gid = DEEDS_UID;
	make_outside();
}

void
deeds_end(void)
{
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	unlinkat(deeds_confine.root_fd, "file", 0);
	unlinkat(deeds_confine.root_fd, "victim", 0);
	unlinkat(deeds_confine.root_fd, "socket", 0);
	if (chdir(base) != 0 || unlink("outside") != 0 || rmdir("root") != 0 || rmdir("spool") != 0 ||
	    rmdir(base) != 0)
		perror(base);
}
