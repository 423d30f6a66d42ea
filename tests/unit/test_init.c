/*
 * Pid 1 of an instance: what it starts, reports, cleans up, and what it does
 * with orders that are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/box.h"

#define STATUS_PROTOCOL 66 /* init's exit code for what is no order */

static struct box_host host;

static void
start_shell(struct box *box, const char *script)
{
	assert_int_equal(box_start_shell(&host, box, script), 0);
}

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --------------------------------------------------------------- executions */

static void
a_program_gets_the_orders_environment_and_nothing_else(void **state)
{
	static const char *const env[] = { "A=1", "B=x=y", "C=", NULL };
	char *const argv[] = { (char *)"/usr/bin/env", NULL };
	struct box_result result;
	struct sandbox_plan plan;

	(void)state;
	box_plan(&host, &plan, argv);
	assert_int_equal(box_try(&host, &plan, env, &result), 0);
	box_plan_release(&plan);
	assert_string_equal(result.output, "A=1\nB=x=y\nC=\n");
}

static void
a_program_starts_in_its_folder_and_leads_a_group_in_inits_session(void **state)
{
	struct box_result result;
	struct box box;
	char expected[64];

	(void)state;
	snprintf(expected, sizeof(expected), "/fn\nleader of session 1\n%u\n"
	    "0022\n", (unsigned)BOX_UID);
	start_shell(&box, "pwd; read -r a b c d e f rest </proc/self/stat; "
	                  "[ $e = $$ ] && echo leader of session $f; "
	                  "id -u; umask");
	assert_int_equal(box_run(&box, NULL, 5000, &result), 0);
	assert_string_equal(result.output, expected);
	box_end(&host, &box);
}

/* A mask in a program's /proc/self/status, but for the two signals that glibc
 * keeps for itself: its posix_spawn, which make uses, leaves them ignored, and
 * its sigaction refuses to touch them. */
static uint64_t
signal_mask(const char *status, const char *name)
{
	const char *line = strstr(status, name);

	assert_non_null(line);
	return strtoull(line + strlen(name), NULL, 16) & ~UINT64_C(0x180000000);
}

static void
signals_are_as_a_program_expects_them(void **state)
{
	struct box_result result;
	struct box box;

	(void)state;
	/* As a service manager starts the host. */
	signal(SIGPIPE, SIG_IGN);
	start_shell(&box, "exec cat /proc/self/status");
	signal(SIGPIPE, SIG_DFL);
	assert_int_equal(box_run(&box, NULL, 5000, &result), 0);
	assert_int_equal(signal_mask(result.output, "\nSigBlk:\t"), 0);
	assert_int_equal(signal_mask(result.output, "\nSigIgn:\t"), 0);
	assert_int_equal(signal_mask(result.output, "\nSigCgt:\t"), 0);
	box_end(&host, &box);
}

static void
the_report_has_the_serial_the_code_and_the_signal(void **state)
{
	static const struct {
		const char *script;
		bool is_signal;
		int value;
	} cases[] = { { "exit 0", false, 0 }, { "exit 7", false, 7 },
		{ "kill -SEGV $$", true, SIGSEGV },
		{ "kill -KILL $$", true, SIGKILL } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct box_result result;
		struct box box;
		int status;

		start_shell(&box, cases[i].script);
		box.serial = 40 + i;
		assert_int_equal(box_run(&box, NULL, 5000, &result), 0);
		assert_int_equal(result.report.type, INIT_EXIT);
		assert_int_equal(result.report.serial, 41 + i);
		status = result.report.wait_status;
		assert_int_equal(WIFSIGNALED(status) != 0, cases[i].is_signal);
		assert_int_equal(cases[i].is_signal ? WTERMSIG(status) :
		    WEXITSTATUS(status), cases[i].value);
		assert_int_equal(box_end(&host, &box), 0);
	}
}

static void
a_sandbox_serves_one_execution_after_another(void **state)
{
	struct box_result result;
	struct box box;

	(void)state;
	start_shell(&box, "echo $N");
	for (int i = 0; i < 20; i++) {
		char variable[16], wanted[16];
		const char *const env[] = { variable, NULL };

		snprintf(variable, sizeof(variable), "N=%d", i);
		snprintf(wanted, sizeof(wanted), "%d\n", i);
		assert_int_equal(box_run(&box, env, 5000, &result), 0);
		assert_string_equal(result.output, wanted);
	}
	assert_int_equal(box_end(&host, &box), 0);
}

