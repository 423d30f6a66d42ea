#include "fcgi-host/record_read.h"

#include <errno.h>
#include <string.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/record.h"

/* Most fields are asked for in the order in which they are written, so each is
 * looked for from the last one on, and only then from the beginning. */
struct cursor {
	const char *line, *end, *at;
};

/* Where the value of a key begins; key: with its quotes and colon.  No value of
 * ours has a quote in it that is not escaped, so it is found only where a key
 * is. */
static const char *
field(struct cursor *cursor, const char *key, size_t length)
{
	const char *at = memmem(cursor->at,
	    (size_t)(cursor->end - cursor->at), key, length);

	if (at == NULL)
		at = memmem(cursor->line, (size_t)(cursor->end - cursor->line),
		    key, length);
	if (at == NULL || at + length >= cursor->end)
		return NULL;
	cursor->at = at + length;
	return cursor->at;
}

/* The length is the compiler's to know. */
#define FIELD(cursor, key) \
	field((cursor), "\"" key "\":", sizeof("\"" key "\":") - 1)
#define NUMBER(cursor, key, value) \
	number((cursor), FIELD((cursor), key), (value))
#define TEXT(cursor, key, out) \
	text((cursor), FIELD((cursor), key), (out), sizeof(out))

static bool
number(const struct cursor *cursor, const char *at, uint64_t *value)
{
	const char *first = at;

	*value = 0;
	if (at == NULL)
		return false;
	for (; at < cursor->end && *at >= '0' && *at <= '9'; at++) {
		if (*value > UINT64_MAX / 10 - 1)
			return false;
		*value = *value * 10 + (uint64_t)(*at - '0');
	}
	return at > first;
}

/* A text without escapes that fits. */
static bool
text(const struct cursor *cursor, const char *at, char *out, size_t size)
{
	const char *stop;

	if (at == NULL || *at != '"')
		return false;
	at++;
	stop = memchr(at, '"', (size_t)(cursor->end - at));
	if (stop == NULL || (size_t)(stop - at) >= size ||
	    memchr(at, '\\', (size_t)(stop - at)) != NULL ||
	    memchr(at, '\0', (size_t)(stop - at)) != NULL)
		return false;
	memcpy(out, at, (size_t)(stop - at));
	out[stop - at] = '\0';
	return true;
}

static bool
run_read(struct cursor *cursor, uint64_t *value)
{
	static const char digits[] = "0123456789abcdef";
	char word[17];

	*value = 0;
	if (!TEXT(cursor, "run", word) || word[0] == '\0')
		return false;
	for (size_t i = 0; word[i] != '\0'; i++) {
		const char *digit = strchr(digits, word[i]);

		if (digit == NULL)
			return false;
		*value = *value << 4 | (uint64_t)(digit - digits);
	}
	return true;
}

/* "2023-11-14T22:13:20.123456Z" */
static bool
moment(struct cursor *cursor, uint64_t *time_us)
{
	char word[CIVIL_TIME_MAX];

	return TEXT(cursor, "time", word) &&
	    strlen(word) == CIVIL_TIME_MAX - 1 &&
	    civil_parse_time(word, CIVIL_TIME_MAX - 1, time_us) == 0;
}

static bool
who_read(struct cursor *cursor, struct record_line *out)
{
	if (!moment(cursor, &out->time_us) ||
	    !TEXT(cursor, "tenant", out->tenant) ||
	    !TEXT(cursor, "function", out->function))
		return false;
	/* lines of older versions have none */
	if (!TEXT(cursor, "runtime", out->runtime))
		out->runtime[0] = '\0';
	return true;
}

static int
exec_read(struct cursor *cursor, struct record_line *out)
{
	uint64_t billed_ms, limit_mib;
	char outcome[16];

	if (!who_read(cursor, out) || !TEXT(cursor, "outcome", outcome) ||
	    !NUMBER(cursor, "billed_ms", &billed_ms) ||
	    !NUMBER(cursor, "cpu_us", &out->cpu_us) ||
	    !NUMBER(cursor, "mem_limit_mib", &limit_mib) ||
	    !NUMBER(cursor, "bytes_out", &out->bytes_out))
		return -EINVAL;
	out->mib_ms = record_mib_ms(limit_mib, billed_ms);
	out->is_charged = strcmp(outcome, "refused") != 0 &&
	    strcmp(outcome, "lost") != 0;
	return 0;
}

static int
instance_read(struct cursor *cursor, struct record_line *out)
{
	uint64_t start_us, idle_us;

	if (!who_read(cursor, out) ||
	    !NUMBER(cursor, "start_cpu_us", &start_us) ||
	    !NUMBER(cursor, "idle_cpu_us", &idle_us))
		return -EINVAL;
	out->cpu_us = start_us + idle_us;
	(void)NUMBER(cursor, "idle_mib_ms", &out->idle_mib_ms);
	out->is_charged = true;
	return 0;
}

int
record_read(const char *line, size_t n, struct record_line *out)
{
	struct cursor cursor = { line, line + n, line };
	char type[16];

	*out = (struct record_line){ .type = RECORD_OTHER };
	if (n < 2 || line[0] != '{' || line[n - 1] != '}' ||
	    !NUMBER(&cursor, "seq", &out->seq) || out->seq == 0 ||
	    !TEXT(&cursor, "type", type))
		return -EINVAL;
	if (strcmp(type, "exec") == 0) {
		out->type = RECORD_EXEC;
		return exec_read(&cursor, out);
	}
	if (strcmp(type, "instance") == 0) {
		out->type = RECORD_INSTANCE;
		return instance_read(&cursor, out);
	}
	if (strcmp(type, "host") == 0) {
		out->type = RECORD_HOST;
		return run_read(&cursor, &out->run_id) ? 0 : -EINVAL;
	}
	return 0;
}

uint64_t
record_line_seq(const char *line, size_t n)
{
	struct cursor cursor = { line, line + n, line };
	uint64_t seq;

	return NUMBER(&cursor, "seq", &seq) ? seq : 0;
}
