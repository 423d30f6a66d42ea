#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/conf_scan.h"

/* Where the scan stands. */
struct cursor {
	const char *path;
	unsigned line;
	struct conf_scan *scan;
	struct conf_errors *errors;
	const char *sections;
	bool in_bad_section; /* its keys would be judged in the wrong place */
	int error;
};

void
conf_errors_free(struct conf_errors *errors)
{
	buf_free(&errors->text);
	errors->count = 0;
}

static void
add_escaped(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c <= 0x7e)
			(void)buf_add(out, text, 1);
		else
			(void)buf_addf(out, "\\x%02x", c);
	}
}

void
conf_error(struct conf_errors *errors, const char *path, unsigned line,
    const char *fmt, ...)
{
	char sentence[1024];
	va_list args;

	if (errors->count++ >= CONF_ERRORS_MAX)
		return;
	va_start(args, fmt);
	(void)vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	add_escaped(&errors->text, path);
	if (line != 0)
		(void)buf_addf(&errors->text, ":%u", line);
	(void)buf_add_str(&errors->text, ": ");
	add_escaped(&errors->text, sentence);
	(void)buf_add_str(&errors->text, "\n");
}

/* A sentence, and where it stands in the file. */
struct sentence {
	const char *text;
	size_t n, order;
	unsigned line;
};

static int
compare_sentences(const void *a, const void *b)
{
	const struct sentence *left = a, *right = b;

	if (left->line != right->line)
		return left->line < right->line ? -1 : 1;
	return left->order < right->order ? -1 : 1;
}

/* Cuts the text into its lines; at most CONF_ERRORS_MAX, as conf_error wrote
 * no more. */
static size_t
split_sentences(struct buf *text, size_t place_of_line,
    struct sentence sentences[CONF_ERRORS_MAX])
{
	const char *at = (const char *)buf_head(text);
	size_t left = buf_len(text), count = 0;

	while (left > 0 && count < CONF_ERRORS_MAX) {
		const char *end = memchr(at, '\n', left);
		struct sentence *one = &sentences[count];

		if (end == NULL)
			break;
		one->text = at;
		one->n = (size_t)(end - at) + 1;
		one->order = count++;
		/* "FILE:LINE: …"; without a line it is the whole file's. */
		one->line = one->n > place_of_line &&
		    at[place_of_line - 1] == ':' ?
		    (unsigned)strtoul(at + place_of_line, NULL, 10) : 0;
		left -= one->n;
		at = end + 1;
	}
	return count;
}

void
conf_errors_sort(struct conf_errors *errors, const char *path)
{
	struct sentence sentences[CONF_ERRORS_MAX];
	struct buf name = { .data = NULL }, sorted = { .data = NULL };
	size_t count, i;
	int error = 0;

	add_escaped(&name, path);
	count = split_sentences(&errors->text, buf_len(&name) + 1, sentences);
	buf_free(&name);
	if (count < 2)
		return;
	qsort(sentences, count, sizeof(sentences[0]), compare_sentences);
	for (i = 0; i < count && error == 0; i++)
		error = buf_add(&sorted, sentences[i].text, sentences[i].n);
	if (error != 0) {
		/* Unsorted is better than lost. */
		buf_free(&sorted);
		return;
	}
	buf_free(&errors->text);
	errors->text = sorted;
}

#define WRONG(cursor, ...) do { \
	conf_error((cursor)->errors, (cursor)->path, (cursor)->line, \
	    __VA_ARGS__); \
	(cursor)->error = -EINVAL; \
} while (0)

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

char *
conf_scan_strip(char *text)
{
	size_t n;

	while (is_blank(*text))
		text++;
	n = strlen(text);
	while (n > 0 && is_blank(text[n - 1]))
		n--;
	text[n] = '\0';
	return text;
}

