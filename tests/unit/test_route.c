#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/route.h"

struct world {
	struct conf conf;
	struct catalog *catalog;
	char prefix[16], start[16];
};

static void
add(struct world *w, const char *name, enum ctl_problem problem)
{
	struct ctl_function info;

	memset(&info, 0, sizeof(info));
	strcpy(info.name, name);
	info.problem = (uint8_t)problem;
	assert_int_equal(catalog_put(w->catalog, &info, NULL, 0), 0);
}

static int
set_up(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	strcpy(w.prefix, "/fn");
	strcpy(w.start, "hello");
	w.conf.refs = 1;
	w.conf.url_prefix = w.prefix;
	w.catalog = catalog_new();
	add(&w, "hello", CTL_PROBLEM_NONE);
	add(&w, "alice/resize", CTL_PROBLEM_NONE);
	add(&w, "alice/broken", CTL_PROBLEM_MODE);
	add(&w, "a/b/c/d/e/f/g/h", CTL_PROBLEM_NONE);
	*state = &w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	catalog_free(w->catalog);
	return 0;
}

/* route_find, or route_find_authorizer */
static int (*finder)(const struct conf *conf, const struct catalog *catalog,
    const struct params *params, struct route *route) = route_find;

/* pairs: name, value, …, NULL.  Returns "SCRIPT_NAME|PATH_INFO" of the
 * function found, or the error. */
static int
find(struct world *w, const char *const *pairs, char *name, char *split)
{
	struct params *params = params_new(65536, 64);
	struct buf wire = { 0 };
	struct route route;
	int error;

	for (; *pairs != NULL; pairs += 2)
		assert_int_equal(params_put(&wire, pairs[0], strlen(pairs[0]),
		    pairs[1], strlen(pairs[1])), 0);
	assert_int_equal(params_feed(params, buf_head(&wire), buf_len(&wire)),
	    0);
	assert_int_equal(params_finish(params), 0);
	error = finder(&w->conf, w->catalog, params, &route);
	name[0] = split[0] = '\0';
	if (route.function != NULL)
		strcpy(name, route.function->info.name);
	if (error == 0 && buf_len(&route.script_name) > 0)
		sprintf(split, "%s|%s", (char *)buf_head(&route.script_name),
		    (char *)buf_head(&route.path_info));
	route_free(&route);
	params_free(params);
	buf_free(&wire);
	return error;
}

#define FIND(w, name, split, ...) \
	find((w), (const char *const[]){ __VA_ARGS__, NULL }, (name), (split))

#define FINDS(w, want_name, want_split, ...) do { \
	char name_[256], split_[4096]; \
	assert_int_equal(FIND(w, name_, split_, __VA_ARGS__), 0); \
	assert_string_equal(name_, want_name); \
	assert_string_equal(split_, want_split); \
} while (0)

#define FAILS(w, error, ...) do { \
	char name_[256], split_[4096]; \
	assert_int_equal(FIND(w, name_, split_, __VA_ARGS__), error); \
} while (0)

static void
the_path_below_the_prefix_names_the_function(void **state)
{
	struct world *w = *state;

	FINDS(w, "hello", "/fn/hello|", "DOCUMENT_URI", "/fn/hello");
	FINDS(w, "hello", "/fn/hello|/", "DOCUMENT_URI", "/fn/hello/");
	FINDS(w, "alice/resize", "/fn/alice/resize|/x//y", "DOCUMENT_URI",
	    "/fn/alice/resize/x//y");
	FINDS(w, "a/b/c/d/e/f/g/h", "/fn/a/b/c/d/e/f/g/h|/i/j",
	    "DOCUMENT_URI", "/fn/a/b/c/d/e/f/g/h/i/j");
}

static void
a_name_ends_at_a_segment_s_end(void **state)
{
	struct world *w = *state;

	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/hellox");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fnhello");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/hell");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn//hello");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/alice");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/Hello");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/other/hello");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/");
}

static void
the_longest_known_name_wins(void **state)
{
	struct world *w = *state;

	add(w, "hello/there", CTL_PROBLEM_NONE);
	FINDS(w, "hello/there", "/fn/hello/there|/x", "DOCUMENT_URI",
	    "/fn/hello/there/x");
	FINDS(w, "hello", "/fn/hello|/x", "DOCUMENT_URI", "/fn/hello/x");
	assert_int_equal(catalog_del(w->catalog, "hello/there"), 0);
}

