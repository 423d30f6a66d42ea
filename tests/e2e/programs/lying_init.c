/*
 * What fcgi-host-init would be, had a function taken it over: it answers each
 * order itself, and then tells the gateway what MODE in the order's environment
 * says.  It has the socket, so nothing keeps it from that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/init_msg.h"

#define FLOOD 200000

static const char answer[] = "Content-Type: text/plain\r\n\r\ngood";
static char order_bytes[sizeof(struct init_order) + INIT_ENV_MAX];

/* The order's descriptors in fds; its serial. */
static uint64_t
await_order(int fds[3])
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control;
	struct iovec iov = { order_bytes, sizeof(order_bytes) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	struct init_order order;

	if (recvmsg(INIT_SOCK_FD, &message, 0) < (ssize_t)sizeof(order))
		_exit(0);
	memcpy(&order, order_bytes, sizeof(order));
	if (CMSG_FIRSTHDR(&message) != NULL)
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)),
		    3 * sizeof(int));
	return order.serial;
}

static const char *
mode(void)
{
	size_t at = sizeof(struct init_order);

	for (; order_bytes[at] != '\0'; at += strlen(order_bytes + at) + 1) {
		if (strncmp(order_bytes + at, "MODE=", 5) == 0)
			return order_bytes + at + 5;
	}
	return "";
}

static void
tell(const void *bytes, size_t n)
{
	(void)!send(INIT_SOCK_FD, bytes, n, MSG_NOSIGNAL);
}

static void
send_descriptors(const struct init_report *report)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(100 * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { (void *)report, sizeof(*report) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *part = CMSG_FIRSTHDR(&message);
	int fds[100];

	for (int i = 0; i < 100; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(part), fds, sizeof(fds));
	(void)!sendmsg(INIT_SOCK_FD, &message, MSG_NOSIGNAL);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
}

static void
lie(const char *how, struct init_report report)
{
	static char large[60000];

	if (strcmp(how, "magic") == 0)
		report.magic ^= 1;
	else if (strcmp(how, "type") == 0)
		report.type = 99;
	else if (strcmp(how, "pad") == 0)
		report.pad = 1;
	else if (strcmp(how, "serial") == 0)
		report.serial += 1000;
	else if (strcmp(how, "numbers") == 0) {
		report.user_us = report.system_us = UINT64_MAX;
		report.memory_kib = UINT64_MAX;
		report.killed = UINT32_MAX;
		report.wait_status = -1;
	} else if (strcmp(how, "short") == 0) {
		tell(&report, sizeof(report) - 1);
		return;
	} else if (strcmp(how, "long") == 0) {
		memcpy(large, &report, sizeof(report));
		tell(large, sizeof(large));
		return;
	} else if (strcmp(how, "descriptors") == 0) {
		send_descriptors(&report);
		return;
	}
	tell(&report, sizeof(report));
	for (int i = 0; i < FLOOD && strcmp(how, "flood") == 0; i++)
		tell(&report, sizeof(report));
	if (strcmp(how, "replay") == 0)
		tell(&report, sizeof(report));
}

int
main(void)
{
	for (;;) {
		int fds[3] = { -1, -1, -1 };
		uint64_t serial = await_order(fds);
		struct init_report report = { .magic = INIT_MAGIC,
			.type = INIT_EXIT, .serial = serial };

		if (fds[1] < 0)
			continue;
		(void)!write(fds[1], answer, sizeof(answer) - 1);
		for (int i = 0; i < 3; i++)
			close(fds[i]);
		lie(mode(), report);
	}
}
