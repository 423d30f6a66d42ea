/*
 * The messages between the roles, and between the command and the spawner:
 * one struct of fixed size per type over SOCK_SEQPACKET, in host byte order
 * (both ends are one machine and one build).  Pure: checking and naming only.
 * A decoder accepts exactly the size of the type and nothing that the sender
 * may not send; everything else means that the sender is compromised.
 */
#ifndef FCGI_HOST_CTL_MSG_H
#define FCGI_HOST_CTL_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_MAGIC 0x66637439u /* changes with every change of a struct */
#define CTL_NAME_MAX 200      /* a function's name */
#define CTL_SEGMENTS_MAX 8    /* parts of a name between slashes */
#define CTL_PATH_MAX 216      /* its file below the functions directory */
#define CTL_TENANT_MAX 63
#define CTL_RUNTIME_MAX 31
#define CTL_ENV_FILE_MAX 63     /* a file's name, without a folder */
#define CTL_VERSION_LENGTH 16 /* hex digits of a content hash */
#define CTL_MAC_SIZE 32
#define CTL_DETAIL_MAX 255
#define CTL_TEXT_MAX 1023
/* the table of executions in flight, that outlives the gateway and the host: 7,000 */
#define CTL_INFLIGHT_BYTES (4 << 20)

/* The numbers of a function.  Units are in the names; settings.c has the table
 * of keys, bounds and ceilings. */
enum limit_key {
	LIMIT_IDLE_MS,
	LIMIT_TIMEOUT_MS,       /* 0: none */
	LIMIT_STALL_TIMEOUT_MS, /* 0: none */
	LIMIT_MEMORY_BYTES,
	LIMIT_CPU_MILLI, /* thousandths of a core; 0: no ceiling */
	LIMIT_PROCESSES,
	LIMIT_TMP_BYTES,
	LIMIT_INSTANCES,
	LIMIT_MIN_INSTANCES,
	LIMIT_MAX_INSTANCES, /* of all functions of a tenant; 0: no ceiling */
	/* likewise */
	LIMIT_MAX_MEMORY_BYTES,
	LIMIT_MAX_PROCESSES,
	LIMIT_MAX_CPU_MILLI,
	LIMIT_MAX_REQUESTS, /* 0: no end */
	LIMIT_QUEUE,
	LIMIT_QUEUE_TIMEOUT_MS,
	LIMIT_BODY_MAX,
	LIMIT_HEADER_MAX,
	LIMIT_DATA, /* 0 or 1 */
	LIMIT_FREEZE_IDLE, /* 0 or 1 */
	LIMIT_SPARE, /* 0 or 1 */
	LIMIT_ABORT_GRACE_MS,
	/* of a function, or of a tenant as a whole: neither hands them down; 0:
	 * none */
	LIMIT_BUDGET_DAY_EXECUTIONS,
	LIMIT_BUDGET_DAY_MIB_MS,
	LIMIT_BUDGET_DAY_MONEY, /* millionths */
	LIMIT_BUDGET_MONTH_EXECUTIONS,
	LIMIT_BUDGET_MONTH_MIB_MS,
	LIMIT_BUDGET_MONTH_MONEY,
	LIMIT_BUDGET_WARN_PERCENT,
	LIMIT_BUDGET_STATUS, /* 402 or 429 */
	LIMIT_COUNT
};

struct limits {
	uint64_t value[LIMIT_COUNT];
};

/* Who talks to whom; a bit each. */
enum ctl_way {
	CTL_WAY_SPAWNER_TO_GATEWAY = 1,
	CTL_WAY_GATEWAY_TO_SPAWNER = 2,
	CTL_WAY_SPAWNER_TO_SCANNER = 4,
	CTL_WAY_SCANNER_TO_SPAWNER = 8,
	CTL_WAY_COMMAND_TO_SPAWNER = 16,
	CTL_WAY_TO_COMMAND = 32 /* from spawner, gateway or scanner */
};

