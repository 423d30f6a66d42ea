/* Probes of what a program sees beside files: processes, descriptors, sockets,
 * init. */
#include "tests/probes/probe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* -------------------------------------------------------------------- /proc */

int
probe_list_proc(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int holes = 0, own = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		int pid = atoi(entry->d_name);

		if (pid == 0)
			continue;
		if (pid == getpid() || pid == getppid())
			own++;
		else
			holes += judge(1, "sees process %d", pid);
	}
	if (dir != NULL)
		closedir(dir);
	return holes + judge(own == 0, "sees %d processes, its own", own);
}

int
probe_proc_sys(void)
{
	static const char *const paths[] = { "/proc/sys", "/proc/sys/kernel",
		"/proc/sysrq-trigger", "/proc/kcore", "/proc/keys",
		"/proc/kallsyms", "/proc/kmsg", "/proc/config.gz", "/proc/bus",
		"/proc/irq", "/proc/fs", "/proc/mounts", "/proc/net", "/sys",
		"/sys/kernel", "/sys/fs/cgroup", "/run", "/var", "/boot",
		"/dev/mem", "/dev/kmsg", "/dev/ptmx", "/dev/tty" };
	int holes = 0;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		holes += attempt(paths[i], access(paths[i], F_OK));
	return holes + attempt("raise the own OOM score by /proc",
	    open("/proc/self/oom_score_adj", O_WRONLY));
}

/* -------------------------------------------------------------- descriptors */

int
probe_descriptors(void)
{
	int holes = 0;

	for (int fd = 3; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			holes += judge(1, "descriptor %d is open", fd);
	}
	return holes + judge(0, "descriptors above 2: none more");
}

static int
leads_out(int fd)
{
	static const char *const names[] = { "..", "../..", "etc/shadow",
		"../etc/shadow", "../../../../etc/shadow" };
	int holes = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int found = openat(fd, names[i], O_RDONLY);

		if (found >= 0)
			holes += judge(1, "descriptor %d leads to %s", fd,
			    names[i]);
	}
	return holes;
}

int
probe_links_out(void)
{
	char path[64], target[4096];
	struct stat root, self;
	int holes = 0;

	for (int fd = 0; fd < 3; fd++) {
		ssize_t n;

		holes += leads_out(fd);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n > 0 && target[0] == '/' &&
		    strncmp(target, "/dev/null", (size_t)n) != 0)
			holes += judge(1, "descriptor %d is %.*s", fd, (int)n,
			    target);
	}
	if (stat("/", &root) == 0 && stat("/proc/self/root/..", &self) == 0)
		holes += judge(root.st_ino != self.st_ino ||
		    root.st_dev != self.st_dev, "/proc/self/root is the root");
	if (chdir("..") == 0 && chdir("../../..") == 0 &&
	    stat(".", &self) == 0)
		holes += judge(root.st_ino != self.st_ino ||
		    root.st_dev != self.st_dev, "up from the cwd is the root");
	return holes;
}

/* ------------------------------------------------------------------ sockets */

int
probe_families(void)
{
	static const struct {
		int family, type;
		const char *name;
	} families[] = {
		{ 38, SOCK_SEQPACKET, "AF_ALG" },
		{ AF_NETLINK, SOCK_RAW, "AF_NETLINK" },
		{ AF_PACKET, SOCK_RAW, "AF_PACKET" },
		{ 40, SOCK_STREAM, "AF_VSOCK" },
		{ 15, SOCK_RAW, "AF_KEY" },
		{ 44, SOCK_RAW, "AF_XDP" },
		{ 31, SOCK_RAW, "AF_BLUETOOTH" },
		{ 30, SOCK_SEQPACKET, "AF_TIPC" },
		{ 16 | 0, SOCK_DGRAM, "AF_NETLINK, datagram" },
		{ AF_INET, SOCK_RAW, "AF_INET, raw" },
	};
	int holes = 0, pair[2];

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		holes += attempt(families[i].name,
		    socket(families[i].family, families[i].type, 0));
	holes += attempt("a pair of AF_TIPC",
	    socketpair(30, SOCK_SEQPACKET, 0, pair));
	/* High bits that the kernel does not look at. */
	return holes + attempt("AF_NETLINK with high bits", syscall(SYS_socket,
	    0x100000000L | AF_NETLINK, SOCK_RAW, 0));
}

static int
connects(const char *address, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char what[64];
	int holes;

	snprintf(what, sizeof(what), "connect to %s:%d", address, port);
	if (fd < 0)
		return attempt(what, -1);
	inet_pton(AF_INET, address, &to.sin_addr);
	holes = attempt(what,
	    connect(fd, (struct sockaddr *)&to, sizeof(to)));
	close(fd);
	return holes;
}

int
probe_connect(void)
{
	int port = atoi(setting("PROBE_PORT", "80"));
	int holes = connects("127.0.0.1", port);

	holes += connects("169.254.169.254", port);
	return holes + connects("10.0.0.1", port);
}

int
probe_abstract(void)
{
	const char *name = setting("PROBE_ABSTRACT", "fcgi-host-probe");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t length = strlen(name);

	memcpy(to.sun_path + 1, name, length);
	return attempt("an abstract socket outside", connect(fd,
	    (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un,
	    sun_path) + 1 + length)));
}

/* -------------------------------------------------- what the last one left */

