#include "fcgi-host/conn_impl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define READS_PER_EVENT 4
/* a peer that sends without reading its answers */
#define OUT_MAX (1024u * 1024)
/* so much is sent in one turn of the loop: a function that writes as fast as
 * its client reads would not let another have one */
#define TURN_BYTES (2 * RELAY_OUT_HIGH)
/* after a cut or a refusal: how long the peer's rest is read and dropped */
#define LINGER_US 2000000
/* between the mark of a cut and the close: lighttpd, finding both at once with
 * an answer that it has not begun to pass on, would take that for a whole one */
#define CUT_US 100000
/* what its buffer may keep meanwhile: with struct conn, less than 8 KiB each */
#define IDLE_BYTES 4096

void
conn_free(void *arg)
{
	struct conn *conn = arg;

	TAILQ_REMOVE(&conn->list->all, conn, in);
	buf_free(&conn->out);
	conn->server->connections--;
	free(conn);
}

void
conn_close(struct conn *conn)
{
	struct loop *loop = conn->server->loop;

	if (conn->is_closed)
		return;
	conn->is_closed = true;
	idle_end(&conn->list->idle, &conn->idle);
	loop_io_del(loop, &conn->io);
	loop_timer_cancel(loop, &conn->linger);
	close_fd(&conn->fd);
	if (conn->request != NULL)
		request_leave(conn->request);
	conn->request = NULL;
	loop_defer(loop, &conn->free_task, conn_free, conn);
}

static void
bad_peer(struct conn *conn, const char *why)
{
	uint32_t suppressed = 0;

	conn->server->bad_peers++;
	if (log_limit_pass(&conn->server->bad_peer_limit, 10, 10000,
	    loop_now_us(conn->server->loop), &suppressed))
		log_event(LOG_INFO, "bad_peer", "why=\"%s\" suppressed=%u",
		    why, suppressed);
	conn_close(conn);
}

/* ---- out ---- */

static void
linger_over(void *arg)
{
	conn_close(arg);
}

/* What the peer still sends is read and dropped: closing with unread bytes
 * would make the kernel throw our answer away. */
static void
linger(struct conn *conn)
{
	struct loop *loop = conn->server->loop;
	uint64_t until_us = loop_now_us(loop) +
	    (conn->is_cut ? CUT_US : LINGER_US);

	if (!conn->is_cut)
		shutdown(conn->fd, SHUT_WR);
	if (loop_timer_set(loop, &conn->linger, until_us, linger_over,
	    conn) < 0)
		conn_close(conn);
}

static bool
has_to_send(const struct conn *conn)
{
	return buf_len(&conn->out) > 0 && (conn->request == NULL ||
	    request_may_send(conn->request));
}

/* One that asks (GET_VALUES, unknown types) and does not read its answers is
 * not read either. */
static bool
is_full(const struct conn *conn)
{
	return conn->request == NULL && buf_len(&conn->out) >= RELAY_OUT_HIGH;
}

static void
interest_set(struct conn *conn)
{
	/* With no interest at all a hang-up would not be reported. */
	uint32_t events = conn->is_half_closed || is_full(conn) ?
	    EPOLLHUP : EPOLLIN;

	if (has_to_send(conn))
		events |= EPOLLOUT;
	loop_io_set(conn->server->loop, &conn->io, events);
}

static void
turn_count(struct conn *conn, size_t sent)
{
	if (conn->turn_us != loop_now_us(conn->server->loop))
		conn->turn_bytes = 0;
	conn->turn_us = loop_now_us(conn->server->loop);
	conn->turn_bytes += sent;
}

static bool
is_turn_over(const struct conn *conn)
{
	return conn->turn_us == loop_now_us(conn->server->loop) &&
	    conn->turn_bytes >= TURN_BYTES;
}

static void
out_done(struct conn *conn)
{
	if (conn->is_ending && conn->request == NULL) {
		/* the close of a Unix socket leaves the peer what was sent */
		if (conn->is_half_closed ||
		    (conn->is_unix && conn->is_complete))
			conn_close(conn);
		else if (conn->linger.place == 0)
			linger(conn);
		return;
	}
	if (conn->request != NULL)
		request_drained(conn->request);
	else if (conn->server->is_draining && !conn_hand_on(conn) &&
	    fcgi_parser_is_between(&conn->parser))
		conn_close(conn);
}

static void
flush(void *arg)
{
	struct conn *conn = arg;
	size_t sent = 0;

	if (conn->is_closed)
		return;
	while (has_to_send(conn)) {
		ssize_t n = send(conn->fd, buf_head(&conn->out),
		    buf_len(&conn->out), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			conn_close(conn);
			return;
		}
		buf_consume(&conn->out, (size_t)n);
		sent += (size_t)n;
	}
	turn_count(conn, sent);
	if (buf_len(&conn->out) == 0)
		buf_reset(&conn->out, conn->request == NULL ? IDLE_BYTES :
		    2 * RELAY_OUT_HIGH);
	if (buf_len(&conn->out) == 0 && (sent > 0 || conn->is_ending))
		out_done(conn);
	else if (sent > 0 && conn->request != NULL &&
	    buf_len(&conn->out) < RELAY_OUT_HIGH / 2)
		request_drained(conn->request);
	if (!conn->is_closed)
		interest_set(conn);
}

