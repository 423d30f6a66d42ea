/*
 * One request's life, from BEGIN_REQUEST to the release of its last byte: its
 * states, its deadline, its place in the queue, its outcome, its one record.
 * Bytes are relay.h's, the connection is conn.h's.
 */
#ifndef FCGI_HOST_REQUEST_H
#define FCGI_HOST_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/budget.h"
#include "fcgi-host/catalog.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/inflight.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/pool.h"
#include "fcgi-host/relay.h"
#include "fcgi-host/route.h"

/* What all requests and connections of a gateway share. */
struct server {
	struct loop *loop;
	struct conf *conf;
	struct catalog *catalog;
	struct pools *pools;
	struct ledger *ledger;
	struct inflight *inflight;
	struct budgets *budgets; /* NULL: nobody has one */
	struct logfiles *files; /* the functions' logs; NULL: none */
	uint64_t run_id;
	int spool_fd;
	uint64_t written_all; /* for relay_init */
	int fd_ceiling; /* connections from this number on are refused */
	bool is_draining;
	bool is_overdue; /* the drain: what runs is being cut */
	/* counters, shown by `status` */
	uint64_t active, executions, refused, bad_peers, connections;
	struct log_limit bad_peer_limit, not_served_limit;
};

enum request_state {
	REQUEST_PARAMS,    /* its params are arriving */
	REQUEST_BODY,      /* admitted; its length is not known until its end */
	REQUEST_QUEUED,    /* waits for an instance */
	REQUEST_RUNNING,
	REQUEST_LEFT,      /* runs on for abort_grace: the client is gone */
	REQUEST_MEASURING, /* the function ended; its memory is asked for */
	REQUEST_KILLING,   /* the instance is being killed; totals will come */
	REQUEST_RECORDING, /* its record is in the batch */
	REQUEST_DONE,
	REQUEST_STATE_COUNT
};

enum request_event {
	REQUEST_EVENT_HOLD,     /* admitted, the body must come first */
	REQUEST_EVENT_SUBMIT,   /* admitted, to the queue */
	REQUEST_EVENT_GRANT,    /* an instance runs it */
	REQUEST_EVENT_RETURN,   /* the instance ended before it saw it */
	REQUEST_EVENT_REFUSE,   /* an execution that never ran */
	REQUEST_EVENT_REJECT,   /* no execution at all: no function, no space */
	REQUEST_EVENT_END,      /* the function ended */
	REQUEST_EVENT_MEASURED,
	REQUEST_EVENT_KILL,     /* deadline, stall, abort, invalid answer */
	REQUEST_EVENT_GONE,     /* the instance is dead */
	REQUEST_EVENT_LEAVE,    /* the client left */
	REQUEST_EVENT_RECORDED,
	REQUEST_EVENT_COUNT
};

/* What a request needs of its connection. */
struct request_ops {
	/* There is something in the connection's buffer to send. */
	void (*flush)(void *owner);
	/* The request is over and forgets its owner; is_whole: END_REQUEST
	 * stands in the buffer, else the connection must close without it. */
	void (*finished)(void *owner, bool is_whole);
};

struct request;

/* out: the connection's buffer.  role: FCGI_RESPONDER or FCGI_AUTHORIZER.
 * trigger: "web" or "invoke" (static).  is_over: its connection is one too many, it is refused with 503. */
struct request *request_new(struct server *server,
    const struct request_ops *ops, void *owner, struct buf *out, uint16_t id,
    uint16_t role, const char *trigger, bool is_over);

/* The streams; each may end the request (ops->finished is called later). */
void request_params(struct request *request, const uint8_t *data, size_t n);
void request_params_end(struct request *request);
void request_body(struct request *request, const uint8_t *data, size_t n);
void request_body_end(struct request *request);
/* ABORT_REQUEST: the connection stays. */
void request_abort(struct request *request);
/* The connection is gone; the request forgets its owner at once. */
void request_leave(struct request *request);

/* The host ends, and waits for nothing that has not come yet: refused, unless it
 * waits or runs already. */
void request_hurry(struct request *request);

/* The connection's buffer has room again. */
void request_drained(struct request *request);
/* Whether what stands in the buffer may be sent now; not while the record is in
 * the batch, after which the owner is told the end. */
bool request_may_send(const struct request *request);
/* The body has ended as far as the web server sent it. */
bool request_is_body_arrived(const struct request *request);
/* That, or all of its length is there and only the mark of its end is not: nothing
 * else of the request can come. */
bool request_is_read(const struct request *request);

/* Writes the debts of a gateway that died into the ledger as lost. */
void request_record_lost(struct server *server);

/* The table: the next state, or -1 where the event is a bug. */
int request_next_state(enum request_state state, enum request_event event);
const char *request_state_name(enum request_state state);

#endif
