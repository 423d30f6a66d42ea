/* For which purpose the gateway may have an instance, and what is run then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/sandboxes.h"
#include "fcgi-host/sock.h"
#include "sandbox/init_msg.h"
#include "tests/unit/puppets.h"

static struct world world;

static void
report(const char *name, const char *path, const char *runtime)
{
	struct ctl_msg msg = report_of(name, path, "default");

	strcpy(msg.u.function.runtime, runtime);
	puppet_send(&world.scanner, &msg, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
}

static int
set_up(void **state)
{
	*state = &world;
	world_start(&world, "uid_range = 710000-710009\n"
	    "[runtime words]\nextensions = words\nprotocol = fastcgi\n"
	    "command = /bin/echo serves\n"
	    "check = /bin/echo checks %f now\notherwise = other\n"
	    "[runtime other]\ncommand = /bin/echo of another\n"
	    "[runtime bare]\nextensions = bare\ncommand = /bin/echo\n");
	world_serve(&world);
	world_write(&world, "functions/w.words", "\n", 0644);
	world_write(&world, "functions/b.bare", "\n", 0644);
	report("w", "w.words", "words");
	report("b", "b.bare", "bare");
	return 0;
}

static void
ask(uint64_t id, const char *name, enum ctl_purpose purpose)
{
	struct ctl_msg msg = start_of(id, name);

	msg.u.instance_start.purpose = (uint8_t)purpose;
	puppet_send(&world.gateway, &msg, NULL, 0);
}

/* The gateway's end of init's socket. */
static int
expect_up(uint64_t id)
{
	struct ctl_msg msg;
	int fds[PUPPET_FDS_MAX];

	puppet_expect(&world.gateway, CTL_INSTANCE_UP, &msg, fds);
	assert_int_equal(msg.u.instance_up.id, id);
	for (int i = 1; i <= __builtin_popcount(msg.u.instance_up.has); i++)
		close(fds[i]);
	return fds[0];
}

static void
expect_failed(uint64_t id, int error)
{
	struct ctl_msg msg;

	puppet_expect_only(&world.gateway, CTL_INSTANCE_FAILED, &msg);
	assert_int_equal(msg.u.instance_failed.id, id);
	assert_int_equal(msg.u.instance_failed.error, error);
}

/* init ends at the hang-up. */
static void
end(uint64_t id, int init)
{
	struct ctl_msg msg;

	close(init);
	puppet_expect_only(&world.gateway, CTL_INSTANCE_GONE, &msg);
	assert_int_equal(msg.u.instance_gone.id, id);
}

/* Runs its program once, by init's way with a CGI program; it must write that. */
static void
says(int init, const char *text)
{
	const struct init_order order = { .magic = INIT_MAGIC,
		.type = INIT_RUN, .serial = 1 };
	int pipe_fds[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char out[128];
	ssize_t n, length = 0;

	assert_int_equal(sock_pipe(pipe_fds), 0);
	assert_int_equal(sock_send(init, &order, sizeof(order),
	    (int[]){ null, pipe_fds[1], null }, 3), 0);
	close(pipe_fds[1]);
	close(null);
	while ((n = read(pipe_fds[0], out + length,
	    sizeof(out) - 1 - (size_t)length)) > 0)
		length += n;
	out[length] = '\0';
	close(pipe_fds[0]);
	assert_string_equal(out, text);
}

static bool
has_socket(uint64_t id)
{
	char name[40];
	struct stat st;

	snprintf(name, sizeof(name), "run/instances/%llu.sock",
	    (unsigned long long)id);
	return stat(world_path(&world, name), &st) == 0;
}

static void
a_check_is_its_runtimes_without_a_socket_to_listen_on(void **state)
{
	int init;

	(void)state;
	ask(1, "w", CTL_PURPOSE_SERVE);
	init = expect_up(1);
	assert_true(has_socket(1));
	end(1, init);
	ask(2, "w", CTL_PURPOSE_CHECK);
	init = expect_up(2);
	assert_false(has_socket(2));
	says(init, "checks /fn/w.words now\n");
	end(2, init);
}

static void
otherwise_is_served_by_the_runtime_that_the_administrator_named(void **state)
{
	int init;

	(void)state;
	ask(1, "w", CTL_PURPOSE_OTHERWISE);
	init = expect_up(1);
	assert_false(has_socket(1)); /* of that one's protocol */
	says(init, "of another /fn/w.words\n");
	end(1, init);
}

static void
a_purpose_for_which_there_is_no_command_starts_nothing(void **state)
{
	(void)state;
	ask(1, "b", CTL_PURPOSE_OTHERWISE);
	expect_failed(1, ESTALE);
	ask(2, "b", CTL_PURPOSE_CHECK);
	expect_failed(2, ESTALE);
	/* nor for one that is executed itself */
	ask(3, "hello", CTL_PURPOSE_CHECK);
	expect_failed(3, ESTALE);
	ask(4, "hello", CTL_PURPOSE_OTHERWISE);
	expect_failed(4, ESTALE);
}

/* Whatever a gateway that was taken over asks for; and none takes the place of one
 * that serves. */
static void
of_checks_there_are_four_at_a_time(void **state)
{
	int inits[SANDBOXES_CHECKS_MAX], init;
	uint64_t id = 0;

	(void)state;
	for (size_t i = 0; i < SANDBOXES_CHECKS_MAX; i++) {
		ask(++id, "w", CTL_PURPOSE_CHECK);
		inits[i] = expect_up(id);
	}
	ask(++id, "w", CTL_PURPOSE_CHECK);
	expect_failed(id, EAGAIN);
	ask(++id, "w", CTL_PURPOSE_SERVE);
	init = expect_up(id);
	end(id, init);
	for (size_t i = 0; i < SANDBOXES_CHECKS_MAX; i++)
		end(i + 1, inits[i]);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_check_is_its_runtimes_without_a_socket_to_listen_on),
		TEST(otherwise_is_served_by_the_runtime_that_the_administrator_named),
		TEST(a_purpose_for_which_there_is_no_command_starts_nothing),
		TEST(of_checks_there_are_four_at_a_time),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
