#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/launch.h"
#include "fcgi-host/log.h"
#include "fcgi-host/resolve.h"
#include "fcgi-host/secrets.h"
#include "fcgi-host/sock.h"
#include "sandbox/netns.h"

/* Of one start, when the function's file is replaced again and again. */
#define TRIES_MAX 5
#define LEAF_FILES 5

/* What the steps of one start share; start_end releases it. */
struct start {
	const struct launch_site *site;
	const struct conf *conf;
	const struct ctl_function *function;
	uint64_t id;
	struct launch_shell *shell; /* NULL: the function itself */
	enum ctl_purpose purpose;
	const struct conf_runtime *runtime; /* NULL: executed directly */
	struct limits limits;
	struct cgroup_limits ceilings; /* of the tenant */
	struct instance *instance;
	struct resolve_file file;
	struct tenants_id ids;
	struct conf_bind binds[CONF_BIND_MAX];
	size_t bind_count;
	struct sandbox_plan plan;
	char **argv;
	int data_fd, listen_fd, egress_fd;
	int leaf_files[LEAF_FILES]; /* for the gateway */
	int sock[2];      /* 0: the gateway's end, 1: init's */
	char words[320], resolv_conf[NETNS_RESOLV_MAX];
	const char *step; /* static, or words, or an image's problem */
};

/* The report may be older than the configuration. */
static int
step_limits(struct start *s)
{
	struct limits ceiling;

	s->limits = s->function->limits;
	conf_ceiling(s->conf, s->function->tenant, s->function->name,
	    &ceiling);
	settings_admit(&s->limits, &ceiling);
	tenant_branch_ceilings(&ceiling, &s->ceilings);
	return 0;
}

static int
step_room(struct start *s)
{
	struct ctl_function function = *s->function;

	s->step = "room for an instance";
	function.limits = s->limits;
	return (s->shell != NULL ? sandboxes_add_shell :
	    s->purpose == CTL_PURPOSE_CHECK ? sandboxes_add_check :
	    sandboxes_add)(s->site->sandboxes, &function, s->id,
	    &s->instance);
}

/* The file first: only a folder that is there can cost a number. */
static int
step_file(struct start *s)
{
	int error;

	s->step = "function file";
	error = resolve_find(s->site->functions_fd, s->function, &s->file);
	/* removed a moment ago: the scanner's word is on its way */
	if (error != 0)
		return error == -ENOENT ? -EIDRM : error;
	s->step = "tenant id";
	error = tenants_take(s->site->tenants, s->conf, s->function->tenant,
	    &s->ids);
	if (error == -ERANGE)
		s->step = "tenant id: outside of uid_range (see STATE/tenants)";
	if (error != 0)
		return error;
	s->step = "owner and mode of the function file";
	return resolve_check(&s->file, s->ids.uid);
}

/* The gateway says which of the administrator's commands is run, never what it
 * is.  -ESTALE: it speaks of another configuration. */
static int
find_runtime(struct start *s)
{
	if (s->function->runtime[0] != '\0') {
		s->runtime = conf_runtime_by_name(s->conf,
		    s->function->runtime);
		if (s->runtime == NULL)
			return -ESTALE;
	}
	if (s->purpose == CTL_PURPOSE_OTHERWISE)
		s->runtime = s->runtime == NULL ||
		    s->runtime->otherwise == NULL ? NULL :
		    conf_runtime_by_name(s->conf, s->runtime->otherwise);
	return s->purpose != CTL_PURPOSE_SERVE && (s->runtime == NULL ||
	    (s->purpose == CTL_PURPOSE_CHECK && s->runtime->check == NULL &&
	    s->runtime->build == NULL)) ? -ESTALE : 0;
}

static bool
has_build(const struct start *s)
{
	return s->runtime != NULL && s->runtime->build != NULL;
}

static char **
make_argv(const struct start *s)
{
	return resolve_argv(s->runtime == NULL ? NULL :
	    s->purpose == CTL_PURPOSE_CHECK ? (has_build(s) ?
	    s->runtime->build : s->runtime->check) :
	    s->runtime->command, s->file.name,
	    s->limits.value[LIMIT_MEMORY_BYTES]);
}

static bool
is_fastcgi(const struct start *s)
{
	return s->shell == NULL && s->purpose != CTL_PURPOSE_CHECK &&
	    (s->runtime != NULL ? s->runtime->is_fastcgi :
	    s->function->is_fastcgi != 0);
}

static int
step_runtime(struct start *s)
{
	int error;

	s->step = "runtime";
	error = find_runtime(s);
	if (error != 0)
		return error;
	if (s->runtime != NULL && s->runtime->rootfs != NULL) {
		error = images_find(s->site->images, s->runtime->rootfs,
		    &s->plan.image, &s->step);
		if (error != 0)
			return error;
	}
	if (s->shell == NULL)
		s->argv = make_argv(s);
	if (s->shell == NULL && s->argv == NULL)
		return -ENOMEM;
	return 0;
}

