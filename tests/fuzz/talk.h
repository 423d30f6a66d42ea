/*
 * What fuzz_talk.c plays: three web servers that are honest in their records
 * but rude in their timing (talk_web.c), and programs that say what they like;
 * talk_judge.c knows what has to come of it.
 * Every byte of a request and of an answer carries the request's number.
 */
#ifndef TESTS_FUZZ_TALK_H
#define TESTS_FUZZ_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/fcgi_record.h"
#include "tests/unit/stage.h"

#define TALK_STEPS_MAX 80
#define TALK_REQUESTS_MAX (TALK_STEPS_MAX + 1)
#define TALK_WEBS 3

/* One request, by its number from 1. */
struct request_story {
	bool is_sent;      /* its params, to a connection that stood then */
	bool is_delivered; /* to a program: never to another */
	bool is_complete;  /* END_REQUEST has come */
	bool is_head;      /* the method HEAD */
	bool is_aborted;   /* by ABORT_REQUEST */
	bool is_lied_about; /* its end, by an init with another's number */
	uint16_t id;       /* on its FastCGI program's connection; 0: CGI */
	struct buf said;   /* what the program wrote for it: text, or records */
};

struct talker {
	int fd; /* -1: not connected */
	unsigned number; /* of the request without an answer, 0: none */
	struct buf rest; /* of the request, to be sent later */
	size_t sent;     /* of the request */
	bool is_keeping; /* FCGI_KEEP_CONN */
	bool is_cut, is_over; /* nothing more is said on this connection */
	struct fcgi_parser parser;
	struct buf answer;
};

/* The program in an instance, by the place of its actor. */
struct program {
	int fd; /* FastCGI: its side of the connection, -1 */
	unsigned number;
	uint16_t id; /* of the last BEGIN_REQUEST */
	bool has_head;
	bool is_over; /* FastCGI: it has said END_REQUEST; CGI: init has */
	bool is_dead; /* by init's word: it hears and says nothing more */
	uint64_t serial; /* CGI: of the order */
	struct fcgi_parser parser;
	struct params *params;
};

struct talk {
	struct stage stage;
	struct talker talkers[TALK_WEBS];
	struct program programs[STAGE_ACTORS_MAX];
	struct request_story requests[TALK_REQUESTS_MAX];
	unsigned count;
	bool refuses_connect;
	unsigned hasty_steps;
	bool is_gateways_turn, acts_within; /* a program, once, in the next */
	const uint8_t *data;
	size_t left;
};

/* "<NUMBER>": claims that every one in text is of this request; how many. */
unsigned talk_count_tokens(const char *text, size_t n, unsigned number);
void talk_put_tokens(struct buf *out, unsigned number, unsigned count);
/* How many records the request has. */
size_t talk_records(const struct talk *talk, unsigned number);

/* talk_judge.c: of a whole answer: it is the function's, to the byte, or one of
 * ours, and its record says the same. */
void talk_judge(struct talk *talk, unsigned number, struct buf *answer);
/* Of what has come so far: where a client can know that it is all, its record
 * is written. */
void talk_judge_early(const struct talk *talk, unsigned number,
    struct buf *answer);

/* At the end: one record per execution, and for all that were admitted; seq
 * without a gap. */
void talk_judge_books(const struct talk *talk);

/* What was asked of it while it was slow is done. */
void talk_spawner_catches_up(struct talk *talk);

/* Connects if need be; begins a request (of which how says everything) if none
 * is open; sends n bytes of what is left of it. */
void talker_speak(struct talk *talk, struct talker *talker, uint8_t how,
    size_t n);
void talker_abort(struct talk *talk, struct talker *talker);
/* Takes what has come, and judges it. */
void talker_hear(struct talk *talk, struct talker *talker);
void talker_leave(struct talker *talker);

#endif
