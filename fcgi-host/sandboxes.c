#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/behind.h"
#include "fcgi-host/leftovers.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sandboxes.h"
#include "fcgi-host/sock.h"

/* The gateway connects one at a time; more could only be another's. */
#define SOCKET_BACKLOG 16

struct sandboxes {
	struct loop *loop;
	struct cgroup_parent *cgroup;
	int instances_fd;
	sandboxes_gone_fn *gone;
	void *arg;
	struct instance **live; /* by id, which rises */
	size_t count, size;
	struct instance *disowned;
	size_t disowned_count;
	struct homes *homes;
	struct behind *behind;
	uint64_t leaf_serial; /* ids begin anew with each gateway */
	struct leftovers *leftovers;
	struct ctl_totals ended; /* without a cgroup: of those that ended */
};

/* ------------------------------------------------------------------- leaves */

int
instance_make_leaf(struct instance *instance, const struct limits *limits)
{
	struct sandboxes *sandboxes = instance->sandboxes;
	const struct cgroup_parent *parent = sandboxes->cgroup;
	const struct cgroup_limits wanted = {
		.memory_bytes = limits->value[LIMIT_MEMORY_BYTES],
		.processes = limits->value[LIMIT_PROCESSES],
	};
	char leaf[sizeof(instance->leaf)];

	if (parent->fd < 0)
		return 0;
	instance->cpu_milli = limits->value[LIMIT_CPU_MILLI];
	snprintf(leaf, sizeof(leaf), "%s/i%llu", home_branch(instance->home),
	    (unsigned long long)++sandboxes->leaf_serial);
	instance->leaf_fd = cgroup_leaf_make(parent, leaf, &wanted);
	if (instance->leaf_fd < 0)
		return instance->leaf_fd;
	memcpy(instance->leaf, leaf, sizeof(leaf));
	return 0;
}

/* --------------------------------------------------------------- one's life */

static int
may_add_any(const struct sandboxes *sandboxes, uint64_t id)
{
	if (sandboxes_count(sandboxes) >= SANDBOXES_MAX)
		return -ENFILE;
	if (sandboxes->count > 0 &&
	    sandboxes->live[sandboxes->count - 1]->id >= id)
		return -EINVAL;
	return 0;
}

/* What lives of a function and of its tenant. */
struct share {
	uint64_t of_function, of_tenant, memory_bytes;
};

static struct share
share_of(const struct sandboxes *sandboxes, const struct ctl_function *function)
{
	struct share share = { 0 };

	for (size_t i = 0; i < sandboxes->count; i++) {
		const struct instance *other = sandboxes->live[i];

		if (other->is_killed || other->is_shell ||
		    strcmp(other->tenant, function->tenant) != 0)
			continue;
		share.memory_bytes += other->memory_bytes;
		if (other->is_check)
			continue;
		share.of_tenant++;
		share.of_function +=
		    strcmp(other->name, function->name) == 0 &&
		    strcmp(other->version, function->version) == 0;
	}
	return share;
}

static int
may_add_memory(const struct sandboxes *sandboxes,
    const struct ctl_function *function, uint64_t used_bytes)
{
	const uint64_t *limits = function->limits.value;
	uint64_t most = limits[LIMIT_MAX_MEMORY_BYTES];

	return most != 0 && !sandboxes->cgroup->has_memory &&
	    used_bytes + limits[LIMIT_MEMORY_BYTES] > 2 * most ? -EAGAIN : 0;
}

/* Twice of each: the gateway replaces instances that it saw end (by init's
 * socket) before their end is seen here.  Where the kernel bounds a tenant's
 * memory, the sum may be more. */
static int
may_add(const struct sandboxes *sandboxes, const struct ctl_function *function)
{
	const uint64_t *limits = function->limits.value;
	struct share share = share_of(sandboxes, function);

	if (share.of_function >= 2 * limits[LIMIT_INSTANCES])
		return -EAGAIN;
	if (limits[LIMIT_MAX_INSTANCES] != 0 &&
	    share.of_tenant >= 2 * limits[LIMIT_MAX_INSTANCES])
		return -EAGAIN;
	return may_add_memory(sandboxes, function, share.memory_bytes);
}

static int
add(struct sandboxes *sandboxes, const struct ctl_function *function,
    uint64_t id, struct instance **out)
{
	struct instance *instance = calloc(1, sizeof(*instance));

	if (instance == NULL)
		return -ENOMEM;
	instance->sandboxes = sandboxes;
	instance->id = id;
	memcpy(instance->name, function->name, sizeof(instance->name));
	memcpy(instance->version, function->version,
	    sizeof(instance->version));
	memcpy(instance->tenant, function->tenant, sizeof(instance->tenant));
	instance->memory_bytes = function->limits.value[LIMIT_MEMORY_BYTES];
	instance->leaf_fd = instance->pidfd = instance->io.fd = -1;
	instance->pid = -1;
	*out = instance;
	return 0;
}

