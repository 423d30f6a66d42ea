/*
 * Children that were killed and may hang in the kernel all the same, as in a mount
 * of a dead server.  One that does dies when it comes back; nobody waits for that,
 * and a later start takes it out of the table of processes.
 */
#ifndef SANDBOX_GRAVE_H
#define SANDBOX_GRAVE_H

#include <stddef.h>

/* Beyond that the one that hangs longest stays a zombie until the host ends. */
#define GRAVES_MAX 32

struct graves {
	int pidfds[GRAVES_MAX]; /* of those that hang */
	size_t count;
};

/* Kills a child and reaps it, or, when it does not die within a second, keeps its
 * pidfd for graves_reap.  Takes *pidfd. */
void graves_bury(struct graves *graves, int *pidfd);

/* Reaps those that have died since; does not wait. */
void graves_reap(struct graves *graves);

/* Forgets them all. */
void graves_close(struct graves *graves);

#endif
