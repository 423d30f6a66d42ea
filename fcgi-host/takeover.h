/*
 * One host takes over from another that runs on the same `run`: both sides of
 * RUN/takeover.sock.  The old one hands out its listening sockets; the new one,
 * when nothing can go wrong any more, says go; the old one drains and ends, and
 * connections wait meanwhile in sockets that both have.  What they say is words,
 * not structs, because they may be of different versions.  Root to root.
 * Spawner only.
 */
#ifndef FCGI_HOST_TAKEOVER_H
#define FCGI_HOST_TAKEOVER_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/carried.h"
#include "fcgi-host/given.h"
#include "fcgi-host/listeners.h"
#include "fcgi-host/loop.h"

#define TAKEOVER_SOCKET "takeover.sock"

/* The new host.  Adds the sockets of the host that runs in `run` to given, under
 * names as if they had been stored.  A connection to it; -ENOENT: none runs
 * there; -ECANCELED: SIGTERM or SIGINT came
 * meanwhile; or another negative errno with a sentence. */
int takeover_ask(const char *run, struct given *given, char *problem,
    size_t size);
/* Says go, and waits until the old host has ended.  0; -ECANCELED, as above: the
 * old one ends all the same; or a negative errno with a sentence. */
int takeover_go(int fd, char *problem, size_t size);

/* The old host. */
struct takeover;

/* fd: RUN's socket, listening; borrowed, as all is.  go: the successor has the
 * sockets; it is time to drain.  NULL: no memory. */
struct takeover *takeover_new(struct loop *loop, int fd,
    const struct listeners *listeners, const struct carried *carried,
    void (*go)(void *arg), void *arg);
/* Whether somebody said go, and is still there. */
bool takeover_has_successor(const struct takeover *takeover);
/* Tells a successor that nothing of this host is left. */
void takeover_free(struct takeover *takeover);

#endif