int
sandboxes_add(struct sandboxes *sandboxes, const struct ctl_function *function,
    uint64_t id, struct instance **out)
{
	int error = may_add_any(sandboxes, id);

	if (error == 0)
		error = may_add(sandboxes, function);
	return error != 0 ? error : add(sandboxes, function, id, out);
}

/* Of those that end, too: one that cannot be killed makes no room for more. */
static int
may_add_check(const struct sandboxes *sandboxes,
    const struct ctl_function *function)
{
	struct share share = share_of(sandboxes, function);
	size_t count = 0;

	for (size_t i = 0; i < sandboxes->count; i++)
		count += sandboxes->live[i]->is_check;
	return count >= SANDBOXES_CHECKS_MAX ? -EAGAIN :
	    may_add_memory(sandboxes, function, share.memory_bytes);
}

int
sandboxes_add_check(struct sandboxes *sandboxes,
    const struct ctl_function *function, uint64_t id, struct instance **out)
{
	int error = may_add_any(sandboxes, id);

	if (error == 0)
		error = may_add_check(sandboxes, function);
	if (error == 0)
		error = add(sandboxes, function, id, out);
	if (error == 0)
		(*out)->is_check = true;
	return error;
}

int
sandboxes_add_shell(struct sandboxes *sandboxes,
    const struct ctl_function *function, uint64_t id, struct instance **out)
{
	int error = may_add_any(sandboxes, id);

	if (error == 0)
		error = add(sandboxes, function, id, out);
	if (error == 0)
		(*out)->is_shell = true;
	return error;
}

int
instance_take_home(struct instance *instance,
    const struct cgroup_limits *ceilings, enum sandbox_network network)
{
	const struct home_of of = { .tenant = instance->tenant,
		.function = instance->name, .ceilings = ceilings,
		.network = network };
	int error = home_take(instance->sandboxes->homes, &of,
	    &instance->home);

	return error != 0 ? error : home_netns(instance->home);
}

void
sandboxes_limit(struct sandboxes *sandboxes,
    void (*of)(void *arg, const char *tenant, struct cgroup_limits *limits),
    void *arg)
{
	tenant_branches_limit(homes_tenants(sandboxes->homes), of, arg);
}

/* Bound where the gateway's root is; the program inherits it as descriptor 0
 * and expects that accept waits. */
int
instance_make_socket(struct instance *instance, gid_t gid)
{
	int dir_fd = instance->sandboxes->instances_fd;
	CLEANUP_FD int fd = -1;
	char name[sizeof(instance->socket)], path[64];
	int error;

	snprintf(name, sizeof(name), "%llu.sock",
	    (unsigned long long)instance->id);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
	fd = sock_listen_unix(path, 0660, gid, SOCKET_BACKLOG);
	if (fd < 0)
		return fd;
	memcpy(instance->socket, name, sizeof(name));
	error = fd_set_nonblock(fd, false);
	return error != 0 ? error : steal_fd(&fd);
}

static void
remove_socket(struct instance *instance)
{
	if (instance->socket[0] != '\0')
		(void)unlinkat(instance->sandboxes->instances_fd,
		    instance->socket, 0);
	instance->socket[0] = '\0';
}

/* Its process is gone or never was: its traces outside go now. */
static void
clear(struct instance *instance)
{
	struct sandboxes *sandboxes = instance->sandboxes;

	loop_io_del(sandboxes->loop, &instance->io);
	close_fd(&instance->pidfd);
	close_fd(&instance->leaf_fd);
	if (instance->leaf[0] != '\0')
		leftovers_remove(sandboxes->leftovers, instance->leaf);
	remove_socket(instance);
	home_drop(instance->home);
	instance->home = NULL;
}

void
instance_drop(struct instance *instance)
{
	clear(instance);
	free(instance);
}

static void
kill_one(struct instance *instance)
{
	instance->is_killed = true;
	if (instance->leaf_fd >= 0 &&
	    cgroup_leaf_kill(instance->leaf_fd) == 0)
		return;
	/* init is pid 1 of its namespace: with it all the others end. */
	(void)syscall(SYS_pidfd_send_signal, instance->pidfd, SIGKILL, NULL,
	    0);
}

/* ------------------------------------------------------------------ its end */

