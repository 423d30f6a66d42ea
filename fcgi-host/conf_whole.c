#include "fcgi-host/conf_whole.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
	const struct conf *conf;
	const struct conf_scan *scan;
	struct conf_errors *errors;
	int error; /* -ENOMEM */
};

#define WRONG(check, line, ...) \
	conf_error((check)->errors, (check)->conf->file, (line), __VA_ARGS__)

/* NULL: it has a bad name. */
static const struct settings *
settings_of(const struct check *c, enum conf_kind kind, const char *name)
{
	return kind == CONF_KIND_DEFAULTS ? &c->conf->defaults :
	    kind == CONF_KIND_TENANT ? conf_tenant(c->conf, name) :
	    conf_function(c->conf, name);
}

/* Whether one of two directories lies in the other, or both are one. */
static bool
is_entangled(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	const char *longer = n < m ? b : a;
	size_t least = n < m ? n : m;

	return strncmp(a, b, least) == 0 &&
	    (longer[least] == '\0' || longer[least] == '/' || least == 1);
}

/* What is in an image is shown to functions, and nothing in it may be one. */
static void
check_rootfs(struct check *c, const struct conf_part *part,
    const struct conf_runtime *runtime)
{
	const struct { const char *key, *path; } own[] = {
		{ "functions", c->conf->functions }, { "run", c->conf->run },
		{ "state", c->conf->state } };
	size_t i;

	for (i = 0; runtime->rootfs != NULL && i < 3; i++)
		if (own[i].path != NULL &&
		    is_entangled(runtime->rootfs, own[i].path))
			WRONG(c, conf_scan_line(c->scan, part->name, "rootfs"),
			    "rootfs: of %.80s and [host] %s = %.80s one is in "
			    "the other; give the image a directory of its own",
			    runtime->rootfs, own[i].key, own[i].path);
}

/*
 * The host's own: sockets that make whoever connects a visitor of every
 * function, all tenants' numbers and /data, the books and the log; and what
 * could be changed by whom it belongs to no longer.
 */
static void
check_bind_path(struct check *c, unsigned line, const struct conf_bind *bind)
{
	const struct { const char *key, *path; bool is_open; } own[] = {
		{ "run", c->conf->run, false },
		{ "state", c->conf->state, false },
		{ "accounting", c->conf->accounting, false },
		{ "chain_key", c->conf->chain_key, false },
		{ "log", c->conf->log, false },
		{ "function_logs", c->conf->function_logs, false },
		{ "functions", c->conf->functions, !bind->is_writable } };
	size_t i;

	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (!own[i].is_open && own[i].path != NULL &&
		    own[i].path[0] == '/' &&
		    is_entangled(bind->path, own[i].path))
			WRONG(c, line, "bind: %.80s%s would show [host] %s = "
			    "%.80s, which is the host's alone; name something "
			    "beside it", bind->path,
			    bind->is_writable ? ":rw" : "", own[i].key,
			    own[i].path);
}

static void
check_bind(struct check *c, const struct conf_part *part, const char *bind)
{
	unsigned line = conf_scan_line(c->scan, part->name, "bind");
	struct conf_bind binds[CONF_BIND_MAX];
	size_t i, count = conf_bind_words(bind, binds);

	for (i = 0; i < count; i++)
		check_bind_path(c, line, &binds[i]);
	conf_binds_free(binds, count);
}

static void
check_section_bind(struct check *c, const struct conf_part *part,
    enum conf_kind kind, const char *name)
{
	const struct settings *own = settings_of(c, kind, name);

	if (own != NULL)
		check_bind(c, part, own->bind);
}

static bool
is_named_otherwise(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->runtime_count; i++)
		if (conf->runtimes[i].otherwise != NULL &&
		    strcmp(conf->runtimes[i].otherwise, name) == 0)
			return true;
	return false;
}

