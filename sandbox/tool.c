/*
 * fcgi-host-sandbox: runs any command in the sandbox in which the host runs
 * functions, by the same plan, start and init, and without the host: to see
 * what a program can do there before it is a function, and what each layer is
 * worth.  An ordinary user's is that of an ordinary user's host.  It plays both
 * spawner and gateway for one execution.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "sandbox/image.h"
#include "sandbox/netns.h"
#include "sandbox/plan.h"
#include "sandbox/session.h"
#include "sandbox/tool_layers.h"
#include "sandbox/tool_options.h"
#include "sandbox/userns.h"

#define LAYERS_MAX 32
#define INIT_PATH_MAX 512
#define END_WAIT_MS 2000
#define TERM_MAX 80
/* Stands for the function's folder where none is named.  It stays: what one run
 * made and removed, a run that is killed would leave. */
#define EMPTY_FOLDER "/run/" TOOL_NAME
#define USERS_FOLDER "/tmp/" TOOL_NAME /* and a dash and his number */

struct tool {
	const struct tool_options *options;
	uid_t user; /* who has started it; 0: root */
	char folder[48]; /* the empty one */
	struct sandbox_host *host;
	struct image image; /* of --rootfs */
	struct cgroup_parent cgroup;
	char leaf[48]; /* "": none */
	int leaf_fd;
	struct sandbox_plan plan;
	char resolv_conf[NETNS_RESOLV_MAX];
	int sock[2]; /* 0: ours, 1: init's */
	int signal_fd;
	struct terminal terminal;
	struct sandbox_child child;
};

/* What a program may rely on, as a function may. */
static const char base_env[] = "PATH=/usr/local/bin:/usr/bin:/bin\0"
    "HOME=/tmp\0TMPDIR=/tmp\0LANG=C.UTF-8";

/* -------------------------------------------------------------- preparation */

static int
open_host(struct tool *tool)
{
	const char *folder = getenv("FCGI_HOST_LIBEXEC");
	char path[INIT_PATH_MAX], problem[256];
	int n = snprintf(path, sizeof(path), "%s/fcgi-host-init",
	    folder != NULL ? folder : PKGLIBEXECDIR);

	if (n < 0 || (size_t)n >= sizeof(path)) {
		tool_say("FCGI_HOST_LIBEXEC is too long");
		return -ENAMETOOLONG;
	}
	tool->host = sandbox_host_new(path, problem, sizeof(problem));
	if (tool->host == NULL)
		tool_say("%s", problem);
	return tool->host != NULL ? 0 : -EINVAL;
}

/* A place that was named and cannot be had is an error; else there is none, and
 * the layer is off. */
static int
open_cgroup(struct tool *tool)
{
	const char *path = tool->options->cgroup;
	struct cgroup_parent *cgroup = &tool->cgroup;
	int error = cgroup_parent_use(cgroup, path);

	if (error == 0 && path == NULL && tool->user != 0 &&
	    faccessat(cgroup->fd, "cgroup.procs", W_OK, AT_EACCESS) != 0) {
		close_fd(&cgroup->fd);
		snprintf(cgroup->reason, sizeof(cgroup->reason), "none is "
		    "delegated to you: systemd-run --user --scope -p "
		    "Delegate=yes " TOOL_NAME);
	}
	if (error == 0 || path == NULL)
		return 0;
	tool_say("--cgroup %s: %s", path, tool->cgroup.reason);
	return -EINVAL;
}

/* Of runs that were killed.  One that is in use cannot be removed, but one that
 * is being made could: so not while its maker lives. */
static void
remove_stale_leaves(const struct tool *tool)
{
	static const char prefix[] = TOOL_NAME "-";
	int copy = openat(tool->cgroup.fd, ".", O_RDONLY | O_DIRECTORY |
	    O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	if (dir == NULL) {
		close_fd(&copy);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		long pid;

		if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) != 0)
			continue;
		pid = strtol(entry->d_name + sizeof(prefix) - 1, NULL, 10);
		if (pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH)
			(void)cgroup_leaf_remove(&tool->cgroup, entry->d_name);
	}
	closedir(dir);
}

static int
make_leaf(struct tool *tool)
{
	const struct tool_options *options = tool->options;
	const struct cgroup_limits limits = {
		.memory_bytes = options->memory_bytes,
		.processes = options->processes,
	};

	if (options->cpu_milli != 0 && !tool->cgroup.has_cpu)
		tool_say("--cpu has no effect: no cpu controller is there%s%s",
		    tool->cgroup.reason[0] != '\0' ? "; " : "",
		    tool->cgroup.reason);
	if (tool->cgroup.fd < 0 || (options->without & LAYER_CGROUP))
		return 0;
	remove_stale_leaves(tool);
	snprintf(tool->leaf, sizeof(tool->leaf), TOOL_NAME "-%d",
	    (int)getpid());
	tool->leaf_fd = cgroup_leaf_make(&tool->cgroup, tool->leaf, &limits);
	if (tool->leaf_fd >= 0)
		return 0;
	tool_say("cannot make a cgroup below %s: %s", tool->cgroup.path,
	    strerror(-tool->leaf_fd));
	tool->leaf[0] = '\0';
	return tool->leaf_fd;
}

