#include "fcgi-host/relay.h"

#include <errno.h>
#include <string.h>

#include "fcgi-host/log.h"

#define SPOOL_MEMORY (64u * 1024)
#define PIECE (32u * 1024)
/* of a body, what is kept of it while nothing says that it is read */
#define WRITTEN_MAX (512u * 1024)
#define WRITTEN_FEW 4096u
/* one function that floods does not hold the loop */
#define READS_PER_PUMP 16

void
relay_init(struct relay *relay, struct loop *loop, int spool_dir_fd,
    uint64_t header_max, uint64_t *written_all,
    const struct relay_events *events, void *arg)
{
	memset(relay, 0, sizeof(*relay));
	relay->loop = loop;
	relay->events = events;
	relay->arg = arg;
	relay->role = FCGI_RESPONDER;
	relay->written_all = written_all;
	relay->body_left = -1;
	spool_init(&relay->spool, spool_dir_fd, SPOOL_MEMORY);
	cgi_response_init(&relay->head, (size_t)header_max);
}

void
relay_free(struct relay *relay)
{
	LOG_ASSERT(!relay->has_backend);
	spool_free(&relay->spool);
	cgi_response_free(&relay->head);
}

void
relay_set_out(struct relay *relay, struct buf *out, uint16_t id)
{
	relay->out = out;
	relay->id = id;
}

bool
relay_may_send(const struct relay *relay)
{
	return relay->is_body_arrived || !relay->has_body;
}

static void
fail(struct relay *relay, int error, const char *problem)
{
	if (relay->problem == NULL)
		relay->problem = problem;
	relay->events->failed(relay->arg, error);
}

/* ---- the body ---- */

static void
body_drop(struct relay *relay)
{
	relay->is_body_refused = true;
	spool_consume(&relay->spool, (size_t)spool_left(&relay->spool));
}

static void
written_drop(struct relay *relay)
{
	relay->keeps_body = false;
	*relay->written_all -= relay->written.size;
	buf_free(&relay->written);
}

static void
written_keep(struct relay *relay, const uint8_t *data, size_t n)
{
	struct buf *written = &relay->written;
	size_t size = written->size, most = WRITTEN_MAX;
	int error;

	if (!relay->keeps_body)
		return;
	if (*relay->written_all >= RELAY_WRITTEN_ALL_MAX)
		most = WRITTEN_FEW;
	error = buf_len(written) + n > most ? -EFBIG :
	    buf_add(written, data, n);
	*relay->written_all += written->size - size;
	if (error < 0)
		written_drop(relay);
}

/* Returns whether the function is to be asked again when it can take more. */
static bool
body_pump(struct relay *relay)
{
	uint8_t piece[PIECE];

	while (spool_left(&relay->spool) > 0) {
		ssize_t n = spool_peek(&relay->spool, piece, sizeof(piece));

		if (n < 0) {
			fail(relay, (int)n, "the spool cannot be read");
			return false;
		}
		n = backend_write(&relay->backend, piece, (size_t)n);
		if (n == -EAGAIN)
			return true;
		if (n == -ENOMEM) {
			fail(relay, (int)n, "no memory for the body");
			return false;
		}
		if (n < 0) {
			body_drop(relay);
			return false;
		}
		written_keep(relay, piece, (size_t)n);
		spool_consume(&relay->spool, (size_t)n);
		relay->progress_us = loop_now_us(relay->loop);
	}
	if (relay->is_body_arrived)
		backend_body_end(&relay->backend);
	return false;
}

int
relay_body(struct relay *relay, const uint8_t *data, size_t n)
{
	int error;

	relay->has_body = true;
	relay->bytes_in += n;
	relay->progress_us = loop_now_us(relay->loop);
	if (relay->is_body_refused)
		return 0;
	error = spool_add(&relay->spool, data, n);
	if (error == 0 && relay->has_backend)
		relay_pump(relay);
	return error;
}

void
relay_body_end(struct relay *relay)
{
	relay->is_body_arrived = true;
	if (relay->has_backend)
		relay_pump(relay);
	relay->events->output(relay->arg);
}

/* ---- the answer ---- */

static int
head_put(struct relay *relay)
{
	struct buf *out = relay->out;
	size_t at = buf_len(out);
	int error = fcgi_put_header(out, FCGI_STDOUT, relay->id, 0, 0);

	if (error == 0)
		error = cgi_response_put_head(&relay->head, out);
	if (error == 0)
		error = fcgi_wrap_stream(out, at, FCGI_STDOUT, relay->id);
	/* a stream that is cut inside a record could never be mended */
	if (error < 0)
		out->end = out->start + at;
	else
		relay->is_head_out = true;
	return error;
}

