/* From complete params to the queue: route, bounds, admission, environment. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/exec_env.h"
#include "fcgi-host/log.h"
#include "fcgi-host/request_impl.h"
#include "fcgi-host/sock.h"

/* An instance that has just answered is the next one's, though it may be about
 * to end; where each program ends with its first answer, one request may meet
 * some of them. */
#define RETURNS_MAX 16
#define SHORT "the host is short of descriptors or memory"
#define WRITING "the function is being written: a file of it is open for " \
    "writing, or empty"

uint64_t
request_limit(const struct request *request, enum limit_key key)
{
	return request->route.function->info.limits.value[key];
}

/* An id from outside goes into logs and records: short and harmless, or none. */
static bool
id_is_usable(const char *id)
{
	size_t n = id == NULL ? 0 : strlen(id);

	if (n == 0 || n > RECORD_REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) &&
		    strchr("._:@/+=-", id[i]) == NULL)
			return false;
	return true;
}

static void
id_choose(const struct request *request, struct record_exec *record)
{
	const char *id = params_get(request->params, "REQUEST_ID");
	char run[BUF_DIGITS_SIZE], number[BUF_DIGITS_SIZE];

	if (!id_is_usable(id))
		id = params_get(request->params, "HTTP_X_REQUEST_ID");
	if (id_is_usable(id))
		strcpy(record->request_id, id);
	else
		strcpy(stpcpy(stpcpy(record->request_id,
		    buf_hex(run, request->server->run_id)), "-"),
		    buf_digits(number, record->number, 1));
}

static bool
method_is_usable(const char *method)
{
	size_t n = method == NULL ? 0 : strlen(method);

	if (n == 0 || n > RECORD_METHOD_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalpha((unsigned char)method[i]) && method[i] != '-')
			return false;
	return true;
}

static void
method_choose(struct request *request)
{
	const char *method = params_get(request->params, "REQUEST_METHOD");

	strcpy(request->relay.method,
	    method_is_usable(method) ? method : "GET");
}

static void
function_note(struct record_exec *record, const struct ctl_function *info)
{
	memcpy(record->version, info->version, sizeof(record->version));
	memcpy(record->runtime, info->runtime, sizeof(record->runtime));
	record->mem_limit_mib =
	    record_mib(info->limits.value[LIMIT_MEMORY_BYTES]);
	record->deadline_ms = info->limits.value[LIMIT_TIMEOUT_MS];
}

/* The record's facts that stand from the start: they are all that remains of
 * an execution whose gateway dies. */
static void
slot_fill(struct request *request)
{
	const struct ctl_function *info = &request->route.function->info;
	struct record_exec *record = &request->slot->record;

	record->number = inflight_next_number(request->server->inflight);
	record->run_id = request->server->run_id;
	record->time_us = loop_clock_real_us();
	record->trigger = request->trigger;
	record->exit_code = -1;
	strcpy(record->method, request->relay.method);
	memcpy(record->tenant, info->tenant, sizeof(record->tenant));
	memcpy(record->function, info->name, sizeof(record->function));
	function_note(record, info);
	id_choose(request, record);
	request->slot->is_invoke = strcmp(request->trigger, "invoke") == 0;
}

static int
execution_admit(struct request *request)
{
	struct server *server = request->server;
	int error = ledger_admit(server->ledger);

	if (error < 0)
		return error;
	request->slot = inflight_take(server->inflight);
	if (request->slot == NULL) {
		ledger_release(server->ledger);
		return -EBUSY;
	}
	slot_fill(request);
	server->executions++;
	return 0;
}

static int
length_parse(struct request *request)
{
	const char *text = params_get(request->params, "CONTENT_LENGTH");
	uint64_t length = 0;

	/* without a length a body may come, until STDIN's end says otherwise;
	 * Caddy's word for none is -1 */
	request->relay.has_body = true;
	if (request->relay.role == FCGI_AUTHORIZER) {
		request->relay.has_body = false;
		request->relay.is_body_arrived = true;
		return 0;
	}
	if (text == NULL || text[0] == '\0' || strcmp(text, "-1") == 0)
		return 0;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || length > INT64_MAX / 16)
			return -EINVAL;
		length = length * 10 + (uint64_t)(*text - '0');
	}
	request->content_length = (int64_t)length;
	request->relay.has_body = length > 0;
	return 0;
}

static void
not_served_log(struct request *request)
{
	const struct ctl_function *info = &request->route.function->info;
	uint32_t suppressed = 0;

	if (log_limit_pass(&request->server->not_served_limit, 10, 10000,
	    loop_now_us(request->server->loop), &suppressed))
		log_event(LOG_WARN, "not_served",
		    "function=%s why=\"%s; see fcgi-host list\" suppressed=%u",
		    info->name, ctl_problem_text((enum ctl_problem)
		    info->problem), suppressed);
}

