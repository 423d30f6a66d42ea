#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/puppets.h"

static struct world world;
static char text[CTL_TEXT_MAX + 1];

static int
set_up(void **state)
{
	*state = &world;
	world_start(&world, "");
	world_serve(&world);
	return 0;
}

/* ------------------------------------------------------------------- reload */

static void
a_reload_is_answered_when_the_new_configuration_serves(void **state)
{
	struct ctl_msg msg, hello = report_of("hello", "hello.cgi", "default");
	int connection;

	(void)state;
	world_configure(&world, "[defaults]\nmemory = 32M\n");
	connection = command_send(&world, CTL_VERB_RELOAD, -1);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	world_expect_notice(&world, "RELOADING=1\nMONOTONIC_USEC=");
	command_expect_silence(connection);
	/* The new ceiling holds for what the scanner reports from now on. */
	puppet_send(&world.scanner, &hello, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
	assert_int_equal(msg.u.function.limits.value[LIMIT_MEMORY_BYTES],
	    32 << 20);
	command_expect_silence(connection);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
	/* and when the gateway has taken all of it */
	command_expect_silence(connection);
	puppet_say(&world.gateway, CTL_FN_SYNC);
	assert_int_equal(command_reply(connection, text), 0);
	world_expect_notice(&world, "READY=1");
}

static void
a_bad_configuration_is_answered_in_words_and_changes_nothing(void **state)
{
	static const struct {
		const char *more, *words;
	} cases[] = {
		{ "[defaults]\nmemory = much\n", "h.ini:" },
		{ "nonsense = 1\n", "nonsense" },
		{ "[tenant alice]\nuser = no-such-account\n", "no-such-account" },
		{ "listen_mode = 0600\n", "needs a restart" },
		{ "log = /no/such/directory/x\n", "cannot be opened" },
	};
	struct ctl_msg msg;
	int connection;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		world_configure(&world, cases[i].more);
		assert_int_not_equal(command_reply(command_send(&world,
		    CTL_VERB_RELOAD, -1), text), 0);
		if (strstr(text, cases[i].words) == NULL)
			fail_msg("case %zu says: %s", i, text);
	}
	assert_int_equal(unlink(world_path(&world, "h.ini")), 0);
	assert_int_not_equal(command_reply(command_send(&world,
	    CTL_VERB_RELOAD, -1), text), 0);
	assert_non_null(strstr(text, "cannot be read"));
	puppet_expect_silence(&world.gateway);
	puppet_expect_silence(&world.scanner);
	/* And a good one is taken all the same. */
	world_configure(&world, "");
	connection = command_send(&world, CTL_VERB_RELOAD, -1);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	world_sync(&world);
	assert_int_equal(command_reply(connection, text), 0);
}

static void
a_gateway_that_dies_in_a_reload_does_not_lose_the_answer(void **state)
{
	struct ctl_msg msg;
	int connection = command_send(&world, CTL_VERB_RELOAD, -1);

	(void)state;
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.gateway);
	puppet_expect_only(&world.gateway, CTL_START, &msg);
	puppet_pass(&world.gateway, CTL_FN_SYNC);
	command_expect_silence(connection);
	puppet_say(&world.gateway, CTL_FN_SYNC);
	assert_int_equal(command_reply(connection, text), 0);
}

static void
only_one_reload_at_a_time(void **state)
{
	int first = command_send(&world, CTL_VERB_RELOAD, -1);

	(void)state;
	command_expect_silence(first);
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_RELOAD,
	    -1), text), EBUSY);
	world_sync(&world);
	assert_int_equal(command_reply(first, text), 0);
}

static void
a_hangup_signal_is_a_reload(void **state)
{
	struct ctl_msg msg;

	(void)state;
	assert_int_equal(kill(world.spawner, SIGHUP), 0);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
}

