/*
 * Runs the probes: each in a whole sandbox, in one without Landlock, in one
 * without seccomp, in some with more layers off, and, where that is harmless,
 * outside, where the same acts must succeed: a probe that cannot find a hole
 * proves nothing.
 *
 * The whole runs in a network namespace of its own, in which the metadata
 * address and a private one stand on an interface with a listener that counts:
 * nothing outside is reached even where a sandbox has a hole.
 *
 *   try [-v] [PROBE…]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/box.h"

#define PORT 8099
#define NONE 0u
#define NO_LL LAYER_LANDLOCK
#define NO_SC LAYER_SECCOMP
#define NO_NET LAYER_NET
#define NO_MEMFD LAYER_MEMFD_NOEXEC

enum outside { OUTSIDE_HOLE, OUTSIDE_NOT };

/* What each probe must find. */
static const struct row {
	const char *probe;
	bool is_hole_without_seccomp; /* no other layer stops it, by design */
	enum outside outside;
	const char *why_not; /* it is not run outside */
} rows[] = {
	{ "1", false, OUTSIDE_HOLE, NULL },
	{ "2", false, OUTSIDE_HOLE, NULL },
	{ "3", false, OUTSIDE_HOLE, NULL },
	{ "4", false, OUTSIDE_HOLE, NULL },
	{ "4-memfd", false, OUTSIDE_HOLE, NULL },
	{ "6", false, OUTSIDE_HOLE, NULL },
	{ "7", false, OUTSIDE_NOT, "it would fill the machine's memory" },
	{ "8", false, OUTSIDE_NOT, "it would fill the machine's memory" },
	{ "9", false, OUTSIDE_HOLE, NULL },
	{ "10", false, OUTSIDE_HOLE, NULL },
	{ "11", true, OUTSIDE_HOLE, NULL },
	{ "12", true, OUTSIDE_HOLE, NULL },
	{ "13", false, OUTSIDE_HOLE, NULL },
	{ "14", false, OUTSIDE_HOLE, NULL },
	{ "15", true, OUTSIDE_HOLE, NULL },
	{ "16", true, OUTSIDE_HOLE, NULL },
	{ "17", true, OUTSIDE_HOLE, NULL },
	{ "18", true, OUTSIDE_HOLE, NULL },
	{ "19", true, OUTSIDE_HOLE, NULL },
	{ "20", false, OUTSIDE_NOT, "a process outside judges it" },
	{ "21", false, OUTSIDE_HOLE, NULL },
	{ "22", false, OUTSIDE_HOLE, NULL },
	{ "23", false, OUTSIDE_HOLE, NULL },
	{ "24", false, OUTSIDE_HOLE, NULL },
	{ "25", false, OUTSIDE_HOLE, NULL },
	{ "26", true, OUTSIDE_HOLE, NULL },
	{ "27", true, OUTSIDE_HOLE, NULL },
	{ "28", false, OUTSIDE_HOLE, NULL },
	{ "29", false, OUTSIDE_HOLE, NULL },
	{ "32", true, OUTSIDE_HOLE, NULL },
	{ "33", true, OUTSIDE_HOLE, NULL },
	{ "34", true, OUTSIDE_HOLE, NULL },
	{ "35", false, OUTSIDE_NOT, "it would stop the machine" },
	{ "37", false, OUTSIDE_NOT, "init's report judges it" },
	{ "40", false, OUTSIDE_NOT, "it is run twice, below" },
	{ "41", false, OUTSIDE_HOLE, NULL },
	{ "41-limits", true, OUTSIDE_HOLE, NULL },
	{ "42", false, OUTSIDE_HOLE, NULL },
	{ "43", true, OUTSIDE_HOLE, NULL },
	{ "status", true, OUTSIDE_HOLE, NULL },
};

/* Several layers off at once: what a single remaining one is worth. */
static const struct extra {
	const char *probe;
	unsigned off;
	bool is_hole;
	int least_abi; /* of Landlock, for it to be denied or not */
	const char *about;
} extras[] = {
	{ "41", NO_LL | NO_SC, false, 0, "not dumpable alone" },
	{ "28", NO_LL | NO_SC, false, 0, "a network namespace alone" },
	{ "28", NO_NET, false, 0, "seccomp and Landlock" },
	{ "28", NO_NET | NO_LL, false, 0, "seccomp alone" },
	{ "28", NO_NET | NO_SC, false, 4, "Landlock alone" },
	{ "28", NO_NET | NO_LL | NO_SC, true, 0, "nothing is left" },
	{ "29", NO_NET | NO_SC, false, 6, "Landlock's scope alone" },
	{ "29", NO_NET | NO_SC | NO_LL, true, 0, "nothing is left" },
	{ "3", NO_LL | NO_SC, false, 0, "the read-only mount alone" },
	{ "4", NO_LL | NO_SC, false, 0, "noexec alone" },
	{ "10", NO_LL | NO_SC, false, 0, "no capability alone" },
	{ "1", NO_LL | NO_SC, false, 0, "the tree alone" },
	{ "2", NO_LL | NO_SC, false, 0, "the tree alone" },
};

