/*
 * What gateway and scanner can still do once they are confined, and what not:
 * each deed is tried in a child that confines itself first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "fcgi-host/spool.h"
#include "sandbox/confine.h"
#include "sandbox/landlock.h"

#define ROLE_UID 60802
#define ROLE_GID 60802

static char base[] = "/tmp/confine.XXXXXX";
static struct confine confine;
static int table_fd; /* a memfd that was passed, as the inflight table is */

/* 0: done; -1: not, and errno says why. */
typedef int deed(void); /* no struct: a row of the table below */

static int
try_as(int (*role)(const struct confine *, const char **), deed *act)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		const char *step = "";
		int error = role(&confine, &step);

		if (error != 0) {
			fprintf(stderr, "%s: %s\n", step, strerror(-error));
			_exit(200);
		}
		errno = 0;
		_exit(act() < 0 ? (errno != 0 ? errno : 199) : 0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) :
	    1000 + WTERMSIG(status);
}

struct expected {
	const char *about;
	deed *act;
	int gateway, scanner; /* the errno, or 0: it is done */
};

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
	return openat(confine.spool_fd, "../../../../../etc/passwd", O_RDONLY);
}

static int
read_function(void)
{
	return openat(confine.read_fd, "file", O_RDONLY);
}

static int
write_function(void)
{
	return openat(confine.read_fd, "file", O_WRONLY);
}

static int
create_function(void)
{
	return openat(confine.read_fd, "new", O_WRONLY | O_CREAT | O_EXCL, 0600);
}

static int
spool_unlinked(void)
{
	struct spool spool;
	char byte = 0;
	int rc;

	spool_init(&spool, confine.spool_fd, 0);
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
	return openat(confine.spool_fd, "..", O_RDWR | O_TMPFILE, 0600);
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

static const struct expected expected[] = {
	{ "read /etc/shadow", read_shadow, EPERM, EACCES },
	{ "read /etc/passwd", read_passwd, EPERM, EACCES },
	{ "read above the spool", read_up, EPERM, EACCES },
	{ "read a function", read_function, EPERM, 0 },
	{ "write a function", write_function, EPERM, EACCES },
	{ "create a function", create_function, EACCES, EACCES },
	{ "spool a body", spool_unlinked, 0, EACCES },
	{ "make a file above the spool", make_above_spool, EACCES, EACCES },
	{ "connect to an instance", connect_below, 0, ENOSYS },
	{ "make an INET socket", make_inet, EAFNOSUPPORT, ENOSYS },
	{ "make a NETLINK socket", make_netlink, EAFNOSUPPORT, ENOSYS },
	{ "run a shell", run_shell, ENOSYS, ENOSYS },
	{ "make a process", make_process, ENOSYS, ENOSYS },
	{ "map executable memory", map_code, ENOSYS, ENOSYS },
	{ "make memory executable", make_code, ENOSYS, ENOSYS },
	{ "become root", become_root, ENOSYS, ENOSYS },
	{ "make a namespace", new_namespace, ENOSYS, ENOSYS },
	{ "signal the spawner", signal_parent, ENOSYS, ENOSYS },
	{ "use a loop", use_loop, 0, 0 },
	{ "use memory", use_memory, 0, 0 },
	{ "watch a directory", watch, ENOSYS, 0 },
	{ "seal an environment", seal, ENOSYS, 0 },
	{ "map a shared table", share_table, 0, 0 },
};

static void
each_role_can_do_its_work_and_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct expected *row = &expected[i];
		int gateway, scanner;

		if (landlock_abi() == 0 &&
		    (row->gateway == EACCES || row->scanner == EACCES)) {
			fprintf(stderr, "SKIPPED, no Landlock in this kernel: "
			                "%s\n", row->about);
			continue;
		}
		gateway = try_as(confine_gateway, row->act);
		scanner = try_as(confine_scanner, row->act);
		if (gateway != row->gateway)
			fail_msg("gateway, %s: %s", row->about,
			    strerror(gateway));
		if (scanner != row->scanner)
			fail_msg("scanner, %s: %s", row->about,
			    strerror(scanner));
	}
}

