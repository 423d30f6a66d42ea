#include "fcgi-host/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/request_impl.h"

#define BUG (-1)
#define PARAMS_BYTES_MAX (64u * 1024)
#define PARAMS_COUNT_MAX 512
#define PARAMS_TIMEOUT_US (30u * 1000000)
#define MEASURE_TIMEOUT_US 200000
/* of so many requests a body may wait in memory (64 KiB each), of more only
 * this much of one: the rest lies in the spool's file */
#define CROWD 256
#define CROWD_SPOOL_BYTES 4096

/* Short names, so that a state is one line of the table. */
enum {
	Body = REQUEST_BODY,
	Queue = REQUEST_QUEUED,
	Run = REQUEST_RUNNING,
	Left = REQUEST_LEFT,
	Meas = REQUEST_MEASURING,
	Kill = REQUEST_KILLING,
	Rec = REQUEST_RECORDING,
	Done = REQUEST_DONE
};

/* HOLD SUBMIT GRANT RETURN REFUSE REJECT END MEASURED KILL GONE LEAVE
 * RECORDED */
static const int8_t next_state[REQUEST_STATE_COUNT][REQUEST_EVENT_COUNT] = {
	[REQUEST_PARAMS] =
	    { Body, Queue, BUG, BUG, Rec, Done, BUG, BUG, BUG, BUG, Done, BUG },
	[REQUEST_BODY] =
	    { BUG, Queue, BUG, BUG, Rec, BUG, BUG, BUG, BUG, BUG, Rec, BUG },
	[REQUEST_QUEUED] =
	    { BUG, BUG, Run, BUG, Rec, BUG, BUG, BUG, BUG, BUG, Rec, BUG },
	[REQUEST_RUNNING] =
	    { BUG, BUG, BUG, Queue, BUG, BUG, Meas, BUG, Kill, Rec, Left, BUG },
	[REQUEST_LEFT] =
	    { BUG, BUG, BUG, BUG, BUG, BUG, Meas, BUG, Kill, Rec, Left, BUG },
	[REQUEST_MEASURING] =
	    { BUG, BUG, BUG, BUG, BUG, BUG, BUG, Rec, BUG, Rec, Meas, BUG },
	[REQUEST_KILLING] =
	    { BUG, BUG, BUG, BUG, BUG, BUG, Kill, Kill, Kill, Rec, Kill, BUG },
	[REQUEST_RECORDING] =
	    { BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, Rec, Done },
	[REQUEST_DONE] =
	    { BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, Done, BUG },
};

static const char *const state_names[REQUEST_STATE_COUNT] = {
	"params", "body", "queued", "running", "left", "measuring",
	"killing", "recording", "done",
};

int
request_next_state(enum request_state state, enum request_event event)
{
	return next_state[state][event];
}

const char *
request_state_name(enum request_state state)
{
	return state_names[state];
}

static void
request_free(struct request *request)
{
	loop_timer_cancel(request->server->loop, &request->timer);
	relay_free(&request->relay);
	params_free(request->params);
	if (request->has_route) {
		function_unref(request->route.function);
		route_free(&request->route);
	}
	request->server->active--;
	free(request);
}

static void
finish(void *arg)
{
	struct request *request = arg;

	if (request->owner != NULL)
		request->ops->finished(request->owner, request->is_whole);
	request_free(request);
}

void
request_step(struct request *request, enum request_event event)
{
	enum request_state from = request->state;
	int next = request_next_state(from, event);

	LOG_ASSERT(next != BUG);
	if ((enum request_state)next == from)
		return;
	request->state = (enum request_state)next;
	if (next == REQUEST_LEFT)
		request->left_us = loop_now_us(request->server->loop);
	log_event(LOG_DEBUG, "request", "request=%s from=%s to=%s",
	    request->slot == NULL ? "-" : request->slot->record.request_id,
	    request_state_name(from), request_state_name(request->state));
	request_arm(request);
	if (next == REQUEST_RECORDING)
		request_record(request);
	else if (next == REQUEST_DONE)
		loop_defer(request->server->loop, &request->task, finish,
		    request);
}