static void
read_leaf(const struct instance *instance, struct ctl_instance_gone *gone)
{
	CLEANUP_FD int cpu_fd = cgroup_leaf_open(instance->leaf_fd, "cpu.stat",
	    false);
	CLEANUP_FD int peak_fd = cgroup_leaf_open(instance->leaf_fd,
	    "memory.peak", false);
	CLEANUP_FD int events_fd = cgroup_leaf_open(instance->leaf_fd,
	    "memory.events", false);
	struct cgroup_cpu cpu;
	uint64_t number;

	if (cpu_fd >= 0 && cgroup_cpu_read(cpu_fd, &cpu) == 0) {
		gone->has_cgroup = 1;
		gone->cpu_usage_us = cpu.usage_us;
		gone->cpu_user_us = cpu.user_us;
		gone->cpu_sys_us = cpu.system_us;
	}
	if (peak_fd >= 0 && cgroup_number_read(peak_fd, &number) == 0)
		gone->memory_peak_kib = number / 1024;
	if (events_fd >= 0 &&
	    cgroup_key_read(events_fd, "oom_kill", &number) == 0)
		gone->oom_kills = number < UINT32_MAX ? (uint32_t)number :
		    UINT32_MAX;
}

static uint64_t
microseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

static void
count_usage(const struct instance *instance, const struct rusage *usage,
    struct ctl_instance_gone *gone)
{
	struct ctl_totals *ended = &instance->sandboxes->ended;

	if (instance->leaf_fd >= 0)
		read_leaf(instance, gone);
	if (!gone->has_cgroup) {
		gone->cpu_user_us = microseconds(&usage->ru_utime);
		gone->cpu_sys_us = microseconds(&usage->ru_stime);
		gone->cpu_usage_us = gone->cpu_user_us + gone->cpu_sys_us;
	}
	if (gone->memory_peak_kib == 0 && usage->ru_maxrss > 0)
		gone->memory_peak_kib = (uint64_t)usage->ru_maxrss;
	ended->cpu_usage_us += gone->cpu_usage_us;
	ended->cpu_user_us += gone->cpu_user_us;
	ended->cpu_sys_us += gone->cpu_sys_us;
}

static void
take_out(struct sandboxes *sandboxes, const struct instance *instance)
{
	size_t i = 0;

	while (sandboxes->live[i] != instance)
		i++;
	sandboxes->count--;
	memmove(&sandboxes->live[i], &sandboxes->live[i + 1],
	    (sandboxes->count - i) * sizeof(*sandboxes->live));
}

static void
take_out_disowned(struct sandboxes *sandboxes, const struct instance *instance)
{
	struct instance **place = &sandboxes->disowned;

	while (*place != instance)
		place = &(*place)->next;
	*place = instance->next;
	sandboxes->disowned_count--;
}

static void
on_exit_event(void *arg, uint32_t events)
{
	struct instance *instance = arg;
	struct sandboxes *sandboxes = instance->sandboxes;
	struct ctl_instance_gone gone = { .id = instance->id };
	struct rusage usage = { 0 };
	int status = 0;

	(void)events;
	if (wait4(instance->pid, &status, WNOHANG | __WALL, &usage) == 0)
		return;
	gone.wait_status = status;
	count_usage(instance, &usage, &gone);
	log_event(LOG_DEBUG, "instance_gone", "id=%llu function=%s status=%d "
	    "cpu_us=%llu", (unsigned long long)instance->id, instance->name,
	    status, (unsigned long long)gone.cpu_usage_us);
	clear(instance);
	loop_defer(sandboxes->loop, &instance->free_task, free, instance);
	if (instance->is_disowned) {
		take_out_disowned(sandboxes, instance);
	} else {
		take_out(sandboxes, instance);
		sandboxes->gone(sandboxes->arg, &gone);
	}
}

static int
make_room(struct sandboxes *sandboxes)
{
	size_t size = sandboxes->size == 0 ? 16 : sandboxes->size * 2;
	struct instance **grown;

	if (sandboxes->count < sandboxes->size)
		return 0;
	grown = reallocarray(sandboxes->live, size, sizeof(struct instance *));
	if (grown == NULL)
		return -ENOMEM;
	sandboxes->live = grown;
	sandboxes->size = size;
	return 0;
}

