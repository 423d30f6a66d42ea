#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/registry.h"
#include "fcgi-host/sock.h"

#define TENANT_DEFAULT "default"
#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)

struct entry {
	struct parcel *parcel;
	bool is_seen; /* reported by the scanner that runs now */
};

struct registry {
	struct entry *entries; /* by name */
	size_t count, size;
	size_t env_count, env_max;
};

struct registry *
registry_new(size_t env_max)
{
	struct registry *registry = calloc(1, sizeof(*registry));

	if (registry != NULL)
		registry->env_max = env_max;
	return registry;
}

void
registry_free(struct registry *registry)
{
	size_t i;

	if (registry == NULL)
		return;
	for (i = 0; i < registry->count; i++)
		parcel_unref(registry->entries[i].parcel);
	free(registry->entries);
	free(registry);
}

static const char *
name_of(const struct entry *entry)
{
	return entry->parcel->msg.u.function.name;
}

/* Where the name is, or would be. */
static size_t
place_of(const struct registry *registry, const char *name, bool *is_there)
{
	size_t low = 0, high = registry->count;

	*is_there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, name_of(&registry->entries[middle]));

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

/* The tenant is the first folder of the name, and nobody is `default` by the
 * name of a folder. */
static bool
tenant_is_true(const struct ctl_function *function)
{
	const char *slash = strchr(function->name, '/');
	size_t length;

	if (slash == NULL)
		return strcmp(function->tenant, TENANT_DEFAULT) == 0;
	length = (size_t)(slash - function->name);
	return strlen(function->tenant) == length &&
	    strncmp(function->tenant, function->name, length) == 0 &&
	    strcmp(function->tenant, TENANT_DEFAULT) != 0;
}

static bool
path_is_fcgi(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot != NULL && strcmp(dot, ".fcgi") == 0;
}

static void
refuse(struct ctl_function *function, enum ctl_problem problem,
    const char *detail)
{
	function->problem = (uint8_t)problem;
	function->has_env = 0;
	memset(function->detail, 0, sizeof(function->detail));
	snprintf(function->detail, sizeof(function->detail), "%s", detail);
}

/* What the scanner claims is replaced by what the administrator wrote. */
static void
set_by_conf(struct ctl_function *function, const struct conf *conf)
{
	const struct conf_runtime *runtime;
	struct limits ceiling;

	if (function->runtime[0] == '\0') {
		function->is_fastcgi = path_is_fcgi(function->path);
	} else {
		runtime = conf_runtime_by_name(conf, function->runtime);
		if (runtime == NULL) {
			refuse(function, CTL_PROBLEM_TYPE,
			    "its runtime is not in the configuration");
			return;
		}
		function->is_fastcgi = runtime->is_fastcgi;
	}
	conf_ceiling(conf, function->tenant, function->name, &ceiling);
	settings_admit(&function->limits, &ceiling);
}

static bool
is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}

