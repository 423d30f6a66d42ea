#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/chain.h"
#include "fcgi-host/record.h"
#include "fcgi-host/record_read.h"

static struct buf out;

static int
tear_down(void **state)
{
	(void)state;
	buf_free(&out);
	return 0;
}

static const char *
text(void)
{
	assert_int_equal(buf_add(&out, "", 1), 0);
	out.end--;
	return (const char *)buf_head(&out);
}

static void
an_execution_is_one_line_with_every_field(void **state)
{
	struct record_exec record = { .seq = 7, .run_id = 0x1f, .number = 3,
		.instance = 2, .time_us = 1700000000123456,
		.request_id = "abc", .method = "GET", .tenant = "alice",
		.function = "alice/resize", .version = "0123456789abcdef",
		.runtime = "php",
		.trigger = "web", .start = START_FRESH, .cause = CAUSE_EXIT,
		.outcome = OUTCOME_OK, .status = 200, .queue_us = 1,
		.init_us = 1500, .sandbox_us = 1400, .run_us = 501,
		.program_us = 300, .deadline_ms = 60000, .cpu_us = 30,
		.cpu_user_us = 20, .cpu_sys_us = 10,
		.cpu_source = SOURCE_CGROUP, .mem_start_kib = 350,
		.mem_start_source = SOURCE_CGROUP, .mem_peak_kib = 400,
		.mem_source = SOURCE_PROCESS, .mem_limit_mib = 128,
		.bytes_in = 11, .bytes_out = 12, .exit_code = 0 };

	(void)state;
	assert_int_equal(record_put_exec(&out, &record), 0);
	assert_string_equal(text(), "{\"v\":1,\"seq\":7,\"type\":\"exec\","
	    "\"time\":\"2023-11-14T22:13:20.123456Z\",\"id\":\"1f-3\","
	    "\"request_id\":\"abc\",\"tenant\":\"alice\","
	    "\"function\":\"alice/resize\","
	    "\"version\":\"0123456789abcdef\",\"runtime\":\"php\","
	    "\"instance\":\"1f-2\","
	    "\"trigger\":\"web\",\"method\":\"GET\",\"start\":\"fresh\","
	    "\"cold\":true,\"status\":200,\"outcome\":\"ok\","
	    "\"reason\":null,\"cause\":\"exit\",\"queue_us\":1,"
	    "\"init_us\":1500,\"sandbox_us\":1400,\"run_us\":501,"
	    "\"program_us\":300,\"deadline_ms\":60000,\"billed_ms\":3,"
	    "\"mib_ms\":384,\"cpu_us\":30,"
	    "\"cpu_user_us\":20,\"cpu_sys_us\":10,"
	    "\"cpu_source\":\"cgroup\",\"mem_start_kib\":350,"
	    "\"mem_start_source\":\"cgroup\",\"mem_peak_kib\":400,"
	    "\"mem_source\":\"process\",\"mem_limit_mib\":128,"
	    "\"bytes_in\":11,\"bytes_out\":12,\"exit\":0,"
	    "\"signal\":null}\n");
}

static void
what_is_not_known_is_null(void **state)
{
	struct record_exec record = { .seq = 1, .exit_code = -1,
		.outcome = OUTCOME_REFUSED, .reason = "queue" };

	(void)state;
	assert_int_equal(record_put_exec(&out, &record), 0);
	assert_non_null(strstr(text(), "\"instance\":null"));
	assert_non_null(strstr(text(), "\"start\":null,\"cold\":null"));
	assert_non_null(strstr(text(), "\"exit\":null,\"signal\":null"));
	assert_non_null(strstr(text(), "\"reason\":\"queue\",\"cause\":null"));
	assert_non_null(strstr(text(), "\"runtime\":\"\""));
}

static void
only_a_warm_start_is_not_cold(void **state)
{
	(void)state;
	for (int start = START_WARM; start <= START_FRESH; start++) {
		struct record_exec record = {
			.start = (enum record_start)start };

		buf_reset(&out, SIZE_MAX);
		assert_int_equal(record_put_exec(&out, &record), 0);
		assert_non_null(strstr(text(), start == START_WARM ?
		    "\"cold\":false" : "\"cold\":true"));
	}
}

