/* Keys that speak of each other, also from different sections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/conf_text.h"

/* "f.ini:LINE: KEY: …" */
#define KEEPS(line_and_key, least, what, most) "f.ini:" line_and_key \
	": min_instances keeps " least " here, and " what " allows " most \
	"; lower the one or raise the other\n"

static void
more_kept_than_there_may_be_is_an_error_with_its_line(void **state)
{
	(void)state;
	conf_refused("[defaults]\nmin_instances = 5\n",
	    KEEPS("2: min_instances", "5", "instances", "4"));
	conf_refused("[defaults]\ninstances = 2\nmin_instances = 2\n"
	    "[function alice/x]\nidle = 1s\ninstances = 1\n",
	    KEEPS("6: instances", "2", "instances", "1"));
	conf_refused("[tenant alice]\nmin_instances = 3\nmax_instances = 2\n",
	    KEEPS("2: min_instances", "3", "the tenant's max_instances", "2"));
	conf_refused("[tenant alice]\nmax_instances = 2\n"
	    "[function alice/x]\nmin_instances = 3\n",
	    KEEPS("4: min_instances", "3", "the tenant's max_instances", "2"));
	conf_refused("[function top]\nmin_instances = 2\n"
	    "[tenant default]\ninstances = 1\n",
	    KEEPS("2: min_instances", "2", "instances", "1"));
	conf_refused("[host]\nmax_instances = 2\n"
	    "[function bob/x]\nmin_instances = 3\n",
	    KEEPS("4: min_instances", "3", "[host] max_instances", "2"));
}

static void
each_section_is_blamed_for_itself_alone(void **state)
{
	(void)state;
	conf_refused("[defaults]\ninstances = 1\nmin_instances = 2\n"
	    "[tenant alice]\nidle = 1s\n"
	    "[function alice/x]\nmemory = 64M\n",
	    KEEPS("3: min_instances", "2", "instances", "1"));
	/* one that is no number is no second fault */
	conf_refused("[defaults]\ninstances = 1\nmin_instances = x\n",
	    "f.ini:3: min_instances: \"x\" is not a whole number\n");
}

static void
functions_logs_have_a_place_and_a_size_that_can_be(void **state)
{
	(void)state;
	conf_refused("[host]\nfunctions = /srv/f\nfunction_logs = /srv/f/logs\n",
	    "f.ini:3: function_logs: of /srv/f/logs and functions = /srv/f one "
	    "is in the other; give the logs a directory of their own\n");
	conf_refused("[host]\nfunction_logs = logs\nfunction_log_keep = 100\n"
	    "function_log_size = 1K\nfunction_log_total = 1T\n",
	    "f.ini:2: function_logs: \"logs\" is neither log nor the absolute "
	    "path of a directory\n"
	    "f.ini:3: function_log_keep: \"100\" is no number from 0 to 99\n"
	    "f.ini:4: function_log_size: \"1K\" is no size from 64K to 1G\n"
	    "f.ini:5: function_log_total: \"1T\" is no size from 1M to "
	    "16384G\n");
	conf_refused("[host]\nfunction_log_size = 200M\n",
	    "f.ini:2: function_log_size: one log may have 200M here, and all of "
	    "a tenant 256M, which is not twice that; lower the one or raise the "
	    "other\n");
	conf_refused("[host]\nfunction_log_total = 10M\n",
	    "f.ini:2: function_log_total: one log may have 8M here, and all of "
	    "a tenant 10M, which is not twice that; lower the one or raise the "
	    "other\n");
	conf_refused("[host]\nfunction_logs = /var/log/f\n[runtime x]\n"
	    "extensions = x\ncommand = /bin/sh\nbind = /var/log\n",
	    "f.ini:6: bind: /var/log would show [host] accounting = "
	    "/var/log/fcgi-host/accounting.log, which is the host's alone; name "
	    "something beside it\n"
	    "f.ini:6: bind: /var/log would show [host] function_logs = "
	    "/var/log/f, which is the host's alone; name something beside it\n");
	conf_unref(conf_of("[host]\nfunction_logs = log\nfunction_log_keep = 0\n"
	    "function_log_size = 1G\nfunction_log_total = 2G\n"));
}