/* ---- time ---- */

static void
deadline_check(struct request *request, uint64_t now_us)
{
	uint64_t timeout_us = request_limit(request, LIMIT_TIMEOUT_MS) * 1000;
	uint64_t stall_us =
	    request_limit(request, LIMIT_STALL_TIMEOUT_MS) * 1000;

	if (timeout_us > 0 && now_us >= request->granted_us + timeout_us)
		request_kill(request, OUTCOME_TIMEOUT, 504,
		    "the execution's time-out is over");
	else if (stall_us > 0 &&
	    now_us >= request->relay.progress_us + stall_us)
		request_kill(request, OUTCOME_STALLED, 504,
		    "nothing moved for stall_timeout");
	else
		request_arm(request);
}

/* A client that left takes no time-out with it. */
static void
left_check(struct request *request, uint64_t now_us)
{
	if (now_us >= request->left_us +
	    request_limit(request, LIMIT_ABORT_GRACE_MS) * 1000)
		request_kill(request, OUTCOME_ABORTED, 0, "the client left");
	else
		deadline_check(request, now_us);
}

static void
time_over(void *arg)
{
	struct request *request = arg;
	uint64_t now_us = loop_now_us(request->server->loop);

	switch (request->state) {
	case REQUEST_PARAMS:
		request_reject(request, 408, "the params did not arrive");
		break;
	case REQUEST_BODY:
		request_refuse(request, 408, "the body did not arrive");
		break;
	case REQUEST_RUNNING:
		deadline_check(request, now_us);
		break;
	case REQUEST_LEFT:
		left_check(request, now_us);
		break;
	case REQUEST_MEASURING:
		request_measured(request, 0);
		break;
	default:
		break;
	}
}

/* The next moment at which a running execution may be over its time. */
static uint64_t
running_until(const struct request *request)
{
	uint64_t timeout_ms = request_limit(request, LIMIT_TIMEOUT_MS);
	uint64_t stall_ms = request_limit(request, LIMIT_STALL_TIMEOUT_MS);
	uint64_t until = 0;

	if (timeout_ms > 0)
		until = request->granted_us + timeout_ms * 1000;
	if (stall_ms > 0 && (until == 0 ||
	    request->relay.progress_us + stall_ms * 1000 < until))
		until = request->relay.progress_us + stall_ms * 1000;
	return until;
}

/* The grace is part of the total time, not more of it. */
static uint64_t
left_until(const struct request *request)
{
	uint64_t until = running_until(request);
	uint64_t grace_until = request->left_us +
	    request_limit(request, LIMIT_ABORT_GRACE_MS) * 1000;

	return until == 0 || grace_until < until ? grace_until : until;
}

/* A body that must come first has the time that its execution would have, in
 * total, and each piece has its own. */
static uint64_t
body_until(const struct request *request, uint64_t now_us)
{
	uint64_t timeout_ms = request_limit(request, LIMIT_TIMEOUT_MS);
	uint64_t until = now_us + PARAMS_TIMEOUT_US;

	if (timeout_ms > 0 && request->arrived_us + timeout_ms * 1000 < until)
		until = request->arrived_us + timeout_ms * 1000;
	return until;
}

void
request_arm(struct request *request)
{
	struct loop *loop = request->server->loop;
	uint64_t now_us = loop_now_us(loop), when_us = 0;

	switch (request->state) {
	case REQUEST_PARAMS:
		when_us = now_us + PARAMS_TIMEOUT_US;
		break;
	case REQUEST_BODY:
		when_us = body_until(request, now_us);
		break;
	case REQUEST_RUNNING:
		when_us = running_until(request);
		break;
	case REQUEST_LEFT:
		when_us = left_until(request);
		break;
	case REQUEST_MEASURING:
		when_us = now_us + MEASURE_TIMEOUT_US;
		break;
	default:
		break;
	}
	if (when_us == 0)
		loop_timer_cancel(loop, &request->timer);
	else if (loop_timer_set(loop, &request->timer, when_us, time_over,
	    request) < 0)
		log_event(LOG_ERROR, "memory", "timer=request");
}

