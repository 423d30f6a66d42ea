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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/puppets.h"

static struct world world;

static int
set_up(void **state)
{
	*state = &world;
	world_start(&world, "");
	return 0;
}

/* ------------------------------------------------------- a hostile gateway */

static void
send_garbage(const struct puppet *p)
{
	puppet_send_raw(p, "GET / HTTP/1.0\r\n\r\n", 18);
}

static void
send_one_byte(const struct puppet *p)
{
	puppet_send_raw(p, "x", 1);
}

static void
send_nothing(const struct puppet *p)
{
	assert_int_equal(send(p->sock, "", 0, MSG_NOSIGNAL), 0);
}

static void
send_huge(const struct puppet *p)
{
	static char huge[60000];

	puppet_send_raw(p, huge, sizeof(huge));
}

static void
send_cut(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "hello");

	puppet_send_raw(p, &msg, (size_t)msg.size - 1);
}

static void
send_longer(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "hello");

	puppet_send_raw(p, &msg, (size_t)msg.size + 1);
}

static void
send_wrong_magic(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "hello");

	msg.magic++;
	puppet_send_raw(p, &msg, msg.size);
}

static void
send_conf(const struct puppet *p)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_CONF);
	puppet_send(p, &msg, &null, 1);
	close(null);
}

static void
send_report(const struct puppet *p)
{
	struct ctl_msg msg = report_of("hello", "hello.cgi", "default");

	puppet_send(p, &msg, NULL, 0);
}

static void
send_command(const struct puppet *p)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_COMMAND);
	msg.u.command.verb = CTL_VERB_DRAIN;
	puppet_send(p, &msg, NULL, 0);
}

static void
send_with_descriptor(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "hello");
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	puppet_send(p, &msg, &null, 1);
	close(null);
}

static void
send_id_zero(const struct puppet *p)
{
	struct ctl_msg msg = start_of(0, "hello");

	puppet_send(p, &msg, NULL, 0);
}

static void
send_dots(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "../hello");

	puppet_send(p, &msg, NULL, 0);
}

static void
send_absolute(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "/bin/sh");

	puppet_send(p, &msg, NULL, 0);
}

static void
send_bytes_after_the_end(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "hello");

	msg.u.instance_start.name[20] = 'x';
	puppet_send(p, &msg, NULL, 0);
}

static void
send_unterminated(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "hello");

	memset(msg.u.instance_start.name, 'a',
	    sizeof(msg.u.instance_start.name));
	puppet_send(p, &msg, NULL, 0);
}

static void
send_kill_of_the_future(const struct puppet *p)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_INSTANCE_KILL);
	msg.u.instance_kill.id = 1;
	puppet_send(p, &msg, NULL, 0);
}

static void
send_switched(const struct puppet *p)
{
	puppet_say(p, CTL_LOG_SWITCHED);
}

/* Would take a log from the host that nobody gave it. */
static void
send_not_switched(const struct puppet *p)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_LOG_SWITCHED);
	msg.u.log_switched.error = EBADMSG;
	puppet_send(p, &msg, NULL, 0);
}

static void
send_drained(const struct puppet *p)
{
	puppet_say(p, CTL_DRAINED);
}

static void
send_sync(const struct puppet *p)
{
	puppet_say(p, CTL_FN_SYNC);
}

static void
send_replay(const struct puppet *p)
{
	/* An unknown function: the id is spent all the same. */
	struct ctl_msg msg = start_of(7, "unknown");

	puppet_send(p, &msg, NULL, 0);
	puppet_send(p, &msg, NULL, 0);
}

static void
send_older_id(const struct puppet *p)
{
	struct ctl_msg msg = start_of(7, "unknown");

	puppet_send(p, &msg, NULL, 0);
	msg = start_of(6, "hello");
	puppet_send(p, &msg, NULL, 0);
}

typedef void misdeed_fn(const struct puppet *puppet);

static void
expect_killed_for(struct puppet *puppet, misdeed_fn *misdeed, size_t number)
{
	unsigned before;

	world_serve(&world);
	before = world_fds(&world);
	misdeed(puppet);
	if (!world_lives(&world))
		fail_msg("misdeed %zu ended the spawner", number);
	puppet_await_successor(&world, puppet);
	/* Both roles, and soon nothing that was started; but a function's network
	 * namespace and a /proc are kept once made. */
	for (int ms = 0; ms < 15000 && (world_children(&world) > 2 ||
	    world_fds(&world) > before + 2); ms += 10)
		usleep(10000);
	assert_int_equal(world_children(&world), 2);
	assert_in_range(world_fds(&world), 1, before + 2);
}

static void
walk(struct puppet *puppet, misdeed_fn *const *misdeeds, size_t count)
{
	size_t i;

	/* A world each: in one, the back-off would make it a long walk. */
	for (i = 0; i < count; i++) {
		if (i > 0) {
			world_end(&world);
			world_start(&world, "");
		}
		expect_killed_for(puppet, misdeeds[i], i);
	}
}

static void
a_gateway_that_says_what_it_may_not_is_killed_and_replaced(void **state)
{
	static misdeed_fn *const misdeeds[] = {
		send_garbage, send_one_byte, send_huge, send_cut, send_longer,
		send_wrong_magic, send_conf, send_report, send_command,
		send_with_descriptor, send_id_zero, send_dots, send_absolute,
		send_bytes_after_the_end, send_unterminated,
		send_kill_of_the_future, send_switched, send_not_switched,
		send_drained,
		send_sync, send_replay, send_older_id,
	};

	(void)state;
	walk(&world.gateway, misdeeds, sizeof(misdeeds) / sizeof(misdeeds[0]));
}

