#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/conf_host.h"
#include "fcgi-host/conf_whole.h"
#include "fcgi-host/sock.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PROBLEM_MAX 512
#define SECTIONS "[host], [defaults], [runtime NAME], [tenant NAME] or " \
	"[function NAME], in a function's own file [function]"

struct builder {
	struct conf *conf;
	const struct conf_scan *scan;
	struct conf_errors *errors;
	int error; /* -ENOMEM */
};

#define WRONG(builder, line, ...) \
	conf_error((builder)->errors, (builder)->conf->file, (line), \
	    __VA_ARGS__)

static bool
part_name_ok(struct builder *b, const struct conf_part *part, enum conf_kind kind,
    const char *name)
{
	size_t n = strlen(name);

	if (kind == CONF_KIND_HOST || kind == CONF_KIND_DEFAULTS) {
		if (n > 0)
			WRONG(b, part->line, "[%s] has no name; write [%s] or "
			    "[tenant %.60s]", conf_kinds[kind], conf_kinds[kind], name);
		return n == 0;
	}
	if (kind == CONF_KIND_FUNCTION ? ctl_name_ok(name) : ctl_segment_ok(name, n)
	    && (kind != CONF_KIND_RUNTIME || n <= CTL_RUNTIME_MAX))
		return true;
	WRONG(b, part->line, "\"%.80s\" is no name of a %s; use a-z, 0-9, "
	    "'.', '_' and '-'%s, as [%s %s]", name, conf_kinds[kind],
	    kind == CONF_KIND_FUNCTION ? " and '/' between its parts" : "",
	    conf_kinds[kind], kind == CONF_KIND_FUNCTION ? "alice/resize" :
	    kind == CONF_KIND_TENANT ? "alice" : "python");
	return false;
}

static void
unknown_part(struct builder *b, const struct conf_part *part)
{
	char word[64];
	size_t n = strcspn(part->name, " \t");
	const char *near;

	(void)snprintf(word, sizeof(word), "%.*s", n > 60 ? 60 : (int)n,
	    part->name);
	near = settings_nearest(word, conf_kinds, CONF_KIND_NONE);
	WRONG(b, part->line, "unknown section [%.80s]; %s%s%s", part->name,
	    near != NULL ? "do you mean [" : "write [host], [defaults], "
	    "[runtime NAME], [tenant NAME] or [function NAME]",
	    near != NULL ? near : "", near == NULL ? "" :
	    strcmp(near, "host") == 0 || strcmp(near, "defaults") == 0 ?
	    "]" : " NAME]");
}

/* Appends a zeroed element with the name; NULL: no memory, or there already. */
static struct conf_section *
add_section(struct builder *b, struct conf_section **sections, size_t *count,
    const char *name)
{
	struct conf_section *grown = reallocarray(*sections, *count + 1,
	    sizeof(*grown));

	if (grown != NULL) {
		*sections = grown;
		grown += *count;
		memset(grown, 0, sizeof(*grown));
		grown->name = strdup(name);
		if (grown->name != NULL) {
			(*count)++;
			return grown;
		}
	}
	b->error = -ENOMEM;
	return NULL;
}

static struct conf_runtime *
add_runtime(struct builder *b, const char *name)
{
	struct conf *conf = b->conf;
	struct conf_runtime *grown = reallocarray(conf->runtimes,
	    conf->runtime_count + 1, sizeof(*grown));

	if (grown != NULL) {
		conf->runtimes = grown;
		grown += conf->runtime_count;
		memset(grown, 0, sizeof(*grown));
		grown->name = strdup(name);
		if (grown->name != NULL) {
			conf->runtime_count++;
			return grown;
		}
	}
	b->error = -ENOMEM;
	return NULL;
}

/* Two spellings of one section ("tenant a", "tenant  a"). */
static bool
stands_twice(struct builder *b, const struct conf_part *part, enum conf_kind kind,
    const char *name)
{
	const struct conf *conf = b->conf;

	if ((kind == CONF_KIND_RUNTIME && conf_runtime_by_name(conf, name)) ||
	    (kind == CONF_KIND_TENANT && conf_tenant(conf, name)) ||
	    (kind == CONF_KIND_FUNCTION && conf_function(conf, name))) {
		WRONG(b, part->line, "section [%s %s] stands already above; "
		    "put all of its keys there", conf_kinds[kind], name);
		return true;
	}
	return false;
}

