#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/settings_text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct suffix {
	const char *text;
	uint64_t factor;
};

/* From large to small: the first that divides is the shortest text. */
static const struct suffix durations[] = { { "d", 86400000 },
	{ "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
static const struct suffix sizes[] = { { "G", UINT64_C(1) << 30 },
	{ "M", UINT64_C(1) << 20 }, { "K", UINT64_C(1) << 10 }, { "", 1 } };

int
settings_problem(char *problem, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (size > 0)
		(void)vsnprintf(problem, size, fmt, args);
	va_end(args);
	return -EINVAL;
}

int
settings_put_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* Digits to a number; returns what follows them, or NULL. */
static const char *
parse_digits(const char *text, uint64_t *number)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return NULL;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'),
		    &value))
			return NULL;
	}
	*number = value;
	return text;
}

static int
parse_suffixed(const char *text, const struct suffix *suffixes, size_t count,
    uint64_t *out)
{
	uint64_t value;
	const char *rest = parse_digits(text, &value);
	size_t i;

	if (rest == NULL)
		return -EINVAL;
	if (*rest == '\0' && value == 0) {
		*out = 0;
		return 0;
	}
	for (i = 0; i < count; i++) {
		if (strcmp(rest, suffixes[i].text) != 0)
			continue;
		return __builtin_mul_overflow(value, suffixes[i].factor, out) ?
		    -EINVAL : 0;
	}
	return -EINVAL;
}

int
settings_parse_duration_ms(const char *text, uint64_t *ms)
{
	return parse_suffixed(text, durations, COUNT(durations), ms);
}

int
settings_parse_size(const char *text, uint64_t *bytes)
{
	return parse_suffixed(text, sizes, COUNT(sizes), bytes);
}

int
settings_parse_count(const char *text, uint64_t *count)
{
	const char *rest = parse_digits(text, count);

	return rest != NULL && *rest == '\0' ? 0 : -EINVAL;
}

int
settings_parse_percent(const char *text, uint64_t *percent)
{
	char digits[8];
	size_t n = strlen(text);

	if (n > 0 && text[n - 1] == '%')
		n--;
	if (n >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, n);
	digits[n] = '\0';
	return settings_parse_count(digits, percent);
}

int
settings_parse_bool(const char *text, bool *value)
{
	static const char *const words[] = { "yes", "no", "true", "false",
		"on", "off" };
	size_t i;

	for (i = 0; i < COUNT(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*value = i % 2 == 0;
			return 0;
		}
	}
	return -EINVAL;
}

int
settings_parse_milli(const char *text, uint64_t *milli)
{
	uint64_t whole, fraction = 0, factor = 100;
	const char *rest = parse_digits(text, &whole);

	if (rest == NULL || whole > UINT32_MAX)
		return -EINVAL;
	if (*rest == '.') {
		if (*++rest == '\0')
			return -EINVAL;
		for (; *rest >= '0' && *rest <= '9' && factor > 0; rest++) {
			fraction += factor * (uint64_t)(*rest - '0');
			factor /= 10;
		}
	}
	if (*rest != '\0')
		return -EINVAL;
	*milli = whole * 1000 + fraction;
	return 0;
}

static const char *
suffixed_text(uint64_t value, const struct suffix *suffixes, size_t count,
    char *out, size_t size)
{
	size_t i;

	for (i = 0; i + 1 < count; i++)
		if (value % suffixes[i].factor == 0)
			break;
	if (value == 0)
		(void)snprintf(out, size, "0");
	else
		(void)snprintf(out, size, "%llu%s",
		    (unsigned long long)(value / suffixes[i].factor),
		    suffixes[i].text);
	return out;
}

const char *
settings_duration_text(uint64_t ms, char *out, size_t size)
{
	return suffixed_text(ms, durations, COUNT(durations), out, size);
}

const char *
settings_size_text(uint64_t bytes, char *out, size_t size)
{
	return suffixed_text(bytes, sizes, COUNT(sizes), out, size);
}

bool
settings_path_ok(const char *path)
{
	if (*path != '/')
		return false;
	if (path[1] == '\0')
		return true;
	while (*path == '/') {
		size_t n = strcspn(++path, "/");

		if (n == 0 || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += n;
	}
	return true;
}

bool
settings_account_ok(const char *name)
{
	size_t n = strlen(name), i;

	if (n == 0 || n > 32 || (name[0] != '_' &&
	    (name[0] < 'a' || name[0] > 'z')))
		return false;
	for (i = 1; i < n; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyz0123456789_-",
		    name[i]) == NULL)
			return false;
	return true;
}

