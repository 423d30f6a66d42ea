#include "fcgi-host/channel.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>

#include "fcgi-host/sock.h"

void
channel_init(struct channel *channel, struct loop *loop)
{
	*channel = (struct channel){ .loop = loop, .fd = -1,
		.io = LOOP_IO_INIT };
}

static void
take(struct channel *channel)
{
	uint8_t bytes[CHANNEL_LOOK_MAX];

	while (channel->taken > 0) {
		ssize_t n = recv(channel->fd, bytes, channel->taken,
		    MSG_DONTWAIT);

		if (n <= 0 && errno == EINTR)
			continue;
		channel->taken -= n > 0 ? (size_t)n : channel->taken;
	}
}

ssize_t
channel_look(struct channel *channel, void *out, size_t size)
{
	ssize_t n;

	take(channel);
	n = recv(channel->fd, out, size < CHANNEL_LOOK_MAX ? size :
	    CHANNEL_LOOK_MAX, MSG_PEEK | MSG_DONTWAIT);
	if (n > 0)
		channel->taken = (size_t)n;
	return n < 0 ? -errno : n;
}

ssize_t
channel_receive(struct channel *channel, void *out, size_t size)
{
	ssize_t n;

	take(channel);
	n = recv(channel->fd, out, size, MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

ssize_t
channel_send(struct channel *channel, const void *data, size_t n)
{
	ssize_t sent = send(channel->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	sent = sent < 0 ? -errno : sent;
	take(channel);
	return sent;
}

void
channel_close(struct channel *channel)
{
	/* left there it would make the close a reset */
	take(channel);
	loop_io_del(channel->loop, &channel->io);
	close_fd(&channel->fd);
	channel->fn = NULL;
	channel->arg = NULL;
}

/* One address for all executions, so that going from one to the next changes
 * nothing in the loop. */
static void
channel_ready(void *arg, uint32_t events)
{
	struct channel *channel = arg;

	if (channel->fn != NULL) {
		channel->fn(channel->arg, events);
		return;
	}
	channel_unasked(channel);
}

/* The program hung up, or speaks unasked.  An event of this turn of the loop may
 * stand for what was read since. */
void
channel_unasked(struct channel *channel)
{
	uint8_t byte;

	take(channel);
	if (recv(channel->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	    errno == EAGAIN)
		return;
	channel->is_single_use = true;
	channel_close(channel);
}

int
channel_connect(struct channel *channel, const char *path)
{
	int fd;

	channel_close(channel);
	fd = sock_connect_unix(path);
	if (fd < 0)
		return fd;
	sock_refuse_descriptors(fd);
	channel->fd = fd;
	channel->id = 1;
	return 0;
}

bool
channel_is_kept(const struct channel *channel)
{
	return channel->fd >= 0 && channel->fn == NULL;
}

void
channel_reuse(struct channel *channel)
{
	channel->id = (uint16_t)(channel->id % UINT16_MAX + 1);
}

int
channel_watch(struct channel *channel, uint32_t events, loop_io_fn *fn,
    void *arg)
{
	channel->fn = fn;
	channel->arg = arg;
	if (channel->io.fd >= 0)
		return loop_io_set(channel->loop, &channel->io, events);
	return events == 0 ? 0 : loop_io_add(channel->loop, &channel->io,
	    channel->fd, events, channel_ready, channel);
}

bool
channel_is_reset(struct channel *channel)
{
	uint8_t byte;

	take(channel);
	return recv(channel->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	    errno == ECONNRESET;
}

bool
channel_is_silent(const struct channel *channel)
{
	uint8_t byte;

	return channel->fd >= 0 && recv(channel->fd, &byte, 1,
	    MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool
channel_is_read(const struct channel *channel)
{
	int left = 0;

	return ioctl(channel->fd, SIOCOUTQ, &left) == 0 && left == 0;
}

void
channel_keep(struct channel *channel)
{
	if (channel->is_single_use ||
	    channel_watch(channel, EPOLLIN, NULL, NULL) < 0)
		channel_close(channel);
}
