/* The one execution of a command that commands init itself: what is ordered, and
 * what is made of an init that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/init_msg.h"
#include "sandbox/session.h"

struct pair {
	int sock[2]; /* 0: ours, 1: init's */
	int signal_fd;
	struct terminal terminal; /* none */
};

static int
setup(void **state)
{
	static struct pair pair;

	pair.signal_fd = session_signals();
	pair.terminal = (struct terminal){ .outside_in = -1,
		.outside_out = -1, .master = -1, .slave = -1 };
	*state = &pair;
	return pair.signal_fd >= 0 && sock_pair(pair.sock) == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
	struct pair *pair = *state;

	close_fd(&pair->sock[0]);
	close_fd(&pair->sock[1]);
	close_fd(&pair->signal_fd);
	return 0;
}

static struct init_report
report(uint32_t type)
{
	return (struct init_report){ .magic = INIT_MAGIC, .type = type,
		.serial = 1 };
}

static struct session_end
end_by(struct pair *pair, const void *data, size_t n)
{
	assert_int_equal(send(pair->sock[1], data, n, 0), (ssize_t)n);
	return session_follow(pair->sock[0], pair->signal_fd,
	    &pair->terminal);
}

static void
the_order_has_the_environment_and_three_descriptors(void **state)
{
	struct pair *pair = *state;
	static const char block[] = "A=1\0B=2";
	union {
		struct init_order order;
		char bytes[256];
	} got;
	int fds[4], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t count = 0;
	ssize_t n;

	assert_int_equal(session_run(pair->sock[0], block, sizeof(block),
	    (const int[]){ null, null, null }), 0);
	n = sock_recv(pair->sock[1], &got, sizeof(got), fds, 4, &count);
	assert_int_equal(n, sizeof(got.order) + sizeof(block));
	assert_int_equal(count, 3);
	assert_int_equal(got.order.magic, INIT_MAGIC);
	assert_int_equal(got.order.type, INIT_RUN);
	assert_int_equal(got.order.env_length, sizeof(block));
	assert_memory_equal(got.bytes + sizeof(got.order), block,
	    sizeof(block));
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	close(null);
}

static void
an_environment_that_init_would_not_take_is_not_sent(void **state)
{
	struct pair *pair = *state;
	static char block[INIT_ENV_MAX + 1];

	assert_int_equal(session_run(pair->sock[0], block, sizeof(block),
	    (const int[]){ 0, 1, 2 }), -E2BIG);
}

static void
a_report_of_the_end_gives_the_commands_status(void **state)
{
	struct pair *pair = *state;
	struct init_report exit = report(INIT_EXIT), dirty = report(INIT_DIRTY);
	struct session_end end;

	exit.wait_status = 7 << 8;
	end = end_by(pair, &exit, sizeof(exit));
	assert_int_equal(end.outcome, SESSION_ENDED);
	assert_int_equal(session_status(&end), 7);
	dirty.wait_status = SIGKILL;
	end = end_by(pair, &dirty, sizeof(dirty));
	assert_int_equal(session_status(&end), 128 + SIGKILL);
}

static void
a_command_that_cannot_be_executed_is_told_from_one_that_is_not_there(
    void **state)
{
	struct pair *pair = *state;
	struct init_report failed = report(INIT_EXEC_FAILED);
	struct session_end end;

	failed.value = ENOENT;
	end = end_by(pair, &failed, sizeof(failed));
	assert_int_equal(end.outcome, SESSION_NO_EXEC);
	assert_int_equal(session_status(&end), SESSION_NOT_FOUND);
	failed.value = EACCES;
	end = end_by(pair, &failed, sizeof(failed));
	assert_int_equal(session_status(&end), SESSION_CANNOT_EXECUTE);
}

static void
what_init_may_not_say_ends_the_session(void **state)
{
	struct pair *pair = *state;
	struct init_report lies[5];
	struct session_end end;

	for (size_t i = 0; i < 5; i++)
		lies[i] = report(INIT_EXIT);
	lies[0].magic++;
	lies[1].serial = 2;
	lies[2].type = INIT_MEMORY;
	lies[3].type = 99;
	lies[4].pad = 1;
	for (size_t i = 0; i < 5; i++) {
		end = end_by(pair, &lies[i], sizeof(lies[i]));
		assert_int_equal(end.outcome, SESSION_LOST);
		assert_int_equal(session_status(&end), SESSION_CANNOT);
	}
	end = end_by(pair, &lies[0], 5);
	assert_int_equal(end.outcome, SESSION_LOST);
}

static void
an_init_that_hangs_up_ends_the_session(void **state)
{
	struct pair *pair = *state;
	struct session_end end;

	close_fd(&pair->sock[1]);
	end = session_follow(pair->sock[0], pair->signal_fd,
	    &pair->terminal);
	assert_int_equal(end.outcome, SESSION_LOST);
}

static void
a_signal_ends_the_session_and_not_the_process(void **state)
{
	struct pair *pair = *state;
	struct session_end end;

	assert_int_equal(raise(SIGCONT), 0);
	assert_int_equal(raise(SIGWINCH), 0);
	assert_int_equal(raise(SIGTERM), 0);
	end = session_follow(pair->sock[0], pair->signal_fd,
	    &pair->terminal);
	assert_int_equal(end.outcome, SESSION_TOLD);
	assert_int_equal(session_status(&end), 128 + SIGTERM);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_order_has_the_environment_and_three_descriptors),
		TEST(an_environment_that_init_would_not_take_is_not_sent),
		TEST(a_report_of_the_end_gives_the_commands_status),
		TEST(a_command_that_cannot_be_executed_is_told_from_one_that_is_not_there),
		TEST(what_init_may_not_say_ends_the_session),
		TEST(an_init_that_hangs_up_ends_the_session),
		TEST(a_signal_ends_the_session_and_not_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