/* An empty message looks like the end: it has a second to end by itself. */
static void
an_empty_message_is_the_end_of_a_role(void **state)
{
	(void)state;
	world_serve(&world);
	send_nothing(&world.gateway);
	puppet_await_successor(&world, &world.gateway);
	assert_true(world_lives(&world));
}

/* ------------------------------------------------------- a hostile scanner */

static void
put_function(const struct puppet *p, const char *name, const char *path,
    const char *tenant)
{
	struct ctl_msg msg = report_of(name, path, tenant);

	puppet_send(p, &msg, NULL, 0);
}

static void
put_other_tenant(const struct puppet *p)
{
	put_function(p, "alice/x", "alice/x.cgi", "bob");
}

static void
put_escape(const struct puppet *p)
{
	put_function(p, "x", "../../bin/sh", "default");
}

static void
put_other_path(const struct puppet *p)
{
	put_function(p, "x", "hello.cgi", "default");
}

static void
put_bad_version(const struct puppet *p)
{
	struct ctl_msg msg = report_of("x", "x.cgi", "default");

	msg.u.function.version[3] = '/';
	puppet_send(p, &msg, NULL, 0);
}

static void
put_env_unsealed(const struct puppet *p)
{
	struct ctl_msg msg = report_of("x", "x.cgi", "default");
	int null = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	msg.u.function.has_env = 1;
	puppet_send(p, &msg, &null, 1);
	close(null);
}

static void
put_env_without_descriptor(const struct puppet *p)
{
	struct ctl_msg msg = report_of("x", "x.cgi", "default");

	msg.u.function.has_env = 1;
	puppet_send(p, &msg, NULL, 0);
}

static void
put_descriptor_without_env(const struct puppet *p)
{
	struct ctl_msg msg = report_of("x", "x.cgi", "default");
	int fd = sock_sealed("x", "A=1", 4);

	puppet_send(p, &msg, &fd, 1);
	close(fd);
}

static void
put_two_descriptors(const struct puppet *p)
{
	struct ctl_msg msg = report_of("x", "x.cgi", "default");
	int fds[2] = { sock_sealed("x", "A=1", 4), sock_sealed("y", "B", 2) };

	msg.u.function.has_env = 1;
	puppet_send(p, &msg, fds, 2);
	close(fds[0]);
	close(fds[1]);
}

static void
start_an_instance(const struct puppet *p)
{
	struct ctl_msg msg = start_of(1, "hello");

	puppet_send(p, &msg, NULL, 0);
}

static void
a_scanner_that_says_what_it_may_not_is_killed_and_replaced(void **state)
{
	static misdeed_fn *const misdeeds[] = {
		send_garbage, send_huge, send_cut, send_conf, put_other_tenant,
		put_escape, put_other_path, put_bad_version, put_env_unsealed,
		put_env_without_descriptor, put_descriptor_without_env,
		put_two_descriptors, start_an_instance, send_drained,
		send_command,
	};

	(void)state;
	walk(&world.scanner, misdeeds, sizeof(misdeeds) / sizeof(misdeeds[0]));
}

static void
a_scanner_that_lies_takes_nothing_from_what_serves(void **state)
{
	struct ctl_msg msg = start_of(1, "hello");

	(void)state;
	world_serve(&world);
	put_other_tenant(&world.scanner);
	puppet_await_successor(&world, &world.scanner);
	puppet_expect_silence(&world.gateway);
	puppet_send(&world.gateway, &msg, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_INSTANCE_UP, &msg);
}

/* ------------------------------------------------------------------ floods */

static void
one_that_does_not_read_is_killed_and_the_host_goes_on(void **state)
{
	struct ctl_msg msg, put = report_of("hello", "hello.cgi", "default");
	struct ctl_msg del;
	unsigned i;

	(void)state;
	world_serve(&world);
	ctl_msg_init(&del, CTL_FN_DEL);
	strcpy(del.u.name.name, "hello");
	/* Each is forwarded to a gateway that reads nothing. */
	for (i = 0; i < 70000; i++)
		puppet_send(&world.scanner, i % 2 == 0 ? &del : &put, NULL, 0);
	puppet_await_successor(&world, &world.gateway);
	assert_true(world_lives(&world));
	puppet_expect_only(&world.gateway, CTL_START, &msg);
}

static void
restarts_become_rare(void **state)
{
	struct timespec from, to;
	unsigned i;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < 5; i++) {
		send_garbage(&world.gateway);
		puppet_await_successor(&world, &world.gateway);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	/* 100 + 200 + 400 + 800 + 1600 ms. */
	assert_true(to.tv_sec - from.tv_sec >= 2);
	assert_true(world_lives(&world));
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_gateway_that_says_what_it_may_not_is_killed_and_replaced),
		TEST(an_empty_message_is_the_end_of_a_role),
		TEST(a_scanner_that_says_what_it_may_not_is_killed_and_replaced),
		TEST(a_scanner_that_lies_takes_nothing_from_what_serves),
		TEST(one_that_does_not_read_is_killed_and_the_host_goes_on),
		TEST(restarts_become_rare),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
