#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/exec_env.h"
#include "tests/unit/stage.h"

#define MOST_VARIABLES 64

static struct stage stage;
static struct buf block;
static struct route route;
static bool has_route;

static int
set_up(void **state)
{
	(void)state;
	stage_open(&stage,
	    "[runtime perl]\nextensions = pl\ncommand = /usr/bin/perl\n"
	    "env.RUN = runtime\nenv.WHO = runtime\nenv.OWN = runtime\n"
	    "[defaults]\nenv.ALL = defaults\nenv.WHO = defaults\n"
	    "pass_params = X_SITE\n"
	    "[tenant default]\nenv.WHO = tenant\n"
	    "[function f]\nenv.OWN = function\n");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	if (has_route)
		route_free(&route);
	has_route = false;
	buf_free(&block);
	stage_close(&stage);
	return 0;
}

/* The function f of the runtime perl, with a sidecar's environment. */
static void
make(const char *env, size_t n)
{
	struct ctl_function info = stage_function("f", false);

	strcpy(info.path, "f/main.pl");
	strcpy(info.runtime, "perl");
	strcpy(info.pass_params, "X_SIDE*");
	info.is_folder = 1;
	info.has_env = n > 0;
	assert_int_equal(catalog_put(stage.server.catalog, &info, env, n), 0);
}

static struct params *
params_of(const char *const *pairs)
{
	struct params *params = params_new(65536, 512);
	struct buf out = { 0 };

	assert_int_equal(params_put(&out, "DOCUMENT_URI", 12, "/fn/f/a/b",
	    9), 0);
	for (; *pairs != NULL; pairs++) {
		const char *equals = strchr(*pairs, '=');

		assert_int_equal(params_put(&out, *pairs,
		    (size_t)(equals - *pairs), equals + 1,
		    strlen(equals + 1)), 0);
	}
	assert_int_equal(params_feed(params, buf_head(&out), buf_len(&out)),
	    0);
	assert_int_equal(params_finish(params), 0);
	buf_free(&out);
	return params;
}

static uint16_t role = FCGI_RESPONDER;

/* Builds what the function sees of a request with these params. */
static void
build(const char *const *pairs, int64_t length, bool is_program)
{
	struct params *params = params_of(pairs);
	struct exec_env exec = { .conf = stage.server.conf,
		.params = params, .route = &route, .request_id = "id-1",
		.instance = 42, .content_length = length, .role = role };
	struct cgi_env *env;

	if (has_route)
		route_free(&route);
	assert_int_equal(route_find(stage.server.conf, stage.server.catalog,
	    params, &route), 0);
	has_route = true;
	env = is_program ? exec_env_program(&exec) : exec_env_request(&exec);
	assert_non_null(env);
	buf_reset(&block, SIZE_MAX);
	assert_int_equal(cgi_env_put_block(env, &block), 0);
	cgi_env_free(env);
	params_free(params);
}

static const char *
value(const char *name)
{
	size_t n = strlen(name), at = block.start;
	const char *found = NULL;

	while (at < block.end) {
		const char *entry = (const char *)block.data + at;

		if (strncmp(entry, name, n) == 0 && entry[n] == '=') {
			assert_null(found); /* once */
			found = entry + n + 1;
		}
		at += strlen(entry) + 1;
	}
	return found;
}

static size_t
variables(void)
{
	size_t n = 0;

	for (size_t at = block.start; at < block.end; n++)
		at += strlen((const char *)block.data + at) + 1;
	return n;
}

static void
is(const char *name, const char *expected)
{
	const char *got = value(name);

	if (expected == NULL) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_string_equal(got, expected);
}

static const char *const nothing[] = { NULL };

