/* How an execution ends: outcome, what it used, its record, its answer. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "fcgi-host/log.h"

/*
 * Asking init for the memory costs two switches between processes, more than a
 * short execution does.  One that took less than SHORT_CPU_US has not touched
 * much: the reading of another short one, SHORT_AGE_US ago at most, is its own
 * too, and what it did touch stands in the next reading.  Of a program that is
 * asked seldom the reading holds for longer, while all that it has done since
 * then took no more time than one short execution.
 */
#define SHORT_CPU_US 1000
#define SHORT_AGE_US 50000
#define SELDOM_AGE_US 1000000
#include "fcgi-host/request_impl.h"

/* It is no fault of the function's, and its time was over: the drain's. */
static const char drain_over[] = "the host ended, and it had not within 30 s";

void
request_fault(struct request *request, enum record_outcome outcome, int status,
    const char *reason)
{
	if (request->has_fault)
		return;
	request->has_fault = true;
	request->outcome = outcome;
	request->status = status;
	request->reason = reason;
}

void
request_reject(struct request *request, int status, const char *reason)
{
	request->server->refused++;
	request->is_whole = request->out != NULL &&
	    relay_answer(&request->relay, status, request->extra,
	    reason) == 0;
	request_step(request, REQUEST_EVENT_REJECT);
}

void
request_refuse(struct request *request, int status, const char *reason)
{
	request->server->refused++;
	if (request->state == REQUEST_QUEUED)
		pool_cancel(request->server->pools, &request->waiter);
	request_fault(request, OUTCOME_REFUSED, status, reason);
	request_step(request, REQUEST_EVENT_REFUSE);
}

/* The first one wins: of what is dying already all else is a consequence. */
static void
cause_set(struct request *request, enum record_cause cause)
{
	if (request->slot->record.cause == CAUSE_NONE)
		request->slot->record.cause = cause;
}

/* Why the host ends an instance. */
static const enum record_cause kill_causes[OUTCOME_COUNT] = {
	[OUTCOME_ERROR] = CAUSE_ANSWER,
	[OUTCOME_TIMEOUT] = CAUSE_DEADLINE,
	[OUTCOME_STALLED] = CAUSE_STALL,
	[OUTCOME_ABORTED] = CAUSE_CLIENT,
	[OUTCOME_REFUSED] = CAUSE_ANSWER,
};

void
request_kill(struct request *request, enum record_outcome outcome, int status,
    const char *reason)
{
	struct instance *instance = request->relay.backend.instance;

	if (request->state == REQUEST_KILLING)
		return;
	request_fault(request, outcome, status, reason);
	cause_set(request, kill_causes[outcome]);
	relay_set_out(&request->relay, NULL, request->id);
	request_step(request, REQUEST_EVENT_KILL);
	if (instance->state == INSTANCE_GONE)
		request_gone(request);
	else
		instance_kill(instance, record_outcome_name(outcome));
}

/* ---- what it used ---- */

static void
usage_cpu(struct request *request, struct instance *instance)
{
	const struct backend *backend = &request->relay.backend;
	struct record_exec *record = &request->slot->record;

	/* the totals of one that is gone hold what init told */
	if (instance->state != INSTANCE_GONE)
		instance_cpu_told(instance, backend->user_us,
		    backend->system_us);
	record->cpu_us = instance->last_cpu.usage_us;
	record->cpu_user_us = instance->last_cpu.user_us;
	record->cpu_sys_us = instance->last_cpu.system_us;
	if (instance->cpu_fd >= 0 || instance->gone.has_cgroup)
		record->cpu_source = SOURCE_CGROUP;
	else
		record->cpu_source = record->cpu_us > 0 ? SOURCE_PROCESS :
		    SOURCE_NONE;
}

static void
usage_memory(struct request *request, struct instance *instance,
    uint64_t measured_kib)
{
	struct record_exec *record = &request->slot->record;

	if (instance_peak_read(instance, &record->mem_peak_kib)) {
		record->mem_source = SOURCE_CGROUP;
	} else if (measured_kib > 0) {
		record->mem_peak_kib = measured_kib;
		record->mem_source = request->is_memory_lately ?
		    SOURCE_PROCESS_LATELY : SOURCE_PROCESS;
	} else if (instance->gone.memory_peak_kib > 0) {
		record->mem_peak_kib = instance->gone.memory_peak_kib;
		record->mem_source = SOURCE_CGROUP_SINCE;
	}
}

