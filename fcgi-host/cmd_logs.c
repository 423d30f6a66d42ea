/* The verb: what is asked for, the last lines of it, and those that come. */
#include "fcgi-host/cmd_logs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd.h"

#define LAST_MAX 100000
#define LAST_FOLLOWED 10

struct show {
	struct logs_want want;
	struct buf line; /* in the making */
	/* the last ones, until all that there was has been read; NULL: none are
	 * kept back */
	char **last;
	size_t last_size, last_count;
	bool is_past_read;
};

static int
print(const char *text, size_t n)
{
	if (fwrite(text, 1, n, stdout) == n)
		return 0;
	return -EPIPE;
}

/* In the place of the oldest. */
static int
keep(struct show *show)
{
	char **place = &show->last[show->last_count++ % show->last_size];
	char *text = strndup((const char *)buf_head(&show->line),
	    buf_len(&show->line));

	if (text == NULL)
		return -ENOMEM;
	free(*place);
	*place = text;
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
	size_t count = show->last_count < show->last_size ? show->last_count :
	    show->last_size;
	int error = 0;

	for (size_t i = show->last_count - count; show->last != NULL &&
	    !show->is_past_read && i < show->last_count && error == 0; i++) {
		const char *text = show->last[i % show->last_size];

		error = print(text, strlen(text));
	}
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
		show->last = calloc(count, sizeof(*show->last));
	return count == 0 || show->last != NULL;
}

static int
show_logs(const struct conf *conf, struct show *show, bool is_followed)
{
	const struct logs_taker taker = { take_line, take_end, show };
	int result = strcmp(conf->log, "stderr") == 0 ?
	    logs_read_journal(is_followed, &taker) :
	    logs_read_file(conf->log, is_followed, &taker);

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
	bool is_followed = false;
	const struct cmd_option options[] = {
		CMD_OPTION_CONF(&path),
		{ 'f', "follow", NULL, "show the lines that come, too",
		    &is_followed, NULL, NULL },
		{ 'n', "lines", "NUMBER", "only the last ones (default all; "
		    "with -f 10)", NULL, &last, NULL },
		{ 0, "request", "ID", "only those of one request", NULL,
		    &show.want.request, NULL },
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
	code = show_logs(conf, &show, is_followed);
	conf_unref(conf);
	buf_free(&show.line);
	for (size_t i = 0; i < show.last_size; i++)
		free(show.last[i]);
	free(show.last);
	return code;
}
