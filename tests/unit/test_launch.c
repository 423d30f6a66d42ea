#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/init_msg.h"
#include "tests/unit/puppets.h"

#define PATIENCE_MS 15000

static struct world world;

static int
set_up(void **state)
{
	*state = &world;
	world_start(&world, "uid_range = 710000-710009\n"
	    "[runtime sh]\nextensions = sh\nprotocol = cgi\n"
	    "command = /bin/sh %f extra\n"
	    "[function bound]\nbind = /nonexistent/path\n");
	world_serve(&world);
	return 0;
}

/* An instance as the gateway holds it. */
struct held {
	uint64_t id;
	uint32_t uid;
	int init; /* its socket */
	int cpu_stat, memory_peak, memory_events;
};

static void
start(struct held *held, uint64_t id, const char *name)
{
	struct ctl_msg msg = start_of(id, name);
	int fds[PUPPET_FDS_MAX], next = 1;

	puppet_send(&world.gateway, &msg, NULL, 0);
	puppet_expect(&world.gateway, CTL_INSTANCE_UP, &msg, fds);
	assert_int_equal(msg.u.instance_up.id, id);
	assert_true(msg.u.instance_up.start_us > 0);
	held->id = id;
	held->uid = msg.u.instance_up.uid;
	held->init = fds[0];
	held->cpu_stat = msg.u.instance_up.has & CTL_HAS_CPU_STAT ?
	    fds[next++] : -1;
	held->memory_peak = msg.u.instance_up.has & CTL_HAS_MEMORY_PEAK ?
	    fds[next++] : -1;
	held->memory_events = msg.u.instance_up.has & CTL_HAS_MEMORY_EVENTS ?
	    fds[next++] : -1;
}

static void
let_go(struct held *held)
{
	close_fd(&held->init);
	close_fd(&held->cpu_stat);
	close_fd(&held->memory_peak);
	close_fd(&held->memory_events);
}

static void
expect_gone(uint64_t id, struct ctl_msg *msg)
{
	puppet_expect_only(&world.gateway, CTL_INSTANCE_GONE, msg);
	assert_int_equal(msg->u.instance_gone.id, id);
}

static void
kill_instance(struct held *held)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_INSTANCE_KILL);
	msg.u.instance_kill.id = held->id;
	puppet_send(&world.gateway, &msg, NULL, 0);
	expect_gone(held->id, &msg);
	let_go(held);
}

static void
expect_failed(uint64_t id, const char *name, int error, const char *step)
{
	struct ctl_msg msg = start_of(id, name);

	puppet_send(&world.gateway, &msg, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_INSTANCE_FAILED, &msg);
	assert_int_equal(msg.u.instance_failed.id, id);
	assert_int_equal(msg.u.instance_failed.error, error);
	assert_string_equal(msg.u.instance_failed.step, step);
}

