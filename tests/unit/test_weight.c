/*
 * What a branch's weight becomes is read back from the kernel: from cpu.weight
 * where the cpu controller is delegated, from /proc/PID/autogroup where
 * sessions have weights.  Skipped aloud where there is neither.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/weight.h"

static const struct cgroup_limits none = { 0, 0, 0 };

struct world {
	struct cgroup_parent parent;
	int leaf_fd;
	pid_t pid; /* a session of its own in f1/i1 */
};

/* How often pid has given its processor up, once that is over for a while: who
 * waits for a stopped child can be told before the child has. */
static void
settle(pid_t pid)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	char path[48], text[4096], *at;
	uint64_t before, now = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	do {
		CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		assert_true(n > 0);
		text[n] = '\0';
		at = strstr(text, key);
		assert_non_null(at);
		before = now;
		now = strtoull(at + strlen(key), NULL, 10);
		nanosleep(&pause, NULL);
	} while (now == 0 || now != before);
}

static pid_t
session_in(int leaf_fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = cgroup_leaf_open(leaf_fd, "cgroup.procs", true);

		if (fd < 0 || write(fd, "0", 1) != 1 || setsid() < 0)
			_exit(1);
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	settle(pid);
	return pid;
}

static int
set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	char name[64];

	snprintf(name, sizeof(name), "weight-test-%d", (int)getpid());
	if (world == NULL || cgroup_parent_open(&world->parent, name) != 0 ||
	    cgroup_branch_make(&world->parent, "f1") != 0)
		return -1;
	world->leaf_fd = cgroup_leaf_make(&world->parent, "f1/i1", &none);
	if (world->leaf_fd < 0)
		return -1;
	world->pid = session_in(world->leaf_fd);
	*state = world;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *world = *state;

	kill(world->pid, SIGKILL);
	waitpid(world->pid, NULL, 0);
	close_fd(&world->leaf_fd);
	cgroup_parent_close(&world->parent);
	free(world);
	return 0;
}

static void
file_read(int dir, const char *path, char text[static 128])
{
	CLEANUP_FD int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, text, 127);
	assert_true(n >= 0);
	text[n] = '\0';
}

static void
file_holds(int dir, const char *path, const char *part)
{
	char text[128];

	file_read(dir, path, text);
	if (strstr(text, part) == NULL)
		fail_msg("%s: %s, and not %s", path, text, part);
}

static void
weight_is(const struct world *world, const char *weight, const char *nice)
{
	char path[64];

	if (weight_manner(&world->parent) == WEIGHT_CGROUP)
		file_holds(world->parent.fd, "f1/cpu.weight", weight);
	snprintf(path, sizeof(path), "/proc/%d/autogroup", (int)world->pid);
	if (weight_manner(&world->parent) == WEIGHT_SESSIONS)
		file_holds(AT_FDCWD, path, nice);
}

static int
set_nice(struct world *world, unsigned nice)
{
	return weight_branch_set(&world->parent,
	    weight_manner(&world->parent), "f1", nice);
}

static void
a_branch_goes_behind_and_comes_back(void **state)
{
	if (weight_manner(&((struct world *)*state)->parent) == WEIGHT_NONE)
		skip();
	weight_is(*state, "100\n", " nice 0\n");
	assert_int_equal(set_nice(*state, 10), 0);
	weight_is(*state, "10\n", " nice 10\n");
	assert_int_equal(set_nice(*state, 19), 0);
	weight_is(*state, "1\n", " nice 19\n");
	assert_int_equal(set_nice(*state, 0), 0);
	weight_is(*state, "100\n", " nice 0\n");
}

static void
what_a_branch_has_waited_is_counted_over_its_processes(void **state)
{
	struct world *world = *state;
	uint64_t before = 0, after = 0;
	pid_t pid;

	assert_int_equal(weight_branch_waits(&world->parent, "f1", &before),
	    0);
	pid = session_in(world->leaf_fd); /* it stopped: that is a wait */
	assert_int_equal(weight_branch_waits(&world->parent, "f1", &after), 0);
	assert_true(after > before);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(weight_branch_waits(&world->parent, "f1", &after), 0);
	assert_int_equal(after, before);
	assert_int_equal(weight_branch_waits(&world->parent, "f2", &after),
	    -ENOENT);
}