static void
usage_exit(struct request *request)
{
	const struct backend *backend = &request->relay.backend;
	const struct instance *instance = backend->instance;
	struct record_exec *record = &request->slot->record;

	record->exit_code = backend->exit_code;
	record->signal_number = backend->signal_number;
	if (backend->exit_code >= 0 || backend->signal_number != 0 ||
	    instance->state != INSTANCE_GONE)
		return;
	if (WIFSIGNALED(instance->gone.wait_status))
		record->signal_number = WTERMSIG(instance->gone.wait_status);
	else
		record->exit_code = WEXITSTATUS(instance->gone.wait_status);
}

/* ---- how it ended ---- */

/* The machine's state at fork or execve, or the file's: it passes, and the
 * function never ran. */
static bool
exec_error_passes(int error)
{
	return error == EAGAIN || error == ETXTBSY;
}

/* What an execve that failed asks of the function's author. */
static const char *
exec_problem(int error)
{
	switch (error) {
	case EAGAIN:
		return "the program could not be executed: its function, its "
		    "user or the machine has too many processes already";
	case ETXTBSY:
		return "the program could not be executed: its file is open "
		    "for writing";
	case ENOENT:
	case ENOTDIR:
		return "the program could not be executed: its interpreter is "
		    "not there; see the command of its runtime, or its first "
		    "line, which must not end in a carriage return (CRLF)";
	case ENOEXEC:
		return "the program could not be executed: it is no binary of "
		    "this machine, and its first line is no #!/path/of/an/"
		    "interpreter";
	case EBADMSG:
		return "its env_file is wrong, and its stderr says where";
	case EACCES:
		return "the program could not be executed: it, or its "
		    "interpreter, lacks the permission";
	default:
		return "the program could not be executed";
	}
}

static void
judge_exec(struct request *request, int error)
{
	bool passes = exec_error_passes(error);

	if (passes)
		request->extra = RETRY_AFTER;
	request_fault(request, passes ? OUTCOME_REFUSED : OUTCOME_ERROR,
	    passes ? 503 : 502, exec_problem(error));
}

static void
judge_end(struct request *request)
{
	const struct relay *relay = &request->relay;
	const struct backend *backend = &relay->backend;

	if (instance_had_oom(backend->instance))
		request_fault(request, OUTCOME_OOM, 502,
		    "killed for want of memory");
	else if (request->server->is_overdue && (backend->signal_number != 0 ||
	    backend->end == BACKEND_LOST))
		request_fault(request, OUTCOME_TIMEOUT, 504, drain_over);
	else if (backend->exec_error != 0)
		judge_exec(request, backend->exec_error);
	else if (backend->signal_number != 0)
		request_fault(request, OUTCOME_CRASH, 502,
		    "the program was ended by a signal");
	else if (backend->end == BACKEND_LOST)
		request_fault(request, OUTCOME_ERROR, 502,
		    backend->problem != NULL ? backend->problem :
		    "the program ended before its answer");
	else if (relay->head.state != CGI_RESPONSE_DONE)
		request_fault(request, OUTCOME_ERROR, 502,
		    relay->bytes_out == 0 ? "the program wrote no answer" :
		    "the program ended before the end of its header");
	else if (relay->body_left > 0)
		request_fault(request, OUTCOME_ERROR, 502,
		    "the answer is shorter than its Content-Length");
	else if (relay->is_too_long)
		request_fault(request, OUTCOME_ERROR, 502,
		    "the answer is longer than its Content-Length");
	else if (backend->exit_code > 0)
		request_fault(request, OUTCOME_ERROR, 0, "exit code");
}

/* What ended the program, if anything did before its time. */
static enum record_cause
cause_of_end(const struct request *request)
{
	const struct backend *backend = &request->relay.backend;
	const struct instance *instance = backend->instance;

	if (request->has_fault && request->outcome == OUTCOME_OOM)
		return CAUSE_MEMORY;
	if (request->has_fault && request->reason == drain_over)
		return CAUSE_DRAIN;
	if (backend->exec_error != 0)
		return CAUSE_EXECVE;
	if (request->slot->record.signal_number != 0 &&
	    !(instance->state == INSTANCE_GONE && backend->signal_number == 0))
		return CAUSE_SIGNAL;
	if (instance->state == INSTANCE_GONE && instance->has_died)
		return CAUSE_DIED;
	return backend->end == BACKEND_LOST && !instance->is_program_running ?
	    CAUSE_EXIT : CAUSE_NONE;
}

/* May the function's own answer be completed?  With Content-Length bytes tell;
 * without, only an orderly end does. */
static bool
answer_is_good(const struct request *request)
{
	const struct relay *relay = &request->relay;

	if (!relay_is_whole(relay))
		return false;
	if (!request->has_fault || (request->outcome == OUTCOME_ERROR &&
	    request->status == 0))
		return true;
	return (request->outcome == OUTCOME_CRASH ||
	    request->reason == drain_over) && relay->is_byte_held;
}