struct world {
	struct box_host box;
	int listeners[3];
	int abstract_fd;
	pid_t victim;
	int data_fd;
	char probe[4096], marker[80];
	char env[5][160];
	const char *environment[8];
	unsigned done, failed, skipped;
	bool is_verbose, has_memfd_noexec;
};

/* ------------------------------------------------------------------- the world */

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
command(const char *text)
{
	if (system(text) != 0) {
		fprintf(stderr, "failed: %s\n", text);
		exit(1);
	}
}

static int
listen_at(const char *address)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET, address, &at.sin_addr);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(fd, 16) != 0)
		die(address);
	return fd;
}

static void
make_network(struct world *world)
{
	if (unshare(CLONE_NEWNET) != 0)
		die("a network namespace of its own");
	command("ip link set lo up");
	/* A dummy interface where the kernel has one, else the loopback. */
	if (system("ip link add probe0 type dummy 2>/dev/null && "
	           "ip link set probe0 up") == 0)
		command("ip addr add 169.254.169.254/16 dev probe0 && "
		        "ip addr add 10.0.0.1/8 dev probe0");
	else
		command("ip addr add 169.254.169.254/16 dev lo && "
		        "ip addr add 10.0.0.1/8 dev lo");
	world->listeners[0] = listen_at("127.0.0.1");
	world->listeners[1] = listen_at("169.254.169.254");
	world->listeners[2] = listen_at("10.0.0.1");
}

static unsigned
count_connections(const struct world *world)
{
	unsigned n = 0;

	for (int i = 0; i < 3; i++) {
		int fd;

		while ((fd = accept(world->listeners[i], NULL, NULL)) >= 0) {
			close(fd);
			n++;
		}
	}
	return n;
}

static void
copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	char buf[65536];
	ssize_t n;

	if (in < 0 || out < 0)
		die(from);
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		if (write(out, buf, (size_t)n) != n)
			die(to);
	}
	fchmod(out, 0755);
	close(in);
	close(out);
}

/* The folder and all in it belong to the tenant, so that only the sandbox and
 * not its mode stands before the program. */
static void
make_files(struct world *world)
{
	char path[128];
	int fd;

	box_built("tests/probes/probe", world->probe, sizeof(world->probe));
	snprintf(path, sizeof(path), "%s/probe", world->box.folder);
	copy_file(world->probe, path);
	if (chown(path, BOX_UID, BOX_GID) != 0 ||
	    chown(world->box.folder, BOX_UID, BOX_GID) != 0)
		die(path);
	snprintf(path, sizeof(path), "%s.data", world->box.folder);
	if (mkdir(path, 0700) != 0 || chown(path, BOX_UID, BOX_GID) != 0)
		die(path);
	world->data_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(world->marker, sizeof(world->marker), "%s.marker",
	    world->box.folder);
	fd = open(world->marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || world->data_fd < 0)
		die(world->marker);
	close(fd);
}

static void
remove_files(struct world *world)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/probe", world->box.folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s.data", world->box.folder);
	rmdir(path);
	unlink(world->marker);
	close(world->data_fd);
}

/* A process of the tenant's uid outside of the sandbox. */
static void
start_victim(struct world *world)
{
	world->victim = fork();
	if (world->victim == 0) {
		if (setresgid(BOX_GID, BOX_GID, BOX_GID) != 0 ||
		    setresuid(BOX_UID, BOX_UID, BOX_UID) != 0)
			_exit(1);
		for (;;)
			pause();
	}
}

static void
make_environment(struct world *world)
{
	struct sockaddr_un_like {
		sa_family_t family;
		char path[64];
	} at = { AF_UNIX, "" };
	int n;

	n = snprintf(at.path + 1, sizeof(at.path) - 1, "probe-%d",
	    (int)getpid());
	world->abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(world->abstract_fd, (struct sockaddr *)&at,
	        (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)n)) != 0 ||
	    listen(world->abstract_fd, 64) != 0)
		die("abstract socket");
	snprintf(world->env[0], sizeof(world->env[0]), "PROBE_MARKER=%s",
	    world->marker);
	snprintf(world->env[1], sizeof(world->env[1]), "PROBE_HOST_PID=%d",
	    (int)world->victim);
	snprintf(world->env[2], sizeof(world->env[2]), "PROBE_PORT=%d", PORT);
	snprintf(world->env[3], sizeof(world->env[3]), "PROBE_ABSTRACT=%s",
	    at.path + 1);
	snprintf(world->env[4], sizeof(world->env[4]), "PATH=/usr/bin:/bin");
	for (int i = 0; i < 5; i++)
		world->environment[i] = world->env[i];
}

