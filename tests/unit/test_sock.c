#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

static char dir[] = "/tmp/test_sock.XXXXXX";
static char path[64];

static int
set_up_group(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int
tear_down_group(void **state)
{
	(void)state;
	return rmdir(dir);
}

static bool
is_cloexec(int fd)
{
	return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static bool
is_nonblock(int fd)
{
	return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

/* The lowest descriptor that is free: when it is the same before and after,
 * nothing was left open. */
static int
lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

/* Descriptors */

static void
a_stolen_descriptor_is_closed_only_by_the_thief(void **state)
{
	int before = lowest_free(), stolen;

	(void)state;
	{
		CLEANUP_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		stolen = steal_fd(&fd);
		assert_int_equal(fd, -1);
	}
	assert_int_equal(stolen, before);
	assert_true(fcntl(stolen, F_GETFD) >= 0);
	{
		CLEANUP_FD int fd = stolen;

		assert_true(fd >= 0);
	}
	assert_int_equal(fcntl(stolen, F_GETFD), -1);
}

static void
closing_keeps_errno_and_may_be_done_twice(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	errno = EXDEV;
	close_fd(&fd);
	assert_int_equal(fd, -1);
	close_fd(&fd);
	assert_int_equal(errno, EXDEV);
}

static void
a_descriptor_is_made_non_blocking_and_blocking_again(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(sock_pipe(fds), 0);
	assert_true(is_cloexec(fds[0]) && is_cloexec(fds[1]));
	assert_false(is_nonblock(fds[0]));
	assert_int_equal(fd_set_nonblock(fds[0], true), 0);
	assert_true(is_nonblock(fds[0]));
	assert_int_equal(fd_set_nonblock(fds[0], false), 0);
	assert_false(is_nonblock(fds[0]));
	assert_int_equal(write(fds[1], "x", 1), 1);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(fd_set_nonblock(fds[0], true), -EBADF);
}

/* Listening and connecting */

static void
a_unix_socket_has_the_mode_asked_for_whatever_the_umask(void **state)
{
	mode_t old = umask(077);
	struct stat st;
	int fd;

	(void)state;
	fd = sock_listen_unix(path, 0666, (gid_t)-1, 5);
	umask(old);
	assert_true(fd >= 0);
	assert_true(is_cloexec(fd) && is_nonblock(fd));
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0666);
	close(fd);
	unlink(path);
}

static void
a_unix_socket_gets_the_group_asked_for(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	if (geteuid() != 0) {
		print_message("SKIP: only root may give a file to a group\n");
		skip();
	}
	fd = sock_listen_unix(path, 0660, 12345, 5);
	assert_true(fd >= 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_gid, 12345);
	assert_int_equal(st.st_mode & 07777, 0660);
	close(fd);
	unlink(path);
}

static void
a_stale_socket_is_replaced_and_a_living_one_is_not(void **state)
{
	int first, second, third;

	(void)state;
	first = sock_listen_unix(path, 0600, (gid_t)-1, 5);
	assert_true(first >= 0);
	assert_int_equal(sock_listen_unix(path, 0600, (gid_t)-1, 5),
	    -EADDRINUSE);
	close(first);
	second = sock_listen_unix(path, 0600, (gid_t)-1, 5);
	assert_true(second >= 0);
	third = sock_connect_unix(path);
	assert_true(third >= 0);
	close(second);
	close(third);
	unlink(path);
}

static void
a_full_backlog_or_another_type_counts_as_a_living_socket(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener, fds[16], count = 0;

	(void)state;
	listener = sock_listen_unix(path, 0600, (gid_t)-1, 1);
	assert_true(listener >= 0);
	while (count < 16 && (fds[count] = sock_connect_unix(path)) >= 0)
		count++;
	assert_in_range(count, 1, 15);
	assert_int_equal(fds[count], -EAGAIN);
	assert_int_equal(sock_listen_unix(path, 0600, (gid_t)-1, 5),
	    -EADDRINUSE);
	while (count > 0)
		close(fds[--count]);
	close(listener);
	unlink(path);

	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address,
	    sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(sock_listen_unix(path, 0600, (gid_t)-1, 5),
	    -EADDRINUSE);
	close(listener);
	unlink(path);
}

static void
another_file_in_the_place_of_a_socket_is_never_removed(void **state)
{
	char target[80];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(sock_listen_unix(path, 0600, (gid_t)-1, 5), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	snprintf(target, sizeof(target), "%s.link", path);
	assert_int_equal(symlink(path, target), 0);
	assert_int_equal(sock_listen_unix(target, 0600, (gid_t)-1, 5),
	    -EEXIST);
	unlink(target);
	unlink(path);
}

static void
a_failed_listen_leaves_no_file_and_no_descriptor(void **state)
{
	int before = lowest_free();
	char too_long[200];

	(void)state;
	memset(too_long, 'a', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(sock_listen_unix(too_long, 0600, (gid_t)-1, 5),
	    -ENAMETOOLONG);
	assert_int_equal(sock_listen_unix("", 0600, (gid_t)-1, 5), -EINVAL);
	assert_int_equal(sock_listen_unix("/nonexistent/x", 0600, (gid_t)-1,
	    5), -ENOENT);
	assert_int_equal(sock_connect_unix(too_long), -ENAMETOOLONG);
	assert_int_equal(sock_connect_unix(path), -ENOENT);
	assert_int_equal(lowest_free(), before);
}

static void
a_connection_is_non_blocking_and_knows_its_peer(void **state)
{
	int listener = sock_listen_unix(path, 0600, (gid_t)-1, 5), fd, peer;
	uid_t uid = 4711;
	gid_t gid = 4711;

	(void)state;
	fd = sock_connect_unix(path);
	assert_true(fd >= 0);
	assert_true(is_nonblock(fd) && is_cloexec(fd));
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peer >= 0);
	assert_int_equal(sock_peer(peer, &uid, &gid), 0);
	assert_int_equal(uid, geteuid());
	assert_int_equal(gid, getegid());
	assert_int_equal(sock_peer(-1, &uid, &gid), -EBADF);
	close(fd);
	close(peer);
	close(listener);
	unlink(path);
	assert_int_equal(sock_connect_unix(path), -ENOENT);
}

static void
tcp_listens_on_numeric_addresses_only(void **state)
{
	static const char *const wrong[] = {
		"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
		"127.0.0.1:-1", "127.0.0.1: 80", "127.0.0.1:80x",
		"127.0.0.1:123456", "localhost:80", "[::1:80", "::1:80",
		"[::1]", "[]:80", "[:80", "[127.0.0.1]:80", "1.2.3:80",
		"[::1%lo]:80", "999.0.0.1:80",
		"[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]:80",
	};
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (sock_listen_tcp(wrong[i], 5) != -EINVAL)
			fail_msg("taken: %s", wrong[i]);
	fd = sock_listen_tcp("127.0.0.1:0", 5);
	assert_true(fd >= 0);
	assert_true(is_nonblock(fd) && is_cloexec(fd));
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
	    0);
	assert_int_equal(ntohl(address.sin_addr.s_addr), INADDR_LOOPBACK);
	assert_true(address.sin_port != 0);
	close(fd);
	fd = sock_listen_tcp("[::1]:0", 5);
	if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL) {
		assert_true(fd >= 0);
		close(fd);
	}
}

/* Sockets that another made */

static void
a_listening_socket_is_known_by_its_address_however_that_is_written(void **state)
{
	char where[128], wanted[128];
	int fd = sock_listen_unix(path, 0600, (gid_t)-1, 5);

	(void)state;
	assert_true(sock_is_listening(fd));
	assert_true(sock_is_bound_to(fd, path));
	assert_false(sock_is_bound_to(fd, "/tmp"));
	assert_false(sock_is_bound_to(fd, "127.0.0.1:80"));
	sock_where(fd, where, sizeof(where));
	assert_string_equal(where, path);
	close(fd);
	unlink(path);
	fd = sock_listen_tcp("127.0.0.1:0", 5);
	sock_where(fd, where, sizeof(where));
	assert_true(sock_is_listening(fd) && sock_is_bound_to(fd, where));
	assert_false(sock_is_bound_to(fd, "127.0.0.1:0"));
	assert_false(sock_is_bound_to(fd, path));
	close(fd);
	fd = sock_listen_tcp("[::1]:0", 5);
	if (fd >= 0) {
		sock_where(fd, where, sizeof(where));
		assert_true(sock_is_bound_to(fd, where));
		snprintf(wanted, sizeof(wanted), "[0:0:0::0:1]%s",
		    strrchr(where, ':'));
		assert_true(sock_is_bound_to(fd, wanted));
		assert_false(sock_is_bound_to(fd, "127.0.0.1:0"));
		close(fd);
	}
}

static void
a_socket_whose_path_was_taken_away_or_by_another_is_not_reached(void **state)
{
	int fd = sock_listen_unix(path, 0600, (gid_t)-1, 5), other;
	char aside[80];

	(void)state;
	assert_true(sock_is_reached_by(fd, path));
	assert_false(sock_is_reached_by(fd, "/tmp"));
	snprintf(aside, sizeof(aside), "%s.aside", path);
	assert_int_equal(rename(path, aside), 0);
	assert_false(sock_is_reached_by(fd, path));
	assert_true(sock_is_reached_by(fd, aside));
	other = sock_listen_unix(path, 0600, (gid_t)-1, 5);
	if (geteuid() == 0)
		assert_false(sock_is_reached_by(fd, path));
	assert_true(sock_is_reached_by(other, path));
	close(fd);
	close(other);
	unlink(path);
	unlink(aside);
}

static void
what_does_not_listen_or_is_nowhere_is_said_to_be(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = "\0test_sock" };
	char where[128], longest[108];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_false(sock_is_listening(fd));
	assert_false(sock_is_listening(-1));
	assert_false(sock_is_listening(0));
	assert_false(sock_is_bound_to(fd, path));
	sock_where(fd, where, sizeof(where));
	assert_string_equal(where, "(no address)");
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 10)), 0);
	sock_where(fd, where, sizeof(where));
	assert_string_equal(where, "@test_sock");
	close(fd);
	/* As long as the kernel takes it, without an end. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "/tmp/", 5);
	memcpy(address.sun_path, longest, sizeof(longest));
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
	    sizeof(address)), 0);
	sock_where(fd, where, sizeof(where));
	assert_int_equal(strlen(where), sizeof(longest));
	assert_true(sock_is_bound_to(fd, where));
	unlink(where);
	close(fd);
}

static void
who_refuses_descriptors_is_sent_none_and_all_else(void **state)
{
	const int none = 0;
	char byte = 'x', got = 0;
	int pair[2], null, rc;

	(void)state;
	assert_int_equal(sock_pair(pair), 0);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(null >= 0);
	sock_refuse_descriptors(pair[0]);
	rc = sock_send(pair[1], &byte, 1, &null, 1);
	if (setsockopt(pair[0], SOL_SOCKET, SOCK_PASSRIGHTS, &none,
	        sizeof(none)) == 0)
		assert_int_equal(rc, -EPERM);
	else
		assert_int_equal(rc, 0); /* before Linux 6.16 */
	if (rc != 0)
		assert_int_equal(sock_send(pair[1], &byte, 1, NULL, 0), 0);
	assert_int_equal(recv(pair[0], &got, 1, 0), 1);
	assert_int_equal(got, 'x');
	/* the other direction is the other's to say */
	assert_int_equal(sock_send(pair[0], &byte, 1, &null, 1), 0);
	close_fd(&null);
	close_fd(&pair[0]);
	close_fd(&pair[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_listening_socket_is_known_by_its_address_however_that_is_written),
		cmocka_unit_test(
		    a_socket_whose_path_was_taken_away_or_by_another_is_not_reached),
		cmocka_unit_test(
		    what_does_not_listen_or_is_nowhere_is_said_to_be),
		cmocka_unit_test(
		    a_stolen_descriptor_is_closed_only_by_the_thief),
		cmocka_unit_test(closing_keeps_errno_and_may_be_done_twice),
		cmocka_unit_test(
		    a_descriptor_is_made_non_blocking_and_blocking_again),
		cmocka_unit_test(
		    a_unix_socket_has_the_mode_asked_for_whatever_the_umask),
		cmocka_unit_test(a_unix_socket_gets_the_group_asked_for),
		cmocka_unit_test(
		    a_stale_socket_is_replaced_and_a_living_one_is_not),
		cmocka_unit_test(
		    a_full_backlog_or_another_type_counts_as_a_living_socket),
		cmocka_unit_test(
		    another_file_in_the_place_of_a_socket_is_never_removed),
		cmocka_unit_test(
		    a_failed_listen_leaves_no_file_and_no_descriptor),
		cmocka_unit_test(
		    a_connection_is_non_blocking_and_knows_its_peer),
		cmocka_unit_test(tcp_listens_on_numeric_addresses_only),
		cmocka_unit_test(
		    who_refuses_descriptors_is_sent_none_and_all_else),
	};

	return cmocka_run_group_tests_name("sock", tests, set_up_group,
	    tear_down_group);
}
