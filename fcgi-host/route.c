#include <errno.h>
#include <string.h>

#include "fcgi-host/route.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A web server that decoded the path has resolved "." and ".." as well; in
 * one that we decode they could lead a program out of where it looks. */
static bool
has_dots(const char *path)
{
	while (*path == '/') {
		size_t n = strcspn(++path, "/");

		if ((n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return true;
		path += n;
	}
	return false;
}

/* The path of a REQUEST_URI, percent-decoded, with its NUL. */
static int
decode_path(const char *uri, struct buf *path)
{
	size_t n = strcspn(uri, "?#"), i;

	for (i = 0; i < n; i++) {
		char c = uri[i];

		if (c == '%') {
			int high = i + 2 < n ? hex_value(uri[i + 1]) : -1;
			int low = i + 2 < n ? hex_value(uri[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = (char)(high * 16 + low);
			if (c == '\0')
				return -EINVAL;
			i += 2;
		}
		if (buf_add(path, &c, 1) != 0)
			return -ENOMEM;
	}
	if (buf_add(path, "", 1) != 0)
		return -ENOMEM;
	return has_dots((const char *)buf_head(path)) ? -EINVAL : 0;
}

/* An empty value is as good as none: nginx sends unset variables so. */
static const char *
get(const struct params *params, const char *name)
{
	const char *value = params_get(params, name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static int
add_path(struct buf *path, const char *first, const char *second)
{
	int error = buf_add_str(path, first);

	if (error == 0)
		error = buf_add_str(path, second);
	return error != 0 ? error : buf_add(path, "", 1);
}

static int
add_script(struct buf *path, const struct params *params)
{
	const char *script = get(params, "SCRIPT_NAME");
	const char *info = get(params, "PATH_INFO");

	return add_path(path, script != NULL ? script : "",
	    info != NULL ? info : "");
}

static int
find_path(const struct params *params, struct buf *path)
{
	const char *document = get(params, "DOCUMENT_URI");
	const char *uri = document != NULL ? NULL : get(params, "REQUEST_URI");
	int error;

	if (document != NULL)
		error = add_path(path, document, "");
	else if (uri != NULL)
		error = decode_path(uri, path);
	else
		error = add_script(path, params);
	if (error == 0 && *(const char *)buf_head(path) != '/')
		error = -EINVAL;
	return error;
}

/* The length of prefix when it is the path's beginning up to a segment's end,
 * else -1.  A slash at its own end does not count. */
static ssize_t
prefix_length(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	if (n > 0 && prefix[n - 1] == '/')
		n--;
	if (strncmp(path, prefix, n) != 0 ||
	    (path[n] != '/' && path[n] != '\0'))
		return -1;
	return (ssize_t)n;
}

/* Splits the path behind n bytes. */
static int
set_split(struct route *route, const char *path, size_t n)
{
	int error = buf_add(&route->script_name, path, n);

	if (error == 0)
		error = buf_add(&route->script_name, "", 1);
	if (error == 0)
		error = buf_add(&route->path_info, path + n,
		    strlen(path + n) + 1);
	return error;
}

/* SCRIPT_NAME of a function that was named outright. */
static int
split_named(const struct conf *conf, const struct params *params,
    const char *path, const char *name, struct route *route)
{
	const char *prefix = get(params, "FCGI_HOST_PREFIX");
	const char *script = get(params, "SCRIPT_NAME");
	const char *info = get(params, "PATH_INFO");
	ssize_t n;

	if (prefix != NULL) {
		n = prefix_length(path, prefix);
		return n < 0 ? -EINVAL : set_split(route, path, (size_t)n);
	}
	/* The function's own route. */
	n = prefix_length(path, conf->url_prefix);
	if (n >= 0 && path[n] == '/') {
		ssize_t m = prefix_length(path + n + 1, name);

		if (m >= 0)
			return set_split(route, path, (size_t)(n + 1 + m));
	}
	/* The web server's own split, where it has made one. */
	if (info != NULL && *info == '/') {
		size_t length = script != NULL ? strlen(script) : 0;

		if (strncmp(path, script != NULL ? script : "", length) == 0 &&
		    strcmp(path + length, info) == 0)
			return set_split(route, path, length);
	}
	/* Nobody said where the function's part begins: it gets all. */
	return set_split(route, path, 0);
}

static int
find_named(const struct conf *conf, const struct catalog *catalog,
    const struct params *params, const char *path, struct route *route)
{
	const char *name = get(params, "FCGI_HOST_FUNCTION");

	route->function = catalog_find(catalog, name);
	if (route->function == NULL)
		return -ENOENT;
	return split_named(conf, params, path, name, route);
}

/* The longest known name at the head of rest ("alice/resize/x"); its length,
 * or 0. */
static size_t
longest_name(const struct catalog *catalog, const char *rest,
    struct function **function)
{
	size_t ends[CTL_SEGMENTS_MAX], count = 0, at = 0;
	char name[CTL_NAME_MAX + 1];

	while (count < CTL_SEGMENTS_MAX) {
		size_t n = strcspn(rest + at, "/");

		if (n == 0 || at + n > CTL_NAME_MAX)
			break;
		at += n;
		ends[count++] = at;
		if (rest[at] == '\0')
			break;
		at++;
	}
	while (count > 0) {
		size_t n = ends[--count];

		memcpy(name, rest, n);
		name[n] = '\0';
		*function = catalog_find(catalog, name);
		if (*function != NULL)
			return n;
	}
	return 0;
}

static int
find_routed(const struct conf *conf, const struct catalog *catalog,
    const char *path, struct route *route)
{
	ssize_t prefix = prefix_length(path, conf->url_prefix);
	const char *rest;
	size_t n;

	if (prefix < 0)
		return -ENOENT;
	rest = path + prefix;
	if (rest[0] == '\0' || rest[1] == '\0') {
		if (conf->index == NULL)
			return -ENOENT;
		route->function = catalog_find(catalog, conf->index);
		if (route->function == NULL)
			return -ENOENT;
		return set_split(route, path, (size_t)prefix);
	}
	n = longest_name(catalog, rest + 1, &route->function);
	if (n == 0)
		return -ENOENT;
	return set_split(route, path, (size_t)prefix + 1 + n);
}

int
route_find(const struct conf *conf, const struct catalog *catalog,
    const struct params *params, struct route *route)
{
	struct buf path = { .data = NULL };
	const char *text;
	int error;

	memset(route, 0, sizeof(*route));
	error = find_path(params, &path);
	if (error != 0)
		goto out;
	text = (const char *)buf_head(&path);
	if (get(params, "FCGI_HOST_FUNCTION") != NULL)
		error = find_named(conf, catalog, params, text, route);
	else
		error = find_routed(conf, catalog, text, route);
	if (error == 0 && route->function->info.problem != CTL_PROBLEM_NONE)
		error = -EBUSY;
out:
	buf_free(&path);
	if (error != 0) {
		buf_free(&route->script_name);
		buf_free(&route->path_info);
		if (error != -EBUSY)
			route->function = NULL;
	}
	return error;
}

int
route_find_authorizer(const struct conf *conf, const struct catalog *catalog,
    const struct params *params, struct route *route)
{
	const char *name = get(params, "FCGI_HOST_AUTHORIZER");

	(void)conf;
	memset(route, 0, sizeof(*route));
	if (name == NULL)
		name = get(params, "FCGI_HOST_FUNCTION");
	if (name != NULL)
		route->function = catalog_find(catalog, name);
	if (route->function == NULL)
		return -ENOENT;
	return route->function->info.problem == CTL_PROBLEM_NONE ? 0 : -EBUSY;
}

void
route_free(struct route *route)
{
	buf_free(&route->script_name);
	buf_free(&route->path_info);
	route->function = NULL;
}
