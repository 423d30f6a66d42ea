#include "tests/probes/try.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define LIMIT_MS 20000

static void __attribute__((format(printf, 3, 4)))
conclude(struct tried *tried, enum outcome outcome, const char *format, ...)
{
	va_list arguments;

	tried->outcome = outcome;
	va_start(arguments, format);
	vsnprintf(tried->why, sizeof(tried->why), format, arguments);
	va_end(arguments);
}

/* What the program says of itself; status: of wait. */
static void
judge_output(struct tried *tried, int status)
{
	const char *hole = strstr(tried->output, "HOLE: ");

	if (hole != NULL)
		conclude(tried, OUTCOME_HOLE, "%.*s",
		    (int)strcspn(hole + 6, "\n"), hole + 6);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		conclude(tried, OUTCOME_ABSENT, "not in this kernel");
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
	    strstr(tried->output, "denied: ") != NULL)
		conclude(tried, OUTCOME_HELD, "%s", "");
	else
		conclude(tried, OUTCOME_FAULT, "ended with wait status %#x",
		    (unsigned)status);
}

/* --------------------------------------------------------------------- inside */

static bool
is_any_left(const struct box *box)
{
	CLEANUP_FD int fd = cgroup_leaf_open(box->leaf_fd, "cgroup.procs",
	    false);
	char procs[256] = "";

	if (fd >= 0 && read(fd, procs, sizeof(procs) - 1) <= 0)
		procs[0] = '\0';
	return strchr(procs, '\n') != strrchr(procs, '\n');
}

/* What the probe cannot see itself; NULL: nothing. */
static const char *
harm_done(const struct world *world, const char *probe, const struct box *box,
    const struct box_result *result)
{
	if (world_connections(world) != 0)
		return "the listener was reached";
	if (waitpid(world->victim, NULL, WNOHANG | WUNTRACED) != 0)
		return "a process outside was hit";
	/* Out of memory takes the whole instance, and nothing else. */
	if (result->has_ended)
		return strcmp(probe, "36") == 0 ? NULL : "init was ended";
	if (result->report.type != INIT_EXIT)
		return "init did not report a clean end";
	if (strcmp(probe, "37") == 0 && result->report.killed != 1)
		return "the daemon was not killed";
	if (box->leaf_fd >= 0 && is_any_left(box))
		return "a process is left in the sandbox";
	return NULL;
}

static void
judge_inside(const struct world *world, const char *probe,
    const struct box *box, const struct box_result *result,
    struct tried *tried)
{
	const char *harm = harm_done(world, probe, box, result);

	memcpy(tried->output, result->output, sizeof(tried->output));
	judge_output(tried, result->report.wait_status);
	if (tried->outcome == OUTCOME_HOLE)
		return;
	if (harm != NULL)
		conclude(tried, OUTCOME_HOLE, "%s", harm);
	else if (result->has_ended ||
	    (strcmp(probe, "36") == 0 && WIFSIGNALED(result->report.wait_status)))
		conclude(tried, OUTCOME_HELD, "%s", "");
}

/* A segment that everyone may read; only for the probe that looks for it, since
 * init cannot clean up what is not its own.  Its number, or -1: none. */
static int
share_segment(const char *probe)
{
	return strcmp(probe, "46") == 0 ?
	    shmget(WORLD_IPC_KEY, 4096, IPC_CREAT | 0666) : -1;
}

static void
remove_segment(int id)
{
	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
}

static void
try_here(struct world *world, const char *probe, unsigned off,
    struct tried *tried)
{
	char *const argv[] = { (char *)"/fn/probe", (char *)probe, NULL };
	struct sandbox_plan plan;
	struct box_result result;
	struct box box;
	bool is_weakened;
	int error;

	box_plan(&world->box, &plan, argv);
	if (world->kind == WORLD_EGRESS) {
		plan.network = SANDBOX_NETWORK_EGRESS;
		plan.netns_fd = world->egress_fd;
	}
	if (world->kind == WORLD_IMAGE)
		plan.image = &world->image;
	plan.layers &= ~(off & ~(unsigned)(LAYER_MOUNT | LAYER_PID));
	plan.memory_bytes = 64 << 20;
	plan.is_memory_in_cgroup = world->box.limits.memory_bytes != 0;
	plan.is_processes_in_cgroup = world->box.limits.processes != 0;
	plan.data_fd = world->data_fd;
	/* the host's tree is put in the place of one that is made, not kept */
	if (off & LAYER_MOUNT)
		plan.tree = NULL;
	weak_begin(off);
	error = box_start(&world->box, &plan, &box);
	is_weakened = weak_end();
	plan.data_fd = -1;
	box_plan_release(&plan);
	if (error != 0) {
		conclude(tried, OUTCOME_REFUSED, "%s: %s",
		    box.child.failed_step, strerror(-error));
		return;
	}
	error = box_run(&box, world->environment, LIMIT_MS, &result);
	if (!is_weakened)
		conclude(tried, OUTCOME_FAULT, "a layer was not left out");
	else if (error != 0)
		conclude(tried, OUTCOME_FAULT, "%s", strerror(-error));
	else
		judge_inside(world, probe, &box, &result, tried);
	box_end(&world->box, &box);
}