static void
report(const char *name, const char *path, const char *tenant,
    const char *runtime)
{
	struct ctl_msg msg = report_of(name, path, tenant);

	strcpy(msg.u.function.runtime, runtime);
	puppet_send(&world.scanner, &msg, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
}

static unsigned
entries_of(const char *path)
{
	const struct dirent *entry;
	unsigned count = 0;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* The init process: the spawner's child that is neither role. */
static pid_t
find_init(void)
{
	char path[64], text[4096] = "";
	char *word, *rest = text;
	FILE *file;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
	    (int)world.spawner, (int)world.spawner);
	file = fopen(path, "r");
	assert_non_null(file);
	(void)!fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	while ((word = strsep(&rest, " ")) != NULL) {
		pid = (pid_t)atoi(word);
		if (pid > 0 && pid != world.gateway.pid &&
		    pid != world.scanner.pid)
			return pid;
	}
	return -1;
}

/* Lets init run its CGI program once; what it wrote. */
static void
run_once(const struct held *held, char *out, size_t size)
{
	struct {
		struct init_order order;
		char env[32];
	} message = { .order = { .magic = INIT_MAGIC, .type = INIT_RUN,
	    .serial = 1 }, .env = "GREETING=hi" };
	int pipe_fds[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct init_report result;
	struct pollfd poller = { .fd = held->init, .events = POLLIN };
	size_t length = 0;
	ssize_t n;

	message.order.env_length = (uint32_t)strlen(message.env) + 1;
	assert_int_equal(sock_pipe(pipe_fds), 0);
	assert_int_equal(sock_send(held->init, &message,
	    sizeof(message.order) + message.order.env_length,
	    (int[]){ null, pipe_fds[1], null }, 3), 0);
	close(pipe_fds[1]);
	close(null);
	while ((n = read(pipe_fds[0], out + length, size - 1 - length)) > 0)
		length += (size_t)n;
	out[length] = '\0';
	close(pipe_fds[0]);
	assert_int_equal(poll(&poller, 1, PATIENCE_MS), 1);
	assert_int_equal(recv(held->init, &result, sizeof(result), 0),
	    sizeof(result));
	assert_int_equal(result.type, INIT_EXIT);
}

/* ------------------------------------------------------------------- tests */

static void
a_cgi_program_runs_under_its_tenants_number(void **state)
{
	struct held held;
	char out[256], expected[64];

	(void)state;
	start(&held, 1, "hello");
	assert_int_equal(held.uid, 710000);
	run_once(&held, out, sizeof(out));
	snprintf(expected, sizeof(expected), "hello %u\n", held.uid);
	assert_non_null(strstr(out, expected));
	kill_instance(&held);
}

static void
tenants_have_numbers_of_their_own_and_keep_them(void **state)
{
	struct held one, other;

	(void)state;
	world_write(&world, "functions/alice/x.cgi", "#!/bin/sh\n", 0755);
	report("alice/x", "alice/x.cgi", "alice", "");
	start(&one, 1, "hello");
	start(&other, 2, "alice/x");
	assert_int_equal(one.uid, 710000);
	assert_int_equal(other.uid, 710001);
	kill_instance(&one);
	start(&one, 3, "hello");
	assert_int_equal(one.uid, 710000);
	kill_instance(&one);
	kill_instance(&other);
}

static void
a_runtimes_command_gets_the_path_where_it_is_marked(void **state)
{
	struct held held;
	char out[256];

	(void)state;
	world_write(&world, "functions/sh.sh",
	    "echo \"0=$0 1=$1 g=$GREETING\"\n", 0644);
	report("sh", "sh.sh", "default", "sh");
	start(&held, 1, "sh");
	run_once(&held, out, sizeof(out));
	assert_string_equal(out, "0=/fn/sh.sh 1=extra g=hi\n");
	kill_instance(&held);
}

static void
data_is_the_tenants_and_outlives_an_instance(void **state)
{
	struct held held;
	char out[256];
	struct stat st;

	(void)state;
	world_write(&world, "functions/sh.sh",
	    "cat /data/x 2>/dev/null; echo more >>/data/x\n", 0644);
	report("sh", "sh.sh", "default", "sh");
	start(&held, 1, "sh");
	run_once(&held, out, sizeof(out));
	assert_string_equal(out, "");
	kill_instance(&held);
	assert_int_equal(stat(world_path(&world, "state/data/default"), &st),
	    0);
	assert_int_equal(st.st_uid, 710000);
	assert_int_equal(st.st_mode & 07777, 0700);
	start(&held, 2, "sh");
	run_once(&held, out, sizeof(out));
	assert_string_equal(out, "more\n");
	kill_instance(&held);
}

static void
what_an_instance_used_is_told_at_its_end(void **state)
{
	struct ctl_instance_gone *gone;
	struct ctl_msg msg;
	struct held held;
	char out[256], text[512];
	unsigned long long usage = 0;
	ssize_t n;

	(void)state;
	world_write(&world, "functions/sh.sh",
	    "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done\n", 0644);
	report("sh", "sh.sh", "default", "sh");
	start(&held, 1, "sh");
	run_once(&held, out, sizeof(out));
	if (held.cpu_stat >= 0) {
		n = pread(held.cpu_stat, text, sizeof(text) - 1, 0);
		assert_true(n > 0);
		text[n] = '\0';
		assert_int_equal(sscanf(text, "usage_usec %llu", &usage), 1);
	}
	assert_int_equal(close(held.init), 0);
	held.init = -1;
	/* init ends by itself at the hang-up. */
	expect_gone(1, &msg);
	gone = &msg.u.instance_gone;
	assert_true(WIFEXITED(gone->wait_status) ||
	    WIFSIGNALED(gone->wait_status));
	assert_int_equal(gone->has_cgroup, held.cpu_stat >= 0);
	assert_true(gone->cpu_usage_us > 1000);
	assert_true(gone->cpu_usage_us >= usage);
	assert_true(gone->memory_peak_kib > 0);
	assert_int_equal(gone->oom_kills, 0);
	let_go(&held);
}

static void
an_instance_leaves_nothing_behind(void **state)
{
	char cgroup[512] = "", line[512], path[600];
	struct held held;
	struct stat st;
	FILE *file;
	pid_t init;

	(void)state;
	report("fast", "fast.fcgi", "default", "");
	world_write(&world, "functions/fast.fcgi", "#!/bin/sh\nsleep 100\n",
	    0755);
	start(&held, 1, "fast");
	init = find_init();
	assert_true(init > 0);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)init);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, "0::", 3) == 0)
			sscanf(line + 3, "%511s", cgroup);
	fclose(file);
	assert_int_equal(stat(world_path(&world, "run/instances/1.sock"),
	    &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, getpwnam("nobody")->pw_gid);
	kill_instance(&held);
	assert_int_equal(kill(init, 0), -1);
	assert_int_equal(entries_of(world_path(&world, "run/instances")), 0);
	if (cgroup[0] != '\0') {
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s", cgroup);
		assert_int_equal(stat(path, &st), -1);
		snprintf(path, sizeof(path), "/sys/fs/cgroup/unified%s",
		    cgroup);
		assert_int_equal(stat(path, &st), -1);
	}
}