/* Behind what this turn has brought so far: it may be the answer's end. */
static void
flush_behind(void *arg)
{
	struct conn *conn = arg;

	if (!conn->is_closed)
		loop_defer(conn->server->loop, &conn->flush_task, flush, conn);
}

static void
flush_later(void *owner)
{
	struct conn *conn = owner;

	/* behind the task that frees it, a flush would see freed memory */
	if (conn->is_closed)
		return;
	/* the socket, which has room, calls again in the next turn */
	if (is_turn_over(conn) && has_to_send(conn))
		interest_set(conn);
	else
		loop_defer(conn->server->loop, &conn->flush_task, flush_behind,
		    conn);
}

static void
request_finished(void *owner, bool is_whole)
{
	struct conn *conn = owner;
	bool is_over = conn->is_aborted || request_is_read(conn->request);

	conn->is_complete = is_whole && !conn->keeps &&
	    request_is_body_arrived(conn->request);
	conn->request = NULL;
	if (!is_whole) {
		if (fcgi_put_cut(&conn->out, conn->id) < 0)
			conn_close(conn);
		conn->is_cut = true;
	}
	/* a rest of a body that nobody reads cannot be told from the next
	 * request's delay: such a connection is not kept, unless the peer itself
	 * has given the request up */
	if (!is_whole || !conn->keeps || !is_over ||
	    (conn->server->is_draining && conn->list->next_fd < 0))
		conn->is_ending = true;
	else
		idle_begin(&conn->list->idle, &conn->idle, conn,
		    loop_now_us(conn->server->loop));
	flush_later(conn);
}

static const struct request_ops request_ops = {
	.flush = flush_later,
	.finished = request_finished,
};

/* ---- in ---- */

static void
begin(struct conn *conn)
{
	uint16_t role;
	uint8_t flags;
	int error = 0;

	if (conn->begin_have < sizeof(conn->begin)) {
		bad_peer(conn, "BEGIN_REQUEST is too short");
		return;
	}
	fcgi_read_begin(conn->begin, &role, &flags);
	if (conn->request != NULL && conn->parser.id == conn->id) {
		/* whose the answers of this id would be from now on, the peer
		 * could not tell */
		conn->keeps = false;
	} else if (conn->request != NULL) {
		error = fcgi_put_end(&conn->out, conn->parser.id, 0,
		    FCGI_CANT_MPX_CONN);
	} else if (role != FCGI_RESPONDER && role != FCGI_AUTHORIZER) {
		error = fcgi_put_end(&conn->out, conn->parser.id, 0,
		    FCGI_UNKNOWN_ROLE);
		conn->is_ending = (flags & FCGI_KEEP_CONN) == 0;
	} else {
		conn->id = conn->parser.id;
		/* kept, it would be refused still when there is room again */
		conn->keeps = (flags & FCGI_KEEP_CONN) != 0 && !conn->is_over;
		conn->has_params_ended = conn->is_aborted = false;
		conn->request = request_new(conn->server, &request_ops, conn,
		    &conn->out, conn->id, role, conn->trigger, conn->is_over);
		if (conn->request == NULL)
			error = -ENOMEM;
		else
			idle_end(&conn->list->idle, &conn->idle);
	}
	if (error < 0)
		conn_close(conn);
	else
		flush_later(conn);
}

static void
management(struct conn *conn)
{
	int error = conn->parser.type != FCGI_GET_VALUES ?
	    fcgi_put_unknown_type(&conn->out, conn->parser.type) :
	    fcgi_values_answer(&conn->values,
	    conn->server->conf->max_connections, &conn->out);

	if (error == -EPROTO)
		bad_peer(conn, "GET_VALUES is malformed");
	else if (error < 0)
		conn_close(conn);
	else
		flush_later(conn);
}

static bool
is_own(const struct conn *conn)
{
	return conn->request != NULL && conn->parser.id == conn->id;
}

static void
record_end(struct conn *conn)
{
	const struct fcgi_parser *parser = &conn->parser;
	bool is_empty = parser->content_length == 0, is_ours = is_own(conn);

	if (parser->id == 0) {
		management(conn);
	} else if (parser->type == FCGI_BEGIN_REQUEST) {
		begin(conn);
	} else if (is_ours && parser->type == FCGI_ABORT_REQUEST) {
		conn->is_aborted = true;
		request_abort(conn->request);
	} else if (is_ours && parser->type == FCGI_PARAMS && is_empty &&
	    !conn->has_params_ended) {
		conn->has_params_ended = true;
		request_params_end(conn->request);
	} else if (is_ours && parser->type == FCGI_STDIN && is_empty &&
	    conn->has_params_ended) {
		request_body_end(conn->request);
	}
}

