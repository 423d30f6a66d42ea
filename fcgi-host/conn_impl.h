/*
 * What the files of the web servers' connections share: conn.c (one of them),
 * conn_list.c (all of them).  Included by nobody else.
 */
#ifndef FCGI_HOST_CONN_IMPL_H
#define FCGI_HOST_CONN_IMPL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "fcgi-host/conn.h"
#include "fcgi-host/fcgi_record.h"
#include "fcgi-host/fcgi_values.h"
#include "fcgi-host/idle.h"

#define CONN_READ_SIZE (64u * 1024)

struct conn {
	TAILQ_ENTRY(conn) in;
	struct idle idle; /* no request */
	struct conn_list *list;
	struct server *server;
	struct loop_io io;
	int fd;
	bool is_unix;
	const char *trigger;
	struct fcgi_parser parser;
	struct request *request;
	uint16_t id; /* of the request */
	bool keeps;  /* FCGI_KEEP_CONN of the running request */
	bool has_params_ended;
	bool is_aborted; /* by ABORT_REQUEST: nothing more of it comes */
	bool is_ending;   /* nothing more is read as FastCGI; out, then close */
	bool is_complete; /* all that its last request promised has come and gone */
	bool is_cut;      /* it must not look like a whole answer */
	bool is_closed, is_over;
	bool is_half_closed; /* the peer sends no more, but reads */
	uint8_t begin[8]; /* BEGIN_REQUEST's content, as it comes */
	size_t begin_have;
	struct fcgi_values values; /* what GET_VALUES asks, the same */
	struct buf out;
	uint64_t turn_us, turn_bytes; /* the last turn with bytes sent */
	struct loop_timer linger;
	struct loop_task flush_task, free_task;
};

struct conn_list {
	TAILQ_HEAD(, conn) all;
	struct idle_list idle;
	struct server *server;
	int next_fd; /* in a drain: where kept ones go, or -1 */
	uint8_t *scratch; /* one reading at a time: one buffer for all */
};

/* Closes it at once, and gives its request up; it is freed later. */
void conn_close(struct conn *conn);
/* Releases one that is closed. */
void conn_free(void *conn);
/* In a drain: lets go of one that is between requests.  False: it is not, or
 * nobody takes it. */
bool conn_hand_on(struct conn *conn);
/* Takes what has arrived. */
void conn_read(struct conn *conn);

#endif
