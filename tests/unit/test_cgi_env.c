#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cgi_env.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void
assert_all(const char *const *names, size_t count, const char *pass_params,
    bool wanted)
{
	for (size_t i = 0; i < count; i++)
		if (cgi_env_allowed(names[i], pass_params) != wanted)
			fail_msg("%s was %s", names[i],
			    wanted ? "held back" : "let through");
}

/* Allowed names */

/* W28 */
static void
the_meta_variables_and_what_servers_add_by_custom_pass(void **state)
{
	static const char *const names[] = {
		"AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE",
		"GATEWAY_INTERFACE", "PATH_INFO", "PATH_TRANSLATED",
		"QUERY_STRING", "REMOTE_ADDR", "REMOTE_HOST", "REMOTE_IDENT",
		"REMOTE_USER", "REQUEST_METHOD", "SCRIPT_NAME", "SERVER_NAME",
		"SERVER_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE",
		"HTTP_HOST", "HTTP_X_PROXY", "HTTP_PROXY_AUTHORIZATION",
		"HTTP_COOKIE", "HTTP_", "REQUEST_URI", "DOCUMENT_URI",
		"DOCUMENT_ROOT", "HTTPS", "REQUEST_SCHEME", "REMOTE_PORT",
		"SERVER_ADDR", "REQUEST_ID", "REDIRECT_STATUS",
		"REDIRECT_URL", "SSL_CLIENT_S_DN", "SSL_CLIENT_S_DN_x121",
		"AUTH_USER",
	};

	(void)state;
	assert_all(names, COUNT(names), NULL, true);
	assert_all(names, COUNT(names), "", true);
}

/* W28 */
static void
what_stands_in_no_list_is_held_back(void **state)
{
	static const char *const names[] = {
		"", "X", "GIT_PROJECT_ROOT", "SERVER_ADMIN", "HTTPS_PROXY",
		"QUERY_STRING_X", "XQUERY_STRING", "QUERY", "http_host",
		"request_uri", "REMOTE_", "SERVER_", "HTTP",
	};

	(void)state;
	assert_all(names, COUNT(names), NULL, false);
	assert_all(names, COUNT(names), "", false);
	assert_all(names, COUNT(names), " \t ", false);
}

/* W29 */
static void
the_header_proxy_never_becomes_a_proxy(void **state)
{
	static const char *const names[] = { "HTTP_PROXY", "http_proxy",
		"Http_Proxy", "HTTP_proxy" };

	(void)state;
	assert_all(names, COUNT(names), NULL, false);
	assert_all(names, COUNT(names), "HTTP_PROXY http_proxy HTTP_* *",
	    false);
}

static void
what_steers_a_loader_or_an_interpreter_never_passes(void **state)
{
	static const char *const names[] = {
		"PHP_VALUE", "PHP_ADMIN_VALUE", "PHPRC", "PHP_INI_SCAN_DIR",
		"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_",
		"GLIBC_TUNABLES", "GCONV_PATH", "PATH", "IFS", "ENV",
		"BASH_ENV", "SHELLOPTS", "PYTHONPATH", "PYTHONSTARTUP",
		"PERL5LIB", "PERL5OPT", "NODE_OPTIONS", "RUBYOPT", "RUBYLIB",
		"LUA_PATH", "LUA_INIT", "HOME", "TMPDIR", "SCRIPT_FILENAME",
		"FCGI_HOST_FUNCTION", "FCGI_HOST_PREFIX", "FCGI_ROLE",
		"FCGI_WEB_SERVER_ADDRS", "MALLOC_ARENA_MAX", "LOCPATH",
		"NLSPATH", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS",
		"RESOLV_HOST_CONF", "GETCONF_DIR", "CDPATH", "PS4", "SHELL",
		"USER", "LOGNAME", "PWD", "OLDPWD", "TZDIR", "PHP_FCGI_CHILDREN",
		"PERLLIB", "PERL_UNICODE", "GEM_HOME", "BUNDLE_GEMFILE",
		"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS",
		"GODEBUG", "GOTRACEBACK", "ORIG_SCRIPT_NAME", "LISTEN_FDS",
		"NOTIFY_SOCKET", "SSL_CERT_FILE", "SSL_CERT_DIR",
	};
	char words[2048] = "";

	(void)state;
	assert_all(names, COUNT(names), NULL, false);
	assert_all(names, COUNT(names), "*", false);
	for (size_t i = 0; i < COUNT(names); i++) {
		strcat(words, names[i]);
		strcat(words, " ");
	}
	assert_all(names, COUNT(names), words, false);
}

static void
a_name_that_is_no_identifier_never_passes(void **state)
{
	static const char *const names[] = {
		"BASH_FUNC_x%%", "HTTP_X-Y", "HTTP_X Y", "HTTP_X\n",
		"HTTP_\xc3\xa4", "1HTTP", "HTTP_X=Y", "HTTP_()", "",
	};

	(void)state;
	assert_all(names, COUNT(names), NULL, false);
	assert_all(names, COUNT(names), "* HTTP_*", false);
}

