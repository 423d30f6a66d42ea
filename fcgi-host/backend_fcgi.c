/*
 * A FastCGI program.  Its connection is made to dispatch (libfcgi hangs up after
 * two silent seconds) and is kept where that is safe: the request asks for no
 * change and has no body, a rest of which would be taken for records; it was sent
 * in one piece that libfcgi reads at once; the program had read it before it
 * answered.  Then a reset without an answer, given for bytes that lie unread, says
 * that it has read nothing of the next request, which is sent again on one of its
 * own.  All else closes it at END_REQUEST (libfcgi's close waits).
 */
#include "fcgi-host/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define SENDING_MAX (64u * 1024)
/* what most requests need */
#define REQUEST_MIN 1024
#define WRITE_SIZE (32u * 1024)
/* records that hold no answer, empty ones above all, come without end from a
 * program that floods: so much of them is read before others have their turn */
#define IDLE_BYTES 4096
/* a broken connection waits so long for init to say how the program ended */
#define GRACE_US 300000

static void fcgi_ready(void *arg, uint32_t events);

static struct channel *
channel_of(const struct backend *backend)
{
	return &backend->instance->channel;
}

static void
interest_set(struct backend *backend)
{
	struct channel *channel = channel_of(backend);
	uint32_t events = 0;

	/* after the end it stays as the next execution wants it */
	if (channel->fd < 0 || backend->end == BACKEND_ENDED)
		return;
	if (backend->wants_read)
		events |= EPOLLIN;
	if (backend->wants_write || buf_len(&backend->sending) > 0)
		events |= EPOLLOUT;
	if (channel_watch(channel, backend->is_broken ? 0 : events,
	    fcgi_ready, backend) < 0)
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
	interest_set(backend);
	if (!backend->instance->is_program_running ||
	    loop_timer_set(loop, &backend->grace, loop_now_us(loop) + GRACE_US,
	    grace_over, backend) < 0)
		backend_set_end(backend, BACKEND_LOST);
}

/* ---- to the program ---- */

static int
channel_open(struct backend *backend)
{
	char path[32];

	snprintf(path, sizeof(path), "/%" PRIu64 ".sock",
	    backend->instance->id);
	return channel_connect(channel_of(backend), path);
}

/* An instance that has answered before is replaced, and the request goes to
 * another.  One that has not has failed, and says so. */
static bool
is_retiring(const struct backend *backend)
{
	return backend->instance->served > 1;
}

/* Nobody listens any more. */
static bool
is_refused(int error)
{
	return error == -ECONNREFUSED || error == -ENOENT;
}

/* The program takes no connection.  What nobody can have seen is another's,
 * without waiting for init's word. */
static void
not_taken(struct backend *backend, int error)
{
	backend->is_undelivered = is_refused(error);
	broken(backend, "the program takes no connection");
	if (backend->is_undelivered && is_retiring(backend))
		backend_set_end(backend, BACKEND_LOST);
}

/* There is no descriptor for it, or no memory: the program has no part in that,
 * and serves others. */
static void
not_connected(struct backend *backend)
{
	backend->is_undelivered = backend->is_short = true;
	backend->is_instance_usable = true;
	backend_set_end(backend, BACKEND_LOST);
}

/* The program has closed its kept connection and has read nothing of this
 * request: it gets it on a new one, if it lives. */
static bool
send_again(struct backend *backend)
{
	struct channel *channel = channel_of(backend);
	int error = -ECONNREFUSED;

	if (!backend->may_send_again)
		return false;
	backend->may_send_again = backend->is_reused = false;
	backend->keeps = false;
	channel->is_single_use = true;
	if (buf_len(&backend->sent) > 0) {
		buf_free(&backend->sending);
		backend->sending = backend->sent;
		backend->sent = (struct buf){ 0 };
	}
	if (backend->instance->is_program_running)
		error = channel_open(backend);
	if (sock_is_shortage(-error) && error != -EAGAIN)
		not_connected(backend);
	else if (error < 0)
		not_taken(backend, error);
	if (error < 0)
		return false;
	fcgi_renumber(&backend->sending, channel->id);
	return true;
}

/* What a kept connection has taken whole may have to be sent again. */
static void
sending_taken(struct backend *backend, size_t n)
{
	if (!backend->may_send_again) {
		buf_consume(&backend->sending, n);
	} else if (n == buf_len(&backend->sending)) {
		backend->sent = backend->sending;
		backend->sending = (struct buf){ 0 };
	} else {
		backend->may_send_again = false;
		buf_consume(&backend->sending, n);
	}
}

static void
sending_flush(struct backend *backend)
{
	while (buf_len(&backend->sending) > 0) {
		ssize_t n = channel_send(channel_of(backend),
		    buf_head(&backend->sending), buf_len(&backend->sending));

		if (n > 0) {
			sending_taken(backend, (size_t)n);
			continue;
		}
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (send_again(backend))
			continue;
		/* it reads no more; an answer may still come */
		buf_reset(&backend->sending, 0);
		backend->is_body_ended = true;
		return;
	}
}