static void
a_function_that_is_not_served_is_told_apart(void **state)
{
	struct world *w = *state;
	char name[256], split[64];

	assert_int_equal(FIND(w, name, split, "DOCUMENT_URI",
	    "/fn/alice/broken/x"), -EBUSY);
	assert_string_equal(name, "alice/broken");
	assert_int_equal(FIND(w, name, split, "DOCUMENT_URI", "/x",
	    "FCGI_HOST_FUNCTION", "alice/broken"), -EBUSY);
	assert_string_equal(name, "alice/broken");
}

static void
an_empty_prefix_is_the_whole_site(void **state)
{
	struct world *w = *state;

	w->prefix[0] = '\0';
	FINDS(w, "hello", "/hello|/x", "DOCUMENT_URI", "/hello/x");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/");
	w->conf.index = w->start;
	FINDS(w, "hello", "|/", "DOCUMENT_URI", "/");
	w->conf.index = NULL;
	strcpy(w->prefix, "/fn");
}

static void
the_prefix_itself_is_the_index(void **state)
{
	struct world *w = *state;

	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/");
	w->conf.index = w->start;
	FINDS(w, "hello", "/fn|", "DOCUMENT_URI", "/fn");
	FINDS(w, "hello", "/fn|/", "DOCUMENT_URI", "/fn/");
	strcpy(w->start, "gone");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/");
	strcpy(w->start, "hello");
	w->conf.index = NULL;
}

static void
document_uri_goes_before_request_uri_before_script_name(void **state)
{
	struct world *w = *state;

	FINDS(w, "hello", "/fn/hello|", "SCRIPT_NAME", "/fn/alice/resize",
	    "REQUEST_URI", "/fn/alice/resize", "DOCUMENT_URI", "/fn/hello");
	FINDS(w, "hello", "/fn/hello|", "SCRIPT_NAME", "/fn/alice/resize",
	    "REQUEST_URI", "/fn/hello?a=/b", "DOCUMENT_URI", "");
	FINDS(w, "hello", "/fn/hello|/x", "SCRIPT_NAME", "/fn/hello",
	    "PATH_INFO", "/x");
	FINDS(w, "hello", "/fn/hello|", "SCRIPT_NAME", "/fn/hello");
	FAILS(w, -EINVAL, "QUERY_STRING", "x");
	FAILS(w, -EINVAL, "DOCUMENT_URI", "fn/hello");
	FAILS(w, -EINVAL, "REQUEST_URI", "*");
}

static void
a_request_uri_is_decoded_once_and_strictly(void **state)
{
	static const char *const bad[] = { "/fn/hello/%", "/fn/hello/%4",
		"/fn/hello/%zz", "/fn/hello/%00", "/fn/hello/../x",
		"/fn/hello/%2e%2E/x", "/fn/hello/.", "/fn/hello/%2e%2e",
		"/fn/..%2fhello" };
	struct world *w = *state;
	size_t i;

	FINDS(w, "hello", "/fn/hello|/a b/c", "REQUEST_URI",
	    "/fn/%68ello/a%20b%2Fc?%zz");
	FINDS(w, "hello", "/fn/hello|/%41", "REQUEST_URI",
	    "/fn/hello/%2541");
	FINDS(w, "hello", "/fn/hello|/...", "REQUEST_URI", "/fn/hello/...");
	FINDS(w, "hello", "/fn/hello|/\xff", "REQUEST_URI", "/fn/hello/%ff");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		FAILS(w, -EINVAL, "REQUEST_URI", bad[i]);
}

static void
a_function_can_be_named_outright(void **state)
{
	struct world *w = *state;

	FINDS(w, "alice/resize", "/img|/1.png", "DOCUMENT_URI", "/img/1.png",
	    "FCGI_HOST_FUNCTION", "alice/resize", "FCGI_HOST_PREFIX", "/img");
	FINDS(w, "alice/resize", "/img|/", "DOCUMENT_URI", "/img/",
	    "FCGI_HOST_FUNCTION", "alice/resize", "FCGI_HOST_PREFIX",
	    "/img/");
	FINDS(w, "alice/resize", "|/img/1.png", "DOCUMENT_URI", "/img/1.png",
	    "FCGI_HOST_FUNCTION", "alice/resize", "FCGI_HOST_PREFIX", "/");
	FAILS(w, -EINVAL, "DOCUMENT_URI", "/images/1.png",
	    "FCGI_HOST_FUNCTION", "alice/resize", "FCGI_HOST_PREFIX", "/img");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/hello", "FCGI_HOST_FUNCTION",
	    "alice/gone");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/hello", "FCGI_HOST_FUNCTION",
	    "../etc/passwd");
	/* An unset variable of nginx is an empty value: the path decides. */
	FINDS(w, "hello", "/fn/hello|", "DOCUMENT_URI", "/fn/hello",
	    "FCGI_HOST_FUNCTION", "", "FCGI_HOST_PREFIX", "");
}

