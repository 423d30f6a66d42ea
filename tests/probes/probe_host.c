/* Probes of what belongs to the host: its name, its sockets, its files by other
 * ways than names, what the kernel runs for it. */
#include "tests/probes/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* Beside the program stands a copy that belongs to root and is setuid; "rights"
 * says by its exit whether it has become another. */
int
probe_setuid(void)
{
	char path[4096 + 16], id[16];
	int status = 0;
	pid_t pid;
	ssize_t n = readlink("/proc/self/exe", path, 4095);

	path[n > 0 ? n : 0] = '\0';
	if (n <= 0 || strrchr(path, '/') == NULL)
		return judge(1, "the own place is not known");
	strcpy(strrchr(path, '/'), "/setuid");
	snprintf(id, sizeof(id), "%u", (unsigned)getuid());
	pid = fork();
	if (pid == 0) {
		execl(path, "setuid", "rights", id, (char *)NULL);
		_exit(errno == EACCES || errno == EPERM ? 3 : 4);
	}
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 4)
		return judge(1, "%s could not be tried", path);
	return judge(WEXITSTATUS(status) == 1, "a setuid program of root: %s",
	    WEXITSTATUS(status) == 1 ? "has root's rights" :
	    WEXITSTATUS(status) == 0 ? "has no other rights" : "not executed");
}

int
probe_socket(void)
{
	static const char *const places[] = { "/run/dbus/system_bus_socket",
		"/run/systemd/private", "/run/systemd/journal/socket",
		"/run/docker.sock", "/run/fcgi-host/fcgi.sock",
		"/run/fcgi-host/control.sock", "/dev/log" };
	const size_t count = sizeof(places) / sizeof(places[0]);
	int holes = 0;

	for (size_t i = 0; i <= count; i++) {
		const char *path = i < count ? places[i] :
		    setting("PROBE_SOCKET", "/run/probe.sock");
		struct sockaddr_un to = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		char what[160];

		snprintf(what, sizeof(what), "connect to %s", path);
		snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
		holes += attempt(what,
		    connect(fd, (struct sockaddr *)&to, sizeof(to)));
		close(fd);
	}
	return holes;
}

/* ----------------------------------------------------------- names and places */

int
probe_hostname(void)
{
	const char *host = setting("PROBE_HOSTNAME", "");
	struct utsname name;

	if (uname(&name) != 0 || host[0] == '\0')
		return judge(1, "the host's name is not known to the probe");
	return judge(strcmp(name.nodename, host) == 0, "the name is %s",
	    name.nodename);
}

/* "0::/" in version 2: the namespace's root is the instance's leaf. */
int
probe_cgroup_place(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[512];
	int holes = 0, found = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) != 0)
			continue;
		found = 1;
		holes += judge(strcmp(line, "0::/") != 0, "its cgroup is %s",
		    line + 3);
	}
	return found ? holes : judge(0, "no cgroup of version 2 is to be seen");
}

int
probe_shared_segment(void)
{
	key_t key = atoi(setting("PROBE_IPC_KEY", "1347571778"));
	int id = shmget(key, 0, 0);
	void *at = id >= 0 ? shmat(id, NULL, SHM_RDONLY) : (void *)-1;

	return attempt("attach a segment of the host", at == (void *)-1 ? -1 : 0);
}

/* --------------------------------------------------------- files by a number */

int
probe_handle(void)
{
	/* Inode 2 is the root of every ext4. */
	struct {
		struct file_handle head;
		uint32_t inode, generation;
	} guess = { { .handle_bytes = 8, .handle_type = 1 }, 2, 0 };
	static const char *const places[] = { "/usr", "/fn", "/data", "/tmp",
		"/" };
	struct {
		struct file_handle head;
		unsigned char bytes[128];
	} own = { .head = { .handle_bytes = 128 } };
	int holes = 0, mount_id, fd;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char what[64];

		fd = open(places[i], O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			continue;
		snprintf(what, sizeof(what), "root of the file system at %s",
		    places[i]);
		holes += attempt(what,
		    open_by_handle_at(fd, &guess.head, O_RDONLY));
		own.head.handle_bytes = 128;
		if (name_to_handle_at(fd, "", &own.head, &mount_id,
		        AT_EMPTY_PATH) == 0)
			holes += attempt("its own folder by handle",
			    open_by_handle_at(fd, &own.head, O_RDONLY));
		close(fd);
	}
	return holes;
}

/* ------------------------------------------- what the kernel runs for the host */

static int
writes(const char *path)
{
	char what[160];
	int fd = open(path, O_WRONLY), result;

	snprintf(what, sizeof(what), "write %s", path);
	result = attempt(what, fd);
	if (fd >= 0)
		close(fd);
	return result;
}

int
probe_helpers(void)
{
	static const char *const paths[] = { "/proc/sys/kernel/core_pattern",
		"/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
		"/proc/sys/fs/binfmt_misc/register",
		"/proc/sys/kernel/usermodehelper/inheritable",
		"/proc/sys/vm/panic_on_oom", "/proc/sysrq-trigger",
		"/sys/kernel/uevent_helper", "/sys/power/state",
		"/sys/kernel/debug/tracing/tracing_on" };
	int holes = 0;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		holes += writes(paths[i]);
	return holes;
}

int
probe_release_agent(void)
{
	static const char *const paths[] = { "/sys/fs/cgroup/release_agent",
		"/sys/fs/cgroup/memory/release_agent",
		"/sys/fs/cgroup/cgroup.procs",
		"/sys/fs/cgroup/unified/cgroup.procs",
		"/sys/fs/cgroup/cgroup.subtree_control" };
	/* Not version 1, which would change the machine if it succeeded. */
	int holes = attempt("mount cgroup2",
	    mount("none", "/tmp", "cgroup2", 0, NULL));

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		holes += writes(paths[i]);
	return holes;
}

/* ---------------------------------------------------------- itself, by /proc */

int
probe_memory_file(void)
{
	pid_t sibling = fork();
	char path[64];
	int holes;

	if (sibling == 0) {
		for (;;)
			pause();
	}
	holes = writes("/proc/self/mem");
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)sibling);
	holes += writes(path);
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)sibling);
	holes += writes(path);
	kill(sibling, SIGKILL);
	waitpid(sibling, NULL, 0);
	return holes;
}

int
probe_self_settings(void)
{
	static const char *const names[] = { "attr/current", "attr/exec",
		"uid_map", "gid_map", "setgroups", "oom_score_adj", "loginuid",
		"timens_offsets", "coredump_filter", "comm", "sched",
		"autogroup" };
	char path[64];
	int holes = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", names[i]);
		holes += writes(path);
	}
	return holes;
}

/* ------------------------------------------------------------------ terminals */

int
probe_terminals(void)
{
	static const char *const paths[] = { "/dev/tty", "/dev/console",
		"/dev/ptmx", "/dev/pts/0", "/dev/pts/ptmx", "/dev/tty0",
		"/dev/tty1", "/dev/vcs", "/dev/ttyS0" };
	int holes = 0;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		holes += attempt(paths[i], open(paths[i], O_RDWR | O_NOCTTY));
	return holes + attempt("take a terminal (TIOCSCTTY)",
	    ioctl(0, TIOCSCTTY, 1));
}