static int
request_put(struct backend *backend, uint16_t id, const struct cgi_env *env,
    bool has_body)
{
	struct buf *out = &backend->sending;
	int error = buf_reserve(out, REQUEST_MIN) == NULL ? -ENOMEM :
	    fcgi_put_begin(out, id, backend->role,
	    backend->keeps ? FCGI_KEEP_CONN : 0);

	if (error == 0)
		error = cgi_env_put_stream(env, out, id);
	if (error == 0 && !has_body)
		error = fcgi_put_stream_end(out, FCGI_STDIN, id);
	backend->is_body_ended = !has_body;
	return error;
}

static int
fcgi_start(struct backend *backend, const struct cgi_env *env, bool has_body)
{
	struct channel *channel = channel_of(backend);
	int error;

	backend->keeps = !has_body && !channel->is_single_use &&
	    !backend->instance->function->is_single_use &&
	    cgi_env_is_safe(env);
	backend->is_reused = backend->keeps && channel_is_kept(channel);
	if (backend->is_reused)
		channel_reuse(channel);
	error = request_put(backend, backend->is_reused ? channel->id : 1, env,
	    has_body);
	if (error == 0 && backend->keeps &&
	    buf_len(&backend->sending) > CHANNEL_REQUEST_MAX) {
		buf_reset(&backend->sending, 0);
		backend->keeps = backend->is_reused = false;
		error = request_put(backend, 1, env, has_body);
	}
	backend->may_send_again = backend->is_reused;
	if (error == 0 && !backend->is_reused)
		error = channel_open(backend);
	if (!is_refused(error) || !is_retiring(backend))
		return error;
	not_taken(backend, error);
	return 0;
}

static ssize_t
fcgi_write(struct backend *backend, const void *data, size_t n)
{
	size_t part = n < WRITE_SIZE ? n : WRITE_SIZE;

	if (backend->is_undelivered)
		return -EAGAIN;
	if (backend->is_broken || backend->is_body_ended)
		return -EPIPE;
	if (buf_len(&backend->sending) >= SENDING_MAX)
		return -EAGAIN;
	if (fcgi_put_stream(&backend->sending, FCGI_STDIN,
	    channel_of(backend)->id, data, part) < 0)
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
	return fcgi_put_stream_end(&backend->sending, FCGI_STDIN,
	    channel_of(backend)->id);
}

/* ---- from the program ---- */

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
	if (protocol_status != FCGI_REQUEST_COMPLETE) {
		broken(backend, "the program refused the request");
		return;
	}
	backend->exit_code = (int)(app_status & 0x7fffffff);
	backend->is_instance_usable = backend->instance->is_program_running;
	backend_set_end(backend, BACKEND_ENDED);
}

static bool
is_own(const struct backend *backend)
{
	return backend->parser.id == channel_of(backend)->id;
}