/* The instance's user namespace shows root's as its own. */
static const struct tenants_id users = { 0, 0 };

/* None for a build: what it makes is to depend on the version alone. */
static int
step_data(struct start *s)
{
	const struct tenants_id *owner = s->site->is_single ? &users : &s->ids;

	s->step = "data directory";
	if (s->limits.value[LIMIT_DATA] == 0 ||
	    (has_build(s) && s->purpose == CTL_PURPOSE_CHECK))
		return 0;
	s->data_fd = tenants_data_open(s->site->data_fd, s->function->tenant,
	    owner);
	/* somebody emptied `state` */
	if (s->data_fd == -ENOENT && tenants_data_renew(s->site->state_fd,
	    s->site->data_fd) == 0)
		s->data_fd = tenants_data_open(s->site->data_fd,
		    s->function->tenant, owner);
	return s->data_fd < 0 ? s->data_fd : 0;
}

static int
step_secrets(struct start *s)
{
	int error;

	/* who reads a file's syntax needs none */
	if (s->purpose == CTL_PURPOSE_CHECK)
		return 0;
	error = secrets_open(s->conf, s->site->functions_fd, s->function,
	    s->ids.uid, s->plan.secret_fds, s->words, sizeof(s->words));
	if (error != 0)
		s->step = s->words;
	return error;
}

static void
say_bind(struct start *s, const char *path, const char *what)
{
	snprintf(s->words, sizeof(s->words), "bind %s: %s", path, what);
	s->step = s->words;
}

static int
step_binds(struct start *s)
{
	const char *path = "";
	int error;

	s->step = "bind";
	s->bind_count = conf_binds(s->conf, s->function->tenant,
	    s->function->name, s->runtime == NULL ? "" : s->runtime->name,
	    s->binds);
	error = resolve_binds(s->binds, s->bind_count, &s->plan, &path);
	if (error != 0)
		say_bind(s, path, error == -ELOOP ? "a link is on the way to "
		    "it" : "what it names on the host");
	return error;
}

/* The file of its program: to be written by a build, and by nobody else who ever
 * sees it. */
static int
step_built(struct start *s)
{
	struct sandbox_bind *bind = &s->plan.binds[s->plan.bind_count];
	const bool is_build = s->purpose == CTL_PURPOSE_CHECK;
	const struct tenants_id *owner = s->site->is_single ? &users : &s->ids;
	int error;

	if (!has_build(s))
		return 0;
	s->step = "place of its program";
	if (s->plan.bind_count == SANDBOX_BINDS_MAX)
		return -E2BIG;
	error = is_build ? built_begin(s->site->built, s->function, s->id,
	    owner->uid, owner->gid, &bind->fd) :
	    built_find(s->site->built, s->function, &bind->fd);
	/* a person may look at what could not be built */
	if (error == -ENODATA && s->shell != NULL)
		return 0;
	if (error == -EDQUOT)
		s->step = "the programs of the tenant: 256 MiB together";
	if (error != 0)
		return error;
	bind->path = BUILT_PATH;
	bind->is_writable = is_build;
	s->plan.bind_count++;
	if (is_build)
		s->plan.file_bytes = BUILT_FILE_BYTES;
	return 0;
}

static int
step_home(struct start *s)
{
	static const enum sandbox_network kinds[] = {
		[NETWORK_NONE] = SANDBOX_NETWORK_NONE,
		[NETWORK_LOOPBACK] = SANDBOX_NETWORK_LOOPBACK,
		[NETWORK_EGRESS] = SANDBOX_NETWORK_EGRESS,
	};

	s->step = "network namespace and cgroup of the function";
	s->plan.network = s->purpose == CTL_PURPOSE_CHECK ?
	    SANDBOX_NETWORK_NONE : kinds[conf_network(s->conf,
	    s->function->tenant, s->function->name)];
	s->plan.netns_fd = instance_take_home(s->instance, &s->ceilings,
	    s->plan.network);
	if (s->plan.netns_fd < 0)
		return s->plan.netns_fd;
	s->plan.tree = home_tree(s->instance->home);
	return 0;
}

/* Opened anew each time: the administrator may have made another. */
static int
step_egress(struct start *s)
{
	const char *path = conf_egress(s->conf, s->function->tenant,
	    s->function->name);
	const char *problem = "no path";

	s->step = "egress";
	if (s->plan.network != SANDBOX_NETWORK_EGRESS)
		return 0;
	s->egress_fd = path == NULL ? -ENOENT :
	    netns_open(path, s->site->machine, &problem);
	if (s->egress_fd < 0) {
		snprintf(s->words, sizeof(s->words), "egress: %s: %s",
		    path == NULL ? "" : path, problem);
		s->step = s->words;
		return s->egress_fd;
	}
	s->plan.netns_fd = s->egress_fd;
	netns_resolv_conf(path, s->resolv_conf, sizeof(s->resolv_conf));
	s->plan.resolv_conf = s->resolv_conf;
	return 0;
}

