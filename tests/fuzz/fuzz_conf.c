/*
 * The administrator's file and the sidecars: every refusal is a printable
 * sentence, every accepted file is within its bounds, and wherever the line
 * scan accepts, iniparser reads the same values (so that a role without /proc
 * reads what the others read).
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/conf.h"
#include "tests/fuzz/fuzz.h"

static int
file_of(const uint8_t *data, size_t n)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	CLAIM(fd >= 0);
	while (n > 0) {
		ssize_t put = write(fd, data, n);

		CLAIM(put > 0);
		data += put;
		n -= (size_t)put;
	}
	return fd;
}

/* The sentence that says that scan and iniparser differ; quoted words of the
 * input stand behind its beginning and cannot imitate it. */
static bool
tells_of_difference(const char *line, size_t n)
{
	char start[128], *at = start;

	(void)snprintf(start, sizeof(start), "%.*s", (int)n, line);
	at += strcspn(at, ":");
	at += strspn(at, ":0123456789 ");
	if (strncmp(at, "iniparser", 9) == 0)
		return true;
	at += strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_.");
	return strncmp(at, ": the value can be", 18) == 0;
}

static void
check_sentences(struct conf_errors *errors)
{
	size_t n = buf_len(&errors->text), i;
	const char *text = (const char *)buf_head(&errors->text);

	CLAIM(n > 0 && text[n - 1] == '\n');
	for (i = 0; i < n; i++)
		CLAIM(text[i] == '\n' || (text[i] >= 0x20 && text[i] <= 0x7e));
	while (n > 0) {
		size_t length = (size_t)((const char *)memchr(text, '\n', n) -
		    text) + 1;

		CLAIM(!tells_of_difference(text, length));
		text += length;
		n -= length;
	}
}

static void
check_limits(const struct limits *limits)
{
	CLAIM(limits->value[LIMIT_MEMORY_BYTES] >= 4 << 20);
	CLAIM(limits->value[LIMIT_INSTANCES] >= 1);
	CLAIM(limits->value[LIMIT_PROCESSES] >= 2);
	CLAIM(limits->value[LIMIT_HEADER_MAX] >= 1024);
	CLAIM(limits->value[LIMIT_DATA] <= 1);
	CLAIM(limits->value[LIMIT_FREEZE_IDLE] == 0);
	CLAIM(limits->value[LIMIT_SPARE] <= 1);
	CLAIM(limits->value[LIMIT_MIN_INSTANCES] == 0);
}

/* A list of "NAME=VALUE\0" as execve could take it. */
static void
check_env(struct buf *env)
{
	const char *at = (const char *)buf_head(env);
	size_t left = buf_len(env);

	while (left > 0) {
		size_t n = strnlen(at, left);

		CLAIM(n < left && n > 0 && *at != '=');
		CLAIM(memchr(at, '=', n) != NULL);
		at += n + 1;
		left -= n + 1;
	}
}

static void
ask(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime)
{
	struct conf_bind binds[CONF_BIND_MAX];
	struct limits limits, ceiling;
	struct buf out = { 0 };
	char lowered[512];
	size_t count, i;

	conf_limits(conf, tenant, name, NULL, &limits, lowered,
	    sizeof(lowered));
	CLAIM(lowered[0] == '\0');
	check_limits(&limits);
	conf_ceiling(conf, tenant, name, &ceiling);
	CLAIM(settings_clamp(&limits, &ceiling, lowered, sizeof(lowered)) ==
	    0);
	CLAIM(conf_network(conf, tenant, name) <= NETWORK_EGRESS);
	CLAIM(conf_egress(conf, tenant, name) == NULL ||
	    settings_path_ok(conf_egress(conf, tenant, name)));
	CLAIM(conf_env(conf, tenant, name, runtime, &out) == 0);
	check_env(&out);
	buf_reset(&out, 0);
	CLAIM(conf_pass_params(conf, tenant, name, &out) == 0);
	CLAIM(buf_len(&out) > 0 && out.data[out.end - 1] == '\0');
	buf_free(&out);
	count = conf_binds(conf, tenant, name, runtime, binds);
	CLAIM(count <= CONF_BIND_MAX);
	for (i = 0; i < count; i++)
		CLAIM(settings_path_ok(binds[i].path));
	conf_binds_free(binds, count);
}

