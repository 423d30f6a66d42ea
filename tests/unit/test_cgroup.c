/*
 * cgroup v2 leaves: made, read, killed and removed, whatever controllers this
 * machine gives.  Skipped aloud where there is no writable hierarchy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/cgroup.h"

static char name[64];
static const struct cgroup_limits none = { 0, 0, 0 };

static void
open_parent(struct cgroup_parent *parent)
{
	if (cgroup_parent_open(parent, name) != 0)
		fail_msg("%s", parent->reason);
}

static uint64_t
own_cpu_us(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* A process in the leaf that burns `cpu_ms` there and then waits; it ends with
 * a test that fails.  It has memory of its own there, since what the kernel has
 * only put aside for it may be gone at the next look. */
static pid_t
start_in(int leaf, unsigned cpu_ms)
{
	static volatile char used[256 * 1024];
	pid_t pid = fork();

	if (pid == 0) {
		int fd = cgroup_leaf_open(leaf, "cgroup.procs", true);
		uint64_t begun;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd < 0 || write(fd, "0", 1) != 1)
			_exit(1);
		for (size_t i = 0; i < sizeof(used); i += 4096)
			used[i] = 1;
		begun = own_cpu_us();
		while (own_cpu_us() - begun < (uint64_t)cpu_ms * 1000)
			;
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, NULL, WUNTRACED);
	return pid;
}

