/*
 * The control socket: who types a command connects here, sends one CTL_COMMAND
 * and waits for its CTL_REPLY.  The socket's mode lets in root and the group
 * of the service; the service's own account, under which only gateway and
 * scanner run, is turned away.  Bounded clients, who must speak soon.  Spawner
 * only.
 */
#ifndef FCGI_HOST_CONTROL_H
#define FCGI_HOST_CONTROL_H

#include <stddef.h>
#include <sys/types.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/loop.h"

struct control;
struct control_client;

struct control_ops {
	/* A command; *fd is its descriptor or -1, left open it is closed.  The
	 * client is answered, now or later, by control_reply, or taken. */
	void (*command)(void *arg, struct control_client *client,
	    enum ctl_verb verb, int *fd);
	/* The same of one who asks for a shell. */
	void (*shell)(void *arg, struct control_client *client,
	    const struct ctl_shell *shell, int *fd);
	/* A client left before its answer; it is no more. */
	void (*left)(void *arg, struct control_client *client);
};

/* fd: the listening socket, borrowed.  refused: the service's own account.
 * NULL: no memory, or no descriptor. */
struct control *control_new(struct loop *loop, int fd, uid_t refused,
    const struct control_ops *ops, void *arg);
void control_free(struct control *control);

/* Answers with a code (0, or a positive errno) and a sentence, and lets go of
 * the client.  What is not printable ASCII in the text is replaced.  NULL is
 * accepted: nobody waits. */
void control_reply(struct control_client *client, int code, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* Sends a message with descriptors (borrowed) and keeps the client, whose leaving
 * is told.  0 or negative errno. */
int control_send(struct control_client *client, const struct ctl_msg *msg,
    const int *fds, size_t fd_count);
/* Who it is, as the kernel says. */
uid_t control_uid(const struct control_client *client);

/* Lets go of the client and returns its connection, owned by the caller. */
int control_take(struct control_client *client);

#endif
