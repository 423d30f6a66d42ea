/*
 * One request to a handler: what function.h gives it, and what becomes of its
 * answer.  Runs in an instance's sandbox, with the function's rights; all of it is
 * linked into the function's own program, where only function.h's names are seen.
 */
#ifndef FUNCTIONS_C_REQUEST_H
#define FUNCTIONS_C_REQUEST_H

#include <fcgiapp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "functions/c/include/fcgi-host/function.h"

#define ANSWER_HELD_BYTES (32 * 1024)

/* A growing text; data is malloc(3)'s. */
struct text {
	char *data;
	size_t used, room;
};

/* The header fields of which a second one replaces the first. */
enum single {
	SINGLE_TYPE,
	SINGLE_LOCATION,
	SINGLE_LENGTH,
	SINGLE_COUNT,
};

struct fcgi_request {
	FCGX_Request fcgi;
	struct block *blocks; /* of fcgi_alloc() */
	uint64_t body_left;   /* of CONTENT_LENGTH */
	bool is_head_method;
	bool is_head_sent; /* the answer's head has left */
	bool is_gone;      /* the visitor takes no more */
	bool is_refused;   /* the handler made a mistake, or memory was short */
	int status;
	char *singles[SINGLE_COUNT]; /* their values, fcgi_alloc()'s; NULL: none */
	struct text fields;          /* the other ones, as lines */
	struct text scratch;         /* a record in the making */
	size_t held;                 /* bytes of the body in `body` */
	char body[ANSWER_HELD_BYTES];
};

/* fd: the listening socket, borrowed.  0 or -errno. */
int request_init(struct fcgi_request *request, int fd);
/* The accepted request: handler() is called, and whatever it does the request is
 * ended here: by its answer, by 500, or by a cut. */
void request_serve(struct fcgi_request *request);

/* Below: between request.c and answer.c. */

/* Tells of a mistake of the handler's and lets the request fail; returns error. */
int request_refuse(struct fcgi_request *request, int error, const char *what,
    const char *name);
/* For the next request. */
void answer_begin(struct fcgi_request *request);
/* Sends what is left of the answer; is_failed: 500, or a cut. */
void answer_end(struct fcgi_request *request, bool is_failed);

#endif