/* The one problem that passes by itself, and which a visitor may be told. */
static bool
is_being_written(const struct function *function)
{
	return function->info.problem == CTL_PROBLEM_WRITING;
}

static const char no_path[] = "The web server told no path: none of "
    "DOCUMENT_URI, REQUEST_URI and SCRIPT_NAME. In nginx one fastcgi_param in a "
    "block drops all that stand further out: write `include fastcgi_params;` "
    "beside it.";

static bool
is_path_told(const struct params *params)
{
	static const char *const names[] = { "DOCUMENT_URI", "REQUEST_URI",
		"SCRIPT_NAME", "PATH_INFO" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = params_get(params, names[i]);

		if (value != NULL && *value != '\0')
			return true;
	}
	return false;
}

/* 0, or the request is answered.  0 also of a function that is being written: it
 * is there, so this is an execution, and will be a refused one. */
static int
route_choose(struct request *request)
{
	bool is_authorizer = request->relay.role == FCGI_AUTHORIZER;
	int error = (is_authorizer ? route_find_authorizer : route_find)(
	    request->server->conf, request->server->catalog, request->params,
	    &request->route);

	if (error == 0 || error == -EBUSY) {
		request->has_route = true;
		function_ref(request->route.function);
	}
	if (error == -EBUSY)
		not_served_log(request);
	if (error == 0 || (error == -EBUSY &&
	    is_being_written(request->route.function)))
		return 0;
	if (error == -ENOENT || error == -EBUSY)
		request_reject(request, 404, is_authorizer ?
		    "FCGI_HOST_AUTHORIZER names no function." :
		    "There is no such function.");
	else if (error == -EINVAL)
		request_reject(request, 400, is_path_told(request->params) ?
		    "The request's path is unusable." : no_path);
	else
		request_reject(request, 503, "There is no memory left.");
	return error;
}

static void
function_set(struct request *request, struct function *function)
{
	function_ref(function);
	function_unref(request->route.function);
	request->route.function = function;
}

/* While the body was held the function may have changed: the queue is the
 * current one's, and the environment too. */
static bool
function_renew(struct request *request)
{
	struct function *now = catalog_find(request->server->catalog,
	    request->route.function->info.name);

	if (now == NULL || now->info.problem != CTL_PROBLEM_NONE)
		return false;
	function_set(request, now);
	return true;
}

/* It was there when the request came. */
static void
gone_refuse(struct request *request)
{
	const struct function *now = catalog_find(request->server->catalog,
	    request->route.function->info.name);
	bool will_be_back = now != NULL && is_being_written(now);

	if (will_be_back)
		request->extra = RETRY_AFTER;
	request_refuse(request, will_be_back ? 503 : 404, will_be_back ?
	    WRITING : "the function was removed");
}

void
request_submit(struct request *request)
{
	int error;

	if (!function_renew(request)) {
		gone_refuse(request);
		return;
	}
	error = pool_submit(request->server->pools, request->route.function,
	    &request->waiter);
	request->submitted_us = loop_now_us(request->server->loop);
	if (error == 0) {
		request_step(request, REQUEST_EVENT_SUBMIT);
		return;
	}
	request->extra = RETRY_AFTER;
	request_refuse(request, 503, error == -EAGAIN ?
	    "the function's queue is full" : "there is no memory left");
}

static void
refused(void *arg, enum pool_refusal why)
{
	static const struct {
		int status;
		const char *reason;
	} answers[POOL_REFUSAL_COUNT] = {
		[POOL_QUEUE_FULL] = { 503, "the function's queue is full" },
		[POOL_QUEUE_TIMEOUT] =
		    { 503, "no instance was free within queue_timeout" },
		[POOL_TENANT_INSTANCES] = { 503, "no instance was free within "
		    "queue_timeout: the tenant is at its max_instances" },
		[POOL_TENANT_MEMORY] = { 503, "no instance was free within "
		    "queue_timeout: the tenant is at its max_memory" },
		[POOL_MACHINE_MEMORY] = { 503, "no instance was free within "
		    "queue_timeout: the machine has too little memory left" },
		[POOL_START_FAILED] =
		    { 502, "the function's sandbox could not be started" },
		[POOL_NO_SPACE] =
		    { 503, "the accounting log has no room for a record" },
		[POOL_SHORTAGE] = { 503, "the host is short of descriptors, "
		    "processes or memory" },
		[POOL_ENDING] = { 503, "the host is ending" },
		[POOL_UNBUILT] =
		    { 500, "the function's program could not be built" },
		[POOL_THROTTLED] = { 502, "the function ended before its first "
		    "answer, again and again; it is tried anew soon" },
	};
	struct request *request = arg;

	if (why == POOL_FUNCTION_GONE) {
		gone_refuse(request);
		return;
	}
	if (answers[why].status == 503)
		request->extra = RETRY_AFTER;
	if (why == POOL_START_FAILED)
		request_fault(request, OUTCOME_ERROR, answers[why].status,
		    answers[why].reason);
	request_refuse(request, answers[why].status, answers[why].reason);
}

