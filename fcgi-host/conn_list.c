/* All connections of web servers: who gives way, and the end. */
#include "fcgi-host/conn_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fcgi-host/sock.h"

/* a kept connection that was silent for so long gives way to a new one */
#define IDLE_GIVES_WAY_US 250000
/* of those that were silent longest, so many are looked at */
#define IDLE_LOOKS 8
/* what a predecessor sent is not counted by it */
#define ADOPT_MAX 65536

struct conn_list *
conn_list_new(struct server *server)
{
	struct conn_list *list = calloc(1, sizeof(*list));

	if (list == NULL)
		return NULL;
	list->scratch = malloc(CONN_READ_SIZE);
	if (list->scratch == NULL) {
		free(list);
		return NULL;
	}
	list->server = server;
	list->next_fd = -1;
	TAILQ_INIT(&list->all);
	TAILQ_INIT(&list->idle);
	return list;
}

void
conn_list_free(struct conn_list *list)
{
	struct conn *conn, *next;

	if (list == NULL)
		return;
	for (conn = TAILQ_FIRST(&list->all); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, in);
		loop_io_del(list->server->loop, &conn->io);
		loop_timer_cancel(list->server->loop, &conn->linger);
		close_fd(&conn->fd);
		conn_free(conn);
	}
	close_fd(&list->next_fd);
	free(list->scratch);
	free(list);
}

/* What the peer sent a moment ago would be lost. */
static bool
is_silent(const struct conn *conn)
{
	uint8_t byte;

	return buf_len(&conn->out) == 0 && recv(conn->fd, &byte, 1,
	    MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool
conn_list_give_way(struct conn_list *list)
{
	uint64_t now_us = loop_now_us(list->server->loop);

	for (int i = 0; i < IDLE_LOOKS; i++) {
		struct conn *conn = idle_longest(&list->idle,
		    now_us - IDLE_GIVES_WAY_US);

		if (conn == NULL)
			return false;
		if (is_silent(conn)) {
			conn_close(conn);
			return true;
		}
		idle_begin(&list->idle, &conn->idle, conn, now_us);
	}
	return false;
}

/* Nothing of a next request has been read: what has arrived lies in the socket,
 * and goes along. */
static bool
is_between(const struct conn *conn)
{
	return conn->request == NULL && !conn->is_closed && !conn->is_ending &&
	    !conn->is_half_closed && !conn->is_over &&
	    strcmp(conn->trigger, "web") == 0 && buf_len(&conn->out) == 0 &&
	    fcgi_parser_is_between(&conn->parser);
}

bool
conn_hand_on(struct conn *conn)
{
	int fd = conn->list->next_fd;

	if (fd < 0 || !is_between(conn) ||
	    sock_send(fd, "c", 1, &conn->fd, 1) != 0)
		return false;
	/* A close without a shutdown: the other descriptor lives on. */
	conn_close(conn);
	return true;
}

/* An answer that is still on its way, to a web server that is slow in reading, is
 * not the end of its connection: that goes on behind it, as after a request. */
static bool
follows(const struct conn *conn)
{
	return conn->list->next_fd >= 0 && !conn->is_ending &&
	    buf_len(&conn->out) > 0 && fcgi_parser_is_between(&conn->parser);
}

void
conn_list_drain(struct conn_list *list, int next_fd)
{
	struct conn *conn, *next;

	list->next_fd = next_fd;
	for (conn = TAILQ_FIRST(&list->all); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, in);
		/* what was sent before the end was known is still served */
		if (conn->request == NULL && !conn->is_closed &&
		    !conn->is_ending)
			conn_read(conn);
		if (conn->request != NULL || conn_hand_on(conn) ||
		    follows(conn))
			continue;
		if (buf_len(&conn->out) == 0)
			conn_close(conn);
		else
			conn->is_ending = true;
	}
}

void
conn_list_hurry(struct conn_list *list)
{
	struct conn *conn;

	/* an answer is sent by a task, which closes none here */
	TAILQ_FOREACH(conn, &list->all, in)
		if (conn->request != NULL)
			request_hurry(conn->request);
}

size_t
conn_list_adopt(struct conn_list *list, int fd)
{
	size_t count = 0, messages, fd_count;
	uint8_t byte;

	for (messages = 0; messages < ADOPT_MAX; messages++) {
		CLEANUP_FD int conn_fd = -1;
		bool is_unix;
		ssize_t n = sock_recv(fd, &byte, 1, &conn_fd, 1, &fd_count);

		/* -EMSGSIZE: no descriptor is free for this one. */
		if (n <= 0 && n != -EMSGSIZE)
			break;
		is_unix = conn_fd >= 0 && sock_is_unix(conn_fd);
		if (conn_fd >= 0 && sock_is_connected(conn_fd) &&
		    fd_set_nonblock(conn_fd, true) == 0 &&
		    conn_new(list, steal_fd(&conn_fd), is_unix, "web") == 0)
			count++;
	}
	return count;
}
