#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/catalog.h"

/* Sorted by name: looked up for every request, changed when a file is. */
struct catalog {
	struct function **functions;
	size_t count, size;
};

struct catalog *
catalog_new(void)
{
	return calloc(1, sizeof(struct catalog));
}

void
catalog_free(struct catalog *catalog)
{
	size_t i;

	if (catalog == NULL)
		return;
	for (i = 0; i < catalog->count; i++)
		function_unref(catalog->functions[i]);
	free(catalog->functions);
	free(catalog);
}

struct function *
function_ref(struct function *function)
{
	function->refs++;
	return function;
}

void
function_unref(struct function *function)
{
	if (function == NULL || --function->refs > 0)
		return;
	buf_free(&function->env);
	free(function->check_text);
	free(function);
}

int
function_set_check(struct function *function, enum ctl_check state,
    const char *text)
{
	function->check = state;
	free(function->check_text);
	function->check_text = text[0] == '\0' ? NULL :
	    strndup(text, CTL_CHECK_TEXT_MAX);
	return text[0] != '\0' && function->check_text == NULL ? -ENOMEM : 0;
}

/* The place of the name, or where it belongs. */
static size_t
find_place(const struct catalog *catalog, const char *name, bool *is_there)
{
	size_t low = 0, high = catalog->count;

	*is_there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, catalog->functions[middle]->info.name);

		if (order == 0) {
			*is_there = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool
is_same(struct function *function, const struct ctl_function *info,
    const char *env, size_t env_length)
{
	const struct ctl_function *old = &function->info;

	return strcmp(old->path, info->path) == 0 &&
	    strcmp(old->tenant, info->tenant) == 0 &&
	    strcmp(function->reported_runtime, info->runtime) == 0 &&
	    strcmp(old->version, info->version) == 0 &&
	    strcmp(old->pass_params, info->pass_params) == 0 &&
	    strcmp(old->detail, info->detail) == 0 &&
	    old->problem == info->problem &&
	    old->is_folder == info->is_folder &&
	    function->is_reported_fastcgi == info->is_fastcgi &&
	    old->is_chosen == info->is_chosen &&
	    old->has_env == info->has_env && old->note == info->note &&
	    old->ids_changed == info->ids_changed &&
	    old->image_changed == info->image_changed &&
	    old->secrets == info->secrets &&
	    strcmp(old->env_file, info->env_file) == 0 &&
	    memcmp(&old->limits, &info->limits, sizeof(old->limits)) == 0 &&
	    buf_len(&function->env) == env_length &&
	    (env_length == 0 ||
	    memcmp(buf_head(&function->env), env, env_length) == 0);
}

static struct function *
new_function(const struct ctl_function *info, const char *env,
    size_t env_length)
{
	struct function *function = calloc(1, sizeof(*function));

	if (function == NULL)
		return NULL;
	function->refs = 1;
	function->info = *info;
	memcpy(function->reported_runtime, info->runtime,
	    sizeof(function->reported_runtime));
	function->is_reported_fastcgi = info->is_fastcgi;
	if (env_length > 0 && buf_add(&function->env, env, env_length) != 0) {
		free(function);
		return NULL;
	}
	return function;
}

static int
make_room(struct catalog *catalog)
{
	struct function **grown;
	size_t size = catalog->size == 0 ? 64 : catalog->size * 2;

	if (catalog->count >= CATALOG_MAX)
		return -ENOSPC;
	if (catalog->count < catalog->size)
		return 0;
	grown = reallocarray(catalog->functions, size, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	catalog->functions = grown;
	catalog->size = size;
	return 0;
}

int
catalog_put(struct catalog *catalog, const struct ctl_function *info,
    const char *env, size_t env_length)
{
	bool is_there;
	size_t place = find_place(catalog, info->name, &is_there);
	struct function **at, *function;
	int error;

	if (is_there && is_same(catalog->functions[place], info, env,
	    env_length))
		return 1;
	error = is_there ? 0 : make_room(catalog);
	if (error != 0)
		return error;
	function = new_function(info, env, env_length);
	if (function == NULL)
		return -ENOMEM;
	at = catalog->functions + place;
	if (is_there) {
		function_unref(*at);
	} else {
		memmove(at + 1, at, (catalog->count - place) * sizeof(*at));
		catalog->count++;
	}
	*at = function;
	return 0;
}

static struct function *
copy_function(const struct function *function)
{
	const struct buf *env = &function->env;
	struct function *copy = new_function(&function->info,
	    env->data == NULL ? NULL : (const char *)env->data + env->start,
	    env->end - env->start);

	if (copy == NULL)
		return NULL;
	memcpy(copy->reported_runtime, function->reported_runtime,
	    sizeof(copy->reported_runtime));
	copy->is_reported_fastcgi = function->is_reported_fastcgi;
	copy->is_single_use = function->is_single_use;
	if (function_set_check(copy, function->check,
	    function->check_text == NULL ? "" : function->check_text) == 0)
		return copy;
	function_unref(copy);
	return NULL;
}

int
catalog_serve_by(struct catalog *catalog, const struct function *function,
    const char *runtime, bool is_fastcgi)
{
	bool is_there;
	size_t place = find_place(catalog, function->info.name, &is_there);
	struct function *copy;

	if (!is_there || catalog->functions[place] != function)
		return -ENOENT;
	copy = copy_function(function);
	if (copy == NULL)
		return -ENOMEM;
	copy->info.is_otherwise = runtime != NULL;
	copy->info.is_fastcgi = runtime != NULL ? is_fastcgi :
	    copy->is_reported_fastcgi;
	if (runtime == NULL)
		runtime = copy->reported_runtime;
	memset(copy->info.runtime, 0, sizeof(copy->info.runtime));
	memcpy(copy->info.runtime, runtime, strnlen(runtime,
	    CTL_RUNTIME_MAX));
	function_unref(catalog->functions[place]);
	catalog->functions[place] = copy;
	return 0;
}

int
catalog_del(struct catalog *catalog, const char *name)
{
	bool is_there;
	size_t place = find_place(catalog, name, &is_there);
	struct function **at = catalog->functions + place;

	if (!is_there)
		return -ENOENT;
	function_unref(*at);
	catalog->count--;
	memmove(at, at + 1, (catalog->count - place) * sizeof(*at));
	return 0;
}

struct function *
catalog_find(const struct catalog *catalog, const char *name)
{
	bool is_there;
	size_t place = find_place(catalog, name, &is_there);

	return is_there ? catalog->functions[place] : NULL;
}

void
catalog_each(const struct catalog *catalog,
    void (*fn)(const struct function *function, void *arg), void *arg)
{
	for (size_t i = 0; i < catalog->count; i++)
		fn(catalog->functions[i], arg);
}

size_t
catalog_count(const struct catalog *catalog)
{
	return catalog->count;
}