static void
a_program_that_cannot_be_executed_is_reported_with_the_reason(void **state)
{
	static const struct {
		const char *program;
		int error;
	} cases[] = { { "/fn/absent", ENOENT }, { "/etc/passwd", EACCES },
		{ "absent-from-the-path", ENOENT } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *const argv[] = { (char *)cases[i].program, NULL };
		struct sandbox_plan plan;
		struct box_result result;
		struct box box;

		box_plan(&host, &plan, argv);
		assert_int_equal(box_start(&host, &plan, &box), 0);
		box_plan_release(&plan);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(box_run(&box, NULL, 5000, &result), 0);
			assert_int_equal(result.report.type, INIT_EXEC_FAILED);
			assert_int_equal(result.report.value, cases[i].error);
		}
		assert_int_equal(box_end(&host, &box), 0);
	}
}

static void
a_program_is_found_by_its_bare_name(void **state)
{
	char *const argv[] = { (char *)"env", NULL };
	struct sandbox_plan plan;
	struct box_result result;

	(void)state;
	box_plan(&host, &plan, argv);
	assert_int_equal(box_try(&host, &plan, NULL, &result), 0);
	box_plan_release(&plan);
	assert_string_equal(result.output, "PATH=/usr/bin:/bin\n");
}

/* -------------------------------------------------------------------- usage */

static void
time_counts_over_the_whole_tree_also_of_orphans(void **state)
{
	struct box_result result;
	struct box box;
	uint64_t used_us;

	(void)state;
	/* Both burn CPU; the parent of the second ends before it. */
	start_shell(&box,
	    "perl -e '$t=times;1 while (times)[0]<.2' & wait; "
	    "(perl -e '1 while (times)[0]<.2' & echo $! > /tmp/it); "
	    "while kill -0 $(cat /tmp/it) 2>/dev/null; do sleep .01; done");
	assert_int_equal(box_run(&box, NULL, 20000, &result), 0);
	used_us = result.report.user_us + result.report.system_us;
	assert_true(used_us > 380000);
	box_end(&host, &box);
}

/* ------------------------------------------------------------- what is left */

static void
what_outlives_the_program_is_ended_after_a_short_grace(void **state)
{
	struct box_result result;
	struct box box;
	uint64_t begin;

	(void)state;
	/* What is ignored is so from a child's first moment on. */
	start_shell(&box, "trap '' TERM HUP; for i in 1 2 3; do "
	                  "setsid sleep 100 & done; echo done");
	begin = now_ms();
	assert_int_equal(box_run(&box, NULL, 20000, &result), 0);
	assert_in_range(now_ms() - begin, 90, 15000);
	assert_string_equal(result.output, "done\n");
	assert_int_equal(result.report.type, INIT_EXIT);
	assert_int_equal(result.report.killed, 3);
	box_end(&host, &box);
}

static void
who_ends_within_the_grace_is_not_killed(void **state)
{
	struct box_result result;
	struct box box;

	(void)state;
	start_shell(&box, "(sleep .01; echo late) & echo early");
	assert_int_equal(box_run(&box, NULL, 10000, &result), 0);
	assert_string_equal(result.output, "early\nlate\n");
	assert_int_equal(result.report.killed, 0);
	box_end(&host, &box);
}

static void
an_end_kills_the_tree_at_once(void **state)
{
	struct init_report report;
	CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct box box;
	uint64_t begin;

	(void)state;
	start_shell(&box, "trap '' TERM INT HUP; sleep 100 & kill -STOP $$");
	assert_int_equal(box_order(&box, INIT_RUN, NULL,
	    (const int[]) { null, null, null }, 3), 0);
	usleep(100000);
	begin = now_ms();
	assert_int_equal(box_order(&box, INIT_END, NULL, NULL, 0), 0);
	assert_int_equal(box_report(&box, 20000, &report), 0);
	assert_true(now_ms() - begin < 15000);
	assert_int_equal(report.type, INIT_EXIT);
	assert_true(WIFSIGNALED(report.wait_status));
	/* One that crosses the end of an execution is no order for the next. */
	assert_int_equal(box_order(&box, INIT_END, NULL, NULL, 0), 0);
	assert_int_equal(box_report(&box, 100, &report), -ETIME);
	assert_int_equal(box_end(&host, &box), 0);
}