static void
billed_is_rounded_up_and_nothing_for_what_never_ran(void **state)
{
	struct record_exec record = { .outcome = OUTCOME_OK };

	(void)state;
	assert_int_equal(record_billed_ms(&record), 0);
	record.run_us = 1;
	assert_int_equal(record_billed_ms(&record), 1);
	record.run_us = 1000;
	assert_int_equal(record_billed_ms(&record), 1);
	record.init_us = 1;
	assert_int_equal(record_billed_ms(&record), 2);
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		record.outcome = (enum record_outcome)i;
		assert_int_equal(record_billed_ms(&record),
		    i == OUTCOME_REFUSED ? 0 : 2);
	}
}

static void
a_begun_mib_is_a_whole_one(void **state)
{
	(void)state;
	assert_int_equal(record_mib(0), 0);
	assert_int_equal(record_mib(4 << 20), 4);
	assert_int_equal(record_mib((4 << 20) + 1), 5);
	assert_int_equal(record_mib((5 << 20) - 1), 5);
	assert_true(record_mib(UINT64_MAX) == UINT64_C(1) << 44);
}

static void
memory_time_never_wraps_round(void **state)
{
	(void)state;
	assert_int_equal(record_mib_ms(0, 5), 0);
	assert_int_equal(record_mib_ms(1024, 1000), 1024000);
	assert_int_equal(record_mib_ms(UINT64_MAX, 1), UINT64_MAX);
	assert_true(record_mib_ms(UINT64_MAX / 2, 3) == UINT64_MAX);
}

static void
each_outcome_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int a = 0; a < OUTCOME_COUNT; a++)
		for (int b = 0; b < a; b++)
			assert_string_not_equal(
			    record_outcome_name((enum record_outcome)a),
			    record_outcome_name((enum record_outcome)b));
}

#define FILL(field) memset(field, 'x', sizeof(field) - 1)

static void
the_longest_line_fits_in_its_reserve(void **state)
{
	struct record_exec record;
	struct record_instance instance;
	static char reason[201];

	(void)state;
	memset(&record, 0xff, sizeof(record));
	memset(&instance, 0xff, sizeof(instance));
	memset(reason, 'x', sizeof(reason) - 1);
	memset(record.request_id, 0, sizeof(record.request_id));
	memset(record.method, 0, sizeof(record.method));
	memset(record.tenant, 0, sizeof(record.tenant));
	memset(record.function, 0, sizeof(record.function));
	memset(record.version, 0, sizeof(record.version));
	memset(record.runtime, 0, sizeof(record.runtime));
	FILL(record.request_id);
	FILL(record.method);
	FILL(record.tenant);
	FILL(record.function);
	FILL(record.version);
	FILL(record.runtime);
	record.time_us = 253402300799999999; /* the last moment of 9999 */
	record.trigger = "invoke";
	record.reason = reason;
	record.start = START_PREPARED;
	record.outcome = OUTCOME_ABORTED;
	record.cause = CAUSE_DEADLINE;
	record.cpu_source = record.mem_source = record.mem_start_source =
	    SOURCE_CGROUP_SINCE;
	record.exit_code = record.signal_number = INT32_MAX;
	assert_int_equal(record_put_exec(&out, &record), 0);
	print_message("the longest line has %zu bytes\n", buf_len(&out));
	assert_in_range(buf_len(&out), 1000,
	    RECORD_LINE_MAX - CHAIN_FIELD_SIZE);
	buf_reset(&out, SIZE_MAX);
	memcpy(instance.tenant, record.tenant, sizeof(record.tenant));
	memcpy(instance.function, record.function, sizeof(record.function));
	memcpy(instance.version, record.version, sizeof(record.version));
	memcpy(instance.runtime, record.runtime, sizeof(record.runtime));
	instance.time_us = record.time_us;
	instance.reason = reason;
	instance.cpu_source = SOURCE_CGROUP_SINCE;
	instance.exit_code = instance.signal_number = INT32_MAX;
	assert_int_equal(record_put_instance(&out, &instance), 0);
	assert_in_range(buf_len(&out), 700, RECORD_LINE_MAX);
}

