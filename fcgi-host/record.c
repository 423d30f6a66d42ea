#include "fcgi-host/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/civil.h"

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
	[SOURCE_PROCESS_LATELY] = "process-lately",
};

static const char *const cause_names[CAUSE_COUNT] = {
	[CAUSE_NONE] = NULL,
	[CAUSE_SIGNAL] = "signal",
	[CAUSE_MEMORY] = "memory",
	[CAUSE_DEADLINE] = "deadline",
	[CAUSE_STALL] = "stall",
	[CAUSE_CLIENT] = "client",
	[CAUSE_ANSWER] = "answer",
	[CAUSE_DRAIN] = "drain",
	[CAUSE_EXIT] = "exit",
	[CAUSE_EXECVE] = "execve",
	[CAUSE_DIED] = "died",
	[CAUSE_HOST] = "host",
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

uint64_t
record_mib(uint64_t bytes)
{
	return (bytes >> 20) + ((bytes & ((1u << 20) - 1)) != 0);
}

uint64_t
record_mib_ms(uint64_t mib, uint64_t ms)
{
	uint64_t product;

	return __builtin_mul_overflow(mib, ms, &product) ? UINT64_MAX :
	    product;
}

static void
put_digits(struct buf *out, uint64_t value, size_t width)
{
	buf_add_number(out, value, width);
}

static void
put_hex(struct buf *out, uint64_t value)
{
	char text[BUF_DIGITS_SIZE];

	buf_add_str(out, buf_hex(text, value));
}

/* A name with what surrounds it is one piece, whose length the compiler knows. */
#define PUT(out, text) buf_add(out, text, sizeof(text) - 1)
#define PUT_NAME(out, name) PUT(out, ",\"" name "\":")
#define PUT_TEXT(out, name, value) \
	do { \
		PUT_NAME(out, name); \
		put_quoted(out, value); \
	} while (0)
#define PUT_NUMBER(out, name, value) \
	do { \
		PUT_NAME(out, name); \
		put_digits(out, value, 1); \
	} while (0)
#define PUT_ID(out, name, run_id, number) \
	do { \
		PUT_NAME(out, name); \
		put_run_number(out, run_id, number); \
	} while (0)

static void
put_quoted(struct buf *out, const char *value)
{
	if (value == NULL)
		PUT(out, "null");
	else
		buf_add_json(out, value, strlen(value));
}

static void
put_time(struct buf *out, uint64_t time_us)
{
	char text[CIVIL_TIME_MAX];

	PUT_NAME(out, "time");
	PUT(out, "\"");
	buf_add(out, civil_time_text(time_us, text), CIVIL_TIME_MAX - 1);
	PUT(out, "\"");
}

static void
put_open(struct buf *out, uint64_t seq, const char *type, uint64_t time_us)
{
	PUT(out, "{\"v\":");
	put_digits(out, RECORD_VERSION, 1);
	PUT_NUMBER(out, "seq", seq);
	PUT_TEXT(out, "type", type);
	put_time(out, time_us);
}

/* An id that is unique over runs: the run's start, then a number in it. */
static void
put_run_number(struct buf *out, uint64_t run_id, uint64_t number)
{
	if (number == 0) {
		PUT(out, "null");
		return;
	}
	buf_add(out, "\"", 1);
	put_hex(out, run_id);
	buf_add(out, "-", 1);
	put_digits(out, number, 1);
	buf_add(out, "\"", 1);
}

static void
put_end_status(struct buf *out, int exit_code, int signal_number)
{
	if (exit_code < 0)
		PUT_TEXT(out, "exit", NULL);
	else
		PUT_NUMBER(out, "exit", (uint64_t)exit_code);
	if (signal_number <= 0)
		PUT_TEXT(out, "signal", NULL);
	else
		PUT_NUMBER(out, "signal", (uint64_t)signal_number);
}

/* Additions fail only for want of memory; a line without its end shows it. */
static int
put_close(struct buf *out)
{
	return PUT(out, "}\n");
}

static void
put_function(struct buf *out, const char *tenant, const char *function,
    const char *version, const char *runtime)
{
	PUT_TEXT(out, "tenant", tenant);
	PUT_TEXT(out, "function", function);
	PUT_TEXT(out, "version", version);
	PUT_TEXT(out, "runtime", runtime);
}

static void
put_exec_usage(struct buf *out, const struct record_exec *r)
{
	uint64_t billed_ms = record_billed_ms(r);

	PUT_NUMBER(out, "queue_us", r->queue_us);
	PUT_NUMBER(out, "init_us", r->init_us);
	PUT_NUMBER(out, "sandbox_us", r->sandbox_us);
	PUT_NUMBER(out, "run_us", r->run_us);
	PUT_NUMBER(out, "program_us", r->program_us);
	PUT_NUMBER(out, "deadline_ms", r->deadline_ms);
	PUT_NUMBER(out, "billed_ms", billed_ms);
	PUT_NUMBER(out, "mib_ms", record_mib_ms(r->mem_limit_mib, billed_ms));
	PUT_NUMBER(out, "cpu_us", r->cpu_us);
	PUT_NUMBER(out, "cpu_user_us", r->cpu_user_us);
	PUT_NUMBER(out, "cpu_sys_us", r->cpu_sys_us);
	PUT_TEXT(out, "cpu_source", source_names[r->cpu_source]);
	PUT_NUMBER(out, "mem_start_kib", r->mem_start_kib);
	PUT_TEXT(out, "mem_start_source", source_names[r->mem_start_source]);
	PUT_NUMBER(out, "mem_peak_kib", r->mem_peak_kib);
	PUT_TEXT(out, "mem_source", source_names[r->mem_source]);
	PUT_NUMBER(out, "mem_limit_mib", r->mem_limit_mib);
	PUT_NUMBER(out, "bytes_in", r->bytes_in);
	PUT_NUMBER(out, "bytes_out", r->bytes_out);
}

int
record_put_exec(struct buf *out, const struct record_exec *r)
{
	if (buf_reserve(out, RECORD_LINE_MAX) == NULL)
		return -ENOMEM;
	put_open(out, r->seq, "exec", r->time_us);
	PUT_ID(out, "id", r->run_id, r->number);
	PUT_TEXT(out, "request_id", r->request_id);
	put_function(out, r->tenant, r->function, r->version, r->runtime);
	PUT_ID(out, "instance", r->run_id, r->instance);
	PUT_TEXT(out, "trigger", r->trigger);
	PUT_TEXT(out, "method", r->method);
	PUT_TEXT(out, "start", start_names[r->start]);
	PUT_NAME(out, "cold");
	buf_add_str(out, r->start == START_NONE ? "null" :
	    r->start == START_WARM ? "false" : "true");
	PUT_NUMBER(out, "status", r->status < 0 ? 0 : (uint64_t)r->status);
	PUT_TEXT(out, "outcome", outcome_names[r->outcome]);
	PUT_TEXT(out, "reason", r->reason);
	PUT_TEXT(out, "cause", cause_names[r->cause]);
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
	PUT_ID(out, "instance", r->run_id, r->number);
	put_function(out, r->tenant, r->function, r->version, r->runtime);
	PUT_TEXT(out, "reason", r->reason);
	PUT_NUMBER(out, "executions", r->executions);
	PUT_NUMBER(out, "lifetime_us", r->lifetime_us);
	PUT_NUMBER(out, "start_us", r->start_us);
	PUT_NUMBER(out, "idle_us", r->idle_us);
	PUT_NUMBER(out, "start_cpu_us", r->start_cpu_us);
	PUT_NUMBER(out, "exec_cpu_us", r->exec_cpu_us);
	PUT_NUMBER(out, "idle_cpu_us", r->idle_cpu_us);
	PUT_TEXT(out, "cpu_source", source_names[r->cpu_source]);
	PUT_NUMBER(out, "mem_peak_kib", r->mem_peak_kib);
	PUT_NUMBER(out, "mem_limit_mib", r->mem_limit_mib);
	PUT_NUMBER(out, "idle_mib_ms", record_mib_ms(r->mem_limit_mib,
	    r->idle_us / 1000 + (r->idle_us % 1000 > 0)));
	put_end_status(out, r->exit_code, r->signal_number);
	return put_close(out);
}

int
record_put_host(struct buf *out, const struct record_host *r)
{
	if (buf_reserve(out, RECORD_LINE_MAX) == NULL)
		return -ENOMEM;
	put_open(out, r->seq, "host", r->time_us);
	PUT_NAME(out, "run");
	buf_add(out, "\"", 1);
	put_hex(out, r->run_id);
	buf_add(out, "\"", 1);
	PUT_TEXT(out, "event", r->event);
	PUT_NUMBER(out, "executions", r->executions);
	PUT_NUMBER(out, "refused_unrecorded", r->refused_unrecorded);
	if (r->has_totals) {
		PUT_NUMBER(out, "cgroup_cpu_us", r->cgroup_cpu_us);
		PUT_NUMBER(out, "cgroup_user_us", r->cgroup_user_us);
		PUT_NUMBER(out, "cgroup_sys_us", r->cgroup_sys_us);
		PUT_NUMBER(out, "open_cpu_us", r->open_cpu_us);
	}
	if (r->lost_cpu_us > 0)
		PUT_NUMBER(out, "lost_cpu_us", r->lost_cpu_us);
	if (r->chain != NULL) {
		PUT_TEXT(out, "chain", r->chain);
		PUT_TEXT(out, "prev", r->prev);
	}
	return put_close(out);
}
