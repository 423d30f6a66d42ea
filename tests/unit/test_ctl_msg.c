#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "fcgi-host/ctl_msg.h"

#define ANY_WAY 63u

static void
set_served(struct ctl_msg *msg)
{
	struct ctl_function *f = &msg->u.function;

	ctl_msg_init(msg, CTL_FN_PUT);
	strcpy(f->name, "alice/resize");
	strcpy(f->path, "alice/resize.py");
	strcpy(f->tenant, "alice");
	strcpy(f->runtime, "python");
	strcpy(f->version, "0123456789abcdef");
}

static void
set_shell(struct ctl_msg *msg)
{
	strcpy(msg->u.shell.name, "alice/resize");
	memcpy(msg->u.shell.text, "ls\0-l", 6);
	msg->u.shell.length = 6;
	msg->u.shell.count = 2;
	msg->u.shell.has_terminal = 1;
}

static size_t
set_function_log(struct ctl_msg *msg)
{
	strcpy(msg->u.function_log.name, "alice/resize");
	msg->u.function_log.room = 4096;
	return 1;
}

static void
set_status(struct ctl_msg *msg)
{
	switch (msg->type) {
	case CTL_STATUS_TENANT:
		strcpy(msg->u.status_tenant.tenant, "alice");
		break;
	case CTL_STATUS_FN:
		strcpy(msg->u.status_fn.name, "alice/resize");
		break;
	case CTL_STATUS_CHECK:
		strcpy(msg->u.status_check.name, "alice/resize");
		strcpy(msg->u.status_check.version, "0123456789abcdef");
		break;
	default:
		strcpy(msg->u.status_budget.owner, "alice");
		msg->u.status_budget.most = 1;
	}
}

/* The least that makes a body of the type acceptable, and how many
 * descriptors come with it. */
static size_t
make_valid(struct ctl_msg *msg, enum ctl_type type)
{
	ctl_msg_init(msg, type);
	switch (type) {
	case CTL_CONF:
	case CTL_PRICES:
	case CTL_LISTEN:
	case CTL_ADOPT:
	case CTL_LOG:
	case CTL_STDERR:
		return 1;
	case CTL_START:
		return 2;
	case CTL_FN_PUT:
		set_served(msg);
		return 0;
	case CTL_FN_DEL:
	case CTL_FUNCTION_LOG_ASK:
		strcpy(msg->u.name.name, "alice/resize");
		return 0;
	case CTL_INSTANCE_START:
		msg->u.instance_start.id = 1;
		strcpy(msg->u.instance_start.name, "alice/resize");
		strcpy(msg->u.instance_start.version, "0123456789abcdef");
		return 0;
	case CTL_INSTANCE_KILL:
	case CTL_INSTANCE_UP:
		msg->u.instance_kill.id = 1; /* it stands first in both */
		return type == CTL_INSTANCE_UP;
	case CTL_INSTANCE_FAILED:
		msg->u.instance_failed.id = 1;
		msg->u.instance_failed.error = ENOMEM;
		return 0;
	case CTL_INSTANCE_GONE:
		msg->u.instance_gone.id = 1;
		return 0;
	case CTL_CLIENT:
		msg->u.command.verb = CTL_VERB_STATUS;
		return 1;
	case CTL_COMMAND:
		msg->u.command.verb = CTL_VERB_RELOAD;
		return 0;
	case CTL_STATUS_TENANT:
	case CTL_STATUS_FN:
	case CTL_STATUS_CHECK:
	case CTL_STATUS_BUDGET:
		set_status(msg);
		return 0;
	case CTL_SHELL:
		set_shell(msg);
		return 1;
	case CTL_SHELL_ASK:
		msg->u.shell_ask.serial = 1;
		return 0;
	case CTL_SHELL_ANSWER:
		msg->u.shell_answer.serial = 1;
		msg->u.shell_answer.id = 1;
		return 0;
	case CTL_SHELL_UP:
		set_served(msg);
		msg->type = CTL_SHELL_UP;
		return 2;
	case CTL_SHELL_GONE:
		msg->u.shell_gone.gone.id = 1;
		strcpy(msg->u.shell_gone.tenant, "alice");
		strcpy(msg->u.shell_gone.name, "alice/resize");
		strcpy(msg->u.shell_gone.version, "0123456789abcdef");
		return 0;
	case CTL_FUNCTION_LOG:
		return set_function_log(msg);
	default:
		return 0;
	}
}