int
instance_watch(struct instance *instance, pid_t pid, int pidfd)
{
	struct sandboxes *sandboxes = instance->sandboxes;
	int error = make_room(sandboxes);

	instance->pid = pid;
	instance->pidfd = pidfd;
	if (error == 0 && instance->leaf_fd >= 0)
		error = cgroup_leaf_limit_cpu(sandboxes->cgroup,
		    instance->leaf_fd, instance->cpu_milli);
	if (error == 0)
		error = loop_io_add(sandboxes->loop, &instance->io, pidfd,
		    EPOLLIN, on_exit_event, instance);
	if (error != 0) {
		kill_one(instance);
		(void)wait4(pid, NULL, __WALL, NULL);
		return error;
	}
	sandboxes->live[sandboxes->count++] = instance;
	return 0;
}

/* -------------------------------------------------------------- all of them */

static struct instance *
find(const struct sandboxes *sandboxes, uint64_t id)
{
	size_t low = 0, high = sandboxes->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sandboxes->live[middle]->id == id)
			return sandboxes->live[middle];
		if (sandboxes->live[middle]->id > id)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

int
sandboxes_kill(struct sandboxes *sandboxes, uint64_t id)
{
	struct instance *instance = find(sandboxes, id);

	if (instance == NULL)
		return -ENOENT;
	kill_one(instance);
	return 0;
}

void
sandboxes_kill_all(struct sandboxes *sandboxes)
{
	size_t i;

	for (i = 0; i < sandboxes->count; i++)
		kill_one(sandboxes->live[i]);
}

void
sandboxes_disown(struct sandboxes *sandboxes)
{
	sandboxes_kill_all(sandboxes);
	while (sandboxes->count > 0) {
		struct instance *instance =
		    sandboxes->live[--sandboxes->count];

		remove_socket(instance);
		instance->is_disowned = true;
		instance->next = sandboxes->disowned;
		sandboxes->disowned = instance;
		sandboxes->disowned_count++;
	}
}

size_t
sandboxes_count(const struct sandboxes *sandboxes)
{
	return sandboxes->count + sandboxes->disowned_count;
}

void
sandboxes_totals(const struct sandboxes *sandboxes, struct ctl_totals *totals)
{
	struct cgroup_cpu cpu;

	totals->cpu_usage_us = sandboxes->ended.cpu_usage_us;
	totals->cpu_user_us = sandboxes->ended.cpu_user_us;
	totals->cpu_sys_us = sandboxes->ended.cpu_sys_us;
	totals->whole_us = totals->cpu_usage_us;
	if (cgroup_parent_cpu(sandboxes->cgroup, &cpu) != 0)
		return;
	totals->has_cgroup = 1;
	totals->cpu_usage_us = cpu.usage_us;
	totals->cpu_user_us = cpu.user_us;
	totals->cpu_sys_us = cpu.system_us;
	totals->whole_us = cpu.usage_us + sandboxes->cgroup->left.usage_us;
	totals->is_taken_over = sandboxes->cgroup->left.usage_us != 0;
}

void
sandboxes_put_behind(struct sandboxes *sandboxes, unsigned nice)
{
	behind_set(sandboxes->behind, nice);
}

void
sandboxes_busy(struct sandboxes *sandboxes)
{
	behind_wake(sandboxes->behind);
}

struct sandboxes *
sandboxes_new(struct loop *loop, struct cgroup_parent *cgroup,
    int instances_fd, sandboxes_gone_fn *gone, void *arg)
{
	struct sandboxes *sandboxes = calloc(1, sizeof(*sandboxes));

	if (sandboxes == NULL)
		return NULL;
	sandboxes->loop = loop;
	sandboxes->cgroup = cgroup;
	sandboxes->instances_fd = instances_fd;
	sandboxes->gone = gone;
	sandboxes->arg = arg;
	sandboxes->leftovers = leftovers_new(loop, cgroup);
	if (sandboxes->leftovers != NULL)
		sandboxes->homes = homes_new(cgroup, leftovers_remove,
		    sandboxes->leftovers);
	sandboxes->behind = sandboxes->homes == NULL ? NULL :
	    behind_new(loop, cgroup, sandboxes->homes);
	if (sandboxes->behind == NULL) {
		homes_free(sandboxes->homes);
		leftovers_end(sandboxes->leftovers);
		free(sandboxes);
		return NULL;
	}
	return sandboxes;
}

void
sandboxes_free(struct sandboxes *sandboxes)
{
	if (sandboxes == NULL)
		return;
	sandboxes_disown(sandboxes);
	while (sandboxes->disowned != NULL) {
		struct instance *instance = sandboxes->disowned;

		(void)wait4(instance->pid, NULL, __WALL, NULL);
		take_out_disowned(sandboxes, instance);
		instance_drop(instance);
	}
	behind_free(sandboxes->behind);
	homes_free(sandboxes->homes);
	leftovers_end(sandboxes->leftovers);
	free(sandboxes->live);
	free(sandboxes);
}
