/*
 * A FastCGI program that misbehaves on the wire, as the variable MODE says.
 * It speaks raw records on the listening socket at descriptor 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS 100

enum { BEGIN = 1, END = 3, STDIN = 5, STDOUT = 6, STDERR = 7, DATA = 8 };

static const char answer[] = "Content-Type: text/plain\r\n\r\ngood";
static size_t piece = 1 << 20; /* so much is written at a time */

static void
put(int fd, const void *data, size_t n)
{
	const char *at = data;

	while (n > 0) {
		ssize_t done = write(fd, at, n < piece ? n : piece);

		if (done <= 0)
			return;
		at += done;
		n -= (size_t)done;
	}
}

static void
record(int fd, int version, int type, int id, const void *data, size_t n,
    int padding)
{
	unsigned char head[8] = { (unsigned char)version, (unsigned char)type,
		(unsigned char)(id >> 8), (unsigned char)id,
		(unsigned char)(n >> 8), (unsigned char)n,
		(unsigned char)padding, 0 };
	char zeroes[256] = { 0 };

	put(fd, head, sizeof(head));
	put(fd, data, n);
	put(fd, zeroes, (size_t)padding);
}

static void
end(int fd, int id, int protocol_status)
{
	unsigned char body[8] = { 0, 0, 0, 0,
		(unsigned char)protocol_status };

	record(fd, 1, END, id, body, sizeof(body), 0);
}

static void
good(int fd, int id)
{
	record(fd, 1, STDOUT, id, answer, sizeof(answer) - 1, 0);
	record(fd, 1, STDOUT, id, "", 0, 0);
	end(fd, id, 0);
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

/* Reads one request to the end of its STDIN; its id, or -1. */
static int
take_request(int fd)
{
	unsigned char head[8];
	static char content[65536 + 256];

	for (;;) {
		size_t n;

		if (get(fd, head, sizeof(head)) < 0)
			return -1;
		n = (size_t)(head[4] << 8 | head[5]);
		if (get(fd, content, n + head[6]) < 0)
			return -1;
		if (head[1] == STDIN && n == 0)
			return head[2] << 8 | head[3];
	}
}

static void
send_descriptors(int fd)
{
	char byte = 1, room[CMSG_SPACE(sizeof(int) * DESCRIPTORS)];
	int null = open("/dev/null", O_RDONLY), all[DESCRIPTORS];
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *control;

	for (int i = 0; i < DESCRIPTORS; i++)
		all[i] = null;
	memset(room, 0, sizeof(room));
	control = CMSG_FIRSTHDR(&message);
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(all));
	memcpy(CMSG_DATA(control), all, sizeof(all));
	/* the byte is the version of the record that follows */
	errno = 0;
	if (sendmsg(fd, &message, 0) < 0)
		put(fd, &byte, 1);
	dprintf(STDERR_FILENO, "descriptors: %s\n", strerror(errno));
	close(null);
}

static void
flood(int fd, int id, int type, int count)
{
	static char block[65535];

	memset(block, 'e', sizeof(block));
	for (int i = 0; i < count; i++)
		record(fd, 1, type, id, block, sizeof(block), 0);
}

static void
bytewise(int fd, int id)
{
	for (size_t i = 0; i < sizeof(answer) - 1; i++)
		record(fd, 1, STDOUT, id, answer + i, 1, 255);
	record(fd, 1, STDOUT, id, "", 0, 255);
	end(fd, id, 0);
}

/* The answer in pieces between records that are no part of it: of other ids,
 * of none, of types that only the host may send or that nobody knows. */
static void
interleaved(int fd, int id)
{
	static const int types[] = { BEGIN, 2, 4, STDIN, DATA, 9, 10, 11, 77,
		255 };
	size_t n = sizeof(types) / sizeof(types[0]), done = 0;

	for (size_t i = 0; i < n; i++) {
		size_t last = i == n - 1 ? sizeof(answer) - 1 : done + 3;

		record(fd, 1, STDERR, id, "odd\n", 4, (int)i);
		record(fd, 1, types[i], id, "evil", 4, 3);
		record(fd, 1, types[i], 0, "evil", 4, 0);
		record(fd, 1, STDOUT, id + 1, "evil", 4, 7);
		record(fd, 1, STDOUT, 0, "evil", 4, 0);
		record(fd, 1, STDERR, id + 1, "evil\n", 5, 0);
		end(fd, id + 1, 0);
		end(fd, 0, 0);
		record(fd, 1, STDOUT, id, answer + done, last - done,
		    255 - (int)i);
		done = last;
	}
	record(fd, 1, STDERR, id, "", 0, 1);
	record(fd, 1, STDOUT, id, "", 0, 2);
}

