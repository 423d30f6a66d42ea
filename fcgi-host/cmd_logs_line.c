/* One line of the host's log, taken apart and written anew. */
#include <errno.h>
#include <string.h>

#include "fcgi-host/cmd_logs.h"

#define FIELDS_MAX 32
#define RUN_MAX 64

/* key=value, as it stands in the line, without the quotes. */
struct field {
	const char *key, *value;
	size_t key_length, length;
};

struct fields {
	struct field of[FIELDS_MAX];
	size_t count;
};

static size_t
value_length(const char *value, const char *end, bool is_quoted)
{
	const char *at = value;

	while (at < end && (is_quoted ? *at != '"' : *at != ' ')) {
		if (is_quoted && *at == '\\' && at + 1 < end)
			at++;
		at++;
	}
	return (size_t)(at - value);
}

/* A line that was cut may lack its last quote. */
static void
split(const char *line, size_t n, struct fields *fields)
{
	const char *end = line + n;

	while (line < end && fields->count < FIELDS_MAX) {
		struct field *field = &fields->of[fields->count];
		const char *equals = memchr(line, '=', (size_t)(end - line));
		bool is_quoted;

		if (equals == NULL)
			return;
		field->key = line;
		field->key_length = (size_t)(equals - line);
		is_quoted = equals + 1 < end && equals[1] == '"';
		field->value = equals + 1 + is_quoted;
		field->length = value_length(field->value, end, is_quoted);
		line = field->value + field->length + is_quoted;
		while (line < end && *line == ' ')
			line++;
		fields->count++;
	}
}

/* The first of that name: those that the host writes stand before what a function
 * or a client wrote. */
static const struct field *
find(const struct fields *fields, const char *key)
{
	size_t n = strlen(key), i;

	for (i = 0; i < fields->count; i++)
		if (fields->of[i].key_length == n &&
		    memcmp(fields->of[i].key, key, n) == 0)
			return &fields->of[i];
	return NULL;
}

static bool
field_is(const struct field *field, const char *text)
{
	return field != NULL && field->length == strlen(text) &&
	    memcmp(field->value, text, field->length) == 0;
}

/* ------------------------------------------------------------------- letters */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \xNN at text: the byte, or -1. */
static int
escaped_byte(const char *text, size_t n)
{
	if (n < 4 || text[0] != '\\' || text[1] != 'x' ||
	    hex_digit(text[2]) < 0 || hex_digit(text[3]) < 0)
		return -1;
	return hex_digit(text[2]) * 16 + hex_digit(text[3]);
}

/* What a terminal shows and does nothing else with: no control character, and
 * none that turns the order of the text around or is not seen. */
static bool
is_letter(const uint8_t *bytes, size_t n)
{
	uint32_t point = n == 2 ? bytes[0] & 31u : n == 3 ? bytes[0] & 15u :
	    bytes[0] & 7u;

	if (!buf_is_utf8((const char *)bytes, n))
		return false;
	for (size_t i = 1; i < n; i++)
		point = point << 6 | (bytes[i] & 63u);
	return point >= 0xa1 && point != 0xad && point != 0x61c &&
	    !(point >= 0x200b && point <= 0x200f) &&
	    !(point >= 0x2028 && point <= 0x202e) &&
	    !(point >= 0x2060 && point <= 0x206f) && point != 0xfeff &&
	    !(point >= 0xfff0 && point <= 0xfffb) && point < 0xe0000;
}

/* A run of escaped bytes: letters as such, the rest as it was. */
static int
put_run(const uint8_t *run, size_t n, struct buf *out)
{
	int error = 0;

	for (size_t i = 0; i < n && error == 0;) {
		size_t length = run[i] >= 0xf0 ? 4 : run[i] >= 0xe0 ? 3 : 2;

		if (run[i] == '\t') {
			error = buf_add(out, "\t", 1);
			i++;
		} else if (run[i] >= 0xc2 && length <= n - i &&
		    is_letter(run + i, length)) {
			error = buf_add(out, run + i, length);
			i += length;
		} else {
			error = buf_addf(out, "\\x%02x", run[i]);
			i++;
		}
	}
	return error;
}

