/*
 * The sockets on which web servers connect, one for each `listen` of the
 * configuration: made here, or given by the service manager, who then decides
 * about mode and group, and whose the socket's file is.  Spawner only.
 */
#ifndef FCGI_HOST_LISTENERS_H
#define FCGI_HOST_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/given.h"

struct listeners {
	int fd[CONF_LISTEN_MAX];       /* in the order of conf->listen */
	bool is_ours[CONF_LISTEN_MAX]; /* its file goes with it */
	size_t count;
};

/*
 * Each given descriptor must be a listening socket that a `listen` names, and
 * takes its place; what is left is made.  0, or a negative errno with a
 * sentence; listeners_close is then still to be called.
 */
int listeners_open(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size);
/* Closes all, and unlinks those that are ours. */
void listeners_close(struct listeners *listeners, const struct conf *conf);

#endif