static void
every_type_is_accepted_in_its_right_form_and_in_no_other(void **state)
{
	int type;

	(void)state;
	for (type = CTL_NONE + 1; type < CTL_TYPE_COUNT; type++) {
		struct ctl_msg msg;
		size_t fds = make_valid(&msg, (enum ctl_type)type);
		size_t n = msg.size, wrong;

		assert_int_equal(ctl_msg_check(&msg, n, fds, ANY_WAY), 0);
		assert_string_not_equal(ctl_type_name((enum ctl_type)type),
		    "none");
		for (wrong = 0; wrong <= sizeof(msg); wrong++)
			if (wrong != n)
				assert_int_equal(ctl_msg_check(&msg, wrong,
				    fds, ANY_WAY), -EPROTO);
		for (wrong = 0; wrong < 9; wrong++)
			if (wrong != fds)
				assert_int_equal(ctl_msg_check(&msg, n, wrong,
				    ANY_WAY), -EPROTO);
		msg.magic ^= 1;
		assert_int_equal(ctl_msg_check(&msg, n, fds, ANY_WAY),
		    -EPROTO);
		msg.magic ^= 1;
		msg.size++;
		assert_int_equal(ctl_msg_check(&msg, n, fds, ANY_WAY),
		    -EPROTO);
	}
}

/* Who may send what, written down a second time: a slip in the room's own
 * table would open a wall between the roles. */
static void
every_type_goes_only_its_way(void **state)
{
	enum { S2G = 1, G2S = 2, S2C = 4, C2S = 8, CMD = 16, OUT = 32 };
	static const unsigned ways[CTL_TYPE_COUNT] = {
		[CTL_CONF] = S2G | S2C, [CTL_STDERR] = S2G | S2C,
		[CTL_LOG] = S2G, [CTL_LISTEN] = S2G,
		[CTL_ADOPT] = S2G, [CTL_START] = S2G,
		[CTL_FN_PUT] = C2S | S2G | OUT, [CTL_FN_DEL] = C2S | S2G,
		[CTL_FN_SYNC] = C2S | S2G | G2S | OUT, [CTL_SCAN] = S2C,
		[CTL_INSTANCE_START] = G2S, [CTL_INSTANCE_KILL] = G2S,
		[CTL_INSTANCE_UP] = S2G, [CTL_INSTANCE_FAILED] = S2G,
		[CTL_INSTANCE_GONE] = S2G, [CTL_LOG_SWITCHED] = G2S,
		[CTL_DRAIN] = S2G, [CTL_DRAINED] = G2S, [CTL_TOTALS] = S2G,
		[CTL_CLIENT] = S2G, [CTL_COMMAND] = CMD, [CTL_REPLY] = OUT,
		[CTL_STATUS_HOST] = OUT, [CTL_STATUS_FN] = OUT,
		[CTL_STATUS_TENANT] = OUT,
		[CTL_STATUS_INSTANCE] = OUT, [CTL_STATUS_BUDGET] = OUT,
		[CTL_STATUS_CHECK] = OUT,
		[CTL_PRICES] = S2G,
		[CTL_SHELL] = CMD, [CTL_SHELL_ASK] = S2G,
		[CTL_SHELL_ANSWER] = G2S, [CTL_SHELL_UP] = OUT,
		[CTL_SHELL_GONE] = S2G,
		[CTL_BUSY] = G2S,
		[CTL_FUNCTION_LOG_ASK] = G2S, [CTL_FUNCTION_LOG] = S2G,
	};
	int type;
	unsigned way;

	(void)state;
	for (type = CTL_NONE + 1; type < CTL_TYPE_COUNT; type++) {
		struct ctl_msg msg;
		size_t fds = make_valid(&msg, (enum ctl_type)type);

		for (way = 1; way <= 32; way <<= 1)
			assert_int_equal(ctl_msg_check(&msg, msg.size, fds,
			    way), (ways[type] & way) != 0 ? 0 : -EPROTO);
	}
}

static void
an_unknown_type_is_refused(void **state)
{
	struct ctl_msg msg;

	(void)state;
	ctl_msg_init(&msg, CTL_NONE);
	assert_int_equal(ctl_msg_check(&msg, CTL_HEAD_SIZE, 0, ANY_WAY),
	    -EPROTO);
	msg.type = CTL_TYPE_COUNT;
	msg.size = CTL_HEAD_SIZE;
	assert_int_equal(ctl_msg_check(&msg, CTL_HEAD_SIZE, 0, ANY_WAY),
	    -EPROTO);
	msg.type = UINT16_MAX;
	assert_int_equal(ctl_msg_check(&msg, CTL_HEAD_SIZE, 0, ANY_WAY),
	    -EPROTO);
}