enum ctl_type {
	CTL_NONE,
	/* spawner → gateway or scanner; fd: the configuration, sealed */
	CTL_CONF,
	/* spawner → gateway, before each CTL_CONF with `prices`; fd: the price
	 * book, sealed */
	CTL_PRICES,
	/* spawner → gateway; fds: accounting log, O_APPEND|O_RDWR (struct ctl_log),
	 * and the chain's key, sealed, if has_chain */
	CTL_LOG,
	/* spawner → gateway or scanner; fd: the reopened log, to become
	 * descriptor 2 (dup3) */
	CTL_STDERR,
	/* spawner → gateway; fd: a listening socket */
	CTL_LISTEN,
	/* spawner → gateway; fd: a socket with the connections that the last
	 * run's gateway kept (see CTL_DRAIN) */
	CTL_ADOPT,
	/* spawner → gateway, first of all; fds: the inflight table, and the file
	 * of what is used of budgets */
	CTL_START,
	/* scanner → spawner → gateway; fd: environment block, sealed, if
	 * has_env.  Also from the scanner's one-shot mode to the command.  Of one
	 * that is being written name, path and tenant are as of one that is served;
	 * with another problem it may have a name that is none (printable, what is
	 * not was escaped by the scanner), no path, tenant or version. */
	CTL_FN_PUT,
	CTL_FN_DEL,
	/* every function found so far has been reported; from the gateway: it
	 * has taken all that stood before that */
	CTL_FN_SYNC,
	/* spawner → scanner: look at the whole directory again, then FN_SYNC */
	CTL_SCAN,
	/* gateway → spawner */
	CTL_INSTANCE_START,
	CTL_INSTANCE_KILL,
	/* spawner → gateway; fds: see struct ctl_instance_up */
	CTL_INSTANCE_UP,
	CTL_INSTANCE_FAILED,
	CTL_INSTANCE_GONE,
	/* gateway → spawner: the log was switched (answers CTL_LOG) */
	CTL_LOG_SWITCHED,
	/* spawner → gateway: accept nothing more, finish, end all instances;
	 * fd, if has_next: a socket for kept connections, one descriptor in a
	 * message of one byte, for the next run's gateway */
	CTL_DRAIN,
	/* gateway → spawner: all done, records written but the last; behind it no
	 * instance is asked for */
	CTL_DRAINED,
	/* spawner → gateway: the parent cgroup's totals; answers DRAINED or comes
	 * before a reopen; the gateway writes them into a `host` record */
	CTL_TOTALS,
	/* spawner → gateway (struct ctl_command: which verb); fd: a connected
	 * client of the control socket, for `status` (SOCK_SEQPACKET) and
	 * `invoke` (a FastCGI stream) */
	CTL_CLIENT,
	/* command → spawner; with invoke fd: one end of a stream socket pair;
	 * with reload, if has_file: the file that was judged */
	CTL_COMMAND,
	/* to the command */
	CTL_REPLY,        /* the last message of an answer */
	CTL_STATUS_HOST,
	CTL_STATUS_TENANT,
	CTL_STATUS_FN,
	CTL_STATUS_INSTANCE,
	CTL_STATUS_BUDGET,
	CTL_STATUS_CHECK,
	/* root's command → spawner; fd: a terminal's end, if has_terminal */
	CTL_SHELL,
	/* spawner → gateway: may one run, of which a line will tell? */
	CTL_SHELL_ASK,
	/* gateway → spawner: its answer */
	CTL_SHELL_ANSWER,
	/* spawner → command (struct ctl_function: whose sandbox is there); fds: an
	 * end of init's socket, the configuration, sealed, and the function's
	 * environment, if has_env */
	CTL_SHELL_UP,
	/* spawner → gateway: it has ended, or (was_up 0) did not begin */
	CTL_SHELL_GONE,
	/* gateway → spawner: executions go on; once a second while they do */
	CTL_BUSY,
	/* gateway → spawner (struct ctl_name): lines of this function are to be
	 * written; answered by CTL_FUNCTION_LOG */
	CTL_FUNCTION_LOG_ASK,
	/* spawner → gateway; fd, unless there is an error: the function's log,
	 * O_APPEND|O_WRONLY */
	CTL_FUNCTION_LOG,
	CTL_TYPE_COUNT
};

