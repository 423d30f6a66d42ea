#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/cmd_check.h"

#define NGINX_CONF "/etc/nginx/nginx.conf"
#define NGINX_DEFAULT_MS 60000
#define FILE_MAX_BYTES (1 << 20)
#define DIRECTIVE "fastcgi_read_timeout"

/* nginx's time: "60", "90s", "1m30s", "500ms"; -1: none. */
static int64_t
nginx_time_ms(const char *text, size_t n)
{
	int64_t total = 0;
	size_t i = 0;

	if (n == 0)
		return -1;
	while (i < n) {
		int64_t value = 0, factor = 1000;

		if (!isdigit((unsigned char)text[i]))
			return -1;
		for (; i < n && isdigit((unsigned char)text[i]); i++) {
			value = value * 10 + (text[i] - '0');
			if (value > INT32_MAX)
				return -1;
		}
		if (i + 1 < n && text[i] == 'm' && text[i + 1] == 's') {
			factor = 1;
			i += 2;
		} else if (i < n) {
			switch (text[i++]) {
			case 's': factor = 1000; break;
			case 'm': factor = 60000; break;
			case 'h': factor = 3600000; break;
			case 'd': factor = 86400000; break;
			default: return -1;
			}
		}
		total += value * factor;
	}
	return total;
}

int64_t
check_nginx_timeout_ms(const char *text)
{
	int64_t shortest = -1;

	while (*text != '\0') {
		size_t line = strcspn(text, "\n");
		const char *at = text + strspn(text, " \t{;");
		size_t name = sizeof(DIRECTIVE) - 1;

		text += line + (text[line] == '\n' ? 1 : 0);
		if (strncmp(at, DIRECTIVE, name) == 0 &&
		    (at[name] == ' ' || at[name] == '\t')) {
			int64_t ms;

			at += name;
			at += strspn(at, " \t");
			ms = nginx_time_ms(at, strcspn(at, "; \t\n"));
			if (ms >= 0 && (shortest < 0 || ms < shortest))
				shortest = ms;
		}
	}
	return shortest;
}

static void
take_longer(const struct settings *section, uint64_t *longest)
{
	uint64_t ms = section->limits.value[LIMIT_TIMEOUT_MS];

	if ((section->has_limits & UINT64_C(1) << LIMIT_TIMEOUT_MS) == 0 ||
	    *longest == 0)
		return;
	if (ms == 0 || ms > *longest)
		*longest = ms;
}

uint64_t
check_longest_ms(const struct conf *conf)
{
	struct limits limits;
	uint64_t longest;
	size_t i;

	settings_defaults(&limits);
	settings_apply(&limits, &conf->defaults);
	longest = limits.value[LIMIT_TIMEOUT_MS];
	for (i = 0; i < conf->tenant_count; i++)
		take_longer(&conf->tenants[i].settings, &longest);
	for (i = 0; i < conf->function_count; i++)
		take_longer(&conf->functions_sections[i].settings, &longest);
	return longest;
}

static int64_t
file_timeout_ms(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = file != NULL ? malloc(FILE_MAX_BYTES) : NULL;
	int64_t ms = -1;

	if (text != NULL) {
		text[fread(text, 1, FILE_MAX_BYTES - 1, file)] = '\0';
		ms = check_nginx_timeout_ms(text);
	}
	free(text);
	if (file != NULL)
		(void)fclose(file);
	return ms;
}

/* The shortest of all that its usual files set.  It need not be the one of
 * our location; the sentence says where it stands. */
static int64_t
nginx_timeout_ms(char *where, size_t size)
{
	static const char *const patterns[] = { NGINX_CONF,
		"/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*",
		"/etc/nginx/snippets/*.conf" };
	int64_t shortest = -1;
	size_t i, j;

	for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		glob_t files;

		if (glob(patterns[i], 0, NULL, &files) != 0)
			continue;
		for (j = 0; j < files.gl_pathc; j++) {
			int64_t ms = file_timeout_ms(files.gl_pathv[j]);

			if (ms < 0 || (shortest >= 0 && ms >= shortest))
				continue;
			shortest = ms;
			(void)snprintf(where, size, "%s", files.gl_pathv[j]);
		}
		globfree(&files);
	}
	return shortest;
}

void
check_web_servers(const struct conf *conf, struct findings *findings)
{
	uint64_t longest = check_longest_ms(conf);
	char where[256] = "its built-in value", nginx[32], ours[32], more[32];
	int64_t ms;

	if (access(NGINX_CONF, F_OK) != 0)
		return;
	ms = nginx_timeout_ms(where, sizeof(where));
	if (ms < 0)
		ms = NGINX_DEFAULT_MS;
	if (longest != 0 && longest < (uint64_t)ms)
		return;
	(void)settings_duration_text((uint64_t)ms, nginx, sizeof(nginx));
	(void)settings_duration_text(longest, ours, sizeof(ours));
	(void)settings_duration_text(longest == 0 ? 3600000 : longest + 10000,
	    more, sizeof(more));
	findings_add(findings, FINDING_WARNING, "nginx gives up after %s "
	    "without a byte (fastcgi_read_timeout, %s), while a function may "
	    "run for %s: the client gets 504, and the function is stopped; "
	    "write fastcgi_read_timeout %s; beside fastcgi_pass", nginx, where,
	    longest == 0 ? "ever" : ours, more);
}