static void
a_way_out_is_named_where_one_is_asked_for_or_above(void **state)
{
	static const char needs[] = ": network: egress needs a network "
	    "namespace; make one by fcgi-host-egress up, and add egress = "
	    "/run/netns/fcgi-host\n";
	char sentence[200];

	(void)state;
	snprintf(sentence, sizeof(sentence), "f.ini:2%s", needs);
	conf_refused("[defaults]\nnetwork = egress\n", sentence);
	conf_refused("[function alice/x]\nnetwork = egress\n"
	    "[tenant bob]\negress = /run/netns/b\n", sentence);
	snprintf(sentence, sizeof(sentence), "f.ini:4%s", needs);
	conf_refused("[function alice/x]\negress = /run/netns/a\n"
	    "[tenant alice]\nnetwork = egress\n", sentence);
	conf_unref(conf_of("[function alice/x]\nnetwork = egress\n"
	    "[tenant alice]\negress = /run/netns/a\n"));
	conf_unref(conf_of("[defaults]\negress = /run/netns/a\n"
	    "[function top]\nnetwork = egress\n"
	    "[tenant alice]\nnetwork = loopback\n"));
}

static void
a_budget_in_money_needs_a_book_and_one_currency(void **state)
{
	(void)state;
	conf_refused("[tenant alice]\nbudget_month = 5 EUR\n",
	    "f.ini:2: budget_month: what is used in EUR is not known without "
	    "a price book; name one: prices = FILE in [host]\n");
	conf_refused("[host]\nprices = /p.ini\n"
	    "[tenant alice]\nbudget_day = 5 EUR\n"
	    "[function bob/x]\nbudget_day = 1 executions\n"
	    "budget_month = 5 USD\n",
	    "f.ini:7: budget_month: USD here and EUR in another section; a "
	    "price book has one currency\n");
	conf_refused("[host]\nprices = /p.ini\n[tenant alice]\n"
	    "budget_day = 5 EUR\nbudget_month = 5 USD\n",
	    "f.ini:5: budget_month: USD here and EUR before; a price book has "
	    "one currency\n");
	conf_unref(conf_of("[host]\nprices = /p.ini\n[tenant alice]\n"
	    "budget_day = 5 EUR, 3 executions\nbudget_month = 50 EUR\n"));
}

static void
what_agrees_is_taken(void **state)
{
	(void)state;
	conf_unref(conf_of("[host]\nmax_instances = 4\n"
	    "[defaults]\ninstances = 4\nmin_instances = 4\n"
	    "[tenant alice]\nmax_instances = 4\n"
	    "[function alice/x]\nmin_instances = 0\ninstances = 1\n"));
	/* as many as there may be of the other functions */
	conf_unref(conf_of("[tenant alice]\ninstances = 1\n"
	    "[function alice/x]\ninstances = 3\nmin_instances = 3\n"
	    "[function bob/x]\nmin_instances = 2\n"));
}

/* "f.ini:LINE: KEY: …" */
#define GIVES(line_and_key, key, one, max_key, all) "f.ini:" line_and_key ": " \
	key " gives one instance " one " here, and " max_key " its whole " \
	"tenant " all "; lower the one or raise the other\n"

static void
more_for_one_instance_than_for_its_tenant_is_an_error(void **state)
{
	(void)state;
	conf_refused("[tenant alice]\nmax_memory = 64M\n",
	    GIVES("2: max_memory", "memory", "128M", "max_memory", "64M"));
	conf_refused("[tenant alice]\nmax_memory = 256M\n"
	    "[function alice/x]\nmemory = 257M\n",
	    GIVES("4: memory", "memory", "257M", "max_memory", "256M"));
	conf_refused("[defaults]\nmax_processes = 16\n",
	    GIVES("2: max_processes", "processes", "32", "max_processes",
	    "16"));
	/* of one section both are its fault once */
	conf_refused("[tenant bob]\nprocesses = 40\nmax_processes = 33\n",
	    GIVES("2: processes", "processes", "40", "max_processes", "33"));
	conf_refused("[tenant bob]\nmax_cpu = 0.5\n"
	    "[function bob/x]\ncpu = 1.5\n",
	    GIVES("4: cpu", "cpu", "1.5", "max_cpu", "0.5"));
	/* no ceiling of its own is under the tenant's */
	conf_unref(conf_of("[tenant bob]\nmax_cpu = 0.5\ncpu = 0\n"));
	conf_unref(conf_of("[defaults]\nmax_memory = 128M\n"
	    "max_processes = 32\n[tenant alice]\nmax_memory = 0\n"
	    "memory = 1G\n[function alice/x]\nmemory = 2G\n"
	    "[tenant bob]\nmemory = 8M\nmax_memory = 8M\n"));
}

