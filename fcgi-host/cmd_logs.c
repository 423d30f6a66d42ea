/* The verb: what is asked for, the last lines of it, and those that come. */
#include "fcgi-host/cmd_logs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd.h"

#define LAST_MAX 100000
#define LAST_FOLLOWED 10
/* {"time":"2026-11-27T10:00:00.000001Z" */
#define TIME_END 36

struct kept {
	char *text;
	uint64_t serial;
};

struct show {
	struct logs_want want;
	struct buf line; /* in the making */
	/* the last ones by time, until all that there was has been read; room for
	 * twice as many as are wanted; NULL: none are kept back */
	struct kept *last;
	size_t last_size, last_count;
	uint64_t serial;
	bool is_past_read;
};

static int
print(const char *text, size_t n)
{
	if (fwrite(text, 1, n, stdout) == n)
		return 0;
	return -EPIPE;
}

/* A line begins with its time, and in JSON with as many signs before it. */
static int
compare_kept(const void *a, const void *b)
{
	const struct kept *left = a, *right = b;
	int order = strncmp(left->text, right->text, TIME_END);

	if (order != 0)
		return order;
	return left->serial < right->serial ? -1 : 1;
}

/* Those that stay are the last of what several files have. */
static void
keep_last(struct show *show)
{
	size_t too_many = show->last_count > show->last_size ?
	    show->last_count - show->last_size : 0;

	if (show->last_count > 1)
		qsort(show->last, show->last_count, sizeof(*show->last),
		    compare_kept);
	for (size_t i = 0; i < too_many; i++)
		free(show->last[i].text);
	memmove(show->last, show->last + too_many,
	    (show->last_count - too_many) * sizeof(*show->last));
	show->last_count -= too_many;
}

static int
keep(struct show *show)
{
	char *text = strndup((const char *)buf_head(&show->line),
	    buf_len(&show->line));

	if (text == NULL)
		return -ENOMEM;
	show->last[show->last_count++] = (struct kept){ text,
		show->serial++ };
	if (show->last_count == 2 * show->last_size)
		keep_last(show);
	return 0;
}

static int
take_line(void *arg, const char *line, size_t n)
{
	struct show *show = arg;
	int result;

	buf_consume(&show->line, buf_len(&show->line));
	result = logs_line(&show->want, line, n, &show->line);
	if (result <= 0)
		return result;
	if (show->last != NULL && !show->is_past_read)
		return keep(show);
	return print((const char *)buf_head(&show->line),
	    buf_len(&show->line));
}

static int
take_end(void *arg)
{
	struct show *show = arg;
	int error = 0;

	if (show->last != NULL && !show->is_past_read)
		keep_last(show);
	for (size_t i = 0; !show->is_past_read && i < show->last_count &&
	    error == 0; i++)
		error = print(show->last[i].text, strlen(show->last[i].text));
	show->is_past_read = true;
	if (error == 0 && fflush(stdout) != 0)
		error = -EPIPE;
	return error;
}

/* 0: all. */
static bool
make_last(struct show *show, const char *text, bool is_followed)
{
	uint64_t count = is_followed ? LAST_FOLLOWED : 0;

	if (text != NULL && (settings_parse_count(text, &count) != 0 ||
	    count > LAST_MAX || count == 0))
		return false;
	show->last_size = (size_t)count;
	if (count > 0)
		show->last = calloc(2 * count, sizeof(*show->last));
	return count == 0 || show->last != NULL;
}

static int
show_logs(const struct conf *conf, struct show *show, bool is_followed,
    bool is_host)
{
	const struct logs_taker taker = { take_line, take_end, show };
	int result;

	if (conf->function_logs != NULL && !is_host)
		result = logs_read_functions(conf, show->want.function,
		    is_followed, &taker);
	else if (strcmp(conf->log, "stderr") == 0)
		result = logs_read_journal(is_followed, &taker);
	else
		result = logs_read_file(conf->log, is_followed, &taker);
	if (result == -ENOMEM)
		(void)cmd_fail("out of memory");
	if (result == -EPIPE)
		(void)cmd_fail("standard output cannot be written");
	return result == 0 ? CMD_DONE : CMD_FAILED;
}

int
cmd_logs(const struct cmd_verb *verb, int argc, char **argv)
{
	const char *path = DEFAULT_CONFIG, *last = NULL;
	struct show show = { .last_count = 0 };
	bool is_followed = false, is_host = false;
	const struct cmd_option options[] = {
		CMD_OPTION_CONF(&path),
		{ 'f', "follow", NULL, "show the lines that come, too",
		    &is_followed, NULL, NULL },
		{ 'n', "lines", "NUMBER", "only the last ones (default all; "
		    "with -f 10)", NULL, &last, NULL },
		{ 0, "request", "ID", "only those of one request", NULL,
		    &show.want.request, NULL },
		{ 0, "host", NULL, "the host's own log, where functions have "
		    "theirs", &is_host, NULL, NULL },
		CMD_OPTION_JSON(&show.want.is_json),
	};
	struct conf *conf;
	char **operands;
	int code;

	if (!cmd_options(verb, options, sizeof(options) / sizeof(options[0]),
	    argc, argv, &operands, &code))
		return code;
	show.want.function = operands[0];
	if (operands[0] != NULL && (operands[1] != NULL ||
	    !ctl_name_ok(operands[0])))
		return cmd_wrong(verb, "\"%s\" is no name of a function",
		    operands[operands[1] != NULL ? 1 : 0]);
	if (!make_last(&show, last, is_followed))
		return cmd_wrong(verb, "--lines: \"%s\" is no number of lines "
		    "from 1 to %d", last, LAST_MAX);
	conf = cmd_conf_running(path);
	if (conf == NULL)
		return CMD_WRONG;
	code = show_logs(conf, &show, is_followed, is_host);
	conf_unref(conf);
	buf_free(&show.line);
	for (size_t i = 0; i < show.last_count; i++)
		free(show.last[i].text);
	free(show.last);
	return code;
}
