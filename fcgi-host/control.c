#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "fcgi-host/control.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define CLIENTS_MAX 16
#define SILENCE_MS 5000
#define ACCEPTS_PER_EVENT 4

struct control_client {
	struct control *control;
	struct control_client *next;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task free_task;
	bool is_asking; /* its command came, its answer is not out */
	uid_t uid;
};

struct control {
	struct loop *loop;
	struct loop_io io;
	int fd;
	uid_t refused;
	const struct control_ops *ops;
	void *arg;
	struct control_client *clients;
	unsigned count;
};

static void
let_go(struct control_client *client)
{
	struct control *control = client->control;
	struct control_client **place = &control->clients;

	while (*place != client)
		place = &(*place)->next;
	*place = client->next;
	control->count--;
	loop_timer_cancel(control->loop, &client->timer);
	loop_io_del(control->loop, &client->io);
	loop_defer(control->loop, &client->free_task, free, client);
	/* Those that waited in the backlog have their turn. */
	(void)loop_io_set(control->loop, &control->io, EPOLLIN);
}

int
control_take(struct control_client *client)
{
	int fd = client->io.fd;

	let_go(client);
	return fd;
}

static void
drop(struct control_client *client)
{
	int fd = control_take(client);

	close_fd(&fd);
}

void
control_reply(struct control_client *client, int code, const char *fmt, ...)
{
	struct ctl_msg msg;
	char *text = msg.u.reply.text;
	va_list args;
	size_t i;

	if (client == NULL)
		return;
	ctl_msg_init(&msg, CTL_REPLY);
	msg.u.reply.code = code;
	va_start(args, fmt);
	vsnprintf(text, sizeof(msg.u.reply.text), fmt, args);
	va_end(args);
	for (i = 0; text[i] != '\0'; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			text[i] = text[i] == '\n' ? ';' : '?';
	/* One message always fits an empty socket buffer; a client that is
	 * gone misses it. */
	(void)sock_send(client->io.fd, &msg, msg.size, NULL, 0);
	drop(client);
}

int
control_send(struct control_client *client, const struct ctl_msg *msg,
    const int *fds, size_t fd_count)
{
	return sock_send(client->io.fd, msg, msg->size, fds, fd_count);
}

uid_t
control_uid(const struct control_client *client)
{
	return client->uid;
}

static void
on_silence(void *arg)
{
	drop(arg);
}

/* After its command a client says nothing more: anything is its leaving. */
static void
on_leaving(struct control_client *client)
{
	struct control *control = client->control;

	control->ops->left(control->arg, client);
	drop(client);
}

static void
on_client(void *arg, uint32_t events)
{
	struct control_client *client = arg;
	struct control *control = client->control;
	CLEANUP_FD int fd = -1;
	size_t fd_count = 0;
	struct ctl_msg msg;
	ssize_t n;

	(void)events;
	if (client->is_asking) {
		on_leaving(client);
		return;
	}
	n = sock_recv(client->io.fd, &msg, sizeof(msg), &fd, 1, &fd_count);
	if (n == -EAGAIN)
		return;
	if (n <= 0 || ctl_msg_check(&msg, (size_t)n, fd_count,
	    CTL_WAY_COMMAND_TO_SPAWNER) != 0) {
		if (n > 0)
			control_reply(client, EPROTO, "the host does not know "
			    "this command; command and host are of different "
			    "versions");
		else
			drop(client);
		return;
	}
	loop_timer_cancel(control->loop, &client->timer);
	client->is_asking = true;
	if (msg.type == CTL_SHELL)
		control->ops->shell(control->arg, client, &msg.u.shell, &fd);
	else
		control->ops->command(control->arg, client,
		    (enum ctl_verb)msg.u.command.verb, &fd);
}

/* 0, or a negative errno; takes fd. */
static int
welcome(struct control *control, int fd)
{
	struct control_client *client;
	uid_t uid;
	gid_t gid;
	int error = sock_peer(fd, &uid, &gid);

	client = error == 0 ? calloc(1, sizeof(*client)) : NULL;
	if (client == NULL) {
		close_fd(&fd);
		return error != 0 ? error : -ENOMEM;
	}
	client->control = control;
	client->io.fd = -1;
	client->uid = uid;
	error = loop_io_add(control->loop, &client->io, fd, EPOLLIN, on_client,
	    client);
	if (error == 0)
		error = loop_timer_set(control->loop, &client->timer,
		    loop_clock_us() + (uint64_t)SILENCE_MS * 1000, on_silence,
		    client);
	if (error != 0) {
		loop_io_del(control->loop, &client->io);
		close_fd(&fd);
		free(client);
		return error;
	}
	client->next = control->clients;
	control->clients = client;
	control->count++;
	if (uid == control->refused) {
		log_event(LOG_WARN, "control_refused", "uid=%lu",
		    (unsigned long)uid);
		control_reply(client, EPERM, "the account of gateway and "
		    "scanner gives no commands; be root or in its group");
	}
	return 0;
}

static void
on_connection(void *arg, uint32_t events)
{
	struct control *control = arg;
	int i, fd, error = 0;

	(void)events;
	for (i = 0; i < ACCEPTS_PER_EVENT && error == 0; i++) {
		/* Who comes too many waits in the backlog. */
		if (control->count >= CLIENTS_MAX) {
			(void)loop_io_set(control->loop, &control->io, 0);
			return;
		}
		fd = accept4(control->fd, NULL, NULL,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		error = fd >= 0 ? welcome(control, fd) : -errno;
	}
	if (error != 0 && error != -EAGAIN && error != -ECONNABORTED &&
	    error != -EINTR)
		log_event(LOG_WARN, "control_accept", "error=\"%s\"",
		    strerror(-error));
}

struct control *
control_new(struct loop *loop, int fd, uid_t refused,
    const struct control_ops *ops, void *arg)
{
	struct control *control = calloc(1, sizeof(*control));

	if (control == NULL)
		return NULL;
	control->loop = loop;
	control->fd = fd;
	control->refused = refused;
	control->ops = ops;
	control->arg = arg;
	control->io.fd = -1;
	if (loop_io_add(loop, &control->io, fd, EPOLLIN, on_connection,
	    control) != 0) {
		free(control);
		return NULL;
	}
	return control;
}

/* Outside of loop_run the deferred frees would never come: so at once. */
void
control_free(struct control *control)
{
	if (control == NULL)
		return;
	while (control->clients != NULL) {
		struct control_client *client = control->clients;
		int fd = client->io.fd;

		control->clients = client->next;
		loop_timer_cancel(control->loop, &client->timer);
		loop_io_del(control->loop, &client->io);
		close_fd(&fd);
		free(client);
	}
	loop_io_del(control->loop, &control->io);
	free(control);
}