/* The table above must not hold because a deed never works. */
static void
each_deed_works_for_who_is_not_confined(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		pid_t pid;
		int status;

		if (expected[i].act == connect_below ||
		    expected[i].act == signal_parent ||
		    expected[i].act == read_up)
			continue; /* another root; ourselves; another depth */
		pid = fork();
		if (pid == 0)
			_exit(fchdir(confine.root_fd) != 0 ||
			    expected[i].act() < 0);
		waitpid(pid, &status, 0);
		unlinkat(confine.read_fd, "new", 0);
		if (status != 0)
			fail_msg("%s does not work anyway", expected[i].about);
	}
}

/* Seen from outside, since the role may not ask. */
static void
a_confined_role_has_no_right_left(void **state)
{
	static const char *const wanted[] = { "Uid:\t60802\t60802\t60802\t60802",
		"Gid:\t60802\t60802\t60802\t60802", "CapInh:\t0000000000000000",
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2" };
	int (*const roles[])(const struct confine *, const char **) = {
		confine_gateway, confine_scanner };

	(void)state;
	for (int i = 0; i < 2; i++) {
		char path[64], text[4096];
		int ready[2], fd;
		ssize_t n;
		pid_t pid;

		assert_int_equal(sock_pipe(ready), 0);
		pid = fork();
		if (pid == 0) {
			const char *step;

			if (roles[i](&confine, &step) != 0 ||
			    write(ready[1], "x", 1) != 1)
				_exit(1);
			poll(NULL, 0, -1);
		}
		close(ready[1]);
		assert_int_equal(read(ready[0], text, 1), 1);
		close(ready[0]);
		snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
		fd = open(path, O_RDONLY);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_true(n > 0);
		text[n] = '\0';
		for (size_t j = 0; j < sizeof(wanted) / sizeof(wanted[0]); j++) {
			if (strstr(text, wanted[j]) == NULL)
				fail_msg("no \"%s\"", wanted[j]);
		}
		assert_non_null(strstr(text, "Groups:\t \n"));
	}
}

static void
root_cannot_be_the_confined_user(void **state)
{
	struct confine root = confine;
	const char *step = "";

	(void)state;
	root.uid = 0;
	assert_int_equal(confine_gateway(&root, &step), -EINVAL);
	assert_int_equal(confine_scanner(&root, &step), -EINVAL);
	assert_string_equal(step, "user: root cannot be confined");
}

static void
make_world(void)
{
	char path[128];
	int fd;

	if (mkdtemp(base) == NULL || chmod(base, 0755) != 0)
		exit(1);
	snprintf(path, sizeof(path), "%s/root", base);
	mkdir(path, 0755);
	confine.root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	confine.read_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Writable for the role, so that only its confinement says no. */
	if (fchown(confine.root_fd, ROLE_UID, ROLE_GID) != 0)
		exit(1);
	snprintf(path, sizeof(path), "%s/root/file", base);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fchown(fd, ROLE_UID, ROLE_GID) != 0)
		exit(1);
	close(fd);
	snprintf(path, sizeof(path), "%s/root/socket", base);
	if (sock_listen_unix(path, 0666, (gid_t)-1, 8) < 0)
		exit(1);
	snprintf(path, sizeof(path), "%s/spool", base);
	mkdir(path, 0700);
	confine.spool_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fchown(confine.spool_fd, ROLE_UID, ROLE_GID) != 0)
		exit(1);
	table_fd = memfd_create("table", MFD_CLOEXEC);
	if (table_fd < 0 || ftruncate(table_fd, 4096) != 0)
		exit(1);
	confine.uid = ROLE_UID;
	confine.gid = ROLE_GID;
}

static void
remove_world(void)
{
	unlinkat(confine.root_fd, "file", 0);
	unlinkat(confine.root_fd, "socket", 0);
	if (chdir(base) != 0 || rmdir("root") != 0 || rmdir("spool") != 0 ||
	    rmdir(base) != 0)
		perror(base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_role_can_do_its_work_and_nothing_else),
		cmocka_unit_test(each_deed_works_for_who_is_not_confined),
		cmocka_unit_test(a_confined_role_has_no_right_left),
		cmocka_unit_test(root_cannot_be_the_confined_user),
	};
	int failed;

	if (geteuid() != 0) {
		fprintf(stderr, "SKIPPED: confining the roles needs root\n");
		return 77;
	}
	make_world();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	remove_world();
	return failed;
}