/* Which may be any, and none at all where no ancestor has made a session. */
static void
who_sets_it_keeps_his_own(void **state)
{
	char before[128], after[128];

	if (weight_manner(&((struct world *)*state)->parent) !=
	    WEIGHT_SESSIONS)
		skip();
	file_read(AT_FDCWD, "/proc/self/autogroup", before);
	assert_int_equal(set_nice(*state, 10), 0);
	file_read(AT_FDCWD, "/proc/self/autogroup", after);
	assert_string_equal(after, before);
}

/* What a process says that has stepped into a cgroup of v1. */
static enum weight_manner
manner_below(const char *v1, const struct cgroup_parent *parent)
{
	char path[96], procs[128];
	int status = 0;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/weight-test-%d", v1, (int)getpid());
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	assert_int_equal(mkdir(path, 0755), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(procs, O_WRONLY | O_CLOEXEC);

		_exit(fd >= 0 && write(fd, "0", 1) == 1 ?
		    (int)weight_manner(parent) : 99);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(rmdir(path), 0);
	assert_true(WIFEXITED(status));
	return (enum weight_manner)WEXITSTATUS(status);
}

static void
sessions_weigh_nothing_in_a_cgroup_of_its_own_share(void **state)
{
	static const char v1[] = "/sys/fs/cgroup/cpu";
	struct world *world = *state;

	if (weight_manner(&world->parent) != WEIGHT_SESSIONS ||
	    access("/sys/fs/cgroup/cpu/tasks", W_OK) != 0) {
		fprintf(stderr, "SKIPPED: no controller cpu of cgroup v1 at %s\n",
		    v1);
		skip();
	}
	assert_int_equal(manner_below(v1, &world->parent), WEIGHT_NONE);
}

static void
sessions_weigh_nothing_where_the_root_shares_out_among_cgroups(void **state)
{
	struct cgroup_parent parent = ((struct world *)*state)->parent;

	if (!parent.has_cpu) {
		fprintf(stderr, "SKIPPED: no controller cpu of cgroup v2 "
		    "here\n");
		skip();
	}
	parent.has_cpu = false; /* as in a unit without Delegate=yes */
	assert_int_equal(weight_manner(&parent), WEIGHT_NONE);
}

static void
a_wrong_value_or_branch_changes_nothing(void **state)
{
	struct world *world = *state;

	if (weight_manner(&world->parent) == WEIGHT_NONE)
		skip();
	assert_int_equal(set_nice(world, 20), -EINVAL);
	assert_int_equal(weight_branch_set(&world->parent,
	    weight_manner(&world->parent), "f2", 10), -ENOENT);
	assert_int_equal(weight_branch_set(&world->parent, WEIGHT_NONE, "f1",
	    10), -EOPNOTSUPP);
	weight_is(world, "100\n", " nice 0\n");
}

static void
a_branch_without_processes_is_no_failure(void **state)
{
	struct world *world = *state;

	if (weight_manner(&world->parent) == WEIGHT_NONE)
		skip();
	assert_int_equal(cgroup_branch_make(&world->parent, "f2"), 0);
	assert_int_equal(weight_branch_set(&world->parent,
	    weight_manner(&world->parent), "f2", 10), 0);
	assert_int_equal(cgroup_leaf_remove(&world->parent, "f2"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_branch_goes_behind_and_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    what_a_branch_has_waited_is_counted_over_its_processes,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_sets_it_keeps_his_own,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    sessions_weigh_nothing_in_a_cgroup_of_its_own_share,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    sessions_weigh_nothing_where_the_root_shares_out_among_cgroups,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    a_wrong_value_or_branch_changes_nothing, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(
		    a_branch_without_processes_is_no_failure, set_up,
		    tear_down),
	};
	struct cgroup_parent parent;
	enum weight_manner manner = WEIGHT_NONE;
	char name[64];

	snprintf(name, sizeof(name), "weight-test-%d", (int)getpid());
	if (cgroup_parent_open(&parent, name) == 0) {
		manner = weight_manner(&parent);
		cgroup_parent_close(&parent);
	}
	if (manner == WEIGHT_NONE) {
		fprintf(stderr, "SKIPPED: neither a cpu controller nor "
		    "autogroups here: %s\n", parent.reason);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
