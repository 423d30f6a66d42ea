/*
 * One line of the accounting log: values in, one JSON object and a newline
 * out.  Pure.  The fields are described in fcgi-host-accounting(5); this room
 * bounds every string, so that a line never exceeds RECORD_LINE_MAX and its
 * space can be reserved before the execution is admitted.
 */
#ifndef FCGI_HOST_RECORD_H
#define FCGI_HOST_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/ctl_msg.h"

#define RECORD_VERSION 1
#define RECORD_LINE_MAX 2048
#define RECORD_REQUEST_ID_MAX 64
#define RECORD_METHOD_MAX 16

enum record_outcome {
	OUTCOME_OK,
	OUTCOME_ERROR,   /* exit code, or an invalid answer */
	OUTCOME_CRASH,   /* a signal */
	OUTCOME_OOM,
	OUTCOME_TIMEOUT,
	OUTCOME_STALLED,
	OUTCOME_ABORTED, /* the client left */
	OUTCOME_REFUSED, /* no instance ever worked for it */
	OUTCOME_LOST,    /* the gateway died */
	OUTCOME_COUNT
};

enum record_start { START_NONE, START_WARM, START_SPARE, START_PREPARED, START_FRESH };

/* Where cpu_* and mem_peak come from. */
enum record_source {
	SOURCE_NONE,
	SOURCE_CGROUP,       /* cpu.stat; memory.peak of this execution alone */
	SOURCE_CGROUP_SINCE, /* memory.peak since the instance's start */
	SOURCE_PROCESS,      /* wait4, or the largest process */
	SOURCE_PROCESS_LATELY, /* as of a short execution just before */
	SOURCE_COUNT
};

/* Who or what ended the program before its time. */
enum record_cause {
	CAUSE_NONE,     /* it lives on, or had ended by itself */
	CAUSE_SIGNAL,   /* a signal that is not the host's */
	CAUSE_MEMORY,   /* the kernel, for want of memory */
	CAUSE_DEADLINE, /* from here on the host: its time-out */
	CAUSE_STALL,
	CAUSE_CLIENT,   /* it left, and abort_grace was over */
	CAUSE_ANSWER,   /* it cannot be passed on, or the request not be handed over */
	CAUSE_DRAIN,
	CAUSE_EXIT,     /* the program itself, before its answer was whole */
	CAUSE_EXECVE,   /* it could not be executed */
	CAUSE_DIED,     /* the whole instance, and nobody knows why */
	CAUSE_HOST,     /* the gateway or the host died */
	CAUSE_COUNT
};

struct record_exec {
	uint64_t seq, run_id, number;
	uint64_t instance; /* 0: none */
	uint64_t time_us;  /* arrival, CLOCK_REALTIME */
	char request_id[RECORD_REQUEST_ID_MAX + 1];
	char method[RECORD_METHOD_MAX + 1];
	char tenant[CTL_TENANT_MAX + 1];
	char function[CTL_NAME_MAX + 1];
	char version[CTL_VERSION_LENGTH + 1];
	char runtime[CTL_RUNTIME_MAX + 1]; /* "": executed directly */
	const char *trigger; /* "web", "invoke" */
	const char *reason;  /* static text, or NULL */
	enum record_start start;
	enum record_outcome outcome;
	enum record_cause cause;
	int status;
	uint64_t queue_us, init_us, run_us;
	uint64_t sandbox_us;  /* of init_us: the making of the sandbox */
	uint64_t program_us;  /* of run_us: until a program just started answers */
	uint64_t deadline_ms; /* 0: none */
	uint64_t cpu_us, cpu_user_us, cpu_sys_us;
	enum record_source cpu_source;
	uint64_t mem_start_kib, mem_peak_kib, mem_limit_mib;
	enum record_source mem_start_source, mem_source;
	uint64_t bytes_in, bytes_out;
	int exit_code;     /* -1: none */
	int signal_number; /* 0: none */
};

struct record_instance {
	uint64_t seq, run_id, number, time_us;
	char tenant[CTL_TENANT_MAX + 1];
	char function[CTL_NAME_MAX + 1];
	char version[CTL_VERSION_LENGTH + 1];
	char runtime[CTL_RUNTIME_MAX + 1];
	const char *reason; /* why it ended */
	uint64_t executions, lifetime_us;
	uint64_t start_us, idle_us;
	uint64_t start_cpu_us, exec_cpu_us, idle_cpu_us;
	enum record_source cpu_source;
	uint64_t mem_peak_kib, mem_limit_mib;
	int exit_code, signal_number;
};

struct record_host {
	uint64_t seq, run_id, time_us;
	const char *event; /* "start", "stop", "reload", "reopen", "refused",
	                    * "restart", "totals", "chain" */
	bool has_totals;   /* cgroup totals of the parent, all since its making */
	uint64_t cgroup_cpu_us, cgroup_user_us, cgroup_sys_us;
	uint64_t open_cpu_us; /* of cgroup_cpu_us: what will stand in records yet
	                       * to come, of instances that live */
	uint64_t lost_cpu_us;  /* of instances that died with gateway or host */
	bool is_lost_clock;    /* that is of a clock that is gone */
	uint64_t executions;         /* records of type exec so far in this run */
	uint64_t refused_unrecorded; /* since the last host record */
	const char *chain, *prev; /* the key's name, the mac before; NULL: none */
};

/* Each appends one line, newline included; 0 or -ENOMEM. */
int record_put_exec(struct buf *out, const struct record_exec *record);
int record_put_instance(struct buf *out, const struct record_instance *record);
int record_put_host(struct buf *out, const struct record_host *record);

/* init_us + run_us in milliseconds, rounded up; 0 for OUTCOME_REFUSED. */
uint64_t record_billed_ms(const struct record_exec *record);
/* What a limit of so many bytes counts as in MiB: rounded up, or the part of one
 * that a sidecar adds would be had for nothing. */
uint64_t record_mib(uint64_t bytes);
/* MiB kept for so many milliseconds; UINT64_MAX where a number cannot hold it. */
uint64_t record_mib_ms(uint64_t mib, uint64_t ms);

const char *record_outcome_name(enum record_outcome outcome);

#endif