/* Why a function is not served.  CTL_PROBLEM_NONE: it is. */
enum ctl_problem {
	CTL_PROBLEM_NONE,
	CTL_PROBLEM_NAME,       /* not [a-z0-9][a-z0-9._-]*, or too long or deep */
	CTL_PROBLEM_TWICE,      /* two files of one name */
	CTL_PROBLEM_WRITING,    /* open for writing, or empty: half-written */
	CTL_PROBLEM_LOOP,       /* a loop of links */
	CTL_PROBLEM_LINK_OUT,   /* a link that leads out of the directory */
	CTL_PROBLEM_LINK,       /* any other link */
	CTL_PROBLEM_OWNER,      /* neither root's nor the tenant's */
	CTL_PROBLEM_MODE,       /* writable by others, or not readable/executable */
	CTL_PROBLEM_TYPE,       /* no regular file, or no runtime for it */
	CTL_PROBLEM_SIDECAR,    /* the sidecar has an error: detail says where */
	CTL_PROBLEM_TENANT,     /* a folder named `default`, or an unusable tenant */
	CTL_PROBLEM_READ,       /* cannot be read: detail has the errno's text */
	CTL_PROBLEM_MANY,       /* more functions than the catalogue holds */
	CTL_PROBLEM_COUNT
};

struct ctl_function {
	char name[CTL_NAME_MAX + 1];
	char path[CTL_PATH_MAX + 1]; /* NAME[.ext] or NAME/main[.ext], /index */
	char tenant[CTL_TENANT_MAX + 1];
	char runtime[CTL_RUNTIME_MAX + 1]; /* "" : executed directly */
	char version[CTL_VERSION_LENGTH + 1];
	char pass_params[CTL_DETAIL_MAX + 1];
	char env_file[CTL_ENV_FILE_MAX + 1]; /* the sidecar's, beside the file; "" */
	char detail[CTL_DETAIL_MAX + 1]; /* printable text about the problem or a note */
	uint8_t problem;   /* enum ctl_problem */
	uint8_t is_folder; /* the file is main.* or index.* in the folder NAME */
	uint8_t is_fastcgi;
	uint8_t has_env; /* one sealed descriptor "NAME=VALUE\0"… comes along */
	uint16_t note;   /* 1: detail is a note about a served function */
	/* the spawner's: how often other ids stood behind the tenant's account,
	 * in this run; instances under the ones before are of no use */
	uint16_t ids_changed;
	uint32_t image_changed; /* the same of its runtimes' images */
	/* the spawner's: what the files of the administrator's `env_file` were
	 * at the last reload; another number, other files */
	uint32_t secrets;
	/* the gateway's, and 0 in every message: its runtime is the one that the
	 * reported one names as `otherwise` */
	uint8_t is_otherwise;
	uint8_t is_chosen; /* its runtime was named, and is no extension's */
	uint16_t pad;
	struct limits limits; /* effective: merged and clamped */
};

struct ctl_name {
	char name[CTL_NAME_MAX + 1];
};

struct ctl_log {
	uint8_t is_first; /* 0: a reopen, to be answered by CTL_LOG_SWITCHED */
	uint8_t has_chain;
	uint8_t pad[6];
};

/* error: 0, or why the gateway goes on in the log that it had: EBADMSG, its last
 * line is no record; else what a system call said.  head: the mac of the last line
 * by the key before, with has_chain. */