static void
without_a_prefix_the_named_function_s_part_is_found_or_all(void **state)
{
	struct world *w = *state;

	FINDS(w, "hello", "/fn/hello|/x", "DOCUMENT_URI", "/fn/hello/x",
	    "FCGI_HOST_FUNCTION", "hello");
	FINDS(w, "hello", "/app|/x", "DOCUMENT_URI", "/app/x", "SCRIPT_NAME",
	    "/app", "PATH_INFO", "/x", "FCGI_HOST_FUNCTION", "hello");
	/* A split that cuts a segment in two is none. */
	FINDS(w, "hello", "|/apps/x", "DOCUMENT_URI", "/apps/x",
	    "SCRIPT_NAME", "/app", "PATH_INFO", "s/x", "FCGI_HOST_FUNCTION",
	    "hello");
	FINDS(w, "hello", "|/app/x", "DOCUMENT_URI", "/app/x", "SCRIPT_NAME",
	    "/app/x", "FCGI_HOST_FUNCTION", "hello");
}

/* The path is that of what is to be allowed, and names nobody. */
static void
an_authorizer_is_named_outright_or_not_at_all(void **state)
{
	struct world *w = *state;

	finder = route_find_authorizer;
	FINDS(w, "hello", "", "DOCUMENT_URI", "/fn/alice/resize",
	    "FCGI_HOST_AUTHORIZER", "hello");
	FINDS(w, "hello", "", "DOCUMENT_URI", "/fn/alice/resize",
	    "FCGI_HOST_AUTHORIZER", "hello", "FCGI_HOST_FUNCTION",
	    "alice/resize");
	FINDS(w, "alice/resize", "", "FCGI_HOST_AUTHORIZER", "",
	    "FCGI_HOST_FUNCTION", "alice/resize");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/alice/resize");
	FAILS(w, -ENOENT, "DOCUMENT_URI", "/fn/alice/resize",
	    "FCGI_HOST_AUTHORIZER", "gone");
	FAILS(w, -EBUSY, "FCGI_HOST_AUTHORIZER", "alice/broken");
	finder = route_find;
	FINDS(w, "alice/resize", "/fn/alice/resize|", "DOCUMENT_URI",
	    "/fn/alice/resize", "FCGI_HOST_AUTHORIZER", "hello");
}

static void
a_path_of_any_length_is_harmless(void **state)
{
	struct world *w = *state;
	char path[3000];

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	FAILS(w, -ENOENT, "DOCUMENT_URI", path);
	memcpy(path, "/fn/", 4);
	FAILS(w, -ENOENT, "DOCUMENT_URI", path);
	memset(path + 4, '/', sizeof(path) - 5);
	FAILS(w, -ENOENT, "DOCUMENT_URI", path);
	memcpy(path + 4, "hello", 5);
	{
		char name[256], split[4096];

		assert_int_equal(FIND(w, name, split, "DOCUMENT_URI", path),
		    0);
		assert_string_equal(name, "hello");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_path_below_the_prefix_names_the_function),
		cmocka_unit_test(a_name_ends_at_a_segment_s_end),
		cmocka_unit_test(the_longest_known_name_wins),
		cmocka_unit_test(a_function_that_is_not_served_is_told_apart),
		cmocka_unit_test(an_empty_prefix_is_the_whole_site),
		cmocka_unit_test(the_prefix_itself_is_the_index),
		cmocka_unit_test(
		    document_uri_goes_before_request_uri_before_script_name),
		cmocka_unit_test(a_request_uri_is_decoded_once_and_strictly),
		cmocka_unit_test(a_function_can_be_named_outright),
		cmocka_unit_test(
		    without_a_prefix_the_named_function_s_part_is_found_or_all),
		cmocka_unit_test(a_path_of_any_length_is_harmless),
		cmocka_unit_test(an_authorizer_is_named_outright_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
