/*
 * A FastCGI program that keeps its connection, reads as libfcgi does, and says
 * in each answer which request it answers and how many connections it has
 * taken.  MODE: "" honest; "closes" after each answer, whatever it was asked;
 * "late" says something of the last request first; "chaos" anything that a
 * program can do between two answers.  SERVES: it ends after so many.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, KEEP = 1 };

struct reader {
	int fd;
	size_t at, have;
	unsigned char bytes[8192];
};

struct request {
	int id, keeps;
	size_t length;
	char params[65536];
};

static unsigned accepts, served, last_id;

static int
next_byte(struct reader *reader)
{
	if (reader->at == reader->have) {
		ssize_t n = read(reader->fd, reader->bytes,
		    sizeof(reader->bytes));

		if (n <= 0)
			return -1;
		reader->have = (size_t)n;
		reader->at = 0;
	}
	return reader->bytes[reader->at++];
}

/* One record; its type, or -1.  What PARAMS holds is collected. */
static int
take_record(struct reader *reader, struct request *request, size_t *length)
{
	int head[8];

	for (int i = 0; i < 8; i++)
		if ((head[i] = next_byte(reader)) < 0)
			return -1;
	if (head[0] != 1)
		return -1;
	*length = (size_t)(head[4] << 8 | head[5]);
	for (size_t i = 0; i < *length + (size_t)head[6]; i++) {
		int byte = next_byte(reader);

		if (byte < 0)
			return -1;
		if (head[1] == BEGIN && i == 2)
			request->keeps = byte & KEEP;
		if (head[1] == PARAMS && i < *length &&
		    request->length < sizeof(request->params) - 1)
			request->params[request->length++] = (char)byte;
	}
	request->id = head[2] << 8 | head[3];
	return head[1];
}

static int
take_request(struct reader *reader, struct request *request)
{
	size_t length = 1;
	int type;

	request->length = 0;
	do
		type = take_record(reader, request, &length);
	while (type >= 0 && (type != STDIN || length > 0));
	return type;
}

/* The bytes behind "nonce=" wherever they stand among the params. */
static void
nonce_of(const struct request *request, char nonce[32])
{
	const char *at = memmem(request->params, request->length, "nonce=", 6);
	size_t n = 0;

	for (at = at == NULL ? NULL : at + 6; at != NULL && n < 31 &&
	    at < request->params + request->length &&
	    strchr("0123456789abcdef", *at) != NULL && *at != '\0'; at++)
		nonce[n++] = *at;
	nonce[n] = '\0';
}

static size_t
put(unsigned char *out, int type, int id, const void *data, size_t n)
{
	const unsigned char head[8] = { 1, (unsigned char)type,
		(unsigned char)(id >> 8), (unsigned char)id,
		(unsigned char)(n >> 8), (unsigned char)n, 0, 0 };

	memcpy(out, head, sizeof(head));
	memcpy(out + sizeof(head), data, n);
	return sizeof(head) + n;
}

static void
say(int fd, int id, const char *text, int is_ended)
{
	unsigned char out[512];
	size_t n = put(out, STDOUT, id, text, strlen(text));

	if (is_ended) {
		n += put(out + n, STDOUT, id, "", 0);
		n += put(out + n, END, id, "\0\0\0\0\0\0\0\0", 8);
	}
	if (write(fd, out, n) != (ssize_t)n)
		return;
}

static void
pause_us(long longest)
{
	struct timespec time = { 0, rand() % longest * 1000 };

	nanosleep(&time, NULL);
}

/* Whether the connection goes on. */
static int
chaos(int fd, int id)
{
	switch (rand() % 12) {
	case 0:
		say(fd, id, "of the last one", 1);
		return 1;
	case 1:
		pause_us(2000);
		say(fd, id, "of the last one", 0);
		return 1;
	case 2:
		pause_us(2000);
		say(fd, id + 1, "of the next one", 0);
		return 0;
	case 3:
		pause_us(500);
		return write(fd, "\1\6\0", 3) < 0;
	case 4:
		pause_us(500);
		return 0;
	case 5:
		shutdown(fd, SHUT_WR);
		pause_us(500);
		return 0;
	case 6:
		exit(0);
	default:
		return 1;
	}
}

static void
serve(int fd, const char *mode, unsigned serves)
{
	static struct request request;
	struct reader reader = { .fd = fd };
	char nonce[32], text[200];

	while (take_request(&reader, &request) >= 0) {
		nonce_of(&request, nonce);
		snprintf(text, sizeof(text), "Content-Type: text/plain\r\n\r\n"
		    "nonce=%s accepts=%u served=%u keeps=%d", nonce, accepts,
		    ++served, request.keeps);
		if (strcmp(mode, "late") == 0 && last_id != 0)
			say(fd, (int)last_id, "late", 0);
		say(fd, request.id, text, 1);
		last_id = (unsigned)request.id;
		if (serves > 0 && served >= serves)
			exit(0);
		if (!request.keeps || strcmp(mode, "closes") == 0 ||
		    (strcmp(mode, "chaos") == 0 && !chaos(fd, request.id)))
			return;
	}
}

int
main(void)
{
	const char *mode = getenv("MODE"), *serves = getenv("SERVES");

	signal(SIGPIPE, SIG_IGN);
	srand((unsigned)getpid() ^ (unsigned)time(NULL));
	for (;;) {
		int fd = accept(0, NULL, NULL);

		if (fd < 0)
			return 4;
		accepts++;
		last_id = 0;
		serve(fd, mode == NULL ? "" : mode, serves == NULL ? 0 :
		    (unsigned)atoi(serves));
		close(fd);
	}
}