static enum pool_verdict
verdict(const struct request *request)
{
	const struct backend *backend = &request->relay.backend;

	if (exec_error_passes(backend->exec_error) ||
	    backend->exec_error == ENOMEM)
		return POOL_BLAMELESS;
	if (request->relay.bytes_out > 0 || (backend->exec_error == 0 &&
	    (backend->end == BACKEND_ENDED || backend->end == BACKEND_DIRTY)))
		return POOL_ANSWERED;
	return POOL_UNANSWERED;
}

static void
instance_part(struct request *request)
{
	struct instance *instance = request->relay.backend.instance;
	bool is_usable = request->relay.backend.is_instance_usable;
	enum pool_verdict said = verdict(request);

	/* the program had this time, and no execution: init was asked for its
	 * memory */
	instance->idle_us += loop_now_us(request->server->loop) -
	    request->ended_us;
	relay_close(&request->relay);
	pool_release(instance, is_usable ? NULL : "exit", said);
}

static bool
is_short(const struct instance *instance)
{
	return instance->cpu_fd >= 0 &&
	    instance->last_cpu.usage_us < SHORT_CPU_US;
}

static bool
is_read_lately(const struct instance *instance, uint64_t now_us)
{
	uint64_t age_us = now_us - instance->memory_us;

	if (instance->memory_us == 0 || !is_short(instance))
		return false;
	return age_us < SHORT_AGE_US || (age_us < SELDOM_AGE_US &&
	    instance->memory_cpu_us < SHORT_CPU_US);
}

/* Whether the answer has to wait for init's word about the memory. */
static bool
memory_is_asked(struct request *request)
{
	struct backend *backend = &request->relay.backend;
	struct instance *instance = backend->instance;

	if (!instance->function->info.is_fastcgi ||
	    instance->is_peak_resettable || !instance->is_program_running)
		return false;
	instance->memory_cpu_us += instance->last_cpu.usage_us;
	request->is_memory_lately = is_read_lately(instance, request->ended_us);
	return !request->is_memory_lately && backend_measure(backend) == 0;
}

void
request_ended(struct request *request)
{
	struct backend *backend = &request->relay.backend;
	struct instance *instance = backend->instance;

	if ((request->state != REQUEST_RUNNING &&
	    request->state != REQUEST_LEFT) || request_return(request))
		return;
	instance_cpu_charge(instance);
	request->ended_us = loop_now_us(request->server->loop);
	request_step(request, REQUEST_EVENT_END);
	if (!memory_is_asked(request))
		request_measured(request, request->is_memory_lately ?
		    instance->memory_kib : backend->memory_kib);
}

void
request_memory_read(struct request *request, uint64_t memory_kib)
{
	struct instance *instance = request->relay.backend.instance;

	instance->memory_kib = memory_kib;
	instance->memory_us = is_short(instance) ? request->ended_us : 0;
	instance->memory_cpu_us = 0;
	request_measured(request, memory_kib);
}

static void
usage_collect(struct request *request, uint64_t memory_kib)
{
	struct record_exec *record = &request->slot->record;
	struct instance *instance = request->relay.backend.instance;

	usage_cpu(request, instance);
	usage_memory(request, instance, memory_kib);
	usage_exit(request);
	judge_end(request);
	cause_set(request, cause_of_end(request));
	record->run_us = request->ended_us - request->granted_us;
	if (request->is_program_start)
		record->program_us = (request->relay.first_us != 0 ?
		    request->relay.first_us : request->ended_us) -
		    request->granted_us;
}

void
request_measured(struct request *request, uint64_t memory_kib)
{
	usage_collect(request, memory_kib);
	instance_part(request);
	request_step(request, REQUEST_EVENT_MEASURED);
}

void
request_gone(struct request *request)
{
	const struct instance *instance = request->relay.backend.instance;

	if (request_return(request))
		return;
	if (request->ended_us == 0)
		request->ended_us = loop_now_us(request->server->loop);
	if (!request->has_fault && request->state != REQUEST_MEASURING) {
		if (instance->gone.oom_kills > 0)
			request_fault(request, OUTCOME_OOM, 502,
			    "killed for want of memory");
		else if (request->server->is_overdue)
			request_fault(request, OUTCOME_TIMEOUT, 504,
			    drain_over);
		else
			request_fault(request, OUTCOME_CRASH, 502,
			    "the instance died");
	}
	usage_collect(request, request->relay.backend.memory_kib);
	instance_part(request);
	request_step(request, REQUEST_EVENT_GONE);
}

/* ---- the record ---- */

static int
status_told(const struct request *request)
{
	const struct relay *relay = &request->relay;

	if (relay->is_head_out || answer_is_good(request))
		return relay->head.status;
	return request->has_fault ? request->status : relay->head.status;
}