static void
the_gateways_hang_up_ends_everything(void **state)
{
	CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct box box;
	int out[2];
	char byte;

	(void)state;
	assert_int_equal(sock_pipe(out), 0);
	start_shell(&box, "trap '' TERM HUP; echo x; sleep 100 & wait");
	assert_int_equal(box_order(&box, INIT_RUN, NULL,
	    (const int[]) { null, out[1], null }, 3), 0);
	close(out[1]);
	assert_int_equal(read(out[0], &byte, 1), 1);
	assert_int_equal(box_end(&host, &box), 0);
	/* All writers of the pipe are dead when its end shows. */
	while (read(out[0], &byte, 1) > 0)
		continue;
	close(out[0]);
}

/* -------------------------------------------------------- orders that are none */

struct malformed {
	const char *about;
	struct init_order order;
	const char *block;
	size_t block_length;
	size_t length; /* 0: as it is */
	size_t fd_count;
};

#define RUN(env) { INIT_MAGIC, INIT_RUN, 1, (env), 0 }

static const struct malformed malformed[] = {
	{ "too short", RUN(0), "", 0, sizeof(struct init_order) - 1, 3 },
	{ "one byte", RUN(0), "", 0, 1, 3 },
	{ "wrong magic", { 1, INIT_RUN, 1, 0, 0 }, "", 0, 0, 3 },
	{ "unknown type", { INIT_MAGIC, 9, 1, 0, 0 }, "", 0, 0, 0 },
	{ "type 0", { INIT_MAGIC, 0, 1, 0, 0 }, "", 0, 0, 0 },
	{ "pad", { INIT_MAGIC, INIT_RUN, 1, 0, 1 }, "", 0, 0, 3 },
	{ "a block that is announced and absent", RUN(4), "", 0, 0, 3 },
	{ "a block that is not announced", RUN(0), "A=b", 4, 0, 3 },
	{ "an endless length", RUN(0xffffffff), "A=b", 4, 0, 3 },
	{ "a block without its end", RUN(3), "A=b", 3, 0, 3 },
	{ "a variable without =", RUN(4), "Abc", 4, 0, 3 },
	{ "a variable without a name", RUN(3), "=b", 3, 0, 3 },
	{ "an empty variable", RUN(5), "A=b\0", 5, 0, 3 },
	{ "no descriptors", RUN(4), "A=b", 4, 0, 0 },
	{ "two descriptors", RUN(4), "A=b", 4, 0, 2 },
	{ "four descriptors", RUN(4), "A=b", 4, 0, 4 },
	{ "eight descriptors", RUN(4), "A=b", 4, 0, 8 },
	{ "a descriptor with an end", { INIT_MAGIC, INIT_END, 1, 0, 0 }, "", 0,
	    0, 1 },
	{ "bytes after a look", { INIT_MAGIC, INIT_LOOK, 1, 0, 0 }, "x", 1,
	    0, 0 },
	{ "bytes after a measure", { INIT_MAGIC, INIT_MEASURE, 1, 0, 0 }, "x",
	    1, 0, 0 },
	{ "a block with an end", { INIT_MAGIC, INIT_END, 1, 4, 0 }, "A=b", 4,
	    0, 0 },
};

static void
what_is_no_order_ends_init(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		const struct malformed *bad = &malformed[i];
		CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		const int fds[8] = { null, null, null, null, null, null, null,
			null };
		char bytes[128];
		struct box box;
		size_t n = sizeof(bad->order) + bad->block_length;
		int status;

		memcpy(bytes, &bad->order, sizeof(bad->order));
		memcpy(bytes + sizeof(bad->order), bad->block,
		    bad->block_length);
		if (bad->length != 0)
			n = bad->length;
		start_shell(&box, "sleep 100");
		assert_int_equal(sock_send(box.sock, bytes, n, fds,
		    bad->fd_count), 0);
		status = -1;
		{
			struct pollfd wait = { box.child.pidfd, POLLIN, 0 };

			if (poll(&wait, 1, 20000) != 1)
				fail_msg("%s: init lives on", bad->about);
		}
		status = box_end(&host, &box);
		if (status != STATUS_PROTOCOL)
			fail_msg("%s: init ended with %d", bad->about, status);
	}
}

static void
too_many_variables_are_no_order(void **state)
{
	CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int fds[3] = { null, null, null };
	static char bytes[sizeof(struct init_order) + INIT_ENV_MAX];

	(void)state;
	for (int is_over = 0; is_over < 2; is_over++) {
		unsigned count = INIT_ENV_COUNT_MAX + (unsigned)is_over;
		struct init_order order = RUN(count * 4);
		struct init_report report;
		struct box box;

		memcpy(bytes, &order, sizeof(order));
		for (unsigned i = 0; i < count; i++)
			memcpy(bytes + sizeof(order) + i * 4, "A=b", 4);
		start_shell(&box, "exit 3");
		assert_int_equal(sock_send(box.sock, bytes,
		    sizeof(order) + order.env_length, fds, 3), 0);
		assert_int_equal(box_report(&box, 5000, &report),
		    is_over ? -EPIPE : 0);
		assert_int_equal(box_end(&host, &box),
		    is_over ? STATUS_PROTOCOL : 0);
	}
}

