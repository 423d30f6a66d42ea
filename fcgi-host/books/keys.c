#include "fcgi-host/books/keys.h"

#include <errno.h>
#include <string.h>

#define HOUR_US UINT64_C(3600000000)

static const char *const names[KEY_COUNT] = {
	[KEY_TENANT] = "tenant",
	[KEY_FUNCTION] = "function",
	[KEY_RUNTIME] = "runtime",
	[KEY_DAY] = "day",
	[KEY_MONTH] = "month",
	[KEY_HOUR] = "hour",
	[KEY_OUTCOME] = "outcome",
	[KEY_START] = "start",
	[KEY_TRIGGER] = "trigger",
	[KEY_METHOD] = "method",
	[KEY_STATUS] = "status",
};

const char *
keys_name(enum key key)
{
	return names[key];
}

static enum key
key_of(const char *word, size_t n)
{
	unsigned i;

	for (i = 0; i < KEY_COUNT; i++)
		if (strlen(names[i]) == n && memcmp(names[i], word, n) == 0)
			break;
	return (enum key)i;
}

int
keys_parse(struct keys *keys, const char *text, const char **word)
{
	size_t i;

	keys->count = 0;
	for (;; text++) {
		size_t n = strcspn(text, ",");
		enum key key = key_of(text, n);

		*word = text;
		if (key == KEY_COUNT)
			return -EINVAL;
		for (i = 0; i < keys->count; i++)
			if (keys->at[i] == key)
				return -EINVAL;
		keys->at[keys->count++] = key;
		text += n;
		if (*text == '\0')
			return 0;
	}
}

static struct span
date_of(const struct entry *entry, struct keys_hour *hour, size_t length)
{
	if (hour->text[0] == '\0' || entry->time_us / HOUR_US != hour->hour) {
		hour->hour = entry->time_us / HOUR_US;
		(void)civil_time_text(entry->time_us, hour->text);
	}
	return (struct span){ hour->text, length };
}

/* text has room for a number's digits. */
static struct span
value_of(enum key key, const struct entry *entry, struct keys_hour *hour,
    char text[4])
{
	switch (key) {
	case KEY_TENANT:
		return entry->tenant;
	case KEY_FUNCTION:
		return entry->function;
	case KEY_RUNTIME:
		return entry->runtime;
	case KEY_DAY:
		return date_of(entry, hour, 10);
	case KEY_MONTH:
		return date_of(entry, hour, 7);
	case KEY_HOUR:
		return date_of(entry, hour, 13);
	case KEY_OUTCOME:
		return entry->outcome;
	case KEY_START:
		return entry->start;
	case KEY_TRIGGER:
		return entry->trigger;
	case KEY_METHOD:
		return entry->method;
	case KEY_STATUS:
		if (entry->type != ENTRY_EXEC || entry->status > 999)
			break;
		text[0] = (char)('0' + entry->status / 100);
		text[1] = (char)('0' + entry->status / 10 % 10);
		text[2] = (char)('0' + entry->status % 10);
		return (struct span){ text, 3 };
	case KEY_COUNT:
		break;
	}
	return (struct span){ NULL, 0 };
}

size_t
keys_pack(const struct keys *keys, const struct entry *entry,
    struct keys_hour *hour, uint8_t *out, size_t *n, size_t size)
{
	size_t i, used = 0;

	for (i = 0; i < keys->count; i++) {
		char text[4];
		struct span value = value_of(keys->at[i], entry, hour, text);

		if (used + 2 + value.n <= size) {
			out[used] = (uint8_t)(value.n >> 8);
			out[used + 1] = (uint8_t)value.n;
			if (value.n > 0)
				memcpy(out + used + 2, value.at, value.n);
		}
		used += 2 + value.n;
	}
	*n = used;
	return used <= size ? 0 : used;
}

struct span
keys_value(const uint8_t *packed, size_t index)
{
	size_t n;

	for (;; index--) {
		n = (size_t)packed[0] << 8 | packed[1];
		if (index == 0)
			return (struct span){ (const char *)packed + 2, n };
		packed += 2 + n;
	}
}

int
keys_compare(const struct keys *keys, const uint8_t *a, const uint8_t *b)
{
	size_t i;

	for (i = 0; i < keys->count; i++) {
		struct span x = keys_value(a, i), y = keys_value(b, i);
		size_t n = x.n < y.n ? x.n : y.n;
		int order = memcmp(x.at, y.at, n);

		if (order == 0 && x.n != y.n)
			order = x.n < y.n ? -1 : 1;
		if (order != 0)
			return order;
	}
	return 0;
}