/* A path on the host, as a descriptor.  The administrator's, so links are his. */
static int
open_place(const char *option, const char *path, bool is_folder)
{
	int fd = open(path, O_PATH | O_CLOEXEC | (is_folder ? O_DIRECTORY : 0));

	if (fd < 0)
		tool_say("--%s %s: %s", option, path, strerror(errno));
	return fd;
}

static int
make_empty_folder(struct tool *tool)
{
	const char *path = tool->folder;
	struct stat st;

	if (tool->user == 0)
		snprintf(tool->folder, sizeof(tool->folder), EMPTY_FOLDER);
	else
		snprintf(tool->folder, sizeof(tool->folder),
		    USERS_FOLDER "-%lu", (unsigned long)tool->user);
	if (mkdir(path, 0755) != 0 && errno != EEXIST) {
		tool_say("%s: %s; name another folder with --function", path,
		    strerror(errno));
		return -EINVAL;
	}
	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
	    st.st_uid == geteuid() && (st.st_mode & 022) == 0)
		return 0;
	tool_say("%s is no folder of %s that nobody else may write; remove "
	    "it, or name another with --function", path, tool->user == 0 ?
	    "root's" : "yours");
	return -EINVAL;
}

static int
plan_function(struct tool *tool)
{
	struct sandbox_plan *plan = &tool->plan;
	const char *path = tool->options->function, *slash;
	struct stat st;

	if (path == NULL) {
		if (make_empty_folder(tool) != 0)
			return -EINVAL;
		path = tool->folder;
	}
	plan->function_fd = open_place("function", path, false);
	if (plan->function_fd < 0 || fstat(plan->function_fd, &st) != 0)
		return -EINVAL;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		tool_say("--function %s is neither a file nor a folder", path);
		return -EINVAL;
	}
	plan->function_is_folder = S_ISDIR(st.st_mode);
	slash = strrchr(path, '/');
	plan->function_file = slash != NULL ? slash + 1 : path;
	return 0;
}

static int
plan_image(struct tool *tool)
{
	const char *path = tool->options->rootfs;
	char problem[512];

	if (path == NULL)
		return 0;
	if (image_open(&tool->image, path, problem, sizeof(problem)) != 0) {
		tool_say("--rootfs %s", problem);
		return -EINVAL;
	}
	tool->plan.image = &tool->image;
	return 0;
}

