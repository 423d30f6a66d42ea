#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_ctl.h"
#include "fcgi-host/cmd_status.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/settings_text.h"
#include "fcgi-host/sock.h"

#define STATUS_TIMEOUT_MS 10000
#define COLUMNS 8 /* of functions */
#define INSTANCE_COLUMNS 9
#define TENANT_COLUMNS 9

void
status_init(struct status *status, bool is_json)
{
	static const char *const functions[] = { "FUNCTION", "VERSION",
		"EXECUTIONS", "WAITING", "INSTANCES", "PREPARED", "IDLE",
		"BUSY" };
	static const char *const instances[] = { "INSTANCE", "FUNCTION",
		"VERSION", "STATE", "AGE", "EXECUTIONS", "CPU", "MEMORY",
		"BY" };
	static const char *const tenants[] = { "TENANT", "WAITING", "BUSY",
		"INSTANCES", "MAX_INSTANCES", "MEMORY", "MAX_MEMORY",
		"MAX_PROCESSES", "MAX_CPU" };
	size_t i;

	memset(status, 0, sizeof(*status));
	status->is_json = is_json;
	status_budgets_init(status);
	status->functions.columns = COLUMNS;
	status->functions.right = 0xfc; /* all but name and version */
	status->instances.columns = INSTANCE_COLUMNS;
	status->instances.right = 0xf1;
	status->tenants.columns = TENANT_COLUMNS;
	status->tenants.right = 0x1fe;
	for (i = 0; i < TENANT_COLUMNS; i++)
		cmd_table_add(&status->tenants, "%s", tenants[i]);
	for (i = 0; i < COLUMNS; i++)
		cmd_table_add(&status->functions, "%s", functions[i]);
	for (i = 0; i < INSTANCE_COLUMNS; i++)
		cmd_table_add(&status->instances, "%s", instances[i]);
}

void
status_free(struct status *status)
{
	cmd_table_free(&status->tenants);
	cmd_table_free(&status->functions);
	cmd_table_free(&status->instances);
	cmd_table_free(&status->budgets);
	buf_free(&status->worries);
	buf_free(&status->json_tenants);
	buf_free(&status->json_functions);
	buf_free(&status->json_instances);
	buf_free(&status->json_budgets);
}

const char *
status_span(uint64_t ms, char *out, size_t size)
{
	uint64_t s = ms / 1000;

	if (ms < 10000)
		(void)snprintf(out, size, "%" PRIu64 ".%" PRIu64 "s", s,
		    ms % 1000 / 100);
	else if (s < 60)
		(void)snprintf(out, size, "%" PRIu64 "s", s);
	else if (s < 3600)
		(void)snprintf(out, size, "%" PRIu64 "m%02us", s / 60,
		    (unsigned)(s % 60));
	else if (s < 86400)
		(void)snprintf(out, size, "%" PRIu64 "h%02um", s / 3600,
		    (unsigned)(s / 60 % 60));
	else
		(void)snprintf(out, size, "%" PRIu64 "d%02uh", s / 86400,
		    (unsigned)(s / 3600 % 24));
	return out;
}

static int
json_text(struct buf *out, const char *key, const char *text)
{
	int error = buf_addf(out, "\"%s\":", key);

	return error != 0 ? error : buf_add_json(out, text, strlen(text));
}

static int
json_or_null(struct buf *out, const char *key, uint64_t value)
{
	return value == 0 ? buf_addf(out, ",\"%s\":null", key) :
	    buf_addf(out, ",\"%s\":%" PRIu64, key, value);
}

static int
add_tenant_json(struct buf *json, const struct ctl_status_tenant *tenant)
{
	const struct { const char *key; uint64_t value; } all[] = {
		{ "memory_kib", tenant->memory_kib },
		{ "max_instances", tenant->max_instances },
		{ "max_memory_kib", tenant->max_memory_bytes / 1024 },
		{ "max_processes", tenant->max_processes },
		{ "max_cpu_milli", tenant->max_cpu_milli },
	};
	int error = buf_add_str(json, buf_len(json) > 0 ? ",{" : "{");

	if (error == 0)
		error = json_text(json, "tenant", tenant->tenant);
	if (error == 0)
		error = buf_addf(json, ",\"waiting\":%" PRIu64 ",\"busy\":%"
		    PRIu64 ",\"instances\":%" PRIu64, tenant->queued,
		    tenant->busy, tenant->instances);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && error == 0; i++)
		error = json_or_null(json, all[i].key, all[i].value);
	return error != 0 ? error : buf_add_str(json, "}");
}