static void
functions_go_before_the_host_when_memory_runs_out(void **state)
{
	struct held held;
	char path[64], text[16] = "";
	int fd;

	(void)state;
	start(&held, 1, "hello");
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj",
	    (int)find_init());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_int_equal(atoi(text), 500);
	kill_instance(&held);
}

static void
the_instances_of_a_dead_gateway_die_with_it(void **state)
{
	struct ctl_msg msg;
	struct held held;
	pid_t init;

	(void)state;
	start(&held, 1, "hello");
	init = find_init();
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	/* Its end of init's socket is still held, here: only the spawner can
	 * have killed it. */
	puppet_await_successor(&world, &world.gateway);
	assert_int_equal(kill(init, 0), -1);
	puppet_expect_only(&world.gateway, CTL_START, &msg);
	assert_int_equal(msg.u.start.is_again, 1);
	let_go(&held);
}

static void
an_old_version_and_unknown_names_start_nothing(void **state)
{
	struct ctl_msg msg = start_of(1, "hello");

	(void)state;
	msg.u.instance_start.version[0] = 'b';
	puppet_send(&world.gateway, &msg, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_INSTANCE_FAILED, &msg);
	assert_int_equal(msg.u.instance_failed.error, ESTALE);
	expect_failed(2, "unknown", EIDRM, "");
	assert_int_equal(find_init(), -1);
}

static void
a_function_with_a_problem_starts_nothing(void **state)
{
	struct ctl_msg msg = report_of("hello", "hello.cgi", "default");

	(void)state;
	msg.u.function.problem = CTL_PROBLEM_OWNER;
	puppet_send(&world.scanner, &msg, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
	expect_failed(1, "hello", EIDRM, "");
	assert_int_equal(find_init(), -1);
}

static void
a_file_that_changed_since_its_report_is_looked_at_again(void **state)
{
	const char *hello = "functions/hello.cgi";
	uint64_t id = 1;
	char target[128];

	(void)state;
	assert_int_equal(chmod(world_path(&world, hello), 0777), 0);
	expect_failed(id++, "hello", EACCES,
	    "owner and mode of the function file");
	assert_int_equal(chmod(world_path(&world, hello), 0755), 0);
	assert_int_equal(chown(world_path(&world, hello), 12345, 0), 0);
	expect_failed(id++, "hello", EPERM,
	    "owner and mode of the function file");
	assert_int_equal(unlink(world_path(&world, hello)), 0);
	expect_failed(id++, "hello", EIDRM, "function file");
	snprintf(target, sizeof(target), "%s/h.ini", world.dir);
	assert_int_equal(symlink(target, world_path(&world, hello)), 0);
	expect_failed(id++, "hello", ELOOP, "function file");
	assert_int_equal(find_init(), -1);
	assert_int_equal(entries_of(world_path(&world, "run/instances")), 0);
}

static void
a_folder_that_became_a_link_is_not_followed(void **state)
{
	(void)state;
	report("alice/x", "alice/x.cgi", "alice", "");
	assert_int_equal(rmdir(world_path(&world, "functions/alice")), 0);
	assert_int_equal(symlink("/bin", world_path(&world,
	    "functions/alice")), 0);
	expect_failed(1, "alice/x", ELOOP, "function file");
}

static void
only_a_folder_that_is_there_costs_a_number(void **state)
{
	struct stat st;

	(void)state;
	report("bob/x", "bob/x.cgi", "bob", "");
	expect_failed(1, "bob/x", EIDRM, "function file");
	assert_int_equal(stat(world_path(&world, "state/tenants"), &st), -1);
}

static void
a_bind_that_is_not_there_is_named(void **state)
{
	(void)state;
	world_write(&world, "functions/bound.cgi", "#!/bin/sh\n", 0755);
	report("bound", "bound.cgi", "default", "");
	expect_failed(1, "bound", ENOENT, "bind /nonexistent/path: what it "
	    "names on the host");
	assert_int_equal(find_init(), -1);
}

/* Without rights, or the spawner might not look into its /proc. */
static _Noreturn void
hold_network(int ready)
{
	cap_t none = cap_init();

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
	    unshare(CLONE_NEWNET) == 0 && none != NULL &&
	    cap_set_proc(none) == 0 && write(ready, "", 1) == 1)
		pause();
	_exit(1);
}