static int
check_put(const struct ctl_msg *msg)
{
	return ctl_msg_check(msg, msg->size, msg->u.function.has_env,
	    CTL_WAY_SCANNER_TO_SPAWNER);
}

static void
a_string_without_end_or_with_bytes_behind_it_is_refused(void **state)
{
	struct ctl_msg msg;
	struct ctl_function *f = &msg.u.function;

	(void)state;
	set_served(&msg);
	assert_int_equal(check_put(&msg), 0);
	memset(f->detail, 'x', sizeof(f->detail));
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	f->detail[sizeof(f->detail) - 1] = 'x';
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	strcpy(f->detail, "line\nforged");
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	strcpy(f->detail, "caf\xc3\xa9");
	assert_int_equal(check_put(&msg), -EPROTO);
}

static void
a_served_function_has_a_strict_name_path_tenant_and_version(void **state)
{
	static const char *const paths[] = { "", "alice/resize/../x",
		"alice/resize.py/x", "/alice/resize", "bob/resize.py",
		"alice/resize.p.y", "alice/resize.", "alice/resize.PY",
		"alice/resize/main.py" };
	struct ctl_msg msg;
	struct ctl_function *f = &msg.u.function;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		set_served(&msg);
		memset(f->path, 0, sizeof(f->path));
		strcpy(f->path, paths[i]);
		assert_int_equal(check_put(&msg), -EPROTO);
	}
	set_served(&msg);
	memset(f->name, 0, sizeof(f->name));
	strcpy(f->name, "../resize");
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	memset(f->tenant, 0, sizeof(f->tenant));
	strcpy(f->tenant, "a/b");
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	f->version[3] = 'g';
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	f->is_folder = 2;
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	f->limits.value[LIMIT_DATA] = 2;
	assert_int_equal(check_put(&msg), -EPROTO);
}

static void
a_function_with_a_problem_may_have_a_name_that_is_the_problem(void **state)
{
	struct ctl_msg msg;
	struct ctl_function *f = &msg.u.function;

	(void)state;
	ctl_msg_init(&msg, CTL_FN_PUT);
	f->problem = CTL_PROBLEM_NAME;
	strcpy(f->name, "My Photos!");
	assert_int_equal(check_put(&msg), 0);
	f->problem = CTL_PROBLEM_COUNT;
	assert_int_equal(check_put(&msg), -EPROTO);
	f->problem = CTL_PROBLEM_NAME;
	f->has_env = 1;
	assert_int_equal(check_put(&msg), -EPROTO);
}

/* It stands in records, if only of refused executions. */
static void
one_that_is_being_written_has_a_name_a_path_and_a_tenant(void **state)
{
	struct ctl_msg msg;
	struct ctl_function *f = &msg.u.function;

	(void)state;
	set_served(&msg);
	f->problem = CTL_PROBLEM_WRITING;
	memset(f->version, 0, sizeof(f->version));
	assert_int_equal(check_put(&msg), 0);
	f->tenant[0] = '.';
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	f->problem = CTL_PROBLEM_WRITING;
	f->name[0] = f->path[0] = 'X';
	assert_int_equal(check_put(&msg), -EPROTO);
	f->problem = CTL_PROBLEM_NAME;
	assert_int_equal(check_put(&msg), 0);
}

static void
an_environment_comes_with_exactly_one_descriptor(void **state)
{
	struct ctl_msg msg;

	(void)state;
	set_served(&msg);
	msg.u.function.has_env = 1;
	assert_int_equal(ctl_msg_check(&msg, msg.size, 1, ANY_WAY), 0);
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY), -EPROTO);
	assert_int_equal(ctl_msg_check(&msg, msg.size, 2, ANY_WAY), -EPROTO);
}

static void
an_instance_comes_with_a_descriptor_for_each_bit(void **state)
{
	struct ctl_msg msg;
	uint32_t has;

	(void)state;
	for (has = 0; has <= CTL_HAS_ALL + 1; has++) {
		size_t bits = (size_t)__builtin_popcount(has);

		ctl_msg_init(&msg, CTL_INSTANCE_UP);
		msg.u.instance_up.id = 9;
		msg.u.instance_up.has = has;
		assert_int_equal(ctl_msg_check(&msg, msg.size, 1 + bits,
		    ANY_WAY), has <= CTL_HAS_ALL ? 0 : -EPROTO);
		assert_int_equal(ctl_msg_check(&msg, msg.size, bits, ANY_WAY),
		    -EPROTO);
	}
}

