/* Network namespaces for sandboxes: what is in one, and that nobody but a child
 * of the maker needs a right over any network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/netns.h"
#include "tests/unit/box.h"

static ino_t
own(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	return st.st_ino;
}

/* In a child: whether all interfaces of the namespace are loopbacks, and up. */
static _Noreturn void
look_inside(int fd, bool is_up)
{
	struct ifreq request = { .ifr_name = "lo" };
	struct if_nameindex *names;
	int probe;

	if (setns(fd, CLONE_NEWNET) != 0)
		_exit(1);
	names = if_nameindex();
	if (names == NULL || strcmp(names[0].if_name, "lo") != 0 ||
	    names[1].if_index != 0)
		_exit(2);
	probe = socket(AF_INET, SOCK_DGRAM, 0);
	if (probe < 0 || ioctl(probe, SIOCGIFFLAGS, &request) != 0)
		_exit(3);
	_exit(((request.ifr_flags & IFF_UP) != 0) == is_up ? 0 : 4);
}

static int
status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
an_empty_one_has_a_loopback_that_is_down(void **state)
{
	CLEANUP_FD int fd = netns_new();
	pid_t pid;

	(void)state;
	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0)
		look_inside(fd, false);
	assert_int_equal(status_of(pid), 0);
}

static void
one_with_a_loopback_has_nothing_else(void **state)
{
	ino_t before = own();
	size_t fds = box_count_entries("/proc/self/fd");
	int fd = netns_new_loopback();
	struct stat st;
	pid_t pid;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(own(), before);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_not_equal(st.st_ino, before);
	pid = fork();
	if (pid == 0)
		look_inside(fd, true);
	assert_int_equal(status_of(pid), 0);
	assert_int_equal(box_count_entries("/proc/self/fd"), fds + 1);
	close(fd);
	/* no child is left, either */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

#define LITTLE (1u << CAP_SYS_ADMIN | 1u << CAP_SETUID)

/* As the spawner is: no right over a network, the bounding set empty and
 * no_new_privs. */
static void
keep_little(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = LITTLE, .permitted = LITTLE } };

	for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++)
		(void)prctl(PR_CAPBSET_DROP, i);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_capset, &head, data) != 0)
		_exit(10);
}

static _Noreturn void
make_with_little(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd, probe;

	keep_little();
	fd = netns_new_loopback();
	if (fd < 0)
		_exit(11);
	if (setns(fd, CLONE_NEWNET) != 0 || setuid(65534) != 0)
		_exit(12);
	/* a tenant inside cannot undo it */
	probe = socket(AF_INET, SOCK_DGRAM, 0);
	_exit(ioctl(probe, SIOCSIFFLAGS, &request) == 0 || errno != EPERM ? 13 :
	    0);
}

static void
it_is_made_without_a_right_over_the_hosts_network(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		make_with_little();
	assert_int_equal(status_of(pid), 0);
}

/* In a user namespace of its own, so that nobody else's number is changed. */
static _Noreturn void
make_where_there_is_no_room(void)
{
	FILE *file;
	int answer;

	if (unshare(CLONE_NEWUSER) != 0)
		_exit(20);
	file = fopen("/proc/sys/user/max_user_namespaces", "w");
	if (file == NULL || fputs("0", file) < 0 || fclose(file) != 0)
		_exit(21);
	answer = netns_new_loopback();
	_exit(answer == -ENOSPC ? 0 : 22);
}

static void
where_user_namespaces_are_switched_off_it_says_so(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		make_where_there_is_no_room();
	assert_int_equal(status_of(pid), 0);
}

static void
refused(const char *path, int error, const char *words)
{
	const char *problem = "";

	assert_int_equal(netns_open(path, netns_of_machine(), &problem), error);
	assert_non_null(strstr(problem, words));
}

static void
of_the_administrators_only_another_network_is_opened(void **state)
{
	char path[64], fifo[] = "/tmp/netns-test.XXXXXX";
	const char *problem = "";
	int made = netns_new(), fd;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", made);
	fd = netns_open(path, netns_of_machine(), &problem);
	assert_true(fd >= 0);
	close(fd);
	close(made);
	refused("/proc/self/ns/net", -EPERM, "the machine's own network");
	refused("/proc/self/ns/mnt", -EINVAL, "no network namespace");
	refused("/dev/null", -EINVAL, "no network namespace");
	refused("/run/netns/no-such", -ENOENT, "fcgi-host-egress up");
	/* nobody is waited for */
	close(mkstemp(fifo));
	assert_int_equal(unlink(fifo), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refused(fifo, -EINVAL, "no network namespace");
	assert_int_equal(unlink(fifo), 0);
}

/* A host in another network than the machine's, which here is that of whoever
 * runs the tests: not everywhere does he see pid 1's. */
static _Noreturn void
open_the_machines_with_little(void)
{
	const char *problem = "";
	struct netns_id machine;
	struct stat st;
	char path[64];
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0 || unshare(CLONE_NEWNET) != 0)
		_exit(20);
	machine = (struct netns_id){ st.st_dev, st.st_ino };
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	keep_little();
	_exit(netns_open(path, machine, &problem) == -EPERM &&
	    strstr(problem, "the machine's own network") != NULL ? 0 : 21);
}

static void
the_machines_is_known_again_by_who_may_no_longer_look_at_pid_1(void **state)
{
	struct netns_id machine = netns_of_machine();
	struct stat st;
	pid_t pid = fork();

	if (pid == 0)
		open_the_machines_with_little();
	(void)state;
	assert_int_equal(status_of(pid), 0);
	if (stat("/proc/1/ns/net", &st) == 0)
		assert_true(machine.dev == st.st_dev &&
		    machine.ino == st.st_ino);
	else
		assert_int_equal(machine.ino, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_one_has_a_loopback_that_is_down),
		cmocka_unit_test(one_with_a_loopback_has_nothing_else),
		cmocka_unit_test(
		    it_is_made_without_a_right_over_the_hosts_network),
		cmocka_unit_test(
		    of_the_administrators_only_another_network_is_opened),
		cmocka_unit_test(
		    the_machines_is_known_again_by_who_may_no_longer_look_at_pid_1),
		cmocka_unit_test(
		    where_user_namespaces_are_switched_off_it_says_so),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "NOT RUN: namespaces are made by root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
