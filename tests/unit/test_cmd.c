#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_check.h"
#include "fcgi-host/amounts.h"
#include "fcgi-host/cmd_status.h"
#include "fcgi-host/cmd_table.h"
#include "sandbox/plan.h"

static const struct cmd_verb verb = { .name = "test", .operands = "WHAT",
	.summary = "Tests." };

/* What a run of the options gave. */
struct taken {
	bool is_loud;
	const char *file;
	struct cmd_texts headers;
	char **operands;
	int code;
	bool goes_on;
};

static struct taken
take(int argc, const char *const *words)
{
	struct taken t = { .file = "default" };
	const struct cmd_option options[] = {
		CMD_OPTION_CONF(&t.file),
		{ 'l', "loud", NULL, "louder", &t.is_loud, NULL, NULL },
		{ 0, "header", "H", "a header", NULL, NULL, &t.headers },
	};
	static char *argv[80];
	int i;

	for (i = 0; i < argc; i++)
		argv[i] = (char *)(uintptr_t)words[i];
	argv[argc] = NULL;
	t.goes_on = cmd_options(&verb, options, 3, argc, argv, &t.operands,
	    &t.code);
	return t;
}

#define TAKE(...) \
	take((int)(sizeof((const char *const[]){ "test", __VA_ARGS__ }) / \
	    sizeof(char *)), (const char *const[]){ "test", __VA_ARGS__ })

static void
options_are_taken_in_any_order_and_operands_left(void **state)
{
	struct taken t = TAKE("one", "-l", "--header", "a: b", "two",
	    "--header=c: d", "-cfile", "--", "-x");

	(void)state;
	assert_true(t.goes_on && t.is_loud);
	assert_string_equal(t.file, "file");
	assert_int_equal(t.headers.count, 2);
	assert_string_equal(t.headers.at[0], "a: b");
	assert_string_equal(t.headers.at[1], "c: d");
	assert_string_equal(t.operands[0], "one");
	assert_string_equal(t.operands[1], "two");
	assert_string_equal(t.operands[2], "-x");
	assert_null(t.operands[3]);
	/* And once more, from the start. */
	t = TAKE("three");
	assert_true(t.goes_on && !t.is_loud);
	assert_string_equal(t.file, "default");
	assert_string_equal(t.operands[0], "three");
}

static void
wrong_options_are_wrong_use_and_help_is_none(void **state)
{
	struct taken t = TAKE("--quiet");
	const char *words[70] = { "test" };
	int i;

	(void)state;
	assert_true(!t.goes_on && t.code == CMD_WRONG);
	t = TAKE("-z");
	assert_true(!t.goes_on && t.code == CMD_WRONG);
	t = TAKE("-c");
	assert_true(!t.goes_on && t.code == CMD_WRONG);
	t = TAKE("--help");
	assert_true(!t.goes_on && t.code == CMD_DONE);
	for (i = 1; i < 70; i++)
		words[i] = "--header=x";
	t = take(70, words);
	assert_true(!t.goes_on && t.code == CMD_WRONG);
}

static void
what_is_no_option_is_wrong_use_of_a_verb_without_operands(void **state)
{
	char name[] = "test", operand[] = "one";
	char *argv[] = { name, NULL, NULL };
	int code;

	(void)state;
	assert_true(cmd_options(&verb, NULL, 0, 1, argv, NULL, &code));
	argv[1] = operand;
	assert_false(cmd_options(&verb, NULL, 0, 2, argv, NULL, &code));
	assert_int_equal(code, CMD_WRONG);
}

