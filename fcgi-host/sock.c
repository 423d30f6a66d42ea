#include "fcgi-host/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

bool
sock_is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM ||
	    error == EAGAIN || error == ENOBUFS || error == ETOOMANYREFS;
}

/* From linux/un.h, which has a struct sockaddr_un of its own. */
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE 0x89e0
#endif

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

void
close_fd(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved_errno;
}

void
fd_cleanup(int *fd)
{
	close_fd(fd);
}

int
fd_set_nonblock(int fd, bool is_nonblock)
{
	int flags = fcntl(fd, F_GETFL), wanted;

	if (flags < 0)
		return -errno;
	wanted = is_nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (wanted != flags && fcntl(fd, F_SETFL, wanted) != 0)
		return -errno;
	return 0;
}

/* Unix and TCP sockets */

static int
unix_address(struct sockaddr_un *address, const char *path)
{
	size_t length = strlen(path);

	if (length == 0)
		return -EINVAL;
	if (length >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, path, length + 1);
	return 0;
}

static int
connect_unix(const struct sockaddr_un *address)
{
	CLEANUP_FD int fd = socket(AF_UNIX,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	while (connect(fd, (const struct sockaddr *)address,
	    sizeof(*address)) != 0)
		if (errno != EINTR)
			return -errno;
	return steal_fd(&fd);
}

int
sock_connect_unix(const char *path)
{
	struct sockaddr_un address;
	int rc = unix_address(&address, path);

	return rc != 0 ? rc : connect_unix(&address);
}

/* Removes a socket file that nobody listens on. */
static int
remove_stale(const struct sockaddr_un *address)
{
	struct stat st;
	CLEANUP_FD int fd = -1;

	if (lstat(address->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = connect_unix(address);
	/* EAGAIN: a full backlog; EPROTOTYPE: alive, but no stream. */
	if (fd >= 0 || fd == -EAGAIN || fd == -EPROTOTYPE)
		return -EADDRINUSE;
	if (fd != -ECONNREFUSED)
		return fd;
	return unlink(address->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

int
sock_set_access(const char *path, mode_t mode, gid_t gid)
{
	if (gid != (gid_t)-1 && lchown(path, (uid_t)-1, gid) != 0)
		return -errno;
	return chmod(path, mode) == 0 ? 0 : -errno;
}

/* Owner and mode are in place before listen: until then nobody can connect,
 * so there is no moment at which the socket is too open. */
static int
open_to(int fd, const char *path, mode_t mode, gid_t gid, int backlog)
{
	int error = sock_set_access(path, mode, gid);

	if (error != 0)
		return error;
	return listen(fd, backlog) == 0 ? 0 : -errno;
}

int
sock_listen_unix(const char *path, mode_t mode, gid_t gid, int backlog)
{
	struct sockaddr_un address;
	CLEANUP_FD int fd = -1;
	int rc;

	rc = unix_address(&address, path);
	if (rc == 0)
		rc = remove_stale(&address);
	if (rc != 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	rc = open_to(fd, path, mode, gid, backlog);
	if (rc != 0) {
		unlink(path);
		return rc;
	}
	return steal_fd(&fd);
}

static int
parse_port(const char *text, in_port_t *port)
{
	unsigned value = 0;
	size_t i;

	for (i = 0; text[i] >= '0' && text[i] <= '9' && i < 5; i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	if (i == 0 || text[i] != '\0' || value > 65535)
		return -EINVAL;
	*port = htons((uint16_t)value);
	return 0;
}

union tcp_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int
parse_tcp(const char *text, union tcp_address *address)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN];
	bool is_v6 = text[0] == '[';
	in_port_t port;
	size_t length;

	if (colon == NULL || parse_port(colon + 1, &port) != 0)
		return -EINVAL;
	length = (size_t)(colon - text);
	if (is_v6) {
		if (length < 2 || colon[-1] != ']')
			return -EINVAL;
		text++;
		length -= 2;
	}
	if (length >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, length);
	host[length] = '\0';
	*address = (union tcp_address){ 0 };
	address->any.sa_family = is_v6 ? AF_INET6 : AF_INET;
	if (is_v6) {
		address->v6.sin6_port = port;
		return inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1 ?
		    0 : -EINVAL;
	}
	address->v4.sin_port = port;
	return inet_pton(AF_INET, host, &address->v4.sin_addr) == 1 ? 0 :
	    -EINVAL;
}

int
sock_listen_tcp(const char *text, int backlog)
{
	CLEANUP_FD int fd = -1;
	union tcp_address address;
	const int one = 1;

	if (parse_tcp(text, &address) != 0)
		return -EINVAL;
	fd = socket(address.any.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
		return -errno;
	if (address.any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6,
	    IPV6_V6ONLY, &one, sizeof(one)) != 0)
		return -errno;
	if (bind(fd, &address.any, address.any.sa_family == AF_INET6 ?
	    sizeof(address.v6) : sizeof(address.v4)) != 0)
		return -errno;
	if (listen(fd, backlog) != 0)
		return -errno;
	return steal_fd(&fd);
}

/* Sockets that another made */

static int
option(int fd, int name)
{
	socklen_t size = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value :
	    -1;
}

bool
sock_is_unix(int fd)
{
	return option(fd, SO_DOMAIN) == AF_UNIX;
}

static bool
is_stream(int fd)
{
	int domain = option(fd, SO_DOMAIN);

	return (domain == AF_UNIX || domain == AF_INET ||
	    domain == AF_INET6) && option(fd, SO_TYPE) == SOCK_STREAM;
}

bool
sock_is_listening(int fd)
{
	return is_stream(fd) && option(fd, SO_ACCEPTCONN) == 1;
}

bool
sock_is_connected(int fd)
{
	return is_stream(fd) && option(fd, SO_ACCEPTCONN) == 0;
}

bool
sock_is_reached_by(int fd, const char *path)
{
	CLEANUP_FD int file = ioctl(fd, SIOCUNIXFILE);
	bool is_told = file >= 0 || errno != EPERM;
	struct stat own, there;

	if (lstat(path, &there) != 0 || !S_ISSOCK(there.st_mode))
		return false;
	if (!is_told)
		return true;
	return fstat(file, &own) == 0 && own.st_dev == there.st_dev &&
	    own.st_ino == there.st_ino;
}

union any_address {
	struct sockaddr any;
	struct sockaddr_un un;
	union tcp_address tcp;
};

/* The path of a Unix socket ends with its size at the latest. */
static int
bound_address(int fd, union any_address *address, socklen_t *size)
{
	*address = (union any_address){ 0 };
	*size = sizeof(*address) - 1;
	return getsockname(fd, &address->any, size) == 0 ? 0 : -errno;
}

bool
sock_is_bound_to(int fd, const char *where)
{
	union any_address is;
	union tcp_address wanted;
	socklen_t size;

	if (bound_address(fd, &is, &size) != 0)
		return false;
	if (where[0] == '/')
		return is.any.sa_family == AF_UNIX &&
		    strcmp(is.un.sun_path, where) == 0;
	if (parse_tcp(where, &wanted) != 0 ||
	    is.any.sa_family != wanted.any.sa_family)
		return false;
	return is.any.sa_family == AF_INET ?
	    is.tcp.v4.sin_port == wanted.v4.sin_port &&
	    is.tcp.v4.sin_addr.s_addr == wanted.v4.sin_addr.s_addr :
	    is.tcp.v6.sin6_port == wanted.v6.sin6_port &&
	    memcmp(&is.tcp.v6.sin6_addr, &wanted.v6.sin6_addr,
	    sizeof(wanted.v6.sin6_addr)) == 0;
}

void
sock_where(int fd, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "";
	union any_address is;
	socklen_t length;
	int n;

	if (bound_address(fd, &is, &length) != 0) {
		snprintf(out, size, "(%s)", strerror(errno));
	} else if (is.any.sa_family == AF_UNIX) {
		n = (int)length - (int)offsetof(struct sockaddr_un, sun_path);
		if (n > 1 && is.un.sun_path[0] == '\0')
			snprintf(out, size, "@%.*s", n - 1,
			    is.un.sun_path + 1);
		else
			snprintf(out, size, "%s", n > 0 ? is.un.sun_path :
			    "(no address)");
	} else if (is.any.sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &is.tcp.v4.sin_addr, host,
		    sizeof(host));
		snprintf(out, size, "%s:%u", host, ntohs(is.tcp.v4.sin_port));
	} else if (is.any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &is.tcp.v6.sin6_addr, host,
		    sizeof(host));
		snprintf(out, size, "[%s]:%u", host,
		    ntohs(is.tcp.v6.sin6_port));
	} else {
		snprintf(out, size, "(family %d)", (int)is.any.sa_family);
	}
}

int
sock_peer(int fd, uid_t *uid, gid_t *gid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return -errno;
	*uid = peer.uid;
	*gid = peer.gid;
	return 0;
}

/* Messages with descriptors */

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int) * SOCK_FDS_MAX)];
};

