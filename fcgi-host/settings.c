#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cgi_name.h"
#include "fcgi-host/settings.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define SECOND_MS UINT64_C(1000)
#define HOUR_MS (3600 * SECOND_MS)
#define DAY_MS (24 * HOUR_MS)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define AMOUNT_MAX (UINT64_C(1) << 62) /* amounts_parse gives less */
#define ENV_MAX 32768 /* bytes of one section's env */

enum unit {
	UNIT_DURATION, UNIT_SIZE, UNIT_COUNT, UNIT_CORES, UNIT_BOOL,
	UNIT_PERCENT, UNIT_STATUS,
	UNIT_AMOUNTS /* of one key for each enum amount_unit, in its order */
};

/* One number: its bounds, and whether 0 stands for "none". */
struct number_key {
	const char *name;
	enum unit unit;
	uint64_t builtin, min, max;
	bool zero_is_none;
	bool is_tenants; /* not of one function */
	bool is_admins;  /* of a function too, but no sidecar can say it */
	bool is_restraint; /* the lesser number asks for more */
	/* of the tenant as a whole, or of the function: never handed down */
	bool is_own;
};

static const struct number_key numbers[LIMIT_COUNT] = {
	[LIMIT_IDLE_MS] = { "idle", UNIT_DURATION, 60 * SECOND_MS, 0,
	    7 * DAY_MS, false },
	[LIMIT_TIMEOUT_MS] = { "timeout", UNIT_DURATION, 30 * SECOND_MS, 10,
	    7 * DAY_MS, true },
	[LIMIT_STALL_TIMEOUT_MS] = { "stall_timeout", UNIT_DURATION, 0, 10,
	    7 * DAY_MS, true },
	[LIMIT_MEMORY_BYTES] = { "memory", UNIT_SIZE, 128 * MIB, 4 * MIB,
	    1024 * GIB, false },
	[LIMIT_CPU_MILLI] = { "cpu", UNIT_CORES, 0, 10, 1024 * 1000, true },
	[LIMIT_PROCESSES] = { "processes", UNIT_COUNT, 32, 2, 32768, false },
	[LIMIT_TMP_BYTES] = { "tmp_size", UNIT_SIZE, 16 * MIB, 64 * 1024,
	    64 * GIB, false },
	[LIMIT_INSTANCES] = { "instances", UNIT_COUNT, 4, 1, 1024, false },
	[LIMIT_MIN_INSTANCES] = { "min_instances", UNIT_COUNT, 0, 0, 1024,
	    false },
	[LIMIT_MAX_INSTANCES] = { "max_instances", UNIT_COUNT, 0, 1, 8192,
	    true, .is_tenants = true },
	[LIMIT_MAX_MEMORY_BYTES] = { "max_memory", UNIT_SIZE, 0, 4 * MIB,
	    16384 * GIB, true, .is_tenants = true },
	[LIMIT_MAX_PROCESSES] = { "max_processes", UNIT_COUNT, 0, 2, 4194304,
	    true, .is_tenants = true },
	[LIMIT_MAX_CPU_MILLI] = { "max_cpu", UNIT_CORES, 0, 10, 1024 * 1000,
	    true, .is_tenants = true },
	[LIMIT_MAX_REQUESTS] = { "max_requests", UNIT_COUNT, 0, 1, 1000000000,
	    true },
	[LIMIT_QUEUE] = { "queue", UNIT_COUNT, 64, 0, 65536, false },
	[LIMIT_QUEUE_TIMEOUT_MS] = { "queue_timeout", UNIT_DURATION,
	    10 * SECOND_MS, 0, HOUR_MS, false },
	[LIMIT_BODY_MAX] = { "body_max", UNIT_SIZE, 16 * MIB, 0, 64 * GIB,
	    false },
	[LIMIT_HEADER_MAX] = { "header_max", UNIT_SIZE, 64 * 1024, 1024, MIB,
	    false },
	[LIMIT_DATA] = { "data", UNIT_BOOL, 1, 0, 1, false },
	[LIMIT_FREEZE_IDLE] = { "freeze_idle", UNIT_BOOL, 0, 0, 1, false,
	    .is_restraint = true },
	[LIMIT_SPARE] = { "spare", UNIT_BOOL, 1, 0, 1, false },
	[LIMIT_ABORT_GRACE_MS] = { "abort_grace", UNIT_DURATION,
	    2 * SECOND_MS, 0, 7 * DAY_MS, false },
	[LIMIT_BUDGET_DAY_EXECUTIONS] = { "budget_day", UNIT_AMOUNTS, 0, 1,
	    AMOUNT_MAX, true, .is_own = true },
	[LIMIT_BUDGET_DAY_MIB_MS] = { "budget_day", UNIT_AMOUNTS, 0, 1,
	    AMOUNT_MAX, true, .is_own = true },
	[LIMIT_BUDGET_DAY_MONEY] = { "budget_day", UNIT_AMOUNTS, 0, 1,
	    AMOUNT_MAX, true, .is_own = true, .is_admins = true },
	[LIMIT_BUDGET_MONTH_EXECUTIONS] = { "budget_month", UNIT_AMOUNTS, 0, 1,
	    AMOUNT_MAX, true, .is_own = true },
	[LIMIT_BUDGET_MONTH_MIB_MS] = { "budget_month", UNIT_AMOUNTS, 0, 1,
	    AMOUNT_MAX, true, .is_own = true },
	[LIMIT_BUDGET_MONTH_MONEY] = { "budget_month", UNIT_AMOUNTS, 0, 1,
	    AMOUNT_MAX, true, .is_own = true, .is_admins = true },
	[LIMIT_BUDGET_WARN_PERCENT] = { "budget_warn", UNIT_PERCENT, 80, 1,
	    100, false },
	[LIMIT_BUDGET_STATUS] = { "budget_status", UNIT_STATUS, 429, 402, 429,
	    false },
};

