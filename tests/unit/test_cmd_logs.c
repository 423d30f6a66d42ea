/* A line of the log as `fcgi-host logs` shows it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fcgi-host/cmd_logs.h"

#define HEAD "time=2026-11-27T10:00:00.000001Z level=info role=gateway "

static struct buf out;

static const char *
shown(const struct logs_want *want, const char *line)
{
	int result;

	buf_reset(&out, 0);
	result = logs_line(want, line, strlen(line), &out);
	if (result == 0)
		return NULL;
	assert_int_equal(result, 1);
	assert_int_equal(buf_add(&out, "", 1), 0);
	return (const char *)buf_head(&out);
}

static void
a_line_of_a_function_is_shown_with_time_name_and_request(void **state)
{
	const struct logs_want all = { .is_json = false };

	(void)state;
	assert_string_equal(shown(&all, HEAD "event=stderr request=r1 "
	    "function=a/b instance=7 cut=0 text=\"one two\""),
	    "2026-11-27T10:00:00.000001Z a/b r1 one two\n");
	assert_string_equal(shown(&all, HEAD "event=stderr request= "
	    "function=a/b instance=7 cut=0 text=\"\""),
	    "2026-11-27T10:00:00.000001Z a/b - \n");
}

static void
what_the_host_says_of_a_function_is_shown_with_its_facts(void **state)
{
	const struct logs_want all = { .is_json = false };

	(void)state;
	assert_string_equal(shown(&all, HEAD "event=execution request=r1 "
	    "function=a instance=7 outcome=error status=502 why=\"it \\\"died\\\"\""),
	    "2026-11-27T10:00:00.000001Z a r1 fcgi-host: execution instance=7 "
	    "outcome=error status=502 why=it \"died\"\n");
}

static void
what_is_not_asked_for_is_left_out(void **state)
{
	const struct logs_want one = { .function = "a" };
	const struct logs_want request = { .request = "r1" };

	(void)state;
	assert_null(shown(&one, HEAD "event=stderr request=r function=ab text=\"x\""));
	assert_null(shown(&one, HEAD "event=ready"));
	assert_null(shown(&one, ""));
	assert_null(shown(&one, "Nov 27 function=a event=stderr text=\"x\""));
	assert_null(shown(&one, "function=a event=stderr time=1 text=\"x\""));
	assert_non_null(shown(&one, HEAD "event=stderr function=a text=\"x\""));
	assert_null(shown(&request, HEAD "event=stderr request=r12 function=a"));
	assert_non_null(shown(&request, HEAD "event=stderr request=r1 function=a"));
}

static void
what_a_function_wrote_names_no_other_function(void **state)
{
	const struct logs_want other = { .function = "b" };

	(void)state;
	assert_null(shown(&other, HEAD "event=stderr request=r function=a "
	    "cut=0 text=\"x\\\" function=b request=q\""));
	assert_null(shown(&other, HEAD "event=stderr request=r function=a "
	    "cut=0 text=\"function=b"));
}

static void
letters_are_shown_and_what_a_terminal_would_obey_is_not(void **state)
{
	static const char *const cases[][2] = {
		{ "caf\\xc3\\xa9 \\xe2\\x82\\xac", "caf\xc3\xa9 \xe2\x82\xac" },
		{ "\\xf0\\x9f\\x98\\x80", "\xf0\x9f\x98\x80" },
		{ "a\\x09b", "a\tb" },
		{ "\\\"q\\\" \\\\x41", "\"q\" \\x41" },
		{ "\\x1b[31m\\x07\\x00", "\\x1b[31m\\x07\\x00" },
		{ "\\xc2\\x9b31m", "\\xc2\\x9b31m" },
		{ "\\xe2\\x80\\xae", "\\xe2\\x80\\xae" }, /* right to left */
		{ "\\xef\\xbb\\xbf", "\\xef\\xbb\\xbf" },
		{ "\\xc3", "\\xc3" },
		{ "\\xc3(\\xff\\xc3\\xa9", "\\xc3(\\xff\xc3\xa9" },
		{ "\\xc0\\xaf", "\\xc0\\xaf" }, /* overlong */
		{ "\\xZZ \\y", "\\xZZ \\y" },
	};
	const struct logs_want all = { .is_json = false };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char line[256] = HEAD "event=stderr request=r function=a text=\"";
		char wanted[256] = "2026-11-27T10:00:00.000001Z a r ";

		strcat(strcat(line, cases[i][0]), "\"");
		strcat(strcat(wanted, cases[i][1]), "\n");
		assert_string_equal(shown(&all, line), wanted);
	}
}

static void
json_has_all_that_the_log_says(void **state)
{
	const struct logs_want json = { .is_json = true };

	(void)state;
	assert_string_equal(shown(&json, HEAD "event=stderr request=12 "
	    "function=a instance=7 cut=0 text=\"\\x1b \\\"\\xc3\\xa9\\\"\""),
	    "{\"time\":\"2026-11-27T10:00:00.000001Z\",\"level\":\"info\","
	    "\"role\":\"gateway\",\"event\":\"stderr\",\"request\":\"12\","
	    "\"function\":\"a\",\"instance\":7,\"cut\":0,"
	    "\"text\":\"\\\\x1b \\\"\xc3\xa9\\\"\"}\n");
}

static int
release(void **state)
{
	(void)state;
	buf_free(&out);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_line_of_a_function_is_shown_with_time_name_and_request),
		cmocka_unit_test(
		    what_the_host_says_of_a_function_is_shown_with_its_facts),
		cmocka_unit_test(what_is_not_asked_for_is_left_out),
		cmocka_unit_test(what_a_function_wrote_names_no_other_function),
		cmocka_unit_test(
		    letters_are_shown_and_what_a_terminal_would_obey_is_not),
		cmocka_unit_test(json_has_all_that_the_log_says),
	};

	return cmocka_run_group_tests_name("cmd_logs", tests, NULL, release);
}