/* ---- the relay's events ---- */

static void
relay_output(void *arg)
{
	struct request *request = arg;

	if (request->owner != NULL)
		request->ops->flush(request->owner);
}

static void
relay_done(void *arg)
{
	request_ended(arg);
}

static void
relay_gone(void *arg)
{
	request_gone(arg);
}

static void
relay_measured(void *arg, uint64_t memory_kib)
{
	struct request *request = arg;

	if (request->state == REQUEST_MEASURING)
		request_memory_read(request, memory_kib);
}

static void
relay_failed(void *arg, int error)
{
	struct request *request = arg;

	if (request->state != REQUEST_RUNNING &&
	    request->state != REQUEST_LEFT)
		return;
	request_kill(request, OUTCOME_ERROR, error == 0 ? 502 : 503,
	    request->relay.problem);
}

static const struct relay_events relay_events = {
	.output = relay_output,
	.done = relay_done,
	.gone = relay_gone,
	.measured = relay_measured,
	.failed = relay_failed,
};

/* ---- what the connection calls ---- */

struct request *
request_new(struct server *server, const struct request_ops *ops, void *owner,
    struct buf *out, uint16_t id, uint16_t role, const char *trigger,
    bool is_over)
{
	struct request *request = calloc(1, sizeof(*request));

	if (request == NULL)
		return NULL;
	request->params = params_new(PARAMS_BYTES_MAX, PARAMS_COUNT_MAX);
	if (request->params == NULL) {
		free(request);
		return NULL;
	}
	request->server = server;
	request->ops = ops;
	request->owner = owner;
	request->out = out;
	request->id = id;
	request->trigger = trigger;
	request->is_over = is_over;
	request->content_length = -1;
	request->arrived_us = loop_now_us(server->loop);
	server->active++;
	relay_init(&request->relay, server->loop, server->spool_fd, 0,
	    &server->written_all, &relay_events, request);
	relay_set_out(&request->relay, out, id);
	request->relay.role = role;
	if (server->active > CROWD)
		request->relay.spool.mem_max = CROWD_SPOOL_BYTES;
	request_arm(request);
	return request;
}

void
request_params(struct request *request, const uint8_t *data, size_t n)
{
	if (request->state != REQUEST_PARAMS || request->params_error < 0)
		return;
	request->params_error = params_feed(request->params, data, n);
}

void
request_params_end(struct request *request)
{
	if (request->state != REQUEST_PARAMS)
		return;
	if (request->params_error == 0)
		request->params_error = params_finish(request->params);
	if (request->params_error == -EMSGSIZE)
		request_reject(request, 431,
		    "the request's header fields are too large");
	else if (request->params_error < 0)
		request_reject(request, 400, "the params are malformed");
	else
		request_admit(request);
}

/* The web server sent other than it announced, or more than is allowed. */
static void
body_fault(struct request *request, int status, const char *reason)
{
	if (request->state == REQUEST_RUNNING)
		request_kill(request, OUTCOME_ERROR, status, reason);
	else if (request->state == REQUEST_BODY ||
	    request->state == REQUEST_QUEUED)
		request_refuse(request, status, reason);
}

static void
spool_fault(struct request *request)
{
	request->extra = RETRY_AFTER;
	body_fault(request, 503, "the body could not be spooled: the host's "
	    "state directory is full, or gone");
}

static bool
takes_body(const struct request *request)
{
	return request->state == REQUEST_BODY ||
	    request->state == REQUEST_QUEUED ||
	    request->state == REQUEST_RUNNING;
}

