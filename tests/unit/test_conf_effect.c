/* Which changes of the file change what a function's instances are made with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "fcgi-host/conf_effect.h"
#include "tests/unit/conf_text.h"

#define SH "[runtime sh]\nextensions = sh\nprotocol = cgi\n" \
	"command = /bin/sh\n"

#define OTHER "[runtime other]\nextensions = o\ncommand = /bin/o\n"

/* For alice/f, of that runtime. */
static bool
is_same(const char *before, const char *after, const char *runtime)
{
	struct conf *a = conf_of(before), *b = conf_of(after);
	bool is = conf_effect_same(a, b, "alice", "alice/f", runtime);

	conf_unref(a);
	conf_unref(b);
	return is;
}

static void
each_setting_of_an_instance_is_seen_in_each_section_that_speaks_of_it(
    void **state)
{
	static const char *const sections[] = { "[defaults]\n",
		"[tenant alice]\n", "[function alice/f]\n" };
	static const char *const keys[] = { "env.A = 1\n", "bind = /opt\n",
		"pass_params = A\n" };
	char text[100];
	size_t i, j;

	(void)state;
	for (i = 0; i < 3; i++)
		for (j = 0; j < 3; j++) {
			snprintf(text, sizeof(text), "%s%s", sections[i],
			    keys[j]);
			assert_false(is_same("[host]\n", text, ""));
			assert_false(is_same(text, "[host]\n", ""));
			assert_true(is_same(text, text, ""));
		}
	assert_false(is_same("[host]\n", "[tenant alice]\nuser = alice\n",
	    ""));
	assert_false(is_same("[tenant alice]\nuser = alice\n",
	    "[tenant alice]\nuser = bob\n", ""));
}

static void
a_network_is_seen_and_its_namespace_by_those_who_enter_it(void **state)
{
	static const char a[] = "[defaults]\negress = /run/netns/a\n";
	static const char b[] = "[tenant alice]\negress = /run/netns/b\n";
	static const char way[] = "[function alice/f]\nnetwork = egress\n";
	char before[200], after[200];

	(void)state;
	assert_false(is_same("[host]\n", "[tenant alice]\n"
	    "network = loopback\n", ""));
	assert_true(is_same("[host]\n", "[tenant bob]\nnetwork = loopback\n",
	    ""));
	assert_true(is_same("[host]\n", a, ""));
	snprintf(before, sizeof(before), "%s%s", a, way);
	snprintf(after, sizeof(after), "%s%s%s", a, b, way);
	assert_false(is_same(before, after, ""));
	assert_false(is_same(a, before, ""));
}

static void
what_is_said_of_others_changes_nothing(void **state)
{
	(void)state;
	assert_true(is_same("[host]\n", "[tenant bob]\nenv.A = 1\n"
	    "user = bob\n[function alice/g]\nbind = /opt\n"
	    "[function f]\nenv.A = 1\n" SH, ""));
	assert_true(is_same(SH, SH "env.A = 1\nbind = /opt\n", ""));
	assert_true(is_same("[host]\n", "[host]\nurl_prefix = /run\n"
	    "max_connections = 7\nlog_level = debug\n"
	    "uid_range = 5000-6000\n", ""));
}

