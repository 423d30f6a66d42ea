#include "sandbox/tool_options.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One past the tenants' default range: nobody's. */
#define UID_DEFAULT 1900065536u
#define MIB (UINT64_C(1) << 20)
#define LONG_BASE 256 /* beyond every letter */

/* A setter takes the argument; false: it cannot be right. */
struct option_rule {
	char letter; /* 0: none */
	const char *name, *argument; /* NULL: it takes none */
	const char *help;
	bool (*set)(struct tool_options *options, const char *text);
	const char *right; /* what would be right */
};

void
tool_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)fputs(TOOL_NAME ": ", stderr);
	(void)vfprintf(stderr, fmt, args);
	(void)fputc('\n', stderr);
	va_end(args);
}

/* ------------------------------------------------------------------ setters */

/* A whole number of decimal digits and then `rest`; false: it is none. */
static bool
take_number(const char *text, uint64_t most, uint64_t *value,
    const char **rest)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	*rest = end;
	return errno == 0 && *value <= most;
}

static bool
take_bytes(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMG";
	const char *rest, *unit;
	uint64_t value;

	if (!take_number(text, UINT64_C(1) << 20, &value, &rest) ||
	    rest[0] == '\0' || rest[1] != '\0')
		return false;
	unit = strchr(units, rest[0]);
	if (unit == NULL || value == 0)
		return false;
	*bytes = value << (10 * (unit - units + 1));
	return true;
}

static bool
set_function(struct tool_options *options, const char *text)
{
	options->function = text;
	return text[0] != '\0';
}

static bool
set_data(struct tool_options *options, const char *text)
{
	options->data = text;
	return text[0] != '\0';
}

static bool
set_rootfs(struct tool_options *options, const char *text)
{
	options->rootfs = text;
	return text[0] == '/';
}

static bool
set_cgroup(struct tool_options *options, const char *text)
{
	options->cgroup = text;
	return text[0] == '/';
}

static bool
set_bind(struct tool_options *options, const char *text)
{
	struct tool_bind *bind = &options->binds[options->bind_count];
	const char *colon = strrchr(text, ':');
	bool is_writable = colon != NULL && strcmp(colon, ":rw") == 0;
	size_t n = is_writable ? (size_t)(colon - text) : strlen(text);

	if (options->bind_count == SANDBOX_BINDS_MAX || text[0] != '/' ||
	    n < 2 || n >= sizeof(bind->path) || strstr(text, "..") != NULL)
		return false;
	memcpy(bind->path, text, n);
	bind->path[n] = '\0';
	bind->is_writable = is_writable;
	options->bind_count++;
	return true;
}

static bool
set_memory(struct tool_options *options, const char *text)
{
	return take_bytes(text, &options->memory_bytes);
}

static bool
set_tmp(struct tool_options *options, const char *text)
{
	return take_bytes(text, &options->tmp_bytes);
}

static bool
set_processes(struct tool_options *options, const char *text)
{
	const char *rest;

	return take_number(text, 1000000, &options->processes, &rest) &&
	    *rest == '\0' && options->processes > 0;
}

/* Cores with up to three digits behind the point. */
static bool
set_cpu(struct tool_options *options, const char *text)
{
	uint64_t whole, part = 0;
	const char *rest, *end;

	if (!take_number(text, 1024, &whole, &rest))
		return false;
	if (*rest == '.') {
		size_t digits = strspn(rest + 1, "0123456789");

		if (digits == 0 || digits > 3 ||
		    !take_number(rest + 1, 999, &part, &end))
			return false;
		for (; digits < 3; digits++)
			part *= 10;
		rest = end;
	}
	options->cpu_milli = whole * 1000 + part;
	/* less than a hundredth is no time slice */
	return *rest == '\0' && options->cpu_milli >= 10;
}

