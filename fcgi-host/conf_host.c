#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "fcgi-host/conf_host.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What a key that was not written has. */
#define LISTEN_DEFAULT "/run/fcgi-host/fcgi-host.sock"
#define FUNCTIONS_DEFAULT "/srv/functions"
#define ACCOUNTING_DEFAULT "/var/log/fcgi-host/accounting.log"
#define RUN_DEFAULT "/run/fcgi-host"
#define STATE_DEFAULT "/var/lib/fcgi-host"
#define URL_PREFIX_DEFAULT "/fn"
#define USER_DEFAULT "fcgi-host"
/* Above every range that Debian and systemd hand out, below 2^31. */
#define UID_FIRST_DEFAULT 1900000000u
#define UID_COUNT_DEFAULT 65536u
#define UID_FIRST_MIN 1000u
#define CONNECTIONS_DEFAULT 1024u
#define CONNECTIONS_MAX 65536u
#define INSTANCES_DEFAULT 1024u
#define INSTANCES_MAX 8192u
#define PREPARED_DEFAULT 16u
#define PREPARED_MAX 1024u
#define HOT_NICE_DEFAULT 10u
#define HOT_NICE_MAX 19u
#define FUNCTION_LOG_DEFAULT (8u << 20)
#define FUNCTION_LOG_MIN (64u << 10)
#define FUNCTION_LOG_MAX (1u << 30)
#define FUNCTION_LOG_KEEP_DEFAULT 4u
#define FUNCTION_LOG_KEEP_MAX 99u
#define FUNCTION_LOG_TOTAL_DEFAULT (256u << 20)
#define FUNCTION_LOG_TOTAL_MIN (1u << 20)
#define FUNCTION_LOG_TOTAL_MAX (UINT64_C(1) << 44)

#define SET(name) static int set_##name(struct conf *conf, \
    const char *value, char *problem, size_t size)

static int
put_path(char **field, const char *key, const char *value, char *problem,
    size_t size)
{
	if (!settings_path_ok(value) || value[1] == '\0')
		return settings_problem(problem, size, "%s: \"%.80s\" is no "
		    "absolute path; write it in full, without \"..\" and "
		    "without a slash at its end", key, value);
	return settings_put_text(field, value);
}

static int
put_bool(bool *field, const char *key, const char *value, char *problem,
    size_t size)
{
	if (settings_parse_bool(value, field) != 0)
		return settings_problem(problem, size,
		    "%s: \"%.60s\" is not yes or no", key, value);
	return 0;
}

/* "127.0.0.1:9000" or "[::1]:9000". */
static bool
is_tcp_address(const char *text)
{
	char host[64];
	unsigned char address[16];
	const char *colon = strrchr(text, ':');
	uint64_t port;
	size_t n;
	int family = AF_INET;

	if (colon == NULL || settings_parse_count(colon + 1, &port) != 0 ||
	    port == 0 || port > 65535)
		return false;
	n = (size_t)(colon - text);
	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		family = AF_INET6;
		text++;
		n -= 2;
	}
	if (n >= sizeof(host))
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	return inet_pton(family, host, address) == 1;
}

static int
check_listen(const char *word, char *problem, size_t size)
{
	struct sockaddr_un un;

	if (word[0] != '/') {
		if (is_tcp_address(word))
			return 0;
		return settings_problem(problem, size, "listen: \"%.80s\" is "
		    "no address; write /path/of/a/socket, 127.0.0.1:9000 or "
		    "[::1]:9000", word);
	}
	if (!settings_path_ok(word))
		return settings_problem(problem, size, "listen: \"%.80s\" is "
		    "no absolute path", word);
	if (strlen(word) >= sizeof(un.sun_path))
		return settings_problem(problem, size, "listen: the path has "
		    "more than %zu bytes, which a socket cannot have; choose "
		    "a shorter one", sizeof(un.sun_path) - 1);
	return 0;
}

SET(listen)
{
	while (*(value += strspn(value, " \t")) != '\0') {
		size_t n = strcspn(value, " \t"), i;
		char *word;
		int error;

		if (conf->listen_count >= CONF_LISTEN_MAX)
			return settings_problem(problem, size, "listen: more "
			    "than %d addresses", CONF_LISTEN_MAX);
		word = strndup(value, n);
		if (word == NULL)
			return -ENOMEM;
		error = check_listen(word, problem, size);
		for (i = 0; error == 0 && i < conf->listen_count; i++)
			if (strcmp(conf->listen[i], word) == 0)
				error = settings_problem(problem, size,
				    "listen: %.80s stands twice", word);
		if (error != 0) {
			free(word);
			return error;
		}
		conf->listen[conf->listen_count++] = word;
		value += n;
	}
	if (conf->listen_count == 0)
		return settings_problem(problem, size, "listen: no address; "
		    "write /path/of/a/socket");
	return 0;
}