/* Where a part's values go: one of the three is set, or none for [host]. */
struct target {
	unsigned scope;
	struct settings *settings;
	struct conf_runtime *runtime;
};

static bool
make_target(struct builder *b, enum conf_kind kind, const char *name,
    unsigned line, struct target *target)
{
	struct conf *conf = b->conf;
	struct conf_section *section;

	memset(target, 0, sizeof(*target));
	switch (kind) {
	case CONF_KIND_HOST:
		return true;
	case CONF_KIND_DEFAULTS:
		target->scope = SCOPE_DEFAULTS;
		target->settings = &conf->defaults;
		return true;
	case CONF_KIND_RUNTIME:
		target->runtime = add_runtime(b, name);
		return target->runtime != NULL;
	case CONF_KIND_TENANT:
		target->scope = SCOPE_TENANT;
		section = add_section(b, &conf->tenants, &conf->tenant_count,
		    name);
		break;
	case CONF_KIND_FUNCTION:
		target->scope = SCOPE_FUNCTION;
		section = add_section(b, &conf->functions_sections,
		    &conf->function_count, name);
		break;
	case CONF_KIND_NONE:
	default:
		return false;
	}
	if (section == NULL)
		return false;
	section->line = line;
	target->settings = &section->settings;
	return true;
}

static void
build_part(struct builder *b, const struct conf_part *part)
{
	struct target target;
	const char *name;
	enum conf_kind kind = conf_part_kind(part, &name);
	size_t i;

	if (kind == CONF_KIND_NONE) {
		unknown_part(b, part);
		return;
	}
	if (!part_name_ok(b, part, kind, name) ||
	    stands_twice(b, part, kind, name) ||
	    !make_target(b, kind, name, part->line, &target))
		return;
	for (i = 0; i < part->count; i++) {
		const struct conf_entry *entry = &part->entries[i];
		char problem[PROBLEM_MAX] = "";
		int error;

		if (target.runtime != NULL)
			error = conf_runtime_set(target.runtime, entry->key,
			    entry->value, problem, sizeof(problem));
		else if (target.settings != NULL)
			error = settings_set(target.settings, target.scope,
			    entry->key, entry->value, problem,
			    sizeof(problem));
		else
			error = conf_host_set(b->conf, entry->key,
			    entry->value, problem, sizeof(problem));
		if (error == -ENOMEM)
			b->error = error;
		else if (error != 0)
			WRONG(b, entry->line, "%s", problem);
	}
}

static struct conf *
new_conf(const char *path)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL)
		return NULL;
	conf->refs = 1;
	conf->log_level = LOG_INFO;
	conf->file = strdup(path);
	if (conf->file == NULL) {
		conf_unref(conf);
		return NULL;
	}
	return conf;
}

static int
build(struct conf *conf, const struct conf_scan *scan,
    struct conf_errors *errors)
{
	struct builder b = { .conf = conf, .scan = scan, .errors = errors };
	size_t i;

	for (i = 0; i < scan->count && b.error == 0; i++)
		build_part(&b, &scan->parts[i]);
	if (b.error == 0)
		b.error = conf_host_defaults(conf);
	if (b.error == 0)
		b.error = conf_check_whole(conf, scan, errors);
	return b.error;
}

/* What could be read, also beside errors; *names_run: its [host] has `run`. */
static struct conf *
read_what_is_there(int fd, const char *path, struct conf_errors *errors,
    bool *names_run)
{
	unsigned before = errors->count;
	struct conf_scan scan = { NULL, 0 };
	struct conf *conf = NULL;
	char *text = NULL;
	size_t n = 0;
	int error = conf_scan_read(fd, path, CONF_FILE_MAX, &text, &n, errors);

	if (error != 0)
		return NULL;
	error = conf_scan_text(path, text, n, SECTIONS, &scan, errors);
	if (error == 0)
		error = conf_scan_agree(fd, path, &scan, errors);
	if (error != -ENOMEM) {
		conf = new_conf(path);
		/* Also after an error, so that all of them are told. */
		error = conf != NULL ? build(conf, &scan, errors) : -ENOMEM;
	}
	if (error == -ENOMEM)
		conf_error(errors, path, 0, "no memory to read it");
	if (errors->count != before)
		conf_errors_sort(errors, path);
	*names_run = error != -ENOMEM &&
	    conf_scan_line(&scan, "host", "run") > 0;
	conf_scan_free(&scan);
	free(text);
	return conf;
}