static void
check_conf(const struct conf *conf)
{
	size_t i, j;

	CLAIM(conf->listen_count > 0 && conf->listen_count <= CONF_LISTEN_MAX);
	CLAIM(settings_path_ok(conf->functions));
	CLAIM(settings_path_ok(conf->run) && settings_path_ok(conf->state));
	CLAIM(conf->url_prefix[0] == '\0' || conf->url_prefix[0] == '/');
	CLAIM(conf->uid_first >= 1000 && conf->uid_count > 0);
	for (i = 0; i < conf->runtime_count; i++) {
		const struct conf_runtime *runtime = &conf->runtimes[i];

		CLAIM(conf_runtime_by_name(conf, runtime->name) == runtime);
		CLAIM(runtime->command != NULL);
		CLAIM(settings_path_ok(runtime->command[0]));
		for (j = 0; runtime->extensions[j] != NULL; j++)
			CLAIM(conf_runtime_by_extension(conf,
			    runtime->extensions[j]) == runtime);
		ask(conf, "default", "x", runtime->name);
	}
	for (i = 0; i < conf->tenant_count; i++) {
		CLAIM(conf_tenant(conf, conf->tenants[i].name) ==
		    &conf->tenants[i].settings);
		ask(conf, conf->tenants[i].name, "x", "");
	}
	for (i = 0; i < conf->function_count; i++) {
		CLAIM(conf_function(conf, conf->functions_sections[i].name) ==
		    &conf->functions_sections[i].settings);
		CLAIM(ctl_name_ok(conf->functions_sections[i].name));
		ask(conf, "a", conf->functions_sections[i].name, "");
	}
	ask(conf, "nobody", "no/thing", "none");
}

static void
read_admin(int fd)
{
	struct conf_errors errors = { .count = 0 };
	struct conf *conf = conf_read(fd, "f.ini", &errors);

	CLAIM((conf == NULL) == (errors.count > 0));
	if (conf != NULL)
		check_conf(conf);
	else
		check_sentences(&errors);
	conf_errors_free(&errors);
	conf_unref(conf);
}

static void
read_sidecar(int fd)
{
	struct settings settings;
	struct limits limits, ceiling;
	char problem[256] = "", lowered[512];
	int error = conf_read_sidecar(fd, "s.ini", &settings, problem,
	    sizeof(problem));
	size_t i;

	CLAIM(error == 0 || error == -EINVAL);
	CLAIM((error == 0) == (problem[0] == '\0'));
	for (i = 0; problem[i] != '\0'; i++)
		CLAIM(problem[i] >= 0x20 && problem[i] <= 0x7e);
	CLAIM(!tells_of_difference(problem, strlen(problem)));
	CLAIM(settings.bind == NULL && settings.user == NULL);
	CLAIM(!settings.has_network && settings.egress == NULL);
	settings_defaults(&ceiling);
	limits = ceiling;
	settings_apply(&limits, &settings);
	check_limits(&limits);
	(void)settings_clamp(&limits, &ceiling, lowered, sizeof(lowered));
	CLAIM(settings_clamp(&limits, &ceiling, lowered, sizeof(lowered)) ==
	    0);
	check_env(&settings.env);
	settings_free(&settings);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	/* A comment's sign tells which, so that the seeds are plain files. */
	bool is_sidecar = n > 0 && data[0] == '#';
	int fd = file_of(data, n);

	if (is_sidecar)
		read_sidecar(fd);
	else
		read_admin(fd);
	(void)close(fd);
	return 0;
}
