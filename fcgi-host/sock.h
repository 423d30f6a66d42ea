/*
 * Sockets and descriptors: making, naming, passing.  Every descriptor made
 * here is CLOEXEC.  Errors are negative errnos.
 */
#ifndef FCGI_HOST_SOCK_H
#define FCGI_HOST_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SOCK_FDS_MAX 8

/* An option of sockets from Linux 6.16 on, newer than Debian 12's headers. */
#define SOCK_PASSRIGHTS 83

/* Closes *fd when the variable leaves its scope. */
void fd_cleanup(int *fd);
#define CLEANUP_FD __attribute__((cleanup(fd_cleanup)))

/* Moves a descriptor out of *fd, leaving -1. */
static inline int
steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Closes *fd if it is open and sets it to -1. */
void close_fd(int *fd);

int fd_set_nonblock(int fd, bool is_nonblock);

/* Whether an errno (positive) says that the machine has no more to give now, and
 * nothing of what was asked for. */
bool sock_is_shortage(int error);

/* A listening Unix socket at path; a stale socket file there is replaced, any
 * other file is -EEXIST, a socket that answers is -EADDRINUSE.  gid -1 keeps
 * the group.  Non-blocking. */
int sock_listen_unix(const char *path, mode_t mode, gid_t gid, int backlog);

/* Mode and group of a socket's file.  0 or negative errno. */
int sock_set_access(const char *path, mode_t mode, gid_t gid);

/* "127.0.0.1:9000", "[::1]:9000" (port 0: the kernel chooses), non-blocking.
 * -EINVAL for what is no numeric address. */
int sock_listen_tcp(const char *address, int backlog);

/* Whether a descriptor is a stream socket, Unix or TCP, that listens. */
bool sock_is_listening(int fd);
/* Whether it is a stream socket that does not listen. */
bool sock_is_connected(int fd);
/* Whether a socket is bound to what the two above would bind: a path as it is
 * written, an address however it is written. */
bool sock_is_bound_to(int fd, const char *where);
/* Where a socket is bound, for a person: "/path", "[::1]:9000", "@abstract". */
void sock_where(int fd, char *out, size_t size);

/* Whether a bound Unix socket is reached by its path: another file, or none, may
 * stand there since.  Where the kernel does not tell (without CAP_NET_ADMIN):
 * whether a socket stands there. */
bool sock_is_reached_by(int fd, const char *path);

/* Connects, non-blocking; -EINPROGRESS is not returned for Unix sockets
 * (-EAGAIN: the backlog is full). */
int sock_connect_unix(const char *path);

/* Whether a socket is a Unix one. */
bool sock_is_unix(int fd);

/* Uid and gid of the peer of a connected Unix socket. */
int sock_peer(int fd, uid_t *uid, gid_t *gid);

/* One message of at least one byte with up to SOCK_FDS_MAX descriptors
 * (borrowed) on a SOCK_SEQPACKET socket.  0, or negative errno (-EAGAIN: would
 * block; -EPIPE: the peer is gone, without SIGPIPE). */
int sock_send(int fd, const void *data, size_t n, const int *fds,
    size_t fd_count);

/* Receives one message of at most size bytes.  Returns its length, 0 at the
 * end (an empty message, which nobody here sends, counts as the end; so does a
 * peer that died with unread messages, behind all that it sent), or a
 * negative errno: -EMSGSIZE when it was longer or carried more than fd_max
 * descriptors (all of which are closed).  fd_max 0 receives without a control
 * buffer, so that no descriptor can arrive. */
ssize_t sock_recv(int fd, void *data, size_t size, int *fds, size_t fd_max,
    size_t *fd_count);

/* Whoever sends this socket a descriptor gets EPERM, where the kernel can (Linux
 * 6.16).  Else the kernel drops it when it is received, and who receives is who
 * closes it, however long that takes. */
void sock_refuse_descriptors(int fd);

/* A pair of SOCK_SEQPACKET sockets, or a pipe (0 read, 1 write).  Blocking:
 * who hands an end to a loop calls fd_set_nonblock.  0 or negative errno. */
int sock_pair(int fds[2]);
int sock_pipe(int fds[2]);

/* A sealed memfd with the bytes given (no write, grow, shrink), or negative
 * errno; and the reading of one: -EINVAL when it is not sealed or longer than
 * max.  *out is allocated and NUL-terminated. */
int sock_sealed(const char *name, const void *data, size_t n);
int sock_sealed_read(int fd, size_t max, char **out, size_t *n);

#endif