static const char *const networks[] = { [NETWORK_NONE] = "none",
	[NETWORK_LOOPBACK] = "loopback", [NETWORK_EGRESS] = "egress" };

static int
set_runtime(struct settings *s, const char *value, char *problem, size_t size)
{
	size_t n = strlen(value);

	if (n > CTL_RUNTIME_MAX || !ctl_segment_ok(value, n))
		return settings_problem(problem, size, "runtime: \"%.60s\" is "
		    "no name; write the NAME of a [runtime NAME] section",
		    value);
	return settings_put_text(&s->runtime, value);
}

static int
set_network(struct settings *s, const char *value, char *problem, size_t size)
{
	size_t i = 0;

	while (i < COUNT(networks) && strcmp(value, networks[i]) != 0)
		i++;
	if (i == COUNT(networks))
		return settings_problem(problem, size, "network: \"%.60s\" is "
		    "not known; write none, loopback or egress", value);
	s->has_network = true;
	s->network = (enum settings_network)i;
	return 0;
}

static int
set_egress(struct settings *s, const char *value, char *problem, size_t size)
{
	if (!settings_path_ok(value))
		return settings_problem(problem, size, "egress: \"%.60s\" is "
		    "no absolute path; write that of a network namespace, as "
		    "/run/netns/fcgi-host", value);
	return settings_put_text(&s->egress, value);
}

static int
set_bind(struct settings *s, const char *value, char *problem, size_t size)
{
	int error = settings_check_bind(value, problem, size);

	return error != 0 ? error : settings_put_text(&s->bind, value);
}

/* The administrator's may lie anywhere; it is opened by a process with rights. */
static int
set_env_path(struct settings *s, const char *value, char *problem, size_t size)
{
	if (!settings_path_ok(value))
		return settings_problem(problem, size, "env_file: \"%.60s\" is "
		    "no absolute path; write one as /etc/fcgi-host/alice.env",
		    value);
	return settings_put_text(&s->env_file, value);
}

/* A sidecar's lies beside the function's own file, where changes are seen. */
static int
set_env_name(struct settings *s, const char *value, char *problem, size_t size)
{
	if (!ctl_env_file_ok(value))
		return settings_problem(problem, size, "env_file: \"%.60s\" is "
		    "no name of a file beside the function's; write .env, "
		    "or letters, digits, '.', '_' and '-' before .env, "
		    "without a folder", value);
	return settings_put_text(&s->env_file, value);
}

static int
set_pass_params(struct settings *s, const char *value, char *problem,
    size_t size)
{
	int error = settings_check_params(value, problem, size);

	return error != 0 ? error : settings_put_text(&s->pass_params, value);
}

