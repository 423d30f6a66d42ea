/*
 * A FastCGI program without a library that answers with what the host sent it,
 * one fact a line, and complains of everything that the host should not send:
 *
 *   records=1,4,4,5,5   the types in order; several of one kind with content
 *                       count as one
 *   id= role= flags= params= stdin=   of the request; the latter two in bytes
 *   padding=            padding bytes that came
 *   first_ms=           from accept to the first byte
 *   waiting=            another connection waited meanwhile
 *   fault=TEXT          what is wrong
 *
 * In QUERY_STRING, wait=MS lets the answer wait, and leave ends the program
 * behind its END_REQUEST.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };

struct request {
	char text[4096]; /* the answer */
	size_t length;
	char records[256];
	int last_type, last_was_empty;
	int id, role, flags;
	size_t params, body, padding;
	char head[200000]; /* PARAMS as they came */
};

static void
say(struct request *request, const char *format, ...)
{
	va_list list;
	size_t room = sizeof(request->text) - request->length;
	int n;

	va_start(list, format);
	n = vsnprintf(request->text + request->length, room, format, list);
	va_end(list);
	if (n > 0 && (size_t)n < room)
		request->length += (size_t)n;
}

static long
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
get(int fd, void *data, size_t n)
{
	char *at = data;

	while (n > 0) {
		ssize_t done = read(fd, at, n);

		if (done <= 0)
			return -1;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static void
put(int fd, int type, int id, const void *data, size_t n)
{
	unsigned char head[8] = { 1, (unsigned char)type,
		(unsigned char)(id >> 8), (unsigned char)id,
		(unsigned char)(n >> 8), (unsigned char)n };

	if (write(fd, head, sizeof(head)) != sizeof(head) ||
	    write(fd, data, n) != (ssize_t)n)
		_exit(5);
}

static void
note_type(struct request *request, int type, int is_empty)
{
	char text[16];

	if (type == request->last_type && !is_empty &&
	    !request->last_was_empty)
		return;
	snprintf(text, sizeof(text), "%s%d",
	    request->records[0] == '\0' ? "" : ",", type);
	strncat(request->records, text,
	    sizeof(request->records) - strlen(request->records) - 1);
	request->last_type = type;
	request->last_was_empty = is_empty;
}

static void
check_head(struct request *request, const unsigned char head[8])
{
	int id = head[2] << 8 | head[3];

	if (head[0] != 1)
		say(request, "fault=version %d\n", head[0]);
	if (head[7] != 0)
		say(request, "fault=the reserved byte is %d\n", head[7]);
	if (request->id == 0)
		request->id = id;
	if (id != request->id || id == 0)
		say(request, "fault=a record of id %d\n", id);
	if (request->records[0] == '\0' && head[1] != BEGIN)
		say(request, "fault=the first record has type %d\n", head[1]);
}

static void
take_content(struct request *request, int type, const unsigned char *content,
    size_t n)
{
	if (type == BEGIN && n == 8) {
		request->role = content[0] << 8 | content[1];
		request->flags = content[2];
		for (int i = 3; i < 8; i++)
			if (content[i] != 0)
				say(request, "fault=BEGIN byte %d\n", i);
	} else if (type == PARAMS) {
		if (request->params + n < sizeof(request->head))
			memcpy(request->head + request->params, content, n);
		request->params += n;
	} else if (type == STDIN) {
		request->body += n;
	} else {
		say(request, "fault=type %d with %zu bytes\n", type, n);
	}
}

/* Reads to the end of STDIN; -1: the connection ended before. */
static int
take(int fd, struct request *request)
{
	static unsigned char content[65536 + 256];
	unsigned char head[8];

	for (;;) {
		size_t n;

		if (get(fd, head, sizeof(head)) < 0)
			return -1;
		n = (size_t)(head[4] << 8 | head[5]);
		check_head(request, head);
		if (get(fd, content, n + head[6]) < 0)
			return -1;
		for (int i = 0; i < head[6]; i++)
			if (content[n + (size_t)i] != 0)
				say(request, "fault=padding is not zero\n");
		request->padding += head[6];
		note_type(request, head[1], n == 0);
		take_content(request, head[1], content, n);
		if (head[1] == STDIN && n == 0)
			return 0;
	}
}

static const char *
option(const struct request *request, const char *name)
{
	const char *found = memmem(request->head, request->params, name,
	    strlen(name));

	return found == NULL ? NULL : found + strlen(name);
}

static void
answer(int fd, struct request *request, long first_ms)
{
	static const char start[] = "Content-Type: text/plain\r\n\r\n";
	static const char complete[8];
	const char *wait = option(request, "wait=");
	struct pollfd backlog = { .fd = 0, .events = POLLIN };

	if (wait != NULL)
		usleep((useconds_t)atoi(wait) * 1000);
	say(request, "records=%s\nid=%d\nrole=%d\nflags=%d\nparams=%zu\n"
	    "stdin=%zu\npadding=%zu\nfirst_ms=%ld\nwaiting=%d\n",
	    request->records, request->id, request->role, request->flags,
	    request->params, request->body, request->padding, first_ms,
	    poll(&backlog, 1, 0));
	put(fd, STDOUT, request->id, start, sizeof(start) - 1);
	put(fd, STDOUT, request->id, request->text, request->length);
	put(fd, STDOUT, request->id, "", 0);
	put(fd, END, request->id, complete, sizeof(complete));
}

int
main(void)
{
	static struct request request;

	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct pollfd first = { .events = POLLIN };
		long first_ms;

		memset(&request, 0, sizeof(request));
		first.fd = accept(0, NULL, NULL);
		if (first.fd < 0)
			return 4;
		first_ms = now_ms();
		poll(&first, 1, 10000);
		first_ms = now_ms() - first_ms;
		if (take(first.fd, &request) == 0)
			answer(first.fd, &request, first_ms);
		if (option(&request, "leave") != NULL)
			return 0;
		close(first.fd);
	}
}