static void
add_or_dash(struct cmd_table *table, uint64_t value, const char *unit)
{
	if (value == 0)
		cmd_table_add(table, "-");
	else
		cmd_table_add(table, "%" PRIu64 "%s", value, unit);
}

static int
add_tenant(struct status *status, const struct ctl_status_tenant *tenant)
{
	struct cmd_table *table = &status->tenants;
	char text[32];

	if (status->is_json)
		return add_tenant_json(&status->json_tenants, tenant);
	status->has_ceiling |= tenant->max_instances != 0 ||
	    tenant->max_memory_bytes != 0 || tenant->max_processes != 0 ||
	    tenant->max_cpu_milli != 0;
	cmd_table_add(table, "%s", tenant->tenant);
	cmd_table_add(table, "%" PRIu64, tenant->queued);
	cmd_table_add(table, "%" PRIu64, tenant->busy);
	cmd_table_add(table, "%" PRIu64, tenant->instances);
	add_or_dash(table, tenant->max_instances, "");
	add_or_dash(table, tenant->memory_kib, " KiB");
	cmd_table_add(table, "%s", tenant->max_memory_bytes == 0 ? "-" :
	    settings_size_text(tenant->max_memory_bytes, text, sizeof(text)));
	add_or_dash(table, tenant->max_processes, "");
	if (tenant->max_cpu_milli == 0)
		cmd_table_add(table, "-");
	else
		cmd_table_add(table, "%g", (double)tenant->max_cpu_milli / 1000);
	return table->error;
}

static int
add_worry(struct status *status, const struct ctl_status_fn *fn)
{
	char span[32];

	return buf_addf(&status->worries, "%s ends before its first answer: it "
	    "is not started for %s; see its log\n", fn->name,
	    status_span(fn->throttled_ms + 99, span, sizeof(span)));
}

static int
add_function(struct status *status, const struct ctl_status_fn *fn)
{
	struct cmd_table *table = &status->functions;
	struct buf *json = &status->json_functions;
	int error = 0;

	if (!status->is_json) {
		if (fn->throttled_ms > 0)
			error = add_worry(status, fn);
		cmd_table_add(table, "%s", fn->name);
		cmd_table_add(table, "%s", fn->version);
		cmd_table_add(table, "%" PRIu64, fn->executions);
		cmd_table_add(table, "%" PRIu64, fn->queued);
		cmd_table_add(table, "%" PRIu64, fn->instances);
		cmd_table_add(table, "%" PRIu64, fn->prepared);
		cmd_table_add(table, "%" PRIu64, fn->idle);
		cmd_table_add(table, "%" PRIu64, fn->busy);
		return error != 0 ? error : table->error;
	}
	error = buf_add_str(json, buf_len(json) > 0 ? ",{" : "{");
	if (error == 0)
		error = json_text(json, "function", fn->name);
	if (error == 0)
		error = buf_add_str(json, ",");
	if (error == 0)
		error = json_text(json, "version", fn->version);
	if (error == 0)
		error = buf_addf(json, ",\"executions\":%" PRIu64
		    ",\"waiting\":%" PRIu64 ",\"instances\":%" PRIu64
		    ",\"prepared\":%" PRIu64 ",\"idle\":%" PRIu64
		    ",\"busy\":%" PRIu64 ",\"throttled_ms\":%" PRIu64 "}",
		    fn->executions, fn->queued, fn->instances, fn->prepared,
		    fn->idle, fn->busy, fn->throttled_ms);
	return error;
}

static const char *const memory_sources[CTL_MEMORY_COUNT] = {
	[CTL_MEMORY_CGROUP] = "cgroup",
	[CTL_MEMORY_PSS] = "pss",
	[CTL_MEMORY_RSS] = "rss",
};