/* One that is asked again what it is could go round for ever. */
static void
check_otherwise(struct check *c, const struct conf_part *part,
    const struct conf_runtime *runtime)
{
	unsigned line = conf_scan_line(c->scan, part->name, "otherwise");
	const char *name = runtime->otherwise;
	const struct conf_runtime *other;

	if (name == NULL)
		return;
	other = conf_runtime_by_name(c->conf, name);
	if (other == NULL)
		WRONG(c, line, "otherwise: there is no [runtime %.60s]; add "
		    "that section", name);
	else if (other == runtime || other->otherwise != NULL)
		WRONG(c, line, "otherwise: [runtime %.60s] must be another "
		    "one, without otherwise of its own", name);
	else if (other->build != NULL)
		WRONG(c, line, "otherwise: [runtime %.60s] has a build, and "
		    "is to have made a program before it serves; name one "
		    "without", name);
	if (runtime->check == NULL)
		WRONG(c, line, "otherwise: without check nobody says which "
		    "files are meant; write check = COMMAND, which exits "
		    "with 2 for them");
}

/* It says by its end what a check would. */
static void
check_build(struct check *c, const struct conf_part *part,
    const struct conf_runtime *runtime)
{
	unsigned line = conf_scan_line(c->scan, part->name, "build");

	if (runtime->build == NULL)
		return;
	if (runtime->check != NULL || runtime->otherwise != NULL)
		WRONG(c, line, "build: it is the check of its files, and by "
		    "one runtime; take check and otherwise out");
}

static void
check_runtime(struct check *c, const struct conf_part *part,
    const struct conf_runtime *runtime)
{
	size_t i;

	if (conf_scan_line(c->scan, part->name, "command") == 0)
		WRONG(c, part->line, "[%.60s] has no command; write command = "
		    "/path/of/program", part->name);
	if (conf_scan_line(c->scan, part->name, "extensions") == 0 &&
	    !is_named_otherwise(c->conf, runtime->name))
		WRONG(c, part->line, "[%.60s] has no extensions; write "
		    "extensions = py", part->name);
	if (!runtime->is_fastcgi && runtime->spare > 0)
		WRONG(c, conf_scan_line(c->scan, part->name, "spare"),
		    "spare: a program of protocol = cgi is started by its "
		    "request and cannot wait; take the line out");
	check_otherwise(c, part, runtime);
	check_build(c, part, runtime);
	check_rootfs(c, part, runtime);
	check_bind(c, part, runtime->bind);
	for (i = 0; runtime->extensions != NULL &&
	    runtime->extensions[i] != NULL; i++) {
		const struct conf_runtime *other = conf_runtime_by_extension(
		    c->conf, runtime->extensions[i]);

		if (other != runtime)
			WRONG(c, conf_scan_line(c->scan, part->name,
			    "extensions"), "extensions: [runtime %s] has "
			    "\"%s\" already; take it out of one of them",
			    other->name, runtime->extensions[i]);
	}
}

/* "runtime = NAME" must have its section. */
static void
check_runtime_name(struct check *c, const struct conf_part *part)
{
	size_t i, count = c->conf->runtime_count;
	const char **names;

	for (i = 0; i < part->count; i++) {
		const struct conf_entry *entry = &part->entries[i];
		const char *near;
		size_t j;

		if (strcmp(entry->key, "runtime") != 0 ||
		    conf_runtime_by_name(c->conf, entry->value) != NULL)
			continue;
		names = calloc(count + 1, sizeof(*names));
		if (names == NULL) {
			c->error = -ENOMEM;
			return;
		}
		for (j = 0; j < count; j++)
			names[j] = c->conf->runtimes[j].name;
		near = settings_nearest(entry->value, names, count);
		WRONG(c, entry->line, "runtime: there is no [runtime %.60s]; "
		    "%s%s", entry->value, near != NULL ? "do you mean " :
		    "add that section", near != NULL ? near : "");
		free(names);
	}
}

/* The numbers of whoever no further section speaks of. */
static const struct settings *
limits_of(const struct check *c, enum conf_kind kind, const char *name,
    struct limits *limits)
{
	char tenant[CTL_NAME_MAX + 1] = "", lowered[8];

	if (kind == CONF_KIND_TENANT)
		snprintf(tenant, sizeof(tenant), "%s", name);
	else if (kind == CONF_KIND_FUNCTION)
		conf_tenant_of(name, tenant);
	conf_limits(c->conf, tenant, kind == CONF_KIND_FUNCTION ? name : "",
	    NULL, limits, lowered, sizeof(lowered));
	return settings_of(c, kind, name);
}

/* More instances are to be kept than there may be.  Said of the section that
 * makes it so, at the first of these keys that stands there. */
