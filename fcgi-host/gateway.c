/*
 * The gateway: unprivileged, confined, one loop.  Speaks FastCGI to web servers
 * and functions; routing, queues, deadlines, accounting.  Its descriptors:
 * 2 the log, 3 the spawner, 4 the directory of instance sockets that becomes
 * its root, 5 the spool directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/budget_file.h"
#include "fcgi-host/gateway_impl.h"
#include "fcgi-host/log.h"
#include "fcgi-host/prices.h"
#include "fcgi-host/sock.h"
#include "sandbox/confine.h"
#include "sandbox/slice.h"

#define ACCEPTS_PER_EVENT 64
#define ACCEPT_PAUSE_US 100000
#define GIVE_WAY_AT_ONCE 8
#define RETRY_US 500000
#define PLENTY_FRESH_US 10000
#define SHORT_FRESH_US 1000
#define BUSY_EVERY_US 1000000
/* after a crash so much of the log is read again */
#define SAVE_AFTER_US 1000000
/* for the spawner's messages and for a client of `status`, when web servers and
 * instances have taken all the others */
#define RESERVE 32
#define FUNCTION_LOGS_LEAST 4
#define FUNCTION_LOGS_MOST 256

static void
open_add(const struct instance *instance, void *arg)
{
	*(uint64_t *)arg += instance_cpu_open(instance);
}

static void
pool_pass(const struct pool_facts *facts, void *arg)
{
	(void)facts;
	(void)arg;
}

void
gateway_host_record(struct gateway *gateway, const char *event)
{
	struct record_host record = { .event = event,
		.lost_cpu_us = gateway->lost_cpu_us,
		.is_lost_clock = gateway->is_lost_clock };

	if (gateway->has_totals) {
		record.has_totals = true;
		record.cgroup_cpu_us = gateway->totals.cpu_usage_us;
		record.cgroup_user_us = gateway->totals.cpu_user_us;
		record.cgroup_sys_us = gateway->totals.cpu_sys_us;
		pools_each(gateway->server.pools, pool_pass, open_add,
		    &record.open_cpu_us);
		checks_each(gateway->checks, open_add, &record.open_cpu_us);
		gateway->has_totals = false;
	}
	gateway->lost_cpu_us = 0;
	gateway->is_lost_clock = false;
	if (ledger_host(gateway->server.ledger, &record) < 0)
		log_event(LOG_ERROR, "memory", "for=host_record");
}

/* ---- accepting ---- */

static void accept_again(void *arg);

static void
listeners_set(struct gateway *gateway, uint32_t events)
{
	for (size_t i = 0; i < gateway->listener_count; i++)
		loop_io_set(gateway->loop, &gateway->listeners[i], events);
}

static void
accept_wait(struct gateway *gateway)
{
	if (loop_timer_set(gateway->loop, &gateway->accept_timer,
	    loop_now_us(gateway->loop) + ACCEPT_PAUSE_US, accept_again,
	    gateway) < 0)
		listeners_set(gateway, EPOLLIN);
}

/* Whether the next one would get a number below the pause. */
static bool
has_descriptor(const struct gateway *gateway)
{
	int next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	if (next >= 0)
		close(next);
	return next >= 0 && next < gateway->fd_pause;
}

/* While nobody is accepted, nobody comes for whom an idle connection would give
 * way: some go unasked. */
static void
accept_again(void *arg)
{
	struct gateway *gateway = arg;

	for (int i = 0; i < GIVE_WAY_AT_ONCE; i++)
		if (!conn_list_give_way(gateway->conns))
			break;
	if (!has_descriptor(gateway))
		accept_wait(gateway);
	else
		listeners_set(gateway, EPOLLIN);
}

/* Nothing is left to refuse with: the backlog waits until some are gone. */
static void
accept_pause(struct gateway *gateway, const char *why, const char *mend)
{
	uint32_t suppressed = 0;

	if (log_limit_pass(&gateway->accept_limit, 1, 10000,
	    loop_now_us(gateway->loop), &suppressed))
		log_event(LOG_WARN, "accept", "why=\"%s\" suppressed=%u "
		    "mend=\"%s\"", why, suppressed, mend);
	listeners_set(gateway, 0);
	accept_wait(gateway);
}

/* Between the ceilings and here each is refused in words (conn_new). */
static bool
is_beyond_words(struct gateway *gateway)
{
	if (gateway->server.connections <
	    2 * gateway->server.conf->max_connections)
		return false;
	accept_pause(gateway, "twice max_connections are connected",
	    "raise max_connections, or find out who does not read");
	return true;
}