static void
a_command_brings_what_its_verb_says_and_only_three_reach_the_gateway(
    void **state)
{
	struct ctl_msg msg;
	uint32_t verb, has_file;
	size_t fds;

	(void)state;
	for (verb = 0; verb <= CTL_VERB_COUNT; verb++) {
		bool is_verb = verb > CTL_VERB_NONE && verb < CTL_VERB_COUNT;
		bool is_invoke = verb == CTL_VERB_INVOKE;
		bool is_reload = verb == CTL_VERB_RELOAD;

		for (has_file = 0; has_file < 3; has_file++)
			for (fds = 0; fds < 3; fds++) {
				bool is_right = is_verb && has_file <=
				    is_reload && fds == is_invoke + has_file;

				ctl_msg_init(&msg, CTL_COMMAND);
				msg.u.command.verb = verb;
				msg.u.command.has_file = has_file;
				assert_int_equal(ctl_msg_check(&msg, msg.size,
				    fds, ANY_WAY), is_right ? 0 : -EPROTO);
			}
		ctl_msg_init(&msg, CTL_CLIENT);
		msg.u.command.verb = verb;
		assert_int_equal(ctl_msg_check(&msg, msg.size, 1, ANY_WAY),
		    is_invoke || verb == CTL_VERB_STATUS ||
		    verb == CTL_VERB_CHECKS ? 0 : -EPROTO);
	}
}

static void
an_instance_is_for_a_purpose_that_there_is(void **state)
{
	struct ctl_msg msg;
	unsigned purpose;

	(void)state;
	for (purpose = 0; purpose <= UINT8_MAX; purpose++) {
		make_valid(&msg, CTL_INSTANCE_START);
		msg.u.instance_start.purpose = (uint8_t)purpose;
		assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY),
		    purpose < CTL_PURPOSE_COUNT ? 0 : -EPROTO);
	}
	make_valid(&msg, CTL_INSTANCE_START);
	msg.u.instance_start.pad[4] = 1;
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY), -EPROTO);
}

static void
nobody_but_the_gateway_says_that_another_runtime_serves(void **state)
{
	struct ctl_msg msg;

	(void)state;
	set_served(&msg);
	msg.u.function.is_otherwise = 1;
	assert_int_equal(check_put(&msg), -EPROTO);
	set_served(&msg);
	msg.u.function.is_chosen = 1;
	assert_int_equal(check_put(&msg), 0);
	msg.u.function.is_chosen = 2;
	assert_int_equal(check_put(&msg), -EPROTO);
}

static void
what_a_check_found_is_printable_and_of_a_version(void **state)
{
	struct ctl_msg msg;
	struct ctl_status_check *row = &msg.u.status_check;

	(void)state;
	make_valid(&msg, CTL_STATUS_CHECK);
	strcpy(row->text, "a.py:1: invalid syntax");
	row->state = CTL_CHECK_UNSOUND;
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY), 0);
	row->state = CTL_CHECK_COUNT;
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY), -EPROTO);
	row->state = CTL_CHECK_UNSOUND;
	row->text[0] = '\033';
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY), -EPROTO);
	make_valid(&msg, CTL_STATUS_CHECK);
	row->version[0] = 'x';
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY), -EPROTO);
	make_valid(&msg, CTL_STATUS_CHECK);
	row->is_fastcgi = 2;
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0, ANY_WAY), -EPROTO);
}

static void
names_follow_the_pattern(void **state)
{
	static const char *const good[] = { "a", "0", "alice/resize",
		"a.b-c_d", "a/b/c/d/e/f/g/h", "x..y" };
	static const char *const bad[] = { "", "/", "a/", "/a", "a//b", ".a",
		"-a", "_a", "A", "a b", "a.", "a./b", "..", "a/..", "a/../b",
		"a\n", "a:b", "caf\xc3\xa9", "a/b/c/d/e/f/g/h/i" };
	char name[CTL_NAME_MAX + 2], segment[CTL_TENANT_MAX + 2];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(ctl_name_ok(good[i]));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ctl_name_ok(bad[i]));
	memset(segment, 'a', sizeof(segment));
	assert_true(ctl_segment_ok(segment, CTL_TENANT_MAX));
	assert_false(ctl_segment_ok(segment, CTL_TENANT_MAX + 1));
	memset(name, 'a', sizeof(name));
	for (i = 50; i < CTL_NAME_MAX; i += 50)
		name[i] = '/';
	name[CTL_NAME_MAX] = '\0';
	assert_true(ctl_name_ok(name));
	name[CTL_NAME_MAX] = 'a';
	name[CTL_NAME_MAX + 1] = '\0';
	assert_false(ctl_name_ok(name));
}

