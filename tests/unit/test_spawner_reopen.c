/* The logs are switched: by the control socket, by a signal, by a reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
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
	return 0;
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

/* And the gateway's successor begins in that log. */
static void
kill_gateway(const char *log)
{
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	expect_successors_start();
	expect_log(log, true);
}

/* The gateway has been told, and owes the answer. */
static int
begin_reopen(void)
{
	int connection = command_send(&world, CTL_VERB_REOPEN, -1);
	struct ctl_msg msg;

	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	assert_int_equal(msg.u.totals.is_final, 0);
	expect_log("log/a.log", false);
	return connection;
}

static void
say_switched(int error)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_LOG_SWITCHED);
	msg.u.log_switched.error = error;
	puppet_send(&world.gateway, &msg, NULL, 0);
}

static void
a_reopen_is_answered_after_the_switch(void **state)
{
	int connection;

	(void)state;
	rotate("log/a.log");
	connection = begin_reopen();
	assert_int_not_equal(inode_at("log/a.log"), inode_at("log/a.log.1"));
	command_expect_silence(connection);
	say_switched(0);
	assert_int_equal(command_reply(connection, text), 0);
}

/* Where the dead one's last lines stand. */
static void
a_gateway_that_dies_in_a_reopen_is_followed_by_one_that_begins_in_the_old_log(
    void **state)
{
	int connection;

	(void)state;
	rotate("log/a.log");
	connection = begin_reopen();
	for (int i = 0; i < 2; i++) { /* and so does its successor */
		kill_gateway("log/a.log.1");
		expect_log("log/a.log", false);
	}
	command_expect_silence(connection);
	say_switched(0);
	assert_int_equal(command_reply(connection, text), 0);
	kill_gateway("log/a.log");
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
	command_expect_silence(connection);
	say_switched(0);
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
a_switch_that_fails_is_told_at_once_and_the_next_one_counts(void **state)
{
	int connection;

	(void)state;
	rotate("log/a.log");
	connection = begin_reopen();
	say_switched(EBADMSG);
	assert_int_equal(command_reply(connection, text), EBADMSG);
	assert_non_null(strstr(text, "a.log: its last line is no record"));
	assert_non_null(strstr(text, "fcgi-host reopen"));
	/* what it goes on in is what a successor begins in */
	kill_gateway("log/a.log.1");
	puppet_pass(&world.gateway, CTL_LISTEN);
	connection = begin_reopen();
	say_switched(0);
	assert_int_equal(command_reply(connection, text), 0);
	kill_gateway("log/a.log");
}

static void
configure_log(const char *name)
{
	const char *d = world.dir;
	char ini[2048];

	snprintf(ini, sizeof(ini), "[host]\nlisten = %s/run/s\n"
	    "functions = %s/functions\naccounting = %s/log/%s\n"
	    "run = %s/run\nstate = %s/state\nuser = nobody\n", d, d, d, name,
	    d, d);
	world_write(&world, "h.ini", ini, 0644);
}

static void
reload_with_log(int error, bool is_tried)
{
	struct ctl_msg msg;
	int connection = command_send(&world, CTL_VERB_RELOAD, -1);

	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	if (is_tried) {
		puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
		expect_log("log/b.log", false);
	}
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	world_sync(&world);
	if (is_tried) {
		command_expect_silence(connection);
		say_switched(error);
	}
	assert_int_equal(command_reply(connection, text), error);
}

static void
a_reload_waits_for_its_log_and_says_when_the_old_one_goes_on(void **state)
{
	(void)state;
	configure_log("b.log");
	reload_with_log(EBADMSG, true);
	assert_non_null(strstr(text, "the new configuration serves, but"));
	assert_non_null(strstr(text, "b.log: its last line is no record"));
	reload_with_log(0, true); /* not forgotten */
	reload_with_log(0, false);
}

/* Nobody could say which file is held by a gateway that owes two answers. */
static void
a_reload_with_a_new_log_is_refused_while_the_logs_are_switched(void **state)
{
	int connection;

	(void)state;
	connection = begin_reopen();
	configure_log("b.log");
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_RELOAD,
	    -1), text), EBUSY);
	assert_non_null(strstr(text, "nothing was changed"));
	puppet_expect_silence(&world.gateway);
	say_switched(0);
	assert_int_equal(command_reply(connection, text), 0);
}

static void
expect_stderr(const char *name)
{
	int fds[PUPPET_FDS_MAX];
	struct ctl_msg msg;

	puppet_expect(&world.gateway, CTL_STDERR, &msg, fds);
	assert_int_equal(inode_of(fds[0]), inode_at(name));
	assert_int_equal(fcntl(fds[0], F_GETFL) & (O_APPEND | O_ACCMODE),
	    O_APPEND | O_WRONLY);
	close(fds[0]);
}

static void
reload_with_stderr(const char *more, const char *name)
{
	struct ctl_msg msg;
	int connection;

	world_configure(&world, more);
	connection = command_send(&world, CTL_VERB_RELOAD, -1);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	expect_stderr(name);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_expect_only(&world.scanner, CTL_STDERR, &msg);
	world_sync(&world);
	assert_int_equal(command_reply(connection, text), 0);
}

static void
the_hosts_own_log_is_switched_in_all_roles(void **state)
{
	struct ctl_msg msg;
	char more[128], command[256];

	(void)state;
	snprintf(more, sizeof(more), "log = %s/log/host.log\n", world.dir);
	reload_with_stderr(more, "log/host.log");

	rotate("log/host.log");
	assert_int_equal(kill(world.spawner, SIGUSR1), 0);
	expect_stderr("log/host.log");
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	expect_log("log/a.log", false);
	puppet_expect_only(&world.scanner, CTL_STDERR, &msg);
	say_switched(0);
	/* The spawner itself writes there now. */
	assert_int_equal(kill(world.scanner.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.scanner);
	snprintf(command, sizeof(command), "grep -q event=role_ended %s",
	    world_path(&world, "log/host.log"));
	assert_int_equal(system(command), 0);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_expect_only(&world.gateway, CTL_FN_DEL, &msg);
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
	puppet_say(&world.gateway, CTL_FN_SYNC);

	/* And back to what the host was started with. */
	reload_with_stderr("", "spawner.log");
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
		TEST(a_switch_that_fails_is_told_at_once_and_the_next_one_counts),
		TEST(a_reload_waits_for_its_log_and_says_when_the_old_one_goes_on),
		TEST(a_reload_with_a_new_log_is_refused_while_the_logs_are_switched),
		TEST(the_hosts_own_log_is_switched_in_all_roles),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
