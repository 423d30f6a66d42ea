/* What init tells of the memory of an instance's processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/box.h"

static struct box_host host;

static void
start_shell(struct box *box, const char *script)
{
	assert_int_equal(box_start_shell(&host, box, script), 0);
}

static void
memory_is_that_of_the_largest_process(void **state)
{
	struct box_result result;
	struct box box;

	(void)state;
	start_shell(&box, "perl -e '$x = \"a\" x (48 << 20)'; true");
	assert_int_equal(box_run(&box, NULL, 10000, &result), 0);
	assert_in_range(result.report.memory_kib, 48 << 10, 140 << 10);
	box_end(&host, &box);
	start_shell(&box, "true");
	assert_int_equal(box_run(&box, NULL, 10000, &result), 0);
	assert_in_range(result.report.memory_kib, 1, 8 << 10);
	box_end(&host, &box);
}

/* Runs the program until so many of its processes have written a byte. */
static void
run_until(struct box *box, int processes)
{
	int out[2];
	char byte;

	assert_int_equal(sock_pipe(out), 0);
	assert_int_equal(box_order(box, INIT_RUN, NULL,
	    (const int[]) { out[0], out[1], out[1] }, 3), 0);
	close(out[1]);
	for (int i = 0; i < processes; i++)
		assert_int_equal(read(out[0], &byte, 1), 1);
	close(out[0]);
}

/* A figure that no program can lower by its own tricks, and that starts anew. */
static void
a_measure_gives_the_peak_and_starts_a_new_one(void **state)
{
	struct init_report report;
	struct box box;

	(void)state;
	start_shell(&box, "exec /usr/bin/python3 -c 'import os, time\n"
	                  "x = bytearray(48 << 20)\nx = None\n"
	                  "os.write(1, b\"1\")\ntime.sleep(20)'");
	run_until(&box, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(box_order(&box, INIT_MEASURE, NULL, NULL, 0), 0);
		assert_int_equal(box_report(&box, 5000, &report), 0);
		assert_int_equal(report.type, INIT_MEMORY);
		assert_int_equal(report.serial, box.serial);
		if (i == 0)
			assert_true(report.memory_kib >= 48 << 10);
	}
	assert_in_range(report.memory_kib, 1 << 10, 40 << 10);
	box_end(&host, &box);
}

/* All of its processes; and a look is no measure. */
static void
a_look_gives_what_is_held_and_starts_no_new_peak(void **state)
{
	struct init_report report;
	struct box box;

	(void)state;
	start_shell(&box, "exec /usr/bin/python3 -c 'import os, time\n"
	                  "x = bytearray(48 << 20)\nx = None\n"
	                  "os.fork()\nx = bytearray(16 << 20)\n"
	                  "os.write(1, b\"1\")\ntime.sleep(20)'");
	run_until(&box, 2);
	assert_int_equal(box_order(&box, INIT_LOOK, NULL, NULL, 0), 0);
	assert_int_equal(box_report(&box, 5000, &report), 0);
	assert_int_equal(report.type, INIT_HELD);
	assert_int_equal(report.serial, box.serial);
	assert_in_range(report.memory_kib, 32 << 10, 47 << 10);
	assert_in_range(report.memory_now_kib, report.memory_kib, 90 << 10);
	assert_int_equal(box_order(&box, INIT_MEASURE, NULL, NULL, 0), 0);
	assert_int_equal(box_report(&box, 5000, &report), 0);
	assert_true(report.memory_kib >= 48 << 10);
	box_end(&host, &box);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_that_of_the_largest_process),
		cmocka_unit_test(a_measure_gives_the_peak_and_starts_a_new_one),
		cmocka_unit_test(
		    a_look_gives_what_is_held_and_starts_no_new_peak),
	};
	int setup = box_setup(&host);
	int failed;

	if (setup != 0)
		return setup;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	box_teardown(&host);
	return failed;
}
