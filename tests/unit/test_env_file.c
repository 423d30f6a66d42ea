/* The text of an env_file: what is taken, and what is refused, in which line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fcgi-host/cgi_name.h"
#include "sandbox/env_file.h"

static char text[ENV_FILE_BYTES_MAX + 2];
static struct env_file file;

static int
parse(const char *from)
{
	size_t n = strlen(from);

	memcpy(text, from, n);
	text[n] = 'X'; /* whatever was there before */
	return env_file_parse(&file, text, n);
}

static void
variables_are_taken_as_they_stand_or_out_of_their_quotes(void **state)
{
	static const char *const wanted[] = { "A=1", "B_2=x = y", "C=", "D=",
		"E= a ", "F=$HOME #x", "G=a\"b\\c\nd", "H=\xc3\xa4'\t;",
		"I=it's" };
	size_t i;

	(void)state;
	assert_int_equal(parse("# a comment\n\n  ; and one\n\tA=1\nB_2=x = y\n"
	    "C=\nD=\"\"\nE=' a '\nF='$HOME #x'\nG=\"a\\\"b\\\\c\\nd\"\n"
	    "H=\xc3\xa4'\t;\nI=\"it's\""), 0);
	assert_int_equal(file.count, sizeof(wanted) / sizeof(wanted[0]));
	for (i = 0; i < file.count; i++)
		assert_string_equal(file.variables[i], wanted[i]);
}

static void
an_empty_file_and_one_of_comments_have_no_variables(void **state)
{
	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(file.count, 0);
	assert_int_equal(parse("\n#A=1\n;B=2\n \t\n"), 0);
	assert_int_equal(file.count, 0);
}

static void
what_is_wrong_is_told_with_its_line_and_without_its_bytes(void **state)
{
	static const struct { const char *text; unsigned line; const char *part; }
	cases[] = {
		{ "hunter2", 1, "write NAME=VALUE" },
		{ "A=1\n\nhunter2\n", 3, "write NAME=VALUE" },
		{ "export A=hunter2", 1, "variable of that name" },
		{ "A =hunter2", 1, "without blanks before" },
		{ "=hunter2", 1, "variable of that name" },
		{ "a=hunter2", 1, "A-Z" },
		{ "1A=hunter2", 1, "A-Z" },
		{ "LD_PRELOAD=hunter2", 1, "variable of that name" },
		{ "SCRIPT_FILENAME=hunter2", 1, "variable of that name" },
		{ "A=1\nA=hunter2", 2, "above already" },
		{ "A= hunter2", 1, "blanks" },
		{ "A=hunter2 ", 1, "blanks" },
		{ "A=\"hunter2", 1, "not closed" },
		{ "A=\"hunter2\" ", 1, "not closed" },
		{ "A=\"", 1, "not closed" },
		{ "A='hun'ter2'", 1, "double" },
		{ "A=\"hun\"ter2\"", 1, "double quotes" },
		{ "A=\"hunter\\2\"", 1, "double quotes" },
		{ "A=\"hunter2\\\"", 1, "double quotes" },
		{ "A=1\r\nB=2\r\n", 1, "carriage return" },
		{ "A=1\nB=hun\x01ter2", 2, "control byte" },
		{ "A=hun\x7fter2", 1, "control byte" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].text), -EBADMSG);
		assert_int_equal(file.line, cases[i].line);
		assert_non_null(strstr(file.why, cases[i].part));
		assert_null(strstr(file.why, "hunter"));
		assert_int_equal(file.count, 0);
	}
}

static void
a_nul_is_a_control_byte(void **state)
{
	(void)state;
	memcpy(text, "A=1\0B=2", 7);
	assert_int_equal(env_file_parse(&file, text, 7), -EBADMSG);
	assert_int_equal(file.line, 1);
}

static void
the_256th_variable_is_the_last(void **state)
{
	size_t n = 0;
	int i;

	(void)state;
	for (i = 0; i < ENV_FILE_COUNT_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "A%d=%d\n", i,
		    i);
	assert_int_equal(env_file_parse(&file, text, n), 0);
	assert_int_equal(file.count, ENV_FILE_COUNT_MAX);
	assert_string_equal(file.variables[255], "A255=255");
	for (i = 0, n = 0; i <= ENV_FILE_COUNT_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "A%d=%d\n", i,
		    i);
	assert_int_equal(env_file_parse(&file, text, n), -EBADMSG);
	assert_int_equal(file.line, 257);
}

static void
a_name_may_stand_here_where_it_may_in_env(void **state)
{
	static const char *const names[] = { "A", "_", "A_1", "PATH", "HOME",
		"HTTP_X", "HTTP_PROXY", "LD_", "LD_PRELOAD", "LDX", "GLIBC_TUNABLES",
		"FCGI_ROLE", "FCGI", "SCRIPT_FILENAME", "SCRIPT_NAME",
		"SCRIPT_NAMES", "REQUEST_ID", "REQUEST_METHOD", "REQUEST_URI",
		"AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE",
		"GATEWAY_INTERFACE", "PATH_INFO", "PATH_TRANSLATED",
		"QUERY_STRING", "REMOTE_ADDR", "REMOTE_HOST", "REMOTE_IDENT",
		"REMOTE_USER", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT",
		"SERVER_PROTOCOL", "SERVER_SOFTWARE", "SERVER_ADDR", "1A", "a",
		"A-B", "A.B", "", "\xc3\x84", "DOCUMENT_ROOT", "HTTPS",
		"BASH_ENV", "PYTHONPATH", "REDIRECT_STATUS" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (env_file_name_ok(names[i], strlen(names[i])) !=
		    cgi_env_name_ok(names[i]))
			fail_msg("%s: %d", names[i],
			    cgi_env_name_ok(names[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    variables_are_taken_as_they_stand_or_out_of_their_quotes),
		cmocka_unit_test(
		    an_empty_file_and_one_of_comments_have_no_variables),
		cmocka_unit_test(
		    what_is_wrong_is_told_with_its_line_and_without_its_bytes),
		cmocka_unit_test(a_nul_is_a_control_byte),
		cmocka_unit_test(the_256th_variable_is_the_last),
		cmocka_unit_test(a_name_may_stand_here_where_it_may_in_env),
	};

	return cmocka_run_group_tests_name("env_file", tests, NULL, NULL);
}
