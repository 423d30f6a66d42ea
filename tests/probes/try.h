/*
 * A small world in which the hostile program is let loose: namespaces of its
 * own with listeners that count, a process that must not be hit, a tenant's
 * folder and data; and the sandboxes in it, with any layers switched off.
 */
#ifndef TESTS_PROBES_TRY_H
#define TESTS_PROBES_TRY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "sandbox/image.h"
#include "tests/unit/box.h"

#define WORLD_PORT 8099
#define WORLD_NAME "probes-host" /* the world's own host name */
#define WORLD_IPC_KEY 0x50524f42 /* of the segment for probe ipc */
#define WORLD_LISTENERS 3
#define WORLD_VARIABLES 12

/* A whole sandbox: as it mostly is, or what an administrator may make of it. */
enum world_kind {
	WORLD_PLAIN,
	WORLD_EGRESS, /* in a network namespace with a way out */
	WORLD_IMAGE   /* with programs of an image */
};

struct world {
	enum world_kind kind; /* of the next sandboxes */
	struct box_host box;
	/* the same, whose init lives without a pid namespace of its own */
	struct sandbox_host *bare;
	int listeners[WORLD_LISTENERS];
	int abstract_fd, socket_fd;
	int egress_fd; /* as fcgi-host-egress has it, but for the way out */
	struct image image; /* with nothing in it */
	pid_t victim;
	int data_fd;
	char probe[4096], marker[80], socket_path[80];
	char outside[80]; /* a folder, for a program without a sandbox */
	char env[WORLD_VARIABLES][160];
	const char *environment[WORLD_VARIABLES + 1];
};

enum outcome {
	OUTCOME_HELD,
	OUTCOME_HOLE,
	OUTCOME_REFUSED, /* no sandbox was made: it fails closed */
	OUTCOME_ABSENT,  /* the kernel has no such thing */
	OUTCOME_FAULT    /* the test itself went wrong */
};

struct tried {
	enum outcome outcome;
	char why[256]; /* the first hole, the step that refused, the fault */
	char output[16384];
};

/* 0; 77 when this machine cannot run such tests, after saying why. */
int world_make(struct world *world);
void world_remove(struct world *world);
/* A process of the tenant's uid outside of every sandbox. */
void world_start_victim(struct world *world);
void world_end_victim(struct world *world);
/* How many connections the listeners have had since the last time. */
unsigned world_connections(const struct world *world);

/* One execution in a sandbox of its own, without the layers `off`. */
void try_inside(struct world *world, const char *probe, unsigned off,
    struct tried *tried);
/* In namespaces, so that what succeeds harms nobody; but with root's rights,
 * the host's files and a descriptor or two too many. */
void try_outside(struct world *world, const char *probe, struct tried *tried);

/*
 * What a plan does not allow to be left out is left out behind its back, for
 * the sandboxes that this process starts from now on: LAYER_MOUNT (the host's
 * tree, writable, in the fresh root's place) and LAYER_PID.
 */
void weak_begin(unsigned layers);
/* Whether each of them was in fact left out since. */
bool weak_end(void);

#endif
