/*
 * The sockets on which web servers connect, one for each `listen` of the
 * configuration.  Three origins: made here; made by an earlier run, and stored
 * with the service manager, which hands it over (its name begins with
 * LISTENERS_STORED); or the service manager's own, of a .socket unit, who then
 * decides about mode and group, and whose the socket's file is.  Spawner only.
 */
#ifndef FCGI_HOST_LISTENERS_H
#define FCGI_HOST_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/given.h"

#define LISTENERS_STORED "listen-"
/* The name of one that the host which is taken over was given. */
#define LISTENERS_HANDED_ON "of the host that runs"

struct listeners {
	int fd[CONF_LISTEN_MAX];       /* in the order of conf->listen */
	bool is_ours[CONF_LISTEN_MAX]; /* made by this host, or an earlier run */
	bool is_back[CONF_LISTEN_MAX]; /* will be ours: before listeners_settle */
	size_t count;
};

enum listeners_end {
	LISTENERS_STOP,     /* perhaps to be started again */
	LISTENERS_FOR_GOOD, /* a person asked for the end */
	LISTENERS_HANDED    /* a successor has them */
};

/*
 * Each given descriptor must be a listening socket that a `listen` names, and
 * takes its place; what is left is made.  Nothing that is there is changed yet.
 * 0, or a negative errno with a sentence; listeners_close is then still to be
 * called.
 */
int listeners_open(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size);
/* From here on nobody else serves: what was stored and is of no use any more is
 * given up, mode and group are put into effect.  As listeners_open. */
int listeners_settle(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size);
/* Stores what is ours with the service manager, so that clients wait from one
 * run to the next instead of being refused. */
void listeners_store(const struct listeners *listeners,
    const struct conf *conf);
/*
 * Closes all.  For good: those that are ours are taken out of the store and
 * unlinked.  At a stop a service manager that stores has them, and whether there
 * is a next run, only it knows: else they are unlinked.
 */
void listeners_close(struct listeners *listeners, const struct conf *conf,
    enum listeners_end end);

#endif