SET(listen_mode)
{
	unsigned mode = 0;
	const char *at = value;

	for (; *at >= '0' && *at <= '7' && mode <= 0777; at++)
		mode = mode * 8 + (unsigned)(*at - '0');
	if (*at != '\0' || at == value || mode > 0777 || (mode & 0600) != 0600)
		return settings_problem(problem, size, "listen_mode: \"%.20s\""
		    " is no mode of a socket; write 0660 or 0666", value);
	conf->listen_mode = (mode_t)mode;
	return 0;
}

SET(listen_group)
{
	if (!settings_account_ok(value))
		return settings_problem(problem, size, "listen_group: "
		    "\"%.60s\" is no name of a group; write the web server's, "
		    "as www-data", value);
	return settings_put_text(&conf->listen_group, value);
}

SET(allow_tcp)
{
	return put_bool(&conf->allow_tcp, "allow_tcp", value, problem, size);
}

SET(functions)
{
	return put_path(&conf->functions, "functions", value, problem, size);
}

SET(prices)
{
	return put_path(&conf->prices, "prices", value, problem, size);
}

SET(accounting)
{
	return put_path(&conf->accounting, "accounting", value, problem, size);
}

SET(chain_key)
{
	return put_path(&conf->chain_key, "chain_key", value, problem, size);
}

SET(sync)
{
	return put_bool(&conf->is_sync, "sync", value, problem, size);
}

SET(run)
{
	struct sockaddr_un un;

	/* The control socket and the instances' sockets stand below it. */
	if (strlen(value) + 32 > sizeof(un.sun_path))
		return settings_problem(problem, size, "run: the path is too "
		    "long for the sockets in it; choose one of at most %zu "
		    "bytes", sizeof(un.sun_path) - 32);
	return put_path(&conf->run, "run", value, problem, size);
}

SET(state)
{
	return put_path(&conf->state, "state", value, problem, size);
}

SET(url_prefix)
{
	if (strcmp(value, "/") == 0 || *value == '\0')
		return settings_put_text(&conf->url_prefix, "");
	if (!settings_path_ok(value) || strpbrk(value, "?#% ") != NULL)
		return settings_problem(problem, size, "url_prefix: \"%.60s\" "
		    "is no path of a URL; write /fn, or / for the whole site",
		    value);
	return settings_put_text(&conf->url_prefix, value);
}

SET(index)
{
	if (!ctl_name_ok(value))
		return settings_problem(problem, size, "index: \"%.60s\" is "
		    "no name of a function; write it as in `fcgi-host list`",
		    value);
	return settings_put_text(&conf->index, value);
}

SET(user)
{
	if (!settings_account_ok(value))
		return settings_problem(problem, size, "user: \"%.60s\" is no "
		    "name of an account", value);
	if (strcmp(value, "root") == 0)
		return settings_problem(problem, size, "user: the gateway and "
		    "the scanner do not run as root; name an account of their "
		    "own, as " USER_DEFAULT);
	return settings_put_text(&conf->user, value);
}

SET(uid_range)
{
	unsigned long long first, last;
	char end;

	if (strspn(value, "0123456789-") != strlen(value) ||
	    sscanf(value, "%10llu-%10llu%c", &first, &last, &end) != 2)
		return settings_problem(problem, size, "uid_range: \"%.60s\" "
		    "is no range; write FIRST-LAST, as %u-%u", value,
		    UID_FIRST_DEFAULT,
		    UID_FIRST_DEFAULT + UID_COUNT_DEFAULT - 1);
	if (first < UID_FIRST_MIN || last < first || last >= INT32_MAX)
		return settings_problem(problem, size, "uid_range: %.60s is "
		    "out of bounds; FIRST is %u or more, LAST not below it "
		    "and below 2147483647", value, UID_FIRST_MIN);
	conf->uid_first = (uint32_t)first;
	conf->uid_count = (uint32_t)(last - first + 1);
	return 0;
}