static void
pass_params_adds_names_and_prefixes(void **state)
{
	static const char *const yes[] = { "GIT_PROJECT_ROOT", "GIT_", "A",
		"SERVER_ADMIN" };
	static const char *const no[] = { "GIT", "AB", "a", "SERVER_ADMI",
		"SERVER_ADMIN2", "B" };
	const char *words = "  A GIT_*\tSERVER_ADMIN ";

	(void)state;
	assert_all(yes, COUNT(yes), words, true);
	assert_all(no, COUNT(no), words, false);
	assert_true(cgi_env_allowed("ANYTHING", "*"));
	assert_false(cgi_env_allowed("G_T", "G*T"));
}

static void
an_administrator_sets_plain_names_but_not_the_hosts_own(void **state)
{
	static const char *const yes[] = { "A", "_", "A1", "DATABASE_URL",
		"PATH", "PYTHONPATH", "HTTP_PROXY", "LDX" };
	static const char *const no[] = { "", "1A", "a", "Ab", "A-B", "A=B",
		"A B", "LD_PRELOAD", "GLIBC_TUNABLES", "QUERY_STRING",
		"PATH_INFO", "SCRIPT_NAME", "SCRIPT_FILENAME", "REQUEST_ID",
		"GATEWAY_INTERFACE", "FCGI_ROLE", "CONTENT_LENGTH" };

	(void)state;
	for (size_t i = 0; i < COUNT(yes); i++)
		if (!cgi_env_name_ok(yes[i]))
			fail_msg("%s was refused", yes[i]);
	for (size_t i = 0; i < COUNT(no); i++)
		if (cgi_env_name_ok(no[i]))
			fail_msg("%s was taken", no[i]);
}

/* The list */

/* The block with ';' for each NUL. */
static void
assert_block(const struct cgi_env *env, const char *wanted)
{
	struct buf out = { 0 };

	assert_int_equal(cgi_env_put_block(env, &out), 0);
	for (size_t i = 0; i < buf_len(&out); i++)
		if (out.data[i] == '\0')
			out.data[i] = ';';
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_string_equal((char *)buf_head(&out), wanted);
	buf_free(&out);
}

static void
a_later_value_replaces_an_earlier_one_in_its_place(void **state)
{
	struct cgi_env *env = cgi_env_new();

	(void)state;
	assert_block(env, "");
	assert_int_equal(cgi_env_set(env, "A", "1"), 0);
	assert_int_equal(cgi_env_set(env, "AB", "2"), 0);
	assert_int_equal(cgi_env_set(env, "C", ""), 0);
	assert_int_equal(cgi_env_set(env, "A", "x=y"), 0);
	assert_block(env, "A=x=y;AB=2;C=;");
	/* A name is not its beginning, whichever came first. */
	assert_int_equal(cgi_env_set(env, "ABC", "3"), 0);
	assert_int_equal(cgi_env_set(env, "CD", "4"), 0);
	cgi_env_unset(env, "A");
	assert_int_equal(cgi_env_set(env, "A", "5"), 0);
	assert_block(env, "AB=2;C=;ABC=3;CD=4;A=5;");
	cgi_env_free(env);
	cgi_env_free(NULL);
}

static void
a_variable_that_is_unset_is_gone_and_can_come_back(void **state)
{
	static const char block[] = "A=\0BB=22\0CCC=333\0D=\0EEEE=4444";
	struct cgi_env *env = cgi_env_new();

	(void)state;
	cgi_env_unset(env, "A");
	for (const char *name = "A\0B\0C\0"; *name != '\0'; name += 2)
		assert_int_equal(cgi_env_set(env, name, "1"), 0);
	cgi_env_unset(env, "B");
	assert_block(env, "A=1;C=1;");
	cgi_env_unset(env, "C");
	cgi_env_unset(env, "C");
	assert_int_equal(cgi_env_set(env, "B", "2"), 0);
	assert_block(env, "A=1;B=2;");
	cgi_env_unset(env, "A");
	cgi_env_unset(env, "B");
	assert_block(env, "");
	assert_int_equal(cgi_env_add_block(env, block, sizeof(block)), 0);
	cgi_env_unset(env, "A");
	assert_block(env, "BB=22;CCC=333;D=;EEEE=4444;");
	cgi_env_unset(env, "CCC");
	assert_block(env, "BB=22;D=;EEEE=4444;");
	cgi_env_free(env);
}

static void
a_name_that_no_block_can_hold_is_refused(void **state)
{
	struct cgi_env *env = cgi_env_new();

	(void)state;
	assert_int_equal(cgi_env_set(env, "", "1"), -EINVAL);
	assert_int_equal(cgi_env_set(env, "A=B", "1"), -EINVAL);
	assert_block(env, "");
	cgi_env_free(env);
}