static void
a_function_sees_the_request_and_where_it_stands(void **state)
{
	static const char *const pairs[] = { "REQUEST_METHOD=GET",
		"QUERY_STRING=a=b", "REMOTE_ADDR=192.0.2.1",
		"HTTP_HOST=example.net", "SERVER_PROTOCOL=HTTP/1.1",
		"GATEWAY_INTERFACE=other", "SCRIPT_NAME=/x",
		"PATH_INFO=/y", NULL };

	(void)state;
	make(NULL, 0);
	build(pairs, 0, false);
	is("REQUEST_METHOD", "GET");
	is("QUERY_STRING", "a=b");
	is("REMOTE_ADDR", "192.0.2.1");
	is("HTTP_HOST", "example.net");
	is("GATEWAY_INTERFACE", "CGI/1.1");
	is("SCRIPT_NAME", "/fn/f");
	is("PATH_INFO", "/a/b");
	is("SCRIPT_FILENAME", "/fn/main.pl");
	is("REDIRECT_STATUS", "200");
	is("REQUEST_ID", "id-1");
	is("FCGI_HOST_FUNCTION", "f");
	is("FCGI_HOST_INSTANCE", "42");
	is("PATH", "/usr/local/bin:/usr/bin:/bin");
	is("HOME", "/tmp");
}

static void
what_a_request_may_not_set_it_does_not_set(void **state)
{
	static const char *const pairs[] = { "HTTP_PROXY=http://evil/",
		"PATH=/evil", "LD_PRELOAD=/evil.so", "PHP_VALUE=x=y",
		"PHP_ADMIN_VALUE=x=y", "SCRIPT_FILENAME=/etc/passwd",
		"REDIRECT_STATUS=404", "HOME=/evil", "FCGI_ROLE=X",
		"FCGI_HOST_INSTANCE=1", "PERL5LIB=/evil", "BASH_ENV=/evil",
		"PATH_TRANSLATED=/srv/www/b", "REQUEST_ID=other",
		"X_OTHER=1", NULL };

	(void)state;
	make(NULL, 0);
	build(pairs, 0, false);
	is("HTTP_PROXY", NULL);
	is("PATH", "/usr/local/bin:/usr/bin:/bin");
	is("LD_PRELOAD", NULL);
	is("PHP_VALUE", NULL);
	is("PHP_ADMIN_VALUE", NULL);
	is("SCRIPT_FILENAME", "/fn/main.pl");
	is("REDIRECT_STATUS", "200");
	is("HOME", "/tmp");
	is("FCGI_ROLE", NULL);
	is("FCGI_HOST_INSTANCE", "42");
	is("PERL5LIB", NULL);
	is("BASH_ENV", NULL);
	is("PATH_TRANSLATED", NULL);
	is("REQUEST_ID", "id-1");
	is("X_OTHER", NULL);
}

static void
nothing_of_the_daemon_own_environment_is_seen(void **state)
{
	(void)state;
	assert_int_equal(setenv("STAGE_SECRET", "x", 1), 0);
	make(NULL, 0);
	build(nothing, 0, false);
	is("STAGE_SECRET", NULL);
	assert_true(variables() < MOST_VARIABLES);
	build(nothing, 0, true);
	is("STAGE_SECRET", NULL);
}

static void
pass_params_of_administrator_and_sidecar_let_names_through(void **state)
{
	static const char *const pairs[] = { "X_SITE=1", "X_SIDE_A=2",
		"X_ELSE=3", "X_SITE_B=4", NULL };

	(void)state;
	make(NULL, 0);
	build(pairs, 0, false);
	is("X_SITE", "1");
	is("X_SIDE_A", "2");
	is("X_ELSE", NULL);
	is("X_SITE_B", NULL);
}

static void
own_variables_override_each_other_in_order(void **state)
{
	static const char sidecar[] = "SIDE=sidecar\0ALL=sidecar\0"
	    "OWN=sidecar";

	(void)state;
	make(NULL, 0);
	build(nothing, 0, false);
	is("RUN", "runtime");
	is("ALL", "defaults");
	is("WHO", "tenant");
	is("OWN", "function");
	make(sidecar, sizeof(sidecar));
	build(nothing, 0, false);
	is("SIDE", "sidecar");
	is("ALL", "sidecar");
	is("OWN", "function"); /* the administrator has the last word */
}