/* A head that is the whole answer would complete it: it waits. */
static void
head_done(struct relay *relay)
{
	relay->is_bodyless = cgi_response_is_bodyless(relay->head.status,
	    relay->method);
	relay->body_left = relay->is_bodyless ? -1 :
	    relay->head.content_length;
	relay->is_head_held = relay->is_bodyless || relay->body_left == 0;
	if (!relay->is_head_held && relay->out != NULL && head_put(relay) < 0)
		fail(relay, -ENOMEM, "no memory for the answer's head");
}

/*
 * How many of n body bytes may go out now.  With Content-Length known the last
 * byte stays behind, and what exceeds the length is no part of the answer.
 */
static size_t
body_admit(struct relay *relay, const uint8_t *data, size_t n)
{
	if (relay->is_bodyless || relay->out == NULL)
		return 0;
	if (relay->body_left < 0)
		return n;
	if ((uint64_t)n > (uint64_t)relay->body_left) {
		relay->is_too_long = true;
		n = (size_t)relay->body_left;
	}
	if (n == 0)
		return 0;
	relay->body_left -= (int64_t)n;
	if (relay->body_left == 0) {
		relay->held_byte = data[n - 1];
		relay->is_byte_held = true;
		n--;
	}
	return n;
}

static void
head_feed(struct relay *relay, const uint8_t *data, size_t n)
{
	size_t used = cgi_response_feed(&relay->head, data, n);

	if (relay->head.state == CGI_RESPONSE_BAD) {
		fail(relay, 0, relay->head.problem);
		return;
	}
	if (relay->head.state != CGI_RESPONSE_DONE)
		return;
	head_done(relay);
	n = body_admit(relay, data + used, n - used);
	if (n > 0 && fcgi_put_stream(relay->out, FCGI_STDOUT, relay->id,
	    data + used, n) < 0)
		fail(relay, -ENOMEM, "no memory for the answer");
}

/* Reads behind a record header that is written once the length is known, so
 * that the answer's body is copied by the kernel alone. */
static ssize_t
body_read(struct relay *relay)
{
	uint8_t *room = buf_reserve(relay->out, FCGI_HEADER_LEN + PIECE);
	ssize_t n;
	size_t out;

	if (room == NULL)
		return -ENOMEM;
	n = backend_read(&relay->backend, room + FCGI_HEADER_LEN, PIECE);
	if (n <= 0)
		return n;
	out = body_admit(relay, room + FCGI_HEADER_LEN, (size_t)n);
	if (out > 0) {
		fcgi_write_header(room, FCGI_STDOUT, relay->id, (uint16_t)out,
		    0);
		buf_commit(relay->out, FCGI_HEADER_LEN + out);
	}
	return n;
}

static ssize_t
head_read(struct relay *relay)
{
	uint8_t piece[PIECE];
	ssize_t n = backend_read(&relay->backend, piece, sizeof(piece));

	if (n > 0 && relay->head.state == CGI_RESPONSE_MORE)
		head_feed(relay, piece, (size_t)n);
	return n;
}

/* Returns whether more is to be read when it comes. */
static bool
answer_pump(struct relay *relay)
{
	for (int i = 0; i < READS_PER_PUMP && !relay->backend.is_eof; i++) {
		ssize_t n;

		/* after the end what is left is a pipe's worth: it is taken
		 * at once, so that the instance can serve the next */
		if (relay->out != NULL && !backend_has_ended(&relay->backend) &&
		    buf_len(relay->out) >= RELAY_OUT_HIGH)
			return false;
		n = relay->out != NULL &&
		    relay->head.state == CGI_RESPONSE_DONE ?
		    body_read(relay) : head_read(relay);
		if (n == -EAGAIN)
			return true;
		if (n < 0) {
			relay->backend.is_eof = true;
			fail(relay, (int)n, "the answer cannot be read");
			return false;
		}
		if (n > 0 && relay->bytes_out == 0)
			relay->first_us = loop_now_us(relay->loop);
		if (n > 0)
			written_drop(relay);
		relay->bytes_out += (uint64_t)n;
		relay->progress_us = loop_now_us(relay->loop);
		if (!relay->has_backend)
			return false;
	}
	return !relay->backend.is_eof;
}

