/* All connections of web servers: who gives way, and the end. */
#include "fcgi-host/conn_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "fcgi-host/sock.h"

/* a kept connection that was silent for so long gives way to a new one */
#define IDLE_GIVES_WAY_US 250000
/* of those that were silent longest, so many are looked at */
#define IDLE_LOOKS 8

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

void
conn_list_drain(struct conn_list *list)
{
	struct conn *conn, *next;

	for (conn = TAILQ_FIRST(&list->all); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, in);
		/* what was sent before the end was known is still served */
		if (conn->request == NULL && !conn->is_closed &&
		    !conn->is_ending)
			conn_read(conn);
		if (conn->request != NULL)
			conn->keeps = false;
		else if (buf_len(&conn->out) == 0)
			conn_close(conn);
		else
			conn->is_ending = true;
	}
}