static int
set_user(struct settings *s, const char *value, char *problem, size_t size)
{
	if (!settings_account_ok(value))
		return settings_problem(problem, size, "user: \"%.60s\" is no "
		    "name of an account; write one that `getent passwd` knows",
		    value);
	if (strcmp(value, "root") == 0)
		return settings_problem(problem, size, "user: functions do "
		    "not run as root; name an account of the tenant's own");
	return settings_put_text(&s->user, value);
}

/* A key that is a text. */
struct text_key {
	const char *name;
	unsigned scope;
	int (*set)(struct settings *s, const char *value, char *problem,
	    size_t size);
};

static const struct text_key texts[] = {
	{ "runtime", SCOPE_ALL, set_runtime },
	{ "network", SCOPE_ADMIN, set_network },
	{ "egress", SCOPE_ADMIN, set_egress },
	{ "bind", SCOPE_ADMIN, set_bind },
	{ "pass_params", SCOPE_ALL, set_pass_params },
	{ "user", SCOPE_TENANT, set_user },
	{ "env_file", SCOPE_TENANT | SCOPE_FUNCTION, set_env_path },
	{ "env_file", SCOPE_SIDECAR, set_env_name },
};

void
settings_free(struct settings *settings)
{
	free(settings->egress);
	free(settings->runtime);
	free(settings->bind);
	free(settings->pass_params);
	free(settings->user);
	free(settings->env_file);
	buf_free(&settings->env);
	memset(settings, 0, sizeof(*settings));
}

static int
parse_number(const struct number_key *key, const char *value, uint64_t *number)
{
	bool is_yes = false;
	int error;

	switch (key->unit) {
	case UNIT_DURATION:
		return settings_parse_duration_ms(value, number);
	case UNIT_SIZE:
		return settings_parse_size(value, number);
	case UNIT_CORES:
		return settings_parse_milli(value, number);
	case UNIT_BOOL:
		error = settings_parse_bool(value, &is_yes);
		*number = is_yes ? 1 : 0;
		return error;
	case UNIT_COUNT:
		return settings_parse_count(value, number);
	case UNIT_PERCENT:
		return settings_parse_percent(value, number);
	case UNIT_STATUS:
		error = settings_parse_count(value, number);
		return error == 0 && *number != 402 && *number != 429 ?
		    -EINVAL : error;
	case UNIT_AMOUNTS:
		break;
	}
	return -EINVAL;
}

static int
bad_number(const struct number_key *key, const char *value, char *problem,
    size_t size)
{
	static const char *const mends[] = {
		[UNIT_DURATION] = "a duration; write a number with its unit: "
		    "500ms, 30s, 5m, 2h, 1d",
		[UNIT_SIZE] = "a size; write 128M, 1G or a number of bytes",
		[UNIT_COUNT] = "a whole number",
		[UNIT_CORES] = "a number of cores; write 2, 0.5, or 0 for no "
		    "ceiling",
		[UNIT_BOOL] = "yes or no",
		[UNIT_PERCENT] = "a share; write 80%",
		[UNIT_STATUS] = "a status for who is refused; write 429 or "
		    "402",
		[UNIT_AMOUNTS] = "",
	};

	return settings_problem(problem, size, "%s: \"%.60s\" is not %s",
	    key->name, value, mends[key->unit]);
}

static void
number_text(enum unit unit, uint64_t value, char *out, size_t size)
{
	if (unit == UNIT_DURATION)
		settings_duration_text(value, out, size);
	else if (unit == UNIT_SIZE)
		settings_size_text(value, out, size);
	else if (unit == UNIT_CORES)
		(void)snprintf(out, size, "%g", (double)value / 1000);
	else
		(void)snprintf(out, size, "%llu%s", (unsigned long long)value,
		    unit == UNIT_PERCENT ? "%" : "");
}

