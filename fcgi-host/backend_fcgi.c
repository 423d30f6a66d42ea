/*
 * A FastCGI program: one connection per execution to the socket that the host
 * owns, made only to dispatch (libfcgi hangs up after two silent seconds) and
 * closed at END_REQUEST (its close waits for the peer).  Source: FastCGI 1.0.
 */
#include "fcgi-host/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define REQUEST_ID 1
#define SENDING_MAX (64u * 1024)
#define RECEIVE_SIZE (32u * 1024)
/* records that hold no answer, stderr above all, come without end from a
 * program that floods: so much of them is read before others have their turn */
#define READS_PER_CALL 4
/* a broken connection waits so long for init to say how the program ended */
#define GRACE_US 300000

static void fcgi_ready(void *arg, uint32_t events);

static void
interest_set(struct backend *backend)
{
	struct loop *loop = backend->instance->fleet->loop;
	uint32_t events = 0;
	int error = 0;

	if (backend->in_fd < 0 || backend->is_broken) {
		loop_io_del(loop, &backend->in_io);
		return;
	}
	if (backend->wants_read)
		events |= EPOLLIN;
	if (backend->wants_write || buf_len(&backend->sending) > 0)
		events |= EPOLLOUT;
	if (events == 0)
		loop_io_del(loop, &backend->in_io);
	else if (backend->in_io.fd < 0)
		error = loop_io_add(loop, &backend->in_io, backend->in_fd,
		    events, fcgi_ready, backend);
	else
		error = loop_io_set(loop, &backend->in_io, events);
	if (error < 0)
		backend_set_end(backend, BACKEND_LOST);
}

static void
grace_over(void *arg)
{
	struct backend *backend = arg;

	backend_set_end(backend, BACKEND_LOST);
}

/* The program is gone or spoke nonsense: init's report, which tells the two
 * apart, is on its way or will never come. */
static void
broken(struct backend *backend, const char *problem)
{
	struct loop *loop = backend->instance->fleet->loop;

	backend->is_eof = true;
	if (backend->is_broken || backend->end != BACKEND_RUNNING)
		return;
	backend->is_broken = true;
	backend->is_instance_usable = false;
	if (backend->problem == NULL)
		backend->problem = problem;
	loop_io_del(loop, &backend->in_io);
	if (!backend->instance->is_program_running ||
	    loop_timer_set(loop, &backend->grace, loop_now_us(loop) + GRACE_US,
	    grace_over, backend) < 0)
		backend_set_end(backend, BACKEND_LOST);
}