static void
an_instance_record_names_its_reason_and_its_times(void **state)
{
	struct record_instance record = { .seq = 9, .run_id = 0x1f,
		.number = 4, .tenant = "t", .function = "f",
		.version = "v", .runtime = "r", .reason = "idle",
		.executions = 5, .lifetime_us = 6, .start_us = 7,
		.idle_us = 2001, .mem_limit_mib = 64,
		.start_cpu_us = 10, .exec_cpu_us = 11, .idle_cpu_us = 12,
		.cpu_source = SOURCE_CGROUP, .mem_peak_kib = 13,
		.exit_code = -1, .signal_number = 9 };

	(void)state;
	assert_int_equal(record_put_instance(&out, &record), 0);
	assert_string_equal(text(), "{\"v\":1,\"seq\":9,"
	    "\"type\":\"instance\",\"time\":\"1970-01-01T00:00:00.000000Z\","
	    "\"instance\":\"1f-4\",\"tenant\":\"t\",\"function\":\"f\","
	    "\"version\":\"v\",\"runtime\":\"r\",\"reason\":\"idle\","
	    "\"executions\":5,"
	    "\"lifetime_us\":6,\"start_us\":7,\"idle_us\":2001,"
	    "\"start_cpu_us\":10,\"exec_cpu_us\":11,\"idle_cpu_us\":12,"
	    "\"cpu_source\":\"cgroup\",\"mem_peak_kib\":13,"
	    "\"mem_limit_mib\":64,\"idle_mib_ms\":192,\"exit\":null,"
	    "\"signal\":9}\n");
}

static void
a_host_record_has_totals_only_when_there_are_any(void **state)
{
	struct record_host record = { .seq = 1, .run_id = 0x1f,
		.event = "stop", .executions = 2, .refused_unrecorded = 3,
		.has_totals = true, .cgroup_cpu_us = 6, .cgroup_user_us = 4,
		.cgroup_sys_us = 2, .open_cpu_us = 1 };

	(void)state;
	assert_int_equal(record_put_host(&out, &record), 0);
	assert_string_equal(text(), "{\"v\":1,\"seq\":1,\"type\":\"host\","
	    "\"time\":\"1970-01-01T00:00:00.000000Z\",\"run\":\"1f\","
	    "\"event\":\"stop\",\"executions\":2,\"refused_unrecorded\":3,"
	    "\"cgroup_cpu_us\":6,\"cgroup_user_us\":4,"
	    "\"cgroup_sys_us\":2,\"open_cpu_us\":1}\n");
	buf_reset(&out, SIZE_MAX);
	record.has_totals = false;
	assert_int_equal(record_put_host(&out, &record), 0);
	assert_null(strstr(text(), "cgroup"));
	assert_null(strstr(text(), "lost"));
	buf_reset(&out, SIZE_MAX);
	record.lost_cpu_us = 8;
	assert_int_equal(record_put_host(&out, &record), 0);
	assert_non_null(strstr(text(), ",\"lost_cpu_us\":8}"));
}

static void
outside_bytes_never_break_the_line(void **state)
{
	struct record_exec record = { .request_id = "a\"b\\c\nd\x01\xff",
		.method = "G\nT" };

	(void)state;
	assert_int_equal(record_put_exec(&out, &record), 0);
	assert_ptr_equal(strchr(text(), '\n'), text() + buf_len(&out) - 1);
	assert_non_null(strstr(text(), "a\\\"b\\\\c\\nd"));
}

static uint64_t
seq_of(const char *line)
{
	return record_line_seq(line, strlen(line));
}

