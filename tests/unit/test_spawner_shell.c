/* Shells, at the spawner: what the gateway's answer may do and what it may not,
 * and what is left of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/puppets.h"

#define PATIENCE_MS 15000

/* Who asked, with its terminal. */
struct person {
	int connection, master, slave;
	int up[3]; /* what came with CTL_SHELL_UP */
};

static struct world world;
static char text[CTL_TEXT_MAX + 1];
static unsigned fds_before;

static int
set_up(void **state)
{
	*state = &world;
	world_start(&world, "");
	world_serve(&world);
	return 0;
}

static struct person
person_ask(void)
{
	struct person person = { .up = { -1, -1, -1 } };
	struct ctl_msg msg;

	person.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(person.master >= 0);
	assert_int_equal(unlockpt(person.master), 0);
	person.slave = open(ptsname(person.master),
	    O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(person.slave >= 0);
	ctl_msg_init(&msg, CTL_SHELL);
	strcpy(msg.u.shell.name, "hello");
	memcpy(msg.u.shell.text, "/bin/sh", 8);
	msg.u.shell.length = 8;
	msg.u.shell.count = 1;
	msg.u.shell.has_terminal = 1;
	person.connection = command_send_msg(&world, &msg, person.slave);
	return person;
}

static void
person_leave(struct person *person)
{
	close_fd(&person->connection);
	close_fd(&person->master);
	close_fd(&person->slave);
	for (size_t i = 0; i < 3; i++)
		close_fd(&person->up[i]);
}

static void
person_expect_up(struct person *person)
{
	struct pollfd poller = { .fd = person->connection, .events = POLLIN };
	struct ctl_msg msg;
	size_t count = 0;
	ssize_t n;

	assert_int_equal(poll(&poller, 1, PATIENCE_MS), 1);
	n = sock_recv(person->connection, &msg, sizeof(msg), person->up, 3,
	    &count);
	assert_true(n > 0);
	assert_int_equal(ctl_msg_check(&msg, (size_t)n, count,
	    CTL_WAY_TO_COMMAND), 0);
	assert_string_equal(ctl_type_name(msg.type), "shell_up");
	assert_string_equal(msg.u.function.name, "hello");
}

static void
person_expect_nothing(const struct person *person)
{
	struct pollfd poller = { .fd = person->connection, .events = POLLIN };

	assert_int_equal(poll(&poller, 1, 150), 0);
}

/* The code of the reply; its words are in text. */
static int
person_reply(struct person *person)
{
	int connection = steal_fd(&person->connection);

	return command_reply(connection, text);
}

/* The serial; the gateway is handed nothing with it. */
static uint64_t
expect_ask(void)
{
	int fds[PUPPET_FDS_MAX];
	struct ctl_msg msg;

	puppet_expect(&world.gateway, CTL_SHELL_ASK, &msg, fds);
	for (size_t i = 0; i < PUPPET_FDS_MAX; i++)
		assert_int_equal(fds[i], -1);
	return msg.u.shell_ask.serial;
}

static void
answer(uint64_t serial, uint64_t id, int error)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_SHELL_ANSWER);
	msg.u.shell_answer.serial = serial;
	msg.u.shell_answer.id = id;
	msg.u.shell_answer.error = error;
	puppet_send(&world.gateway, &msg, NULL, 0);
}

static void
expect_gone(uint64_t id, bool was_up)
{
	struct ctl_msg msg;

	puppet_expect_only(&world.gateway, CTL_SHELL_GONE, &msg);
	assert_int_equal(msg.u.shell_gone.gone.id, id);
	assert_int_equal(msg.u.shell_gone.was_up, was_up);
	assert_string_equal(msg.u.shell_gone.name, "hello");
}

/* Of the whole spawner: soon it has as much as before. */
static void
expect_nothing_left(void)
{
	/* a /proc, the function's network namespace and its tree are kept once
	 * made */
	for (int ms = 0; ms < PATIENCE_MS && (world_children(&world) > 2 ||
	    world_fds(&world) > fds_before + 3); ms += 10)
		usleep(10000);
	assert_int_equal(world_children(&world), 2);
	assert_in_range(world_fds(&world), 1, fds_before + 3);
}

/* Whether a child of the spawner has it as its controlling terminal. */
static bool
is_controlling(const struct person *person)
{
	char path[64], line[512];
	int pid, terminal;
	bool is_found = false;
	struct stat st;
	FILE *children, *file;

	assert_int_equal(fstat(person->slave, &st), 0);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
	    (int)world.spawner, (int)world.spawner);
	children = fopen(path, "r");
	assert_non_null(children);
	while (fscanf(children, "%d", &pid) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		file = fopen(path, "r");
		if (file == NULL || fgets(line, sizeof(line), file) == NULL ||
		    sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %d",
		        &terminal) != 1)
			terminal = 0;
		if (file != NULL)
			fclose(file);
		is_found |= terminal == (int)((major(st.st_rdev) << 8) |
		    (minor(st.st_rdev) & 0xff) |
		    ((minor(st.st_rdev) & ~0xffu) << 12));
	}
	fclose(children);
	return is_found;
}