void
request_body(struct request *request, const uint8_t *data, size_t n)
{
	uint64_t total = request->relay.bytes_in + n;

	/* an authorizer is told nothing of the body; behind a stream's end
	 * there is no more of it */
	if (request->state == REQUEST_PARAMS ||
	    request->relay.is_body_arrived ||
	    request->relay.role == FCGI_AUTHORIZER)
		return;
	if (!takes_body(request)) {
		request->relay.bytes_in = total;
		return;
	}
	if (request->content_length >= 0 &&
	    total > (uint64_t)request->content_length)
		body_fault(request, 400,
		    "the body is longer than CONTENT_LENGTH");
	else if (total > request_limit(request, LIMIT_BODY_MAX))
		body_fault(request, 413, "the body is over body_max");
	else if (relay_body(&request->relay, data, n) < 0)
		spool_fault(request);
	if (request->state == REQUEST_BODY)
		request_arm(request);
}

void
request_body_end(struct request *request)
{
	if (request->relay.is_body_arrived || request->state == REQUEST_PARAMS)
		return;
	if (takes_body(request) && request->content_length >= 0 &&
	    request->relay.bytes_in != (uint64_t)request->content_length)
		body_fault(request, 400,
		    "the body is shorter than CONTENT_LENGTH");
	relay_body_end(&request->relay);
	if (request->state == REQUEST_BODY) {
		request->content_length = (int64_t)request->relay.bytes_in;
		request_submit(request);
	}
}

/* It runs as long as it may, whether its client waits or not. */
static bool
is_abort_ignored(const struct request *request)
{
	uint64_t timeout_ms = request_limit(request, LIMIT_TIMEOUT_MS);

	return timeout_ms > 0 &&
	    request_limit(request, LIMIT_ABORT_GRACE_MS) >= timeout_ms;
}

/* Nobody waits for the answer any more. */
static void
stop_answering(struct request *request)
{
	relay_set_out(&request->relay, NULL, request->id);
	if (request->state == REQUEST_QUEUED)
		pool_cancel(request->server->pools, &request->waiter);
	if (request->slot != NULL)
		request_fault(request, OUTCOME_ABORTED, 0, "the client left");
	request_step(request, REQUEST_EVENT_LEAVE);
	if (request->state == REQUEST_LEFT && !is_abort_ignored(request))
		relay_abort(&request->relay);
	/* what stood in the way of reading on was the client */
	relay_pump(&request->relay);
}

void
request_abort(struct request *request)
{
	request->is_aborted = true;
	/* later states answer with their record; this one has none */
	if (request->state == REQUEST_PARAMS)
		request->is_whole = fcgi_put_end(request->out, request->id, 0,
		    FCGI_REQUEST_COMPLETE) == 0;
	stop_answering(request);
}

void
request_leave(struct request *request)
{
	request->owner = NULL;
	request->out = NULL;
	stop_answering(request);
}

void
request_hurry(struct request *request)
{
	if (request->state == REQUEST_PARAMS || request->state == REQUEST_BODY)
		request->extra = RETRY_AFTER;
	if (request->state == REQUEST_PARAMS)
		request_reject(request, 503, "the host is ending");
	else if (request->state == REQUEST_BODY)
		request_refuse(request, 503, "the host is ending");
}

void
request_drained(struct request *request)
{
	request->relay.progress_us = loop_now_us(request->server->loop);
	relay_pump(&request->relay);
}

bool
request_may_send(const struct request *request)
{
	/* its end comes with this turn of the loop: both are one packet */
	if (request->state == REQUEST_RECORDING)
		return false;
	/* an answer of our own needs no rest of a body */
	return request->state == REQUEST_DONE ||
	    relay_may_send(&request->relay);
}

bool
request_is_body_arrived(const struct request *request)
{
	return request->relay.is_body_arrived;
}

bool
request_is_read(const struct request *request)
{
	if (request->relay.is_body_arrived)
		return true;
	if (request->content_length < 0) /* a POST may be in chunks */
		return request->relay.bytes_in == 0 &&
		    cgi_method_is_safe(request->relay.method);
	return request->relay.bytes_in == (uint64_t)request->content_length;
}