static int
step_leaf(struct start *s)
{
	s->step = "cgroup leaf";
	return instance_make_leaf(s->instance, &s->limits);
}

static const struct {
	uint32_t bit;
	const char *file;
	bool is_writable;
	bool is_frozen_ones; /* only of a function with `freeze_idle` */
} leaf_files[LEAF_FILES] = {
	{ CTL_HAS_CPU_STAT, "cpu.stat", false, false },
	{ CTL_HAS_MEMORY_PEAK, "memory.peak", true, false },
	{ CTL_HAS_MEMORY_EVENTS, "memory.events", false, false },
	{ CTL_HAS_MEMORY_CURRENT, "memory.current", false, false },
	{ CTL_HAS_FREEZE, "cgroup.freeze", true, true },
};

/* One that this kernel lacks is done without; a shortage must not make an
 * instance whose executions are counted worse than its neighbour's. */
static int
step_leaf_files(struct start *s)
{
	size_t i;

	s->step = "files of the cgroup leaf";
	if (s->shell != NULL) /* they are read at its end */
		return 0;
	for (i = 0; i < LEAF_FILES && s->instance->leaf_fd >= 0; i++) {
		int fd;

		if (leaf_files[i].is_frozen_ones &&
		    s->limits.value[LIMIT_FREEZE_IDLE] == 0)
			continue;
		fd = cgroup_leaf_open(s->instance->leaf_fd,
		    leaf_files[i].file, leaf_files[i].is_writable);
		if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
			return fd;
		s->leaf_files[i] = fd;
	}
	return 0;
}

static int
step_sockets(struct start *s)
{
	int error;

	s->step = "socket for init";
	error = sock_pair(s->sock);
	if (error == 0)
		sock_refuse_descriptors(s->sock[0]);
	if (error != 0 || !is_fastcgi(s))
		return error;
	s->step = "listening socket";
	s->listen_fd = instance_make_socket(s->instance, s->site->gateway_gid);
	if (s->listen_fd == -ENOENT)
		s->step = "listening socket: `run` was emptied, restart the "
		    "host";
	return s->listen_fd < 0 ? s->listen_fd : 0;
}

static void
make_plan(struct start *s)
{
	struct sandbox_plan *plan = &s->plan;

	plan->layers = sandbox_host_layers(s->site->host);
	plan->is_apart = s->site->is_single;
	plan->uid = s->ids.uid;
	plan->gid = s->ids.gid;
	plan->hostname = s->function->tenant;
	plan->function_fd = s->file.fd;
	plan->function_is_folder = s->function->is_folder;
	plan->function_file = s->file.name;
	plan->data_fd = s->data_fd;
	plan->memory_bytes = s->limits.value[LIMIT_MEMORY_BYTES];
	plan->tmp_bytes = s->limits.value[LIMIT_TMP_BYTES];
	plan->processes = s->limits.value[LIMIT_PROCESSES];
	plan->is_memory_in_cgroup = s->instance->leaf_fd >= 0 &&
	    s->site->cgroup->has_memory;
	plan->is_processes_in_cgroup = s->instance->leaf_fd >= 0 &&
	    s->site->cgroup->has_pids;
	/* of all his instances: the tenant's branch does it, else the uid */
	if (!plan->is_processes_in_cgroup)
		plan->uid_processes = s->ceilings.processes;
	plan->cgroup_fd = s->instance->leaf_fd;
	plan->init_sock = s->sock[1];
	plan->listen_fd = s->listen_fd;
	plan->argv = s->argv;
	if (s->shell != NULL) {
		plan->argv = s->shell->argv;
		plan->terminal_fd = s->shell->terminal_fd > 0 ?
		    s->shell->terminal_fd : 0;
	}
}

static void
raise_oom_score(pid_t pid)
{
	char path[64];
	CLEANUP_FD int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, SANDBOX_OOM_SCORE,
	    sizeof(SANDBOX_OOM_SCORE) - 1) < 0)
		log_event(LOG_DEBUG, "oom_score", "error=\"%s\"",
		    strerror(errno));
}

static bool
is_bind(const struct start *s, const char *step)
{
	for (size_t i = 0; i < s->bind_count; i++)
		if (s->binds[i].path == step)
			return true;
	return false;
}