static void
check_min_instances(struct check *c, const struct conf_part *part,
    enum conf_kind kind, const char *name)
{
	static const struct { enum limit_key limit; const char *key; } keys[] = {
		{ LIMIT_MIN_INSTANCES, "min_instances" },
		{ LIMIT_INSTANCES, "instances" },
		{ LIMIT_MAX_INSTANCES, "max_instances" },
	};
	struct limits limits;
	const struct settings *own = limits_of(c, kind, name, &limits);
	uint64_t least = limits.value[LIMIT_MIN_INSTANCES];
	uint64_t most = limits.value[LIMIT_INSTANCES];
	const char *what = "instances";
	size_t i = 0;

	if (limits.value[LIMIT_MAX_INSTANCES] > 0 &&
	    limits.value[LIMIT_MAX_INSTANCES] < most) {
		most = limits.value[LIMIT_MAX_INSTANCES];
		what = "the tenant's max_instances";
	}
	if (c->conf->max_instances < most) {
		most = c->conf->max_instances;
		what = "[host] max_instances";
	}
	while (i < 3 && (own == NULL ||
	    (own->has_limits & UINT64_C(1) << keys[i].limit) == 0))
		i++;
	if (least > most && i < 3)
		WRONG(c, conf_scan_line(c->scan, part->name, keys[i].key),
		    "%s: min_instances keeps %" PRIu64 " here, and %s allows %" PRIu64
		    "; lower the one or raise the other", keys[i].key, least,
		    what, most);
}

/* A ceiling of one instance, and the one of its tenant. */
struct pair {
	enum limit_key one, all;
	const char *one_key, *all_key;
	enum { AS_SIZE, AS_COUNT, AS_CORES } as;
};

static const struct pair pairs[] = {
	{ LIMIT_MEMORY_BYTES, LIMIT_MAX_MEMORY_BYTES, "memory", "max_memory",
	    AS_SIZE },
	{ LIMIT_PROCESSES, LIMIT_MAX_PROCESSES, "processes", "max_processes",
	    AS_COUNT },
	{ LIMIT_CPU_MILLI, LIMIT_MAX_CPU_MILLI, "cpu", "max_cpu", AS_CORES },
};

static const char *
pair_text(const struct pair *pair, uint64_t value, char *out, size_t size)
{
	if (pair->as == AS_SIZE)
		return settings_size_text(value, out, size);
	if (pair->as == AS_CORES)
		snprintf(out, size, "%g", (double)value / 1000);
	else
		snprintf(out, size, "%" PRIu64, value);
	return out;
}

/* One instance may have more than its whole tenant.  Said as above. */
static void
check_pair(struct check *c, const struct conf_part *part, enum conf_kind kind,
    const char *name, const struct pair *pair)
{
	struct limits limits;
	const struct settings *own = limits_of(c, kind, name, &limits);
	uint64_t one = limits.value[pair->one], all = limits.value[pair->all];
	uint64_t has = own == NULL ? 0 : own->has_limits;
	const char *key = has & UINT64_C(1) << pair->one ? pair->one_key :
	    has & UINT64_C(1) << pair->all ? pair->all_key : NULL;
	char one_text[32], all_text[32];

	if (all == 0 || one <= all || key == NULL)
		return;
	WRONG(c, conf_scan_line(c->scan, part->name, key), "%s: %s gives one "
	    "instance %s here, and %s its whole tenant %s; lower the one or "
	    "raise the other", key, pair->one_key,
	    pair_text(pair, one, one_text, sizeof(one_text)), pair->all_key,
	    pair_text(pair, all, all_text, sizeof(all_text)));
}

/* `network = egress` has a way out, here or above. */
static void
check_egress(struct check *c, const struct conf_part *part,
    enum conf_kind kind, const char *name)
{
	char tenant[CTL_NAME_MAX + 1] = "";
	const char *function = kind == CONF_KIND_FUNCTION ? name : "";
	unsigned line = conf_scan_line(c->scan, part->name, "network");

	if (kind == CONF_KIND_TENANT)
		snprintf(tenant, sizeof(tenant), "%s", name);
	else if (kind == CONF_KIND_FUNCTION)
		conf_tenant_of(name, tenant);
	if (line != 0 && conf_network(c->conf, tenant, function) ==
	    NETWORK_EGRESS && conf_egress(c->conf, tenant, function) == NULL)
		WRONG(c, line, "network: egress needs a network namespace; "
		    "make one by fcgi-host-egress up, and add egress = "
		    "/run/netns/fcgi-host");
}

