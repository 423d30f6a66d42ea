/*
 * A child in its parent's memory: what may not come of it.  Most tests need root,
 * since the child changes its uid; the one with a ceiling of memory also a cgroup
 * with that controller.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/lend.h"
#include "tests/unit/box.h"

#define LIMIT_MS 300
#define LONG_MS 20000

static struct lender *lender;
static const char secret[] = "what only the parent knows";

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct ended {
	enum lend_hold hold;
	siginfo_t info;
	int64_t took_ms;
};

/* A child's whole life.  Skips where nothing is lent. */
static struct ended
lend_whole(uint64_t flags, int cgroup_fd, void (*run)(const void *),
    const void *with, unsigned limit_ms)
{
	struct clone_args arguments = { .flags = flags | CLONE_CLEAR_SIGHAND,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup_fd < 0 ? 0U : (unsigned)cgroup_fd };
	struct ended ended = { .took_ms = now_ms() };
	int pidfd = -1;
	long pid = lend_clone(lender, &arguments, run, with, limit_ms, &pidfd,
	    &ended.hold);

	if (pid == -ENOTSUP) {
		fputs("SKIPPED: nothing is lent on this processor, or in this "
		    "build\n", stderr);
		skip();
	}
	ended.took_ms = now_ms() - ended.took_ms;
	assert_true(pid > 0);
	assert_true(pidfd >= 0);
	assert_int_equal(waitid(P_PIDFD, (id_t)pidfd, &ended.info, WEXITED), 0);
	assert_int_equal(ended.info.si_pid, pid);
	close(pidfd);
	return ended;
}

/* ---------------------------------------------------------------- the caller */

static void
end_with_3(const void *with)
{
	(void)with;
	_exit(3);
}

static void
the_caller_sleeps_until_the_child_is_gone_and_has_all_that_he_had(void **state)
{
	size_t descriptors;

	(void)state;
	(void)lend_whole(0, -1, end_with_3, NULL, LONG_MS);
	descriptors = box_count_entries("/proc/self/fd");
	for (int i = 0; i < 50; i++) {
		struct ended ended = lend_whole(0, -1, end_with_3, NULL, LONG_MS);

		assert_int_equal(ended.hold, LEND_NOTHING);
		assert_int_equal(ended.info.si_code, CLD_EXITED);
		assert_int_equal(ended.info.si_status, 3);
	}
	assert_int_equal(box_count_entries("/proc/self/fd"), descriptors);
}

static void
say_and_close(const void *with)
{
	int fd = *(const int *)with;

	_exit(write(fd, "x", 1) == 1 && close(fd) == 0 ? 0 : 1);
}

static void
what_the_child_closes_is_its_own(void **state)
{
	int pipes[2];
	char data;

	(void)state;
	assert_int_equal(sock_pipe(pipes), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(lend_whole(0, -1, say_and_close, &pipes[1],
		    LONG_MS).info.si_status, 0);
		assert_int_equal(read(pipes[0], &data, 1), 1);
	}
	close(pipes[0]);
	close(pipes[1]);
}

/* ------------------------------------------------------------- who is held up */

static void
stop_oneself(const void *with)
{
	(void)with;
	syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
	for (;;)
		pause();
}

static void
hang(const void *with)
{
	(void)with;
	for (;;)
		pause();
}

static void
expect_late(void)
{
	struct ended ended = lend_whole(0, -1, hang, NULL, LIMIT_MS);

	assert_int_equal(ended.hold, LEND_TIME);
	assert_int_equal(ended.info.si_code, CLD_KILLED);
	assert_int_equal(ended.info.si_status, SIGKILL);
	assert_in_range(ended.took_ms, LIMIT_MS, LIMIT_MS + 15000);
}

static void
a_child_that_hangs_is_killed_in_its_time_and_no_other(void **state)
{
	(void)state;
	expect_late();
	assert_int_equal(lend_whole(0, -1, end_with_3, NULL, LONG_MS).hold,
	    LEND_NOTHING);
	expect_late();
}

/* Whoever has its uid can: each would hold up every tenant's starts so long. */
static void
who_is_stopped_is_killed_long_before_his_time(void **state)
{
	struct ended ended = lend_whole(0, -1, stop_oneself, NULL, LONG_MS);

	(void)state;
	assert_int_equal(ended.hold, LEND_STOP);
	assert_int_equal(ended.info.si_status, SIGKILL);
	assert_true(ended.took_ms < LONG_MS / 2);
}