/* NAME, or UID, or UID:GID. */
static bool
set_user(struct tool_options *options, const char *text)
{
	const struct passwd *account;
	const char *rest;
	uint64_t uid, gid;

	if (take_number(text, UINT32_MAX - 1, &uid, &rest)) {
		gid = uid;
		if (*rest == ':' && !take_number(rest + 1, UINT32_MAX - 1, &gid,
		    &rest))
			return false;
		options->uid = (uid_t)uid;
		options->gid = (gid_t)gid;
		return *rest == '\0' && uid != 0 && gid != 0;
	}
	account = getpwnam(text);
	if (account == NULL || account->pw_uid == 0 || account->pw_gid == 0)
		return false;
	options->uid = account->pw_uid;
	options->gid = account->pw_gid;
	return true;
}

static bool
set_env(struct tool_options *options, const char *text)
{
	const char *equals = strchr(text, '=');
	size_t n = strlen(text) + 1;

	if (equals == NULL || equals == text ||
	    n > sizeof(options->env) - options->env_length)
		return false;
	memcpy(options->env + options->env_length, text, n);
	options->env_length += n;
	return true;
}

static bool
set_network(struct tool_options *options, const char *text)
{
	options->egress = text[0] == '/' ? text : NULL;
	options->network = options->egress != NULL ? SANDBOX_NETWORK_EGRESS :
	    strcmp(text, "loopback") == 0 ? SANDBOX_NETWORK_LOOPBACK :
	    SANDBOX_NETWORK_NONE;
	return options->network != SANDBOX_NETWORK_NONE ||
	    strcmp(text, "none") == 0;
}

static bool
set_without(struct tool_options *options, const char *text)
{
	unsigned layer = sandbox_layer_by_name(text);

	options->without |= layer;
	return layer != 0;
}

static bool
set_layers(struct tool_options *options, const char *text)
{
	(void)text;
	options->is_layers = true;
	return true;
}

static bool
set_quiet(struct tool_options *options, const char *text)
{
	(void)text;
	options->is_quiet = true;
	return true;
}

/* -------------------------------------------------------------------- table */

#define RIGHT_BYTES "a number with K, M or G, as in 64M"

static const struct option_rule rules[] = {
	{ 'f', "function", "PATH", "a file or folder, read-only in /fn",
	    set_function, "the path of a file or folder" },
	{ 'd', "data", "DIR", "a folder, writable at /data", set_data,
	    "the path of a folder" },
	{ 'b', "bind", "PATH[:rw]", "what else is to be seen; several times",
	    set_bind, "an absolute path without .., up to 32 of them; with :rw "
	    "it is writable" },
	{ 'r', "rootfs", "DIR", "an image, whose programs stand there instead of "
	    "the host's", set_rootfs, "the absolute path of a folder" },
	{ 'e', "env", "NAME=VALUE", "a variable; several times", set_env,
	    "NAME=VALUE, 128 KiB in all" },
	{ 'u', "user", "USER", "an account, UID or UID:GID", set_user,
	    "the name of an account, a UID or UID:GID, none of them root's" },
	{ 'm', "memory", "SIZE", "default 128M", set_memory, RIGHT_BYTES },
	{ 'p', "processes", "COUNT", "default 32", set_processes,
	    "a number from 1 to 1000000" },
	{ 0, "cpu", "CORES", "default no ceiling", set_cpu,
	    "a number of cores from 0.01 to 1024" },
	{ 0, "tmp", "SIZE", "of /tmp and of /dev/shm, default 16M", set_tmp,
	    RIGHT_BYTES },
	{ 0, "network", "KIND", "none, the default, loopback, or a "
	    "namespace's path", set_network,
	    "none, loopback, or the path of a network namespace" },
	{ 0, "cgroup", "DIR", "the cgroup v2 below which the sandbox is put",
	    set_cgroup, "the path of a folder below the mount of cgroup2" },
	{ 0, "without", "LAYER", "leave a layer out, to see what it is worth",
	    set_without, "a name that --layers prints" },
	{ 0, "layers", NULL, "print the layers that would stand, run nothing",
	    set_layers, NULL },
	{ 'q', "quiet", NULL, "do not say which layers this machine lacks",
	    set_quiet, NULL },
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))
enum { VALUE_HELP = LONG_BASE + RULE_COUNT, VALUE_VERSION };