static void
a_scanner_that_dies_in_a_reload_does_not_lose_the_answer(void **state)
{
	struct ctl_msg msg;
	int connection = command_send(&world, CTL_VERB_RELOAD, -1);

	(void)state;
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	assert_int_equal(kill(world.scanner.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.scanner);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	command_expect_silence(connection);
	world_sync(&world);
	assert_int_equal(command_reply(connection, text), 0);
}

/* -------------------------------------------------------- status and invoke */

static void
a_client_of_status_is_handed_to_the_gateway(void **state)
{
	int fds[PUPPET_FDS_MAX];
	struct ctl_msg msg;
	int connection = command_send(&world, CTL_VERB_STATUS, -1);

	(void)state;
	puppet_expect(&world.gateway, CTL_CLIENT, &msg, fds);
	assert_int_equal(msg.u.command.verb, CTL_VERB_STATUS);
	ctl_msg_init(&msg, CTL_REPLY);
	assert_int_equal(sock_send(fds[0], &msg, msg.size, NULL, 0), 0);
	close(fds[0]);
	assert_int_equal(command_reply(connection, NULL), 0);
}

static void
invoke_hands_over_a_stream_and_nothing_else(void **state)
{
	int fds[PUPPET_FDS_MAX], pair[2], null;
	struct ctl_msg msg;
	char byte;

	(void)state;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_INVOKE,
	    null), text), EINVAL);
	close(null);
	assert_int_equal(sock_pair(pair), 0);
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_INVOKE,
	    pair[0]), text), EINVAL);
	close(pair[0]);
	close(pair[1]);
	puppet_expect_silence(&world.gateway);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    pair), 0);
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_INVOKE,
	    pair[0]), text), 0);
	puppet_expect(&world.gateway, CTL_CLIENT, &msg, fds);
	assert_int_equal(msg.u.command.verb, CTL_VERB_INVOKE);
	assert_int_equal(write(fds[0], "x", 1), 1);
	assert_int_equal(read(pair[1], &byte, 1), 1);
	close(fds[0]);
	close(pair[0]);
	close(pair[1]);
}

/* -------------------------------------------------------- the socket itself */

static int
connect_control(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path),
	    "%s/run/control.sock", world.dir);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static void
what_is_no_command_is_refused(void **state)
{
	struct ctl_msg msg;
	int fd = connect_control();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(send(fd, "status", 6, MSG_NOSIGNAL), 6);
	assert_int_equal(command_reply(fd, text), EPROTO);
	fd = connect_control();
	ctl_msg_init(&msg, CTL_DRAINED);
	assert_int_equal(sock_send(fd, &msg, msg.size, NULL, 0), 0);
	assert_int_equal(command_reply(fd, text), EPROTO);
	assert_true(world_lives(&world));
}

static void
silent_clients_are_bounded_and_do_not_stay(void **state)
{
	struct pollfd poller = { .events = POLLIN };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[20], i;

	(void)state;
	for (i = 0; i < 20; i++) {
		fds[i] = connect_control();
		assert_true(fds[i] >= 0);
	}
	poller.fd = command_send(&world, CTL_VERB_INVOKE, null);
	close(null);
	/* The places are taken by the silent ones; they go after 5 seconds,
	 * and then it is the command's turn. */
	assert_int_equal(poll(&poller, 1, 1000), 0);
	assert_int_equal(command_reply(poller.fd, text), EINVAL);
	for (i = 0; i < 20; i++)
		close(fds[i]);
}

/* Forks as a user and tries to give a command: what connect says, or the
 * reply's code, as an exit status. */
static int
try_as(uid_t uid, gid_t gid)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct ctl_msg msg;
		int fd;

		if (setgid(gid) != 0 || setuid(uid) != 0)
			_exit(250);
		fd = connect_control();
		if (fd < 0)
			_exit(-fd);
		if (sock_recv(fd, &msg, sizeof(msg), NULL, 0, NULL) <= 0)
			_exit(251);
		_exit(msg.u.reply.code);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void