static int
insert(struct registry *registry, size_t place, struct parcel *parcel)
{
	struct entry *grown;

	if (registry->count >= REGISTRY_MAX)
		return -ENOSPC;
	if (registry->count == registry->size) {
		size_t size = registry->size == 0 ? 64 : registry->size * 2;

		grown = reallocarray(registry->entries, size, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		registry->entries = grown;
		registry->size = size;
	}
	memmove(&registry->entries[place + 1], &registry->entries[place],
	    (registry->count - place) * sizeof(*registry->entries));
	registry->entries[place].parcel = parcel;
	registry->count++;
	return 0;
}

static void
count_env(struct registry *registry, const struct parcel *parcel, bool is_more)
{
	if (parcel->fd_count == 0)
		return;
	if (is_more)
		registry->env_count++;
	else
		registry->env_count--;
}

/* Puts the parcel (taken on success) under its name. */
static int
store(struct registry *registry, struct parcel *parcel)
{
	bool is_there;
	size_t place = place_of(registry, parcel->msg.u.function.name,
	    &is_there);
	int error;

	if (is_there) {
		count_env(registry, registry->entries[place].parcel, false);
		parcel_unref(registry->entries[place].parcel);
		registry->entries[place].parcel = parcel;
	} else {
		error = insert(registry, place, parcel);
		if (error != 0)
			return error;
	}
	count_env(registry, parcel, true);
	registry->entries[place].is_seen = true;
	return 0;
}

int
registry_put(struct registry *registry, const struct conf *conf,
    const struct ctl_msg *msg, int *env_fd, struct parcel **out)
{
	CLEANUP_FD int fd = steal_fd(env_fd);
	struct ctl_function *function;
	struct parcel *parcel;
	int error;

	if (ctl_function_is_known(&msg->u.function) &&
	    !tenant_is_true(&msg->u.function))
		return -EPROTO;
	if (fd >= 0 && !is_sealed(fd))
		return -EPROTO;
	parcel = parcel_new(CTL_FN_PUT);
	if (parcel == NULL)
		return -ENOMEM;
	function = &parcel->msg.u.function;
	*function = msg->u.function;
	if (function->problem == CTL_PROBLEM_NONE)
		set_by_conf(function, conf);
	/* one in whose place it comes gives its own back */
	if (function->has_env && registry->env_count -
	    (registry_env(registry, function->name) >= 0) >= registry->env_max)
		refuse(function, CTL_PROBLEM_MANY,
		    "too many functions have an environment of their own");
	if (function->has_env)
		parcel_give(parcel, &fd);
	error = store(registry, parcel);
	if (error != 0) {
		parcel_unref(parcel);
		return error;
	}
	*out = parcel;
	return 0;
}

static void
remove_at(struct registry *registry, size_t place)
{
	struct parcel *parcel = registry->entries[place].parcel;

	count_env(registry, parcel, false);
	registry->count--;
	memmove(&registry->entries[place], &registry->entries[place + 1],
	    (registry->count - place) * sizeof(*registry->entries));
	parcel_unref(parcel);
}

static void
forget_unseen(struct registry *registry, bool has_env,
    void (*fn)(void *arg, const char *name), void *arg)
{
	size_t i = registry->count;

	while (i > 0 && (registry->entries[i - 1].is_seen || (has_env &&
	    registry->entries[i - 1].parcel->fd_count == 0)))
		i--;
	if (i == 0)
		return;
	fn(arg, name_of(&registry->entries[i - 1]));
	remove_at(registry, i - 1);
}

void
registry_make_room(struct registry *registry, const struct ctl_msg *msg,
    void (*fn)(void *arg, const char *name), void *arg)
{
	const struct ctl_function *function = &msg->u.function;

	if (registry->count >= REGISTRY_MAX &&
	    registry_find(registry, function->name) == NULL)
		forget_unseen(registry, false, fn, arg);
	if (function->has_env && registry->env_count >= registry->env_max &&
	    registry_env(registry, function->name) < 0)
		forget_unseen(registry, true, fn, arg);
}

int
registry_del(struct registry *registry, const char *name)
{
	bool is_there;
	size_t place = place_of(registry, name, &is_there);

	if (!is_there)
		return -ENOENT;
	remove_at(registry, place);
	return 0;
}

const struct ctl_function *
registry_find(const struct registry *registry, const char *name)
{
	bool is_there;
	size_t place = place_of(registry, name, &is_there);

	return is_there ?
	    &registry->entries[place].parcel->msg.u.function : NULL;
}

bool
registry_has_tenant(const struct registry *registry, const char *tenant)
{
	char folder[CTL_TENANT_MAX + 2];
	size_t n = strlen(tenant), place;
	bool is_there;

	if (n > CTL_TENANT_MAX)
		return false;
	memcpy(folder, tenant, n);
	folder[n++] = '/';
	folder[n] = '\0';
	place = place_of(registry, folder, &is_there);
	return place < registry->count && strncmp(folder,
	    name_of(&registry->entries[place]), n) == 0;
}

int
registry_env(const struct registry *registry, const char *name)
{
	bool is_there;
	size_t place = place_of(registry, name, &is_there);
	const struct parcel *parcel = is_there ?
	    registry->entries[place].parcel : NULL;

	return parcel != NULL && parcel->fd_count > 0 ? parcel->fds[0] : -1;
}

size_t
registry_count(const struct registry *registry)
{
	return registry->count;
}

struct parcel *
registry_at(const struct registry *registry, size_t i)
{
	LOG_ASSERT(i < registry->count);
	return registry->entries[i].parcel;
}

void
registry_begin(struct registry *registry)
{
	size_t i;

	for (i = 0; i < registry->count; i++)
		registry->entries[i].is_seen = false;
}

void
registry_sweep(struct registry *registry,
    void (*fn)(void *arg, const char *name), void *arg)
{
	size_t i = registry->count;

	while (i-- > 0) {
		if (registry->entries[i].is_seen)
			continue;
		fn(arg, name_of(&registry->entries[i]));
		remove_at(registry, i);
	}
}
