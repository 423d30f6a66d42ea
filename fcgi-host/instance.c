#include "fcgi-host/instance.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define BUG (-1)

/* A report or a pipe that is read at most so often per event: one instance
 * that floods does not hold the loop. */
#define READS_PER_EVENT 16
/* Of what a program writes beside its answers less: each line costs as much,
 * however short.  At its end all that the pipe holds is read. */
#define OUTPUT_BYTES 4096
#define OUTPUT_READS_MAX 256
/* and as much as a pipe holds, of one that goes on */
#define OUTPUT_READS_END 16

static const int8_t next_state[INSTANCE_STATE_COUNT][INSTANCE_EVENT_COUNT] = {
	/*                    UP  FAILED  TAKE  RELEASE  KILL  GONE */
	[INSTANCE_STARTING] = { INSTANCE_IDLE, INSTANCE_GONE, BUG, BUG,
	    INSTANCE_ENDING, INSTANCE_GONE },
	[INSTANCE_IDLE] = { BUG, BUG, INSTANCE_BUSY, BUG,
	    INSTANCE_ENDING, INSTANCE_GONE },
	[INSTANCE_BUSY] = { BUG, BUG, BUG, INSTANCE_IDLE,
	    INSTANCE_ENDING, INSTANCE_GONE },
	[INSTANCE_ENDING] = { INSTANCE_ENDING, INSTANCE_GONE, BUG,
	    INSTANCE_ENDING, INSTANCE_ENDING, INSTANCE_GONE },
	[INSTANCE_GONE] = { BUG, BUG, BUG, INSTANCE_GONE,
	    INSTANCE_GONE, BUG },
};

static const char *const state_names[INSTANCE_STATE_COUNT] = {
	"starting", "idle", "busy", "ending", "gone",
};

const char *
instance_state_name(enum instance_state state)
{
	return state_names[state];
}

int
instance_next_state(enum instance_state state, enum instance_event event)
{
	return next_state[state][event];
}

static void
instance_step(struct instance *instance, enum instance_event event)
{
	int next = instance_next_state(instance->state, event);

	LOG_ASSERT(next != BUG);
	if (instance->state == INSTANCE_IDLE)
		instance_waited(instance, loop_now_us(instance->fleet->loop));
	if (instance->state != (enum instance_state)next)
		log_event(LOG_DEBUG, "instance", "instance=%" PRIu64
		    " function=%s from=%s to=%s", instance->id,
		    instance->function->info.name,
		    state_names[instance->state], state_names[next]);
	instance->state = (enum instance_state)next;
}

static struct instance *
make(struct fleet *fleet, struct function *function, void *pool,
    enum ctl_purpose purpose, struct funclog_quota *log_quota, int *error)
{
	struct instance *instance = calloc(1, sizeof(*instance));

	*error = -ENOMEM;
	if (instance == NULL)
		return NULL;
	instance->fleet = fleet;
	instance->function = function_ref(function);
	instance->pool = pool;
	instance->purpose = purpose;
	instance->log_quota = log_quota;
	instance->id = ++fleet->next_id;
	instance->asked_us = loop_now_us(fleet->loop);
	instance->init_fd = instance->out_fd = instance->err_fd = -1;
	instance->cpu_fd = instance->peak_fd = instance->events_fd = -1;
	instance->memory_fd = instance->freeze_fd = -1;
	instance->init_io.fd = instance->out_io.fd = instance->err_io.fd = -1;
	channel_init(&instance->channel, fleet->loop);
	funclog_init(&instance->log, function->info.name, instance->id,
	    log_quota);
	fleet->count++;
	instance->is_admitted = ledger_reserve(fleet->ledger) == 0;
	*error = instance->is_admitted ?
	    fleet->ops->start(fleet->ops_arg, instance) : -ENOSPC;
	if (*error == 0)
		return instance;
	instance->state = INSTANCE_GONE;
	instance_free(instance);
	return NULL;
}