strangers_and_the_services_own_account_give_no_commands(void **state)
{
	const struct passwd *nobody = getpwnam("nobody");
	uid_t uid = nobody->pw_uid;
	gid_t gid = nobody->pw_gid;
	struct stat st;

	(void)state;
	assert_int_equal(stat(world_path(&world, "run/control.sock"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, gid);
	assert_int_equal(try_as(12345, 12345), EACCES);
	assert_int_equal(try_as(uid, gid), EPERM);
}

/* -------------------------------------------------------------------- drain */

static void
finish_drain(void)
{
	struct ctl_msg msg;

	puppet_say(&world.gateway, CTL_DRAINED);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	assert_int_equal(msg.u.totals.is_final, 1);
	assert_true(world_lives(&world));
	assert_int_equal(send(world.gateway.line, "x", 1, MSG_NOSIGNAL), 1);
}

static void
a_drain_ends_everything_and_is_answered(void **state)
{
	int connection = command_send(&world, CTL_VERB_DRAIN, -1);
	struct ctl_msg msg;
	struct stat st;

	(void)state;
	puppet_expect_only(&world.gateway, CTL_DRAIN, &msg);
	assert_true(msg.u.drain.longest_ms > 0);
	world_expect_notice(&world, "STOPPING=1");
	command_expect_silence(connection);
	finish_drain();
	assert_int_equal(command_reply(connection, text), 0);
	assert_int_equal(world_wait(&world), 0);
	assert_int_equal(stat(world_path(&world, "run/s"), &st), -1);
	assert_int_equal(stat(world_path(&world, "run/control.sock"), &st),
	    -1);
}

static void
a_gateway_that_dies_in_a_drain_is_followed_by_one_that_records(void **state)
{
	struct ctl_msg msg;

	(void)state;
	assert_int_equal(kill(world.spawner, SIGTERM), 0);
	puppet_expect_only(&world.gateway, CTL_DRAIN, &msg);
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.gateway);
	puppet_expect_only(&world.gateway, CTL_START, &msg);
	assert_int_equal(msg.u.start.is_again, 1);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	puppet_expect_only(&world.gateway, CTL_LOG, &msg);
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
	puppet_expect_only(&world.gateway, CTL_DRAIN, &msg);
	finish_drain();
	assert_int_equal(world_wait(&world), 0);
}

/* Before its word that all is done, one that waits may need one. */
static void
an_instance_is_started_in_a_drain_but_not_behind_its_end(void **state)
{
	struct ctl_msg msg, start = start_of(1, "unknown");
	struct stat st;

	(void)state;
	assert_int_equal(kill(world.spawner, SIGTERM), 0);
	puppet_expect_only(&world.gateway, CTL_DRAIN, &msg);
	puppet_send(&world.gateway, &start, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_INSTANCE_FAILED, &msg);
	assert_int_equal(msg.u.instance_failed.error, EIDRM);
	puppet_say(&world.gateway, CTL_DRAINED);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	start = start_of(2, "unknown");
	puppet_send(&world.gateway, &start, NULL, 0);
	/* killed, and what it left is not believed to be nothing */
	assert_int_equal(world_wait(&world), 0);
	assert_int_equal(stat(world_path(&world, "run/inflight"), &st), 0);
}

static void
while_it_drains_nothing_new_is_begun(void **state)
{
	struct ctl_msg msg;

	(void)state;
	assert_int_equal(kill(world.spawner, SIGTERM), 0);
	puppet_expect_only(&world.gateway, CTL_DRAIN, &msg);
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_RELOAD,
	    -1), text), ESHUTDOWN);
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_DRAIN,
	    -1), text), EALREADY);
	finish_drain();
	assert_int_equal(world_wait(&world), 0);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_reload_is_answered_when_the_new_configuration_serves),
		TEST(a_bad_configuration_is_answered_in_words_and_changes_nothing),
		TEST(only_one_reload_at_a_time),
		TEST(a_hangup_signal_is_a_reload),
		TEST(a_scanner_that_dies_in_a_reload_does_not_lose_the_answer),
		TEST(a_gateway_that_dies_in_a_reload_does_not_lose_the_answer),
		TEST(a_client_of_status_is_handed_to_the_gateway),
		TEST(invoke_hands_over_a_stream_and_nothing_else),
		TEST(what_is_no_command_is_refused),
		TEST(silent_clients_are_bounded_and_do_not_stay),
		TEST(strangers_and_the_services_own_account_give_no_commands),
		TEST(a_drain_ends_everything_and_is_answered),
		TEST(a_gateway_that_dies_in_a_drain_is_followed_by_one_that_records),
		TEST(an_instance_is_started_in_a_drain_but_not_behind_its_end),
		TEST(while_it_drains_nothing_new_is_begun),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