static int
step_sandbox(struct start *s)
{
	struct sandbox_child child = { .pid = -1, .pidfd = -1 };
	int error;

	s->step = "sandbox";
	make_plan(s);
	error = sandbox_start(s->site->host, &s->plan, &child);
	if (error != 0) {
		if (is_bind(s, child.failed_step))
			say_bind(s, child.failed_step, "its place in the "
			    "sandbox, which must be there without a link");
		else if (child.failed_step != NULL)
			s->step = child.failed_step;
		return error;
	}
	if (!s->plan.is_apart) /* else it has done so itself */
		raise_oom_score(child.pid);
	s->step = "watching";
	return instance_watch(s->instance, child.pid, child.pidfd);
}

static int (*const steps[])(struct start *s) = {
	step_limits, step_room, step_file, step_runtime, step_data,
	step_secrets, step_binds, step_built,
	step_home, step_egress,
	step_leaf, step_leaf_files, step_sockets, step_sandbox,
};

/* What a prepared instance costs where no controller counts it. */
static void
give_init_memory(const struct start *s, struct parcel *up)
{
	char path[64];
	int fd;

	if ((up->msg.u.instance_up.has & CTL_HAS_MEMORY_CURRENT) != 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)s->instance->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	up->msg.u.instance_up.has |= CTL_HAS_INIT_MEMORY;
	parcel_give(up, &fd);
}

static void
fill_up(struct start *s, uint64_t start_us, struct parcel *up)
{
	struct ctl_instance_up *body = &up->msg.u.instance_up;
	size_t i;

	body->id = s->id;
	body->uid = (uint32_t)s->ids.uid;
	parcel_give(up, &s->sock[0]);
	for (i = 0; i < LEAF_FILES; i++) {
		if (leaf_files[i].bit == CTL_HAS_FREEZE)
			give_init_memory(s, up);
		if (s->leaf_files[i] < 0)
			continue;
		body->has |= leaf_files[i].bit;
		parcel_give(up, &s->leaf_files[i]);
	}
	body->start_us = loop_clock_us() - start_us;
}

static void
start_end(struct start *s, bool is_up)
{
	close_fd(&s->sock[0]);
	close_fd(&s->sock[1]);
	close_fd(&s->listen_fd);
	close_fd(&s->data_fd);
	close_fd(&s->egress_fd);
	for (size_t i = 0; i < LEAF_FILES; i++)
		close_fd(&s->leaf_files[i]);
	resolve_binds_close(&s->plan);
	secrets_close(s->plan.secret_fds);
	conf_binds_free(s->binds, s->bind_count);
	free(s->argv);
	resolve_free(&s->file);
	if (!is_up && s->instance != NULL)
		instance_drop(s->instance);
	if (!is_up && has_build(s) && s->purpose == CTL_PURPOSE_CHECK)
		built_drop(s->site->built, s->function->name);
}

/* The file was replaced after it was opened: what has no name left cannot be
 * mounted, and its successor stands under the same name. */
static bool
was_replaced(const struct start *s)
{
	struct stat st;

	return s->file.fd >= 0 && fstat(s->file.fd, &st) == 0 &&
	    st.st_nlink == 0;
}

/* up: of a function; else shell is set. */
static int
launch(const struct start *begin, struct parcel *up, char *step, size_t size)
{
	uint64_t start_us = loop_clock_us();
	bool is_again = true;
	int error = 0, tries;
	size_t i;

	for (tries = 0; is_again && tries < TRIES_MAX; tries++) {
		struct start s = *begin;

		error = 0;
		for (i = 0; i < sizeof(steps) / sizeof(steps[0]) &&
		    error == 0; i++)
			error = steps[i](&s);
		if (error == 0 && up != NULL) {
			fill_up(&s, start_us, up);
		} else if (error == 0) {
			s.shell->init_sock = steal_fd(&s.sock[0]);
			s.shell->start_us = loop_clock_us() - start_us;
		}
		snprintf(step, size, "%s", error != 0 ? s.step : "");
		is_again = error != 0 && was_replaced(&s);
		start_end(&s, error == 0);
	}
	return error;
}

#define START_INIT .file.fd = -1, .data_fd = -1, .listen_fd = -1, .egress_fd = -1, \
	.sock = { -1, -1 }, .leaf_files = { -1, -1, -1, -1, -1 }

int
launch_start(const struct launch_site *site, const struct conf *conf,
    const struct ctl_function *function, uint64_t id,
    enum ctl_purpose purpose, struct parcel *up, char *step, size_t size)
{
	const struct start begin = { .site = site, .conf = conf,
		.function = function, .id = id, .purpose = purpose,
		START_INIT };

	return launch(&begin, up, step, size);
}

int
launch_shell(const struct launch_site *site, const struct conf *conf,
    const struct ctl_function *function, uint64_t id,
    struct launch_shell *shell, char *step, size_t size)
{
	const struct start begin = { .site = site, .conf = conf,
		.function = function, .id = id, .shell = shell, START_INIT };

	return launch(&begin, NULL, step, size);
}