struct instance *
instance_new(struct fleet *fleet, struct function *function, void *pool,
    struct funclog_quota *log_quota, int *error)
{
	return make(fleet, function, pool, CTL_PURPOSE_SERVE, log_quota,
	    error);
}

struct instance *
instance_new_apart(struct fleet *fleet, struct function *function,
    enum ctl_purpose purpose, struct funclog_quota *log_quota, int *error)
{
	return make(fleet, function, NULL, purpose, log_quota, error);
}

void
instance_free(struct instance *instance)
{
	if (instance == NULL)
		return;
	LOG_ASSERT(instance->state == INSTANCE_GONE && instance->user == NULL);
	if (instance->is_admitted)
		ledger_release(instance->fleet->ledger);
	channel_close(&instance->channel);
	loop_io_del(instance->fleet->loop, &instance->init_io);
	loop_io_del(instance->fleet->loop, &instance->out_io);
	loop_io_del(instance->fleet->loop, &instance->err_io);
	close_fd(&instance->init_fd);
	close_fd(&instance->out_fd);
	close_fd(&instance->err_fd);
	close_fd(&instance->cpu_fd);
	close_fd(&instance->peak_fd);
	close_fd(&instance->events_fd);
	close_fd(&instance->memory_fd);
	close_fd(&instance->freeze_fd);
	function_unref(instance->function);
	instance_look_end(instance);
	instance->fleet->count--;
	free(instance);
}

/* Whether this answer comes when its execution waits no longer, or before the
 * answer that the running one waits for. */
static bool
is_late_measure(struct instance *instance)
{
	if (instance->measures_due == 0)
		return false;
	instance->measures_due--;
	return instance->user == NULL || instance->measures_due > 0;
}

/* Between executions a program has nothing to end for.  Nobody's request tells
 * why it did, so this must. */
static void
ended_unasked(struct instance *instance, const struct init_report *report)
{
	int status = report->wait_status;

	if (instance->end_reason == NULL) {
		instance->has_died = true;
		/* one that has served may well retire */
		log_event(instance->served == 0 ? LOG_WARN : LOG_DEBUG,
		    "program_ended", "function=%s instance=%"
		    PRIu64 " executions=%" PRIu64 " exit=%d signal=%d "
		    "error=\"%s\" why=\"it ended while no request was running\"",
		    instance->function->info.name, instance->id,
		    instance->served, WIFEXITED(status) ?
		    WEXITSTATUS(status) : -1, WIFSIGNALED(status) ?
		    WTERMSIG(status) : 0, report->type == INIT_EXEC_FAILED ?
		    strerror(report->value) : "");
	}
	if (report->type == INIT_EXEC_FAILED) {
		instance->exec_error = report->value;
	} else {
		instance->has_program_status = true;
		instance->program_status = status;
	}
	instance_kill(instance, "exit");
}

/* init's word is hostile: a malformed one ends the instance, no more. */
static void
report_take(struct instance *instance, const struct init_report *report,
    size_t n)
{
	if (init_report_check(report, n) < 0) {
		instance_kill(instance, "init");
		return;
	}
	if (report->type == INIT_EXIT || report->type == INIT_EXEC_FAILED)
		instance->is_program_running = false;
	if (report->type == INIT_HELD && instance_looked(instance, report) < 0) {
		instance_kill(instance, "init");
		return;
	}
	if (report->type == INIT_HELD ||
	    (report->type == INIT_MEMORY && is_late_measure(instance))) {
		(void)instance_freeze(instance);
		return;
	}
	if (instance->user != NULL)
		instance->user->report(instance->user_arg, report);
	else
		ended_unasked(instance, report);
	/* the user has looked; a program that could not be executed left no init */
	if (report->type == INIT_EXIT && instance->function->info.is_fastcgi)
		(void)instance_order(instance, INIT_END, NULL, NULL, 0);
}