static int
put_text(const char *text, size_t n, struct buf *out)
{
	uint8_t run[RUN_MAX];
	int error = 0;

	while (n > 0 && error == 0) {
		size_t count = 0, plain = 1;
		int byte;

		while (count < RUN_MAX && (byte = escaped_byte(text, n)) >= 0) {
			run[count++] = (uint8_t)byte;
			text += 4;
			n -= 4;
		}
		if (count > 0) {
			error = put_run(run, count, out);
			continue;
		}
		if (n > 1 && text[0] == '\\' &&
		    (text[1] == '"' || text[1] == '\\')) {
			text++;
			n--;
		}
		while (plain < n && text[plain] != '\\')
			plain++;
		error = buf_add(out, text, plain);
		text += plain;
		n -= plain;
	}
	return error;
}

/* -------------------------------------------------------------------- output */

static bool
is_number(const struct field *field)
{
	static const char *const keys[] = { "instance", "cut", "lines",
		"status", "suppressed" };
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (field->key_length == strlen(keys[i]) &&
		    memcmp(field->key, keys[i], field->key_length) == 0)
			break;
	if (i == sizeof(keys) / sizeof(keys[0]) || field->length == 0 ||
	    field->length > 19 || (field->value[0] == '0' && field->length > 1))
		return false;
	for (i = 0; i < field->length; i++)
		if (field->value[i] < '0' || field->value[i] > '9')
			return false;
	return true;
}

static int
put_json(const struct fields *fields, struct buf *out)
{
	struct buf text = { 0 };
	int error = 0;

	for (size_t i = 0; i < fields->count && error == 0; i++) {
		const struct field *field = &fields->of[i];

		error = buf_add(out, i == 0 ? "{" : ",", 1);
		if (error == 0)
			error = buf_add_json(out, field->key,
			    field->key_length);
		if (error == 0)
			error = buf_add(out, ":", 1);
		if (error == 0 && is_number(field)) {
			error = buf_add(out, field->value, field->length);
			continue;
		}
		buf_consume(&text, buf_len(&text));
		if (error == 0)
			error = put_text(field->value, field->length, &text);
		if (error == 0)
			error = buf_add_json(out, buf_len(&text) > 0 ?
			    (const char *)buf_head(&text) : "",
			    buf_len(&text));
	}
	buf_free(&text);
	return error == 0 ? buf_add_str(out, "}\n") : error;
}

static int
put_field(const struct field *field, struct buf *out)
{
	int error = field == NULL || field->length == 0 ?
	    buf_add(out, "-", 1) : buf_add(out, field->value, field->length);

	return error == 0 ? buf_add(out, " ", 1) : error;
}

/* What the host says of a function: key=value, but what stands before already. */
static int
put_facts(const struct fields *fields, struct buf *out)
{
	static const char *const before[] = { "time", "level", "role",
		"function", "request", "event" };
	int error = buf_add_str(out, "fcgi-host: ");

	if (error == 0)
		error = put_field(find(fields, "event"), out);
	for (size_t i = 0; i < fields->count && error == 0; i++) {
		const struct field *field = &fields->of[i];
		bool is_said = false;

		for (size_t j = 0; j < sizeof(before) / sizeof(before[0]); j++)
			is_said |= find(fields, before[j]) == field;
		if (is_said)
			continue;
		error = buf_add(out, field->key, field->key_length);
		if (error == 0)
			error = buf_add(out, "=", 1);
		if (error == 0)
			error = put_text(field->value, field->length, out);
		if (error == 0)
			error = buf_add(out, " ", 1);
	}
	if (error == 0)
		out->end--; /* the last blank */
	return error;
}

static int
put_words(const struct fields *fields, struct buf *out)
{
	const struct field *text = find(fields, "text");
	int error = put_field(find(fields, "time"), out);

	if (error == 0)
		error = put_field(find(fields, "function"), out);
	if (error == 0)
		error = put_field(find(fields, "request"), out);
	if (error == 0 && field_is(find(fields, "event"), "stderr") &&
	    text != NULL)
		error = put_text(text->value, text->length, out);
	else if (error == 0)
		error = put_facts(fields, out);
	return error == 0 ? buf_add(out, "\n", 1) : error;
}

int
logs_line(const struct logs_want *want, const char *line, size_t n,
    struct buf *out)
{
	struct fields fields = { .count = 0 };
	int error;

	split(line, n, &fields);
	if (fields.count == 0 || find(&fields, "event") == NULL ||
	    find(&fields, "time") != &fields.of[0] ||
	    find(&fields, "function") == NULL)
		return 0;
	if ((want->function != NULL &&
	    !field_is(find(&fields, "function"), want->function)) ||
	    (want->request != NULL &&
	    !field_is(find(&fields, "request"), want->request)))
		return 0;
	error = want->is_json ? put_json(&fields, out) :
	    put_words(&fields, out);
	return error == 0 ? 1 : error;
}
