/*
 * The FastCGI program of a play: the test listens on the socket of the play's
 * first instances and is the program.  The gateway finds sockets at its root, so
 * these lie in a root of their own, which only root may have.  With cmocka.
 */
#ifndef TESTS_UNIT_PROGRAM_H
#define TESTS_UNIT_PROGRAM_H

#include "tests/unit/play.h"

struct program {
	int listen_fd;
	int fd;          /* the connection, -1 */
	unsigned accepts;
	struct fcgi_parser parser;
	/* of the running request */
	uint16_t id, role;
	uint8_t flags;
	bool has_begin, has_params_end, has_body_end;
	struct buf got;  /* STDIN */
};

/* For a group of tests: in and out of the root; its directory is /. */
int program_enter_root(void **state);
int program_leave_root(void **state);
/* Says aloud that only root may; the group is skipped. */
bool program_is_possible(void);

/* A play whose f is a FastCGI program that listens.  0, or -1. */
int program_set_up(struct program *program, void **state);
int program_tear_down(struct program *program, void **state);
/* Listens for the instance of that number too. */
int program_listen(unsigned number);

/* Accepts, unless it has a connection, and reads what there is. */
void program_receive(struct program *program);
/* A request, the instance up, its program started and asked. */
struct actor *program_start(struct program *program, struct play *play,
    const char *body);
/* Sends a record as the answer to the running request. */
void program_put(struct program *program, struct play *play, uint8_t type,
    const char *text);
void program_end(struct program *program, struct play *play,
    uint32_t app_status, uint8_t protocol_status);
/* PLAIN and the text, and the end; the gateway reads it. */
void program_answer(struct program *program, struct play *play,
    struct actor *actor, const char *text);
/* The first request, which has been answered. */
struct actor *program_warm(struct program *program, struct play *play);
/* init answers the question for the program's memory. */
void program_measured(struct play *play, struct actor *actor);

#endif