static void
init_ready(void *arg, uint32_t events)
{
	struct instance *instance = arg;
	struct init_report report;

	(void)events;
	for (int i = 0; i < READS_PER_EVENT; i++) {
		ssize_t n = sock_recv(instance->init_fd, &report,
		    sizeof(report), NULL, 0, NULL);

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n == -EMSGSIZE) {
			instance_kill(instance, "init");
			return;
		}
		if (n <= 0) {
			/* init is dead; the spawner will say so */
			loop_io_del(instance->fleet->loop,
			    &instance->init_io);
			return;
		}
		report_take(instance, &report, (size_t)n);
		if (instance->init_io.fd < 0)
			return;
	}
}

static void
output_log(struct instance *instance, struct loop_io *io, int *fd, int reads)
{
	char data[OUTPUT_BYTES];

	for (int i = 0; i < reads; i++) {
		ssize_t n = read(*fd, data, sizeof(data));

		if (n > 0) {
			funclog_feed(&instance->log, instance->request_id,
			    data, (size_t)n, loop_now_us(instance->fleet->loop));
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		loop_io_del(instance->fleet->loop, io);
		close_fd(fd);
		return;
	}
}

/* What was written before the end may be seen behind it: it is the request's.  Few
 * programs write to stdout; to look there costs all of them a call. */
static void
output_rest(struct instance *instance, bool is_gone)
{
	int reads = is_gone ? OUTPUT_READS_MAX : OUTPUT_READS_END;

	if (instance->err_fd >= 0)
		output_log(instance, &instance->err_io, &instance->err_fd,
		    reads);
	if (instance->out_fd >= 0 && (instance->has_spoken || is_gone))
		output_log(instance, &instance->out_io, &instance->out_fd,
		    reads);
}

static void
out_ready(void *arg, uint32_t events)
{
	struct instance *instance = arg;

	(void)events;
	instance->has_spoken = true;
	output_log(instance, &instance->out_io, &instance->out_fd, 1);
}

static void
err_ready(void *arg, uint32_t events)
{
	struct instance *instance = arg;

	(void)events;
	output_log(instance, &instance->err_io, &instance->err_fd, 1);
}

int
instance_watch_output(struct instance *instance, int *out_fd, int *err_fd)
{
	struct loop *loop = instance->fleet->loop;
	int error;

	loop_io_del(loop, &instance->out_io);
	loop_io_del(loop, &instance->err_io);
	close_fd(&instance->out_fd);
	close_fd(&instance->err_fd);
	instance->out_fd = steal_fd(out_fd);
	instance->err_fd = steal_fd(err_fd);
	fd_set_nonblock(instance->out_fd, true);
	fd_set_nonblock(instance->err_fd, true);
	error = loop_io_add(loop, &instance->out_io, instance->out_fd, EPOLLIN,
	    out_ready, instance);
	if (error == 0)
		error = loop_io_add(loop, &instance->err_io, instance->err_fd,
		    EPOLLIN, err_ready, instance);
	return error;
}

static void
fds_take(struct instance *instance, uint32_t has, const int *fds)
{
	size_t i = 0;

	instance->init_fd = fds[i++];
	if (has & CTL_HAS_CPU_STAT)
		instance->cpu_fd = fds[i++];
	if (has & CTL_HAS_MEMORY_PEAK)
		instance->peak_fd = fds[i++];
	if (has & CTL_HAS_MEMORY_EVENTS)
		instance->events_fd = fds[i++];
	if (has & (CTL_HAS_MEMORY_CURRENT | CTL_HAS_INIT_MEMORY))
		instance->memory_fd = fds[i++];
	if (has & CTL_HAS_FREEZE)
		instance->freeze_fd = fds[i++];
	instance->is_memory_of_init = (has & CTL_HAS_INIT_MEMORY) != 0;
	/* only kernels from 6.12 on take the write: a peak of one's own */
	instance->is_peak_resettable = instance->peak_fd >= 0 &&
	    pwrite(instance->peak_fd, "r", 1, 0) == 1;
	(void)instance_had_oom(instance); /* those before it came */
}

void
instance_up(struct instance *instance, const struct ctl_instance_up *up,
    const int *fds)
{
	struct loop *loop = instance->fleet->loop;

	fds_take(instance, up->has, fds);
	fd_set_nonblock(instance->init_fd, true);
	instance->up_us = instance->idle_since_us = loop_now_us(loop);
	instance->start_us = up->start_us;
	instance_step(instance, INSTANCE_EVENT_UP);
	if (loop_io_add(loop, &instance->init_io, instance->init_fd, EPOLLIN,
	    init_ready, instance) < 0)
		instance_kill(instance, "descriptors");
}

void
instance_failed(struct instance *instance)
{
	instance_step(instance, INSTANCE_EVENT_FAILED);
}

static bool
has_clock(const struct instance *instance)
{
	return instance->cpu_fd >= 0 || instance->gone.has_cgroup;
}

/* What it uses is no execution's, nor that of a start for one. */
static bool
is_apart(const struct instance *instance)
{
	return instance->purpose != CTL_PURPOSE_SERVE;
}

/* Without a clock the time of a FastCGI program is known at its end only, and
 * cannot be cut into executions: the last of them does not pay for all. */
static bool
is_users_time(const struct instance *instance)
{
	return instance->user != NULL && !is_apart(instance) &&
	    (has_clock(instance) ||
	    !instance->function->info.is_fastcgi);
}

/* Splits the time since the mark between the running execution, the start and
 * the waiting, so that the sum is the leaf's total to the microsecond. */
static void
cpu_attribute(struct instance *instance, const struct cgroup_cpu *now)
{
	struct cgroup_cpu *mark = &instance->cpu_mark;
	uint64_t spent = now->usage_us > mark->usage_us ?
	    now->usage_us - mark->usage_us : 0;

	if (is_users_time(instance)) {
		instance->last_cpu.usage_us += spent;
		instance->last_cpu.user_us += now->user_us > mark->user_us ?
		    now->user_us - mark->user_us : 0;
		instance->last_cpu.system_us +=
		    now->system_us > mark->system_us ?
		    now->system_us - mark->system_us : 0;
		instance->exec_cpu_us += spent;
	} else if (instance->served == 0 && !is_apart(instance)) {
		instance->start_cpu_us += spent;
	} else {
		instance->idle_cpu_us += spent;
	}
	if (now->usage_us > mark->usage_us)
		*mark = *now;
}

void
instance_gone(struct instance *instance, const struct ctl_instance_gone *gone)
{
	struct cgroup_cpu now = {
		.usage_us = gone->cpu_usage_us,
		.user_us = gone->cpu_user_us,
		.system_us = gone->cpu_sys_us,
	};

	instance->gone = *gone;
	if (instance->end_reason == NULL) {
		instance->end_reason = gone->oom_kills > 0 ? "oom" : "died";
		instance->has_died = true;
	}
	cpu_attribute(instance, &now);
	output_rest(instance, true);
	funclog_end(&instance->log, instance->request_id,
	    loop_now_us(instance->fleet->loop));
	instance_step(instance, INSTANCE_EVENT_GONE);
	/* the spawner's word may overtake init's last report, which alone tells
	 * an end from a death */
	if (instance->init_io.fd >= 0)
		init_ready(instance, 0);
	loop_io_del(instance->fleet->loop, &instance->init_io);
	if (instance->user != NULL)
		instance->user->gone(instance->user_arg);
	instance_record(instance);
}

bool
instance_cpu_charge(struct instance *instance)
{
	struct cgroup_cpu now;

	if (instance->cpu_fd < 0 ||
	    cgroup_cpu_read(instance->cpu_fd, &now) < 0)
		return false;
	cpu_attribute(instance, &now);
	return true;
}

void
instance_cpu_told(struct instance *instance, uint64_t user_us,
    uint64_t system_us)
{
	struct cgroup_cpu now = instance->cpu_mark;

	now.usage_us += user_us + system_us;
	now.user_us += user_us;
	now.system_us += system_us;
	if (!has_clock(instance))
		cpu_attribute(instance, &now);
}

/*
 * Not of a CGI function, of which no process is left by now, nor of a program
 * that was started ahead and gets ready, nor while init owes an answer.  A kill
 * reaches who is frozen, too.
 */
bool
instance_freeze(struct instance *instance)
{
	if (instance->is_frozen || instance->freeze_fd < 0 ||
	    instance->state != INSTANCE_IDLE || instance->served == 0 ||
	    instance->measures_due > 0 || instance->is_look_due ||
	    !instance->function->info.is_fastcgi)
		return instance->is_frozen;
	instance->is_frozen = pwrite(instance->freeze_fd, "1", 1, 0) == 1;
	return instance->is_frozen;
}

static void
thaw(struct instance *instance)
{
	if (instance->is_frozen && pwrite(instance->freeze_fd, "0", 1, 0) != 1)
		log_event(LOG_ERROR, "thaw", "function=%s instance=%" PRIu64
		    " error=\"%s\"", instance->function->info.name,
		    instance->id, strerror(errno));
	instance->is_frozen = false;
}

void
instance_take(struct instance *instance, const struct instance_user *user,
    void *arg, const char *request_id)
{
	/* of the start, or of the waiting; where there was none, what the
	 * program still tidies up is its next execution's */
	if (instance->served == 0 || instance->idle_since_us !=
	    loop_now_us(instance->fleet->loop))
		instance_cpu_charge(instance);
	if (instance->is_peak_resettable)
		instance->is_peak_resettable =
		    pwrite(instance->peak_fd, "r", 1, 0) == 1;
	thaw(instance);
	instance_step(instance, INSTANCE_EVENT_TAKE);
	instance->taken_us = loop_now_us(instance->fleet->loop);
	instance->served++;
	memset(&instance->last_cpu, 0, sizeof(instance->last_cpu));
	instance->user = user;
	instance->user_arg = arg;
	strncpy(instance->request_id, request_id,
	    sizeof(instance->request_id) - 1);
}

void
instance_let_go(struct instance *instance)
{
	output_rest(instance, false);
	instance->user = NULL;
	instance->user_arg = NULL;
	instance->request_id[0] = '\0';
	instance->idle_since_us = loop_now_us(instance->fleet->loop);
	instance_step(instance, INSTANCE_EVENT_RELEASE);
}

void
instance_untake(struct instance *instance)
{
	instance->exec_cpu_us -= instance->last_cpu.usage_us;
	instance->idle_cpu_us += instance->last_cpu.usage_us;
	instance->idle_us += loop_now_us(instance->fleet->loop) -
	    instance->taken_us;
	instance->served--;
}

void
instance_keep(struct instance *instance)
{
	instance->is_kept = true;
	instance->idle_since_us = loop_now_us(instance->fleet->loop);
}

void
instance_kill(struct instance *instance, const char *reason)
{
	bool is_told = instance->state == INSTANCE_ENDING ||
	    instance->state == INSTANCE_GONE;

	if (instance->end_reason == NULL)
		instance->end_reason = reason;
	instance_step(instance, INSTANCE_EVENT_KILL);
	if (!is_told)
		instance->fleet->ops->kill(instance->fleet->ops_arg, instance);
}

int
instance_order(struct instance *instance, enum init_order_type type,
    const struct buf *env, const int *fds, size_t fd_count)
{
	struct init_order order = {
		.magic = INIT_MAGIC,
		.type = type,
		/* what an execution waits for is the last order's but for these */
		.serial = type == INIT_LOOK ? 0 : ++instance->serial,
		.env_length = env == NULL ? 0 : (uint32_t)buf_len(env),
	};
	struct buf message = { 0 };
	int error;

	if (order.env_length > INIT_ENV_MAX)
		return -E2BIG;
	error = buf_add(&message, &order, sizeof(order));
	if (error == 0 && env != NULL)
		error = buf_add(&message, env->data + env->start,
		    order.env_length);
	if (error == 0)
		error = sock_send(instance->init_fd, message.data,
		    buf_len(&message), fds, fd_count);
	if (error == 0 && type == INIT_MEASURE)
		instance->measures_due++;
	buf_free(&message);
	return error;
}
