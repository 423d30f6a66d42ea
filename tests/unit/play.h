/*
 * A stage with one CGI function, /fn/f, and one web server at it: the common
 * beginning of the tests of the web side.  With cmocka.
 */
#ifndef TESTS_UNIT_PLAY_H
#define TESTS_UNIT_PLAY_H

#include "tests/unit/stage.h"
#include "tests/unit/web.h"

#define PLAIN "Content-Type: text/plain\n\n"

struct play {
	struct stage stage;
	struct web web;
	struct ctl_function info; /* of f; play_put makes changes known */
};

/* For cmocka: a play that the state points to. */
int play_set_up(void **state);
int play_tear_down(void **state);
void play_put(struct play *play);

/* Sends a request for f with the body and its length. */
void play_request(struct play *play, const char *method, const char *body);
/* Sends a request for f without a length: BEGIN and PARAMS only. */
void play_open(struct play *play);
/* Brings the last instance up and takes its order: the program runs. */
struct actor *play_run(struct play *play);
/* Both. */
struct actor *play_dispatch(struct play *play, const char *method,
    const char *body);

/* The program writes; the web server reads what has come. */
void play_say(struct play *play, struct actor *actor, const char *text);
/* It writes until nothing more is taken from it: nobody reads. */
void play_flood(struct play *play, struct actor *actor);
/* The program ends. */
void play_end(struct play *play, struct actor *actor, int wait_status);
/* The instance is gone. */
void play_gone(struct play *play, struct actor *actor, int wait_status);
void play_turn(struct play *play, unsigned ms);
/* A new connection in place of the old. */
void play_reconnect(struct play *play);

/* Records of the outcome, and all of executions. */
size_t play_records(struct play *play, const char *outcome);
size_t play_executions(struct play *play);
bool play_has(struct play *play, const char *text);

#endif
