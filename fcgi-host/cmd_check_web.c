/*
 * Only what is sure is said: a file of the web server's usual places names one
 * of our sockets, and the very block that does sets how long it waits.  Where a
 * value comes from further out, or from an include, nothing is said.
 */
#include <ctype.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd_check.h"

#define FILE_MAX_BYTES (1 << 20)
#define NGINX_DEFAULT_MS 60000

/* Where a value stands that belongs to an address. */
enum block {
	BLOCK_BRACES,  /* the innermost { } around it */
	BLOCK_OPENED,  /* the { } that its line opens */
	BLOCK_PARENS,  /* the innermost ( ) around it */
	BLOCK_SECTION, /* from the line that begins in the first column */
	BLOCK_LINE
};

struct web {
	const char *name;
	const char *patterns[6]; /* of files, NULL at the end */
	enum block block;
	const char *key;
	int64_t bare_ms;  /* a number without a unit; 0: there is none */
	const char *mend; /* with the seconds that it should be */
};

static const struct web webs[] = {
	{ "nginx", { "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/*.conf",
	    "/etc/nginx/sites-enabled/*", "/etc/nginx/snippets/*.conf" },
	    BLOCK_BRACES, "fastcgi_read_timeout", 1000,
	    "fastcgi_read_timeout %llus;" },
	{ "Apache", { "/etc/apache2/apache2.conf",
	    "/etc/apache2/conf-enabled/*.conf",
	    "/etc/apache2/sites-enabled/*.conf" },
	    BLOCK_LINE, "timeout=", 1000, "timeout=%llu" },
	{ "lighttpd", { "/etc/lighttpd/lighttpd.conf",
	    "/etc/lighttpd/conf-enabled/*.conf" },
	    BLOCK_PARENS, "\"read-timeout\"", 1000,
	    "\"read-timeout\" => %llu" },
	{ "Caddy", { "/etc/caddy/Caddyfile", "/etc/caddy/conf.d/*" },
	    BLOCK_OPENED, "read_timeout", 0, "read_timeout %llus" },
	{ "HAProxy", { "/etc/haproxy/haproxy.cfg", "/etc/haproxy/conf.d/*.cfg" },
	    BLOCK_SECTION, "timeout server", 1, "timeout server %llus" },
};

/* ---- numbers ---- */

static int64_t
unit_ms(const char *unit, size_t n, int64_t bare_ms)
{
	static const struct { const char *name; int64_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
		{ "d", 86400000 },
	};

	if (n == 0)
		return bare_ms > 0 ? bare_ms : -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strlen(units[i].name) == n &&
		    memcmp(unit, units[i].name, n) == 0)
			return units[i].ms;
	return -1;
}