const char *const *
conf_layers(size_t *count)
{
	static const char *const layers[] = { "mount", "pid", "net", "ipc",
		"uts", "cgroup_ns", "identity", "capabilities",
		"no_new_privs", "landlock", "seccomp", "rlimits", "cgroup",
		"memfd_noexec" };

	*count = COUNT(layers);
	return layers;
}

static bool
is_layer(const char *word, size_t n)
{
	size_t count, i;
	const char *const *layers = conf_layers(&count);

	for (i = 0; i < count; i++)
		if (strlen(layers[i]) == n && memcmp(layers[i], word, n) == 0)
			return true;
	return false;
}

SET(require)
{
	const char *at = value;

	while (*(at += strspn(at, " \t")) != '\0') {
		size_t n = strcspn(at, " \t");

		if (!is_layer(at, n))
			return settings_problem(problem, size, "require: "
			    "\"%.*s\" is no layer; `fcgi-host check` lists "
			    "them", n > 40 ? 40 : (int)n, at);
		at += n;
	}
	return settings_put_text(&conf->require, value);
}

static int
put_count(uint64_t *field, const char *key, const char *value, unsigned min,
    unsigned max, char *problem, size_t size)
{
	uint64_t count;

	if (settings_parse_count(value, &count) != 0 || count < min ||
	    count > max)
		return settings_problem(problem, size, "%s: \"%.40s\" is no "
		    "number from %u to %u", key, value, min, max);
	*field = count;
	return 0;
}

SET(max_connections)
{
	return put_count(&conf->max_connections, "max_connections", value, 1,
	    CONNECTIONS_MAX, problem, size);
}

SET(max_instances)
{
	return put_count(&conf->max_instances, "max_instances", value, 1,
	    INSTANCES_MAX, problem, size);
}

SET(max_prepared)
{
	conf->has_max_prepared = true;
	return put_count(&conf->max_prepared, "max_prepared", value, 0,
	    PREPARED_MAX, problem, size);
}

SET(memory_reserve)
{
	if (settings_parse_size(value, &conf->memory_reserve_bytes) != 0)
		return settings_problem(problem, size, "memory_reserve: "
		    "\"%.40s\" is no size; write it as 64M, or 0 for none",
		    value);
	conf->has_memory_reserve = true;
	return 0;
}

SET(hot_nice)
{
	uint64_t nice = 0;
	int error = put_count(&nice, "hot_nice", value, 0, HOT_NICE_MAX,
	    problem, size);

	conf->has_hot_nice = true;
	conf->hot_nice = (unsigned)nice;
	return error;
}

SET(log)
{
	if (strcmp(value, "stderr") == 0)
		return settings_put_text(&conf->log, value);
	if (!settings_path_ok(value) || value[1] == '\0')
		return settings_problem(problem, size, "log: \"%.80s\" is "
		    "neither stderr nor an absolute path", value);
	return settings_put_text(&conf->log, value);
}

SET(function_logs)
{
	if (strcmp(value, "log") == 0) {
		free(conf->function_logs);
		conf->function_logs = NULL;
		return 0;
	}
	if (!settings_path_ok(value) || value[1] == '\0')
		return settings_problem(problem, size, "function_logs: "
		    "\"%.80s\" is neither log nor the absolute path of a "
		    "directory", value);
	return settings_put_text(&conf->function_logs, value);
}

static int
put_size(uint64_t *field, const char *key, const char *value, uint64_t min,
    uint64_t max, const char *bounds, char *problem, size_t size)
{
	uint64_t bytes;

	if (settings_parse_size(value, &bytes) != 0 || bytes < min ||
	    bytes > max)
		return settings_problem(problem, size, "%s: \"%.40s\" is no "
		    "size from %s", key, value, bounds);
	*field = bytes;
	return 0;
}

SET(function_log_size)
{
	return put_size(&conf->function_log_bytes, "function_log_size", value,
	    FUNCTION_LOG_MIN, FUNCTION_LOG_MAX, "64K to 1G", problem, size);
}

SET(function_log_keep)
{
	conf->has_function_log_keep = true;
	return put_count(&conf->function_log_keep, "function_log_keep", value,
	    0, FUNCTION_LOG_KEEP_MAX, problem, size);
}

SET(function_log_total)
{
	return put_size(&conf->function_log_total, "function_log_total", value,
	    FUNCTION_LOG_TOTAL_MIN, FUNCTION_LOG_TOTAL_MAX, "1M to 16384G",
	    problem, size);
}

