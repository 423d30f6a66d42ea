#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/conf.h"

_Static_assert(CONF_BIND_MAX >= 4 * SETTINGS_BIND_MAX,
    "no bind of the four layers is left out");

struct conf *
conf_ref(struct conf *conf)
{
	conf->refs++;
	return conf;
}

static void
free_words(char **words)
{
	size_t i;

	if (words == NULL)
		return;
	for (i = 0; words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

static void
free_runtime(struct conf_runtime *runtime)
{
	free(runtime->name);
	free_words(runtime->extensions);
	free_words(runtime->command);
	free_words(runtime->check);
	free_words(runtime->build);
	free(runtime->otherwise);
	free(runtime->rootfs);
	free(runtime->bind);
	free(runtime->preload);
	buf_free(&runtime->env);
}

static void
free_sections(struct conf_section *sections, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		free(sections[i].name);
		settings_free(&sections[i].settings);
	}
	free(sections);
}

void
conf_unref(struct conf *conf)
{
	size_t i;

	if (conf == NULL || --conf->refs > 0)
		return;
	for (i = 0; i < conf->listen_count; i++)
		free(conf->listen[i]);
	free(conf->file);
	free(conf->listen_group);
	free(conf->functions);
	free(conf->accounting);
	free(conf->prices);
	free(conf->chain_key);
	free(conf->run);
	free(conf->state);
	free(conf->url_prefix);
	free(conf->index);
	free(conf->user);
	free(conf->require);
	free(conf->log);
	free(conf->function_logs);
	settings_free(&conf->defaults);
	for (i = 0; i < conf->runtime_count; i++)
		free_runtime(&conf->runtimes[i]);
	free(conf->runtimes);
	free_sections(conf->tenants, conf->tenant_count);
	free_sections(conf->functions_sections, conf->function_count);
	free(conf);
}

const struct conf_runtime *
conf_runtime_by_extension(const struct conf *conf, const char *extension)
{
	size_t i, j;

	for (i = 0; i < conf->runtime_count; i++) {
		char **known = conf->runtimes[i].extensions;

		for (j = 0; known != NULL && known[j] != NULL; j++)
			if (strcmp(known[j], extension) == 0)
				return &conf->runtimes[i];
	}
	return NULL;
}

const struct conf_runtime *
conf_runtime_by_name(const struct conf *conf, const char *name)
{
	size_t i;

	for (i = 0; i < conf->runtime_count; i++)
		if (strcmp(conf->runtimes[i].name, name) == 0)
			return &conf->runtimes[i];
	return NULL;
}

bool
conf_extension_known(const struct conf *conf, const char *extension)
{
	return strcmp(extension, "cgi") == 0 ||
	    strcmp(extension, "fcgi") == 0 ||
	    conf_runtime_by_extension(conf, extension) != NULL;
}

static const struct settings *
find_section(const struct conf_section *sections, size_t count,
    const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(sections[i].name, name) == 0)
			return &sections[i].settings;
	return NULL;
}

const char *
conf_currency(const struct conf *conf)
{
	size_t i;

	if (conf->defaults.currency[0] != '\0')
		return conf->defaults.currency;
	for (i = 0; i < conf->tenant_count; i++)
		if (conf->tenants[i].settings.currency[0] != '\0')
			return conf->tenants[i].settings.currency;
	for (i = 0; i < conf->function_count; i++)
		if (conf->functions_sections[i].settings.currency[0] != '\0')
			return conf->functions_sections[i].settings.currency;
	return "";
}

const struct settings *
conf_tenant(const struct conf *conf, const char *tenant)
{
	return find_section(conf->tenants, conf->tenant_count, tenant);
}

const struct settings *
conf_function(const struct conf *conf, const char *name)
{
	return find_section(conf->functions_sections, conf->function_count,
	    name);
}

/* What stands before a sidecar is read, and so is its ceiling. */
void
conf_tenant_limits(const struct conf *conf, const char *tenant,
    struct limits *limits)
{
	const struct settings *section = conf_tenant(conf, tenant);

	settings_defaults(limits);
	settings_apply(limits, &conf->defaults);
	if (section != NULL)
		settings_apply(limits, section);
}

/* In the administrator's file that would have been an error; a sidecar may name
 * fewer instances than its tenant keeps, or keep more than it names. */