/* A namespace of the administrator's, as long as the process lives. */
static pid_t
make_network(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(sock_pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		hold_network(ready[1]);
	close_fd(&ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close_fd(&ready[0]);
	return pid;
}

/* One that is told to be gone may hold one for a moment yet, so the number from
 * before may be one more than at rest; each leak would be three. */
static void
expect_no_more_fds(unsigned before)
{
	for (int ms = 0; ms < 30000 && world_fds(&world) > before; ms += 10)
		usleep(10000);
	assert_in_range(world_fds(&world), 1, before);
}

static void
a_start_leaves_no_descriptor_open_whatever_its_network(void **state)
{
	static const char *const names[] = { "hello", "alone", "way" };
	const pid_t network = make_network();
	char more[256];
	unsigned before = 0;
	struct held held;
	uint64_t id = 0;

	*state = &world;
	snprintf(more, sizeof(more), "[function alone]\nnetwork = loopback\n"
	    "[function way]\nnetwork = egress\negress = /proc/%d/ns/net\n",
	    (int)network);
	world_start(&world, more);
	world_serve(&world);
	world_write(&world, "functions/alone.cgi", "#!/bin/sh\n", 0755);
	world_write(&world, "functions/way.cgi", "#!/bin/sh\n", 0755);
	report("alone", "alone.cgi", "default", "");
	report("way", "way.cgi", "default", "");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		/* what a function keeps from its second start on is its own */
		for (unsigned round = 0; round < 5; round++) {
			if (round == 2)
				before = world_fds(&world);
			start(&held, ++id, names[i]);
			kill_instance(&held);
		}
		expect_no_more_fds(before);
	}
	assert_int_equal(kill(network, SIGKILL), 0);
	assert_int_equal(waitpid(network, NULL, 0), network);
}

static void
data_of_another_is_not_given(void **state)
{
	(void)state;
	assert_int_equal(mkdir(world_path(&world, "state/data/default"), 0700),
	    0);
	assert_int_equal(chown(world_path(&world, "state/data/default"), 4711,
	    4711), 0);
	expect_failed(1, "hello", EPERM, "data directory");
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_cgi_program_runs_under_its_tenants_number),
		TEST(tenants_have_numbers_of_their_own_and_keep_them),
		TEST(a_runtimes_command_gets_the_path_where_it_is_marked),
		TEST(data_is_the_tenants_and_outlives_an_instance),
		TEST(what_an_instance_used_is_told_at_its_end),
		TEST(an_instance_leaves_nothing_behind),
		TEST(functions_go_before_the_host_when_memory_runs_out),
		TEST(the_instances_of_a_dead_gateway_die_with_it),
		TEST(an_old_version_and_unknown_names_start_nothing),
		TEST(a_function_with_a_problem_starts_nothing),
		TEST(a_file_that_changed_since_its_report_is_looked_at_again),
		TEST(a_folder_that_became_a_link_is_not_followed),
		TEST(only_a_folder_that_is_there_costs_a_number),
		TEST(a_bind_that_is_not_there_is_named),
		cmocka_unit_test_teardown(
		    a_start_leaves_no_descriptor_open_whatever_its_network,
		    world_tear_down),
		TEST(data_of_another_is_not_given),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