static int
check_bind_path(const char *word, size_t n, char *problem, size_t size)
{
	/* Where the sandbox has something of its own, a bind would hide it. */
	static const char *const taken[] = { "/proc", "/sys", "/dev", "/tmp",
		"/data", "/fn" };
	char path[1024];
	size_t i;

	if (n > 3 && memcmp(word + n - 3, ":rw", 3) == 0)
		n -= 3;
	if (n >= sizeof(path))
		return settings_problem(problem, size, "bind: a path of %zu "
		    "bytes is too long", n);
	memcpy(path, word, n);
	path[n] = '\0';
	if (n == 1 && path[0] == '/')
		return settings_problem(problem, size, "bind: / is the whole "
		    "machine; name what functions need of it");
	if (!settings_path_ok(path) || strchr(path, ':') != NULL)
		return settings_problem(problem, size, "bind: \"%.60s\" is no "
		    "absolute path; write /path, or /path:rw to make it "
		    "writable", path);
	for (i = 0; i < COUNT(taken); i++) {
		size_t m = strlen(taken[i]);

		if (strncmp(path, taken[i], m) == 0 &&
		    (path[m] == '\0' || path[m] == '/'))
			return settings_problem(problem, size, "bind: %.60s "
			    "cannot be shared, for the sandbox has a %s of "
			    "its own", path, taken[i]);
	}
	return 0;
}

int
settings_check_bind(const char *value, char *problem, size_t size)
{
	size_t count;

	for (count = 0;; count++) {
		size_t n;
		int error;

		value += strspn(value, " \t");
		n = strcspn(value, " \t");
		if (n == 0)
			return 0;
		if (count == SETTINGS_BIND_MAX)
			return settings_problem(problem, size, "bind: more "
			    "than %d paths; share a directory that holds them",
			    SETTINGS_BIND_MAX);
		error = check_bind_path(value, n, problem, size);
		if (error != 0)
			return error;
		value += n;
	}
}

#define NEAR_MAX 40

static size_t
min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Edits between two words (insert, delete, replace, swap of neighbours). */
static size_t
distance(const char *a, const char *b)
{
	size_t rows[3][NEAR_MAX + 2], n = strlen(a), m = strlen(b), i, j;
	size_t *before = rows[0], *last = rows[1], *row = rows[2];

	for (j = 0; j <= m; j++)
		before[j] = last[j] = j;
	for (i = 1; i <= n; i++) {
		size_t *spare = before;

		row[0] = i;
		for (j = 1; j <= m; j++) {
			size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;

			row[j] = min3(last[j] + 1, row[j - 1] + 1,
			    last[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[m];
}

const char *
settings_nearest(const char *key, const char *const *keys, size_t count)
{
	const char *best = NULL;
	size_t n = strlen(key), least = n / 3 + 1, i;

	if (n == 0 || n > NEAR_MAX)
		return NULL;
	for (i = 0; i < count; i++) {
		size_t d;

		if (strlen(keys[i]) > NEAR_MAX)
			continue;
		d = distance(key, keys[i]);
		if (d < least || (d == least && best == NULL)) {
			least = d;
			best = keys[i];
		}
	}
	return best;
}

static bool
is_param_name(const char *name, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' &&
		    !(name[i] == '*' && i > 0 && i + 1 == n))
			return false;
	return n > 0;
}

int
settings_check_params(const char *value, char *problem, size_t size)
{
	const char *at = value;

	if (strlen(value) > CTL_DETAIL_MAX)
		return settings_problem(problem, size, "pass_params: longer "
		    "than %d bytes; name fewer, or use a prefix as GEOIP_*",
		    CTL_DETAIL_MAX);
	for (;;) {
		size_t n;

		at += strspn(at, " \t");
		n = strcspn(at, " \t");
		if (n == 0)
			return 0;
		if (!is_param_name(at, n))
			return settings_problem(problem, size, "pass_params: "
			    "\"%.*s\" is no name of a parameter; write names "
			    "as REMOTE_PORT or prefixes as GEOIP_*, separated "
			    "by spaces", n > 60 ? 60 : (int)n, at);
		at += n;
	}
}