static void
fit_min_instances(struct limits *limits, const struct settings *sidecar,
    char *lowered, size_t size)
{
	static const char key[] = "min_instances";
	uint64_t most = limits->value[LIMIT_INSTANCES];
	size_t n = strlen(lowered);

	if (limits->value[LIMIT_MIN_INSTANCES] <= most)
		return;
	limits->value[LIMIT_MIN_INSTANCES] = most;
	if ((sidecar->has_limits & UINT64_C(1) << LIMIT_MIN_INSTANCES) != 0 &&
	    strstr(lowered, key) == NULL)
		snprintf(lowered + n, size - n, "%s%s", n > 0 ? " " : "", key);
}

void
conf_limits(const struct conf *conf, const char *tenant, const char *name,
    const struct settings *sidecar, struct limits *limits, char *lowered,
    size_t lowered_size)
{
	const struct settings *section = conf_function(conf, name);
	struct limits ceiling, below;

	conf_tenant_limits(conf, tenant, &ceiling);
	settings_own(&ceiling, section);
	*limits = ceiling;
	if (sidecar != NULL)
		settings_apply(limits, sidecar);
	(void)settings_clamp(limits, &ceiling, lowered, lowered_size);
	below = *limits;
	if (section != NULL)
		settings_apply(limits, section);
	settings_own_least(limits, &below);
	if (sidecar != NULL)
		fit_min_instances(limits, sidecar, lowered, lowered_size);
}

void
conf_ceiling(const struct conf *conf, const char *tenant, const char *name,
    struct limits *ceiling)
{
	const struct settings *section = conf_function(conf, name);
	struct limits with_function;

	conf_tenant_limits(conf, tenant, ceiling);
	if (section != NULL) {
		with_function = *ceiling;
		settings_apply(&with_function, section);
		settings_raise(ceiling, &with_function);
	}
	settings_own(ceiling, section);
}

void
conf_tenant_of(const char *function, char tenant[CTL_NAME_MAX + 1])
{
	size_t n = strcspn(function, "/");

	if (function[n] == '\0')
		strcpy(tenant, "default");
	else
		snprintf(tenant, CTL_NAME_MAX + 1, "%.*s", (int)n, function);
}

void
conf_function_log(const char *function, char out[CONF_LOG_NAME_MAX])
{
	const char *slash = strchr(function, '/');
	const char *name = slash == NULL ? function : slash + 1;
	size_t n = strnlen(name, CTL_NAME_MAX), i;

	for (i = 0; i < n; i++)
		out[i] = name[i] == '/' ? '+' : name[i];
	memcpy(out + n, ".log", 5);
}

/* The length of what stands before ".log" or (*is_old) ".log.7"; 0: neither. */
static size_t
stem_of_log(const char *file, bool *is_old)
{
	size_t n = strlen(file), digits = 0;

	while (digits < n && file[n - digits - 1] >= '0' &&
	    file[n - digits - 1] <= '9')
		digits++;
	*is_old = digits > 0;
	if (digits > 0 && digits + 1 < n && file[n - digits - 1] == '.')
		n -= digits + 1;
	else if (digits > 0)
		return 0;
	return n > 4 && memcmp(file + n - 4, ".log", 4) == 0 ? n - 4 : 0;
}

bool
conf_function_of_log(const char *tenant, const char *file,
    char function[CTL_NAME_MAX + 1], bool *is_old)
{
	size_t n = stem_of_log(file, is_old), used = 0;
	bool is_default = strcmp(tenant, "default") == 0;

	if (!is_default)
		used = strlen(tenant) + 1;
	if (n == 0 || used + n > CTL_NAME_MAX)
		return false;
	if (!is_default)
		snprintf(function, CTL_NAME_MAX + 1, "%s/", tenant);
	for (size_t i = 0; i < n; i++)
		function[used + i] = file[i] == '+' ? '/' : file[i];
	function[used + n] = '\0';
	return ctl_name_ok(function);
}

uint64_t
conf_function_log_reserve(uint64_t whole)
{
	const uint64_t most = UINT64_C(1) << 30;

	return whole / 20 < most ? whole / 20 : most;
}

/* The sections that speak of a function, the weakest first; NULL: none. */
struct layers {
	const struct settings *of[3];
};

static struct layers
find_layers(const struct conf *conf, const char *tenant, const char *name)
{
	struct layers layers = { { &conf->defaults, conf_tenant(conf, tenant),
	    conf_function(conf, name) } };

	return layers;
}

