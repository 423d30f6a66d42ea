/*
 * What fuzz_spawner plays around the spawner's real rooms, without a process
 * of its own for anything: a role is a sleeper that shares this program's
 * memory, an instance an eventfd, the monotonic clock is turned by hand, the
 * host's places and the start of an instance say what the play tells them.
 * Tests only; the definitions stand before those of the C library and of
 * libspawner.a, so that nothing else may link them.
 */
#ifndef TESTS_FUZZ_SPAWNER_CAST_H
#define TESTS_FUZZ_SPAWNER_CAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/spawner.h"

#define ALIVE_MAX 64
#define CLIENTS_MAX 8
#define ASKED_MAX 128

/* A role as its own side sees it. */
struct actor {
	unsigned way_in; /* of what the spawner sends it */
	pid_t pid;       /* -1: none */
	int sock;        /* its end of the socket to the spawner */
	int leash;       /* a byte here is its exit code */
	bool is_deaf, was_deaf;
};

/* What the gateway was told of an id that it asked for. */
enum fate { FATE_ASKED, FATE_UP, FATE_OVER };
struct asked {
	uint64_t id;
	enum fate fate;
};

struct play {
	struct spawner spawner;
	struct actor gateway, scanner;
	struct instance *alive[ALIVE_MAX];
	int eventfds[ALIVE_MAX];
	size_t alive_count;
	int clients[CLIENTS_MAX];
	struct asked asked[ASKED_MAX]; /* by the gateway that runs */
	size_t asked_count;
	int launch_error, log_error, functions_error;
	const uint8_t *data; /* of the input, what is not used yet */
	size_t left;
};

/* is_refused: the commands come from the account that gives none. */
void play_open(struct play *play, bool is_refused);
/* Ends the host as its main does; claims that nothing stays. */
void play_close(struct play *play);
/* The configuration's text, before its next reading. */
void play_write_conf(struct play *play, const char *text);

/* Runs the loop until nothing is due; the roles hear what they were told, and
 * those that the spawner let go of are dead. */
void play_turn(struct play *play);
void play_skip_ms(uint32_t ms);

/* The role ends by itself; it only closes its socket. */
void actor_end(struct play *play, struct actor *actor, uint8_t code);
void actor_leave(struct actor *actor);
/* One of the living instances ends. */
void instance_end(struct play *play, size_t i);
/* A file in memory. */
int play_file(const char *text, size_t n);

#endif
