#include "sandbox/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define OWN_PATH "/proc/self/ns/net"

static int
raise_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	request.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		error = -errno;
	close(fd);
	return error;
}

/* The child shares the table of descriptors, so what it opens stays when it is
 * gone; its number comes by the pipe.  Async-signal-safe. */
static _Noreturn void
be_maker(int out, bool has_loopback)
{
	int answer = has_loopback ? raise_loopback() : 0;

	if (answer == 0) {
		answer = open(OWN_PATH, O_RDONLY | O_CLOEXEC);
		if (answer < 0)
			answer = -errno;
	}
	_exit(write(out, &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1);
}

static int
make_by_child(uint64_t namespaces, bool has_loopback)
{
	struct clone_args arguments = { .flags = namespaces | CLONE_FILES |
		CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD };
	CLEANUP_FD int in = -1, out = -1;
	int pipes[2], answer = -EIO, status;
	long pid;

	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) != 0)
		return -errno;
	in = pipes[0];
	out = pipes[1];
	pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0)
		be_maker(out, has_loopback);
	if (pid < 0)
		return -errno;
	while (waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR)
		continue;
	/* one that was killed has said nothing, and the pipe is empty */
	if (read(in, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
		answer = -ECHILD;
	return answer;
}

int
netns_new(void)
{
	CLEANUP_FD int own = open(OWN_PATH, O_RDONLY | O_CLOEXEC);
	int fd;

	/* Into its own, which changes nothing: who is not let in again, as an
	 * ordinary user into the machine's, does not leave. */
	if (own >= 0 && setns(own, CLONE_NEWNET) != 0)
		return errno == EPERM ? make_by_child(CLONE_NEWNET, false) :
		    -errno;
	if (own < 0 || unshare(CLONE_NEWNET) != 0)
		return -errno;
	fd = open(OWN_PATH, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	/* whoever stays outside of his own network must not go on */
	LOG_ASSERT(setns(own, CLONE_NEWNET) == 0);
	return fd;
}

int
netns_new_loopback(void)
{
	return make_by_child(CLONE_NEWUSER | CLONE_NEWNET, true);
}

/* ------------------------------------------------------- the administrator's */

static struct netns_id
id_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ?
	    (struct netns_id){ st.st_dev, st.st_ino } : (struct netns_id){ 0 };
}

struct netns_id
netns_of_machine(void)
{
	return id_of("/proc/1/ns/net");
}

static bool
is_one(int fd, struct netns_id id)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == id.dev &&
	    st.st_ino == id.ino;
}

int
netns_open(const char *path, struct netns_id machine, const char **problem)
{
	/* not waiting for a writer where the path is a fifo */
	CLEANUP_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY |
	    O_CLOEXEC);
	struct statfs fs;

	if (fd < 0) {
		*problem = errno == ENOENT ?
		    "there is none; make it: fcgi-host-egress up" :
		    strerror(errno);
		return -errno;
	}
	if (fstatfs(fd, &fs) != 0 || fs.f_type != NSFS_MAGIC ||
	    ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		*problem = "it is no network namespace; make one: "
		    "fcgi-host-egress up";
		return -EINVAL;
	}
	if (is_one(fd, id_of(OWN_PATH)) || is_one(fd, machine)) {
		*problem = "it is the machine's own network, in which functions "
		    "would reach all that the machine does; make another: "
		    "fcgi-host-egress up";
		return -EPERM;
	}
	return steal_fd(&fd);
}

void
netns_resolv_conf(const char *path, char *text, size_t size)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FD int fd = -1;
	char name[300];
	ssize_t n = 0;

	if (slash != NULL && (size_t)snprintf(name, sizeof(name),
	    "/etc/netns/%s/resolv.conf", slash + 1) < sizeof(name))
		fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fd = open("/etc/resolv.conf", O_RDONLY | O_NONBLOCK |
		    O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, size - 1);
	text[n > 0 ? n : 0] = '\0';
}