SET(log_level)
{
	if (log_level_parse(value, &conf->log_level) != 0)
		return settings_problem(problem, size, "log_level: \"%.40s\" "
		    "is not error, warn, info or debug", value);
	return 0;
}

static const struct host_key {
	const char *name;
	int (*set)(struct conf *conf, const char *value, char *problem,
	    size_t size);
} host_keys[] = {
	{ "listen", set_listen },
	{ "listen_mode", set_listen_mode },
	{ "listen_group", set_listen_group },
	{ "allow_tcp", set_allow_tcp },
	{ "functions", set_functions },
	{ "accounting", set_accounting },
	{ "prices", set_prices },
	{ "chain_key", set_chain_key },
	{ "sync", set_sync },
	{ "run", set_run },
	{ "state", set_state },
	{ "url_prefix", set_url_prefix },
	{ "index", set_index },
	{ "user", set_user },
	{ "uid_range", set_uid_range },
	{ "require", set_require },
	{ "max_connections", set_max_connections },
	{ "max_instances", set_max_instances },
	{ "max_prepared", set_max_prepared },
	{ "memory_reserve", set_memory_reserve },
	{ "hot_nice", set_hot_nice },
	{ "log", set_log },
	{ "log_level", set_log_level },
	{ "function_logs", set_function_logs },
	{ "function_log_size", set_function_log_size },
	{ "function_log_keep", set_function_log_keep },
	{ "function_log_total", set_function_log_total },
};

static int
unknown_key(const char *section, const char *key, const char *const *keys,
    size_t count, char *problem, size_t size)
{
	const char *near = settings_nearest(key, keys, count);

	(void)settings_problem(problem, size, "unknown key \"%.60s\" in "
	    "[%s]; %s%s", key, section, near != NULL ? "do you mean " :
	    "the manual page fcgi-host.ini(5) lists the keys",
	    near != NULL ? near : "");
	return -ENOENT;
}

int
conf_host_set(struct conf *conf, const char *key, const char *value,
    char *problem, size_t size)
{
	const char *names[COUNT(host_keys)];
	size_t i;

	for (i = 0; i < COUNT(host_keys); i++) {
		names[i] = host_keys[i].name;
		if (strcmp(names[i], key) == 0)
			return host_keys[i].set(conf, value, problem, size);
	}
	return unknown_key("host", key, names, i, problem, size);
}

static int
default_text(char **field, const char *value)
{
	return *field != NULL ? 0 : settings_put_text(field, value);
}

int
conf_host_defaults(struct conf *conf)
{
	int error = 0;

	if (conf->listen_count == 0) {
		error = settings_put_text(&conf->listen[0], LISTEN_DEFAULT);
		if (error == 0)
			conf->listen_count = 1;
	}
	if (error == 0)
		error = default_text(&conf->functions, FUNCTIONS_DEFAULT);
	if (error == 0)
		error = default_text(&conf->accounting, ACCOUNTING_DEFAULT);
	if (error == 0)
		error = default_text(&conf->run, RUN_DEFAULT);
	if (error == 0)
		error = default_text(&conf->state, STATE_DEFAULT);
	if (error == 0)
		error = default_text(&conf->url_prefix, URL_PREFIX_DEFAULT);
	if (error == 0)
		error = default_text(&conf->user, USER_DEFAULT);
	if (error == 0)
		error = default_text(&conf->require, "");
	if (error == 0)
		error = default_text(&conf->log, "stderr");
	if (conf->listen_mode == 0)
		conf->listen_mode = 0660;
	if (conf->uid_count == 0) {
		conf->uid_first = UID_FIRST_DEFAULT;
		conf->uid_count = UID_COUNT_DEFAULT;
	}
	if (conf->max_connections == 0)
		conf->max_connections = CONNECTIONS_DEFAULT;
	if (conf->max_instances == 0)
		conf->max_instances = INSTANCES_DEFAULT;
	if (!conf->has_max_prepared)
		conf->max_prepared = PREPARED_DEFAULT;
	if (conf->function_log_bytes == 0)
		conf->function_log_bytes = FUNCTION_LOG_DEFAULT;
	if (!conf->has_function_log_keep)
		conf->function_log_keep = FUNCTION_LOG_KEEP_DEFAULT;
	if (conf->function_log_total == 0)
		conf->function_log_total = FUNCTION_LOG_TOTAL_DEFAULT;
	if (!conf->has_hot_nice)
		conf->hot_nice = HOT_NICE_DEFAULT;
	return error;
}
