/*
 * What the files of the request room share: request.c (states and events),
 * request_admit.c (from params to the queue), request_end.c (outcome, record,
 * answer).  Included by nobody else.
 */
#ifndef FCGI_HOST_REQUEST_IMPL_H
#define FCGI_HOST_REQUEST_IMPL_H

#include "fcgi-host/request.h"

/* For request.extra, with every 503. */
#define RETRY_AFTER "Retry-After: 1\r\n"
#define RETRY_AFTER_MAX 48

struct request {
	struct server *server;
	const struct request_ops *ops;
	void *owner;     /* NULL: the client is gone */
	struct buf *out; /* the connection's; NULL with the owner */
	uint16_t id;
	const char *trigger;
	enum request_state state;
	struct params *params; /* NULL once the request is over its limit */
	int params_error;
	struct route route;
	bool has_route;
	struct inflight_slot *slot; /* NULL: no execution (yet) */
	struct waiter waiter;
	struct relay relay;
	struct ledger_entry entry;
	struct loop_timer timer;
	struct loop_task task;
	int64_t content_length; /* -1: none was given */
	bool is_over;           /* its connection is one too many */
	bool is_aborted;        /* by ABORT_REQUEST */
	bool is_memory_lately;  /* its memory was read just before */
	unsigned returns;       /* from instances that ended too early */
	bool is_program_start;  /* its program is started with it */
	bool is_whole;          /* what finished() will be told */
	/* why it does not end well; the first one wins */
	bool has_fault;
	enum record_outcome outcome;
	int status; /* of an answer of our own */
	const char *reason;
	const char *extra; /* header lines of that answer, or NULL */
	char retry_after[RETRY_AFTER_MAX]; /* where extra names another time */
	uint64_t arrived_us, submitted_us, granted_us, ended_us;
	uint64_t left_us; /* in LEFT: since when the client is gone */
};

/* Alone assigns the state. */
void request_step(struct request *request, enum request_event event);

/* Sets the fault, unless there is one; reason is static. */
void request_fault(struct request *request, enum record_outcome outcome,
    int status, const char *reason);
/* An answer without an execution. */
void request_reject(struct request *request, int status, const char *reason);
/* An execution that never ran. */
void request_refuse(struct request *request, int status, const char *reason);
/* Ends a running one: its instance is killed, the record follows. */
void request_kill(struct request *request, enum record_outcome outcome,
    int status, const char *reason);

/* PARAMS → BODY, QUEUED, RECORDING or DONE. */
void request_admit(struct request *request);
void request_submit(struct request *request);
/* Of one whose instance ended before it saw the request: it goes back to the
 * queue; or is refused, where only the host had no means to hand it over.  False:
 * neither. */
bool request_return(struct request *request);
/* Arms the timer for the state. */
void request_arm(struct request *request);

/* The relay's events after the end. */
void request_ended(struct request *request);
void request_measured(struct request *request, uint64_t memory_kib);
/* The same, by init's answer. */
void request_memory_read(struct request *request, uint64_t memory_kib);
void request_gone(struct request *request);
/* Entry into RECORDING. */
void request_record(struct request *request);

uint64_t request_limit(const struct request *request, enum limit_key key);

#endif
