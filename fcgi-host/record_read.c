#include "fcgi-host/record_read.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/record.h"

/* What stands behind "KEY": in the line; NULL: there is no such field.  No value
 * of ours has a quote in it that is not escaped, so a key is found only where
 * one is. */
static const char *
field(const char *line, size_t n, const char *key)
{
	size_t length = strlen(key);
	const char *at = line, *end = line + n;

	while (at < end) {
		at = memmem(at, (size_t)(end - at), key, length);
		if (at == NULL)
			return NULL;
		if (at > line && at[-1] == '"' && at + length + 1 < end &&
		    at[length] == '"' && at[length + 1] == ':')
			return at + length + 2;
		at += length;
	}
	return NULL;
}

static bool
number(const char *line, size_t n, const char *key, uint64_t *value)
{
	const char *at = field(line, n, key), *end = line + n, *first = at;

	*value = 0;
	if (at == NULL)
		return false;
	for (; at < end && *at >= '0' && *at <= '9'; at++) {
		if (*value > UINT64_MAX / 10 - 1)
			return false;
		*value = *value * 10 + (uint64_t)(*at - '0');
	}
	return at > first;
}

/* A text without escapes that fits. */
static bool
text(const char *line, size_t n, const char *key, char *out, size_t size)
{
	const char *at = field(line, n, key), *end = line + n, *stop;

	if (at == NULL || at >= end || *at != '"')
		return false;
	at++;
	stop = memchr(at, '"', (size_t)(end - at));
	if (stop == NULL || (size_t)(stop - at) >= size ||
	    memchr(at, '\\', (size_t)(stop - at)) != NULL ||
	    memchr(at, '\0', (size_t)(stop - at)) != NULL)
		return false;
	memcpy(out, at, (size_t)(stop - at));
	out[stop - at] = '\0';
	return true;
}

static bool
hex(const char *line, size_t n, const char *key, uint64_t *value)
{
	static const char digits[] = "0123456789abcdef";
	char word[17];

	*value = 0;
	if (!text(line, n, key, word, sizeof(word)) || word[0] == '\0')
		return false;
	for (size_t i = 0; word[i] != '\0'; i++) {
		const char *digit = strchr(digits, word[i]);

		if (digit == NULL)
			return false;
		*value = *value << 4 | (uint64_t)(digit - digits);
	}
	return true;
}

static int
digits_of(const char *from, size_t n)
{
	int value = 0;

	for (size_t i = 0; i < n; i++) {
		if (from[i] < '0' || from[i] > '9')
			return -1;
		value = value * 10 + from[i] - '0';
	}
	return value;
}

/* "2023-11-14T22:13:20.123456Z" */
static bool
moment(const char *line, size_t n, uint64_t *time_us)
{
	char word[28];
	struct tm tm = { 0 };
	int us;
	time_t seconds;

	if (!text(line, n, "time", word, sizeof(word)) || strlen(word) != 27)
		return false;
	tm.tm_year = digits_of(word, 4) - 1900;
	tm.tm_mon = digits_of(word + 5, 2) - 1;
	tm.tm_mday = digits_of(word + 8, 2);
	tm.tm_hour = digits_of(word + 11, 2);
	tm.tm_min = digits_of(word + 14, 2);
	tm.tm_sec = digits_of(word + 17, 2);
	us = digits_of(word + 20, 6);
	if (tm.tm_year < 70 || tm.tm_mon < 0 || tm.tm_mon > 11 ||
	    tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 ||
	    tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 ||
	    tm.tm_sec < 0 || tm.tm_sec > 60 || us < 0)
		return false;
	seconds = timegm(&tm);
	*time_us = (uint64_t)seconds * 1000000 + (uint64_t)us;
	return seconds >= 0;
}

static bool
who_read(const char *line, size_t n, struct record_line *out)
{
	/* lines of older versions have none */
	if (!text(line, n, "runtime", out->runtime, sizeof(out->runtime)))
		out->runtime[0] = '\0';
	return moment(line, n, &out->time_us) &&
	    text(line, n, "tenant", out->tenant, sizeof(out->tenant)) &&
	    text(line, n, "function", out->function, sizeof(out->function));
}

static int
exec_read(const char *line, size_t n, struct record_line *out)
{
	uint64_t billed_ms, limit_mib;
	char outcome[16];

	if (!who_read(line, n, out) ||
	    !text(line, n, "outcome", outcome, sizeof(outcome)) ||
	    !number(line, n, "billed_ms", &billed_ms) ||
	    !number(line, n, "mem_limit_mib", &limit_mib) ||
	    !number(line, n, "cpu_us", &out->cpu_us) ||
	    !number(line, n, "bytes_out", &out->bytes_out))
		return -EINVAL;
	out->mib_ms = record_mib_ms(limit_mib, billed_ms);
	out->is_charged = strcmp(outcome, "refused") != 0 &&
	    strcmp(outcome, "lost") != 0;
	return 0;
}

static int
instance_read(const char *line, size_t n, struct record_line *out)
{
	uint64_t start_us, idle_us;

	if (!who_read(line, n, out) ||
	    !number(line, n, "start_cpu_us", &start_us) ||
	    !number(line, n, "idle_cpu_us", &idle_us))
		return -EINVAL;
	out->cpu_us = start_us + idle_us;
	(void)number(line, n, "idle_mib_ms", &out->idle_mib_ms);
	out->is_charged = true;
	return 0;
}

int
record_read(const char *line, size_t n, struct record_line *out)
{
	char type[16];

	*out = (struct record_line){ .type = RECORD_OTHER };
	if (n < 2 || line[0] != '{' || line[n - 1] != '}' ||
	    !number(line, n, "seq", &out->seq) || out->seq == 0 ||
	    !text(line, n, "type", type, sizeof(type)))
		return -EINVAL;
	if (strcmp(type, "exec") == 0) {
		out->type = RECORD_EXEC;
		return exec_read(line, n, out);
	}
	if (strcmp(type, "instance") == 0) {
		out->type = RECORD_INSTANCE;
		return instance_read(line, n, out);
	}
	if (strcmp(type, "host") == 0) {
		out->type = RECORD_HOST;
		return hex(line, n, "run", &out->run_id) ? 0 : -EINVAL;
	}
	return 0;
}
