/*
 * One line of an accounting log as values: what fcgi-host-accounting(5)
 * describes.  Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_ENTRY_H
#define FCGI_HOST_BOOKS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum entry_type { ENTRY_EXEC, ENTRY_INSTANCE, ENTRY_HOST, ENTRY_TYPES };

/* Text of a line: any bytes of UTF-8, not terminated.  NULL: null, or the
 * field is not there. */
struct span {
	const char *at;
	size_t n;
};

/* Numbers that are null or not there are 0, but for exit. */
struct entry {
	enum entry_type type;
	uint64_t seq;
	uint64_t run;     /* of id, instance or run; of a lost one the old run */
	uint64_t number;  /* behind the dash of id or instance */
	uint64_t time_us; /* since 1970, UTC */
	struct span id, request_id, tenant, function, version, runtime;
	struct span instance, trigger, method, start, outcome, reason, cause;
	struct span cpu_source, mem_source, mem_start_source, event, mac;
	uint64_t status, queue_us, init_us, sandbox_us, program_us, run_us;
	uint64_t billed_ms, cpu_us, cpu_user_us, cpu_sys_us;
	uint64_t mem_peak_kib, mem_start_kib, mem_limit_mib, mib_ms;
	uint64_t bytes_in, bytes_out, deadline_ms, signal;
	int64_t exit; /* -1: null */
	bool is_cold;
	/* instance */
	uint64_t executions, lifetime_us, start_us, idle_us;
	uint64_t start_cpu_us, exec_cpu_us, idle_cpu_us, idle_mib_ms;
	/* host; has_totals: the three behind it are there */
	bool has_totals;
	uint64_t cgroup_cpu_us, cgroup_user_us, cgroup_sys_us, lost_cpu_us;
	uint64_t open_cpu_us;
	uint64_t refused_unrecorded;
};

static inline bool
span_is(struct span span, const char *text)
{
	size_t n = __builtin_strlen(text);

	return span.n == n && span.at != NULL &&
	    __builtin_memcmp(span.at, text, n) == 0;
}

/* A lost execution's record, which has the run of its id, and the seq of the one
 * that wrote it. */
static inline bool
entry_is_lost(const struct entry *entry)
{
	return entry->type == ENTRY_EXEC && span_is(entry->outcome, "lost");
}

/* "RUN-NUMBER", as ids are written; "RUN" with number NULL.  0 or -EINVAL. */
int entry_id(struct span text, uint64_t *run, uint64_t *number);

#ifdef __cplusplus
}
#endif

#endif