struct ctl_log_switched {
	int32_t error;
	uint8_t has_chain;
	uint8_t pad[3];
	uint8_t head[CTL_MAC_SIZE];
};

/* error: 0, or a positive errno; EOPNOTSUPP: functions log where the host does;
 * EDQUOT: the tenant's logs are as large as they may be; ENOSPC: the disk has not
 * enough left. */
struct ctl_function_log {
	int32_t error;
	uint32_t room; /* bytes that may be written to it before it is asked for anew */
	char name[CTL_NAME_MAX + 1];
	uint8_t pad[3];
};

struct ctl_start {
	uint64_t run_id;  /* of this host's run: microseconds of its start, UTC */
	uint8_t is_again; /* a gateway died before; the table holds its debts */
	uint8_t has_cgroup;
	uint8_t has_memory; /* the kernel bounds the memory of each tenant */
	uint8_t pad[5];
	uint32_t file_limit, pad2;
};

/* What an instance is for, and so which of the administrator's commands it runs. */
enum ctl_purpose {
	CTL_PURPOSE_SERVE,     /* its runtime's `command` */
	CTL_PURPOSE_OTHERWISE, /* that of the runtime named by `otherwise` */
	CTL_PURPOSE_CHECK,     /* its `check` or `build`; it serves nobody */
	CTL_PURPOSE_COUNT
};

struct ctl_instance_start {
	uint64_t id; /* chosen by the gateway, never used before in this run */
	char name[CTL_NAME_MAX + 1];
	char version[CTL_VERSION_LENGTH + 1]; /* refused when not the current one */
	uint8_t purpose; /* enum ctl_purpose */
	uint8_t pad[5];
};

struct ctl_instance_kill {
	uint64_t id;
};

/*
 * fds, in this order: the gateway's end of init's socket; then, where the bit
 * in `has` is set: cpu.stat, memory.peak (writable for a reset),
 * memory.events, memory.current, and where there is no such file init's
 * /proc/PID/statm; last cgroup.freeze (writable), if the function has
 * `freeze_idle`.
 */
enum {
	CTL_HAS_CPU_STAT = 1,
	CTL_HAS_MEMORY_PEAK = 2,
	CTL_HAS_MEMORY_EVENTS = 4,
	CTL_HAS_MEMORY_CURRENT = 8,
	CTL_HAS_INIT_MEMORY = 16,
	CTL_HAS_FREEZE = 32,
	CTL_HAS_ALL = 63
};
struct ctl_instance_up {
	uint64_t id;
	uint64_t start_us;  /* the spawner's time for it */
	uint32_t has;
	uint32_t uid;
};

struct ctl_instance_failed {
	uint64_t id;
	/* positive errno; ESTALE: another version is current; EIDRM: there is
	 * no such function any more */
	int32_t error;
	uint32_t pad;
	char step[64]; /* which step of the sandbox, or "" */
};

/* All processes are dead.  With has_cgroup cpu_* are the leaf's totals, else
 * those of wait4. */
struct ctl_instance_gone {
	uint64_t id;
	int32_t wait_status; /* of init */
	uint32_t oom_kills;
	uint64_t cpu_usage_us, cpu_user_us, cpu_sys_us;
	uint64_t memory_peak_kib; /* 0: not known */
	uint8_t has_cgroup;
	uint8_t pad[7];
};

struct ctl_totals {
	uint64_t cpu_usage_us, cpu_user_us, cpu_sys_us;
	/* usage of hosts that died before this one, too, where their clock goes
	 * on (is_taken_over) */
	uint64_t whole_us;
	uint8_t has_cgroup;
	uint8_t is_final; /* the last before the gateway's end */
	uint8_t is_taken_over;
	uint8_t is_told; /* a record is to be written of them alone */
	uint8_t is_noted; /* they are in no record, only in the table in flight */
	uint8_t pad[3];
};