static void
of_a_request_what_is_allowed_is_taken_and_the_last_counts(void **state)
{
	static const char *const pairs[][2] = {
		{ "REQUEST_METHOD", "GET" }, { "HTTP_PROXY", "evil" },
		{ "PATH", "/evil" }, { "GIT_PROJECT_ROOT", "/srv" },
		{ "REQUEST_METHOD", "POST" }, { "PHP_VALUE", "x" },
		{ "HTTP_ACCEPT", "*/*" }, { "OTHER", "1" },
	};
	struct params *params = params_new(10000, 100);
	struct cgi_env *env = cgi_env_new();
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++)
		params_put(&out, pairs[i][0], strlen(pairs[i][0]),
		    pairs[i][1], strlen(pairs[i][1]));
	assert_int_equal(params_feed(params, buf_head(&out), buf_len(&out)),
	    0);
	assert_int_equal(params_finish(params), 0);
	assert_int_equal(cgi_env_add_params(env, params, "GIT_*"), 0);
	assert_block(env, "REQUEST_METHOD=POST;GIT_PROJECT_ROOT=/srv;"
	    "HTTP_ACCEPT=*/*;");
	cgi_env_free(env);
	params_free(params);
	buf_free(&out);
}

static void
a_block_is_taken_entry_by_entry(void **state)
{
	struct cgi_env *env = cgi_env_new();

	(void)state;
	assert_int_equal(cgi_env_add_block(env, NULL, 0), 0);
	assert_int_equal(cgi_env_set(env, "B", "old"), 0);
	assert_int_equal(cgi_env_add_block(env, "A=1\0B=\0C=x=y\0A=2", 17),
	    0);
	assert_block(env, "B=;A=2;C=x=y;");
	cgi_env_free(env);
}

static void
a_block_that_is_none_is_refused_from_the_wrong_entry_on(void **state)
{
	static const struct { const char *block; size_t n; } wrong[] = {
		{ "A=1\0B=2", 7 }, { "A=1\0B\0C=3", 10 }, { "A=1\0=2", 7 },
		{ "A=1\0\0C=3", 9 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct cgi_env *env = cgi_env_new();
		char *copy = malloc(wrong[i].n);

		/* Nothing behind it that a reader past its end would find. */
		assert_non_null(copy);
		memcpy(copy, wrong[i].block, wrong[i].n);
		assert_int_equal(cgi_env_add_block(env, copy, wrong[i].n),
		    -EINVAL);
		assert_block(env, "A=1;");
		free(copy);
		cgi_env_free(env);
	}
}

static void
block_and_pairs_say_the_same(void **state)
{
	struct params *params = params_new(1000000, 1000);
	struct cgi_env *env = cgi_env_new(), *copy = cgi_env_new();
	struct buf out = { 0 }, block = { 0 }, again = { 0 };

	(void)state;
	for (int i = 0; i < 500; i++) {
		char name[32], value[400];

		snprintf(name, sizeof(name), "HTTP_N%d", i);
		memset(value, 'v', sizeof(value));
		value[i % 300] = '\0';
		assert_int_equal(cgi_env_set(env, name, value), 0);
	}
	assert_int_equal(cgi_env_put_params(env, &out), 0);
	assert_int_equal(params_feed(params, buf_head(&out), buf_len(&out)),
	    0);
	assert_int_equal(params_finish(params), 0);
	assert_int_equal(params_count(params), 500);
	assert_int_equal(cgi_env_add_params(copy, params, NULL), 0);
	assert_int_equal(cgi_env_put_block(env, &block), 0);
	assert_int_equal(cgi_env_put_block(copy, &again), 0);
	assert_int_equal(buf_len(&block), buf_len(&again));
	assert_memory_equal(block.data, again.data, buf_len(&block));
	buf_free(&out);
	buf_free(&block);
	buf_free(&again);
	cgi_env_free(env);
	cgi_env_free(copy);
	params_free(params);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    the_meta_variables_and_what_servers_add_by_custom_pass),
		cmocka_unit_test(what_stands_in_no_list_is_held_back),
		cmocka_unit_test(the_header_proxy_never_becomes_a_proxy),
		cmocka_unit_test(
		    what_steers_a_loader_or_an_interpreter_never_passes),
		cmocka_unit_test(a_name_that_is_no_identifier_never_passes),
		cmocka_unit_test(pass_params_adds_names_and_prefixes),
		cmocka_unit_test(
		    an_administrator_sets_plain_names_but_not_the_hosts_own),
		cmocka_unit_test(
		    a_later_value_replaces_an_earlier_one_in_its_place),
		cmocka_unit_test(
		    a_variable_that_is_unset_is_gone_and_can_come_back),
		cmocka_unit_test(a_name_that_no_block_can_hold_is_refused),
		cmocka_unit_test(
		    of_a_request_what_is_allowed_is_taken_and_the_last_counts),
		cmocka_unit_test(a_block_is_taken_entry_by_entry),
		cmocka_unit_test(
		    a_block_that_is_none_is_refused_from_the_wrong_entry_on),
		cmocka_unit_test(block_and_pairs_say_the_same),
	};

	return cmocka_run_group_tests_name("cgi_env", tests, NULL, NULL);
}