/* An END_REQUEST of other than eight bytes, and with padding. */
static void
end_of(int fd, int id, size_t n)
{
	static const char zeroes[64];

	record(fd, 1, STDOUT, id, answer, sizeof(answer) - 1, 0);
	record(fd, 1, END, id, zeroes, n, 255);
}

/* An application status of which each byte differs, every byte on its own. */
static void
slow_end(int fd, int id)
{
	static const char body[8] = { 1, 2, 3, 4 };
	unsigned char head[8] = { 1, END, (unsigned char)(id >> 8),
		(unsigned char)id, 0, sizeof(body), 3, 0 };

	record(fd, 1, STDOUT, id, answer, sizeof(answer) - 1, 0);
	for (size_t i = 0; i < sizeof(head) + sizeof(body) + 3; i++) {
		put(fd, i < 8 ? (const char *)head + i :
		    i < 16 ? body + i - 8 : "", 1);
		usleep(10000);
	}
}

/* Modes that break the protocol; 0 when MODE is none of them. */
static int
misbehave(int fd, int id, const char *mode)
{
	static const unsigned char rubbish[64] = { 0xfe, 0xed, 0xfa, 0xce };

	if (strcmp(mode, "garbage") == 0)
		put(fd, rubbish, sizeof(rubbish));
	else if (strcmp(mode, "version") == 0)
		record(fd, 2, STDOUT, id, answer, sizeof(answer) - 1, 0);
	else if (strcmp(mode, "half") == 0)
		put(fd, "\1\6\0\1\17\0\0\0half", 12);
	else if (strcmp(mode, "endonly") == 0)
		end(fd, id, 0);
	else if (strcmp(mode, "overloaded") == 0)
		end(fd, id, 2);
	else if (strcmp(mode, "silent") == 0)
		sleep(60);
	else if (strcmp(mode, "noend") == 0)
		record(fd, 1, STDOUT, id, answer, sizeof(answer) - 1, 0);
	else if (strcmp(mode, "shortend") == 0)
		end_of(fd, id, 7);
	else if (strcmp(mode, "slowend") == 0)
		slow_end(fd, id);
	else if (strcmp(mode, "endless") == 0)
		for (;;)
			record(fd, 1, 77, id, rubbish, sizeof(rubbish), 1);
	else
		return 0;
	return 1;
}

/* Modes that are odd, and yet contain a good answer. */
static void
behave_oddly(int fd, int id, const char *mode)
{
	if (strcmp(mode, "otherid") == 0)
		record(fd, 1, STDOUT, id + 6, "evil", 4, 0);
	else if (strcmp(mode, "management") == 0)
		record(fd, 1, 10, 0, "evil", 4, 0);
	else if (strcmp(mode, "stderr") == 0)
		flood(fd, id, STDERR, 200);
	else if (strcmp(mode, "descriptors") == 0) {
		send_descriptors(fd);
		put(fd, "\7\0\1\0\0\0\0", 7);
	}
	piece = strcmp(mode, "split") == 0 ? 1 : 1 << 20;
	if (strcmp(mode, "interleaved") == 0 || strcmp(mode, "split") == 0) {
		interleaved(fd, id);
		end(fd, id, 0);
	} else if (strcmp(mode, "bytewise") == 0)
		bytewise(fd, id);
	else if (strcmp(mode, "longend") == 0)
		end_of(fd, id, 64);
	else
		good(fd, id);
	if (strcmp(mode, "late") == 0) {
		record(fd, 1, STDOUT, id, "evil", 4, 0);
		end(fd, id, 0);
	}
}

int
main(void)
{
	const char *mode = getenv("MODE") ? getenv("MODE") : "";

	signal(SIGPIPE, SIG_IGN);
	if (strcmp(mode, "exit") == 0)
		return 3;
	if (strcmp(mode, "deaf") == 0)
		sleep(60);
	for (;;) {
		int fd = accept(0, NULL, NULL), id;

		if (fd < 0)
			return 4;
		id = strcmp(mode, "close") == 0 ? -1 : take_request(fd);
		if (id >= 0 && !misbehave(fd, id, mode))
			behave_oddly(fd, id, mode);
		close(fd);
	}
}