static void
a_path_is_its_name_with_at_most_one_extension(void **state)
{
	(void)state;
	assert_true(ctl_path_ok("a/b", "a/b", false));
	assert_true(ctl_path_ok("a/b.py", "a/b", false));
	assert_true(ctl_path_ok("a/b/main", "a/b", true));
	assert_true(ctl_path_ok("a/b/main.cgi", "a/b", true));
	assert_true(ctl_path_ok("a/b/index.php", "a/b", true));
	assert_false(ctl_path_ok("a/b", "a/b", true));
	assert_false(ctl_path_ok("a/b/mainly.py", "a/b", true));
	assert_false(ctl_path_ok("a/b/main.py/x", "a/b", true));
	assert_false(ctl_path_ok("a/b.py", "a", false));
	assert_false(ctl_path_ok("a/b.tar.gz", "a/b", false));
	assert_true(ctl_path_ok("a/b.tar.gz", "a/b.tar", false));
	assert_false(ctl_path_ok("../b", "../b", false));
}

static void
every_problem_has_a_text_of_its_own(void **state)
{
	int i, j;

	(void)state;
	for (i = 0; i < CTL_PROBLEM_COUNT; i++)
		for (j = 0; j < i; j++)
			assert_string_not_equal(
			    ctl_problem_text((enum ctl_problem)i),
			    ctl_problem_text((enum ctl_problem)j));
	assert_string_equal(ctl_problem_text(CTL_PROBLEM_COUNT),
	    "unknown problem");
}

static void
a_shell_has_as_many_arguments_as_it_says(void **state)
{
	static const struct {
		char text[6];
		uint32_t length, count;
		int result;
	} cases[] = {
		{ "ls\0-l", 6, 2, 0 }, { "", 1, 1, 0 }, { "\xff\n", 3, 1, 0 },
		{ "ls\0-l", 6, 1, -EPROTO }, { "ls\0-l", 6, 3, -EPROTO },
		{ "ls\0-l", 5, 2, -EPROTO }, { "ls\0-l", 3, 1, -EPROTO },
		{ "", 0, 0, -EPROTO }, { "", 0, 1, -EPROTO },
		{ "", CTL_SHELL_TEXT_MAX + 1, 1, -EPROTO },
		{ "", CTL_SHELL_ARGUMENTS_MAX + 1,
		    CTL_SHELL_ARGUMENTS_MAX + 1, -EPROTO },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ctl_msg msg;

		make_valid(&msg, CTL_SHELL);
		memcpy(msg.u.shell.text, cases[i].text, 6);
		msg.u.shell.length = cases[i].length;
		msg.u.shell.count = cases[i].count;
		assert_int_equal(ctl_msg_check(&msg, msg.size, 1, ANY_WAY),
		    cases[i].result);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    every_type_is_accepted_in_its_right_form_and_in_no_other),
		cmocka_unit_test(every_type_goes_only_its_way),
		cmocka_unit_test(an_unknown_type_is_refused),
		cmocka_unit_test(
		    a_string_without_end_or_with_bytes_behind_it_is_refused),
		cmocka_unit_test(
		    a_served_function_has_a_strict_name_path_tenant_and_version),
		cmocka_unit_test(
		    one_that_is_being_written_has_a_name_a_path_and_a_tenant),
		cmocka_unit_test(
		    a_function_with_a_problem_may_have_a_name_that_is_the_problem),
		cmocka_unit_test(
		    an_environment_comes_with_exactly_one_descriptor),
		cmocka_unit_test(
		    an_instance_comes_with_a_descriptor_for_each_bit),
		cmocka_unit_test(
		    a_command_brings_what_its_verb_says_and_only_three_reach_the_gateway),
		cmocka_unit_test(an_instance_is_for_a_purpose_that_there_is),
		cmocka_unit_test(
		    nobody_but_the_gateway_says_that_another_runtime_serves),
		cmocka_unit_test(
		    what_a_check_found_is_printable_and_of_a_version),
		cmocka_unit_test(names_follow_the_pattern),
		cmocka_unit_test(a_path_is_its_name_with_at_most_one_extension),
		cmocka_unit_test(every_problem_has_a_text_of_its_own),
		cmocka_unit_test(a_shell_has_as_many_arguments_as_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