static void
answer_complete(struct request *request)
{
	struct relay *relay = &request->relay;
	uint32_t app_status = request->slot->record.exit_code > 0 ?
	    (uint32_t)request->slot->record.exit_code : 0;
	int error = -EPIPE;

	relay_set_out(relay, request->out, request->id);
	if (request->out == NULL)
		;
	else if (request->is_aborted)
		error = fcgi_put_end(request->out, request->id, app_status,
		    FCGI_REQUEST_COMPLETE);
	else if (answer_is_good(request))
		error = relay_release(relay, app_status);
	else if (!relay->is_head_out)
		error = relay_answer(relay, request->status, request->extra,
		    request->reason);
	request->is_whole = error == 0;
}

static void
recorded(void *arg, int error)
{
	struct request *request = arg;

	if (error == 0)
		answer_complete(request);
	inflight_drop(request->server->inflight, request->slot);
	request->slot = NULL;
	request_step(request, REQUEST_EVENT_RECORDED);
}

static void
end_log(const struct request *request)
{
	const struct record_exec *record = &request->slot->record;

	if (record->outcome == OUTCOME_OK || record->outcome == OUTCOME_ABORTED)
		return;
	logfiles_event(request->server->files, record->function,
	    loop_now_us(request->server->loop),
	    record->outcome == OUTCOME_REFUSED ? LOG_DEBUG : LOG_INFO,
	    "execution", "request=%s function=%s instance=%" PRIu64
	    " outcome=%s status=%d why=\"%s\"", record->request_id,
	    record->function, record->instance,
	    record_outcome_name(record->outcome), record->status,
	    record->reason == NULL ? "" : record->reason);
}

void
request_record(struct request *request)
{
	struct record_exec *record = &request->slot->record;
	int error;

	record->outcome = request->has_fault ? request->outcome : OUTCOME_OK;
	record->reason = request->has_fault ? request->reason : NULL;
	record->status = status_told(request);
	record->bytes_in = request->relay.bytes_in;
	record->bytes_out = request->relay.bytes_out;
	if (request->granted_us == 0)
		record->queue_us = loop_now_us(request->server->loop) -
		    request->arrived_us;
	end_log(request);
	request->entry.fn = recorded;
	request->entry.arg = request;
	error = ledger_exec(request->server->ledger, record, &request->entry);
	if (error == 0) {
		request->slot->record_seq = record->seq;
		return;
	}
	ledger_release(request->server->ledger);
	recorded(request, error);
}

/* ---- a dead gateway's debts ---- */

struct lost {
	struct server *server;
	/* what the dead gateway had written, before its debts move it on */
	uint64_t written_seq;
	/* the one whose line is being written */
	struct inflight_slot *slot;
};

/* A line that waits for room is this gateway's debt: the slot stays for its
 * successor, who sees by its seq whether it was written. */
static void
lost_recorded(void *arg, int error)
{
	const struct lost *lost = arg;

	if (error == 0)
		inflight_drop(lost->server->inflight, lost->slot);
}

static uint64_t
lost_run_us(const struct inflight_slot *slot, uint64_t now_us)
{
	uint64_t end_us = slot->ended_us != 0 ? slot->ended_us : now_us;

	return slot->started_us != 0 && slot->started_us < end_us ?
	    end_us - slot->started_us : 0;
}

static void
lost_record(struct inflight_slot *slot, void *arg)
{
	struct lost *lost = arg;
	struct server *server = lost->server;
	struct record_exec record = slot->record;
	struct ledger_entry entry = { .fn = lost_recorded, .arg = lost };

	if (slot->record_seq != 0 && slot->record_seq <= lost->written_seq) {
		inflight_drop(server->inflight, slot);
		return;
	}
	record.trigger = slot->is_invoke ? "invoke" : "web";
	record.reason = slot->ended_us != 0 ? "the host died" :
	    "the gateway died";
	record.outcome = OUTCOME_LOST;
	record.cause = CAUSE_HOST;
	/* of one that had ended and was not written, lost_cpu_us has it */
	record.cpu_us = record.cpu_user_us = record.cpu_sys_us = 0;
	record.cpu_source = SOURCE_NONE;
	record.status = 0;
	record.run_us = lost_run_us(slot, loop_now_us(server->loop));
	lost->slot = slot;
	if (ledger_exec(server->ledger, &record, &entry) != 0)
		return;
	slot->record_seq = record.seq;
	ledger_flush(server->ledger);
}

void
request_record_lost(struct server *server)
{
	struct lost lost = { .server = server,
		.written_seq = inflight_seq(server->inflight) };

	inflight_each(server->inflight, lost_record, &lost);
}