struct ctl_drain {
	uint64_t longest_ms; /* executions that last longer are ended; 0: no end */
	uint8_t has_next; /* one descriptor comes along */
	uint8_t pad[7];
};

enum ctl_verb {
	CTL_VERB_NONE,
	CTL_VERB_STATUS,
	CTL_VERB_RELOAD,
	CTL_VERB_REOPEN,
	CTL_VERB_DRAIN,
	CTL_VERB_INVOKE,
	CTL_VERB_CHECKS, /* what checks found; answered when all are done, or late */
	CTL_VERB_COUNT
};

struct ctl_command {
	uint32_t verb;
	uint32_t has_file; /* 0 or 1, reload only: one descriptor comes along */
};

#define CTL_SHELL_ARGUMENTS_MAX 64
#define CTL_SHELL_TEXT_MAX 2048

struct ctl_shell {
	char name[CTL_NAME_MAX + 1];
	uint8_t has_terminal;
	uint8_t pad[2];
	uint32_t count;             /* of arguments, at least 1 */
	uint32_t length;            /* of what follows, that is used */
	char text[CTL_SHELL_TEXT_MAX]; /* the arguments, each with its NUL */
};

struct ctl_shell_ask {
	uint64_t serial; /* the spawner's number for it */
};

struct ctl_shell_answer {
	uint64_t serial;
	uint64_t id;   /* chosen like that of any instance */
	int32_t error; /* positive errno: it may not; 0 */
	uint32_t pad;
};

struct ctl_shell_gone {
	struct ctl_instance_gone gone;
	uint64_t start_us, lifetime_us;
	uint8_t was_up;
	uint8_t pad[5];
	char tenant[CTL_TENANT_MAX + 1];
	char name[CTL_NAME_MAX + 1];
	char version[CTL_VERSION_LENGTH + 1];
};

struct ctl_reply {
	int32_t code; /* 0 done, else a positive errno */
	uint32_t pad;
	char text[CTL_TEXT_MAX + 1]; /* one sentence, printable */
};

struct ctl_status_host {
	uint64_t run_id, uptime_ms, seq;
	uint64_t executions, refused, refused_unrecorded, bad_peers;
	uint64_t connections, active, queued, instances, functions;
	uint64_t accounting_errors;
	uint8_t is_draining, has_cgroup;
	uint8_t pad[2];
	uint32_t accounting_error; /* errno that stands in the way now, or 0 */
};

/* By what the memory of an instance is known. */
enum ctl_memory_source {
	CTL_MEMORY_UNKNOWN,
	CTL_MEMORY_CGROUP, /* memory.current of the whole leaf */
	CTL_MEMORY_PSS,    /* its processes, each page by its share */
	CTL_MEMORY_RSS,    /* its processes, each page in whole */
	CTL_MEMORY_COUNT
};

/* Of a tenant whose functions were asked for; a ceiling of 0: none. */
struct ctl_status_tenant {
	char tenant[CTL_TENANT_MAX + 1];
	uint64_t instances, busy, queued;
	uint64_t memory_kib; /* of those that it is known of */
	uint64_t max_instances, max_memory_bytes, max_processes, max_cpu_milli;
};

struct ctl_status_fn {
	char name[CTL_NAME_MAX + 1];
	char version[CTL_VERSION_LENGTH + 1];
	uint64_t executions, queued, instances, prepared, idle, busy;
	uint64_t throttled_ms; /* 0: it is not */
};

struct ctl_status_instance {
	uint64_t id;
	char function[CTL_NAME_MAX + 1];
	char version[CTL_VERSION_LENGTH + 1];
	char state[16];
	uint64_t age_ms, executions, cpu_usage_us;
	uint64_t memory_kib; /* 0: not known */
	uint32_t memory_source; /* enum ctl_memory_source */
	uint32_t pad;
};

#define CTL_BUDGET_UNITS 3