static void
listener_accept(struct gateway *gateway, int listen_fd, uint64_t most)
{
	for (uint64_t i = 0; i < most; i++) {
		struct sockaddr from = { .sa_family = AF_UNSPEC };
		socklen_t size = sizeof(from);
		int fd;

		if (is_beyond_words(gateway))
			return;
		fd = accept4(listen_fd, &from, &size,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			conn_new(gateway->conns, fd,
			    from.sa_family == AF_UNIX, "web");
		else if (errno == EMFILE || errno == ENFILE ||
		    errno == ENOBUFS || errno == ENOMEM)
			accept_pause(gateway, strerror(errno),
			    "raise LimitNOFILE");
		if (fd >= gateway->fd_pause) {
			accept_pause(gateway, "nearly out of descriptors",
			    "raise LimitNOFILE");
			return;
		}
		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void
listener_ready(void *arg, uint32_t events)
{
	struct gateway *gateway = arg;

	(void)events;
	for (size_t i = 0; i < gateway->listener_count; i++)
		listener_accept(gateway, gateway->listen_fds[i],
		    ACCEPTS_PER_EVENT);
}

int
gateway_listen(struct gateway *gateway, int fd)
{
	size_t place = gateway->listener_count;
	int error;

	if (place >= CONF_LISTEN_MAX || !gateway->is_accepting) {
		close_fd(&fd);
		return -ENOSPC;
	}
	fd_set_nonblock(fd, true);
	sock_refuse_descriptors(fd); /* what it accepts does as it does */
	gateway->listeners[place].fd = -1;
	error = loop_io_add(gateway->loop, &gateway->listeners[place], fd,
	    EPOLLIN, listener_ready, gateway);
	if (error < 0) {
		close_fd(&fd);
		return error;
	}
	gateway->listen_fds[place] = fd;
	gateway->listener_count++;
	return 0;
}

/* ---- the end ---- */

static void
drain_over(void *arg)
{
	struct gateway *gateway = arg;

	log_event(LOG_WARN, "drain", "why=\"executions were cut short\"");
	gateway->server.is_overdue = true;
	checks_end(gateway->checks);
	conn_list_hurry(gateway->conns);
	pools_end(gateway->server.pools);
}

void
gateway_drain(struct gateway *gateway, uint64_t longest_ms, int next_fd)
{
	if (gateway->server.is_draining) {
		close_fd(&next_fd);
		return;
	}
	gateway->server.is_draining = true;
	gateway->is_accepting = false;
	for (size_t i = 0; i < gateway->listener_count; i++) {
		/* what waits in the backlog was promised an answer: all of it,
		 * but who comes and goes meanwhile does not hold the drain */
		listener_accept(gateway, gateway->listen_fds[i],
		    2 * gateway->server.conf->max_connections);
		loop_io_del(gateway->loop, &gateway->listeners[i]);
		close_fd(&gateway->listen_fds[i]);
	}
	gateway->listener_count = 0;
	conn_list_drain(gateway->conns, next_fd);
	checks_drain(gateway->checks);
	pools_drain(gateway->server.pools);
	if (longest_ms > 0 && loop_timer_set(gateway->loop,
	    &gateway->drain_timer, loop_now_us(gateway->loop) +
	    longest_ms * 1000, drain_over, gateway) < 0)
		drain_over(gateway);
}

static void
drained_check(struct gateway *gateway)
{
	struct ctl_msg msg;

	if (!gateway->server.is_draining || gateway->is_drained_said ||
	    gateway->server.active > 0 || gateway->fleet.count > 0 ||
	    (gateway->server.connections > 0 && !gateway->server.is_overdue))
		return;
	gateway->is_drained_said = true;
	/* a client that was on its way here would have one started */
	checks_end(gateway->checks);
	pools_end(gateway->server.pools);
	loop_timer_cancel(gateway->loop, &gateway->drain_timer);
	ctl_msg_init(&msg, CTL_DRAINED);
	gateway_send(gateway, &msg);
}

/* ---- memory ---- */

/* Before anything is started, and not more often than tells something. */
static bool
is_memory_short(void *arg)
{
	struct gateway *gateway = arg;
	uint64_t now_us = loop_now_us(gateway->loop), left;
	uint32_t suppressed = 0;

	if (now_us - gateway->memory_read_us < (gateway->is_memory_short ?
	    SHORT_FRESH_US : PLENTY_FRESH_US))
		return gateway->is_memory_short;
	gateway->memory_read_us = now_us;
	left = gateway_memory_left(&gateway->memory);
	gateway->is_memory_short = left < gateway->memory_reserve_bytes;
	if (gateway->is_memory_short && log_limit_pass(&gateway->memory_limit,
	    1, 10000, now_us, &suppressed))
		log_event(LOG_WARN, "memory_short", "left_mib=%llu "
		    "memory_reserve_mib=%llu suppressed=%u why=\"no program is "
		    "started\" mend=\"lower `idle` or `instances`, or get "
		    "more memory\"", (unsigned long long)left >> 20,
		    (unsigned long long)gateway->memory_reserve_bytes >> 20,
		    suppressed);
	return gateway->is_memory_short;
}

/* ---- every iteration ---- */

/* There is something to write that could not be, or to tell: try again. */
static void
retry(void *arg)
{
	struct gateway *gateway = arg;

	ledger_flush(gateway->server.ledger);
	if (ledger_refused(gateway->server.ledger) > 0 &&
	    ledger_probe(gateway->server.ledger) == 0)
		gateway_host_record(gateway, "refused");
}

/* Its turn of the loop is all that it is for. */
static void
busy_again(void *arg)
{
	(void)arg;
}

/* The spawner looks who burns the processor, and what the clock shows, but only
 * while somebody runs: an idle host sleeps. */
static void
busy_say(struct gateway *gateway)
{
	uint64_t now_us = loop_now_us(gateway->loop);
	struct ctl_msg msg;

	if (gateway->server.active == 0 ||
	    now_us - gateway->busy_said_us < BUSY_EVERY_US)
		return;
	gateway->busy_said_us = now_us;
	ctl_msg_init(&msg, CTL_BUSY);
	gateway_send(gateway, &msg);
	/* else one long execution would let the host sleep */
	(void)loop_timer_set(gateway->loop, &gateway->busy_timer,
	    now_us + BUSY_EVERY_US, busy_again, gateway);
}

static void
save_due(void *arg)
{
	struct gateway *gateway = arg;

	gateway->is_save_due = true;
}

/* Behind the batch's write, so that all that was charged is in the log. */
static void
budgets_keep(struct gateway *gateway)
{
	if (ledger_is_failing(gateway->server.ledger) ||
	    !budgets_is_due(gateway->budgets))
		return;
	if (gateway->is_save_due) {
		gateway->is_save_due = false;
		budgets_save(gateway->budgets);
	} else if (gateway->save_timer.place == 0 &&
	    loop_timer_set(gateway->loop, &gateway->save_timer,
	    loop_now_us(gateway->loop) + SAVE_AFTER_US, save_due,
	    gateway) < 0) {
		log_event(LOG_ERROR, "memory", "for=budgets");
	}
}

/* Before anything is done that a client can see: who dies in the midst of that
 * has run until now. */
static void
iteration_begin(void *arg)
{
	struct gateway *gateway = arg;

	if (gateway->server.ledger != NULL)
		inflight_set_alive(gateway->inflight,
		    loop_now_us(gateway->loop));
}

static void
iteration_end(void *arg)
{
	struct gateway *gateway = arg;
	struct ledger *ledger = gateway->server.ledger;

	if (ledger == NULL)
		return;
	/* before what was answered is told: who reads then finds its lines */
	if (logfiles_flush(gateway->files, loop_now_us(gateway->loop)) &&
	    gateway->files_timer.place == 0)
		(void)loop_timer_set(gateway->loop, &gateway->files_timer,
		    loop_now_us(gateway->loop) + LOGFILES_ASKS_US, busy_again,
		    gateway);
	if (!ledger_is_failing(ledger) || gateway->retry_timer.place == 0)
		ledger_flush(ledger);
	if ((ledger_is_failing(ledger) || ledger_refused(ledger) > 0) &&
	    gateway->retry_timer.place == 0 &&
	    loop_timer_set(gateway->loop, &gateway->retry_timer,
	    loop_now_us(gateway->loop) + RETRY_US, retry, gateway) < 0)
		log_event(LOG_ERROR, "memory", "for=retry");
	budgets_keep(gateway);
	busy_say(gateway);
	drained_check(gateway);
}

/* ---- the start ---- */

static int
options_read(int argc, char **argv, struct confine *confine)
{
	static const struct option options[] = {
		{ "uid", required_argument, NULL, 'u' },
		{ "gid", required_argument, NULL, 'g' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	confine->uid = (uid_t)-1;
	confine->gid = (gid_t)-1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'u')
			confine->uid = (uid_t)strtoul(optarg, NULL, 10);
		else if (option == 'g')
			confine->gid = (gid_t)strtoul(optarg, NULL, 10);
		else
			return -EINVAL;
	}
	return confine->uid == (uid_t)-1 || confine->gid == (gid_t)-1 ?
	    -EINVAL : 0;
}

static void
rights_drop(int argc, char **argv)
{
	struct confine confine = {
		.root_fd = GATEWAY_ROOT_FD,
		.read_fd = -1,
		.spool_fd = GATEWAY_SPOOL_FD,
	};
	const char *step = "";
	int error;

	if (options_read(argc, argv, &confine) < 0)
		log_fatal("usage", "mend=\"it is started by the spawner\"");
	error = confine_gateway(&confine, &step);
	if (error < 0)
		log_fatal("confine", "step=%s error=\"%s\"", step,
		    strerror(-error));
}

/* A share of all, and not less than what a few executions need. */
static int
all_but(rlim_t all, rlim_t part, rlim_t least)
{
	return (int)(all - (all / part < least ? least : all / part));
}

/*
 * Who may have how many.  The kernel gives the lowest free number, so a number
 * tells how many are in use at least.  Instances, which live long, end at three
 * quarters: connections to those that run find more.  These are refused in
 * words from seven eighths on, and wait in the backlog from fifteen sixteenths
 * on: what was admitted needs the rest, for pipes.  The reserve comes on top.
 */
static void
ceilings_set(struct gateway *gateway)
{
	int error = reserve_init(&gateway->reserve, RESERVE);
	rlim_t daily = gateway->reserve.daily;

	if (error < 0 || daily > INT32_MAX) {
		log_event(LOG_WARN, "descriptors", "why=\"no reserve: %s\"",
		    strerror(-error));
		gateway->fd_pause = gateway->server.fd_ceiling =
		    gateway->fd_instances = INT32_MAX;
		return;
	}
	gateway->fd_instances = all_but(daily, 4, 40);
	gateway->fleet.fd_ceiling = gateway->fd_instances;
	gateway->server.fd_ceiling = all_but(daily, 8, 24);
	gateway->fd_pause = all_but(daily, 16, 16);
}

/* Of the functions' logs so many are open: a sixteenth of all descriptors. */
static size_t
function_logs_max(const struct gateway *gateway)
{
	rlim_t part = gateway->reserve.daily / 16;

	return part < FUNCTION_LOGS_LEAST ? FUNCTION_LOGS_LEAST :
	    part > FUNCTION_LOGS_MOST ? FUNCTION_LOGS_MOST : (size_t)part;
}

static int
gateway_init(struct gateway *gateway)
{
	gateway->loop = loop_new();
	if (gateway->loop == NULL)
		return -ENOMEM;
	gateway->is_accepting = true;
	gateway->started_us = loop_clock_us();
	gateway->fleet.loop = gateway->loop;
	gateway->fleet.ops = &gateway_fleet_ops;
	gateway->fleet.ops_arg = gateway;
	gateway->server.loop = gateway->loop;
	gateway->server.spool_fd = GATEWAY_SPOOL_FD;
	gateway->server.catalog = catalog_new();
	gateway->files = logfiles_new(function_logs_max(gateway),
	    gateway_function_log_ask, gateway);
	gateway->fleet.files = gateway->server.files = gateway->files;
	gateway->server.pools = pools_new(&gateway->fleet);
	gateway->conns = conn_list_new(&gateway->server);
	if (gateway->server.pools != NULL)
		pools_set_memory(gateway->server.pools, is_memory_short,
		    gateway);
	if (gateway->server.catalog == NULL || gateway->server.pools == NULL ||
	    gateway->conns == NULL || gateway->files == NULL ||
	    gateway_checks_init(gateway) < 0)
		return -ENOMEM;
	loop_set_begin(gateway->loop, iteration_begin, gateway);
	loop_set_hook(gateway->loop, iteration_end, gateway);
	gateway_day_begin(gateway);
	gateway->spawner_io.fd = -1;
	fd_set_nonblock(GATEWAY_SPAWNER_FD, true);
	return loop_io_add(gateway->loop, &gateway->spawner_io,
	    GATEWAY_SPAWNER_FD, EPOLLIN, gateway_spawner_ready, gateway);
}

static void
gateway_free(struct gateway *gateway)
{
	conn_list_free(gateway->conns);
	checks_free(gateway->checks);
	pools_free(gateway->server.pools);
	catalog_free(gateway->server.catalog);
	logfiles_free(gateway->files);
	ledger_free(gateway->server.ledger);
	inflight_close(gateway->inflight);
	budgets_free(gateway->budgets);
	prices_free(gateway->prices);
	prices_free(gateway->prices_next);
	conf_unref(gateway->conf);
	buf_free(&gateway->to_spawner);
	gateway_memory_close(&gateway->memory);
	loop_free(gateway->loop);
}

int
main(int argc, char **argv)
{
	static struct gateway gateway;
	int error;

	log_init("gateway", LOG_INFO);
	ceilings_set(&gateway);
	(void)slice_set(SLICE_GATEWAY_US);
	/* it looks which instructions there are, and for a random number */
	if (sodium_init() < 0)
		log_fatal("sodium", "mend=\"/dev/urandom cannot be read\"");
	gateway_memory_open(&gateway.memory);
	rights_drop(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* the write fails instead: EFBIG */
	error = gateway_init(&gateway);
	if (error == 0)
		error = loop_run(gateway.loop);
	if (error < 0)
		log_fatal("gateway", "error=\"%s\"", strerror(-error));
	gateway_free(&gateway);
	return gateway.exit_code;
}