/* --------------------------------------------------------------------- inside */

static void
verdict(struct world *world, bool is_ok, const char *probe, const char *where,
    const char *why, const char *output)
{
	world->done++;
	printf("%s - probe %s %s%s%s\n", is_ok ? "ok" : "not ok", probe, where,
	    why[0] != '\0' ? ": " : "", why);
	if (!is_ok || world->is_verbose)
		printf("%s", output);
	if (!is_ok)
		world->failed++;
	fflush(stdout);
}

static void
skip(struct world *world, const char *probe, const char *where,
    const char *output)
{
	world->skipped++;
	printf("# SKIPPED: probe %s %s: not in this kernel: %s", probe, where,
	    output);
}

/* What the probe cannot see itself. */
static const char *
judge_outside(struct world *world, const char *probe, const struct box *box,
    const struct box_result *result, bool is_hole)
{
	char procs[256] = "";
	int fd;

	if (count_connections(world) != 0 && !is_hole)
		return "the listener was reached";
	if (result->has_ended)
		return "init ended";
	if (waitpid(world->victim, NULL, WNOHANG | WUNTRACED) != 0)
		return "a process outside was hit";
	if (result->report.type != INIT_EXIT)
		return "init did not report a clean end";
	if (strcmp(probe, "37") == 0 && result->report.killed != 1)
		return "the daemon was not killed";
	if (box->leaf_fd < 0)
		return "";
	fd = cgroup_leaf_open(box->leaf_fd, "cgroup.procs", false);
	if (fd >= 0 && read(fd, procs, sizeof(procs) - 1) <= 0)
		procs[0] = '\0';
	close_fd(&fd);
	if (strchr(procs, '\n') != strrchr(procs, '\n'))
		return "a process is left in the sandbox";
	return "";
}

static void
run_inside(struct world *world, const char *probe, unsigned off, bool is_hole,
    const char *where)
{
	char *const argv[] = { (char *)"/fn/probe", (char *)probe, NULL };
	struct sandbox_plan plan;
	struct box_result result;
	struct box box;
	const char *why = "";
	int wanted = is_hole ? 1 : 0, error;

	box_plan(&world->box, &plan, argv);
	plan.layers &= ~off;
	plan.data_fd = world->data_fd;
	error = box_start(&world->box, &plan, &box);
	plan.data_fd = -1;
	box_plan_release(&plan);
	if (error != 0) {
		verdict(world, false, probe, where, box.child.failed_step,
		    strerror(-error));
		return;
	}
	error = box_run(&box, world->environment, 20000, &result);
	if (error != 0)
		why = strerror(-error);
	else
		why = judge_outside(world, probe, &box, &result, is_hole);
	if (error == 0 && WIFEXITED(result.report.wait_status) &&
	    WEXITSTATUS(result.report.wait_status) == 77)
		skip(world, probe, where, result.output);
	/* A hole that was found may have cost init its life; that is the
	 * layer's point. */
	else if (is_hole && error == 0 && strstr(result.output, "HOLE: ") != NULL)
		verdict(world, true, probe, where, "HOLE, as it must be",
		    result.output);
	else if (why[0] != '\0')
		verdict(world, false, probe, where, why, result.output);
	else
		verdict(world, WIFEXITED(result.report.wait_status) &&
		    WEXITSTATUS(result.report.wait_status) == wanted &&
		    strstr(result.output, is_hole ? "HOLE" : "denied: ") != NULL,
		    probe, where, "", result.output);
	box_end(&world->box, &box);
}

/* -------------------------------------------------------------------- outside */

/* In namespaces of its own, so that what succeeds harms nobody; but with root's
 * rights, the host's files and a descriptor or two too many. */
static _Noreturn void
be_outside(const struct world *world, const char *probe, int out)
{
	char *const argv[] = { (char *)"probe", (char *)probe, NULL };
	int slash = open("/", O_RDONLY | O_DIRECTORY), pair[2], status;
	pid_t pid;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    slash < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0)
		_exit(101);
	/* The number 3 stays open in init's place, as init's socket would. */
	pid = fork();
	if (pid == 0) {
		if (mount("proc", "/proc", "proc", 0, NULL) != 0 ||
		    mkdir("/tmp/box-out", 0755) != 0 ||
		    mount("none", "/tmp/box-out", "tmpfs", 0, NULL) != 0)
			_exit(102);
		copy_file(world->probe, "/tmp/box-out/probe");
		dup2(slash, 0);
		dup2(out, 1);
		dup2(out, 2);
		execve("/tmp/box-out/probe", argv,
		    (char *const *)world->environment);
		_exit(103);
	}
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 104);
}