/* Looks first, then leaves one of everything: run twice in one sandbox, the
 * second run must find nothing. */
int
probe_leftovers(void)
{
	struct shm_info info;
	int holes = 0, fd;

	holes += attempt("/tmp/left", access("/tmp/left/deep/file", F_OK));
	holes += attempt("/dev/shm/left", access("/dev/shm/left", F_OK));
	holes += attempt("shared memory", shmget(0x4c454654, 4096, 0));
	holes += attempt("a message queue", msgget(0x4c454654, 0));
	holes += attempt("a semaphore", semget(0x4c454654, 1, 0));
	shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);
	holes += judge(info.used_ids != 0, "%d segments", info.used_ids);
	mkdir("/tmp/left", 0700);
	mkdir("/tmp/left/deep", 0700);
	fd = open("/tmp/left/deep/file", O_CREAT | O_WRONLY, 0);
	close(fd);
	chmod("/tmp/left/deep", 0);
	chmod("/tmp/left", 0);
	fd = open("/dev/shm/left", O_CREAT | O_WRONLY, 0600);
	close(fd);
	shmget(0x4c454654, 4096, IPC_CREAT);
	msgget(0x4c454654, IPC_CREAT);
	semget(0x4c454654, 1, IPC_CREAT);
	return holes;
}

/* --------------------------------------------------------------------- init */

static int
open_both(const char *path)
{
	char what[128];
	int holes;

	snprintf(what, sizeof(what), "read %s", path);
	holes = attempt(what, open(path, O_RDONLY));
	snprintf(what, sizeof(what), "write %s", path);
	return holes + attempt(what, open(path, O_WRONLY));
}

int
probe_init(void)
{
	static const char *const names[] = { "mem", "environ", "maps", "fd",
		"fd/3", "fd/5", "exe", "root", "cwd", "clear_refs" };
	char byte, path[64];
	struct iovec local = { &byte, 1 }, remote = { (void *)0x400000, 1 };
	const pid_t init = getppid(); /* 1, where it has its own namespace */
	int holes = 0, pidfd;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)init,
		    names[i]);
		holes += open_both(path);
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", (int)init,
	    (int)init);
	holes += open_both(path);
	holes += attempt("ptrace of init",
	    ptrace(PTRACE_SEIZE, init, NULL, NULL));
	holes += attempt("process_vm_readv of init",
	    process_vm_readv(init, &local, 1, &remote, 1, 0));
	pidfd = (int)syscall(SYS_pidfd_open, init, 0);
	return holes + attempt("pidfd_getfd of init",
	    syscall(SYS_pidfd_getfd, pidfd, 3, 0));
}

/* Init's limits are those of the next execution. */
int
probe_init_limits(void)
{
	struct rlimit old, changed;
	const pid_t init = getppid();

	if (prlimit(init, RLIMIT_NOFILE, NULL, &old) != 0)
		return attempt("look at init's limits", -1);
	changed.rlim_cur = old.rlim_cur - 1;
	changed.rlim_max = old.rlim_max;
	return attempt("change init's limits",
	    prlimit(init, RLIMIT_NOFILE, &changed, NULL));
}

/* A report of init's, forged, on every descriptor that there is. */
int
probe_init_socket(void)
{
	uint32_t forged[14] = { 0x66696e31u, 1 };
	char path[64];
	int holes = 0;

	for (int fd = 0; fd < 1024; fd++) {
		if (send(fd, forged, sizeof(forged), MSG_NOSIGNAL) > 0)
			holes += judge(1, "a forged report went out on %d", fd);
	}
	snprintf(path, sizeof(path), "/proc/%d/fd/3", (int)getppid());
	holes += attempt("init's socket by /proc", open(path, O_RDWR));
	return holes + judge(0, "forged reports: no socket took one");
}

/* ------------------------------------------------------------------- status */

static int
is_line_wrong(const char *line)
{
	static const struct {
		const char *key, *value;
	} wanted[] = { { "CapInh:", "0" }, { "CapPrm:", "0" },
		{ "CapEff:", "0" }, { "CapBnd:", "0" }, { "CapAmb:", "0" },
		{ "NoNewPrivs:", "1" }, { "Seccomp:", "2" } };

	if (strncmp(line, "Groups:", 7) == 0)
		return strspn(line + 7, " \t\n") != strlen(line + 7);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		size_t n = strlen(wanted[i].key);

		if (strncmp(line, wanted[i].key, n) == 0)
			return strtoull(line + n, NULL, 16) !=
			    strtoull(wanted[i].value, NULL, 16);
	}
	return 0;
}

/* The environment: what the test gave is named PROBE_…, PATH, or CGI's. */
extern char **environ;

int
probe_status(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[1024];
	int holes = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (is_line_wrong(line))
			holes += judge(1, "%s", line);
	}
	holes += judge(file == NULL, "/proc/self/status was read");
	for (char **at = environ; *at != NULL; at++) {
		if (strncmp(*at, "BUILDDIR=", 9) == 0 ||
		    strncmp(*at, "SSH_", 4) == 0 || strncmp(*at, "LD_", 3) == 0)
			holes += judge(1, "the host's %s", *at);
	}
	holes += judge(getuid() == 0 || getgid() == 0, "runs as %u:%u",
	    (unsigned)getuid(), (unsigned)getgid());
	return holes + attempt("become root", setresuid(0, 0, 0));
}