/* The key as a whole: what it does not name has no budget. */
static int
set_amounts(struct settings *s, unsigned scope, size_t first,
    const char *value, char *problem, size_t size)
{
	const char *key = numbers[first].name;
	struct amounts amounts;
	int error = amounts_parse(key, value, &amounts, problem, size);

	if (error == 0 && amounts.currency[0] != '\0') {
		if (scope == SCOPE_SIDECAR)
			return settings_problem(problem, size, "%s: only the "
			    "administrator's file may set one in money; write "
			    "executions or GiB-s", key);
		if (s->currency[0] != '\0' &&
		    strcmp(s->currency, amounts.currency) != 0)
			return settings_problem(problem, size, "%s: %s here "
			    "and %s before; a price book has one currency",
			    key, amounts.currency, s->currency);
		memcpy(s->currency, amounts.currency, sizeof(s->currency));
	}
	for (size_t i = 0; i < AMOUNT_COUNT && error == 0; i++) {
		s->limits.value[first + i] = amounts.of[i];
		s->has_limits |= UINT64_C(1) << (first + i);
	}
	return error;
}

static int
set_number(struct settings *s, unsigned scope, size_t i, const char *value,
    char *problem, size_t size)
{
	const struct number_key *key = &numbers[i];
	uint64_t number = 0;

	if (key->unit == UNIT_AMOUNTS)
		return set_amounts(s, scope, i, value, problem, size);
	if (parse_number(key, value, &number) != 0)
		return bad_number(key, value, problem, size);
	if ((number < key->min || number > key->max) &&
	    !(number == 0 && key->zero_is_none)) {
		char low[32], high[32];

		number_text(key->unit, key->min, low, sizeof(low));
		number_text(key->unit, key->max, high, sizeof(high));
		return settings_problem(problem, size, "%s: %.60s is out of "
		    "bounds; write %s to %s%s", key->name, value, low, high,
		    key->zero_is_none ? ", or 0 for none" : "");
	}
	s->limits.value[i] = number;
	s->has_limits |= UINT64_C(1) << i;
	return 0;
}

int
settings_set_env(struct buf *env, const char *key, const char *value,
    char *problem, size_t size)
{
	char name[128];
	size_t n = strlen(key), i;
	int error;

	if (n == 0 || n >= sizeof(name))
		return settings_problem(problem, size, "env.%.60s: the name "
		    "is empty or longer than %zu", key, sizeof(name) - 1);
	for (i = 0; i <= n; i++)
		name[i] = (char)toupper((unsigned char)key[i]);
	if (!cgi_env_name_ok(name))
		return settings_problem(problem, size, "env.%.60s: a function "
		    "cannot be given the variable %.60s; use a name of A-Z, "
		    "0-9 and _ that neither the system nor CGI uses", key,
		    name);
	if (buf_len(env) + n + strlen(value) + 2 > ENV_MAX)
		return settings_problem(problem, size, "env.%.60s: the env of "
		    "one section is longer than %d bytes; put the data into a "
		    "file", key, ENV_MAX);
	error = buf_addf(env, "%s=%s", name, value);
	return error != 0 ? error : buf_add(env, "", 1);
}

static int
refuse_scope(const char *key, unsigned scope, char *problem, size_t size)
{
	(void)settings_problem(problem, size, "%s: %s", key,
	    scope == SCOPE_SIDECAR ? "only the administrator's file may set "
	    "this; take the line out and ask the administrator" :
	    strcmp(key, "user") == 0 ?
	    "does not belong into this section; it stands in [tenant NAME]" :
	    strcmp(key, "env_file") == 0 ?
	    "does not belong into this section, which is every tenant's; it "
	    "stands in [tenant NAME], [function NAME] or a sidecar" :
	    "does not belong into this section; it stands in [defaults] or "
	    "[tenant NAME]");
	return -EPERM;
}

static int
unknown_key(const char *key, char *problem, size_t size)
{
	size_t count;
	const char *const *keys = settings_keys(&count);
	const char *near = settings_nearest(key, keys, count);

	(void)settings_problem(problem, size, "unknown key \"%.60s\"; %s%s",
	    key, near != NULL ? "do you mean " :
	    "the manual page fcgi-host.ini(5) lists the keys",
	    near != NULL ? near : "");
	return -ENOENT;
}