static void
a_table_is_aligned_without_blanks_at_the_end(void **state)
{
	struct cmd_table table = { .columns = 3, .right = 2 };
	struct buf out = { 0 };

	(void)state;
	cmd_table_add(&table, "A");
	cmd_table_add(&table, "NUMBER");
	cmd_table_add(&table, "LAST");
	cmd_table_add(&table, "longer");
	cmd_table_add(&table, "%d", 7);
	cmd_table_add(&table, "x");
	cmd_table_add(&table, "%s", "");
	cmd_table_add(&table, "12345678");
	cmd_table_add(&table, "y");
	assert_int_equal(cmd_table_put(&table, &out), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_string_equal((char *)buf_head(&out),
	    "A         NUMBER  LAST\n"
	    "longer         7  x\n"
	    "        12345678  y\n");
	buf_free(&out);
	cmd_table_free(&table);
}

static void
spans_are_shown_in_two_units(void **state)
{
	char out[32];

	(void)state;
	assert_string_equal(status_span(0, out, 32), "0.0s");
	assert_string_equal(status_span(3520, out, 32), "3.5s");
	assert_string_equal(status_span(59999, out, 32), "59s");
	assert_string_equal(status_span(60000, out, 32), "1m00s");
	assert_string_equal(status_span(3599000, out, 32), "59m59s");
	assert_string_equal(status_span(9000000, out, 32), "2h30m");
	assert_string_equal(status_span(UINT64_C(277200000), out, 32),
	    "3d05h");
}

static void
fill_status(struct status *status)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_STATUS_HOST);
	msg.u.status_host.uptime_ms = 61000;
	msg.u.status_host.executions = 12;
	msg.u.status_host.is_draining = 1;
	assert_int_equal(status_add(status, &msg), 0);
	ctl_msg_init(&msg, CTL_STATUS_TENANT);
	strcpy(msg.u.status_tenant.tenant, "alice");
	msg.u.status_tenant.instances = 4;
	msg.u.status_tenant.queued = 5;
	msg.u.status_tenant.max_memory_bytes = 300 << 20;
	msg.u.status_tenant.max_cpu_milli = 1500;
	assert_int_equal(status_add(status, &msg), 0);
	ctl_msg_init(&msg, CTL_STATUS_FN);
	strcpy(msg.u.status_fn.name, "alice/resize");
	strcpy(msg.u.status_fn.version, "0123456789abcdef");
	msg.u.status_fn.executions = 12;
	msg.u.status_fn.throttled_ms = 2500;
	assert_int_equal(status_add(status, &msg), 0);
	ctl_msg_init(&msg, CTL_STATUS_INSTANCE);
	msg.u.status_instance.id = 3;
	strcpy(msg.u.status_instance.function, "alice/resize");
	strcpy(msg.u.status_instance.state, "idle");
	msg.u.status_instance.cpu_usage_us = 1234567;
	msg.u.status_instance.memory_kib = 321;
	msg.u.status_instance.memory_source = CTL_MEMORY_PSS;
	assert_int_equal(status_add(status, &msg), 0);
	ctl_msg_init(&msg, CTL_STATUS_BUDGET);
	strcpy(msg.u.status_budget.owner, "alice");
	msg.u.status_budget.is_tenant = 1;
	msg.u.status_budget.used = 9;
	msg.u.status_budget.most = 10;
	msg.u.status_budget.ends_us = UINT64_C(86400000000);
	assert_int_equal(status_add(status, &msg), 0);
	msg.u.status_budget.is_tenant = 0;
	msg.u.status_budget.is_month = 1;
	msg.u.status_budget.unit = AMOUNT_MIB_MS;
	msg.u.status_budget.used = 2304000 + 1023;
	msg.u.status_budget.most = 1024000;
	strcpy(msg.u.status_budget.owner, "alice/resize");
	assert_int_equal(status_add(status, &msg), 0);
	ctl_msg_init(&msg, CTL_DRAINED);
	assert_int_equal(status_add(status, &msg), -EPROTO);
}