int
sock_send(int fd, const void *data, size_t n, const int *fds, size_t fd_count)
{
	union control control = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)data,
		.iov_len = n };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (n == 0 || fd_count > SOCK_FDS_MAX)
		return -EINVAL;
	if (fd_count > 0) {
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.header), fds,
		    sizeof(int) * fd_count);
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
	}
	do
		sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

static size_t
collect_fds(struct msghdr *message, int *fds, size_t fd_max)
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL;
	    c = CMSG_NXTHDR(message, c)) {
		const unsigned char *from = CMSG_DATA(c);
		size_t left;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		left = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (; left > 0 && count < fd_max; left--, count++) {
			memcpy(&fds[count], from, sizeof(int));
			from += sizeof(int);
		}
	}
	return count;
}

/* The control buffer is exactly as long as fd_max descriptors need: the kernel
 * itself drops what is more, and says so by MSG_CTRUNC. */
ssize_t
sock_recv(int fd, void *data, size_t size, int *fds, size_t fd_max,
    size_t *fd_count)
{
	union control control = { 0 };
	struct iovec part = { .iov_base = data, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	int resets = 0;
	size_t count = 0;
	ssize_t n;

	if (fd_max > SOCK_FDS_MAX || (fd_max > 0 && fd_count == NULL))
		return -EINVAL;
	if (fd_count != NULL)
		*fd_count = 0;
	if (fd_max > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_LEN(sizeof(int) * fd_max);
	}
	/* a reset is said once, and before what was sent earlier: that counts */
	do {
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
		resets += n < 0 && errno == ECONNRESET;
	} while (n < 0 && (errno == EINTR ||
	    (errno == ECONNRESET && resets < 2)));
	if (n < 0)
		return -errno;
	if (fd_max > 0)
		count = collect_fds(&message, fds, fd_max);
	if (n == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		while (count > 0)
			close_fd(&fds[--count]);
		if (n > 0 || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
			n = -EMSGSIZE;
	}
	if (fd_count != NULL)
		*fd_count = count;
	return n;
}

void
sock_refuse_descriptors(int fd)
{
	const int none = 0;

	(void)setsockopt(fd, SOL_SOCKET, SOCK_PASSRIGHTS, &none, sizeof(none));
}

int
sock_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0
	    ? 0 : -errno;
}

int
sock_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	/* A program under another uid opens its end again when it writes to
	 * /dev/stderr by name.  Nobody else can name a pipe. */
	if (fchmod(fds[0], 0666) != 0) {
		close_fd(&fds[0]);
		close_fd(&fds[1]);
		return -EPERM;
	}
	return 0;
}

