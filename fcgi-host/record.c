#include "fcgi-host/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const outcome_names[OUTCOME_COUNT] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_ERROR] = "error",
	[OUTCOME_CRASH] = "crash",
	[OUTCOME_OOM] = "oom",
	[OUTCOME_TIMEOUT] = "timeout",
	[OUTCOME_STALLED] = "stalled",
	[OUTCOME_ABORTED] = "aborted",
	[OUTCOME_REFUSED] = "refused",
	[OUTCOME_LOST] = "lost",
};

static const char *const start_names[] = {
	[START_NONE] = NULL,
	[START_WARM] = "warm",
	[START_SPARE] = "spare",
	[START_PREPARED] = "prepared",
	[START_FRESH] = "fresh",
};

static const char *const source_names[SOURCE_COUNT] = {
	[SOURCE_NONE] = "none",
	[SOURCE_CGROUP] = "cgroup",
	[SOURCE_CGROUP_SINCE] = "cgroup-lifetime",
	[SOURCE_PROCESS] = "process",
};

const char *
record_outcome_name(enum record_outcome outcome)
{
	return outcome_names[outcome];
}

uint64_t
record_billed_ms(const struct record_exec *record)
{
	if (record->outcome == OUTCOME_REFUSED)
		return 0;
	return (record->init_us + record->run_us + 999) / 1000;
}

static void
put_text(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, ",\"%s\":", name);
	if (value == NULL)
		buf_add_str(out, "null");
	else
		buf_add_json(out, value, strlen(value));
}

static void
put_number(struct buf *out, const char *name, uint64_t value)
{
	buf_addf(out, ",\"%s\":%" PRIu64, name, value);
}

static void
put_time(struct buf *out, uint64_t time_us)
{
	time_t seconds = (time_t)(time_us / 1000000);
	struct tm tm;
	char text[32];

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(out, ",\"time\":\"%s.%06" PRIu64 "Z\"", text,
	    time_us % 1000000);
}

static void
put_open(struct buf *out, uint64_t seq, const char *type, uint64_t time_us)
{
	buf_addf(out, "{\"v\":%d,\"seq\":%" PRIu64 ",\"type\":\"%s\"",
	    RECORD_VERSION, seq, type);
	put_time(out, time_us);
}

/* An id that is unique over runs: the run's start, then a number in it. */
static void
put_id(struct buf *out, const char *name, uint64_t run_id, uint64_t number)
{
	if (number == 0)
		buf_addf(out, ",\"%s\":null", name);
	else
		buf_addf(out, ",\"%s\":\"%" PRIx64 "-%" PRIu64 "\"", name,
		    run_id, number);
}

static void
put_end_status(struct buf *out, int exit_code, int signal_number)
{
	if (exit_code < 0)
		buf_add_str(out, ",\"exit\":null");
	else
		buf_addf(out, ",\"exit\":%d", exit_code);
	if (signal_number == 0)
		buf_add_str(out, ",\"signal\":null");
	else
		buf_addf(out, ",\"signal\":%d", signal_number);
}

/* Additions fail only for want of memory; a line without its end shows it. */
static int
put_close(struct buf *out)
{
	return buf_add_str(out, "}\n");
}

static void
put_function(struct buf *out, const char *tenant, const char *function,
    const char *version)
{
	put_text(out, "tenant", tenant);
	put_text(out, "function", function);
	put_text(out, "version", version);
}

static void
put_exec_usage(struct buf *out, const struct record_exec *r)
{
	put_number(out, "queue_us", r->queue_us);
	put_number(out, "init_us", r->init_us);
	put_number(out, "run_us", r->run_us);
	put_number(out, "billed_ms", record_billed_ms(r));
	put_number(out, "cpu_us", r->cpu_us);
	put_number(out, "cpu_user_us", r->cpu_user_us);
	put_number(out, "cpu_sys_us", r->cpu_sys_us);
	put_text(out, "cpu_source", source_names[r->cpu_source]);
	put_number(out, "mem_peak_kib", r->mem_peak_kib);
	put_text(out, "mem_source", source_names[r->mem_source]);
	put_number(out, "mem_limit_mib", r->mem_limit_mib);
	put_number(out, "bytes_in", r->bytes_in);
	put_number(out, "bytes_out", r->bytes_out);
}

int
record_put_exec(struct buf *out, const struct record_exec *r)
{
	if (buf_reserve(out, RECORD_LINE_MAX) == NULL)
		return -ENOMEM;
	put_open(out, r->seq, "exec", r->time_us);
	put_id(out, "id", r->run_id, r->number);
	put_text(out, "request_id", r->request_id);
	put_function(out, r->tenant, r->function, r->version);
	put_id(out, "instance", r->run_id, r->instance);
	put_text(out, "trigger", r->trigger);
	put_text(out, "method", r->method);
	put_text(out, "start", start_names[r->start]);
	buf_addf(out, ",\"cold\":%s",
	    r->start == START_NONE ? "null" :
	    r->start == START_WARM ? "false" : "true");
	buf_addf(out, ",\"status\":%d", r->status);
	put_text(out, "outcome", outcome_names[r->outcome]);
	put_text(out, "reason", r->reason);
	put_exec_usage(out, r);
	put_end_status(out, r->exit_code, r->signal_number);
	return put_close(out);
}

int
record_put_instance(struct buf *out, const struct record_instance *r)
{
	if (buf_reserve(out, RECORD_LINE_MAX) == NULL)
		return -ENOMEM;
	put_open(out, r->seq, "instance", r->time_us);
	put_id(out, "instance", r->run_id, r->number);
	put_function(out, r->tenant, r->function, r->version);
	put_text(out, "reason", r->reason);
	put_number(out, "executions", r->executions);
	put_number(out, "lifetime_us", r->lifetime_us);
	put_number(out, "start_us", r->start_us);
	put_number(out, "idle_us", r->idle_us);
	put_number(out, "start_cpu_us", r->start_cpu_us);
	put_number(out, "exec_cpu_us", r->exec_cpu_us);
	put_number(out, "idle_cpu_us", r->idle_cpu_us);
	put_text(out, "cpu_source", source_names[r->cpu_source]);
	put_number(out, "mem_peak_kib", r->mem_peak_kib);
	put_end_status(out, r->exit_code, r->signal_number);
	return put_close(out);
}

int
record_put_host(struct buf *out, const struct record_host *r)
{
	if (buf_reserve(out, RECORD_LINE_MAX) == NULL)
		return -ENOMEM;
	put_open(out, r->seq, "host", r->time_us);
	buf_addf(out, ",\"run\":\"%" PRIx64 "\"", r->run_id);
	put_text(out, "event", r->event);
	put_number(out, "executions", r->executions);
	put_number(out, "refused_unrecorded", r->refused_unrecorded);
	if (r->has_totals) {
		put_number(out, "cgroup_cpu_us", r->cgroup_cpu_us);
		put_number(out, "cgroup_user_us", r->cgroup_user_us);
		put_number(out, "cgroup_sys_us", r->cgroup_sys_us);
	}
	return put_close(out);
}

uint64_t
record_line_seq(const char *line, size_t n)
{
	static const char key[] = "\"seq\":";
	const char *at = memmem(line, n, key, sizeof(key) - 1);
	uint64_t seq = 0;

	if (at == NULL)
		return 0;
	for (at += sizeof(key) - 1; at < line + n; at++) {
		if (*at < '0' || *at > '9' || seq > UINT64_MAX / 100)
			break;
		seq = seq * 10 + (uint64_t)(*at - '0');
	}
	return seq;
}