static void
a_second_program_while_one_runs_ends_init(void **state)
{
	CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int fds[3] = { null, null, null };
	struct box box;

	(void)state;
	start_shell(&box, "sleep 100");
	assert_int_equal(box_order(&box, INIT_RUN, NULL, fds, 3), 0);
	assert_int_equal(box_order(&box, INIT_RUN, NULL, fds, 3), 0);
	assert_int_equal(box_end(&host, &box), STATUS_PROTOCOL);
}

static void
a_flood_of_orders_is_answered_one_by_one(void **state)
{
	struct init_report report;
	struct box_result result;
	struct box box;

	(void)state;
	start_shell(&box, "echo still there");
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 8; i++)
			assert_int_equal(box_order(&box, INIT_MEASURE, NULL,
			    NULL, 0), 0);
		for (int i = 0; i < 8; i++) {
			assert_int_equal(box_report(&box, 5000, &report), 0);
			assert_int_equal(report.serial, box.serial - 7 +
			    (uint64_t)i);
		}
	}
	assert_int_equal(box_run(&box, NULL, 5000, &result), 0);
	assert_string_equal(result.output, "still there\n");
	assert_int_equal(box_end(&host, &box), 0);
}

static void
a_report_is_checked_to_the_last_byte(void **state)
{
	struct init_report good = { .magic = INIT_MAGIC, .type = INIT_EXIT };
	struct init_report bad;

	(void)state;
	for (uint32_t type = 0; type < 8; type++) {
		bad = good;
		bad.type = type;
		assert_int_equal(init_report_check(&bad, sizeof(bad)),
		    type >= INIT_EXIT && type <= INIT_HELD ? 0 : -EPROTO);
	}
	for (size_t n = 0; n < sizeof(good); n++)
		assert_int_equal(init_report_check(&good, n), -EPROTO);
	assert_int_equal(init_report_check(&good, sizeof(good) + 1), -EPROTO);
	bad = good;
	bad.magic ^= 1;
	assert_int_equal(init_report_check(&bad, sizeof(bad)), -EPROTO);
	bad = good;
	bad.pad = 1;
	assert_int_equal(init_report_check(&bad, sizeof(bad)), -EPROTO);
	for (int i = 0; i < 3; i++) {
		uint64_t *number[] = { &bad.user_us, &bad.system_us,
			&bad.memory_kib };
		uint64_t most = i < 2 ? INIT_TIME_MAX_US : INIT_MEMORY_MAX_KIB;

		bad = good;
		*number[i] = most;
		assert_int_equal(init_report_check(&bad, sizeof(bad)), 0);
		*number[i] = most + 1;
		assert_int_equal(init_report_check(&bad, sizeof(bad)), -EPROTO);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_program_gets_the_orders_environment_and_nothing_else),
		cmocka_unit_test(
		    a_program_starts_in_its_folder_and_leads_a_group_in_inits_session),
		cmocka_unit_test(signals_are_as_a_program_expects_them),
		cmocka_unit_test(
		    the_report_has_the_serial_the_code_and_the_signal),
		cmocka_unit_test(a_sandbox_serves_one_execution_after_another),
		cmocka_unit_test(
		    a_program_that_cannot_be_executed_is_reported_with_the_reason),
		cmocka_unit_test(a_program_is_found_by_its_bare_name),
		cmocka_unit_test(
		    time_counts_over_the_whole_tree_also_of_orphans),
		cmocka_unit_test(
		    what_outlives_the_program_is_ended_after_a_short_grace),
		cmocka_unit_test(who_ends_within_the_grace_is_not_killed),
		cmocka_unit_test(an_end_kills_the_tree_at_once),
		cmocka_unit_test(the_gateways_hang_up_ends_everything),
		cmocka_unit_test(what_is_no_order_ends_init),
		cmocka_unit_test(too_many_variables_are_no_order),
		cmocka_unit_test(a_second_program_while_one_runs_ends_init),
		cmocka_unit_test(a_flood_of_orders_is_answered_one_by_one),
		cmocka_unit_test(a_report_is_checked_to_the_last_byte),
	};
	int setup = box_setup(&host);
	int failed;

	if (setup != 0)
		return setup;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	box_teardown(&host);
	return failed;
}