/* What the wait was: for an instance's start, or for others' executions. */
static void
wait_split(struct request *request, struct instance *instance)
{
	struct record_exec *record = &request->slot->record;
	uint64_t now_us = loop_now_us(request->server->loop);
	uint64_t from_us = request->submitted_us;

	record->start = instance->served > 0 || instance->is_kept ||
	    (instance->is_program_running && !instance->is_spare) ?
	    START_WARM : instance->is_spare ? START_SPARE : instance->up_us <= from_us ? START_PREPARED :
	    START_FRESH;
	if (instance->asked_us > from_us)
		from_us = instance->asked_us;
	record->init_us = record->start == START_WARM || from_us > now_us ?
	    0 : now_us - from_us;
	if (record->start == START_FRESH)
		record->sandbox_us = instance->start_us < record->init_us ?
		    instance->start_us : record->init_us;
	record->queue_us = now_us - request->arrived_us - record->init_us;
	record->instance = instance->id;
	record->mem_start_source = instance_memory_start(instance,
	    &record->mem_start_kib);
	function_note(record, &instance->function->info);
	request->granted_us = now_us;
	request->slot->started_us = now_us;
}

/* The instance that was to run it has no part in it. */
static void
untake(struct request *request)
{
	struct record_exec *record = &request->slot->record;

	request->granted_us = 0;
	request->slot->started_us = 0;
	record->instance = 0;
	record->start = START_NONE;
	record->init_us = record->sandbox_us = record->mem_start_kib = 0;
	record->mem_start_source = SOURCE_NONE;
	instance_untake(request->relay.backend.instance);
	relay_close(&request->relay);
}

/* Nothing of the request has reached the instance; reason: why it serves no other,
 * or NULL. */
static void
give_up(struct request *request, const char *reason)
{
	struct instance *instance = request->relay.backend.instance;

	untake(request);
	pool_release(instance, reason, POOL_BLAMELESS);
	request_step(request, REQUEST_EVENT_GONE);
}

static void
give_up_short(struct request *request, const char *reason)
{
	request->extra = RETRY_AFTER;
	request_fault(request, OUTCOME_REFUSED, 503, SHORT);
	pool_hold(request->relay.backend.instance);
	give_up(request, reason);
}

static void
grant_failed(struct request *request, int error)
{
	struct instance *instance = request->relay.backend.instance;

	log_event(LOG_ERROR, "dispatch", "request=%s error=\"%s\"",
	    request->slot->record.request_id, strerror(-error));
	if (!request->relay.has_backend) {
		request_fault(request, OUTCOME_ERROR, 503,
		    "there is no memory left");
		request_step(request, REQUEST_EVENT_GONE);
	} else if (error == -EAGAIN) {
		/* its init or its program does not take what comes */
		request->extra = RETRY_AFTER;
		instance_kill(instance, "shortage");
		request_kill(request, OUTCOME_REFUSED, 503, SHORT);
	} else if (sock_is_shortage(-error)) {
		give_up_short(request, NULL);
	} else if (error == -E2BIG) {
		request_fault(request, OUTCOME_ERROR, 502,
		    "the environment is too large");
		give_up(request, NULL);
	} else {
		request_kill(request, OUTCOME_ERROR, 502,
		    "the request could not be handed to the instance");
	}
}

/* Why a budget refuses it, or NULL. */
static const char *
budget_refusal_of(struct request *request, int *status)
{
	struct budgets *budgets = request->server->budgets;
	char number[BUF_DIGITS_SIZE];
	struct budget_refusal refusal;

	if (budgets == NULL || !budgets_refuse(budgets,
	    &request->route.function->info, request->slot->record.time_us,
	    &refusal))
		return NULL;
	strcpy(stpcpy(stpcpy(request->retry_after, "Retry-After: "),
	    buf_digits(number, refusal.retry_s, 1)), "\r\n");
	request->extra = request->retry_after;
	*status = refusal.status;
	return refusal.reason;
}

/* Its budget may have been used up by those before whom it waited. */
static bool
used_up_refuse(struct request *request, struct instance *instance)
{
	int status = 0;
	const char *reason = budget_refusal_of(request, &status);

	if (reason == NULL)
		return false;
	pool_return(instance);
	request_refuse(request, status, reason);
	return true;
}

