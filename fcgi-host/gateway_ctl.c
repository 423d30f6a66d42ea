/* The gateway's side of the wall: what the spawner says, what it is asked. */
#include "fcgi-host/gateway_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fcgi-host/budget_file.h"
#include "fcgi-host/conf_effect.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define TO_SPAWNER_MAX (1024u * 1024)
#define MESSAGES_PER_EVENT 64
#define ENV_MAX (64u * 1024)
/* of the reserve, for the messages alone */
#define MESSAGE_FDS SOCK_FDS_MAX

/* One handler a type; *fds are taken where set to -1, else closed. */
typedef void handler_fn(struct gateway *gateway, const struct ctl_msg *msg,
    int *fds, size_t fd_count);

static void
interest_set(struct gateway *gateway)
{
	loop_io_set(gateway->loop, &gateway->spawner_io, EPOLLIN |
	    (buf_len(&gateway->to_spawner) > 0 ? EPOLLOUT : 0u));
}

static void
queue_flush(struct gateway *gateway)
{
	struct buf *queue = &gateway->to_spawner;

	while (buf_len(queue) > 0) {
		const struct ctl_msg *msg = (const void *)buf_head(queue);
		uint16_t size;
		int error;

		memcpy(&size, (const uint8_t *)msg +
		    offsetof(struct ctl_msg, size), sizeof(size));
		error = sock_send(GATEWAY_SPAWNER_FD, msg, size, NULL, 0);
		if (error == -EAGAIN)
			break;
		if (error < 0)
			log_fatal("spawner", "error=\"%s\"",
			    strerror(-error));
		buf_consume(queue, size);
	}
	interest_set(gateway);
}

void
gateway_send(struct gateway *gateway, const struct ctl_msg *msg)
{
	if (buf_len(&gateway->to_spawner) > TO_SPAWNER_MAX ||
	    buf_add(&gateway->to_spawner, msg, msg->size) < 0)
		log_fatal("spawner", "mend=\"the spawner does not read\"");
	queue_flush(gateway);
}

/* ---- what the spawner says ---- */

static void
on_start(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	const struct ctl_start *start = &msg->u.start;

	if (gateway->inflight != NULL || fd_count != 2)
		return;
	gateway->run_id = start->run_id;
	gateway->is_again = start->is_again;
	gateway->has_cgroup = start->has_cgroup;
	pools_leave_memory(gateway->server.pools, start->has_memory);
	gateway->inflight = inflight_open(fds[0]);
	if (gateway->inflight == NULL)
		log_fatal("inflight", "mend=\"not enough memory\"");
	gateway->server.inflight = gateway->inflight;
	gateway->server.run_id = start->run_id;
	gateway->server.ledger = ledger_new(gateway->inflight, start->run_id);
	if (gateway->server.ledger == NULL)
		log_fatal("memory", "mend=\"not enough memory\"");
	gateway->budgets = gateway->server.budgets = budgets_new();
	if (gateway->budgets == NULL)
		log_fatal("memory", "mend=\"not enough memory\"");
	budgets_open(gateway->budgets, steal_fd(&fds[1]));
	ledger_set_budgets(gateway->server.ledger, gateway->budgets);
	gateway->fleet.ledger = gateway->server.ledger;
	gateway->fleet.next_id = start->is_again ?
	    loop_clock_us() : 0; /* never an id of a predecessor */
}

/* What a reload brings, and what stood before. */
struct change {
	struct conf *old, *new;
};

static bool
is_same(const struct function *function, void *arg)
{
	const struct change *change = arg;

	return conf_effect_same(change->old, change->new,
	    function->info.tenant, function->info.name,
	    function->info.runtime);
}

