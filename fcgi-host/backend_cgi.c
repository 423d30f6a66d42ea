/*
 * A CGI program: its three pipes, and init's word about its end.  init sends
 * INIT_EXIT only after everything that could hold a pipe's end is dead, so the
 * answer always ends.
 */
#include "fcgi-host/backend.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

/* An empty line costs as much as a long one: so little of stderr is read before
 * others have their turn.  More than a pipe holds is read where it has ended. */
#define ERR_BYTES 4096
#define ERR_READS_MAX 256

static void
out_ready(void *arg, uint32_t events)
{
	struct backend *backend = arg;

	(void)events;
	backend->events->readable(backend->arg);
}

static void
in_ready(void *arg, uint32_t events)
{
	struct backend *backend = arg;

	(void)events;
	backend->events->writable(backend->arg);
}

/* Returns whether there may be more. */
static bool
err_read(struct backend *backend)
{
	struct loop *loop = backend->instance->fleet->loop;
	char data[ERR_BYTES];
	ssize_t n = read(backend->err_fd, data, sizeof(data));

	if (n > 0)
		funclog_feed(&backend->log, backend->request_id, data,
		    (size_t)n, loop_now_us(loop));
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return n > 0;
	loop_io_del(loop, &backend->err_io);
	close_fd(&backend->err_fd);
	return false;
}

static void
err_drain(struct backend *backend)
{
	for (int i = 0; i < ERR_READS_MAX && backend->err_fd >= 0; i++)
		if (!err_read(backend))
			return;
}

static void
err_ready(void *arg, uint32_t events)
{
	(void)events;
	(void)err_read(arg);
}

static void
cgi_want(struct backend *backend, bool is_read, bool is_write)
{
	struct loop *loop = backend->instance->fleet->loop;

	/* a pipe whose other end is closed reports that even without interest:
	 * what is not wanted is not registered */
	if (!is_read || backend->out_fd < 0)
		loop_io_del(loop, &backend->out_io);
	else if (backend->out_io.fd < 0 &&
	    loop_io_add(loop, &backend->out_io, backend->out_fd, EPOLLIN,
	    out_ready, backend) < 0)
		backend_set_end(backend, BACKEND_LOST);
	if (!is_write || backend->in_fd < 0)
		loop_io_del(loop, &backend->in_io);
	else if (backend->in_io.fd < 0 &&
	    loop_io_add(loop, &backend->in_io, backend->in_fd, EPOLLOUT,
	    in_ready, backend) < 0)
		backend_set_end(backend, BACKEND_LOST);
}

static int
cgi_start(struct backend *backend, const struct cgi_env *env, bool has_body)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	struct buf block = { 0 };
	int fds[3];
	int error = cgi_env_put_block(env, &block);

	if (error == 0)
		error = sock_pipe(in);
	if (error == 0)
		error = sock_pipe(out);
	if (error == 0)
		error = sock_pipe(err);
	if (error < 0)
		goto out;
	fds[0] = in[0];
	fds[1] = out[1];
	fds[2] = err[1];
	fd_set_nonblock(in[1], true);
	fd_set_nonblock(out[0], true);
	fd_set_nonblock(err[0], true);
	backend->in_fd = has_body ? steal_fd(&in[1]) : -1;
	backend->out_fd = steal_fd(&out[0]);
	backend->err_fd = steal_fd(&err[0]);
	error = loop_io_add(backend->instance->fleet->loop, &backend->err_io,
	    backend->err_fd, EPOLLIN, err_ready, backend);
	/* it comes last: what fails before it leaves init as it was */
	if (error == 0)
		error = instance_order(backend->instance, INIT_RUN, &block,
		    fds, 3);
out:
	for (int i = 0; i < 2; i++) {
		close_fd(&in[i]);
		close_fd(&out[i]);
		close_fd(&err[i]);
	}
	buf_free(&block);
	return error;
}

static ssize_t
cgi_read(struct backend *backend, void *out, size_t size)
{
	ssize_t n;

	if (backend->out_fd < 0)
		return -EAGAIN;
	n = read(backend->out_fd, out, size);
	if (n > 0)
		return n;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	backend->is_eof = true;
	loop_io_del(backend->instance->fleet->loop, &backend->out_io);
	close_fd(&backend->out_fd);
	return 0;
}

static ssize_t
cgi_write(struct backend *backend, const void *data, size_t n)
{
	ssize_t out;

	if (backend->in_fd < 0)
		return -EPIPE;
	out = write(backend->in_fd, data, n);
	if (out >= 0)
		return out;
	return errno == EINTR ? -EAGAIN : -errno;
}

static int
cgi_body_end(struct backend *backend)
{
	loop_io_del(backend->instance->fleet->loop, &backend->in_io);
	close_fd(&backend->in_fd);
	return 0;
}

static void
cgi_report(struct backend *backend, const struct init_report *report)
{
	int status = report->wait_status;

	if (report->serial != backend->instance->serial) {
		backend->problem = "init sent a report out of turn";
		backend_set_end(backend, BACKEND_LOST);
		return;
	}
	err_drain(backend);
	if (report->type == INIT_EXEC_FAILED)
		backend->exec_error = report->value;
	else if (WIFSIGNALED(status))
		backend->signal_number = WTERMSIG(status);
	else
		backend->exit_code = WEXITSTATUS(status);
	backend->user_us = report->user_us;
	backend->system_us = report->system_us;
	backend->memory_kib = report->memory_kib;
	backend->is_instance_usable = report->type == INIT_EXIT;
	backend_set_end(backend, report->type == INIT_DIRTY ?
	    BACKEND_DIRTY : BACKEND_ENDED);
}

static void
cgi_close(struct backend *backend)
{
	struct loop *loop = backend->instance->fleet->loop;

	err_drain(backend);
	funclog_end(&backend->log, backend->request_id, loop_now_us(loop));
	loop_io_del(loop, &backend->in_io);
	loop_io_del(loop, &backend->out_io);
	loop_io_del(loop, &backend->err_io);
	close_fd(&backend->in_fd);
	close_fd(&backend->out_fd);
	close_fd(&backend->err_fd);
}

const struct backend_kind backend_cgi = {
	.start = cgi_start,
	.read = cgi_read,
	.write = cgi_write,
	.body_end = cgi_body_end,
	.want = cgi_want,
	.report = cgi_report,
	.close = cgi_close,
};
