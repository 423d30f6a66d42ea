/*
 * One instance's life as the gateway sees it: asked for, up, busy or idle, told
 * to end, gone; its init's socket, its counters, and the record at its end.
 * Which instance serves whom is pool.h's; how bytes reach it is backend.h's.
 */
#ifndef FCGI_HOST_INSTANCE_H
#define FCGI_HOST_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fcgi-host/catalog.h"
#include "fcgi-host/channel.h"
#include "fcgi-host/funclog.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/loop.h"
#include "sandbox/cgroup.h"
#include "sandbox/init_msg.h"

enum instance_state {
	INSTANCE_STARTING, /* the spawner was asked */
	INSTANCE_IDLE,
	INSTANCE_BUSY,
	INSTANCE_ENDING, /* the spawner was told to kill it */
	INSTANCE_GONE,
	INSTANCE_STATE_COUNT
};

enum instance_event {
	INSTANCE_EVENT_UP,
	INSTANCE_EVENT_FAILED,
	INSTANCE_EVENT_TAKE,
	INSTANCE_EVENT_RELEASE,
	INSTANCE_EVENT_KILL,
	INSTANCE_EVENT_GONE,
	INSTANCE_EVENT_COUNT
};

struct instance;

/* What the function side needs of the role above it. */
struct fleet_ops {
	/* Asks the spawner; 0 or negative errno. */
	int (*start)(void *arg, const struct instance *instance);
	void (*kill)(void *arg, const struct instance *instance);
	/* Starts the program of an idle one ahead of its first request; a spare's
	 * waits for that before it reads the function.  0 or negative errno. */
	int (*boot)(void *arg, struct instance *instance, bool is_spare);
	/* How many spares all functions of its runtime have together. */
	uint64_t (*spares)(void *arg, const struct function *function);
	/* Whether nothing of it may be started yet, since a check is to say by
	 * which runtime; is_waited_for: somebody has asked for it.  NULL: never. */
	bool (*holds)(void *arg, struct function *function,
	    bool is_waited_for);
	/* Whether it is held for good, as no program could be built of it.  NULL:
	 * never. */
	bool (*is_unbuilt)(void *arg, const struct function *function);
};

/* Shared by all instances and pools of a gateway. */
struct fleet {
	struct loop *loop;
	struct ledger *ledger;
	const struct fleet_ops *ops;
	void *ops_arg;
	uint64_t next_id;
	uint64_t count;      /* instances that are not gone */
	uint64_t looks_due;  /* of them, whose init was asked what it holds */
	int fd_ceiling; /* descriptors from this number on keep nothing; 0 */
	struct logfiles *files; /* of the functions' lines; NULL: none */
};

/* What of an instance stands in its records so far. */
struct instance_told {
	uint64_t at_us; /* up to then; 0: nothing */
	uint64_t executions, lifetime_us, start_us, idle_us;
	uint64_t start_cpu_us, exec_cpu_us, idle_cpu_us;
};

/* Who uses or owns the instance; each may be NULL. */
struct instance_user {
	/* A checked report of init that is not the instance's own business. */
	void (*report)(void *arg, const struct init_report *report);
	/* All processes are dead; cpu of the running execution is in
	 * instance->last_cpu, totals in instance->gone. */
	void (*gone)(void *arg);
};

struct instance {
	TAILQ_ENTRY(instance) in_pool; /* all of a pool */
	TAILQ_ENTRY(instance) in_role; /* of those idle, or those prepared */
	struct fleet *fleet;
	struct function *function; /* a reference */
	void *pool;                /* of pool.h, opaque here */
	int role;                  /* the pool's, too: enum policy_role */
	struct funclog_quota *log_quota; /* the pool's: of all instances */
	uint64_t id;
	enum ctl_purpose purpose; /* CTL_PURPOSE_SERVE; else it serves nobody */
	enum instance_state state;
	uint64_t generation; /* the pool's, when it was asked for */
	uint64_t asked_us, up_us, taken_us, idle_since_us;
	uint64_t start_us, idle_us, served;
	bool is_admitted, is_program_running;
	bool is_kept; /* at work before its first execution */
	bool is_spare; /* its program was booted while it was prepared */
	bool has_spoken; /* on its standard output */
	bool has_died; /* by itself: nobody had told it to end */
	/* of a program that ended while it served nobody */
	bool has_program_status;
	int program_status; /* as wait4 gave it */
	int exec_error;     /* errno of an execve that failed; 0 */
	const char *end_reason; /* static */
	/* init */
	int init_fd;
	struct loop_io init_io;
	uint64_t serial;
	uint64_t measures_due; /* INIT_MEASURE without its answer so far */
	struct channel channel; /* to a FastCGI program */
	/* a FastCGI program's stdout and stderr; CGI's are per execution */
	int out_fd, err_fd;
	struct loop_io out_io, err_io;
	struct funclog log;
	char request_id[RECORD_REQUEST_ID_MAX + 1]; /* of the running one */
	/* counters */
	int cpu_fd, peak_fd, events_fd; /* -1: the kernel has none */
	int memory_fd; /* memory.current, or init's statm; -1 */
	bool is_memory_of_init;
	int freeze_fd; /* cgroup.freeze of one that is to be frozen; -1 */
	bool is_frozen;
	bool is_peak_resettable;
	/* init's last reading, if it was of a short execution; its time, 0; the
	 * processor time of all executions since then */
	uint64_t memory_kib, memory_us, memory_cpu_us;
	bool is_look_due; /* INIT_LOOK has no answer so far */
	uint64_t share_kib, resident_kib; /* that answer; 0: not known */
	/* before an execution: as it was last read, and when; 0 */
	uint64_t start_memory_kib, start_memory_us;
	/* of its largest process, when init was last asked; 0 */
	uint64_t left_memory_kib;
	struct cgroup_cpu cpu_mark, last_cpu;
	uint64_t start_cpu_us, exec_cpu_us, idle_cpu_us;
	struct instance_told told;
	uint64_t oom_mark;
	struct ctl_instance_gone gone;
	/* the user, while BUSY or until it lets go */
	const struct instance_user *user;
	void *user_arg;
	struct loop_task task;   /* the end; pool.h's */
};