static void
a_runtime_is_seen_by_those_who_use_it(void **state)
{
	(void)state;
	assert_true(is_same(SH, SH, "sh"));
	assert_false(is_same(SH, SH "env.A = 1\n", "sh"));
	assert_false(is_same(SH, SH "bind = /opt\n", "sh"));
	assert_false(is_same(SH, SH "rootfs = /x\n", "sh"));
	assert_false(is_same(SH "rootfs = /x\n", SH "rootfs = /y\n", "sh"));
	assert_true(is_same(SH, SH "rootfs = /x\n", ""));
	assert_false(is_same(SH, "[runtime sh]\nextensions = sh\n"
	    "protocol = fastcgi\ncommand = /bin/sh\n", "sh"));
	assert_false(is_same(SH, "[runtime sh]\nextensions = sh\n"
	    "protocol = cgi\ncommand = /bin/sh -e\n", "sh"));
	assert_false(is_same(SH, "[host]\n", "sh"));
	assert_false(is_same(SH, SH "check = /bin/sh -n\n", "sh"));
	assert_false(is_same(SH "check = /bin/sh -n\n" OTHER,
	    SH "check = /bin/sh -n\notherwise = other\n" OTHER, "sh"));
	/* other extensions: the scanner says whose runtime it is */
	assert_true(is_same(SH, "[runtime sh]\nextensions = sh bash\n"
	    "protocol = cgi\ncommand = /bin/sh\n", "sh"));
}

static void
words_of_a_command_are_not_mixed_up(void **state)
{
#define COMMAND(words) "[runtime sh]\nextensions = sh\nprotocol = cgi\n" \
	"command = " words "\n"
	(void)state;
	assert_false(is_same(COMMAND("/bin/sh -e x"), COMMAND("/bin/sh '-e x'"),
	    "sh"));
	assert_false(is_same(COMMAND("/bin/sh ''"), COMMAND("/bin/sh"), "sh"));
	assert_true(is_same(COMMAND("/bin/sh  -e"), COMMAND("/bin/sh '-e'"),
	    "sh"));
}

static void
what_is_written_otherwise_and_works_the_same_is_the_same(void **state)
{
	(void)state;
	/* in another order, or another section */
	assert_true(is_same("[defaults]\nenv.A = 1\nenv.B = 2\n",
	    "[defaults]\nenv.B = 2\nenv.A = 1\n", ""));
	assert_true(is_same("[defaults]\nenv.A = 1\n",
	    "[tenant alice]\nenv.A = 1\n", ""));
	assert_true(is_same("[defaults]\nbind = /opt\n",
	    "[tenant alice]\nbind = /opt\n", ""));
	assert_true(is_same("[defaults]\npass_params = A B\n",
	    "[defaults]\npass_params = B\n[tenant alice]\npass_params = A B\n",
	    ""));
	/* overridden */
	assert_true(is_same("[tenant alice]\nenv.A = 1\n",
	    "[defaults]\nenv.A = 0\n[tenant alice]\nenv.A = 1\n", ""));
	assert_false(is_same("[tenant alice]\nenv.A = 1\n",
	    "[defaults]\nenv.A = 1\n[tenant alice]\nenv.A = 0\n", ""));
	assert_false(is_same("[defaults]\nenv.A = 1\n",
	    "[defaults]\nenv.AB = 1\n", ""));
}

static void
a_functions_own_env_is_not_that_of_a_weaker_section(void **state)
{
	(void)state;
	/* a sidecar's stands between them */
	assert_false(is_same("[tenant alice]\nenv.A = 1\n",
	    "[function alice/f]\nenv.A = 1\n", ""));
}

static void
numbers_are_the_scanners_to_compare(void **state)
{
	(void)state;
	assert_true(is_same("[defaults]\nmemory = 64M\n",
	    "[defaults]\nmemory = 128M\n", ""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    each_setting_of_an_instance_is_seen_in_each_section_that_speaks_of_it),
		cmocka_unit_test(
		    a_network_is_seen_and_its_namespace_by_those_who_enter_it),
		cmocka_unit_test(what_is_said_of_others_changes_nothing),
		cmocka_unit_test(a_runtime_is_seen_by_those_who_use_it),
		cmocka_unit_test(words_of_a_command_are_not_mixed_up),
		cmocka_unit_test(
		    what_is_written_otherwise_and_works_the_same_is_the_same),
		cmocka_unit_test(
		    a_functions_own_env_is_not_that_of_a_weaker_section),
		cmocka_unit_test(numbers_are_the_scanners_to_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