static void
the_seq_of_a_line_is_read_back_and_nothing_behind_its_end(void **state)
{
	struct record_exec record = { .seq = UINT64_MAX / 1000 };

	(void)state;
	assert_int_equal(record_put_exec(&out, &record), 0);
	assert_int_equal(seq_of(text()), record.seq);
	assert_int_equal(seq_of(""), 0);
	assert_int_equal(seq_of("{}"), 0);
	assert_int_equal(seq_of("{\"seq\":"), 0);
	assert_int_equal(seq_of("{\"seq\":x"), 0);
	assert_int_equal(seq_of("{\"seq\":12"), 12);
	assert_int_equal(record_line_seq("{\"seq\":1234", 9), 12);
	/* more digits than a number holds are none */
	assert_int_equal(
	    seq_of("{\"seq\":99999999999999999999999999999999"), 0);
}

static void
a_line_says_what_it_charges_and_to_whom(void **state)
{
	struct record_exec record = { .seq = 7, .run_id = 0x1f, .number = 3,
		.time_us = 1700000000123456, .trigger = "web",
		.outcome = OUTCOME_TIMEOUT, .run_us = 2000001, .cpu_us = 5,
		.mem_limit_mib = 64, .bytes_out = 9, .exit_code = -1,
		.tenant = "alice", .function = "alice/f",
		.runtime = "php", .reason =
		"a \"tenant\":\"mallory\" in words" };
	struct record_instance instance = { .seq = 8, .run_id = 0x1f,
		.tenant = "alice", .function = "alice/f", .runtime = "php",
		.version = "0123456789abcdef", .reason = "idle",
		.time_us = 1700000000123456, .idle_us = 1999001,
		.start_cpu_us = 3, .exec_cpu_us = 100, .idle_cpu_us = 4,
		.mem_limit_mib = 64, .exit_code = -1 };
	struct record_host host = { .seq = 9, .run_id = 0xfeedbeef,
		.event = "start" };
	struct buf line = { 0 };
	struct record_line read;
	size_t n;

	(void)state;
	assert_int_equal(record_put_exec(&line, &record), 0);
	n = buf_len(&line) - 1;
	assert_int_equal(record_read((char *)buf_head(&line), n, &read), 0);
	assert_int_equal(read.type, RECORD_EXEC);
	assert_int_equal(read.seq, 7);
	assert_int_equal(read.time_us, 1700000000123456);
	assert_string_equal(read.tenant, "alice");
	assert_string_equal(read.function, "alice/f");
	assert_true(read.is_charged);
	assert_int_equal(read.mib_ms, 2001 * 64);
	assert_string_equal(read.runtime, "php");
	assert_int_equal(read.cpu_us, 5);
	assert_int_equal(read.bytes_out, 9);
	/* cut anywhere it is no line */
	for (size_t cut = 0; cut < n; cut++)
		assert_int_not_equal(record_read((char *)buf_head(&line), cut,
		    &read), 0);
	buf_reset(&line, 0);
	assert_int_equal(record_put_instance(&line, &instance), 0);
	assert_int_equal(record_read((char *)buf_head(&line),
	    buf_len(&line) - 1, &read), 0);
	assert_int_equal(read.type, RECORD_INSTANCE);
	assert_true(read.is_charged);
	assert_int_equal(read.idle_mib_ms, 2000 * 64);
	assert_int_equal(read.cpu_us, 7);
	buf_reset(&line, 0);
	assert_int_equal(record_put_host(&line, &host), 0);
	assert_int_equal(record_read((char *)buf_head(&line),
	    buf_len(&line) - 1, &read), 0);
	assert_int_equal(read.type, RECORD_HOST);
	assert_int_equal(read.run_id, 0xfeedbeef);
	buf_free(&line);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_execution_is_one_line_with_every_field),
		TEST(a_line_says_what_it_charges_and_to_whom),
		TEST(what_is_not_known_is_null),
		TEST(only_a_warm_start_is_not_cold),
		TEST(billed_is_rounded_up_and_nothing_for_what_never_ran),
		TEST(a_begun_mib_is_a_whole_one),
		TEST(memory_time_never_wraps_round),
		TEST(each_outcome_has_a_name_of_its_own),
		TEST(the_longest_line_fits_in_its_reserve),
		TEST(an_instance_record_names_its_reason_and_its_times),
		TEST(a_host_record_has_totals_only_when_there_are_any),
		TEST(outside_bytes_never_break_the_line),
		TEST(the_seq_of_a_line_is_read_back_and_nothing_behind_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