static void
set(struct settings *sidecar, const char *key, const char *value)
{
	char problem[200];

	assert_int_equal(settings_set(sidecar, SCOPE_SIDECAR, key, value,
	    problem, sizeof(problem)), 0);
}

static void
of_a_sidecar_they_are_lowered_to_what_may_be(void **state)
{
	struct conf *conf = conf_of("[defaults]\nmin_instances = 3\n");
	struct settings fewer = { .has_limits = 0 }, more = { .has_limits = 0 };
	char lowered[100];
	struct limits limits;

	(void)state;
	set(&fewer, "instances", "1");
	conf_limits(conf, "alice", "alice/x", &fewer, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_INSTANCES], 1);
	assert_int_equal(limits.value[LIMIT_MIN_INSTANCES], 1);
	assert_string_equal(lowered, "");
	set(&more, "instances", "2");
	set(&more, "min_instances", "3");
	conf_limits(conf, "alice", "alice/x", &more, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_MIN_INSTANCES], 2);
	assert_string_equal(lowered, "min_instances");
	set(&more, "instances", "9");
	set(&more, "min_instances", "9");
	conf_limits(conf, "alice", "alice/x", &more, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_INSTANCES], 4);
	assert_int_equal(limits.value[LIMIT_MIN_INSTANCES], 3);
	assert_string_equal(lowered, "instances min_instances");
	settings_free(&fewer);
	settings_free(&more);
	conf_unref(conf);
}

#define A "[runtime a]\nextensions = x\ncommand = /bin/a\n"
#define B "[runtime b]\ncommand = /bin/b\n"

static void
whom_a_check_gives_its_files_is_another_runtime_that_keeps_them(void **state)
{
	(void)state;
	conf_unref(conf_of(A "check = /bin/a -n\notherwise = b\n" B));
	conf_refused(A "check = a -n\n", "f.ini:4: check: \"a\" is no "
	    "absolute path; write it in full, as /usr/bin/php-cgi\n");
	conf_refused(A "check = /bin/a\notherwise = b\n",
	    "f.ini:5: otherwise: there is no [runtime b]; add that "
	    "section\n");
	conf_refused(A "check = /bin/a\notherwise = a\n",
	    "f.ini:5: otherwise: [runtime a] must be another one, without "
	    "otherwise of its own\n");
	conf_refused(A "check = /bin/a\notherwise = b\n" B
	    "check = /bin/b\notherwise = c\n[runtime c]\n"
	    "command = /bin/c\n", "f.ini:5: otherwise: [runtime b] must be "
	    "another one, without otherwise of its own\n");
	conf_refused(A "check = /bin/a\notherwise = b\n" B "build = /bin/b\n",
	    "f.ini:5: otherwise: [runtime b] has a build, and is to have made "
	    "a program before it serves; name one without\n");
	conf_refused(A "otherwise = b\n" B, "f.ini:4: otherwise: without "
	    "check nobody says which files are meant; write check = COMMAND, "
	    "which exits with 2 for them\n");
	conf_refused(B, "f.ini:1: [runtime b] has no extensions; write "
	    "extensions = py\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    more_kept_than_there_may_be_is_an_error_with_its_line),
		cmocka_unit_test(
		    functions_logs_have_a_place_and_a_size_that_can_be),
		cmocka_unit_test(each_section_is_blamed_for_itself_alone),
		cmocka_unit_test(
		    more_for_one_instance_than_for_its_tenant_is_an_error),
		cmocka_unit_test(
		    a_way_out_is_named_where_one_is_asked_for_or_above),
		cmocka_unit_test(a_budget_in_money_needs_a_book_and_one_currency),
		cmocka_unit_test(
		    whom_a_check_gives_its_files_is_another_runtime_that_keeps_them),
		cmocka_unit_test(what_agrees_is_taken),
		cmocka_unit_test(of_a_sidecar_they_are_lowered_to_what_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