/* ------------------------------------------------------- an honest gateway */

static void
each_answer_goes_to_who_asked_and_each_has_its_own_terminal(void **state)
{
	struct person a = person_ask(), b;
	uint64_t serial_a = expect_ask(), serial_b;

	(void)state;
	b = person_ask();
	serial_b = expect_ask();
	assert_int_not_equal(serial_a, serial_b);
	answer(serial_a, 1, 0);
	person_expect_up(&a);
	assert_true(is_controlling(&a));
	assert_false(is_controlling(&b));
	person_expect_nothing(&b);
	answer(serial_b, 2, 0);
	person_expect_up(&b);
	assert_true(is_controlling(&b));
	close_fd(&b.connection); /* and keeps init's end */
	expect_gone(2, true);
	assert_true(is_controlling(&a));
	close_fd(&a.connection);
	expect_gone(1, true);
	person_leave(&a);
	person_leave(&b);
}

static void
one_that_cannot_be_recorded_is_not_run(void **state)
{
	struct person person;

	(void)state;
	fds_before = world_fds(&world);
	for (int i = 0; i < 3; i++) {
		person = person_ask();
		answer(expect_ask(), 0, ENOSPC);
		assert_int_equal(person_reply(&person), ENOSPC);
		assert_non_null(strstr(text, "could not be recorded"));
		person_leave(&person);
	}
	puppet_expect_silence(&world.gateway);
	expect_nothing_left();
}

static void
who_left_before_the_answer_gets_no_sandbox(void **state)
{
	struct person person;
	uint64_t serial;

	(void)state;
	fds_before = world_fds(&world);
	for (uint64_t id = 1; id <= 3; id++) {
		person = person_ask();
		serial = expect_ask();
		person_leave(&person);
		while (world_fds(&world) > fds_before + 1) /* its terminal */
			usleep(1000);
		answer(serial, id, 0);
		expect_gone(id, false);
		assert_int_equal(world_children(&world), 2);
	}
	expect_nothing_left();
}

static void
nothing_is_left_of_a_shell_that_has_ended(void **state)
{
	struct person person;

	(void)state;
	fds_before = world_fds(&world);
	for (uint64_t id = 1; id <= 3; id++) {
		person = person_ask();
		answer(expect_ask(), id, 0);
		person_expect_up(&person);
		close_fd(&person.up[0]); /* init's end comes first */
		expect_gone(id, true);
		person_leave(&person);
		expect_nothing_left();
	}
}

/* ------------------------------------------------------- a hostile gateway */

static void
answer_unasked(struct person *person, uint64_t serial)
{
	(void)person;
	answer(serial + 1, 1, 0);
}

static void
answer_with_an_old_id(struct person *person, uint64_t serial)
{
	struct ctl_msg msg = start_of(7, "unknown");

	(void)person;
	puppet_send(&world.gateway, &msg, NULL, 0);
	answer(serial, 7, 0);
}

static void
answer_twice(struct person *person, uint64_t serial)
{
	answer(serial, 1, 0);
	person_expect_up(person);
	answer(serial, 2, 0);
}

static void
refuse_what_runs(struct person *person, uint64_t serial)
{
	answer(serial, 1, 0);
	person_expect_up(person);
	answer(serial, 0, EIO);
}

static void
refuse_twice(struct person *person, uint64_t serial)
{
	answer(serial, 0, EIO);
	(void)person_reply(person);
	answer(serial, 0, EIO);
}

static void
start_one_with_its_id(struct person *person, uint64_t serial)
{
	struct ctl_msg msg = start_of(1, "hello");

	answer(serial, 1, 0);
	person_expect_up(person);
	puppet_send(&world.gateway, &msg, NULL, 0);
}

static void
a_gateway_that_answers_what_it_may_not_is_killed_and_shells_with_it(
    void **state)
{
	static void (*const misdeeds[])(struct person *person,
	    uint64_t serial) = { answer_unasked, answer_with_an_old_id,
		answer_twice, refuse_what_runs, refuse_twice,
		start_one_with_its_id };
	struct person person;

	(void)state;
	for (size_t i = 0; i < sizeof(misdeeds) / sizeof(misdeeds[0]); i++) {
		if (i > 0) {
			world_end(&world);
			(void)set_up(state);
		}
		fds_before = world_fds(&world);
		person = person_ask();
		misdeeds[i](&person, expect_ask());
		puppet_await_successor(&world, &world.gateway);
		if (!world_lives(&world))
			fail_msg("misdeed %zu ended the spawner", i);
		if (person.connection >= 0) {
			assert_int_equal(person_reply(&person), EAGAIN);
			assert_non_null(strstr(text, "gateway has ended"));
		}
		expect_nothing_left();
		person_leave(&person);
	}
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(each_answer_goes_to_who_asked_and_each_has_its_own_terminal),
		TEST(one_that_cannot_be_recorded_is_not_run),
		TEST(who_left_before_the_answer_gets_no_sandbox),
		TEST(nothing_is_left_of_a_shell_that_has_ended),
		TEST(a_gateway_that_answers_what_it_may_not_is_killed_and_shells_with_it),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