/* A book has one currency, and without one there is nothing to count by. */
static void
check_currency(struct check *c, const struct conf_part *part,
    enum conf_kind kind, const char *name)
{
	const struct settings *s = settings_of(c, kind, name);
	const char *currency = conf_currency(c->conf), *key = "budget_day";
	unsigned line;

	if (s == NULL || s->currency[0] == '\0')
		return;
	if (s->limits.value[LIMIT_BUDGET_DAY_MONEY] == 0)
		key = "budget_month";
	line = conf_scan_line(c->scan, part->name, key);
	if (c->conf->prices == NULL)
		WRONG(c, line, "%s: what is used in %s is not known without a "
		    "price book; name one: prices = FILE in [host]", key,
		    s->currency);
	else if (strcmp(s->currency, currency) != 0)
		WRONG(c, line, "%s: %s here and %s in another section; a "
		    "price book has one currency", key, s->currency, currency);
}

static void
check_part(struct check *c, const struct conf_part *part)
{
	const struct conf_runtime *runtime;
	const char *name;
	enum conf_kind kind = conf_part_kind(part, &name);

	switch (kind) {
	case CONF_KIND_RUNTIME:
		runtime = conf_runtime_by_name(c->conf, name);
		if (runtime != NULL)
			check_runtime(c, part, runtime);
		break;
	case CONF_KIND_DEFAULTS:
	case CONF_KIND_TENANT:
	case CONF_KIND_FUNCTION:
		check_runtime_name(c, part);
		check_min_instances(c, part, kind, name);
		check_section_bind(c, part, kind, name);
		check_egress(c, part, kind, name);
		check_currency(c, part, kind, name);
		for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
			check_pair(c, part, kind, name, &pairs[i]);
		break;
	case CONF_KIND_HOST:
	case CONF_KIND_NONE:
	default:
		break;
	}
}

/* A folder of logs would be a tenant, and a tenant's folder is no place for what is
 * root's alone. */
static void
check_function_logs_place(struct check *c)
{
	const struct { const char *key, *path; } own[] = {
		{ "functions", c->conf->functions }, { "run", c->conf->run } };
	size_t i;

	for (i = 0; c->conf->function_logs != NULL && i < 2; i++)
		if (is_entangled(c->conf->function_logs, own[i].path))
			WRONG(c, conf_scan_line(c->scan, "host",
			    "function_logs"), "function_logs: of %.80s and %s "
			    "= %.80s one is in the other; give the logs a "
			    "directory of their own", c->conf->function_logs,
			    own[i].key, own[i].path);
}

/* What a tenant's logs may take has room for one. */
static void
check_function_logs(struct check *c)
{
	const char *key = "function_log_total";
	unsigned line = conf_scan_line(c->scan, "host", key);
	char size[32], total[32];

	check_function_logs_place(c);
	if (c->conf->function_log_bytes <= c->conf->function_log_total / 2)
		return;
	if (line == 0) {
		key = "function_log_size";
		line = conf_scan_line(c->scan, "host", key);
	}
	WRONG(c, line, "%s: one log may have %s here, and all of a tenant "
	    "%s, which is not twice that; lower the one or raise the other",
	    key, settings_size_text(c->conf->function_log_bytes, size,
	    sizeof(size)), settings_size_text(c->conf->function_log_total,
	    total, sizeof(total)));
}

int
conf_check_whole(const struct conf *conf, const struct conf_scan *scan,
    struct conf_errors *errors)
{
	struct check c = { .conf = conf, .scan = scan, .errors = errors };
	size_t i;

	for (i = 0; i < scan->count && c.error == 0; i++)
		check_part(&c, &scan->parts[i]);
	for (i = 0; i < conf->listen_count; i++)
		if (conf->listen[i][0] != '/' && !conf->allow_tcp)
			WRONG(&c, conf_scan_line(scan, "host", "listen"),
			    "listen: whoever reaches %.80s can run every "
			    "function; use a socket's path, or add allow_tcp "
			    "= yes when only the web server reaches it",
			    conf->listen[i]);
	check_function_logs(&c);
	return c.error;
}