static void
run_outside(struct world *world, const char *probe)
{
	char output[16384];
	size_t length = 0;
	int pipes[2], status;
	pid_t pid;
	ssize_t n;

	if (pipe2(pipes, O_CLOEXEC) != 0)
		die("pipe");
	fflush(stdout);
	/* Probe 21 must see strangers: it stays in the host's pid namespace. */
	pid = (pid_t)syscall(SYS_clone, (unsigned long)(SIGCHLD | CLONE_NEWNS |
	    CLONE_NEWIPC | CLONE_NEWUTS |
	    (strcmp(probe, "21") == 0 ? 0 : CLONE_NEWPID)), NULL, NULL, NULL,
	    NULL);
	if (pid < 0)
		die("clone");
	if (pid == 0)
		be_outside(world, probe, pipes[1]);
	close(pipes[1]);
	while (length < sizeof(output) - 1 &&
	    (n = read(pipes[0], output + length,
	         sizeof(output) - 1 - length)) > 0)
		length += (size_t)n;
	output[length] = '\0';
	close(pipes[0]);
	waitpid(pid, &status, 0);
	rmdir("/tmp/box-out");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(world, probe, "outside", output);
	else
		verdict(world, WIFEXITED(status) && WEXITSTATUS(status) == 1,
		    probe, "outside", "must find a hole", output);
	count_connections(world);
}

/* ----------------------------------------------------------------------- main */

static bool
is_chosen(const char *probe, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], probe) == 0)
			return true;
	}
	return argc == 0;
}

/* A memfd is kept from being executed by the kernel, or before 6.3 by seccomp's
 * refusing to make one. */
static void
run_memfd(struct world *world)
{
	run_inside(world, "4-memfd", NONE, false, "in the sandbox");
	run_inside(world, "4-memfd", NO_SC, !world->has_memfd_noexec,
	    "without seccomp");
	run_inside(world, "4-memfd", NO_MEMFD, world->has_memfd_noexec,
	    "without memfd_noexec");
	run_outside(world, "4-memfd");
}

static void
run_row(struct world *world, const struct row *row)
{
	if (strcmp(row->probe, "4-memfd") == 0) {
		run_memfd(world);
		return;
	}
	run_inside(world, row->probe, NONE, false, "in the sandbox");
	run_inside(world, row->probe, NO_LL, false, "without Landlock");
	run_inside(world, row->probe, NO_SC, row->is_hole_without_seccomp,
	    "without seccomp");
	if (row->outside == OUTSIDE_HOLE)
		run_outside(world, row->probe);
	else
		printf("# probe %s is not run outside: %s\n", row->probe,
		    row->why_not);
}

static void
run_extra(struct world *world, const struct extra *extra)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	if (extra->least_abi > 0 && abi < extra->least_abi) {
		world->skipped++;
		printf("# SKIPPED: probe %s, %s: this kernel's Landlock has "
		       "ABI %d, %d is needed\n", extra->probe, extra->about,
		    abi, extra->least_abi);
		return;
	}
	run_inside(world, extra->probe, extra->off, extra->is_hole,
	    extra->about);
}

int
main(int argc, char **argv)
{
	struct world world = { .abstract_fd = -1 };
	int setup;

	argc--;
	argv++;
	if (argc > 0 && strcmp(argv[0], "-v") == 0) {
		world.is_verbose = true;
		argc--;
		argv++;
	}
	setup = box_setup(&world.box);
	if (setup != 0)
		return setup;
	make_network(&world);
	make_files(&world);
	start_victim(&world);
	make_environment(&world);
	world.has_memfd_noexec =
	    access("/proc/sys/vm/memfd_noexec", F_OK) == 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (is_chosen(rows[i].probe, argc, argv))
			run_row(&world, &rows[i]);
	}
	for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++) {
		if (is_chosen(extras[i].probe, argc, argv))
			run_extra(&world, &extras[i]);
	}
	kill(world.victim, SIGKILL);
	waitpid(world.victim, NULL, 0);
	remove_files(&world);
	box_teardown(&world.box);
	printf("%u of %u as they must be, %u skipped\n",
	    world.done - world.failed, world.done, world.skipped);
	return world.failed == 0 && world.done > 0 ? 0 : 1;
}
