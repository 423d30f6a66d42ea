/*
 * A strict reader of JSON, for fuzz targets whose room writes some: whether a
 * text is one value of printable ASCII and UTF-8, with nothing behind it.
 */
#ifndef TESTS_FUZZ_JSON_H
#define TESTS_FUZZ_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define JSON_DEPTH_MAX 8

struct json_text {
	const char *at, *end;
};

static inline bool
json_take(struct json_text *text, char c)
{
	if (text->at == text->end || *text->at != c)
		return false;
	text->at++;
	return true;
}

static inline bool
json_string(struct json_text *text)
{
	if (!json_take(text, '"'))
		return false;
	while (text->at < text->end && *text->at != '"') {
		unsigned char c = (unsigned char)*text->at++;

		if (c < 0x20 || c == 0x7f)
			return false;
		if (c != '\\')
			continue;
		if (text->at == text->end ||
		    strchr("\"\\/bfnrtu", *text->at) == NULL)
			return false;
		text->at++;
	}
	return json_take(text, '"');
}

static inline size_t
json_digits(struct json_text *text)
{
	size_t n = 0;

	for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; n++)
		text->at++;
	return n;
}

static inline bool
json_number(struct json_text *text)
{
	const char *begin;
	size_t n;

	(void)json_take(text, '-');
	begin = text->at;
	n = json_digits(text);
	if (n == 0 || (n > 1 && *begin == '0'))
		return false;
	return !json_take(text, '.') || json_digits(text) > 0;
}

static inline bool
json_word(struct json_text *text, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(text->end - text->at) < n ||
	    memcmp(text->at, word, n) != 0)
		return false;
	text->at += n;
	return true;
}

static inline bool json_value(struct json_text *text, unsigned depth);

/* What stands between brackets; with names in an object. */
static inline bool
json_list(struct json_text *text, char close, unsigned depth)
{
	if (json_take(text, close))
		return true;
	do {
		if (close == '}' && (!json_string(text) ||
		    !json_take(text, ':')))
			return false;
		if (!json_value(text, depth))
			return false;
	} while (json_take(text, ','));
	return json_take(text, close);
}

static inline bool
json_value(struct json_text *text, unsigned depth)
{
	if (depth == JSON_DEPTH_MAX || text->at == text->end)
		return false;
	if (json_take(text, '{'))
		return json_list(text, '}', depth + 1);
	if (json_take(text, '['))
		return json_list(text, ']', depth + 1);
	if (*text->at == '"')
		return json_string(text);
	return json_word(text, "true") || json_word(text, "false") ||
	    json_word(text, "null") || json_number(text);
}

/* One value, without a blank in or behind it. */
static inline bool
json_is_value(const char *text, size_t n)
{
	struct json_text all = { text, text + n };

	return json_value(&all, 0) && all.at == all.end;
}

#endif