static void
a_status_is_text_for_people(void **state)
{
	struct status status;
	struct buf out = { 0 };
	const char *text;

	(void)state;
	status_init(&status, false);
	fill_status(&status);
	assert_int_equal(status_put(&status, &out), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	text = (const char *)buf_head(&out);
	assert_non_null(strstr(text, "up 1m01s: 12 executions"));
	assert_non_null(strstr(text, "draining: no more requests"));
	assert_non_null(strstr(text, "no cgroup: "));
	assert_non_null(strstr(text, "\nalice/resize ends before its first "
	    "answer: it is not started for 2.5s; see its log\n"));
	assert_non_null(strstr(text, "\nalice         5     0          4      "
	    "        -       -        300M              -      1.5\n"));
	assert_non_null(strstr(text, "\nalice/resize  0123456789abcdef "));
	assert_non_null(strstr(text, "\nBUDGET        OF                     "
	    "        USED        ALLOWED  SHARE  UNTIL\n"
	    "budget_day    tenant alice           9 executions  10 executions"
	    "    90%  1970-01-02T00:00:00Z\n"
	    "budget_month  function alice/resize    2.25 GiB-s        1 GiB-s"
	    "   225%  1970-01-02T00:00:00Z\n"));
	assert_non_null(strstr(text, "1.234s  321 KiB  pss\n"));
	buf_free(&out);
	status_free(&status);
}

static void
a_status_says_what_stands_in_the_accounting_logs_way_or_stood(void **state)
{
	static const struct {
		uint32_t error;
		const char *words;
	} cases[] = {
		{ ENOSPC, "make room on the accounting log's file system;" },
		{ EPERM, "chattr -ia; requests get 503 until then\n" },
		{ EROFS, "mount the accounting log's file system writable;" },
		{ 0, "2 errors writing the accounting log up to now; it can "
		    "be written again\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct status status;
		struct buf out = { 0 };

		status_init(&status, false);
		status.host.accounting_errors = 2;
		status.host.accounting_error = cases[i].error;
		assert_int_equal(status_put(&status, &out), 0);
		assert_int_equal(buf_add(&out, "", 1), 0);
		assert_non_null(strstr((const char *)buf_head(&out),
		    cases[i].words));
		buf_free(&out);
		status_free(&status);
	}
}

static void
a_status_is_one_json_object_for_programs(void **state)
{
	struct status status;
	struct buf out = { 0 };

	(void)state;
	status_init(&status, true);
	fill_status(&status);
	assert_int_equal(status_put(&status, &out), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_string_equal((char *)buf_head(&out), "{\"host\":{\"run\":0,"
	    "\"uptime_ms\":61000,\"seq\":0,\"executions\":12,\"refused\":0,"
	    "\"refused_unrecorded\":0,\"bad_peers\":0,\"connections\":0,"
	    "\"active\":0,\"queued\":0,\"instances\":0,\"functions\":0,"
	    "\"accounting_errors\":0,\"accounting_error\":0,"
	    "\"draining\":true,\"cgroup\":false},"
	    "\"tenants\":[{\"tenant\":\"alice\",\"waiting\":5,\"busy\":0,"
	    "\"instances\":4,\"memory_kib\":null,\"max_instances\":null,"
	    "\"max_memory_kib\":307200,\"max_processes\":null,"
	    "\"max_cpu_milli\":1500}],"
	    "\"functions\":[{\"function\":\"alice/resize\","
	    "\"version\":\"0123456789abcdef\",\"executions\":12,\"waiting\":0,"
	    "\"instances\":0,\"prepared\":0,\"idle\":0,\"busy\":0,"
	    "\"throttled_ms\":2500}],\"instances\":["
	    "{\"instance\":3,\"function\":\"alice/resize\",\"version\":\"\","
	    "\"state\":\"idle\",\"age_ms\":0,\"executions\":0,"
	    "\"cpu_us\":1234567,\"memory_kib\":321,\"memory_source\":\"pss\"}],"
	    "\"budgets\":[{\"tenant\":\"alice\",\"period\":\"day\","
	    "\"unit\":\"executions\",\"used\":9,\"allowed\":10,"
	    "\"until\":\"1970-01-02T00:00:00Z\"},"
	    "{\"function\":\"alice/resize\",\"period\":\"month\","
	    "\"unit\":\"GiB-s\",\"used\":2.25,\"allowed\":1,"
	    "\"until\":\"1970-01-02T00:00:00Z\"}]}\n");
	buf_free(&out);
	status_free(&status);
}

static void
findings_are_counted_by_their_weight(void **state)
{
	struct findings findings = { .at = NULL };

	(void)state;
	findings_add(&findings, FINDING_NOTE, "a %d", 1);
	findings_add(&findings, FINDING_ERROR, "b");
	findings_add(&findings, FINDING_ERROR, "c");
	assert_int_equal(findings.count, 3);
	assert_int_equal(findings.counts[FINDING_ERROR], 2);
	assert_int_equal(findings.counts[FINDING_WARNING], 0);
	assert_string_equal(findings.at[0].text, "a 1");
	findings_free(&findings);
}

static void
require_knows_exactly_the_layers_that_the_sandbox_has(void **state)
{
	struct sandbox_probe probes[64];
	size_t count, n = sandbox_probe(NULL, probes, 64), i;
	const char *const *names = conf_layers(&count);

	(void)state;
	assert_int_equal(n, count);
	for (i = 0; i < count; i++) {
		assert_true(sandbox_layer_by_name(names[i]) != 0);
		assert_string_equal(names[i], probes[i].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    options_are_taken_in_any_order_and_operands_left),
		cmocka_unit_test(wrong_options_are_wrong_use_and_help_is_none),
		cmocka_unit_test(
		    what_is_no_option_is_wrong_use_of_a_verb_without_operands),
		cmocka_unit_test(a_table_is_aligned_without_blanks_at_the_end),
		cmocka_unit_test(spans_are_shown_in_two_units),
		cmocka_unit_test(a_status_is_text_for_people),
		cmocka_unit_test(
		    a_status_says_what_stands_in_the_accounting_logs_way_or_stood),
		cmocka_unit_test(a_status_is_one_json_object_for_programs),
		cmocka_unit_test(findings_are_counted_by_their_weight),
		cmocka_unit_test(
		    require_knows_exactly_the_layers_that_the_sandbox_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