enum settings_network
conf_network(const struct conf *conf, const char *tenant, const char *name)
{
	struct layers layers = find_layers(conf, tenant, name);
	enum settings_network network = NETWORK_NONE;
	size_t i;

	for (i = 0; i < 3; i++)
		if (layers.of[i] != NULL && layers.of[i]->has_network)
			network = layers.of[i]->network;
	return network;
}

const char *
conf_egress(const struct conf *conf, const char *tenant, const char *name)
{
	struct layers layers = find_layers(conf, tenant, name);
	const char *path = NULL;
	size_t i;

	for (i = 0; i < 3; i++)
		if (layers.of[i] != NULL && layers.of[i]->egress != NULL)
			path = layers.of[i]->egress;
	return path;
}

void
conf_env_files(const struct conf *conf, const char *tenant, const char *name,
    const char *paths[CONF_ENV_FILES])
{
	struct layers layers = find_layers(conf, tenant, name);
	size_t i;

	for (i = 0; i < CONF_ENV_FILES; i++)
		paths[i] = layers.of[1 + i] == NULL ? NULL :
		    layers.of[1 + i]->env_file;
}

static int
add_block(struct buf *out, const struct buf *env)
{
	if (buf_len(env) == 0)
		return 0;
	return buf_add(out, env->data + env->start, buf_len(env));
}

int
conf_env(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct buf *out)
{
	struct layers layers = find_layers(conf, tenant, name);
	const struct conf_runtime *found = conf_runtime_by_name(conf, runtime);
	int error = add_block(out, &conf->defaults.env);

	if (error == 0 && found != NULL)
		error = add_block(out, &found->env);
	if (error == 0 && layers.of[1] != NULL)
		error = add_block(out, &layers.of[1]->env);
	if (error == 0 && layers.of[2] != NULL)
		error = add_block(out, &layers.of[2]->env);
	return error;
}

/* Appends the words of a checked `bind`; a later one of the same path wins. */
static size_t
add_binds(struct conf_bind out[CONF_BIND_MAX], size_t count, const char *text)
{
	while (text != NULL) {
		size_t n, i;
		bool is_writable;
		char *path;

		text += strspn(text, " \t");
		n = strcspn(text, " \t");
		if (n == 0)
			break;
		is_writable = n > 3 && memcmp(text + n - 3, ":rw", 3) == 0;
		path = strndup(text, is_writable ? n - 3 : n);
		text += n;
		if (path == NULL)
			break;
		for (i = 0; i < count; i++)
			if (strcmp(out[i].path, path) == 0)
				break;
		if (i < count)
			free(out[i].path);
		else
			count++;
		out[i].path = path;
		out[i].is_writable = is_writable;
	}
	return count;
}

/* By path: what lies in another comes behind it, so that it is not hidden. */
static int
compare_binds(const void *a, const void *b)
{
	return strcmp(((const struct conf_bind *)a)->path,
	    ((const struct conf_bind *)b)->path);
}

size_t
conf_binds(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct conf_bind out[CONF_BIND_MAX])
{
	struct layers layers = find_layers(conf, tenant, name);
	const struct conf_runtime *found = conf_runtime_by_name(conf, runtime);
	size_t count = add_binds(out, 0, conf->defaults.bind);

	if (found != NULL)
		count = add_binds(out, count, found->bind);
	if (layers.of[1] != NULL)
		count = add_binds(out, count, layers.of[1]->bind);
	if (layers.of[2] != NULL)
		count = add_binds(out, count, layers.of[2]->bind);
	qsort(out, count, sizeof(*out), compare_binds);
	return count;
}

size_t
conf_bind_words(const char *text, struct conf_bind out[CONF_BIND_MAX])
{
	return add_binds(out, 0, text);
}

void
conf_binds_free(struct conf_bind *binds, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		free(binds[i].path);
		binds[i].path = NULL;
	}
}

int
conf_pass_params(const struct conf *conf, const char *tenant,
    const char *name, struct buf *out)
{
	struct layers layers = find_layers(conf, tenant, name);
	bool is_first = true;
	size_t i;

	for (i = 0; i < 3; i++) {
		int error = 0;

		if (layers.of[i] == NULL || layers.of[i]->pass_params == NULL)
			continue;
		if (!is_first)
			error = buf_add_str(out, " ");
		if (error == 0)
			error = buf_add_str(out, layers.of[i]->pass_params);
		if (error != 0)
			return error;
		is_first = false;
	}
	return buf_add(out, "", 1);
}
