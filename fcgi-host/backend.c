#include "fcgi-host/backend.h"

#include <errno.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

static void
end_tell(void *arg)
{
	struct backend *backend = arg;

	if (backend->instance != NULL && backend->end != BACKEND_RUNNING)
		backend->events->ended(backend->arg);
}

void
backend_set_end(struct backend *backend, enum backend_end end)
{
	if (backend->end != BACKEND_RUNNING)
		return;
	backend->end = end;
	loop_timer_cancel(backend->instance->fleet->loop, &backend->grace);
	loop_defer(backend->instance->fleet->loop, &backend->task, end_tell,
	    backend);
}

static void
report_take(void *arg, const struct init_report *report)
{
	struct backend *backend = arg;

	if (report->type != INIT_MEMORY) {
		backend->kind->report(backend, report);
		return;
	}
	backend->instance->left_memory_kib = report->memory_now_kib;
	backend->events->measured(backend->arg, report->memory_kib);
}

static void
gone_take(void *arg)
{
	struct backend *backend = arg;

	backend->is_instance_usable = false;
	if (backend->end == BACKEND_RUNNING && backend->kind->gone != NULL)
		backend->kind->gone(backend);
	backend->events->gone(backend->arg);
}

static const struct instance_user as_user = {
	.report = report_take,
	.gone = gone_take,
};

/* A FastCGI program is started with the first request that its instance gets,
 * unless min_instances booted it: until then the instance is a prepared
 * sandbox. */
static int
program_start(struct instance *instance, const struct cgi_env *env)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 }, fds[2];
	struct buf block = { 0 };
	int error = cgi_env_put_block(env, &block);

	if (error == 0)
		error = sock_pipe(out);
	if (error == 0)
		error = sock_pipe(err);
	if (error < 0)
		goto out;
	fds[0] = out[1];
	fds[1] = err[1];
	/* the order comes last: what fails before it leaves init as it was */
	error = instance_watch_output(instance, &out[0], &err[0]);
	if (error == 0)
		error = instance_order(instance, INIT_RUN, &block, fds, 2);
	if (error == 0)
		instance->is_program_running = true;
out:
	for (int i = 0; i < 2; i++) {
		close_fd(&out[i]);
		close_fd(&err[i]);
	}
	buf_free(&block);
	return error;
}

bool
backend_needs_program(const struct instance *instance)
{
	return instance->function->info.is_fastcgi &&
	    !instance->is_program_running;
}

int
backend_boot(struct instance *instance, const struct cgi_env *env)
{
	return program_start(instance, env);
}

int
backend_start(struct backend *backend, struct instance *instance,
    const struct cgi_env *env, const struct cgi_env *program_env,
    const char *request_id, uint16_t role, bool has_body,
    const struct backend_events *events, void *arg)
{
	bool is_fastcgi = instance->function->info.is_fastcgi;
	/* may be queued still, by an instance that has handed the request back */
	const struct loop_task task = backend->task;
	int error = 0;

	memset(backend, 0, sizeof(*backend));
	backend->task = task;
	backend->kind = is_fastcgi ? &backend_fcgi : &backend_cgi;
	backend->instance = instance;
	backend->events = events;
	backend->arg = arg;
	backend->role = role;
	backend->exit_code = -1;
	backend->in_fd = backend->out_fd = backend->err_fd = -1;
	backend->in_io.fd = backend->out_io.fd = backend->err_io.fd = -1;
	strncpy(backend->request_id, request_id,
	    sizeof(backend->request_id) - 1);
	funclog_init(&backend->log, instance->function->info.name,
	    instance->id, instance->log_quota);
	instance_take(instance, &as_user, backend, request_id);
	if (backend_needs_program(instance))
		error = program_start(instance, program_env);
	if (error == 0)
		error = backend->kind->start(backend, env, has_body);
	return error;
}

ssize_t
backend_read(struct backend *backend, void *out, size_t size)
{
	if (backend->is_eof)
		return 0;
	return backend->kind->read(backend, out, size);
}

ssize_t
backend_write(struct backend *backend, const void *data, size_t n)
{
	return backend->kind->write(backend, data, n);
}

int
backend_body_end(struct backend *backend)
{
	if (backend->is_body_ended)
		return 0;
	backend->is_body_ended = true;
	return backend->kind->body_end(backend);
}

void
backend_abort(struct backend *backend)
{
	if (backend->kind->abort == NULL || backend->is_aborted ||
	    backend->is_eof || backend->end != BACKEND_RUNNING)
		return;
	backend->is_aborted = true;
	backend->kind->abort(backend);
}

void
backend_want(struct backend *backend, bool is_read, bool is_write)
{
	backend->kind->want(backend, is_read, is_write);
}

bool
backend_has_ended(const struct backend *backend)
{
	return backend->end != BACKEND_RUNNING || backend->is_program_dead;
}

int
backend_measure(struct backend *backend)
{
	if (backend->instance->init_io.fd < 0)
		return -ESRCH;
	return instance_order(backend->instance, INIT_MEASURE, NULL, NULL, 0);
}

void
backend_close(struct backend *backend)
{
	struct instance *instance = backend->instance;

	if (instance == NULL)
		return;
	loop_timer_cancel(instance->fleet->loop, &backend->grace);
	backend->kind->close(backend);
	buf_free(&backend->sending);
	buf_free(&backend->sent);
	backend->instance = NULL;
	instance_let_go(instance);
}