/* Asks the spawner for one.  Borrows log_quota, until instance_free.  NULL: it
 * cannot be asked (*error, negative errno), or the space of its record cannot be
 * reserved (-ENOSPC). */
struct instance *instance_new(struct fleet *fleet, struct function *function,
    void *pool, struct funclog_quota *log_quota, int *error);
/* The same for another purpose than to serve: it executes nothing, and all that it
 * uses is waiting. */
struct instance *instance_new_apart(struct fleet *fleet,
    struct function *function, enum ctl_purpose purpose,
    struct funclog_quota *log_quota, int *error);
/* Only in state GONE and without a user. */
void instance_free(struct instance *instance);

/* The spawner's answers.  fds: as in struct ctl_instance_up, taken. */
void instance_up(struct instance *instance, const struct ctl_instance_up *up,
    const int *fds);
void instance_failed(struct instance *instance);
void instance_gone(struct instance *instance,
    const struct ctl_instance_gone *gone);

/* IDLE → BUSY for a user; BUSY → IDLE.  CPU time in between is the user's
 * (instance->last_cpu after instance_cpu_charge). */
void instance_take(struct instance *instance, const struct instance_user *user,
    void *arg, const char *request_id);
void instance_let_go(struct instance *instance);
/* Before that: the program ended before it saw the user's request, which is no
 * execution of this instance: it was waiting. */
void instance_untake(struct instance *instance);
/* Its program is started, and it is kept for whoever comes (min_instances): from
 * now on it waits, as one that has served. */
void instance_keep(struct instance *instance);
/* Stops all processes of one that waits for its next execution, if its function
 * has `freeze_idle`; instance_take lets them go on.  Whether they stand. */
bool instance_freeze(struct instance *instance);
/* Ends it; reason is static and stands in its record (the first one wins). */
void instance_kill(struct instance *instance, const char *reason);

/* Reads the CPU clock; what passed since the last reading is the running
 * execution's and is put into instance->last_cpu.  false: there is no clock. */
bool instance_cpu_charge(struct instance *instance);
/* What it has used that stands in no record so far, its own or an execution's. */
uint64_t instance_cpu_open(const struct instance *instance);
/* Where there is no clock: what init measured of the running execution. */
void instance_cpu_told(struct instance *instance, uint64_t user_us,
    uint64_t system_us);
/* It waited until then, for which it is charged, as one that has served or that
 * is kept. */
void instance_waited(struct instance *instance, uint64_t until_us);
/* Its record, when it is gone: of what is in no earlier one. */
void instance_record(struct instance *instance);
/* At the end of a day its record so far, if there is anything to tell: until
 * at_us, which was time_us of the clock of the day. */
void instance_account(struct instance *instance, uint64_t at_us,
    uint64_t time_us);
/* Resets and reads the peak since the last reset.  false: not to be had. */
bool instance_peak_read(struct instance *instance, uint64_t *kib);
/* What the sandbox holds now: of the whole leaf, or without a controller what
 * init has for itself, which is all of a prepared one's.  0: not known. */
uint64_t instance_memory_kib(const struct instance *instance);
/* Asks init what its processes hold, where no controller counts that; not of one
 * that is frozen.  The answer, if there is one, is instance_memory_held's, and
 * until then fleet->looks_due has one more. */
void instance_look(struct instance *instance);
/* The same as instance_memory_kib, or what instance_look has found. */
uint64_t instance_memory_held(const struct instance *instance,
    enum ctl_memory_source *source);
/* init's answer.  -EPROTO: it was not asked. */
int instance_looked(struct instance *instance,
    const struct init_report *report);
/* It will not answer any more. */
void instance_look_end(struct instance *instance);
/* What it holds before an execution, and where that is known from: of the whole
 * leaf, as it was at most 50 ms before; else of the largest process, at the end
 * of the last execution after which init was asked; or init's, where nobody else
 * is there.  SOURCE_NONE: not known. */
enum record_source instance_memory_start(struct instance *instance,
    uint64_t *kib);
/* Out-of-memory kills since the last call: each execution asks once. */
bool instance_had_oom(struct instance *instance);

/* Sends an order to init with up to three descriptors.  0 or negative errno. */
int instance_order(struct instance *instance, enum init_order_type type,
    const struct buf *env, const int *fds, size_t fd_count);

/* A FastCGI program's stdout and stderr (taken) go to the log from now on, in place
 * of what a start has left that could not be ordered. */
int instance_watch_output(struct instance *instance, int *out_fd, int *err_fd);

const char *instance_state_name(enum instance_state state);
/* The table: the next state, or -1 where the event is a bug. */
int instance_next_state(enum instance_state state, enum instance_event event);

#endif