static void
own_variables_stand_over_the_request_and_the_built_in(void **state)
{
	static const char sidecar[] = "HTTP_X_A=mine\0PATH=/function/bin\0"
	    "TMPDIR=/data";
	static const char *const pairs[] = { "HTTP_X_A=theirs",
		"HTTP_X_B=theirs", NULL };

	(void)state;
	make(sidecar, sizeof(sidecar));
	build(pairs, 0, false);
	is("HTTP_X_A", "mine");
	is("HTTP_X_B", "theirs");
	is("PATH", "/function/bin");
	is("TMPDIR", "/data");
}

static void
the_length_is_that_of_the_body_as_it_will_be_read(void **state)
{
	static const char *const five[] = { "CONTENT_LENGTH=5",
		"CONTENT_TYPE=text/plain", NULL };
	static const char *const zero[] = { "CONTENT_LENGTH=0",
		"CONTENT_TYPE=", NULL };
	static const char *const empty[] = { "CONTENT_LENGTH=", NULL };

	(void)state;
	make(NULL, 0);
	build(five, 5, false);
	is("CONTENT_LENGTH", "5");
	is("CONTENT_TYPE", "text/plain");
	build(zero, 0, false);
	is("CONTENT_LENGTH", "0");
	is("CONTENT_TYPE", NULL);
	build(empty, 0, false); /* a GET */
	is("CONTENT_LENGTH", NULL);
	build(empty, 7, false); /* a body that was held */
	is("CONTENT_LENGTH", "7");
	build(empty, -1, false); /* a FastCGI program reads to the end */
	is("CONTENT_LENGTH", NULL);
	build(five, -1, false);
	is("CONTENT_LENGTH", NULL);
}

static void
a_fastcgi_process_gets_the_function_own_variables_alone(void **state)
{
	static const char *const pairs[] = { "REQUEST_METHOD=GET",
		"HTTP_HOST=example.net", "HTTP_PROXY=x", "X_SITE=1", NULL };

	(void)state;
	make("SIDE=sidecar", 13);
	build(pairs, 0, true);
	is("SIDE", "sidecar");
	is("OWN", "function");
	is("PATH", "/usr/local/bin:/usr/bin:/bin");
	is("REQUEST_METHOD", NULL);
	is("HTTP_HOST", NULL);
	is("HTTP_PROXY", NULL);
	is("X_SITE", NULL);
	is("REQUEST_ID", NULL);
}

/* FastCGI 1.0 section 6.3: no length, and no part of the path, which is that
 * of what is to be allowed. */
static void
an_authorizer_is_told_its_role_and_neither_path_nor_length(void **state)
{
	static const char *const pairs[] = { "CONTENT_LENGTH=5",
		"SCRIPT_NAME=/private", "PATH_INFO=/x", "REQUEST_METHOD=POST",
		"REQUEST_URI=/private/x", "FCGI_ROLE=RESPONDER", NULL };

	(void)state;
	make(NULL, 0);
	role = FCGI_AUTHORIZER;
	build(pairs, -1, false);
	role = FCGI_RESPONDER;
	is("FCGI_ROLE", "AUTHORIZER");
	is("REQUEST_METHOD", "POST");
	is("REQUEST_URI", "/private/x");
	is("CONTENT_LENGTH", NULL);
	is("SCRIPT_NAME", NULL);
	is("PATH_INFO", NULL);
	build(pairs, 5, false);
	is("FCGI_ROLE", NULL);
	is("SCRIPT_NAME", "/fn/f");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_function_sees_the_request_and_where_it_stands),
		TEST(what_a_request_may_not_set_it_does_not_set),
		TEST(nothing_of_the_daemon_own_environment_is_seen),
		TEST(pass_params_of_administrator_and_sidecar_let_names_through),
		TEST(own_variables_override_each_other_in_order),
		TEST(own_variables_stand_over_the_request_and_the_built_in),
		TEST(the_length_is_that_of_the_body_as_it_will_be_read),
		TEST(a_fastcgi_process_gets_the_function_own_variables_alone),
		TEST(
		    an_authorizer_is_told_its_role_and_neither_path_nor_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