int
settings_set(struct settings *settings, unsigned scope, const char *key,
    const char *value, char *problem, size_t size)
{
	bool is_known = false;
	size_t i;

	if (strncmp(key, "env.", 4) == 0)
		return settings_set_env(&settings->env, key + 4, value,
		    problem, size);
	for (i = 0; i < LIMIT_COUNT; i++)
		if (strcmp(key, numbers[i].name) == 0)
			return numbers[i].is_tenants && (scope &
			    (SCOPE_FUNCTION | SCOPE_SIDECAR)) != 0 ?
			    refuse_scope(key, scope, problem, size) :
			    set_number(settings, scope, i, value, problem,
			    size);
	for (i = 0; i < COUNT(texts); i++) {
		if (strcmp(key, texts[i].name) != 0)
			continue;
		if ((texts[i].scope & scope) != 0)
			return texts[i].set(settings, value, problem, size);
		is_known = true;
	}
	if (is_known)
		return refuse_scope(key, scope, problem, size);
	return unknown_key(key, problem, size);
}

void
settings_defaults(struct limits *limits)
{
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		limits->value[i] = numbers[i].builtin;
}

void
settings_apply(struct limits *base, const struct settings *settings)
{
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		if ((settings->has_limits & (UINT64_C(1) << i)) != 0)
			base->value[i] = settings->limits.value[i];
}

/* "None" is more than any number. */
static bool
exceeds(size_t i, uint64_t value, uint64_t ceiling)
{
	if (numbers[i].is_restraint)
		return value < ceiling;
	if (numbers[i].zero_is_none) {
		if (ceiling == 0)
			return false;
		if (value == 0)
			return true;
	}
	return value > ceiling;
}

size_t
settings_clamp(struct limits *limits, const struct limits *ceiling,
    char *lowered, size_t size)
{
	size_t i, count = 0, at = 0;

	if (size > 0)
		lowered[0] = '\0';
	for (i = 0; i < LIMIT_COUNT; i++) {
		size_t n = strlen(numbers[i].name);

		if (!exceeds(i, limits->value[i], ceiling->value[i]))
			continue;
		limits->value[i] = ceiling->value[i];
		count++;
		/* a key of several numbers is named once */
		if (at + n + 2 > size || (i > 0 && at >= n &&
		    strcmp(lowered + at - n, numbers[i].name) == 0))
			continue;
		if (at > 0)
			lowered[at++] = ' ';
		memcpy(lowered + at, numbers[i].name, n + 1);
		at += n;
	}
	return count;
}

/* What a file can say: the parser refuses all else. */
static uint64_t
bound(size_t i, uint64_t value)
{
	if (numbers[i].zero_is_none && value == 0)
		return 0;
	if (value < numbers[i].min)
		return numbers[i].min;
	return value > numbers[i].max ? numbers[i].max : value;
}

void
settings_admit(struct limits *limits, const struct limits *ceiling)
{
	char lowered[8];
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		limits->value[i] = numbers[i].is_tenants ||
		    numbers[i].is_admins ? ceiling->value[i] :
		    bound(i, limits->value[i]);
	(void)settings_clamp(limits, ceiling, lowered, sizeof(lowered));
	if (limits->value[LIMIT_MIN_INSTANCES] > limits->value[LIMIT_INSTANCES])
		limits->value[LIMIT_MIN_INSTANCES] =
		    limits->value[LIMIT_INSTANCES];
}

void
settings_raise(struct limits *limits, const struct limits *other)
{
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		if (exceeds(i, other->value[i], limits->value[i]))
			limits->value[i] = other->value[i];
}

void
settings_own(struct limits *limits, const struct settings *own)
{
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		if (numbers[i].is_own)
			limits->value[i] = own != NULL && (own->has_limits &
			    (UINT64_C(1) << i)) != 0 ?
			    own->limits.value[i] : 0;
}

void
settings_own_least(struct limits *limits, const struct limits *other)
{
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		if (numbers[i].is_own &&
		    exceeds(i, limits->value[i], other->value[i]))
			limits->value[i] = other->value[i];
}

const char *const *
settings_keys(size_t *count)
{
	/* Written out, so that no table is built at run time; the unit test
	 * sets every one of them. */
	static const char *const keys[] = { "idle", "timeout",
		"stall_timeout", "memory", "cpu", "processes", "tmp_size",
		"instances", "min_instances", "max_instances", "max_memory",
		"max_processes", "max_cpu", "max_requests", "queue",
		"queue_timeout",
		"body_max", "header_max", "data", "freeze_idle", "abort_grace",
		"budget_day", "budget_month", "budget_warn", "budget_status",
		"runtime",
		"network", "egress", "bind", "pass_params", "user", "env_file" };

	*count = COUNT(keys);
	return keys;
}
