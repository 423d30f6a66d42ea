/* What `status` shows, written to its socket at its pace. */
#include "fcgi-host/gateway_impl.h"

#include <errno.h>
#include <search.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define CLIENT_TIMEOUT_US 10000000
/* An init answers within a millisecond; one that is not let run, or lies, does
 * not keep the others' row from who asks. */
#define LOOK_US 5000
#define LOOKS_MAX 100

struct client {
	struct gateway *gateway;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task task;
	int fd;
	struct buf rows; /* whole messages */
	void *tallies;   /* of tenants, tsearch(3); until the rows are made */
	unsigned looks;  /* how often it was looked whether all have answered */
};

/* What a tenant's functions have together. */
struct tally {
	struct client *client;
	struct ctl_msg msg; /* of his row */
};

static void
client_free(void *arg)
{
	struct client *client = arg;

	buf_free(&client->rows);
	free(client);
}

static void
client_close(void *arg)
{
	struct client *client = arg;
	struct loop *loop = client->gateway->loop;

	loop_timer_cancel(loop, &client->timer);
	loop_io_del(loop, &client->io);
	close_fd(&client->fd);
	loop_defer(loop, &client->task, client_free, client);
}

static void
client_ready(void *arg, uint32_t events)
{
	struct client *client = arg;

	if (events & (EPOLLHUP | EPOLLERR)) {
		client_close(client);
		return;
	}
	while (buf_len(&client->rows) > 0) {
		const uint8_t *msg = buf_head(&client->rows);
		uint16_t size;
		int error;

		memcpy(&size, msg + offsetof(struct ctl_msg, size),
		    sizeof(size));
		error = sock_send(client->fd, msg, size, NULL, 0);
		if (error == -EAGAIN)
			return;
		if (error < 0)
			break;
		buf_consume(&client->rows, size);
	}
	client_close(client);
}

static void
row_add(struct client *client, const struct ctl_msg *msg)
{
	if (buf_add(&client->rows, msg, msg->size) < 0)
		log_event(LOG_ERROR, "memory", "for=status");
}

static int
tally_compare(const void *a, const void *b)
{
	return strcmp(((const struct tally *)a)->msg.u.status_tenant.tenant,
	    ((const struct tally *)b)->msg.u.status_tenant.tenant);
}

/* NULL: no memory; his row will say less. */
static struct ctl_status_tenant *
tally_of(struct client *client, const char *tenant)
{
	struct tally *tally = calloc(1, sizeof(*tally)), **found;
	struct ctl_status_tenant *row;
	struct limits limits;

	if (tally == NULL)
		return NULL;
	tally->client = client;
	ctl_msg_init(&tally->msg, CTL_STATUS_TENANT);
	row = &tally->msg.u.status_tenant;
	snprintf(row->tenant, sizeof(row->tenant), "%s", tenant);
	found = tsearch(tally, &client->tallies, tally_compare);
	if (found == NULL || *found != tally)
		free(tally);
	if (found == NULL)
		return NULL;
	if (*found != tally)
		return &(*found)->msg.u.status_tenant;
	conf_tenant_limits(client->gateway->conf, tenant, &limits);
	row->max_instances = limits.value[LIMIT_MAX_INSTANCES];
	row->max_memory_bytes = limits.value[LIMIT_MAX_MEMORY_BYTES];
	row->max_processes = limits.value[LIMIT_MAX_PROCESSES];
	row->max_cpu_milli = limits.value[LIMIT_MAX_CPU_MILLI];
	return row;
}

static void
tally_end(void *node)
{
	struct tally *tally = node;

	row_add(tally->client, &tally->msg);
	free(tally);
}

static void
pool_row(const struct pool_facts *facts, void *arg)
{
	struct ctl_msg msg;
	struct ctl_status_fn *row = &msg.u.status_fn;
	struct ctl_status_tenant *tenant;

	ctl_msg_init(&msg, CTL_STATUS_FN);
	memcpy(row->name, facts->function->info.name, sizeof(row->name));
	memcpy(row->version, facts->function->info.version,
	    sizeof(row->version));
	row->executions = facts->executions;
	row->queued = facts->queued;
	row->instances = facts->instances;
	row->prepared = facts->prepared;
	row->throttled_ms = facts->throttled_ms;
	row->idle = facts->idle;
	row->busy = facts->busy;
	row_add(arg, &msg);
	tenant = tally_of(arg, facts->function->info.tenant);
	if (tenant == NULL)
		return;
	tenant->instances += facts->instances;
	tenant->busy += facts->busy;
	tenant->queued += facts->queued;
}

static void
instance_row(const struct instance *instance, void *arg)
{
	struct client *client = arg;
	struct ctl_msg msg;
	struct ctl_status_instance *row = &msg.u.status_instance;
	struct ctl_status_tenant *tenant;
	struct cgroup_cpu cpu = { 0 };
	enum ctl_memory_source source;

	ctl_msg_init(&msg, CTL_STATUS_INSTANCE);
	row->id = instance->id;
	memcpy(row->function, instance->function->info.name,
	    sizeof(row->function));
	memcpy(row->version, instance->function->info.version,
	    sizeof(row->version));
	row->memory_kib = instance_memory_held(instance, &source);
	row->memory_source = source;
	strncpy(row->state, pool_state_name(instance),
	    sizeof(row->state) - 1);
	row->age_ms = (loop_now_us(client->gateway->loop) -
	    instance->asked_us) / 1000;
	row->executions = instance->served;
	if (instance->cpu_fd >= 0 &&
	    cgroup_cpu_read(instance->cpu_fd, &cpu) == 0)
		row->cpu_usage_us = cpu.usage_us;
	row_add(client, &msg);
	tenant = tally_of(client, instance->function->info.tenant);
	if (tenant != NULL)
		tenant->memory_kib += row->memory_kib;
}