int64_t
check_web_time_ms(const char *text, int64_t bare_ms)
{
	int64_t total = 0;

	do {
		int64_t value = 0, factor;
		size_t n;

		if (!isdigit((unsigned char)*text))
			return -1;
		for (; isdigit((unsigned char)*text); text++) {
			value = value * 10 + (*text - '0');
			if (value > INT32_MAX)
				return -1;
		}
		for (n = 0; isalpha((unsigned char)text[n]); n++)
			continue;
		factor = unit_ms(text, n, bare_ms);
		if (factor < 0 ||
		    __builtin_add_overflow(total, value * factor, &total))
			return -1;
		text += n;
	} while (isalnum((unsigned char)*text));
	return *text == '\0' || strchr(" \t\n;,)}\"", *text) != NULL ? total :
	    -1;
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

/* ---- texts ---- */

/* Comments become blanks, and what would open or close a block inside a quoted
 * text a line. */
static void
text_prepare(char *text)
{
	bool is_quoted = false;

	for (char *at = text; *at != '\0'; at++) {
		if (*at == '\n')
			is_quoted = false;
		else if (*at == '"')
			is_quoted = !is_quoted;
		else if (is_quoted && strchr("(){}", *at) != NULL)
			*at = '_';
		else if (!is_quoted && *at == '#' && (at == text ||
		    isspace((unsigned char)at[-1]))) {
			memset(at, ' ', strcspn(at, "\n"));
			at += strcspn(at, "\n") - 1;
		}
	}
}

static const char *
line_of(const char *text, const char *at)
{
	while (at > text && at[-1] != '\n')
		at--;
	return at;
}

/* From an opening sign to behind its closing one. */
static const char *
close_of(const char *at)
{
	char open = *at, close = open == '{' ? '}' : ')';
	int depth = 0;

	for (; *at != '\0'; at++) {
		depth += *at == open ? 1 : *at == close ? -1 : 0;
		if (depth == 0)
			return at + 1;
	}
	return at;
}

static const char *
open_of(const char *text, const char *at, char open)
{
	char close = open == '{' ? '}' : ')';
	int depth = 1;

	while (at > text) {
		at--;
		depth += *at == close ? 1 : *at == open ? -1 : 0;
		if (depth == 0)
			return at;
	}
	return NULL;
}

/* The block of an address; false: it has none. */
static bool
block_of(enum block kind, const char *text, const char *at,
    const char **from, const char **to)
{
	const char *line = line_of(text, at), *end = at + strcspn(at, "\n");

	switch (kind) {
	case BLOCK_BRACES:
	case BLOCK_PARENS:
		*from = open_of(text, at, kind == BLOCK_BRACES ? '{' : '(');
		break;
	case BLOCK_OPENED:
		*from = memchr(at, '{', (size_t)(end - at));
		break;
	case BLOCK_LINE:
		*from = line;
		*to = end;
		return true;
	case BLOCK_SECTION:
		while (line > text && isspace((unsigned char)*line))
			line = line_of(text, line - 1);
		*from = line;
		while (*end == '\n' && (end[1] == '\n' || isblank(
		    (unsigned char)end[1])))
			end += 1 + strcspn(end + 1, "\n");
		*to = end;
		return true;
	default:
		*from = NULL;
		break;
	}
	if (*from != NULL)
		*to = close_of(*from);
	return *from != NULL;
}

static bool
is_word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* The last value of the key in a block, ms; -1: none that is understood. */
static int64_t
value_in(const struct web *web, const char *from, const char *to)
{
	size_t n = strlen(web->key);
	int64_t ms = -1;

	for (const char *at = from; at + n < to; at++) {
		const char *value = at + n;

		if (memcmp(at, web->key, n) != 0 ||
		    (at > from && is_word_char(at[-1])) ||
		    (is_word_char(web->key[n - 1]) && is_word_char(*value)))
			continue;
		value += strspn(value, " \t=>");
		ms = check_web_time_ms(value, web->bare_ms);
	}
	return ms;
}

/* The next place behind `text` that names the address as a whole. */
static const char *
address_in(const char *text, const char *begin, const char *address)
{
	size_t n = strlen(address);
	const char *at = text;

	while ((at = strstr(at, address)) != NULL) {
		bool is_part = at > begin && (is_word_char(at[-1]) ||
		    at[-1] == '.');

		if (!is_part && !is_word_char(at[n]) && at[n] != '.' &&
		    at[n] != '/')
			return at;
		at += n;
	}
	return NULL;
}

/* The least patience with the address, ms; -1: none is set where it stands.
 * *is_named becomes true where it stands at all. */
static int64_t
patience_with(const struct web *web, const char *text, const char *address,
    bool *is_named)
{
	int64_t least = -1;

	for (const char *at = text; (at = address_in(at, text, address)) !=
	    NULL; at++) {
		const char *from, *to;
		int64_t ms;

		*is_named = true;
		if (!block_of(web->block, text, at, &from, &to))
			continue;
		ms = value_in(web, from, to);
		if (ms >= 0 && (least < 0 || ms < least))
			least = ms;
	}
	return least;
}

/* The same of all our addresses.  HAProxy mostly runs in a chroot, so that its
 * path is the end of ours. */
int64_t
check_web_patience_ms(const char *server, const struct conf *conf, char *text,
    bool *is_named)
{
	const struct web *web = webs;
	int64_t least = -1;

	while (strcmp(web->name, server) != 0)
		web++;
	text_prepare(text);
	for (size_t i = 0; i < conf->listen_count; i++) {
		const char *end = conf->listen[i];

		do {
			char address[PATH_MAX];
			int64_t ms;

			(void)snprintf(address, sizeof(address), "%s%s",
			    web->block == BLOCK_SECTION && end[0] == '/' ?
			    "unix@" : "", end);
			ms = patience_with(web, text, address, is_named);
			if (ms >= 0 && (least < 0 || ms < least))
				least = ms;
			end = strchr(end + 1, '/');
		} while (web->block == BLOCK_SECTION && end != NULL);
	}
	return least;
}

/* ---- files ---- */

/* To be freed; NULL: none. */
static char *
file_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = file != NULL ? malloc(FILE_MAX_BYTES) : NULL;

	if (text != NULL)
		text[fread(text, 1, FILE_MAX_BYTES - 1, file)] = '\0';
	if (file != NULL)
		(void)fclose(file);
	return text;
}