/*
 * In a pid namespace around the sandbox, whose process 1 this is: what the
 * program reaches there and what is set for it (vm.memfd_noexec) must not be
 * the machine's.
 */
static void
be_around(struct world *world, const char *probe, unsigned off,
    struct tried *tried)
{
	world->box.host = world->bare;
	world_start_victim(world);
	try_here(world, probe, off, tried);
	world_end_victim(world);
}

/* The result comes by memory that both share. */
static void
try_without_pid(struct world *world, const char *probe, unsigned off,
    struct tried *tried)
{
	struct tried *shared = mmap(NULL, sizeof(*shared),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	if (shared == MAP_FAILED) {
		conclude(tried, OUTCOME_FAULT, "mmap: %s", strerror(errno));
		return;
	}
	conclude(shared, OUTCOME_FAULT, "the process around died");
	fflush(stdout);
	pid = (pid_t)syscall(SYS_clone, (unsigned long)(SIGCHLD |
	    CLONE_NEWPID), NULL, NULL, NULL, NULL);
	if (pid == 0) {
		be_around(world, probe, off, shared);
		_exit(0);
	}
	if (pid < 0)
		conclude(shared, OUTCOME_FAULT, "clone: %s", strerror(errno));
	else
		waitpid(pid, NULL, 0);
	world->box.leaves++; /* the child's copy has counted on */
	*tried = *shared;
	munmap(shared, sizeof(*shared));
}

void
try_inside(struct world *world, const char *probe, unsigned off,
    struct tried *tried)
{
	int segment = share_segment(probe);

	memset(tried, 0, sizeof(*tried));
	world_connections(world);
	if (off & LAYER_PID)
		try_without_pid(world, probe, off, tried);
	else
		try_here(world, probe, off, tried);
	remove_segment(segment);
}

/* -------------------------------------------------------------------- outside */

static _Noreturn void
become_outside(const struct world *world, const char *probe, int slash, int out)
{
	char *const argv[] = { (char *)"probe", (char *)probe, NULL };
	char program[96], copy[4096 + 128];

	snprintf(program, sizeof(program), "%s/probe", world->outside);
	snprintf(copy, sizeof(copy), "cp '%s' '%s'", world->probe, program);
	if (mount("proc", "/proc", "proc", 0, NULL) != 0 ||
	    mount("none", world->outside, "tmpfs", 0, NULL) != 0 ||
	    system(copy) != 0)
		_exit(102);
	dup2(slash, 0);
	dup2(out, 1);
	dup2(out, 2);
	execve(program, argv, (char *const *)world->environment);
	_exit(103);
}

static _Noreturn void
be_outside(const struct world *world, const char *probe, int out)
{
	int slash = open("/", O_RDONLY | O_DIRECTORY), pair[2], status;
	pid_t pid;

	/* The number 3 or so stays open in init's place, as its socket would. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    slash < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0)
		_exit(101);
	pid = fork();
	if (pid == 0)
		become_outside(world, probe, slash, out);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 104);
}

void
try_outside(struct world *world, const char *probe, struct tried *tried)
{
	size_t length = 0;
	int segment = share_segment(probe), pipes[2], status = 0;
	ssize_t n;
	pid_t pid;

	memset(tried, 0, sizeof(*tried));
	if (pipe2(pipes, O_CLOEXEC) != 0) {
		conclude(tried, OUTCOME_FAULT, "pipe: %s", strerror(errno));
		return;
	}
	fflush(stdout);
	/* Probe 21 must see strangers: it stays in the host's pid namespace. */
	pid = (pid_t)syscall(SYS_clone, (unsigned long)(SIGCHLD | CLONE_NEWNS |
	    (strcmp(probe, "21") == 0 ? 0 : CLONE_NEWPID)), NULL, NULL, NULL,
	    NULL);
	if (pid == 0)
		be_outside(world, probe, pipes[1]);
	close(pipes[1]);
	while (length < sizeof(tried->output) - 1 &&
	    (n = read(pipes[0], tried->output + length,
	         sizeof(tried->output) - 1 - length)) > 0)
		length += (size_t)n;
	close(pipes[0]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	judge_output(tried, status);
	world_connections(world);
	remove_segment(segment);
}
