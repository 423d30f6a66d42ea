/*
 * The floor: a bare FastCGI relay on epoll, the least that any host between a
 * web server and libfcgi programs has to do.  Each request goes to one of the
 * workers' sockets, or waits until one is free.  No policy, no records, no
 * bounds, no defence: what is malformed ends the program.
 *
 *   floor [-kr] LISTEN WORKER…
 *
 * -k keeps one connection to each worker and uses it again (FCGI_KEEP_CONN),
 * otherwise each request has a connection of its own.  -r asks the workers in
 * turn, as if each were another function; otherwise the first that is free.
 */
#include <err.h>
#include <errno.h>
#include <fastcgi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX (64u * 1024)
#define EVENTS 64

struct front {
	TAILQ_ENTRY(front) in;
	int fd;
	bool is_closed, is_busy, keeps;
	size_t have;
	uint8_t data[REQUEST_MAX];
};

struct worker {
	const char *path;
	int fd; /* -1: not connected */
	struct front *front; /* NULL: idle */
	/* where the answer's record stands, however it is cut */
	uint8_t header[FCGI_HEADER_LEN];
	size_t header_have, content_left;
};


static struct {
	int epoll_fd, listen_fd, worker_count;
	bool keeps, is_in_turn;
	int first; /* to be looked at */
	struct worker *workers;
	TAILQ_HEAD(, front) waiting;
} relay;

static int
unix_socket(const char *path, bool is_listening)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
	    (is_listening ? SOCK_NONBLOCK : 0), 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		err(1, "%s", path);
	strcpy(address.sun_path, path);
	if (is_listening ?
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 4096) < 0 :
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "%s", path);
	return fd;
}

static void
watch(int fd, void *what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = what };

	if (epoll_ctl(relay.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void
send_all(int fd, const void *data, size_t n)
{
	ssize_t out = send(fd, data, n, MSG_NOSIGNAL);

	/* a hello world fits into every socket's buffer */
	if (out != (ssize_t)n && errno != EPIPE && errno != ECONNRESET)
		err(1, "send");
}

static void
dispatch(struct worker *worker, struct front *front)
{
	if (worker->fd < 0) {
		worker->fd = unix_socket(worker->path, false);
		watch(worker->fd, worker);
	}
	worker->front = front;
	/* BEGIN_REQUEST stands first: its flags are the third byte */
	front->keeps = (front->data[FCGI_HEADER_LEN + 2] & FCGI_KEEP_CONN) != 0;
	front->data[FCGI_HEADER_LEN + 2] = relay.keeps ? FCGI_KEEP_CONN : 0;
	send_all(worker->fd, front->data, front->have);
	front->have = 0;
}

static void
submit(struct front *front)
{
	front->is_busy = true;
	for (int i = 0; i < relay.worker_count; i++) {
		int number = (relay.first + i) % relay.worker_count;

		if (relay.workers[number].front == NULL) {
			relay.first = relay.is_in_turn ? number + 1 : 0;
			dispatch(&relay.workers[number], front);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&relay.waiting, front, in);
}

/* Whether the data ends with an empty STDIN record. */
static bool
is_whole(const uint8_t *data, size_t n)
{
	size_t at = 0;

	while (n - at >= FCGI_HEADER_LEN) {
		const uint8_t *header = data + at;
		size_t content = (size_t)header[4] << 8 | header[5];

		if (header[1] == FCGI_STDIN && content == 0)
			return true;
		if (n - at < FCGI_HEADER_LEN + content + header[6])
			return false;
		at += FCGI_HEADER_LEN + content + header[6];
	}
	return false;
}

static void
front_close(struct front *front)
{
	close(front->fd);
	front->is_closed = true;
	if (!front->is_busy)
		free(front);
}

static void
front_read(struct front *front)
{
	ssize_t n = recv(front->fd, front->data + front->have,
	    sizeof(front->data) - front->have, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		front_close(front);
		return;
	}
	front->have += (size_t)n;
	if (!front->is_busy && is_whole(front->data, front->have))
		submit(front);
}

static void
finish(struct worker *worker)
{
	struct front *front = worker->front, *next;

	worker->front = NULL;
	if (!relay.keeps) {
		close(worker->fd);
		worker->fd = -1;
	}
	front->is_busy = false;
	if (front->is_closed)
		free(front);
	else if (!front->keeps)
		front_close(front);
	next = TAILQ_FIRST(&relay.waiting);
	if (next != NULL) {
		TAILQ_REMOVE(&relay.waiting, next, in);
		dispatch(worker, next);
	}
}

/* Whether the answer's END_REQUEST is among the bytes. */
static bool
answer_follow(struct worker *worker, const uint8_t *data, size_t n)
{
	while (n > 0) {
		size_t part = n < worker->content_left ? n :
		    worker->content_left;

		worker->content_left -= part;
		data += part;
		n -= part;
		while (n > 0 && worker->content_left == 0 &&
		    worker->header_have < FCGI_HEADER_LEN) {
			worker->header[worker->header_have++] = *data++;
			n--;
		}
		if (worker->header_have == FCGI_HEADER_LEN &&
		    worker->content_left == 0) {
			worker->content_left = (size_t)worker->header[4] << 8 |
			    worker->header[5];
			worker->content_left += worker->header[6];
			worker->header_have = 0;
		}
		if (worker->header[1] == FCGI_END_REQUEST && n == 0 &&
		    worker->header_have == 0 && worker->content_left == 0)
			return true;
	}
	return false;
}

static void
worker_read(struct worker *worker)
{
	uint8_t data[64 * 1024];
	ssize_t n = recv(worker->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || worker->front == NULL)
		errx(1, "%s: closed or spoke out of turn", worker->path);
	if (!worker->front->is_closed)
		send_all(worker->front->fd, data, (size_t)n);
	if (answer_follow(worker, data, (size_t)n))
		finish(worker);
}

static void
accept_all(void)
{
	for (;;) {
		struct front *front;
		int fd = accept4(relay.listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return;
		front = malloc(sizeof(*front));
		if (front == NULL)
			err(1, "malloc");
		front->fd = fd;
		front->have = 0;
		front->is_closed = front->is_busy = false;
		watch(fd, front);
	}
}

static bool
is_worker(const void *what)
{
	const struct worker *worker = what;

	return worker >= relay.workers &&
	    worker < relay.workers + relay.worker_count;
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int first, option;

	while ((option = getopt(argc, argv, "kr")) != -1) {
		relay.keeps |= option == 'k';
		relay.is_in_turn |= option == 'r';
	}
	first = optind;
	if (argc < first + 2)
		errx(2, "usage: floor [-kr] LISTEN WORKER...");
	TAILQ_INIT(&relay.waiting);
	relay.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	relay.worker_count = argc - first - 1;
	relay.workers = calloc((size_t)relay.worker_count,
	    sizeof(relay.workers[0]));
	if (relay.workers == NULL)
		err(1, "calloc");
	for (int i = 0; i < relay.worker_count; i++) {
		relay.workers[i].path = argv[first + 1 + i];
		relay.workers[i].fd = -1;
	}
	relay.listen_fd = unix_socket(argv[first], true);
	watch(relay.listen_fd, &relay);
	for (;;) {
		int count = epoll_wait(relay.epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			void *what = events[i].data.ptr;

			if (what == &relay)
				accept_all();
			else if (is_worker(what))
				worker_read(what);
			else
				front_read(what);
		}
	}
}
