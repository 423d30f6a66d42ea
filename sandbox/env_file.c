#include "sandbox/env_file.h"

#include <errno.h>
#include <string.h>

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* One of words, or beginning like one that ends in a star. */
static bool
in_words(const char *words, const char *name, size_t n)
{
	while (*words != '\0') {
		size_t length = strcspn(words, " ");
		bool is_prefix = words[length - 1] == '*';

		if (is_prefix ? n >= length - 1 &&
		    memcmp(words, name, length - 1) == 0 :
		    n == length && memcmp(words, name, n) == 0)
			return true;
		words += length;
		words += *words == ' ';
	}
	return false;
}

bool
env_file_name_ok(const char *name, size_t n)
{
	static const char taken[] = "LD_* GLIBC_* FCGI_* SCRIPT_FILENAME "
	    "REQUEST_ID AUTH_TYPE CONTENT_LENGTH CONTENT_TYPE "
	    "GATEWAY_INTERFACE PATH_INFO PATH_TRANSLATED QUERY_STRING "
	    "REMOTE_ADDR REMOTE_HOST REMOTE_IDENT REMOTE_USER REQUEST_METHOD "
	    "SCRIPT_NAME SERVER_NAME SERVER_PORT SERVER_PROTOCOL "
	    "SERVER_SOFTWARE";
	size_t i;

	for (i = 0; i < n; i++)
		if ((name[i] < 'A' || name[i] > 'Z') && name[i] != '_' &&
		    (i == 0 || name[i] < '0' || name[i] > '9'))
			return false;
	return n > 0 && !in_words(taken, name, n);
}

/* The bytes between double quotes, in place; their number, or -1. */
static long
unescape(char *value, size_t n)
{
	size_t used = 0, i;

	for (i = 0; i < n; i++) {
		char c = value[i];

		if (c == '"')
			return -1;
		if (c == '\\') {
			if (++i == n)
				return -1;
			c = value[i] == 'n' ? '\n' : value[i];
			if (c != '\n' && c != '"' && c != '\\')
				return -1;
		}
		value[used++] = c;
	}
	return (long)used;
}

/* The value without its quotes, moved to value's start and ended there; or what
 * is wrong with it. */
static const char *
take_value(char *value, size_t n)
{
	long used = (long)n;

	if (n > 0 && (value[0] == '"' || value[0] == '\'')) {
		char quote = value[0];

		if (n < 2 || value[n - 1] != quote)
			return "the value's quote is not closed at the end of "
			    "the line";
		memmove(value, value + 1, n - 2);
		if (quote == '\'')
			used = memchr(value, '\'', n - 2) == NULL ?
			    (long)(n - 2) : -1;
		else
			used = unescape(value, n - 2);
		if (used < 0)
			return quote == '\'' ? "a ' within '…'; use double "
			    "quotes" : "within double quotes write \\\" and "
			    "\\\\, and \\n for a new line";
	} else if (n > 0 && (is_blank(value[0]) || is_blank(value[n - 1]))) {
		return "blanks at the value's ends; put it into quotes, or "
		    "take them out";
	}
	value[used] = '\0';
	return NULL;
}

static bool
has_control(const char *text, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\t') ||
		    text[i] == 0x7f)
			return true;
	return false;
}

static bool
is_there(const struct env_file *file, const char *name, size_t n)
{
	size_t i;

	for (i = 0; i < file->count; i++)
		if (strncmp(file->variables[i], name, n) == 0 &&
		    file->variables[i][n] == '=')
			return true;
	return false;
}

/* NULL, or what is wrong with the line. */
static const char *
take_line(struct env_file *file, char *line, size_t n)
{
	const char *why;
	char *equals;
	size_t name;

	if (n > 0 && line[n - 1] == '\r')
		return "it ends in a carriage return; save the file with the "
		    "line ends of Unix";
	if (has_control(line, n))
		return "a control byte; within double quotes write \\n for a "
		    "new line";
	while (n > 0 && is_blank(*line)) {
		line++;
		n--;
	}
	if (n == 0 || *line == '#' || *line == ';')
		return NULL;
	equals = memchr(line, '=', n);
	if (equals == NULL)
		return "no = in it; write NAME=VALUE";
	name = (size_t)(equals - line);
	if (!env_file_name_ok(line, name))
		return "a function cannot be given a variable of that name; "
		    "use A-Z, 0-9 and _, and a name that neither the system "
		    "nor CGI uses, without blanks before the =";
	if (is_there(file, line, name))
		return "a variable of that name stands above already";
	if (file->count == ENV_FILE_COUNT_MAX)
		return "more than 256 variables";
	why = take_value(equals + 1, n - name - 1);
	if (why == NULL)
		file->variables[file->count++] = line;
	return why;
}

int
env_file_parse(struct env_file *file, char *text, size_t n)
{
	char *end = text + n;

	file->count = 0;
	file->line = 0;
	file->why = NULL;
	while (text < end && file->why == NULL) {
		char *next = memchr(text, '\n', (size_t)(end - text));
		size_t length = (size_t)((next == NULL ? end : next) - text);

		file->line++;
		file->why = take_line(file, text, length);
		text += length + 1;
	}
	if (file->why == NULL)
		return 0;
	file->count = 0;
	return -EBADMSG;
}

const char *
env_file_fault(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is no regular file";
	if ((st->st_mode & 07177) != 0)
		return "others may read it: chmod 600";
	/* another name of some other secret of the same owner */
	if (st->st_nlink > 1)
		return "it has a second name: make it a file of its own";
	if (st->st_size > ENV_FILE_BYTES_MAX)
		return "it is larger than 64 KiB";
	return NULL;
}