/* content is moved to out + *used, which never lies behind it */
static void
data_take(struct backend *backend, uint8_t *out, size_t *used)
{
	const struct fcgi_parser *parser = &backend->parser;
	size_t room = sizeof(backend->small) - backend->small_have;

	if (!is_own(backend))
		return;
	switch (parser->type) {
	case FCGI_STDOUT:
		memmove(out + *used, parser->data, parser->length);
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

static void
not_answered(void *arg)
{
	struct backend *backend = arg;

	backend->instance->function->is_single_use = true;
	broken(backend, "the program ended a request that was over");
}

/*
 * Of a request that is over, or of none.  It is passed over, and the connection
 * serves no other.  But who ends a request that has ended may have taken the
 * running one for it: its answer is not waited for long.
 */
static void
other_take(struct backend *backend)
{
	struct loop *loop = backend->instance->fleet->loop;

	backend->keeps = false;
	channel_of(backend)->is_single_use = true;
	if (backend->is_reused && !backend->has_begun &&
	    backend->parser.type == FCGI_END_REQUEST &&
	    loop_timer_set(loop, &backend->grace, loop_now_us(loop) + GRACE_US,
	    not_answered, backend) < 0)
		not_answered(backend);
}

/* The first record of its answer shows whether the program had read the request
 * by then. */
static void
answer_begun(struct backend *backend)
{
	struct channel *channel = channel_of(backend);

	backend->has_begun = true;
	backend->may_send_again = false;
	if (backend->is_reused && !backend->is_program_dead)
		loop_timer_cancel(backend->instance->fleet->loop,
		    &backend->grace);
	if (backend->keeps && !backend->is_reused &&
	    !channel_is_read(channel)) {
		backend->keeps = false;
		channel->is_single_use = true;
	}
}

static void
record_end(struct backend *backend)
{
	if (!is_own(backend)) {
		if (backend->parser.id != FCGI_NULL_REQUEST_ID)
			other_take(backend);
	} else if (backend->parser.type == FCGI_END_REQUEST) {
		end_request(backend);
	}
}

/* Reads the records in data[0..n) and leaves the answer that they hold in their
 * place; returns its length. */
static size_t
records_take(struct backend *backend, uint8_t *data, size_t n)
{
	const uint8_t *input = data;
	size_t used = 0;

	while (!backend->is_eof) {
		enum fcgi_event event = fcgi_parse(&backend->parser, &input,
		    &n);

		if (event == FCGI_EVENT_BAD) {
			broken(backend, "the program does not speak FastCGI");
			break;
		}
		if (event == FCGI_EVENT_HEADER && is_own(backend) &&
		    !backend->has_begun)
			answer_begun(backend);
		/* END comes when no input is left, too. */
		else if (event == FCGI_EVENT_DATA)
			data_take(backend, data, &used);
		else if (event == FCGI_EVENT_END)
			record_end(backend);
		else if (event == FCGI_EVENT_MORE)
			break;
	}
	if (n > 0)
		backend->keeps = false; /* there is more behind its end */
	return used;
}

/* Bytes, -EAGAIN, or 0: there is no more. */
static ssize_t
receive(struct backend *backend, void *out, size_t size)
{
	struct channel *channel = channel_of(backend);
	/* a short answer is all that comes */
	ssize_t n = backend->keeps && !backend->has_begun ?
	    channel_look(channel, out, size) :
	    channel_receive(channel, out, size);

	if (n > 0)
		return n;
	if (n == -EAGAIN || n == -EINTR)
		return -EAGAIN;
	if (n == -ECONNRESET && send_again(backend))
		return -EAGAIN;
	/* it may have thrown the request away unread: nobody knows */
	if (backend->is_reused && !backend->has_begun && !backend->is_aborted)
		backend->instance->function->is_single_use = true;
	broken(backend, "the connection closed before the answer's end");
	return 0;
}

static ssize_t
fcgi_read(struct backend *backend, void *out, size_t size)
{
	size_t used = 0;
	ssize_t n;

	if (backend->is_undelivered)
		return -EAGAIN;
	if (!backend->is_eof) {
		n = receive(backend, out, backend->is_idle_talk &&
		    size > IDLE_BYTES ? IDLE_BYTES : size);
		if (n < 0)
			return n;
		used = records_take(backend, out, (size_t)n);
		backend->is_idle_talk = used == 0;
	}
	return used > 0 ? (ssize_t)used : backend->is_eof ? 0 : -EAGAIN;
}

static void
fcgi_ready(void *arg, uint32_t events)
{
	struct backend *backend = arg;

	if (backend->end == BACKEND_ENDED) {
		/* who was not asked to keep it closes it */
		if (backend->keeps)
			channel_unasked(channel_of(backend));
		else
			channel_close(channel_of(backend));
		return;
	}
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

/* Who knows no ABORT_REQUEST may find it behind the end of its request: the
 * connection serves no other. */
static void
fcgi_abort(struct backend *backend)
{
	backend->keeps = backend->may_send_again = false;
	if (fcgi_put_abort(&backend->sending, channel_of(backend)->id) == 0)
		fcgi_want(backend, backend->wants_read, backend->wants_write);
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
	if (report->type == INIT_EXIT && !backend->is_reused &&
	    !backend->has_begun && channel_is_silent(channel_of(backend)))
		backend->is_undelivered = true;
	if (report->type == INIT_EXEC_FAILED)
		backend->exec_error = report->value;
	else if (WIFSIGNALED(status))
		backend->signal_number = WTERMSIG(status);
	else
		backend->exit_code = WEXITSTATUS(status);
	if (backend->is_broken || backend->is_undelivered) {
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

/* The spawner's word may overtake the reset that tells so. */
static void
fcgi_gone(struct backend *backend)
{
	backend->is_undelivered = backend->may_send_again &&
	    (buf_len(&backend->sending) > 0 ||
	    channel_is_reset(channel_of(backend)));
}

/* A connection that is kept is one of the instance's descriptors. */
static bool
may_be_kept(const struct backend *backend)
{
	const struct channel *channel = channel_of(backend);
	int ceiling = backend->instance->fleet->fd_ceiling;

	return backend->keeps && backend->end == BACKEND_ENDED &&
	    backend->is_instance_usable && channel->fd >= 0 &&
	    (ceiling == 0 || channel->fd < ceiling) &&
	    buf_len(&backend->sending) == 0;
}

static void
fcgi_close(struct backend *backend)
{
	struct channel *channel = channel_of(backend);

	funclog_end(&backend->log, backend->request_id,
	    loop_now_us(backend->instance->fleet->loop));
	if (may_be_kept(backend))
		channel_keep(channel);
	else
		channel_close(channel);
}

const struct backend_kind backend_fcgi = {
	.start = fcgi_start,
	.read = fcgi_read,
	.write = fcgi_write,
	.body_end = fcgi_body_end,
	.abort = fcgi_abort,
	.want = fcgi_want,
	.report = fcgi_report,
	.gone = fcgi_gone,
	.close = fcgi_close,
};