/* A budget that there is. */
struct ctl_status_budget {
	char owner[CTL_NAME_MAX + 1]; /* a tenant or a function */
	uint8_t is_tenant;
	uint8_t is_month; /* else of a day */
	uint8_t unit;     /* enum amount_unit */
	char currency[4]; /* "": not in money */
	uint64_t used, most; /* executions, MiB * ms, millionths */
	uint64_t ends_us;    /* CLOCK_REALTIME */
};

enum ctl_check {
	CTL_CHECK_NONE,      /* not yet */
	CTL_CHECK_SOUND,
	CTL_CHECK_UNSOUND,   /* text says what is wrong */
	CTL_CHECK_OTHERWISE, /* sound, and served by another runtime: text is its name */
	CTL_CHECK_FAILED,    /* it cannot be checked: text says why */
	CTL_CHECK_COUNT
};
#define CTL_CHECK_TEXT_MAX 200

struct ctl_status_check {
	char name[CTL_NAME_MAX + 1];
	char version[CTL_VERSION_LENGTH + 1];
	uint8_t state;      /* enum ctl_check */
	uint8_t is_fastcgi; /* as it is served */
	char text[CTL_CHECK_TEXT_MAX + 1];
};

struct ctl_msg {
	uint32_t magic;
	uint16_t type;
	uint16_t size; /* of the whole message */
	union {
		struct ctl_function function;
		struct ctl_name name;
		struct ctl_log log;
		struct ctl_log_switched log_switched;
		struct ctl_function_log function_log;
		struct ctl_start start;
		struct ctl_instance_start instance_start;
		struct ctl_instance_kill instance_kill;
		struct ctl_instance_up instance_up;
		struct ctl_instance_failed instance_failed;
		struct ctl_instance_gone instance_gone;
		struct ctl_totals totals;
		struct ctl_drain drain;
		struct ctl_command command;
		struct ctl_reply reply;
		struct ctl_shell shell;
		struct ctl_shell_ask shell_ask;
		struct ctl_shell_answer shell_answer;
		struct ctl_shell_gone shell_gone;
		struct ctl_status_host status_host;
		struct ctl_status_tenant status_tenant;
		struct ctl_status_fn status_fn;
		struct ctl_status_instance status_instance;
		struct ctl_status_budget status_budget;
		struct ctl_status_check status_check;
	} u;
};

#define CTL_HEAD_SIZE 8

/* Zeroes *msg and sets type and size. */
void ctl_msg_init(struct ctl_msg *msg, enum ctl_type type);

/*
 * Checks n received bytes as a message that may go one of the ways.  0, or
 * -EPROTO: magic, type, way, size, descriptor count, an unterminated string,
 * bytes after a string's end, an enum or boolean out of range, a name or path
 * that is no name.  After 0 every string in it is terminated.
 */
int ctl_msg_check(const struct ctl_msg *msg, size_t n, size_t fd_count,
    unsigned ways);

/* Strict names: [a-z0-9][a-z0-9._-]* segments, joined by '/', at most 8 of
 * them, CTL_NAME_MAX in all; a segment is at most 63 long, never ends in a dot. */
bool ctl_name_ok(const char *name);
bool ctl_segment_ok(const char *segment, size_t length);
/* [A-Za-z0-9._-]* and then ".env", at most CTL_ENV_FILE_MAX in all. */
bool ctl_env_file_ok(const char *name);
/* path = name, or name + "/main" or "/index" (folder), then at most one ".ext"
 * of [a-z0-9]+ . */
bool ctl_path_ok(const char *path, const char *name, bool is_folder);

/* Served, or being written: there are executions of it, if only refused ones, and
 * records that name its tenant. */
bool ctl_function_is_known(const struct ctl_function *function);

/* "half-written" …: one clause for a person, static. */
const char *ctl_problem_text(enum ctl_problem problem);
const char *ctl_type_name(enum ctl_type type);

#endif