struct patience {
	int64_t ms; /* -1: not known */
	char where[PATH_MAX];
	bool is_named, is_set; /* the address; the key, anywhere */
};

static void
look_at_file(const struct web *web, const struct conf *conf, const char *path,
    struct patience *patience)
{
	char *text = file_text(path);
	int64_t ms;

	if (text == NULL)
		return;
	ms = check_web_patience_ms(web->name, conf, text, &patience->is_named);
	patience->is_set |= strstr(text, web->key) != NULL;
	free(text);
	if (ms < 0 || (patience->ms >= 0 && ms >= patience->ms))
		return;
	patience->ms = ms;
	(void)snprintf(patience->where, sizeof(patience->where), "%s", path);
}

static void
look_at(const struct web *web, const struct conf *conf, const char *root,
    struct patience *patience)
{
	for (size_t i = 0; web->patterns[i] != NULL; i++) {
		char pattern[PATH_MAX];
		glob_t files;

		(void)snprintf(pattern, sizeof(pattern), "%s%s", root,
		    web->patterns[i]);
		if (glob(pattern, 0, NULL, &files) != 0)
			continue;
		for (size_t j = 0; j < files.gl_pathc; j++)
			look_at_file(web, conf, files.gl_pathv[j], patience);
		globfree(&files);
	}
	/* of those that wait for ever, or as long as another file says, nothing
	 * can be said */
	if (web == webs && patience->is_named && !patience->is_set) {
		patience->ms = NGINX_DEFAULT_MS;
		strcpy(patience->where, "its built-in value");
	}
}

void
check_web_servers(const struct conf *conf, const char *root,
    struct findings *findings)
{
	uint64_t longest = check_longest_ms(conf);
	char theirs[32], ours[32], mend[64];

	for (size_t i = 0; i < sizeof(webs) / sizeof(webs[0]); i++) {
		const struct web *web = &webs[i];
		struct patience patience = { .ms = -1 };

		look_at(web, conf, root, &patience);
		if (patience.ms < 0 ||
		    (longest != 0 && longest < (uint64_t)patience.ms))
			continue;
		(void)settings_duration_text((uint64_t)patience.ms, theirs,
		    sizeof(theirs));
		(void)settings_duration_text(longest, ours, sizeof(ours));
		/* the literals above have one place for a number each */
		(void)snprintf(mend, sizeof(mend), web->mend, longest == 0 ?
		    3600ULL : longest / 1000 + 10ULL);
		findings_add(findings, FINDING_WARNING, "%s waits for %s "
		    "(%s, %s), while a function may run for %s: the client "
		    "gets an error, and the function is stopped; write %s",
		    web->name, theirs, web->key, patience.where, longest == 0 ?
		    "ever" : ours, mend);
	}
}
