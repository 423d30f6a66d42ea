/*
 * The connection to a FastCGI program.  It belongs to the instance, and one
 * execution at a time uses it; between two it may stay open.  Then nothing is
 * to come from the program: whatever does closes it.  Each request on it has
 * the next id, so that what belongs to the one before is known for that.
 * Source: FastCGI 1.0 section 3.5, FCGI_KEEP_CONN.
 */
#ifndef FCGI_HOST_CHANNEL_H
#define FCGI_HOST_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/loop.h"

/* Of an answer, what is looked at before it is taken. */
#define CHANNEL_LOOK_MAX 4096

/* libfcgi reads so much at once: a request of this size is read whole, or not
 * at all. */
#define CHANNEL_REQUEST_MAX 8192

struct channel {
	struct loop *loop;
	int fd; /* -1: none */
	struct loop_io io;
	size_t taken;        /* bytes that were looked at, and lie there still */
	uint16_t id;         /* of the request on it, or of the last one */
	bool is_single_use;  /* its program keeps none: one for each request */
	loop_io_fn *fn;      /* who uses it; NULL: nobody, it is kept */
	void *arg;
};

void channel_init(struct channel *channel, struct loop *loop);
/* Connects, in place of one that was kept; libfcgi, which waits on that, looks at
 * no other meanwhile.  The id is 1.  0 or negative errno. */
int channel_connect(struct channel *channel, const char *path);
/* Whether one is open that was kept.  channel_reuse gives it its next id. */
bool channel_is_kept(const struct channel *channel);
void channel_reuse(struct channel *channel);
/* Whom to call on which events (0: none at all).  0 or negative errno. */
int channel_watch(struct channel *channel, uint32_t events, loop_io_fn *fn,
    void *arg);
/*
 * As recv(2) and send(2), without waiting; negative errno.  channel_look leaves
 * the bytes where they are until more is received or sent.  To take them wakes a
 * program that waits for its next request, since a Unix socket tells of room to all
 * who sleep on it: right behind that request it is awake.
 */
ssize_t channel_look(struct channel *channel, void *out, size_t size);
ssize_t channel_receive(struct channel *channel, void *out, size_t size);
ssize_t channel_send(struct channel *channel, const void *data, size_t n);
/* Whether it was closed while bytes of ours lay unread, and nothing had come.  Says
 * so once: to look takes the reset away. */
bool channel_is_reset(struct channel *channel);
/* Whether it is open and nothing has come.  With every process of the program dead,
 * all that it had accepted is closed: such a one lies in the backlog of the socket
 * that init holds. */
bool channel_is_silent(const struct channel *channel);
/* Whether the program has read all that was sent on it. */
bool channel_is_read(const struct channel *channel);
/* An event while nothing is to come: closes it, unless it was a false alarm. */
void channel_unasked(struct channel *channel);
/* The execution is over; closes it if it cannot be kept. */
void channel_keep(struct channel *channel);
void channel_close(struct channel *channel);

#endif
