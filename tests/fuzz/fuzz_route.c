/*
 * Routing: six lines are the params that it looks at.  Whatever they say, what
 * is found is a known function, and SCRIPT_NAME + PATH_INFO is the path.
 */
#include <errno.h>

#include "fcgi-host/route.h"
#include "tests/fuzz/fuzz.h"

static const char *const names[] = { "DOCUMENT_URI", "REQUEST_URI",
	"SCRIPT_NAME", "PATH_INFO", "FCGI_HOST_FUNCTION", "FCGI_HOST_PREFIX" };
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

static const char *const known[] = { "hello", "alice/resize", "alice/x.y",
	"a/b/c/d/e/f/g/h", "broken" };

static struct catalog *
make_catalog(void)
{
	struct catalog *catalog = catalog_new();
	size_t i;

	CLAIM(catalog != NULL);
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct ctl_function info;

		memset(&info, 0, sizeof(info));
		memcpy(info.name, known[i], strlen(known[i]));
		if (strcmp(known[i], "broken") == 0)
			info.problem = CTL_PROBLEM_MODE;
		CLAIM(catalog_put(catalog, &info, NULL, 0) == 0);
	}
	return catalog;
}

/* Each line a value; "-" alone: the param is not sent. */
static struct params *
make_params(const uint8_t *data, size_t n)
{
	struct params *params = params_new(1 << 20, 64);
	struct buf wire = { 0 };
	size_t i;

	CLAIM(params != NULL);
	for (i = 0; i < NAME_COUNT; i++) {
		const uint8_t *end = n > 0 ? memchr(data, '\n', n) : NULL;
		size_t length = end != NULL ? (size_t)(end - data) : n;

		if (length > 0 && memchr(data, '\0', length) == NULL &&
		    !(length == 1 && data[0] == '-'))
			CLAIM(params_put(&wire, names[i], strlen(names[i]),
			    (const char *)data, length) == 0);
		if (end != NULL)
			length++;
		data += length;
		n -= length;
	}
	CLAIM(params_feed(params, buf_head(&wire), buf_len(&wire)) == 0);
	CLAIM(params_finish(params) == 0);
	buf_free(&wire);
	return params;
}

static void
check_split(const struct route *route, const char *path)
{
	const char *script = (const char *)route->script_name.data +
	    route->script_name.start;
	const char *info = (const char *)route->path_info.data +
	    route->path_info.start;
	size_t n = strlen(script);

	CLAIM(buf_len(&route->script_name) == n + 1);
	CLAIM(buf_len(&route->path_info) == strlen(info) + 1);
	CLAIM(info[0] == '\0' || info[0] == '/');
	CLAIM(script[0] == '\0' || script[0] == '/');
	if (path != NULL)
		CLAIM(strncmp(path, script, n) == 0 &&
		    strcmp(path + n, info) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t steer = take_byte(&data, &n);
	char prefix_fn[] = "/fn", prefix_none[] = "", start[] = "hello";
	struct conf conf = { .refs = 1 };
	struct catalog *catalog = make_catalog();
	struct params *params = make_params(data, n);
	struct route route;
	int error;

	conf.url_prefix = (steer & 1) != 0 ? prefix_none : prefix_fn;
	conf.index = (steer & 2) != 0 ? start : NULL;
	error = (steer & 4) != 0 ?
	    route_find_authorizer(&conf, catalog, params, &route) :
	    route_find(&conf, catalog, params, &route);
	CLAIM(error == 0 || error == -ENOENT || error == -EBUSY ||
	    error == -EINVAL);
	CLAIM((route.function != NULL) == (error == 0 || error == -EBUSY));
	if (error == 0 && (steer & 4) != 0) {
		CLAIM(buf_len(&route.script_name) == 0);
	} else if (error == 0) {
		const char *path = params_get(params, "DOCUMENT_URI");

		CLAIM(catalog_find(catalog, route.function->info.name) ==
		    route.function);
		CLAIM(route.function->info.problem == CTL_PROBLEM_NONE);
		check_split(&route, path != NULL && *path != '\0' ? path :
		    NULL);
	}
	route_free(&route);
	params_free(params);
	catalog_free(catalog);
	return 0;
}