static int
plan_places(struct tool *tool)
{
	const struct tool_options *options = tool->options;
	struct sandbox_plan *plan = &tool->plan;

	if (plan_function(tool) != 0 || plan_image(tool) != 0)
		return -EINVAL;
	if (options->data != NULL) {
		plan->data_fd = open_place("data", options->data, true);
		if (plan->data_fd < 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < options->bind_count; i++) {
		struct sandbox_bind *bind = &plan->binds[i];

		bind->path = options->binds[i].path;
		bind->is_writable = options->binds[i].is_writable;
		bind->fd = open_place("bind", bind->path, false);
		if (bind->fd < 0)
			return -EINVAL;
		plan->bind_count++;
	}
	return 0;
}

static int
open_network(struct tool *tool)
{
	const char *path = tool->options->egress, *problem;
	int fd;

	if (path == NULL) {
		fd = netns_new_loopback();
		if (fd < 0)
			tool_say("a network namespace with a loopback: %s%s",
			    strerror(-fd), fd == -ENOSPC ?
			    "; raise user.max_user_namespaces" : "");
		return fd;
	}
	if (tool->user != 0) {
		tool_say("--network %s: a namespace of the machine's is "
		    "root's to give; try: sudo " TOOL_NAME, path);
		return -EPERM;
	}
	fd = netns_open(path, netns_of_machine(), &problem);
	if (fd < 0)
		tool_say("--network %s: %s", path, problem);
	netns_resolv_conf(path, tool->resolv_conf, sizeof(tool->resolv_conf));
	tool->plan.resolv_conf = tool->resolv_conf;
	return fd;
}

static int
plan_network(struct tool *tool)
{
	struct sandbox_plan *plan = &tool->plan;
	int fd;

	plan->network = tool->options->network;
	if (plan->network == SANDBOX_NETWORK_NONE)
		return 0;
	fd = open_network(tool);
	plan->netns_fd = fd < 0 ? 0 : fd;
	return fd < 0 ? fd : 0;
}

static int
make_plan(struct tool *tool)
{
	const struct tool_options *options = tool->options;
	struct sandbox_plan *plan = &tool->plan;
	int error = plan_places(tool);

	if (error == 0)
		error = plan_network(tool);
	if (error == 0)
		error = make_leaf(tool);
	if (error != 0)
		return error;
	plan->layers = sandbox_host_layers(tool->host) & ~options->without;
	plan->is_apart = tool->user != 0;
	plan->uid = options->uid;
	plan->gid = options->gid;
	plan->hostname = "sandbox";
	plan->memory_bytes = options->memory_bytes;
	plan->tmp_bytes = options->tmp_bytes;
	plan->processes = options->processes;
	plan->is_memory_in_cgroup = tool->leaf_fd >= 0 &&
	    tool->cgroup.has_memory;
	plan->is_processes_in_cgroup = tool->leaf_fd >= 0 &&
	    tool->cgroup.has_pids;
	/* Here the uid has one sandbox, as a rule. */
	plan->uid_processes = plan->is_processes_in_cgroup ? 0 :
	    options->processes;
	plan->cgroup_fd = tool->leaf_fd;
	plan->argv = options->command;
	error = terminal_open(&tool->terminal);
	if (error != 0) {
		tool_say("a terminal for the sandbox: %s", strerror(-error));
		return error;
	}
	plan->terminal_fd = tool->terminal.is_there ? tool->terminal.slave : 0;
	error = sock_pair(tool->sock);
	if (error != 0)
		tool_say("a socket: %s", strerror(-error));
	plan->init_sock = tool->sock[1];
	return error;
}

/* ------------------------------------------------------------------- the run */

static bool
is_bind(const struct tool *tool, const char *step)
{
	for (size_t i = 0; i < tool->plan.bind_count; i++)
		if (tool->plan.binds[i].path == step)
			return true;
	return false;
}

static int
start(struct tool *tool)
{
	int error = sandbox_start(tool->host, &tool->plan, &tool->child);

	close_fd(&tool->sock[1]);
	if (error != 0 && is_bind(tool, tool->child.failed_step))
		tool_say("--bind %s: the sandbox has no such place (%s); below "
		    "/usr or another bind it needs one that is there, and not "
		    "below /tmp, /dev or /proc",
		    tool->child.failed_step, strerror(-error));
	else if (error != 0)
		tool_say("the sandbox cannot be made; %s: %s",
		    tool->child.failed_step, strerror(-error));
	if (error != 0 || tool->leaf_fd < 0)
		return error;
	error = cgroup_leaf_limit_cpu(&tool->cgroup, tool->leaf_fd,
	    tool->options->cpu_milli);
	if (error != 0)
		tool_say("--cpu: %s", strerror(-error));
	return error;
}

/* Later ones override, as everywhere: execve takes the block as it is, and a
 * program the last of a name or the first; so doubles are taken out. */
static size_t
drop_doubles(char *block, size_t length)
{
	size_t kept = 0, next;

	for (size_t at = 0; at < length; at = next) {
		size_t name = strcspn(block + at, "=") + 1;
		bool is_again = false;

		next = at + strlen(block + at) + 1;
		for (size_t later = next; later < length;
		    later += strlen(block + later) + 1)
			is_again |= strncmp(block + later, block + at, name) ==
			    0;
		if (is_again)
			continue;
		memmove(block + kept, block + at, next - at);
		kept += next - at;
	}
	return kept;
}

static int
order(struct tool *tool)
{
	static char block[sizeof(base_env) + TERM_MAX +
	    sizeof(tool->options->env)];
	const struct tool_options *options = tool->options;
	const char *term = tool->terminal.is_there ? getenv("TERM") : NULL;
	int fds[3], n, error;
	size_t length;

	memcpy(block, base_env, sizeof(base_env));
	length = sizeof(base_env);
	if (term != NULL) {
		n = snprintf(block + length, TERM_MAX, "TERM=%s", term);
		if (n > 0 && n < TERM_MAX)
			length += (size_t)n + 1;
	}
	memcpy(block + length, options->env, options->env_length);
	length += options->env_length;
	terminal_fds(&tool->terminal, fds);
	error = session_run(tool->sock[0], block, drop_doubles(block, length),
	    fds);
	if (error != 0)
		tool_say("init takes no order: %s", strerror(-error));
	else
		error = terminal_begin(&tool->terminal);
	return error;
}

static void
say_end(const struct tool *tool, const struct session_end *end)
{
	if (end->outcome == SESSION_NO_EXEC)
		tool_say("%s: %s", tool->options->command[0],
		    strerror(end->value));
	else if (end->outcome == SESSION_LOST)
		tool_say("the sandbox has ended without a word of its "
		    "command's end; it may have been out of memory");
}

static int
run(struct tool *tool)
{
	struct session_end end;

	tool->signal_fd = session_signals();
	if (tool->signal_fd < 0) {
		tool_say("signals: %s", strerror(-tool->signal_fd));
		return SESSION_CANNOT;
	}
	if (start(tool) != 0 || order(tool) != 0)
		return SESSION_CANNOT;
	end = session_follow(tool->sock[0], tool->signal_fd, &tool->terminal);
	terminal_close(&tool->terminal);
	say_end(tool, &end);
	return session_status(&end);
}

/* ------------------------------------------------------------------- the end */

/* Init ends at our hang-up, and with it all in the namespace; the kernel shows
 * its end when the last of them is gone. */
static void
await_end(struct tool *tool)
{
	struct pollfd gone = { .fd = tool->child.pidfd, .events = POLLIN };
	siginfo_t info;

	if (tool->child.pidfd < 0)
		return;
	if (poll(&gone, 1, END_WAIT_MS) <= 0)
		(void)syscall(SYS_pidfd_send_signal, tool->child.pidfd,
		    SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)tool->child.pidfd, &info, WEXITED) != 0 &&
	    errno == EINTR)
		continue;
	close_fd(&tool->child.pidfd);
}