static void
sending_flush(struct backend *backend)
{
	while (buf_len(&backend->sending) > 0) {
		ssize_t n = send(backend->in_fd, buf_head(&backend->sending),
		    buf_len(&backend->sending), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			buf_consume(&backend->sending, (size_t)n);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* it reads no more; an answer may still come */
		buf_reset(&backend->sending, 0);
		backend->is_body_ended = true;
		return;
	}
}

static int
fcgi_start(struct backend *backend, const struct cgi_env *env, bool has_body)
{
	struct buf params = { 0 };
	char path[32];
	int error;

	(void)has_body;
	snprintf(path, sizeof(path), "/%" PRIu64 ".sock",
	    backend->instance->id);
	error = sock_connect_unix(path);
	if (error < 0)
		return error;
	backend->in_fd = error;
	error = cgi_env_put_params(env, &params);
	if (error == 0)
		error = fcgi_put_begin(&backend->sending, REQUEST_ID,
		    backend->role, 0);
	if (error == 0)
		error = fcgi_put_stream(&backend->sending, FCGI_PARAMS,
		    REQUEST_ID, params.data + params.start, buf_len(&params));
	if (error == 0)
		error = fcgi_put_stream_end(&backend->sending, FCGI_PARAMS,
		    REQUEST_ID);
	buf_free(&params);
	return error;
}

static ssize_t
fcgi_write(struct backend *backend, const void *data, size_t n)
{
	size_t part = n < RECEIVE_SIZE ? n : RECEIVE_SIZE;

	if (backend->is_broken || backend->is_body_ended)
		return -EPIPE;
	if (buf_len(&backend->sending) >= SENDING_MAX)
		return -EAGAIN;
	if (fcgi_put_stream(&backend->sending, FCGI_STDIN, REQUEST_ID, data,
	    part) < 0)
		return -ENOMEM;
	sending_flush(backend);
	interest_set(backend);
	return (ssize_t)part;
}

static int
fcgi_body_end(struct backend *backend)
{
	if (backend->is_broken)
		return 0;
	/* sent by fcgi_want, a short request in one piece */
	return fcgi_put_stream_end(&backend->sending, FCGI_STDIN, REQUEST_ID);
}

static void
end_request(struct backend *backend)
{
	uint32_t app_status;
	uint8_t protocol_status;

	if (backend->small_have < sizeof(backend->small)) {
		broken(backend, "END_REQUEST is too short");
		return;
	}
	fcgi_read_end(backend->small, &app_status, &protocol_status);
	backend->is_eof = true;
	/* it ended this request in good form, whatever it died of later */
	backend->signal_number = 0;
	loop_io_del(backend->instance->fleet->loop, &backend->in_io);
	if (protocol_status != FCGI_REQUEST_COMPLETE) {
		broken(backend, "the program refused the request");
		return;
	}
	backend->exit_code = (int)(app_status & 0x7fffffff);
	backend->is_instance_usable = backend->instance->is_program_running;
	backend_set_end(backend, BACKEND_ENDED);
}

static void
data_take(struct backend *backend, uint8_t *out, size_t *used)
{
	const struct fcgi_parser *parser = &backend->parser;
	size_t room = sizeof(backend->small) - backend->small_have;

	if (parser->id != REQUEST_ID)
		return;
	switch (parser->type) {
	case FCGI_STDOUT:
		memcpy(out + *used, parser->data, parser->length);
		*used += parser->length;
		break;
	case FCGI_STDERR:
		funclog_feed(&backend->log, backend->request_id,
		    (const char *)parser->data, parser->length,
		    loop_now_us(backend->instance->fleet->loop));
		break;
	case FCGI_END_REQUEST:
		if (room > parser->length)
			room = parser->length;
		memcpy(backend->small + backend->small_have, parser->data,
		    room);
		backend->small_have += room;
		break;
	default:
		break;
	}
}

/* Content is never longer than what was fed, so that it fits into out. */
static size_t
received_parse(struct backend *backend, uint8_t *out, size_t size)
{
	const uint8_t *input = buf_head(&backend->received);
	size_t n = buf_len(&backend->received);
	size_t left, used = 0;

	if (n > size)
		n = size;
	left = n;
	while (!backend->is_eof) {
		enum fcgi_event event = fcgi_parse(&backend->parser, &input,
		    &left);

		if (event == FCGI_EVENT_BAD) {
			broken(backend, "the program does not speak FastCGI");
			break;
		}
		/* END comes when no input is left, too. */
		if (event == FCGI_EVENT_DATA)
			data_take(backend, out, &used);
		else if (event == FCGI_EVENT_END &&
		    backend->parser.type == FCGI_END_REQUEST &&
		    backend->parser.id == REQUEST_ID)
			end_request(backend);
		else if (event == FCGI_EVENT_MORE)
			break;
	}
	buf_consume(&backend->received, n - left);
	return used;
}

static int
received_fill(struct backend *backend)
{
	uint8_t *room = buf_reserve(&backend->received, RECEIVE_SIZE);
	ssize_t n;

	if (room == NULL)
		return -ENOMEM;
	n = recv(backend->in_fd, room, RECEIVE_SIZE, MSG_DONTWAIT);
	if (n > 0) {
		buf_commit(&backend->received, (size_t)n);
		return 0;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	broken(backend, "the connection closed before the answer's end");
	return 0;
}

static ssize_t
fcgi_read(struct backend *backend, void *out, size_t size)
{
	for (int i = 0; i < READS_PER_CALL && !backend->is_eof; i++) {
		size_t used;
		int error = 0;

		if (buf_len(&backend->received) == 0)
			error = received_fill(backend);
		if (error < 0)
			return error;
		used = received_parse(backend, out, size);
		if (used > 0)
			return (ssize_t)used;
	}
	return backend->is_eof ? 0 : -EAGAIN;
}

static void
fcgi_ready(void *arg, uint32_t events)
{
	struct backend *backend = arg;

	if (events & EPOLLOUT) {
		sending_flush(backend);
		if (backend->wants_write &&
		    buf_len(&backend->sending) < SENDING_MAX)
			backend->events->writable(backend->arg);
	}
	if (backend->instance != NULL)
		interest_set(backend);
	if (backend->instance != NULL &&
	    (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 &&
	    backend->wants_read)
		backend->events->readable(backend->arg);
}

static void
fcgi_want(struct backend *backend, bool is_read, bool is_write)
{
	backend->wants_read = is_read && !backend->is_eof;
	backend->wants_write = is_write && !backend->is_body_ended;
	if (!backend->is_broken)
		sending_flush(backend);
	interest_set(backend);
}

/*
 * The program itself has ended, and its init follows.  What it wrote before
 * stands in the socket, perhaps behind a client that reads slowly: it is taken
 * now, since an END_REQUEST among it makes the difference between a program
 * that retires after its answer and one that failed.
 */
static void
fcgi_report(struct backend *backend, const struct init_report *report)
{
	int status = report->wait_status;

	backend->is_instance_usable = false;
	if (backend->end != BACKEND_RUNNING)
		return;
	if (report->type == INIT_EXEC_FAILED)
		backend->exec_error = report->value;
	else if (WIFSIGNALED(status))
		backend->signal_number = WTERMSIG(status);
	else
		backend->exit_code = WEXITSTATUS(status);
	if (backend->is_broken) {
		backend_set_end(backend, BACKEND_LOST);
		return;
	}
	backend->is_program_dead = true;
	/* what it had accepted ends by itself; what it had not never will */
	if (loop_timer_set(backend->instance->fleet->loop, &backend->grace,
	    loop_now_us(backend->instance->fleet->loop) + GRACE_US,
	    grace_over, backend) < 0)
		backend_set_end(backend, BACKEND_LOST);
	backend->events->readable(backend->arg);
}

static void
fcgi_close(struct backend *backend)
{
	struct loop *loop = backend->instance->fleet->loop;

	funclog_end(&backend->log, backend->request_id, loop_now_us(loop));
	loop_io_del(loop, &backend->in_io);
	close_fd(&backend->in_fd);
}

const struct backend_kind backend_fcgi = {
	.start = fcgi_start,
	.read = fcgi_read,
	.write = fcgi_write,
	.body_end = fcgi_body_end,
	.want = fcgi_want,
	.report = fcgi_report,
	.close = fcgi_close,
};
