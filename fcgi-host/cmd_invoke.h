/*
 * One request made by hand: its params, and the FastCGI stream of its answer.
 * Pure but for cmd_invoke itself.
 */
#ifndef FCGI_HOST_CMD_INVOKE_H
#define FCGI_HOST_CMD_INVOKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/cgi_response.h"
#include "fcgi-host/cmd.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/fcgi_record.h"

struct invoke_request {
	const char *function, *method, *path_info, *query;
	struct cmd_texts headers; /* "Name: value" */
	bool has_body;
	const void *body;
	size_t body_bytes;
};

/* Appends the whole request as FastCGI records.  0, -EINVAL (a sentence about
 * what is wrong with a header or path in problem), -ENOMEM. */
int invoke_put(const struct invoke_request *request, const struct conf *conf,
    struct buf *out, char *problem, size_t size);

struct invoke_answer {
	struct fcgi_parser parser;
	struct cgi_response head;
	uint8_t end[8]; /* END_REQUEST's body */
	size_t end_have;
	bool is_complete; /* END_REQUEST came */
	bool is_bad;      /* it does not speak FastCGI, or the head is none */
	bool is_cut;      /* the host said that no more will come */
	struct buf body, errors; /* to be written out by the caller */
};

void invoke_answer_init(struct invoke_answer *answer);
void invoke_answer_free(struct invoke_answer *answer);
/* Takes n bytes from the host.  0 or -ENOMEM. */
int invoke_answer_feed(struct invoke_answer *answer, const uint8_t *data,
    size_t n);

#endif