static void
budget_row(const struct budget_fact *fact, void *arg)
{
	struct ctl_msg msg;
	struct ctl_status_budget *row = &msg.u.status_budget;

	ctl_msg_init(&msg, CTL_STATUS_BUDGET);
	strncpy(row->owner, fact->owner, sizeof(row->owner) - 1);
	row->is_tenant = fact->is_tenant;
	row->is_month = fact->period == BUDGET_MONTH;
	row->unit = (uint8_t)fact->unit;
	if (fact->unit == AMOUNT_MONEY)
		strncpy(row->currency, fact->currency,
		    sizeof(row->currency) - 1);
	row->used = fact->used;
	row->most = fact->most;
	row->ends_us = fact->ends_us;
	row_add(arg, &msg);
}

static void
budget_rows(const struct function *function, void *arg)
{
	struct client *client = arg;

	if (ctl_function_is_known(&function->info))
		budgets_tell(client->gateway->budgets, &function->info,
		    loop_clock_real_us(), budget_row, client);
}

static void
host_row(struct client *client)
{
	const struct gateway *gateway = client->gateway;
	const struct server *server = &gateway->server;
	struct ctl_msg msg;
	struct ctl_status_host *row = &msg.u.status_host;

	ctl_msg_init(&msg, CTL_STATUS_HOST);
	row->run_id = gateway->run_id;
	row->uptime_ms = (loop_now_us(gateway->loop) -
	    gateway->started_us) / 1000;
	row->seq = ledger_seq(server->ledger);
	row->executions = server->executions;
	row->refused = server->refused;
	row->refused_unrecorded = ledger_refused(server->ledger);
	row->bad_peers = server->bad_peers;
	row->connections = server->connections;
	row->active = server->active;
	row->queued = pools_queued(server->pools);
	row->instances = gateway->fleet.count;
	row->functions = catalog_count(server->catalog);
	row->accounting_errors = ledger_errors(server->ledger);
	row->accounting_error = (uint32_t)-ledger_probe(server->ledger);
	row->is_draining = server->is_draining;
	row->has_cgroup = gateway->has_cgroup;
	row_add(client, &msg);
}

/* Takes fd; NULL: no memory. */
static struct client *
client_new(struct gateway *gateway, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		close_fd(&fd);
		return NULL;
	}
	client->gateway = gateway;
	client->fd = fd;
	client->io.fd = -1;
	return client;
}

static void
check_row(const struct function *function, void *arg)
{
	struct client *client = arg;
	struct ctl_msg msg;
	struct ctl_status_check *row = &msg.u.status_check;

	if (function->info.problem != CTL_PROBLEM_NONE ||
	    (function->check == CTL_CHECK_NONE &&
	    !gateway_is_to_check(client->gateway, function)))
		return;
	ctl_msg_init(&msg, CTL_STATUS_CHECK);
	memcpy(row->name, function->info.name, sizeof(row->name));
	memcpy(row->version, function->info.version, sizeof(row->version));
	row->state = (uint8_t)function->check;
	row->is_fastcgi = function->info.is_fastcgi;
	strncpy(row->text, function->check == CTL_CHECK_OTHERWISE ?
	    function->info.runtime : function->check_text == NULL ? "" :
	    function->check_text, sizeof(row->text) - 1);
	row_add(client, &msg);
}

static void
rows_make(struct client *client)
{
	struct gateway *gateway = client->gateway;

	host_row(client);
	pools_each(gateway->server.pools, pool_row, instance_row, client);
	tdestroy(client->tallies, tally_end);
	client->tallies = NULL;
	budgets_tell_begin(gateway->budgets);
	catalog_each(gateway->server.catalog, budget_rows, client);
}

/* All rows are there: 0 or negative errno. */
static int
client_begin(struct client *client)
{
	struct loop *loop = client->gateway->loop;
	struct ctl_msg msg;
	int error;

	ctl_msg_init(&msg, CTL_REPLY);
	row_add(client, &msg);
	error = loop_timer_set(loop, &client->timer, loop_now_us(loop) +
	    CLIENT_TIMEOUT_US, client_close, client);
	return error != 0 ? error : loop_io_add(loop, &client->io, client->fd,
	    EPOLLOUT, client_ready, client);
}

/* The rows are made when all have said what they hold. */
static void
client_look(void *arg)
{
	struct client *client = arg;
	struct loop *loop = client->gateway->loop;
	bool is_late = client->looks++ == LOOKS_MAX;
	int error;

	if (client->gateway->fleet.looks_due > 0 && !is_late) {
		error = loop_timer_set(loop, &client->timer,
		    loop_now_us(loop) + LOOK_US, client_look, client);
	} else {
		rows_make(client);
		error = client_begin(client);
	}
	if (error < 0)
		client_close(client);
}

void
gateway_status(struct gateway *gateway, int fd)
{
	struct client *client = client_new(gateway, fd);

	if (client == NULL)
		return;
	pools_ask_memory(gateway->server.pools);
	client_look(client);
}

void
gateway_check_rows(struct gateway *gateway, int fd)
{
	struct client *client = client_new(gateway, fd);

	if (client == NULL)
		return;
	catalog_each(gateway->server.catalog, check_row, client);
	if (client_begin(client) < 0)
		client_close(client);
}
