/*
 * The way to a running host: one command over its control socket.  The
 * command of the person who types it, who must be root or of the service's
 * group.
 */
#ifndef FCGI_HOST_CMD_CTL_H
#define FCGI_HOST_CMD_CTL_H

#include <stddef.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"

/*
 * Connects to RUN/control.sock and sends the command, with *fd (-1: none) as
 * its descriptor.  The socket, or a negative errno after a sentence on
 * standard error.
 */
int ctl_ask(const struct conf *conf, enum ctl_verb verb, int fd);

/* The same without a descriptor and without a sentence: -ENOENT and
 * -ECONNREFUSED, no host runs. */
int ctl_try(const struct conf *conf, enum ctl_verb verb);

/* The same with a message of any kind. */
int ctl_send(const struct conf *conf, const struct ctl_msg *msg, int fd);

/* Receives one message that may go to a command.  0, or a negative errno after
 * a sentence on standard error (also when the host ended the connection).
 * timeout_ms -1: waits for ever. */
int ctl_receive(int sock, struct ctl_msg *msg, int timeout_ms);

/* The same with up to `max` descriptors, the caller's; those that did not come
 * are -1. */
int ctl_receive_fds(int sock, struct ctl_msg *msg, int timeout_ms, int *fds,
    size_t max);

/* The same without waiting on a non-blocking socket and without sentences:
 * 0, -EAGAIN, -ECONNRESET (the end), -EPROTO, or another negative errno. */
int ctl_take(int sock, struct ctl_msg *msg);

#endif