struct conf *
conf_read(int fd, const char *path, struct conf_errors *errors)
{
	unsigned before = errors->count;
	bool names_run;
	struct conf *conf = read_what_is_there(fd, path, errors, &names_run);

	if (errors->count == before)
		return conf;
	conf_unref(conf);
	return NULL;
}

static int
open_named(const char *path, struct conf_errors *errors)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		conf_error(errors, path, 0, "cannot be opened: %s%s",
		    strerror(errno), errno == ENOENT ?
		    "; name the configuration with -c FILE" : "");
	return fd;
}

struct conf *
conf_load(const char *path, struct conf_errors *errors)
{
	CLEANUP_FD int fd = open_named(path, errors);

	return fd >= 0 ? conf_read(fd, path, errors) : NULL;
}

struct conf *
conf_load_running(const char *path, struct conf_errors *errors)
{
	CLEANUP_FD int fd = open_named(path, errors);
	bool names_run = false;
	struct conf *conf;

	if (fd < 0)
		return NULL;
	conf = read_what_is_there(fd, path, errors, &names_run);
	if (conf != NULL && conf->run != NULL &&
	    (errors->count == 0 || names_run))
		return conf;
	conf_unref(conf);
	return NULL;
}

static void
build_sidecar(const char *path, const struct conf_scan *scan,
    struct settings *out, struct conf_errors *errors)
{
	size_t i, j;

	for (i = 0; i < scan->count; i++) {
		const struct conf_part *part = &scan->parts[i];

		if (strcmp(part->name, "function") != 0) {
			conf_error(errors, path, part->line, "[%.60s] does "
			    "not belong here; a function's own file has one "
			    "section, [function]", part->name);
			continue;
		}
		for (j = 0; j < part->count; j++) {
			const struct conf_entry *entry = &part->entries[j];
			char problem[PROBLEM_MAX] = "no memory";

			if (settings_set(out, SCOPE_SIDECAR, entry->key,
			    entry->value, problem, sizeof(problem)) != 0)
				conf_error(errors, path, entry->line, "%s",
				    problem);
		}
	}
}

static void
first_line(struct conf_errors *errors, char *out, size_t size)
{
	size_t n = buf_len(&errors->text);
	const char *text = (const char *)buf_head(&errors->text);
	const char *end = n > 0 ? memchr(text, '\n', n) : NULL;

	if (end == NULL)
		(void)snprintf(out, size, "no memory to read it");
	else
		(void)snprintf(out, size, "%.*s", (int)(end - text), text);
}

int
conf_read_sidecar(int fd, const char *path, struct settings *out,
    char *problem, size_t size)
{
	struct conf_errors errors = { .count = 0 };
	struct conf_scan scan = { NULL, 0 };
	char *text = NULL;
	size_t n = 0;
	int error = conf_scan_read(fd, path, CONF_SIDECAR_MAX, &text, &n,
	    &errors);

	memset(out, 0, sizeof(*out));
	if (error == 0) {
		error = conf_scan_text(path, text, n, SECTIONS, &scan,
		    &errors);
		if (error == 0)
			error = conf_scan_agree(fd, path, &scan, &errors);
		build_sidecar(path, &scan, out, &errors);
	}
	if (error == 0 && errors.count > 0)
		error = -EINVAL;
	if (error != 0) {
		settings_free(out);
		first_line(&errors, problem, size);
		error = error == -ENOMEM ? error : -EINVAL;
	}
	conf_scan_free(&scan);
	conf_errors_free(&errors);
	free(text);
	return error;
}
