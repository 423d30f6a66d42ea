/*
 * A whole sandbox: what stands in its tree, what is cleaned, what a start
 * leaves behind on the host, and how a start fails.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/box.h"

static struct box_host host;
static char probe_path[128]; /* in the function's folder, on the host */

static char *
shell_argv(char **argv, const char *script)
{
	argv[0] = (char *)"/bin/sh";
	argv[1] = (char *)"-c";
	argv[2] = (char *)script;
	argv[3] = NULL;
	return argv[0];
}

/* Runs a script in a sandbox of its own; the output must be `wanted`. */
static void
expect(struct sandbox_plan *plan, const char *wanted)
{
	struct box_result result;

	assert_int_equal(box_try(&host, plan, NULL, &result), 0);
	box_plan_release(plan);
	assert_string_equal(result.output, wanted);
}

/* ------------------------------------------------------------------ the tree */

static void
the_root_holds_only_what_it_must(void **state)
{
	struct sandbox_plan plan;
	char *argv[4];

	(void)state;
	shell_argv(argv, "ls -d /* | grep -vE '^/(bin|sbin|lib|lib32|lib64|"
	                 "libx32)$' | tr '\\n' ' '; "
	                 "for d in / /usr /fn /etc /dev; do "
	                 "mkdir $d/x 2>/dev/null && echo $d can be written; "
	                 "done; ls /dev | tr '\\n' ' '; id -un");
	box_plan(&host, &plan, argv);
	expect(&plan, "/dev /etc /fn /proc /tmp /usr fd full null random shm "
	              "stderr stdin stdout urandom zero fn\n");
}

static void
a_single_file_stands_alone_in_its_folder(void **state)
{
	CLEANUP_FD int fd = -1;
	struct sandbox_plan plan;
	char path[128], *argv[4];

	(void)state;
	snprintf(path, sizeof(path), "%s/one.txt", host.folder);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "content\n", 8), 8);
	assert_int_equal(fchown(fd, BOX_UID, BOX_GID), 0);
	shell_argv(argv, "ls /fn; cat /fn/one.txt; echo x >>/fn/one.txt; true");
	box_plan(&host, &plan, argv);
	close(plan.function_fd);
	plan.function_fd = open(path, O_PATH | O_CLOEXEC);
	plan.function_is_folder = false;
	plan.function_file = "one.txt";
	expect(&plan, "one.txt\ncontent\n"
	    "/bin/sh: 1: cannot create /fn/one.txt: Read-only file system\n");
	unlink(path);
}

static void
data_outlives_an_instance_and_binds_are_as_asked(void **state)
{
	char data[] = "/tmp/box-data.XXXXXX", path[128], *argv[4];
	struct sandbox_plan plan;

	(void)state;
	assert_non_null(mkdtemp(data));
	assert_int_equal(chown(data, BOX_UID, BOX_GID), 0);
	snprintf(path, sizeof(path), "%s/kept", data);
	for (int i = 0; i < 2; i++) {
		shell_argv(argv, "echo line >>/data/kept; cat /data/kept; "
		                 "cat /opt/ro/kept; echo x >>/opt/ro/kept; "
		                 "echo x >/srv/rw/new && rm /srv/rw/new");
		box_plan(&host, &plan, argv);
		plan.data_fd = open(data, O_PATH | O_DIRECTORY | O_CLOEXEC);
		plan.bind_count = 2;
		plan.binds[0] = (struct sandbox_bind) { plan.data_fd,
			"/opt/ro", false };
		plan.binds[1] = (struct sandbox_bind) { plan.data_fd,
			"/srv/rw", true };
		expect(&plan, i == 0 ?
		    "line\nline\n/bin/sh: 1: cannot create /opt/ro/kept: "
		    "Read-only file system\n" :
		    "line\nline\nline\nline\n/bin/sh: 1: cannot create "
		    "/opt/ro/kept: Read-only file system\n");
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(data), 0);
}