static void
on_conf(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	struct conf_errors errors = { 0 };
	struct change change = { .old = gateway->conf };
	struct conf *conf;

	(void)msg;
	if (fd_count != 1 || gateway->inflight == NULL)
		return;
	conf = conf_read(fds[0], "configuration", &errors);
	conf_errors_free(&errors);
	if (conf == NULL) {
		log_event(LOG_ERROR, "configuration",
		    "why=\"the spawner's copy cannot be read\"");
		return;
	}
	change.new = gateway->conf = gateway->server.conf = conf;
	log_set_level(conf->log_level);
	logfiles_set(gateway->files, conf->function_logs != NULL,
	    loop_now_us(gateway->loop));
	ledger_set_sync(gateway->server.ledger, conf->is_sync);
	budgets_set_conf(gateway->budgets, conf);
	gateway_prices_switch(gateway);
	gateway->memory_reserve_bytes = conf->has_memory_reserve ?
	    conf->memory_reserve_bytes :
	    gateway_memory_reserve(&gateway->memory);
	gateway->memory_read_us = 0;
	pools_set_limits(gateway->server.pools, conf->max_instances,
	    conf->max_prepared);
	if (change.old == NULL)
		return;
	gateway_check_conf(gateway, change.old);
	pools_new_generation(gateway->server.pools, is_same, &change);
	gateway_host_record(gateway, "reload");
	conf_unref(change.old);
}

static void
on_prices(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)msg;
	if (fd_count == 1)
		gateway_prices_take(gateway, fds[0]);
}

static void
on_log(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	if (fd_count == 1u + msg->u.log.has_chain && gateway->inflight != NULL)
		gateway_log(gateway, &msg->u.log, steal_fd(&fds[0]),
		    fd_count > 1 ? fds[1] : -1);
	/* a reopen is for whatever was moved away */
	if (!msg->u.log.is_first)
		logfiles_close(gateway->files, loop_now_us(gateway->loop));
}

static void
on_stderr(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)gateway;
	(void)msg;
	if (fd_count == 1 && dup3(fds[0], STDERR_FILENO, 0) < 0)
		log_event(LOG_ERROR, "log_reopen", "error=\"%s\"",
		    strerror(errno));
}

static void
on_listen(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)msg;
	if (fd_count == 1 && gateway_listen(gateway, steal_fd(&fds[0])) < 0)
		log_event(LOG_ERROR, "listen", "mend=\"too many sockets\"");
}

static void
on_adopt(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)msg;
	if (fd_count == 1)
		log_event(LOG_INFO, "adopted", "connections=%zu",
		    conn_list_adopt(gateway->conns, fds[0]));
}

static void
on_fn_put(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	const struct ctl_function *info = &msg->u.function;
	struct function *function;
	char *env = NULL;
	size_t n = 0;
	int error = 0;

	if (info->has_env && fd_count == 1)
		error = sock_sealed_read(fds[0], ENV_MAX, &env, &n);
	if (error == 0)
		error = catalog_put(gateway->server.catalog, info, env, n);
	free(env);
	if (error < 0)
		log_event(LOG_ERROR, "function", "function=%s error=\"%s\"",
		    info->name, strerror(-error));
	if (error != 0)
		return;
	function = catalog_find(gateway->server.catalog, info->name);
	gateway_check_put(gateway, info->name);
	pools_change(gateway->server.pools, info->name,
	    info->problem == CTL_PROBLEM_NONE ? function : NULL);
}

static void
on_fn_del(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)fds;
	(void)fd_count;
	catalog_del(gateway->server.catalog, msg->u.name.name);
	gateway_check_put(gateway, msg->u.name.name);
	pools_change(gateway->server.pools, msg->u.name.name, NULL);
}

static void
on_fn_sync(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)fds;
	(void)fd_count;
	gateway_check_sync(gateway);
	gateway_send(gateway, msg);
}

static void
shortage_log(struct gateway *gateway, enum ctl_type type)
{
	uint32_t suppressed;

	if (log_limit_pass(&gateway->shortage_limit, 1, 10000,
	    loop_now_us(gateway->loop), &suppressed))
		log_event(LOG_ERROR, "descriptors", "message=%u suppressed=%u "
		    "mend=\"raise LimitNOFILE\"", (unsigned)type, suppressed);
}

static int
highest(const int *fds, size_t fd_count)
{
	int most = -1;

	for (size_t i = 0; i < fd_count; i++)
		if (fds[i] > most)
			most = fds[i];
	return most;
}

/* Into the numbers that were given up meanwhile. */
static void
move_down(int *fds, size_t fd_count)
{
	for (size_t i = 0; i < fd_count; i++) {
		int lower = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (lower >= 0 && lower < fds[i]) {
			close_fd(&fds[i]);
			fds[i] = steal_fd(&lower);
		}
		close_fd(&lower);
	}
}