static void
record_data(struct conn *conn)
{
	const struct fcgi_parser *parser = &conn->parser;
	size_t room = sizeof(conn->begin) - conn->begin_have;
	size_t n = parser->length;

	if (parser->type == FCGI_PARAMS && is_own(conn) &&
	    !conn->has_params_ended) {
		request_params(conn->request, parser->data, n);
	} else if (parser->type == FCGI_STDIN && is_own(conn) &&
	    conn->has_params_ended) {
		request_body(conn->request, parser->data, n);
	} else if (parser->type == FCGI_GET_VALUES && parser->id == 0) {
		fcgi_values_feed(&conn->values, parser->data, n);
	} else if (parser->type == FCGI_BEGIN_REQUEST) {
		if (n > room)
			n = room;
		memcpy(conn->begin + conn->begin_have, parser->data, n);
		conn->begin_have += n;
	}
}

static void
input_parse(struct conn *conn, const uint8_t *input, size_t n)
{
	while (!conn->is_closed && !conn->is_ending) {
		switch (fcgi_parse(&conn->parser, &input, &n)) {
		case FCGI_EVENT_MORE:
			return;
		case FCGI_EVENT_HEADER:
			conn->begin_have = 0;
			conn->values = (struct fcgi_values){ 0 };
			break;
		case FCGI_EVENT_DATA:
			record_data(conn);
			break;
		case FCGI_EVENT_END:
			record_end(conn);
			break;
		case FCGI_EVENT_BAD:
			bad_peer(conn, "not FastCGI 1.0");
			return;
		}
	}
}

/*
 * The peer sends no more.  A Unix socket that is wholly closed would have
 * reported a hang-up, so this peer still reads; over TCP the two look alike,
 * and no web server closes one half: there the client is gone.
 */
static void
input_end(struct conn *conn, bool is_orderly)
{
	bool is_waiting = conn->request != NULL &&
	    request_is_body_arrived(conn->request);

	conn->keeps = false;
	conn->is_half_closed = true;
	if (!is_orderly || !conn->is_unix ||
	    (!is_waiting && (conn->request != NULL ||
	    buf_len(&conn->out) == 0))) {
		conn_close(conn);
		return;
	}
	if (!is_waiting)
		conn->is_ending = true;
	interest_set(conn);
}

void
conn_read(struct conn *conn)
{
	uint8_t *scratch = conn->list->scratch;

	for (int i = 0; i < READS_PER_EVENT && !conn->is_closed &&
	    !is_full(conn); i++) {
		ssize_t n = recv(conn->fd, scratch, CONN_READ_SIZE, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			input_end(conn, n == 0);
			return;
		}
		input_parse(conn, scratch, (size_t)n);
		/* who sends without reading fills our buffer, not more */
		if (buf_len(&conn->out) > OUT_MAX) {
			bad_peer(conn, "answers are not read");
			return;
		}
		if ((size_t)n < CONN_READ_SIZE)
			return;
	}
}

static void
ready(void *arg, uint32_t events)
{
	struct conn *conn = arg;

	if (events & EPOLLOUT)
		flush_later(conn);
	if (events & (EPOLLHUP | EPOLLERR)) {
		/* what it sent before may be a whole request without anybody
		 * to answer: nothing is started for it */
		conn_close(conn);
		return;
	}
	if (events & EPOLLIN)
		conn_read(conn);
}

static bool
is_at_ceiling(const struct server *server, int fd)
{
	return server->connections >= server->conf->max_connections ||
	    (server->fd_ceiling > 0 && fd >= server->fd_ceiling);
}

/* Closed or reset: one that only sends no more waits for its answer. */
static bool
is_gone(int fd)
{
	struct pollfd poller = { .fd = fd };

	return poll(&poller, 1, 0) > 0;
}

int
conn_new(struct conn_list *list, int fd, bool is_unix, const char *trigger)
{
	struct server *server = list->server;
	struct conn *conn = calloc(1, sizeof(*conn));
	int error = -ENOMEM;

	if (conn != NULL) {
		conn->list = list;
		conn->server = server;
		conn->fd = fd;
		conn->is_unix = is_unix;
		conn->io.fd = -1;
		conn->trigger = trigger;
		conn->is_over = is_at_ceiling(server, fd) &&
		    !conn_list_give_way(list);
		error = loop_io_add(server->loop, &conn->io, fd, EPOLLIN,
		    ready, conn);
	}
	if (error < 0) {
		close_fd(&fd);
		free(conn);
		return error;
	}
	server->connections++;
	TAILQ_INSERT_TAIL(&list->all, conn, in);
	idle_begin(&list->idle, &conn->idle, conn, loop_now_us(server->loop));
	/* who connects has a request in hand: it spares a turn of the loop; but
	 * who waited long in the backlog may have left, and nothing is started
	 * for nobody */
	if (is_gone(fd))
		conn_close(conn);
	else
		conn_read(conn);
	return 0;
}