static int
memory_file(const char *text)
{
	int fd = memfd_create("cgroup", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void
a_leafs_cpu_time_is_read_again_and_again(void **state)
{
	struct cgroup_cpu before, after;
	struct cgroup_parent parent;
	CLEANUP_FD int leaf = -1;
	CLEANUP_FD int stat = -1;
	pid_t pid;

	(void)state;
	open_parent(&parent);
	leaf = cgroup_leaf_make(&parent, "a", &none);
	assert_true(leaf >= 0);
	stat = cgroup_leaf_open(leaf, "cpu.stat", false);
	assert_int_equal(cgroup_cpu_read(stat, &before), 0);
	pid = start_in(leaf, 100);
	assert_int_equal(cgroup_cpu_read(stat, &after), 0);
	/* Some kernels count by ticks of 10 ms. */
	assert_in_range(after.usage_us - before.usage_us, 80000, 400000);
	/* Each is rounded by itself. */
	assert_in_range(after.user_us + after.system_us, after.usage_us - 2,
	    after.usage_us + 2);
	assert_int_equal(cgroup_leaf_remove(&parent, "a"), -EBUSY);
	assert_int_equal(cgroup_leaf_kill(leaf), 0);
	waitpid(pid, NULL, 0);
	assert_int_equal(cgroup_leaf_remove(&parent, "a"), 0);
	assert_int_equal(cgroup_leaf_remove(&parent, "a"), -ENOENT);
	cgroup_parent_close(&parent);
}

static void
a_predecessors_leaves_are_killed_and_removed(void **state)
{
	struct cgroup_parent dead, parent;
	CLEANUP_FD int leaf = -1;
	struct cgroup_cpu cpu;
	int status = 0;
	pid_t pid;

	(void)state;
	open_parent(&dead);
	assert_int_equal(cgroup_branch_make(&dead, "tenant"), 0);
	assert_int_equal(cgroup_branch_make(&dead, "tenant/branch"), 0);
	leaf = cgroup_leaf_make(&dead, "tenant/branch/left", &none);
	pid = start_in(leaf, 30);
	close_fd(&dead.fd); /* it dies without a word */
	open_parent(&parent);
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	close_fd(&leaf);
	/* their time is known, and none of this one's */
	assert_true(parent.left.usage_us > 0);
	assert_int_equal(cgroup_parent_cpu(&parent, &cpu), 0);
	assert_true(cpu.usage_us < parent.left.usage_us + 100000);
	assert_int_equal(cgroup_branch_make(&parent, "tenant"), 0);
	assert_int_equal(cgroup_branch_make(&parent, "tenant/branch"), 0);
	leaf = cgroup_leaf_make(&parent, "tenant/branch/left", &none);
	assert_true(leaf >= 0);
	cgroup_parent_close(&parent);
}

static void
closing_removes_what_was_made(void **state)
{
	struct cgroup_parent parent;
	char path[64], target[512];
	ssize_t n;
	int leaf;

	(void)state;
	open_parent(&parent);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", parent.fd);
	n = readlink(path, target, sizeof(target) - 1);
	assert_true(n > 0);
	target[n] = '\0';
	assert_int_equal(access(target, F_OK), 0);
	assert_non_null(strstr(target, parent.path));
	leaf = cgroup_leaf_make(&parent, "b", &none);
	close(leaf);
	cgroup_parent_close(&parent);
	assert_int_equal(parent.fd, -1);
	assert_int_equal(access(target, F_OK), -1);
}

static void
a_name_never_leads_elsewhere(void **state)
{
	static const char *const bad[] = { "", ".", "..", "/a", "../a",
		".hidden", "a/", "a//b", "a/..", "a/../b", "a/b/c/d", "a/b/../c",
		"a/.b" };
	struct cgroup_parent parent, other;

	(void)state;
	open_parent(&parent);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(cgroup_leaf_make(&parent, bad[i], &none),
		    -EINVAL);
		assert_int_equal(cgroup_leaf_remove(&parent, bad[i]), -EINVAL);
		assert_int_equal(cgroup_parent_open(&other, bad[i]), -EINVAL);
		assert_int_equal(other.fd, -1);
	}
	assert_int_equal(cgroup_branch_make(&parent, "a/b/c"), -EINVAL);
	assert_int_equal(cgroup_branch_make(&parent, "a/.."), -EINVAL);
	assert_int_equal(cgroup_branch_make(&parent, "a/b"), -ENOENT);
	assert_int_equal(cgroup_branch_make(&parent, ".."), -EINVAL);
	assert_int_equal(cgroup_parent_open(&other, "a/b"), -EINVAL);
	assert_int_equal(cgroup_leaf_make(&parent, "a/b", &none), -ENOENT);
	cgroup_parent_close(&parent);
}

static void
ceilings_are_written_where_there_are_controllers(void **state)
{
	const struct cgroup_limits limits = { 64 << 20, 16, 500 };
	struct cgroup_parent parent;
	CLEANUP_FD int leaf = -1;
	uint64_t number = 0;

	(void)state;
	open_parent(&parent);
	/* What there is is used, what is missing has a reason. */
	assert_int_equal(cgroup_branch_make(&parent, "b"), 0);
	leaf = cgroup_leaf_make(&parent, "b/c", &limits);
	assert_true(leaf >= 0);
	if (parent.has_memory) {
		CLEANUP_FD int fd = cgroup_leaf_open(leaf, "memory.max", false);

		assert_int_equal(cgroup_number_read(fd, &number), 0);
		assert_int_equal(number, limits.memory_bytes);
	}
	if (parent.has_pids) {
		CLEANUP_FD int fd = cgroup_leaf_open(leaf, "pids.max", false);

		assert_int_equal(cgroup_number_read(fd, &number), 0);
		assert_int_equal(number, limits.processes);
	}
	assert_int_equal(cgroup_leaf_limit_cpu(&parent, leaf, 500), 0);
	if (parent.has_cpu) {
		CLEANUP_FD int fd = cgroup_leaf_open(leaf, "cpu.max", false);

		char text[32] = "";

		assert_true(read(fd, text, sizeof(text) - 1) > 0);
		assert_string_equal(text, "50000 100000\n");
	}
	if (!parent.has_memory || !parent.has_pids || !parent.has_cpu) {
		assert_true(strlen(parent.reason) > 20);
		fprintf(stderr, "SKIPPED in part: %s\n", parent.reason);
	} else {
		assert_string_equal(parent.reason, "");
	}
	cgroup_parent_close(&parent);
}

/* 0: "max". */
static uint64_t
number_of(const struct cgroup_parent *parent, const char *file)
{
	CLEANUP_FD int fd = cgroup_leaf_open(parent->fd, file, false);
	uint64_t number = 0;

	return cgroup_number_read(fd, &number) == 0 ? number : 0;
}

static void
a_branchs_ceilings_are_written_and_lowered_when_less_is_used(void **state)
{
	const struct cgroup_limits high = { 256 << 20, 100, 1500 };
	const struct cgroup_limits low = { 8192, 50, 500 };
	struct cgroup_limits now = none;
	struct cgroup_parent parent;
	CLEANUP_FD int leaf = -1;
	pid_t pid;

	(void)state;
	open_parent(&parent);
	assert_int_equal(cgroup_branch_limit(&parent, "b", &high, &now),
	    -ENOENT);
	assert_int_equal(cgroup_branch_make(&parent, "b"), 0);
	assert_int_equal(cgroup_branch_limit(&parent, "b", &high, &now), 0);
	leaf = cgroup_leaf_make(&parent, "b/c", &none);
	pid = start_in(leaf, 10);
	if (parent.has_pids)
		assert_int_equal(number_of(&parent, "b/pids.max"), 100);
	if (parent.has_cpu) {
		CLEANUP_FD int fd = cgroup_leaf_open(parent.fd, "b/cpu.max",
		    false);
		char text[32] = "";

		assert_true(read(fd, text, sizeof(text) - 1) > 0);
		assert_string_equal(text, "150000 100000\n");
	}
	if (parent.has_memory) {
		assert_int_equal(number_of(&parent, "b/memory.max"), 256 << 20);
		/* not while a process has more */
		assert_int_equal(cgroup_branch_limit(&parent, "b", &low, &now),
		    -EBUSY);
		assert_int_equal(number_of(&parent, "b/memory.max"), 256 << 20);
		assert_int_equal(now.memory_bytes, high.memory_bytes);
		assert_int_equal(kill(pid, 0), 0);
	} else {
		assert_int_equal(cgroup_branch_limit(&parent, "b", &low, &now),
		    0);
	}
	assert_int_equal(now.processes, 50);
	if (parent.has_pids)
		assert_int_equal(number_of(&parent, "b/pids.max"), 50);
	assert_int_equal(cgroup_branch_limit(&parent, "b", &none, &now), 0);
	if (parent.has_memory)
		assert_int_equal(number_of(&parent, "b/memory.max"), 0);
	else
		fprintf(stderr, "SKIPPED in part: %s\n", parent.reason);
	cgroup_leaf_kill(leaf);
	waitpid(pid, NULL, 0);
	cgroup_parent_close(&parent);
}

static void
a_number_is_a_whole_number(void **state)
{
	static const struct {
		const char *text;
		int error;
		uint64_t number;
	} cases[] = { { "0\n", 0, 0 }, { "123456789012\n", 0, 123456789012 },
		{ "7", 0, 7 }, { "max\n", -EPROTO, 0 }, { "", -EPROTO, 0 },
		{ "12x\n", -EPROTO, 0 },
		{ "99999999999999999999999\n", -EPROTO, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP_FD int fd = memory_file(cases[i].text);
		uint64_t number = 0;

		for (int again = 0; again < 2; again++)
			assert_int_equal(cgroup_number_read(fd, &number),
			    cases[i].error);
		if (cases[i].error == 0)
			assert_int_equal(number, cases[i].number);
	}
}

static void
a_key_is_found_whole(void **state)
{
	CLEANUP_FD int fd = memory_file("low 1\noom 2\noom_kill 3\n"
	                                "oom_group_kill 4\n");
	CLEANUP_FD int cpu = memory_file("usage_usec 9\nuser_usec 4\n");
	struct cgroup_cpu none_read;
	uint64_t value = 0;

	(void)state;
	assert_int_equal(cgroup_key_read(fd, "oom", &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(cgroup_key_read(fd, "oom_kill", &value), 0);
	assert_int_equal(value, 3);
	assert_int_equal(cgroup_key_read(fd, "oom_", &value), -ENOENT);
	assert_int_equal(cgroup_key_read(fd, "kill", &value), -ENOENT);
	assert_int_equal(cgroup_cpu_read(cpu, &none_read), -EPROTO);
	assert_int_equal(cgroup_cpu_read(-1, &none_read), -EBADF);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leafs_cpu_time_is_read_again_and_again),
		cmocka_unit_test(a_predecessors_leaves_are_killed_and_removed),
		cmocka_unit_test(closing_removes_what_was_made),
		cmocka_unit_test(a_name_never_leads_elsewhere),
		cmocka_unit_test(
		    ceilings_are_written_where_there_are_controllers),
		cmocka_unit_test(
		    a_branchs_ceilings_are_written_and_lowered_when_less_is_used),
		cmocka_unit_test(a_number_is_a_whole_number),
		cmocka_unit_test(a_key_is_found_whole),
	};
	struct cgroup_parent parent;

	snprintf(name, sizeof(name), "cgroup-test-%d", (int)getpid());
	if (cgroup_parent_open(&parent, name) != 0) {
		fprintf(stderr, "SKIPPED: %s\n", parent.reason);
		return 77;
	}
	cgroup_parent_close(&parent);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