/* Whether there is room for an instance with these descriptors, after idle
 * connections gave way.  One of the reserve is no room: an instance lives long,
 * and so would the hole that it leaves there. */
static bool
has_room(struct gateway *gateway, int *fds, size_t fd_count)
{
	bool has_given = false;

	if (highest(fds, fd_count) < gateway->fd_instances)
		return true;
	for (size_t i = 0; i < fd_count; i++)
		if (conn_list_give_way(gateway->conns))
			has_given = true;
	if (has_given)
		move_down(fds, fd_count);
	return has_given &&
	    (rlim_t)highest(fds, fd_count) < gateway->reserve.daily;
}

static void
on_up(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	/* else it is ended as if its descriptors had been lost */
	if (!has_room(gateway, fds, fd_count)) {
		shortage_log(gateway, CTL_INSTANCE_UP);
		if (!checks_up(gateway->checks, &msg->u.instance_up, NULL, 0))
			pools_instance_up(gateway->server.pools,
			    &msg->u.instance_up, NULL, 0);
		return;
	}
	if (checks_up(gateway->checks, &msg->u.instance_up, fds, fd_count) ||
	    pools_instance_up(gateway->server.pools, &msg->u.instance_up, fds,
	    fd_count) == 0)
		for (size_t i = 0; i < fd_count; i++)
			fds[i] = -1;
}

static void
on_function_log(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	gateway_function_log_take(gateway, &msg->u.function_log,
	    fd_count == 1 ? steal_fd(&fds[0]) : -1);
}

static void
on_failed(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)fds;
	(void)fd_count;
	if (!checks_failed(gateway->checks, &msg->u.instance_failed))
		pools_instance_failed(gateway->server.pools,
		    &msg->u.instance_failed);
}

static void
on_gone(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)fds;
	(void)fd_count;
	if (!checks_gone(gateway->checks, &msg->u.instance_gone))
		pools_instance_gone(gateway->server.pools,
		    &msg->u.instance_gone);
}

static void
on_drain(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	gateway_drain(gateway, msg->u.drain.longest_ms,
	    fd_count == 1 ? steal_fd(&fds[0]) : -1);
}

static void
on_totals(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)fds;
	(void)fd_count;
	if (msg->u.totals.has_cgroup && gateway->has_log)
		inflight_set_seen(gateway->inflight, msg->u.totals.whole_us);
	if (msg->u.totals.is_noted)
		return;
	gateway->totals = msg->u.totals;
	gateway->has_totals = msg->u.totals.has_cgroup;
	if (msg->u.totals.is_told && gateway->has_log &&
	    !ledger_is_failing(gateway->server.ledger))
		gateway_host_record(gateway, "totals");
	if (!msg->u.totals.is_final)
		return;
	(void)logfiles_flush(gateway->files, loop_now_us(gateway->loop));
	gateway_host_record(gateway, "stop");
	ledger_flush(gateway->server.ledger);
	gateway_log_head(gateway);
	gateway->exit_code = ledger_is_failing(gateway->server.ledger);
	if (gateway->exit_code == 0)
		budgets_finish(gateway->budgets);
	loop_stop(gateway->loop);
}

static void
on_shell_ask(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)fds;
	(void)fd_count;
	gateway_shell_ask(gateway, &msg->u.shell_ask);
}

static void
on_shell_gone(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	(void)fds;
	(void)fd_count;
	gateway_shell_gone(gateway, &msg->u.shell_gone);
}

static void
on_client(struct gateway *gateway, const struct ctl_msg *msg, int *fds,
    size_t fd_count)
{
	int fd = fd_count == 1 ? steal_fd(&fds[0]) : -1;

	if (gateway->reserve.all > 0 && fd >= 0 &&
	    (rlim_t)fd >= gateway->reserve.all - MESSAGE_FDS) {
		shortage_log(gateway, CTL_CLIENT);
		close_fd(&fd);
	}
	if (fd < 0 || fd_set_nonblock(fd, true) < 0)
		close_fd(&fd);
	else if (msg->u.command.verb == CTL_VERB_INVOKE)
		conn_new(gateway->conns, fd, sock_is_unix(fd), "invoke");
	else if (msg->u.command.verb == CTL_VERB_CHECKS)
		gateway_checks(gateway, fd);
	else
		gateway_status(gateway, fd);
}

