/*
 * The bytes of one execution, both ways, bounded: the body from the web
 * server's pace to the function's through a spool; the answer's head through
 * cgi_response, then its body as FastCGI records into the connection's buffer.
 * The last byte (Content-Length known) or the head of a bodyless answer is
 * held until relay_release.  Knows nothing of routes, queues and records.
 */
#ifndef FCGI_HOST_RELAY_H
#define FCGI_HOST_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/backend.h"
#include "fcgi-host/buf.h"
#include "fcgi-host/cgi_response.h"
#include "fcgi-host/spool.h"

/* Of all bodies that are sent, so much may be kept until their answers begin; beyond
 * it only the first 4 KiB of each. */
#define RELAY_WRITTEN_ALL_MAX (32u * 1024 * 1024)

/* An answer waits in the kernel and the function once so much is unsent. */
#define RELAY_OUT_HIGH (64u * 1024)

struct relay_events {
	void (*output)(void *arg); /* there is something to flush */
	void (*done)(void *arg);   /* answer and execution are over */
	void (*gone)(void *arg);   /* the instance is dead */
	void (*measured)(void *arg, uint64_t memory_kib);
	/* the spool failed, or the answer cannot go on: see relay->problem */
	void (*failed)(void *arg, int error);
};

struct relay {
	const struct relay_events *events;
	void *arg;
	struct loop *loop;
	struct backend backend;
	bool has_backend;
	uint16_t role; /* FCGI_RESPONDER, or FCGI_AUTHORIZER: no body at all */
	/* body */
	struct spool spool;
	bool has_body;       /* one was announced, or has come */
	bool is_body_arrived;
	bool is_body_refused; /* the function reads no more: dropped */
	bool keeps_body;     /* until the answer begins it may be taken back */
	struct buf written;  /* what was given of it to the function so far */
	uint64_t *written_all; /* memory of that, of all relays */
	uint64_t bytes_in;
	/* answer */
	struct cgi_response head;
	struct buf *out; /* the connection's; NULL: nobody reads any more */
	uint16_t id;
	char method[RECORD_METHOD_MAX + 1];
	bool is_head_out;    /* the head stands in out */
	bool is_head_held, is_byte_held, is_bodyless, is_too_long;
	uint8_t held_byte;
	int64_t body_left;   /* of Content-Length; -1: not known */
	uint64_t bytes_out;  /* what the function produced, head included */
	uint64_t first_us;   /* when the first of them came, 0 */
	uint64_t progress_us;
	const char *problem; /* static text */
	bool is_done_told;
};

/* written_all is borrowed, and shared by all relays; 0 at first. */
void relay_init(struct relay *relay, struct loop *loop, int spool_dir_fd,
    uint64_t header_max, uint64_t *written_all,
    const struct relay_events *events, void *arg);
/* Only after relay_close. */
void relay_free(struct relay *relay);

/* Where the answer goes; NULL drops it from now on. */
void relay_set_out(struct relay *relay, struct buf *out, uint16_t id);

/* n bytes of the body, and its end.  0 or negative errno of the spool. */
int relay_body(struct relay *relay, const uint8_t *data, size_t n);
void relay_body_end(struct relay *relay);

/* Starts the execution in an idle instance; as backend_start. */
int relay_start(struct relay *relay, struct instance *instance,
    const struct cgi_env *env, const struct cgi_env *program_env,
    const char *request_id);
/* Moves what can be moved; call when out was drained. */
void relay_pump(struct relay *relay);
/* Tells the function that nobody waits for its answer any more. */
void relay_abort(struct relay *relay);
/* False while the answer must not be sent yet: the request's body is still
 * arriving, and nginx would stop sending it. */
bool relay_may_send(const struct relay *relay);

/* The answer is whole as far as bytes tell: a head, and all of its body. */
bool relay_is_whole(const struct relay *relay);
/* Appends what was held, the ends of the streams and END_REQUEST. */
int relay_release(struct relay *relay, uint32_t app_status);
/* Appends an answer of our own, whole, in place of the function's; only while
 * !is_head_out. */
int relay_answer(struct relay *relay, int status, const char *extra,
    const char *sentence);

/* Of a backend that is_undelivered: makes all of the request ready for another
 * one.  False: that cannot be.  relay_close has to follow. */
bool relay_take_back(struct relay *relay);
/* Lets the backend go; the instance is not released to its pool. */
void relay_close(struct relay *relay);

#endif
