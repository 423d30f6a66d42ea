#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/takeover.h"

/* The words, each a message.  GREETING changes when their meaning does. */
#define GREETING "fcgi-host takeover 1"
#define OURS "ours"   /* with a socket that the host made */
#define GIVEN "given" /* with one that it was given */
#define KEPT "kept"   /* with the end of the pair of carried.h */
#define READY "ready" /* that was all; to be answered by GO */
#define GO "go"
#define ENDED "ended"
#define WORD_MAX 64
#define ANSWER_MS 5000
/* Longer than a drain may take, with all that can go wrong in it. */
#define DRAIN_MS 60000
/* How soon a signal to stop is seen. */
#define SLICE_MS 100
/* The successor has nothing to do meanwhile but look. */
#define SILENCE_MS 10000

static int
say(int fd, const char *word, int with)
{
	return sock_send(fd, word, strlen(word), &with, with >= 0 ? 1 : 0);
}

static bool
is_word(const char *word, ssize_t n, const char *wanted)
{
	return n == (ssize_t)strlen(wanted) &&
	    memcmp(word, wanted, (size_t)n) == 0;
}

/* ------------------------------------------------------------- the new host */

/* The spawner's signals are blocked from its start on, and the loop that takes
 * them does not run yet. */
static bool
is_told_to_stop(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) ||
	    sigismember(&pending, SIGINT));
}

/* 0, or a negative errno; -ECANCELED: told to stop meanwhile. */
static int
hear(int fd, int within_ms, char word[WORD_MAX], ssize_t *n, int *with)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	size_t count = 0;
	int ready, waited_ms = 0;

	do {
		if (is_told_to_stop())
			return -ECANCELED;
		ready = poll(&wait, 1, SLICE_MS);
		waited_ms += SLICE_MS;
	} while (ready == 0 ? waited_ms < within_ms :
	    ready < 0 && errno == EINTR);
	if (ready == 0)
		return -ETIMEDOUT;
	*n = sock_recv(fd, word, WORD_MAX, with, 1, &count);
	if (*n == 0)
		return -ECONNRESET;
	if (count == 0)
		*with = -1;
	return *n < 0 ? (int)*n : 0;
}

static int
reach(const char *run)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int n = snprintf(address.sun_path, sizeof(address.sun_path),
	    "%s/" TAKEOVER_SOCKET, run);
	uid_t uid;
	gid_t gid;
	int error;

	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	error = sock_peer(fd, &uid, &gid);
	if (error == 0 && uid != geteuid())
		error = -EPERM;
	return error != 0 ? error : steal_fd(&fd);
}

static int
take(struct given *given, const char *word, ssize_t n, int *fd)
{
	struct given_fd *place = &given->at[given->count];

	if (given->count == GIVEN_MAX)
		return -ENOSPC;
	if (is_word(word, n, OURS))
		snprintf(place->name, sizeof(place->name), LISTENERS_STORED
		    "of-the-other-host");
	else if (is_word(word, n, KEPT))
		snprintf(place->name, sizeof(place->name), CARRIED_NAME);
	else if (is_word(word, n, GIVEN))
		snprintf(place->name, sizeof(place->name),
		    LISTENERS_HANDED_ON);
	else
		return -EPROTO;
	if (*fd < 0)
		return -EPROTO;
	place->number = *fd;
	place->fd = steal_fd(fd);
	given->count++;
	return 0;
}

static int
hear_all(int fd, struct given *given)
{
	bool is_greeted = false;

	for (;;) {
		CLEANUP_FD int with = -1;
		char word[WORD_MAX];
		ssize_t n;
		int error = hear(fd, ANSWER_MS, word, &n, &with);

		if (error == 0 && is_greeted && is_word(word, n, READY))
			return 0;
		if (error == 0 && is_greeted)
			error = take(given, word, n, &with);
		else if (error == 0 && !is_word(word, n, GREETING))
			error = -EPROTO;
		if (error != 0)
			return error;
		is_greeted = true;
	}
}

int
takeover_ask(const char *run, struct given *given, char *problem, size_t size)
{
	CLEANUP_FD int fd = reach(run);
	int error = fd >= 0 ? hear_all(fd, given) : fd;

	if (error == 0)
		return steal_fd(&fd);
	if (error != -ENOENT && error != -ECANCELED)
		snprintf(problem, size, "the host that runs in %s does not "
		    "hand over its sockets: %s; it goes on; stop it, then "
		    "start this one", run, error == -EPROTO ?
		    "it is of a version that does it otherwise" :
		    strerror(-error));
	return error;
}