static void
done_tell(struct relay *relay)
{
	enum backend_end end = relay->backend.end;

	if (relay->is_done_told || end == BACKEND_RUNNING ||
	    (end != BACKEND_LOST && !relay->backend.is_eof))
		return;
	relay->is_done_told = true;
	relay->events->done(relay->arg);
}

void
relay_pump(struct relay *relay)
{
	bool wants_read, wants_write = false;

	if (!relay->has_backend || relay->is_done_told)
		return;
	if (relay->is_body_refused)
		body_drop(relay);
	else
		wants_write = body_pump(relay);
	wants_read = relay->has_backend && answer_pump(relay);
	if (!relay->has_backend)
		return;
	backend_want(&relay->backend, wants_read, wants_write);
	relay->events->output(relay->arg);
	done_tell(relay);
}

void
relay_abort(struct relay *relay)
{
	if (relay->has_backend && !relay->is_done_told)
		backend_abort(&relay->backend);
}

/* ---- the backend's events ---- */

static void
pump_event(void *arg)
{
	relay_pump(arg);
}

static void
gone_event(void *arg)
{
	struct relay *relay = arg;

	relay->events->gone(relay->arg);
}

static void
measured_event(void *arg, uint64_t memory_kib)
{
	struct relay *relay = arg;

	relay->events->measured(relay->arg, memory_kib);
}

static const struct backend_events backend_events = {
	.readable = pump_event,
	.writable = pump_event,
	.ended = pump_event,
	.gone = gone_event,
	.measured = measured_event,
};

int
relay_start(struct relay *relay, struct instance *instance,
    const struct cgi_env *env, const struct cgi_env *program_env,
    const char *request_id)
{
	/* what is known of it now: its end may have come without its length */
	bool has_body = relay->has_body && !(relay->is_body_arrived &&
	    spool_left(&relay->spool) == 0);
	int error = backend_start(&relay->backend, instance, env, program_env,
	    request_id, relay->role, has_body, &backend_events, relay);
	bool wants_write;

	relay->has_backend = true;
	relay->keeps_body = instance->function->info.is_fastcgi;
	relay->progress_us = loop_now_us(relay->loop);
	if (error < 0)
		return error;
	/* it has had no time to answer: what is readable will be told */
	wants_write = body_pump(relay);
	if (relay->has_backend)
		backend_want(&relay->backend, true, wants_write);
	return 0;
}

bool
relay_is_whole(const struct relay *relay)
{
	return relay->head.state == CGI_RESPONSE_DONE &&
	    relay->body_left <= 0 && !relay->is_too_long;
}

static int
ends_put(struct relay *relay, uint32_t app_status)
{
	int error = fcgi_put_stream_end(relay->out, FCGI_STDOUT, relay->id);

	if (error == 0)
		error = fcgi_put_end(relay->out, relay->id, app_status,
		    FCGI_REQUEST_COMPLETE);
	return error;
}

int
relay_release(struct relay *relay, uint32_t app_status)
{
	int error = 0;

	if (relay->is_head_held && !relay->is_head_out)
		error = head_put(relay);
	if (error == 0 && relay->is_byte_held)
		error = fcgi_put_stream(relay->out, FCGI_STDOUT, relay->id,
		    &relay->held_byte, 1);
	if (error == 0)
		error = ends_put(relay, app_status);
	return error;
}

int
relay_answer(struct relay *relay, int status, const char *extra,
    const char *sentence)
{
	struct buf text = { 0 };
	int error = cgi_response_put_error(&text, status, extra, sentence);
	size_t n = buf_len(&text);

	if (error == 0 && strcmp(relay->method, "HEAD") == 0) {
		const uint8_t *end = memmem(buf_head(&text), n, "\r\n\r\n", 4);

		if (end != NULL)
			n = (size_t)(end - buf_head(&text)) + 4;
	}
	if (error == 0)
		error = fcgi_put_stream(relay->out, FCGI_STDOUT, relay->id,
		    text.data + text.start, n);
	buf_free(&text);
	if (error == 0)
		error = ends_put(relay, 0);
	return error;
}

bool
relay_take_back(struct relay *relay)
{
	if (!relay->keeps_body || relay->is_body_refused ||
	    spool_give_back(&relay->spool, buf_head(&relay->written),
	    buf_len(&relay->written)) < 0)
		return false;
	relay->is_done_told = false;
	return true;
}

void
relay_close(struct relay *relay)
{
	if (!relay->has_backend)
		return;
	written_drop(relay);
	relay->has_backend = false;
	backend_close(&relay->backend);
}