/* Sealed memory */

/* MFD_NOEXEC_SEAL is from Linux 6.3, and from then on an administrator may
 * forbid a memfd without it (vm.memfd_noexec). */
static int
new_memfd(const char *name)
{
	int fd = memfd_create(name,
	    MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

/* By pwrite, because the offset is shared with every reader. */
int
sock_sealed(const char *name, const void *data, size_t n)
{
	CLEANUP_FD int fd = new_memfd(name);
	size_t done = 0;

	if (fd < 0)
		return fd;
	while (done < n) {
		ssize_t step = pwrite(fd, (const char *)data + done, n - done,
		    (off_t)done);

		if (step < 0 && errno != EINTR)
			return -errno;
		if (step > 0)
			done += (size_t)step;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS_NEEDED | F_SEAL_SEAL) != 0)
		return -errno;
	return steal_fd(&fd);
}

static int
read_all(int fd, char *out, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t step = pread(fd, out + done, n - done, (off_t)done);

		if (step < 0 && errno == EINTR)
			continue;
		if (step <= 0)
			return step < 0 ? -errno : -EIO;
		done += (size_t)step;
	}
	out[n] = '\0';
	return 0;
}

int
sock_sealed_read(int fd, size_t max, char **out, size_t *n)
{
	int seals = fcntl(fd, F_GET_SEALS), rc;
	struct stat st;
	char *text;

	if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED)
		return -EINVAL;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size < 0 || (uintmax_t)st.st_size > max)
		return -EINVAL;
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL)
		return -ENOMEM;
	rc = read_all(fd, text, (size_t)st.st_size);
	if (rc != 0) {
		free(text);
		return rc;
	}
	*out = text;
	*n = (size_t)st.st_size;
	return 0;
}