static int
add_instance(struct status *status, const struct ctl_status_instance *one)
{
	struct cmd_table *table = &status->instances;
	struct buf *json = &status->json_instances;
	const char *source = one->memory_source < CTL_MEMORY_COUNT ?
	    memory_sources[one->memory_source] : NULL;
	char span[32];
	int error;

	if (!status->is_json) {
		cmd_table_add(table, "%" PRIu64, one->id);
		cmd_table_add(table, "%s", one->function);
		cmd_table_add(table, "%s", one->version);
		cmd_table_add(table, "%s", one->state);
		cmd_table_add(table, "%s", status_span(one->age_ms, span,
		    sizeof(span)));
		cmd_table_add(table, "%" PRIu64, one->executions);
		cmd_table_add(table, "%" PRIu64 ".%03" PRIu64 "s",
		    one->cpu_usage_us / 1000000,
		    one->cpu_usage_us / 1000 % 1000);
		add_or_dash(table, one->memory_kib, " KiB");
		cmd_table_add(table, "%s", source == NULL ? "-" : source);
		return table->error;
	}
	error = buf_addf(json, "%s{\"instance\":%" PRIu64 ",",
	    buf_len(json) > 0 ? "," : "", one->id);
	if (error == 0)
		error = json_text(json, "function", one->function);
	if (error == 0)
		error = buf_add_str(json, ",");
	if (error == 0)
		error = json_text(json, "version", one->version);
	if (error == 0)
		error = buf_add_str(json, ",");
	if (error == 0)
		error = json_text(json, "state", one->state);
	if (error == 0)
		error = buf_addf(json, ",\"age_ms\":%" PRIu64
		    ",\"executions\":%" PRIu64 ",\"cpu_us\":%" PRIu64,
		    one->age_ms, one->executions, one->cpu_usage_us);
	if (error == 0)
		error = json_or_null(json, "memory_kib", one->memory_kib);
	if (error == 0)
		error = source == NULL ?
		    buf_add_str(json, ",\"memory_source\":null}") :
		    buf_addf(json, ",\"memory_source\":\"%s\"}", source);
	return error;
}

int
status_add(struct status *status, const struct ctl_msg *msg)
{
	switch (msg->type) {
	case CTL_STATUS_HOST:
		status->host = msg->u.status_host;
		return 0;
	case CTL_STATUS_TENANT:
		return add_tenant(status, &msg->u.status_tenant);
	case CTL_STATUS_FN:
		return add_function(status, &msg->u.status_fn);
	case CTL_STATUS_INSTANCE:
		return add_instance(status, &msg->u.status_instance);
	case CTL_STATUS_BUDGET:
		return status_add_budget(status, &msg->u.status_budget);
	default:
		return -EPROTO;
	}
}

/* ,"KEY":[…] */
static int
put_list(struct buf *out, const char *key, const struct buf *rows)
{
	int error = buf_addf(out, ",\"%s\":[", key);

	if (error == 0 && buf_len(rows) > 0)
		error = buf_add(out, rows->data + rows->start, buf_len(rows));
	return error != 0 ? error : buf_add_str(out, "]");
}

static int
put_json(const struct status *status, struct buf *out)
{
	const struct ctl_status_host *h = &status->host;
	int error;

	error = buf_addf(out, "{\"host\":{\"run\":%" PRIu64
	    ",\"uptime_ms\":%"
	    PRIu64 ",\"seq\":%" PRIu64 ",\"executions\":%" PRIu64
	    ",\"refused\":%" PRIu64 ",\"refused_unrecorded\":%" PRIu64
	    ",\"bad_peers\":%" PRIu64 ",\"connections\":%" PRIu64
	    ",\"active\":%" PRIu64 ",\"queued\":%" PRIu64
	    ",\"instances\":%" PRIu64 ",\"functions\":%" PRIu64
	    ",\"accounting_errors\":%" PRIu64 ",\"accounting_error\":%" PRIu32
	    ",\"draining\":%s,\"cgroup\":%s}", h->run_id,
	    h->uptime_ms, h->seq, h->executions, h->refused,
	    h->refused_unrecorded, h->bad_peers, h->connections, h->active,
	    h->queued, h->instances, h->functions, h->accounting_errors,
	    h->accounting_error, h->is_draining ? "true" : "false",
	    h->has_cgroup ? "true" : "false");
	if (error == 0)
		error = put_list(out, "tenants", &status->json_tenants);
	if (error == 0)
		error = put_list(out, "functions", &status->json_functions);
	if (error == 0)
		error = put_list(out, "instances", &status->json_instances);
	if (error == 0)
		error = put_list(out, "budgets", &status->json_budgets);
	return error != 0 ? error : buf_add_str(out, "}\n");
}