static handler_fn *const handlers[CTL_TYPE_COUNT] = {
	[CTL_START] = on_start,
	[CTL_CONF] = on_conf,
	[CTL_PRICES] = on_prices,
	[CTL_LOG] = on_log,
	[CTL_STDERR] = on_stderr,
	[CTL_LISTEN] = on_listen,
	[CTL_ADOPT] = on_adopt,
	[CTL_FN_PUT] = on_fn_put,
	[CTL_FN_DEL] = on_fn_del,
	[CTL_FN_SYNC] = on_fn_sync,
	[CTL_INSTANCE_UP] = on_up,
	[CTL_INSTANCE_FAILED] = on_failed,
	[CTL_INSTANCE_GONE] = on_gone,
	[CTL_DRAIN] = on_drain,
	[CTL_TOTALS] = on_totals,
	[CTL_CLIENT] = on_client,
	[CTL_SHELL_ASK] = on_shell_ask,
	[CTL_SHELL_GONE] = on_shell_gone,
	[CTL_FUNCTION_LOG] = on_function_log,
};

static void
message_take(struct gateway *gateway, const struct ctl_msg *msg, size_t n,
    int *fds, size_t fd_count)
{
	if (ctl_msg_check(msg, n, fd_count, CTL_WAY_SPAWNER_TO_GATEWAY) < 0)
		log_fatal("spawner", "why=\"a malformed message\"");
	/* before the table and the configuration nothing else has a meaning */
	if (handlers[msg->type] != NULL && (gateway->conf != NULL ||
	    msg->type == CTL_START || msg->type == CTL_CONF ||
	    msg->type == CTL_PRICES))
		handlers[msg->type](gateway, msg, fds, fd_count);
	for (size_t i = 0; i < fd_count; i++)
		close_fd(&fds[i]);
}

/*
 * The kernel dropped the descriptors of a message, although the reserve was
 * open for them: its own memory is short, or somebody lowered the limit.  An
 * instance that came up so must not be waited for for ever; a client sees its
 * hang-up.  The others are what this process knows of the world, and no other
 * message repeats them: a successor is told everything.
 */
static void
descriptors_lost(struct gateway *gateway, const struct ctl_msg *msg)
{
	if (msg->type == CTL_INSTANCE_UP && gateway->conf != NULL) {
		shortage_log(gateway, CTL_INSTANCE_UP);
		on_up(gateway, msg, NULL, 0);
	} else if (msg->type == CTL_CLIENT) {
		shortage_log(gateway, CTL_CLIENT);
	} else if (msg->type == CTL_FUNCTION_LOG && gateway->conf != NULL) {
		on_function_log(gateway, msg, NULL, 0);
	} else {
		log_fatal("descriptors", "message=%u mend=\"raise "
		    "LimitNOFILE\"", (unsigned)msg->type);
	}
}

static void
messages_read(struct gateway *gateway)
{
	int fds[SOCK_FDS_MAX];
	struct ctl_msg msg;

	for (int i = 0; i < MESSAGES_PER_EVENT; i++) {
		size_t fd_count = 0;
		ssize_t n;

		msg.type = CTL_TYPE_COUNT;
		n = sock_recv(GATEWAY_SPAWNER_FD, &msg, sizeof(msg),
		    fds, SOCK_FDS_MAX, &fd_count);
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n == -EMSGSIZE) {
			descriptors_lost(gateway, &msg);
			continue;
		}
		if (n <= 0)
			log_fatal("spawner", "why=\"the spawner is gone\"");
		message_take(gateway, &msg, (size_t)n, fds, fd_count);
	}
}

void
gateway_spawner_ready(void *arg, uint32_t events)
{
	struct gateway *gateway = arg;

	if (events & EPOLLOUT)
		queue_flush(gateway);
	reserve_open(&gateway->reserve);
	messages_read(gateway);
	reserve_close(&gateway->reserve);
}