static void
interpreters_of_the_host_run(void **state)
{
	static const struct {
		const char *script, *wanted;
	} cases[] = {
		{ "perl -e 'print 6*7'", "42" },
		{ "/usr/bin/python3 -c 'import tempfile, threading, "
		  "subprocess\nt = threading.Thread(target=print, "
		  "args=(subprocess.check_output([\"echo\", \"hi\"]),))\n"
		  "t.start(); t.join()\n"
		  "with tempfile.TemporaryFile() as f: print(f.write(b\"x\"))'",
		    "b'hi\\n'\n1\n" },
		{ "echo b | cat - /dev/null > /dev/stdout; "
		  "echo c > /dev/stderr; awk 'BEGIN { print 1 }'",
		    "b\nc\n1\n" },
		{ "mkdir /tmp/a /tmp/b; echo x >/tmp/a/f; mv /tmp/a/f /tmp/b/; "
		  "ln /tmp/b/f /tmp/a/g; mkfifo /tmp/p; cat /tmp/a/g; "
		  "date -d @0 +%Y; getent passwd fn | cut -d: -f1", "x\n1970\nfn\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sandbox_plan plan;
		char *argv[4];

		shell_argv(argv, cases[i].script);
		box_plan(&host, &plan, argv);
		expect(&plan, cases[i].wanted);
	}
}

/* ------------------------------------------------------------------- FastCGI */

static void
a_fastcgi_program_listens_on_descriptor_0(void **state)
{
	static const char script[] =
	    "use Socket; $n = 0; while (accept(C, STDIN)) { "
	    "syswrite(C, ++$n); close C; exit 5 if $n == 2 }";
	char *const argv[] = { (char *)"perl", (char *)"-e", (char *)script,
		NULL };
	char path[64];
	CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	CLEANUP_FD int listener = -1, waiting = -1;
	struct sandbox_plan plan;
	struct init_report report;
	struct box box;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/box-%d.sock", (int)getpid());
	listener = sock_listen_unix(path, 0600, (gid_t)-1, 8);
	assert_true(listener >= 0);
	assert_int_equal(fd_set_nonblock(listener, false), 0);
	box_plan(&host, &plan, argv);
	plan.listen_fd = listener;
	assert_int_equal(box_start(&host, &plan, &box), 0);
	box_plan_release(&plan);
	assert_int_equal(box_order(&box, INIT_RUN, NULL,
	    (const int[]) { null, null }, 2), 0);
	for (char wanted = '1'; wanted <= '2'; wanted++) {
		int fd = sock_connect_unix(path);
		char byte = 0;

		assert_true(fd >= 0);
		assert_int_equal(fd_set_nonblock(fd, false), 0);
		assert_int_equal(read(fd, &byte, 1), 1);
		assert_int_equal(byte, wanted);
		close(fd);
	}
	/* Its end is reported; whom it did not accept can be told from others
	 * as long as init holds the socket. */
	assert_int_equal(box_report(&box, 5000, &report), 0);
	assert_int_equal(report.type, INIT_EXIT);
	assert_int_equal(WEXITSTATUS(report.wait_status), 5);
	waiting = sock_connect_unix(path);
	assert_true(waiting >= 0);
	assert_int_equal(box_report(&box, 50, &report), -ETIME);
	assert_int_equal(recv(waiting, &report, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	/* With the gateway's word ends the instance. */
	assert_int_equal(box_order(&box, INIT_END, NULL, NULL, 0), 0);
	assert_int_equal(box_report(&box, 5000, &report), -EPIPE);
	assert_int_equal(box_end(&host, &box), 0);
	unlink(path);
}

/* ------------------------------------------------------------------ cleaning */

/* A probe, several times in one sandbox. */
static void
run_probe(const char *number, int times, struct box_result *result)
{
	char *const argv[] = { (char *)"/fn/probe", (char *)number, NULL };
	struct sandbox_plan plan;
	struct box box;

	box_plan(&host, &plan, argv);
	assert_int_equal(box_start(&host, &plan, &box), 0);
	box_plan_release(&plan);
	for (int i = 0; i < times; i++) {
		assert_int_equal(box_run(&box, NULL, 30000, result), 0);
		if (result->report.type != INIT_EXIT ||
		    result->report.wait_status != 0)
			fail_msg("probe %s, time %d: %s", number, i,
			    result->output);
	}
	assert_int_equal(box_end(&host, &box), 0);
}

static void
the_next_execution_finds_nothing_of_the_last(void **state)
{
	struct box_result result;

	(void)state;
	run_probe("40", 5, &result);
}

static void
however_deep_and_however_closed_a_tree_is_it_goes(void **state)
{
	struct box_result result;
	struct sandbox_plan plan;
	struct box box;
	char *argv[4];

	(void)state;
	shell_argv(argv, "ls -A /tmp /dev/shm; /usr/bin/python3 -c '\n"
	                 "import os\n"
	                 "os.chdir(\"/tmp\")\n"
	                 "for i in range(700):\n"
	                 "  os.mkdir(\"d\" * 200); os.chdir(\"d\" * 200)\n"
	                 "open(\"f\", \"w\").close(); os.symlink(\"/usr\", \"l\")\n"
	                 "os.chmod(\".\", 0)\n"
	                 "os.chdir(\"/dev/shm\")\n"
	                 "for i in range(200):\n"
	                 "  os.mkdir(str(i)); open(str(i)+\"/f\", \"w\").close()\n"
	                 "  os.mkdir(str(i)+\"/e\"); os.chmod(str(i), 0o500)\n'");
	box_plan(&host, &plan, argv);
	assert_int_equal(box_start(&host, &plan, &box), 0);
	box_plan_release(&plan);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(box_run(&box, NULL, 20000, &result), 0);
		assert_string_equal(result.output, "/dev/shm:\n\n/tmp:\n");
		assert_int_equal(result.report.type, INIT_EXIT);
	}
	assert_int_equal(box_end(&host, &box), 0);
}

static void
a_fork_bomb_ends_with_its_execution(void **state)
{
	struct box_result result;

	(void)state;
	run_probe("35", 3, &result);
	assert_true(result.report.killed > 10);
}

static void
no_memfd_is_executed_at_any_start(void **state)
{
	struct box_result result;

	(void)state;
	for (int i = 0; i < 3; i++)
		run_probe("4-memfd", 2, &result);
}

/* -------------------------------------------------------- what a start leaves */

static size_t
count_leaves(void)
{
	char path[64];

	if (host.cgroup.fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", host.cgroup.fd);
	return box_count_entries(path);
}

static void
a_hundred_starts_leave_nothing(void **state)
{
	size_t leaves = count_leaves();
	size_t descriptors = box_count_entries("/proc/self/fd");
	char *mounts = box_mounts();
	struct sandbox_plan plan;
	struct box_result result;
	char *argv[4];

	(void)state;
	shell_argv(argv, "(sleep 100 &) ; echo x >/tmp/x");
	for (int i = 0; i < 100; i++) {
		struct box box;

		box_plan(&host, &plan, argv);
		assert_int_equal(box_start(&host, &plan, &box), 0);
		/* Some end while a program runs, some before any. */
		if (i % 3 == 0)
			assert_int_equal(box_run(&box, NULL, 5000, &result), 0);
		else if (i % 3 == 1)
			assert_int_equal(box_order(&box, INIT_RUN, NULL,
			    (const int[]) { 0, 1, 2 }, 3), 0);
		assert_true(box_end(&host, &box) >= 0);
		box_plan_release(&plan);
	}
	assert_int_equal(box_count_new_mounts(mounts), 0);
	free(mounts);
	assert_int_equal(count_leaves(), leaves);
	assert_int_equal(box_count_entries("/proc/self/fd"), descriptors);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static unsigned long
anonymous_kib(pid_t pid)
{
	char path[64], line[256];
	unsigned long found = 0, kib;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			found = kib;
	}
	fclose(file);
	return found;
}

/* As soon as it is the program that it becomes. */
static void
init_is_small(void **state)
{
	struct sandbox_plan plan;
	char *argv[4];
	struct box box;

	(void)state;
	shell_argv(argv, "true");
	box_plan(&host, &plan, argv);
	assert_int_equal(box_start(&host, &plan, &box), 0);
	box_plan_release(&plan);
	usleep(50000);
	for (int ms = 0; ms < 15000 && anonymous_kib(box.child.pid) > 200; ms++)
		usleep(1000);
	/* Its text is shared by all instances. */
	assert_in_range(anonymous_kib(box.child.pid), 1, 200);
	box_end(&host, &box);
}

static void
a_dead_host_takes_its_instances_along(void **state)
{
	int pipes[2];
	char byte;
	pid_t pid;
	time_t begin;

	(void)state;
	assert_int_equal(sock_pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		struct sandbox_plan plan;
		struct box box;
		char *argv[4];
		int null = open("/dev/null", O_RDWR);

		shell_argv(argv, "trap '' TERM HUP; echo x; sleep 100; true");
		box_plan(&host, &plan, argv);
		if (box_start(&host, &plan, &box) != 0 ||
		    box_order(&box, INIT_RUN, NULL,
		        (const int[]) { null, pipes[1], null }, 3) != 0)
			_exit(1);
		close(pipes[1]);
		/* The gateway's end lives on for a while in another process, so
		 * that it is not the hang-up that ends the instance. */
		if (fork() == 0)
			alarm(30);
		for (;;)
			pause();
	}
	close(pipes[1]);
	host.leaves++; /* the child's copy has counted on */
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* The script's copy of the pipe closes, though it ignores all signals
	 * and sleeps on. */
	begin = time(NULL);
	while (read(pipes[0], &byte, 1) > 0)
		continue;
	assert_in_range(time(NULL) - begin, 0, 15);
	close(pipes[0]);
}

/* ------------------------------------------------------------- the leaf's part */

static void
start_bounded(struct box *box, const char *script)
{
	struct sandbox_plan plan;
	char *argv[4];

	shell_argv(argv, script);
	box_plan(&host, &plan, argv);
	plan.is_processes_in_cgroup = true;
	plan.is_memory_in_cgroup = true;
	host.limits = (struct cgroup_limits) { 32 << 20, 20, 0 };
	assert_int_equal(box_start(&host, &plan, box), 0);
	memset(&host.limits, 0, sizeof(host.limits));
	box_plan_release(&plan);
}

static void
a_leaf_bounds_memory_and_processes(void **state)
{
	struct box_result result;
	uint64_t kills = 0;
	struct box box;
	int fd;

	(void)state;
	if (host.cgroup.fd < 0 || !host.cgroup.has_memory ||
	    !host.cgroup.has_pids) {
		fprintf(stderr, "SKIPPED: %s\n", host.cgroup.reason);
		return;
	}
	start_bounded(&box, "/fn/probe 35 >/tmp/o; read -r line </tmp/o; echo \"$line\"");
	assert_int_equal(box_run(&box, NULL, 20000, &result), 0);
	assert_non_null(strstr(result.output,
	    "denied: a fork bomb: Resource temporarily unavailable"));
	assert_in_range(result.report.killed, 10, 20);
	box_end(&host, &box);
	/* Out of memory takes the whole instance, init too. */
	start_bounded(&box, "perl -e '$n = 200 << 20; $x = \"a\" x $n'");
	assert_int_equal(box_run(&box, NULL, 20000, &result), 0);
	assert_true(result.has_ended);
	fd = cgroup_leaf_open(box.leaf_fd, "memory.events", false);
	assert_int_equal(cgroup_key_read(fd, "oom_kill", &kills), 0);
	close(fd);
	assert_true(kills > 0);
	box_end(&host, &box);
}

/* -------------------------------------------------------------- failed starts */

static void
expect_failure(struct sandbox_plan *plan, int error, const char *step)
{
	size_t descriptors = box_count_entries("/proc/self/fd");
	struct box box;

	/* one that is given up for another plan's would be counted, too */
	plan->tree = NULL;
	assert_int_equal(box_start(&host, plan, &box), error);
	assert_string_equal(box.child.failed_step, step);
	assert_int_equal(box.child.pid, -1);
	assert_int_equal(box.child.pidfd, -1);
	assert_int_equal(box_count_entries("/proc/self/fd"), descriptors);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	box_plan_release(plan);
}

static void
a_failed_start_names_the_step_and_leaves_nothing(void **state)
{
	struct sandbox_plan plan;
	char *argv[4];

	(void)state;
	shell_argv(argv, "true");
	box_plan(&host, &plan, argv);
	plan.uid = 0;
	expect_failure(&plan, -EINVAL, "plan: a function never runs as root");
	box_plan(&host, &plan, argv);
	plan.layers &= ~(unsigned)LAYER_PID;
	expect_failure(&plan, -EINVAL,
	    "plan: pid and mount namespaces cannot be left out");
	box_plan(&host, &plan, argv);
	close(plan.function_fd);
	plan.function_fd = -1;
	expect_failure(&plan, -EBADF, "the function's mount");
	box_plan(&host, &plan, argv);
	plan.bind_count = 1;
	plan.binds[0] = (struct sandbox_bind) { plan.function_fd,
		"/usr/no/such/place", false };
	expect_failure(&plan, -ENOENT, "/usr/no/such/place");
	box_plan(&host, &plan, argv);
	plan.bind_count = 1;
	plan.binds[0] = (struct sandbox_bind) { plan.function_fd, "/a/../b",
		false };
	expect_failure(&plan, -EINVAL, "/data and binds");
	box_plan(&host, &plan, argv);
	plan.uid = (uid_t)-1;
	expect_failure(&plan, -EPERM, "verification of rights");
	box_plan(&host, &plan, argv);
	plan.hostname = "a-name-that-is-longer-than-the-sixty-four-bytes-which-a-"
	                "host-name-may-have";
	expect_failure(&plan, -EINVAL, "host name");
}

static void
install_probe(void)
{
	char command[4096 + 256], path[4096];

	snprintf(probe_path, sizeof(probe_path), "%s/probe", host.folder);
	snprintf(command, sizeof(command), "cp '%s' '%s'",
	    box_built("tests/probes/probe", path, sizeof(path)), probe_path);
	if (system(command) != 0)
		exit(1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_holds_only_what_it_must),
		cmocka_unit_test(a_single_file_stands_alone_in_its_folder),
		cmocka_unit_test(
		    data_outlives_an_instance_and_binds_are_as_asked),
		cmocka_unit_test(interpreters_of_the_host_run),
		cmocka_unit_test(a_fastcgi_program_listens_on_descriptor_0),
		cmocka_unit_test(the_next_execution_finds_nothing_of_the_last),
		cmocka_unit_test(
		    however_deep_and_however_closed_a_tree_is_it_goes),
		cmocka_unit_test(a_fork_bomb_ends_with_its_execution),
		cmocka_unit_test(no_memfd_is_executed_at_any_start),
		cmocka_unit_test(a_hundred_starts_leave_nothing),
		cmocka_unit_test(init_is_small),
		cmocka_unit_test(a_dead_host_takes_its_instances_along),
		cmocka_unit_test(a_leaf_bounds_memory_and_processes),
		cmocka_unit_test(
		    a_failed_start_names_the_step_and_leaves_nothing),
	};
	int setup = box_setup(&host);
	int failed;

	if (setup != 0)
		return setup;
	install_probe();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(probe_path);
	box_teardown(&host);
	return failed;
}
