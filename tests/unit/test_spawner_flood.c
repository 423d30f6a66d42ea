/* A gateway that asks for instances without end: what it gets is bounded by the
 * function's and the tenant's ceilings as the configuration has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
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

static void
a_flood_of_starts_is_bounded_by_the_functions_own_ceiling(void **state)
{
	unsigned up = 0, failed = 0;
	struct ctl_msg msg;
	uint64_t id;

	(void)state;
	world_serve(&world);
	for (id = 1; id <= 60; id++) {
		msg = start_of(id, "hello");
		puppet_send(&world.gateway, &msg, NULL, 0);
	}
	for (id = 1; id <= 60; id++) {
		int fds[PUPPET_FDS_MAX], i;
		size_t count = 0;
		ssize_t n = sock_recv(world.gateway.sock, &msg, sizeof(msg),
		    fds, PUPPET_FDS_MAX, &count);

		assert_true(n > 0);
		/* init ends when its other end closes: keep those open. */
		for (i = 1; i < (int)count; i++)
			close(fds[i]);
		if (msg.type == CTL_INSTANCE_UP) {
			up++;
		} else {
			assert_int_equal(msg.type, CTL_INSTANCE_FAILED);
			assert_int_equal(msg.u.instance_failed.error, EAGAIN);
			failed++;
		}
	}
	/* Twice `instances`, which the report set to 2. */
	assert_int_equal(up, 4);
	assert_int_equal(failed, 56);
	assert_int_equal(world_children(&world), 2 + 4);
}

/* What the spawner says to a start; init's socket stays open, or it ends. */
static unsigned
start_some(uint64_t first, unsigned count, const char *const *names)
{
	unsigned up = 0;
	struct ctl_msg msg;

	for (unsigned i = 0; i < count; i++) {
		int fds[PUPPET_FDS_MAX];
		size_t fd_count = 0;

		msg = start_of(first + i, names[i % 2]);
		puppet_send(&world.gateway, &msg, NULL, 0);
		assert_true(sock_recv(world.gateway.sock, &msg, sizeof(msg),
		    fds, PUPPET_FDS_MAX, &fd_count) > 0);
		for (size_t j = 1; j < fd_count; j++)
			close(fds[j]);
		up += msg.type == CTL_INSTANCE_UP;
		if (msg.type != CTL_INSTANCE_UP)
			assert_int_equal(msg.u.instance_failed.error, EAGAIN);
	}
	return up;
}

static const char *const two_names[] = { "hello", "other" };

/* hello, of which there may be 4, and other, of which there may be many. */
static void
serve_two(void)
{
	struct ctl_msg msg = report_of("other", "other.cgi", "default");

	world_serve(&world);
	world_write(&world, "functions/other.cgi", "#!/bin/sh\n", 0755);
	msg.u.function.limits.value[LIMIT_INSTANCES] = 100;
	puppet_send(&world.scanner, &msg, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
}

static int
set_up_tenant(void **state)
{
	*state = &world;
	world_start(&world, "[defaults]\ninstances = 100\n"
	    "[tenant default]\nmax_instances = 3\n");
	return 0;
}

/* Twice as many, for the reason that stands at may_add. */
static void
a_flood_of_starts_is_bounded_by_the_tenants_ceiling(void **state)
{
	(void)state;
	serve_two();
	assert_int_equal(start_some(1, 20, two_names), 6);
	assert_int_equal(world_children(&world), 2 + 6);
}

/* A scanner that keeps silent after a reload keeps no old number alive. */
static void
a_tenants_new_ceiling_counts_before_the_scanner_has_said_anything(void **state)
{
	struct ctl_msg msg;
	int client;

	(void)state;
	serve_two();
	world_configure(&world, "[defaults]\ninstances = 100\n"
	    "[tenant default]\nmax_instances = 2\n");
	client = command_send(&world, CTL_VERB_RELOAD, -1);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	assert_int_equal(start_some(1, 20, two_names), 4);
	close(client);
}

static int
set_up_memory(void **state)
{
	*state = &world;
	world_start(&world, "[defaults]\ninstances = 100\n"
	    "[tenant default]\nmax_memory = 200M\n");
	return 0;
}

static bool
has_memory_controller(void)
{
	char text[256] = "";
	CLEANUP_FD int fd = open("/sys/fs/cgroup/cgroup.controllers",
	    O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
	    strstr(text, "memory") != NULL;
}

static void
a_flood_of_starts_is_bounded_by_the_tenants_memory(void **state)
{
	unsigned up;

	(void)state;
	serve_two();
	up = start_some(1, 20, two_names);
	/* of 64M each; where the kernel bounds it their sum may be more */
	assert_true(up == 6 || (has_memory_controller() && up == 14));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_flood_of_starts_is_bounded_by_the_functions_own_ceiling,
		    set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(
		    a_flood_of_starts_is_bounded_by_the_tenants_ceiling,
		    set_up_tenant, world_tear_down),
		cmocka_unit_test_setup_teardown(
		    a_tenants_new_ceiling_counts_before_the_scanner_has_said_anything,
		    set_up_tenant, world_tear_down),
		cmocka_unit_test_setup_teardown(
		    a_flood_of_starts_is_bounded_by_the_tenants_memory,
		    set_up_memory, world_tear_down),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