static void
granted(void *arg, struct instance *instance)
{
	struct request *request = arg;
	bool is_first = backend_needs_program(instance);
	struct exec_env exec;
	struct cgi_env *env, *program_env = NULL;
	int error = -ENOMEM;

	/* what runs, and with which settings, may be newer than what was asked
	 * for: the instance counts as one of the configuration that stands now */
	function_set(request, instance->function);
	if (used_up_refuse(request, instance))
		return;
	exec = (struct exec_env) {
		.conf = request->server->conf,
		.params = request->params,
		.route = &request->route,
		.request_id = request->slot->record.request_id,
		.instance = instance->id,
		.content_length = request->content_length,
		.role = request->relay.role,
	};
	env = exec_env_request(&exec);
	if (is_first)
		program_env = exec_env_program(&exec);
	wait_split(request, instance);
	request->is_program_start = is_first ||
	    !instance->function->info.is_fastcgi;
	request_step(request, REQUEST_EVENT_GRANT);
	if (env != NULL && (program_env != NULL || !is_first)) {
		error = relay_start(&request->relay, instance, env,
		    program_env, request->slot->record.request_id);
	} else {
		pool_hold(instance);
		pool_release(instance, NULL, POOL_BLAMELESS);
	}
	cgi_env_free(env);
	cgi_env_free(program_env);
	if (error < 0)
		grant_failed(request, error);
}

/* One that has served ends as it likes, and what it was handed a moment later it
 * has not seen.  One that has served nobody has failed: that is told. */
bool
request_return(struct request *request)
{
	const struct backend *backend = &request->relay.backend;
	struct instance *instance = backend->instance;

	if (backend->is_short && (request->state == REQUEST_RUNNING ||
	    request->state == REQUEST_LEFT)) {
		give_up_short(request,
		    backend->is_instance_usable ? NULL : "exit");
		return true;
	}
	if (!backend->is_undelivered || request->state != REQUEST_RUNNING ||
	    request->has_fault || instance->served <= 1 ||
	    request->returns >= RETURNS_MAX ||
	    !relay_take_back(&request->relay) ||
	    pool_resubmit(instance, &request->waiter) < 0)
		return false;
	request->returns++;
	request_step(request, REQUEST_EVENT_RETURN);
	untake(request);
	pool_release(instance, "exit", POOL_BLAMELESS);
	return true;
}

/* Why it is refused at once, or NULL. */
static const char *
refusal_of(struct request *request, int *status)
{
	if (is_being_written(request->route.function)) {
		*status = 503;
		request->extra = RETRY_AFTER;
		return WRITING;
	}
	if (request->is_over) {
		*status = 503;
		request->extra = RETRY_AFTER;
		return "the host has as many connections as max_connections "
		    "and its descriptors allow";
	}
	if (request->content_length >= 0 && (uint64_t)request->content_length >
	    request_limit(request, LIMIT_BODY_MAX)) {
		*status = 413;
		return "the body is over body_max";
	}
	return budget_refusal_of(request, status);
}

/* Or may be found to be one, when it is this request's turn. */
static bool
is_cgi(const struct request *request)
{
	const struct function *function = request->route.function;
	const struct conf_runtime *runtime = conf_runtime_by_name(
	    request->server->conf, function->reported_runtime);

	return !function->info.is_fastcgi ||
	    (function->check == CTL_CHECK_NONE && !function->info.is_chosen &&
	    runtime != NULL && runtime->otherwise != NULL);
}

/* A CGI program needs a length: without one, the whole body comes first. */
static bool
must_hold(const struct request *request)
{
	return request->content_length < 0 && is_cgi(request) &&
	    !request->relay.is_body_arrived;
}

void
request_admit(struct request *request)
{
	const char *reason;
	int status = 400;

	method_choose(request);
	if (route_choose(request) < 0)
		return;
	request->relay.head.header_max =
	    (size_t)request_limit(request, LIMIT_HEADER_MAX);
	request->waiter.granted = granted;
	request->waiter.refused = refused;
	request->waiter.arg = request;
	if (execution_admit(request) < 0) {
		request->extra = RETRY_AFTER;
		request_reject(request, 503,
		    "No execution can be recorded now, so none is run.");
		return;
	}
	if (length_parse(request) < 0)
		reason = "CONTENT_LENGTH is no number";
	else
		reason = refusal_of(request, &status);
	if (reason != NULL)
		request_refuse(request, status, reason);
	else if (must_hold(request))
		request_step(request, REQUEST_EVENT_HOLD);
	else
		request_submit(request);
}
