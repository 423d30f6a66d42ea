/*
 * The two roles that the spawner starts: gateway and scanner.  Starting one
 * with its descriptors, sending to it without ever waiting for it, receiving
 * checked messages, and starting it anew, ever less often, when it ends.  One
 * that sends what it may not, or does not read what it is sent, is killed.
 * What the messages mean is the callers'.  Spawner only.
 */
#ifndef FCGI_HOST_CHILDREN_H
#define FCGI_HOST_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/parcel.h"

#define CHILD_FDS_MAX 2
#define CHILD_FD_FIRST 4 /* 0-2 as usual, 3 is the socket to the spawner */

struct child;

struct child_ops {
	/* It was just started: send it what it needs first. */
	void (*up)(void *arg);
	/* A message, checked as one that this role may send; *fd is its
	 * descriptor or -1, left open it is closed.  0, or a negative errno:
	 * no honest role sends this, so it is killed. */
	int (*message)(void *arg, const struct ctl_msg *msg, int *fd);
	/* It has ended and been reaped. */
	void (*down)(void *arg, int wait_status);
	/* It could not be started; it is tried again. */
	void (*not_started)(void *arg);
	/* May it be started now?  False: asked again soon. */
	bool (*may_start)(void *arg);
};

struct child_spec {
	const char *name;    /* for the log */
	const char *program; /* absolute path */
	uid_t uid;
	gid_t gid;
	int fds[CHILD_FDS_MAX]; /* borrowed; become 4 and 5; -1: none */
	unsigned way;           /* CTL_WAY_ of what it sends */
	bool may_send_fd;
	size_t envs_max;        /* told to it, unless 0 */
	int again_exit; /* with it the child asks for a new one; 0: never */
};

/* spec is copied, but for its strings.  NULL: no memory. */
struct child *child_new(struct loop *loop, const struct child_spec *spec,
    const struct child_ops *ops, void *arg);
/* Kills what runs, and reaps it. */
void child_free(struct child *child);

/* Starts it, now and whenever it ends, until child_end. */
void child_run(struct child *child);

/* Not started any more; what runs has within_ms to end by itself (0: is killed
 * at once).  `down` follows if it runs. */
void child_end(struct child *child, unsigned within_ms);

/* Kills a child that misbehaves; it is started anew later.  why: for the
 * log. */
void child_kill(struct child *child, const char *why);

bool child_is_up(const struct child *child);

/* Queues a parcel (takes one reference, also when it cannot be sent).  NULL is
 * the failed making of one: the child is killed, for it would miss something.
 */
void child_send(struct child *child, struct parcel *parcel);

#endif