/* What asks for a person's hand stands in a line of its own. */
static int
put_worries(const struct ctl_status_host *h, struct buf *out)
{
	int error = 0;

	if (h->is_draining)
		error = buf_add_str(out, "draining: no more requests are "
		    "accepted\n");
	if (error == 0 && !h->has_cgroup)
		error = buf_add_str(out, "no cgroup: memory and CPU are "
		    "measured and limited more weakly; see fcgi-host check\n");
	if (error == 0 && h->accounting_error != 0)
		error = buf_addf(out, "the accounting log cannot be written "
		    "(%s): %s; requests get 503 until then\n",
		    strerror((int)h->accounting_error),
		    ledger_mend((int)h->accounting_error));
	else if (error == 0 && h->accounting_errors > 0)
		error = buf_addf(out, "%" PRIu64 " errors writing the "
		    "accounting log up to now; it can be written again\n",
		    h->accounting_errors);
	return error;
}

/* Only with a row below its heads. */
static int
put_table(const struct cmd_table *table, struct buf *out)
{
	int error = 0;

	if (table->count <= table->columns)
		return 0;
	error = buf_add_str(out, "\n");
	return error != 0 ? error : cmd_table_put(table, out);
}

int
status_put(const struct status *status, struct buf *out)
{
	const struct ctl_status_host *h = &status->host;
	char span[32];
	int error;

	if (status->is_json)
		return put_json(status, out);
	error = buf_addf(out, "up %s: %" PRIu64 " executions, %" PRIu64
	    " turned away (%" PRIu64 " for want of room for a record), %" PRIu64
	    " bad peers\n%" PRIu64 " connections, %" PRIu64 " running, %"
	    PRIu64 " waiting, %" PRIu64 " instances, %" PRIu64
	    " functions known\n", status_span(h->uptime_ms, span,
	    sizeof(span)), h->executions, h->refused, h->refused_unrecorded,
	    h->bad_peers, h->connections, h->active, h->queued, h->instances,
	    h->functions);
	if (error == 0)
		error = put_worries(h, out);
	if (error == 0 && buf_len(&status->worries) > 0)
		error = buf_add(out, status->worries.data + status->worries.start,
		    buf_len(&status->worries));
	/* one who has no ceiling says what his functions say */
	if (error == 0 && (status->has_ceiling ||
	    status->tenants.count > (size_t)2 * TENANT_COLUMNS))
		error = put_table(&status->tenants, out);
	if (error == 0)
		error = put_table(&status->budgets, out);
	if (error == 0)
		error = put_table(&status->functions, out);
	if (error == 0)
		error = put_table(&status->instances, out);
	return error;
}

/* Takes messages up to the reply. */
static int
collect(int sock, struct status *status)
{
	struct ctl_msg msg;

	for (;;) {
		if (ctl_receive(sock, &msg, STATUS_TIMEOUT_MS) != 0)
			return CMD_FAILED;
		if (msg.type == CTL_REPLY)
			break;
		if (status_add(status, &msg) != 0)
			return cmd_fail("the host's answer cannot be kept");
	}
	if (msg.u.reply.code != 0)
		return cmd_fail("%s", msg.u.reply.text);
	return CMD_DONE;
}

int
cmd_status(const struct cmd_verb *verb, int argc, char **argv)
{
	const char *path = DEFAULT_CONFIG;
	bool is_json = false;
	const struct cmd_option options[] = { CMD_OPTION_CONF(&path),
		CMD_OPTION_JSON(&is_json) };
	CLEANUP_FD int sock = -1;
	struct buf out = { .data = NULL };
	struct status status;
	struct conf *conf;
	int code;

	if (!cmd_options(verb, options, 2, argc, argv, NULL, &code))
		return code;
	conf = cmd_conf_running(path);
	if (conf == NULL)
		return CMD_WRONG;
	status_init(&status, is_json);
	sock = ctl_ask(conf, CTL_VERB_STATUS, -1);
	code = sock < 0 ? CMD_FAILED : collect(sock, &status);
	if (code == CMD_DONE)
		code = status_put(&status, &out) == 0 ? cmd_print(&out) :
		    cmd_fail("no memory");
	buf_free(&out);
	status_free(&status);
	conf_unref(conf);
	return code;
}
