/* The logs are switched: by the control socket, by a signal, by a reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
	world_expect_notice(&world, "READY=1");
	return 0;
}

static void
expect_no_reply(int connection)
{
	struct pollfd poller = { .fd = connection, .events = POLLIN };

	assert_int_equal(poll(&poller, 1, 150), 0);
}

static ino_t
inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

/* logrotate's part: NAME becomes NAME.1. */
static void
rotate(const char *name)
{
	char from[128], to[128];

	snprintf(from, sizeof(from), "%s/%s", world.dir, name);
	snprintf(to, sizeof(to), "%s/%s.1", world.dir, name);
	assert_int_equal(rename(from, to), 0);
}

static ino_t
inode_at(const char *name)
{
	struct stat st;

	assert_int_equal(stat(world_path(&world, name), &st), 0);
	return st.st_ino;
}

static void
a_reopen_is_answered_after_the_switch(void **state)
{
	int fds[PUPPET_FDS_MAX], connection;
	struct ctl_msg msg;

	(void)state;
	rotate("log/a.log");
	connection = command_send(&world, CTL_VERB_REOPEN, -1);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	assert_int_equal(msg.u.totals.is_final, 0);
	puppet_expect(&world.gateway, CTL_LOG, &msg, fds);
	assert_int_equal(msg.u.log.is_first, 0);
	assert_int_equal(inode_of(fds[0]), inode_at("log/a.log"));
	assert_int_not_equal(inode_of(fds[0]), inode_at("log/a.log.1"));
	close(fds[0]);
	expect_no_reply(connection);
	puppet_say(&world.gateway, CTL_LOG_SWITCHED);
	assert_int_equal(command_reply(connection, text), 0);
}

static void
expect_log(const char *name, bool is_first)
{
	int fds[PUPPET_FDS_MAX];
	struct ctl_msg msg;

	puppet_expect(&world.gateway, CTL_LOG, &msg, fds);
	assert_int_equal(msg.u.log.is_first, is_first);
	assert_int_equal(inode_of(fds[0]), inode_at(name));
	close(fds[0]);
}

static void
expect_successors_start(void)
{
	struct ctl_msg msg;

	puppet_await_successor(&world, &world.gateway);
	puppet_expect_only(&world.gateway, CTL_START, &msg);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
}

/* Where the dead one's last lines stand. */
static void
a_gateway_that_dies_in_a_reopen_is_followed_by_one_that_begins_in_the_old_log(
    void **state)
{
	struct ctl_msg msg;
	int connection;

	(void)state;
	rotate("log/a.log");
	connection = command_send(&world, CTL_VERB_REOPEN, -1);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	expect_log("log/a.log", false);
	for (int i = 0; i < 2; i++) { /* and so does its successor */
		assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
		expect_successors_start();
		expect_log("log/a.log.1", true);
		expect_log("log/a.log", false);
	}
	expect_no_reply(connection);
	puppet_say(&world.gateway, CTL_LOG_SWITCHED);
	assert_int_equal(command_reply(connection, text), 0);
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	expect_successors_start();
	expect_log("log/a.log", true);
}

/* Its predecessor wrote the old one to the end. */
static void
a_reopen_while_no_gateway_is_up_waits_for_the_next_ones_switch(void **state)
{
	int connection;

	(void)state;
	rotate("log/a.log");
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	connection = command_send(&world, CTL_VERB_REOPEN, -1);
	expect_successors_start();
	expect_log("log/a.log.1", true);
	expect_log("log/a.log", false);
	expect_no_reply(connection);
	puppet_say(&world.gateway, CTL_LOG_SWITCHED);
	assert_int_equal(command_reply(connection, text), 0);
}

static void
a_log_that_cannot_be_opened_is_answered_in_words(void **state)
{
	(void)state;
	assert_int_equal(unlink(world_path(&world, "log/a.log")), 0);
	assert_int_equal(mkdir(world_path(&world, "log/a.log"), 0755), 0);
	assert_int_not_equal(command_reply(command_send(&world,
	    CTL_VERB_REOPEN, -1), text), 0);
	assert_non_null(strstr(text, "a.log"));
	puppet_expect_silence(&world.gateway);
}

static void
the_hosts_own_log_is_switched_in_all_roles(void **state)
{
	int fds[PUPPET_FDS_MAX], connection;
	struct ctl_msg msg;
	char more[128];

	(void)state;
	snprintf(more, sizeof(more), "log = %s/log/host.log\n", world.dir);
	world_configure(&world, more);
	connection = command_send(&world, CTL_VERB_RELOAD, -1);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect(&world.gateway, CTL_STDERR, &msg, fds);
	assert_int_equal(inode_of(fds[0]), inode_at("log/host.log"));
	assert_int_equal(fcntl(fds[0], F_GETFL) & (O_APPEND | O_ACCMODE),
	    O_APPEND | O_WRONLY);
	close(fds[0]);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_expect_only(&world.scanner, CTL_STDERR, &msg);
	world_sync(&world);
	assert_int_equal(command_reply(connection, text), 0);

	rotate("log/host.log");
	assert_int_equal(kill(world.spawner, SIGUSR1), 0);
	puppet_expect(&world.gateway, CTL_STDERR, &msg, fds);
	assert_int_equal(inode_of(fds[0]), inode_at("log/host.log"));
	close(fds[0]);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	puppet_expect_only(&world.gateway, CTL_LOG, &msg);
	puppet_expect_only(&world.scanner, CTL_STDERR, &msg);
	puppet_say(&world.gateway, CTL_LOG_SWITCHED);
	/* The spawner itself writes there now. */
	assert_int_equal(kill(world.scanner.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.scanner);
	{
		char command[256];

		snprintf(command, sizeof(command),
		    "grep -q event=role_ended %s/log/host.log", world.dir);
		assert_int_equal(system(command), 0);
	}
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_expect_only(&world.gateway, CTL_FN_DEL, &msg);
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
	puppet_say(&world.gateway, CTL_FN_SYNC);

	/* And back to what the host was started with. */
	world_configure(&world, "");
	connection = command_send(&world, CTL_VERB_RELOAD, -1);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect(&world.gateway, CTL_STDERR, &msg, fds);
	assert_int_equal(inode_of(fds[0]), inode_at("spawner.log"));
	close(fds[0]);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_expect_only(&world.scanner, CTL_STDERR, &msg);
	world_sync(&world);
	assert_int_equal(command_reply(connection, text), 0);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_reopen_is_answered_after_the_switch),
		TEST(a_gateway_that_dies_in_a_reopen_is_followed_by_one_that_begins_in_the_old_log),
		TEST(a_reopen_while_no_gateway_is_up_waits_for_the_next_ones_switch),
		TEST(a_log_that_cannot_be_opened_is_answered_in_words),
		TEST(the_hosts_own_log_is_switched_in_all_roles),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
