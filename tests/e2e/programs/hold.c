/*
 * hold FILE COMMAND [ARGUMENT]…: runs the command such that, while FILE exists,
 * nothing that it starts comes back from pivot_root, as from a mount on the
 * file system of a dead server.  A process apart is the seccomp listener that
 * the kernel asks, and answers nobody meanwhile.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../unit/hold_pivot_root.h"

static void
send_fd(int sock, int fd)
{
	char byte = 0, room[CMSG_SPACE(sizeof(int))];
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *control;

	memset(room, 0, sizeof(room));
	control = CMSG_FIRSTHDR(&message);
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(control), &fd, sizeof(fd));
	sendmsg(sock, &message, 0);
}

static int
receive_fd(int sock)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room) };
	int fd;

	if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) != 1 ||
	    CMSG_FIRSTHDR(&message) == NULL)
		_exit(1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* Until the last process that has the filter is gone. */
static void
listen_for(int listener, const char *file)
{
	for (;;) {
		struct seccomp_notif asked;
		struct seccomp_notif_resp answer;

		memset(&asked, 0, sizeof(asked));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0)
			_exit(0);
		if (access(file, F_OK) == 0)
			continue;
		memset(&answer, 0, sizeof(answer));
		answer.id = asked.id;
		answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

int
main(int argc, char **argv)
{
	int pair[2], listener;
	pid_t pid;

	if (argc < 3 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    pair) != 0)
		return 2;
	pid = fork();
	if (pid == 0) {
		/* no child of the command's */
		if (fork() != 0)
			_exit(0);
		setsid();
		close(pair[0]);
		listen_for(receive_fd(pair[1]), argv[1]);
	}
	waitpid(pid, NULL, 0);
	listener = hold_pivot_root();
	if (listener < 0) {
		perror("a seccomp listener");
		return 77;
	}
	send_fd(pair[0], listener);
	close(listener);
	close(pair[0]);
	close(pair[1]);
	execv(argv[2], argv + 2);
	return 127;
}