/* A process that was forked has no thread of its parent's. */
static void
so_it_is_in_a_process_that_was_forked(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	(void)lend_whole(0, -1, end_with_3, NULL, LONG_MS);
	pid = fork();
	if (pid == 0) {
		expect_late(); /* a claim that fails exits otherwise */
		lender_free(lender);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	expect_late();
}

/* ------------------------------------------------------------- who looks in */

/* What a login of the tenant's may try on a process of his uid, by its pid. */
static bool
can_read(pid_t pid)
{
	char path[64], data[sizeof(secret)];
	struct iovec here = { data, sizeof(data) };
	struct iovec there = { (void *)(uintptr_t)secret, sizeof(data) };
	int fd;

	if (process_vm_readv(pid, &here, 1, &there, 1, 0) > 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return pread(fd, data, sizeof(data),
		    (off_t)(uintptr_t)secret) > 0;
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC) >= 0;
}

static void
become_the_tenant(void)
{
	if (syscall(SYS_setgroups, 0, NULL) != 0 ||
	    syscall(SYS_setresgid, BOX_GID, BOX_GID, BOX_GID) != 0 ||
	    syscall(SYS_setresuid, BOX_UID, BOX_UID, BOX_UID) != 0)
		_exit(9);
}

/* Of two processes, one after the other: 1 for each that it could read. */
static _Noreturn void
be_the_tenants_login(int sock)
{
	become_the_tenant();
	for (int i = 0; i < 2; i++) {
		pid_t pid;
		char is_open;

		if (read(sock, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
			_exit(8);
		is_open = can_read(pid) ? 1 : 0;
		if (write(sock, &is_open, 1) != 1)
			_exit(8);
	}
	_exit(0);
}

/* Is looked at, and ends with what the other said.  fds: the pair's end, and
 * whether it is to be open to looks. */
static void
look_and_say(const void *with)
{
	const int *fds = with;
	pid_t pid = (pid_t)syscall(SYS_getpid);
	char is_open = 2;

	become_the_tenant();
	if (fds[1] != 0)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (write(fds[0], &pid, sizeof(pid)) != (ssize_t)sizeof(pid) ||
	    read(fds[0], &is_open, 1) != 1)
		_exit(9);
	_exit(is_open);
}

static void
nobody_of_the_childs_uid_reads_the_memory_that_it_was_lent(void **state)
{
	int pair[2], status;
	pid_t login, open_one;

	(void)state;
	if (geteuid() != 0) {
		fputs("SKIPPED: a change of uid needs root\n", stderr);
		skip();
	}
	(void)lend_whole(0, -1, end_with_3, NULL, LONG_MS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
	    pair), 0);
	login = fork();
	if (login == 0)
		be_the_tenants_login(pair[1]);
	/* one with its own memory, and dumpable, is open to the same attempts */
	open_one = fork();
	if (open_one == 0)
		look_and_say((const int[]){ pair[0], 1 });
	assert_int_equal(waitpid(open_one, &status, 0), open_one);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(lend_whole(0, -1, look_and_say,
	    (const int[]){ pair[0], 0 }, LONG_MS).info.si_status, 0);
	assert_int_equal(waitpid(login, &status, 0), login);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(pair[0]);
	close(pair[1]);
}

/* Each process that it is told, until that is gone; ends with whether it could
 * read any. */
static _Noreturn void
be_the_login_that_never_stops_trying(int sock)
{
	bool is_open = false;
	pid_t pid;

	become_the_tenant();
	while (read(sock, &pid, sizeof(pid)) == (ssize_t)sizeof(pid)) {
		char data[sizeof(secret)] = "";
		struct iovec here = { data, sizeof(data) };
		struct iovec there = { (void *)(uintptr_t)secret, sizeof(data) };

		do {
			process_vm_readv(pid, &here, 1, &there, 1, 0);
			is_open |= memcmp(data, secret, sizeof(data)) == 0;
		} while (!is_open && kill(pid, 0) == 0);
	}
	_exit(is_open ? 1 : 0);
}

static void
be_the_tenants_and_exec(const void *with)
{
	static char *const argv[] = { "true", NULL }, *const none[] = { NULL };
	pid_t pid = (pid_t)syscall(SYS_getpid);

	become_the_tenant();
	if (write(*(const int *)with, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
		_exit(9);
	execve("/bin/true", argv, none);
	_exit(9);
}

static void
be_the_tenants_and_end(const void *with)
{
	pid_t pid = (pid_t)syscall(SYS_getpid);

	become_the_tenant();
	_exit(write(*(const int *)with, &pid, sizeof(pid)) ==
	    (ssize_t)sizeof(pid) ? 0 : 9);
}

/* The kernel wakes the caller before the child has let go of the memory. */
static void
nor_when_the_caller_is_awake_again_and_the_child_not_yet_gone(void **state)
{
	int pair[2], status;
	pid_t login;

	(void)state;
	if (geteuid() != 0) {
		fputs("SKIPPED: a change of uid needs root\n", stderr);
		skip();
	}
	(void)lend_whole(0, -1, end_with_3, NULL, LONG_MS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
	    pair), 0);
	login = fork();
	if (login == 0) {
		close(pair[0]);
		be_the_login_that_never_stops_trying(pair[1]);
	}
	close(pair[1]);
	for (int i = 0; i < 500; i++)
		assert_int_equal(lend_whole(0, -1, i % 2 == 0 ?
		    be_the_tenants_and_exec : be_the_tenants_and_end, &pair[0],
		    LONG_MS).info.si_status, 0);
	close(pair[0]);
	assert_int_equal(waitpid(login, &status, 0), login);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
nothing_is_lent_where_a_change_of_uid_would_open_it_or_a_dump_kill_all(
    void **state)
{
	(void)state;
	assert_true(lend_may('0', "5.12.0"));
	assert_false(lend_may('1', "6.18.44"));
	assert_false(lend_may('1', "5.12.0"));
	assert_true(lend_may('2', "6.1.0-25-amd64"));
	assert_true(lend_may('2', "5.16"));
	assert_false(lend_may('2', "5.15.0-91-generic"));
	assert_true(lend_may('2', "10.0.1"));
	assert_false(lend_may('2', "4.19.0"));
	assert_false(lend_may('2', "of mine"));
	assert_false(lend_may('3', "6.18.44"));
}

/* ------------------------------------------------------ who takes too much */

/* Kernel memory, charged to the child's cgroup, until it is told that there is
 * no more: pipes that are full. */
static void
fill_pipes(const void *with)
{
	static const char page[4096];

	(void)with;
	for (int i = 0; i < 4096; i++) {
		int pipes[2];

		if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) != 0)
			_exit(errno == ENOMEM ? 3 : 4);
		while (write(pipes[1], page, sizeof(page)) > 0)
			continue;
		if (errno == ENOMEM)
			_exit(3);
	}
	_exit(5);
}

static void
a_child_at_its_ceiling_of_memory_takes_its_parent_nowhere(void **state)
{
	const struct cgroup_limits limits = { .memory_bytes = 8 << 20 };
	struct cgroup_parent parent;
	struct ended ended;
	int leaf;

	(void)state;
	if (geteuid() != 0 || cgroup_parent_open(&parent, "lend") != 0)
		skip();
	if (!parent.has_memory) {
		fprintf(stderr, "SKIPPED: no ceiling of memory here: %s\n",
		    parent.reason);
		cgroup_parent_close(&parent);
		skip();
	}
	leaf = cgroup_leaf_make(&parent, "l", &limits);
	assert_true(leaf >= 0);
	ended = lend_whole(CLONE_INTO_CGROUP, leaf, fill_pipes, NULL, LONG_MS);
	assert_int_equal(ended.hold, LEND_NOTHING);
	/* refused or killed, and this process goes on */
	if (ended.info.si_code == CLD_EXITED)
		assert_int_equal(ended.info.si_status, 3);
	else
		assert_int_equal(ended.info.si_status, SIGKILL);
	close(leaf);
	assert_int_equal(cgroup_leaf_remove(&parent, "l"), 0);
	cgroup_parent_close(&parent);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    the_caller_sleeps_until_the_child_is_gone_and_has_all_that_he_had),
		cmocka_unit_test(what_the_child_closes_is_its_own),
		cmocka_unit_test(
		    a_child_that_hangs_is_killed_in_its_time_and_no_other),
		cmocka_unit_test(who_is_stopped_is_killed_long_before_his_time),
		cmocka_unit_test(so_it_is_in_a_process_that_was_forked),
		cmocka_unit_test(
		    nobody_of_the_childs_uid_reads_the_memory_that_it_was_lent),
		cmocka_unit_test(
		    nor_when_the_caller_is_awake_again_and_the_child_not_yet_gone),
		cmocka_unit_test(
		    nothing_is_lent_where_a_change_of_uid_would_open_it_or_a_dump_kill_all),
		cmocka_unit_test(
		    a_child_at_its_ceiling_of_memory_takes_its_parent_nowhere),
	};
	int failed;

	box_uid = (uid_t)(1950000000u + (unsigned)getpid());
	lender = lender_new();
	if (lender == NULL)
		return 1;
	failed = cmocka_run_group_tests_name("lend", tests, NULL, NULL);
	lender_free(lender);
	return failed;
}