int
takeover_go(int fd, char *problem, size_t size)
{
	int error = say(fd, GO, -1);
	CLEANUP_FD int with = -1;
	char word[WORD_MAX];
	ssize_t n;

	if (error == 0)
		error = hear(fd, DRAIN_MS, word, &n, &with);
	/* One that dies meanwhile leaves what it owes in the table. */
	if (error == 0 || error == -EPIPE || error == -ECONNRESET)
		return 0;
	if (error == -ECANCELED)
		return error;
	snprintf(problem, size, "the host that ran here was told to end, and "
	    "does not: %s; look into its log", strerror(-error));
	return error;
}

/* ------------------------------------------------------------- the old host */

struct takeover {
	struct loop *loop;
	struct loop_io listen_io, io;
	struct loop_timer silence;
	int fd; /* the successor, one at a time, or -1 */
	bool is_going; /* it said go */
	const struct listeners *listeners;
	const struct carried *carried;
	void (*go)(void *arg);
	void *arg;
};

static void
leave(struct takeover *takeover)
{
	loop_timer_cancel(takeover->loop, &takeover->silence);
	loop_io_del(takeover->loop, &takeover->io);
	close_fd(&takeover->fd);
	(void)loop_io_set(takeover->loop, &takeover->listen_io, EPOLLIN);
}

static void
on_silence(void *arg)
{
	leave(arg);
}

static void
on_word(void *arg, uint32_t events)
{
	struct takeover *takeover = arg;
	char word[WORD_MAX];
	ssize_t n = sock_recv(takeover->fd, word, sizeof(word), NULL, 0, NULL);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (takeover->is_going || !is_word(word, n, GO)) {
		leave(takeover);
		return;
	}
	loop_timer_cancel(takeover->loop, &takeover->silence);
	takeover->is_going = true;
	takeover->go(takeover->arg);
}

static int
hand_out(const struct takeover *takeover)
{
	const struct listeners *listeners = takeover->listeners;
	int error = say(takeover->fd, GREETING, -1);
	size_t i;

	for (i = 0; i < listeners->count && error == 0; i++)
		error = say(takeover->fd, listeners->is_ours[i] ? OURS : GIVEN,
		    listeners->fd[i]);
	if (error == 0 && takeover->carried->out >= 0)
		error = say(takeover->fd, KEPT, takeover->carried->out);
	return error == 0 ? say(takeover->fd, READY, -1) : error;
}

static int
welcome(struct takeover *takeover)
{
	uid_t uid;
	gid_t gid;
	int error = sock_peer(takeover->fd, &uid, &gid);

	if (error == 0 && uid != geteuid())
		error = -EPERM;
	if (error == 0)
		error = loop_io_add(takeover->loop, &takeover->io,
		    takeover->fd, EPOLLIN, on_word, takeover);
	if (error == 0)
		error = loop_timer_set(takeover->loop, &takeover->silence,
		    loop_clock_us() + (uint64_t)SILENCE_MS * 1000, on_silence,
		    takeover);
	return error == 0 ? hand_out(takeover) : error;
}

static void
on_successor(void *arg, uint32_t events)
{
	struct takeover *takeover = arg;
	int error;

	(void)events;
	takeover->fd = accept4(takeover->listen_io.fd, NULL, NULL,
	    SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (takeover->fd < 0)
		return;
	/* The next one waits until this one has left. */
	(void)loop_io_set(takeover->loop, &takeover->listen_io, 0);
	error = welcome(takeover);
	log_event(error == 0 ? LOG_INFO : LOG_WARN, "takeover",
	    "sockets=%zu error=\"%s\"", takeover->listeners->count,
	    error == 0 ? "" : strerror(-error));
	if (error != 0)
		leave(takeover);
}

struct takeover *
takeover_new(struct loop *loop, int fd, const struct listeners *listeners,
    const struct carried *carried, void (*go)(void *arg), void *arg)
{
	struct takeover *takeover = calloc(1, sizeof(*takeover));

	if (takeover == NULL)
		return NULL;
	takeover->loop = loop;
	takeover->fd = takeover->io.fd = takeover->listen_io.fd = -1;
	takeover->listeners = listeners;
	takeover->carried = carried;
	takeover->go = go;
	takeover->arg = arg;
	if (loop_io_add(loop, &takeover->listen_io, fd, EPOLLIN, on_successor,
	    takeover) != 0) {
		free(takeover);
		return NULL;
	}
	return takeover;
}

bool
takeover_has_successor(const struct takeover *takeover)
{
	return takeover->is_going && takeover->fd >= 0;
}

void
takeover_free(struct takeover *takeover)
{
	if (takeover == NULL)
		return;
	if (takeover_has_successor(takeover))
		(void)say(takeover->fd, ENDED, -1);
	leave(takeover);
	loop_io_del(takeover->loop, &takeover->listen_io);
	free(takeover);
}