static void
print_help(void)
{
	printf(TOOL_NAME " [OPTION ...] [--] COMMAND [ARGUMENT ...]\n\n"
	    "Runs a command in the sandbox in which fcgi-host runs functions.\n"
	    "\n");
	for (size_t i = 0; i < RULE_COUNT; i++) {
		const struct option_rule *rule = &rules[i];
		char name[64];

		(void)snprintf(name, sizeof(name), "--%s%s%s", rule->name,
		    rule->argument != NULL ? " " : "",
		    rule->argument != NULL ? rule->argument : "");
		if (rule->letter != 0)
			printf("  -%c, %-20s %s\n", rule->letter, name,
			    rule->help);
		else
			printf("      %-20s %s\n", name, rule->help);
	}
	printf("      %-20s %s\n", "--help", "print this");
	printf("      %-20s %s\n", "--version", "print the version");
}

/* letters: room for 2 an option and 3 more. */
static void
fill_tables(char *letters, struct option *longs)
{
	*letters++ = '+'; /* the command's options are its own */
	*letters++ = ':';
	for (size_t i = 0; i < RULE_COUNT; i++) {
		bool has_argument = rules[i].argument != NULL;

		longs[i] = (struct option){ rules[i].name,
			has_argument ? required_argument : no_argument, NULL,
			LONG_BASE + (int)i };
		if (rules[i].letter == 0)
			continue;
		*letters++ = rules[i].letter;
		if (has_argument)
			*letters++ = ':';
	}
	*letters = '\0';
	longs[RULE_COUNT] = (struct option){ "help", no_argument, NULL,
		VALUE_HELP };
	longs[RULE_COUNT + 1] = (struct option){ "version", no_argument, NULL,
		VALUE_VERSION };
	longs[RULE_COUNT + 2] = (struct option){ NULL, 0, NULL, 0 };
}

static const struct option_rule *
find_rule(int value)
{
	for (size_t i = 0; i < RULE_COUNT; i++) {
		if (value == LONG_BASE + (int)i || value == rules[i].letter)
			return &rules[i];
	}
	return NULL;
}

static enum tool_parsed
take(struct tool_options *options, int value, char **argv)
{
	const struct option_rule *rule;

	if (value == VALUE_HELP) {
		print_help();
		return TOOL_DONE;
	}
	if (value == VALUE_VERSION) {
		printf(TOOL_NAME " %s\n", PACKAGE_VERSION_TEXT);
		return TOOL_DONE;
	}
	rule = value == '?' || value == ':' ? NULL : find_rule(value);
	if (rule == NULL) {
		tool_say("%s %s; see: " TOOL_NAME " --help", argv[optind - 1],
		    value == ':' ? "wants an argument" : "is no option");
		return TOOL_WRONG;
	}
	if (!rule->set(options, optarg)) {
		tool_say("--%s %s: wanted is %s", rule->name, optarg,
		    rule->right);
		return TOOL_WRONG;
	}
	return TOOL_GO_ON;
}

enum tool_parsed
tool_options_parse(struct tool_options *options, int argc, char **argv)
{
	char letters[2 * RULE_COUNT + 3];
	struct option longs[RULE_COUNT + 3];
	enum tool_parsed parsed = TOOL_GO_ON;
	int value;

	memset(options, 0, sizeof(*options));
	options->memory_bytes = 128 * MIB;
	options->tmp_bytes = 16 * MIB;
	options->processes = 32;
	options->uid = UID_DEFAULT;
	options->gid = UID_DEFAULT;
	fill_tables(letters, longs);
	opterr = 0;
	while (parsed == TOOL_GO_ON &&
	    (value = getopt_long(argc, argv, letters, longs, NULL)) != -1)
		parsed = take(options, value, argv);
	options->command = argv + optind;
	if (parsed == TOOL_GO_ON && !options->is_layers &&
	    options->command[0] == NULL) {
		tool_say("say what to run; see: " TOOL_NAME " --help");
		return TOOL_WRONG;
	}
	return parsed;
}
