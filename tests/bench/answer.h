/*
 * One FastCGI answer as a load generator sees it: collected, then judged.  What
 * is not exactly what was expected is a fault, so that no benchmark counts a
 * wrong answer as a fast one.
 */
#ifndef BENCH_ANSWER_H
#define BENCH_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/fcgi_record.h"

enum fault {
	FAULT_NONE,
	FAULT_CONNECT,  /* refused, or the backlog is full */
	FAULT_CLOSED,   /* closed before END_REQUEST */
	FAULT_PROTOCOL, /* not FastCGI, another's id, bytes behind the end */
	FAULT_STATUS,   /* another status than expected, or no head */
	FAULT_BODY,     /* another body than expected */
	FAULT_END,      /* END_REQUEST with another status than complete, 0 */
	FAULT_TIMEOUT,
	FAULT_COUNT
};

struct answer {
	struct fcgi_parser parser;
	struct buf output; /* all of STDOUT */
	uint8_t end[8];
	size_t end_have;
	bool has_begun; /* the first byte of STDOUT is here */
	bool is_over;   /* END_REQUEST is here */
};

struct expected {
	uint16_t id;
	int status;
	const char *body;   /* NULL: any */
	const char *holds;  /* a text in the body; NULL: none */
	int64_t body_bytes; /* -1: any */
};

void answer_reset(struct answer *answer);
/* Takes n bytes.  FAULT_PROTOCOL, or FAULT_NONE. */
enum fault answer_feed(struct answer *answer, uint16_t id, const uint8_t *data,
    size_t n);
/* Judges an answer that is over. */
enum fault answer_judge(const struct answer *answer,
    const struct expected *expected);
const char *fault_name(enum fault fault);

#endif