static void
lower(char *text)
{
	for (; *text != '\0'; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

static void
scan_section(struct cursor *c, char *line)
{
	size_t n = strlen(line), i;
	struct conf_part *parts;
	char *name;

	c->in_bad_section = true;
	if (line[n - 1] != ']') {
		WRONG(c, "a section's line must end with ']'; put the comment "
		    "on a line of its own");
		return;
	}
	line[n - 1] = '\0';
	name = conf_scan_strip(line + 1);
	lower(name);
	if (*name == '\0' || strpbrk(name, "[]:\"'=;#") != NULL) {
		WRONG(c, "\"[%.80s]\" is no section; write %s", name,
		    c->sections);
		return;
	}
	for (i = 0; i < c->scan->count; i++) {
		if (strcmp(c->scan->parts[i].name, name) == 0) {
			WRONG(c, "section [%.80s] stands already at line %u; "
			    "put all of its keys there", name,
			    c->scan->parts[i].line);
			return;
		}
	}
	if (c->scan->count >= CONF_PARTS_MAX) {
		WRONG(c, "more than %d sections", CONF_PARTS_MAX);
		return;
	}
	parts = buf_grow(c->scan->parts, c->scan->count, sizeof(*parts));
	if (parts == NULL) {
		c->error = -ENOMEM;
		return;
	}
	c->scan->parts = parts;
	parts += c->scan->count;
	memset(parts, 0, sizeof(*parts));
	parts->line = c->line;
	parts->name = strdup(name);
	if (parts->name == NULL) {
		c->error = -ENOMEM;
		return;
	}
	c->scan->count++;
	c->in_bad_section = false;
}

/* "value" or 'value', then at most a comment. */
static char *
scan_quoted(struct cursor *c, char *value)
{
	char *end = strchr(value + 1, *value);
	char *rest;

	if (end == NULL) {
		WRONG(c, "the quote %c is not closed on this line", *value);
		return NULL;
	}
	rest = conf_scan_strip(end + 1);
	if (*rest != '\0' && *rest != ';' && *rest != '#') {
		WRONG(c, "text after the closing quote would be lost; put the "
		    "whole value into the other kind of quotes");
		return NULL;
	}
	*end = '\0';
	return value + 1;
}

/* iniparser ends a value at the first ';' or '#', wherever it stands: as a
 * comment that is meant only after a blank and outside of quotes. */
static char *
scan_bare(struct cursor *c, char *value)
{
	char *end = value + strcspn(value, ";#"), *at, inside = '\0';

	if (*end == '\0')
		return value;
	for (at = value; at < end; at++) {
		if (inside == '\0' && (*at == '"' || *at == '\''))
			inside = *at;
		else if (*at == inside)
			inside = '\0';
	}
	if (inside != '\0' || (end > value && !is_blank(end[-1]))) {
		WRONG(c, "the value would be cut at '%c'; put it into quotes "
		    "(or a blank before the comment)", *end);
		return NULL;
	}
	*end = '\0';
	return conf_scan_strip(value);
}

static bool
is_key(const char *key)
{
	size_t i;

	for (i = 0; key[i] != '\0'; i++)
		if ((key[i] < 'a' || key[i] > 'z') && key[i] != '_' &&
		    (i == 0 || ((key[i] < '0' || key[i] > '9') &&
		    key[i] != '.')))
			return false;
	return i > 0;
}

static struct conf_entry *
new_entry(struct cursor *c, struct conf_part *part, const char *key)
{
	struct conf_entry *entries;
	size_t i;

	for (i = 0; i < part->count; i++) {
		if (strcmp(part->entries[i].key, key) == 0) {
			WRONG(c, "\"%.60s\" stands already at line %u; keep "
			    "one of them", key, part->entries[i].line);
			return NULL;
		}
	}
	if (part->count >= CONF_ENTRIES_MAX) {
		WRONG(c, "more than %d keys in one section", CONF_ENTRIES_MAX);
		return NULL;
	}
	entries = buf_grow(part->entries, part->count, sizeof(*entries));
	if (entries == NULL) {
		c->error = -ENOMEM;
		return NULL;
	}
	part->entries = entries;
	return &entries[part->count];
}

static void
scan_entry(struct cursor *c, char *line)
{
	char *equals = strchr(line, '='), *key, *value;
	struct conf_part *part;
	struct conf_entry *entry;

	if (equals == NULL) {
		WRONG(c, "\"%.80s\" cannot be read; write key = value, "
		    "[section] or ; comment", line);
		return;
	}
	*equals = '\0';
	key = conf_scan_strip(line);
	lower(key);
	value = conf_scan_strip(equals + 1);
	value = *value == '"' || *value == '\'' ? scan_quoted(c, value) :
	    scan_bare(c, value);
	if (!is_key(key)) {
		WRONG(c, "\"%.60s\" is no key; keys are of letters, digits, "
		    "'_' and '.'", key);
		return;
	}
	if (value == NULL || c->in_bad_section)
		return;
	if (c->scan->count == 0) {
		WRONG(c, "\"%.60s\" stands before any section; put its "
		    "[section] above it: %s", key, c->sections);
		return;
	}
	part = &c->scan->parts[c->scan->count - 1];
	entry = new_entry(c, part, key);
	if (entry == NULL)
		return;
	entry->line = c->line;
	entry->key = strdup(key);
	entry->value = strdup(value);
	part->count++;
	if (entry->key == NULL || entry->value == NULL)
		c->error = -ENOMEM;
}

/* Bytes that no line may hold.  NULL: fine. */
static const char *
bad_bytes(const char *line, size_t n)
{
	size_t i;

	if (n > CONF_LINE_MAX)
		return "the line is longer than 1000 bytes; split the value "
		    "or name a file";
	if (n > 2 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
		return "a byte order mark; save the file as plain UTF-8";
	for (i = 0; i < n; i++)
		if (((unsigned char)line[i] < 0x20 && line[i] != '\t') ||
		    line[i] == 0x7f)
			return "a control byte; take it out";
	while (n > 0 && is_blank(line[n - 1]))
		n--;
	if (n > 0 && line[n - 1] == '\\')
		return "a line that ends in '\\' would swallow the next one; "
		    "write it as one line";
	return NULL;
}

static void
scan_line(struct cursor *c, const char *text, size_t n)
{
	char line[CONF_LINE_MAX + 1], *start;
	const char *wrong;

	if (n > 0 && text[n - 1] == '\r')
		n--;
	wrong = bad_bytes(text, n);
	if (wrong != NULL) {
		WRONG(c, "%s", wrong);
		return;
	}
	memcpy(line, text, n);
	line[n] = '\0';
	start = conf_scan_strip(line);
	if (*start == '[')
		scan_section(c, start);
	else if (*start != '\0' && *start != ';' && *start != '#')
		scan_entry(c, start);
}

int
conf_scan_text(const char *path, const char *text, size_t n,
    const char *sections, struct conf_scan *scan, struct conf_errors *errors)
{
	struct cursor c = { .path = path, .scan = scan, .errors = errors,
		.sections = sections };

	memset(scan, 0, sizeof(*scan));
	while (n > 0 && c.error != -ENOMEM) {
		const char *end = memchr(text, '\n', n);
		size_t length = end != NULL ? (size_t)(end - text) : n;

		c.line++;
		scan_line(&c, text, length);
		if (end != NULL)
			length++;
		text += length;
		n -= length;
	}
	return c.error;
}

void
conf_scan_free(struct conf_scan *scan)
{
	size_t i, j;

	for (i = 0; i < scan->count; i++) {
		struct conf_part *part = &scan->parts[i];

		for (j = 0; j < part->count; j++) {
			free(part->entries[j].key);
			free(part->entries[j].value);
		}
		free(part->entries);
		free(part->name);
	}
	free(scan->parts);
	memset(scan, 0, sizeof(*scan));
}

unsigned
conf_scan_line(const struct conf_scan *scan, const char *name, const char *key)
{
	size_t i, j;

	for (i = 0; i < scan->count; i++) {
		const struct conf_part *part = &scan->parts[i];

		if (strcmp(part->name, name) != 0)
			continue;
		for (j = 0; j < part->count; j++)
			if (strcmp(part->entries[j].key, key) == 0)
				return part->entries[j].line;
	}
	return 0;
}

const char *const conf_kinds[CONF_KIND_NONE] = { "host", "defaults", "runtime",
	"tenant", "function" };

enum conf_kind
conf_part_kind(const struct conf_part *part, const char **name)
{
	size_t n = strcspn(part->name, " \t"), i;

	*name = part->name + n + strspn(part->name + n, " \t");
	for (i = 0; i < CONF_KIND_NONE; i++)
		if (strlen(conf_kinds[i]) == n &&
		    memcmp(conf_kinds[i], part->name, n) == 0)
			return (enum conf_kind)i;
	return CONF_KIND_NONE;
}