static void
remove_leaf(struct tool *tool)
{
	const struct timespec pause = { 0, 2000000 };
	int error = -EBUSY;

	close_fd(&tool->leaf_fd);
	if (tool->leaf[0] == '\0')
		return;
	for (int ms = 0; ms < END_WAIT_MS && error == -EBUSY; ms += 2) {
		error = cgroup_leaf_remove(&tool->cgroup, tool->leaf);
		if (error == -EBUSY)
			nanosleep(&pause, NULL);
	}
	if (error != 0)
		tool_say("the cgroup %s is left below %s: %s", tool->leaf,
		    tool->cgroup.path, strerror(-error));
}

static void
clear(struct tool *tool)
{
	close_fd(&tool->sock[0]);
	close_fd(&tool->sock[1]);
	await_end(tool);
	terminal_close(&tool->terminal);
	remove_leaf(tool);
	close_fd(&tool->cgroup.fd);
	close_fd(&tool->plan.function_fd);
	close_fd(&tool->plan.data_fd);
	for (size_t i = 0; i < tool->plan.bind_count; i++)
		close_fd(&tool->plan.binds[i].fd);
	if (tool->plan.netns_fd > 0)
		close_fd(&tool->plan.netns_fd);
	close_fd(&tool->signal_fd);
	image_close(&tool->image);
	sandbox_host_free(tool->host);
}

/* 0-2 must be something, or a descriptor of ours would be one of them. */
static void
fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close_fd(&fd);
}

/* An ordinary user is so in a user namespace, over what is made there. */
static int
become_root(struct tool *tool)
{
	char problem[512];

	tool->user = geteuid();
	if (tool->user == 0 || userns_enter(problem, sizeof(problem)) == 0)
		return 0;
	tool_say("%s", problem);
	return -EPERM;
}

int
main(int argc, char **argv)
{
	static struct tool_options options;
	struct tool tool = { .options = &options, .cgroup.fd = -1,
		.leaf_fd = -1, .image = IMAGE_CLOSED,
		.sock = { -1, -1 }, .signal_fd = -1,
		.child.pidfd = -1, .terminal = TERMINAL_NONE,
		.plan = { .function_fd = -1, .data_fd = -1, .listen_fd = -1,
		.cgroup_fd = -1 } };
	struct sandbox_probe probes[LAYERS_MAX];
	int status = SESSION_CANNOT;
	size_t count;

	log_init("sandbox", LOG_WARN);
	fill_standard_fds();
	switch (tool_options_parse(&options, argc, argv)) {
	case TOOL_DONE:
		return 0;
	case TOOL_WRONG:
		return SESSION_CANNOT;
	case TOOL_GO_ON:
		break;
	}
	if (become_root(&tool) != 0 || open_cgroup(&tool) != 0)
		return SESSION_CANNOT;
	count = sandbox_probe(&tool.cgroup, probes, LAYERS_MAX);
	if (options.is_layers) {
		tool_layers_print(&options, probes, count);
		status = 0;
	} else {
		tool_layers_say(&options, probes, count);
		if (open_host(&tool) == 0 && make_plan(&tool) == 0)
			status = run(&tool);
	}
	clear(&tool);
	return status;
}
