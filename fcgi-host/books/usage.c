#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/books/entry.h"
#include "fcgi-host/books/groups.h"
#include "fcgi-host/books/keys.h"
#include "fcgi-host/books/reader.h"
#include "fcgi-host/books/report.h"
#include "fcgi-host/books/verbs.h"
#include "fcgi-host/conf.h"

struct options {
	const char *conf, *by, *from, *to;
	bool is_json, is_csv;
};

struct usage {
	struct keys keys;
	uint64_t from_us, to_us; /* the second is the first that is left out */
	struct groups *groups;
};

static int
add(const struct entry *entry, const struct place *place, void *arg)
{
	struct usage *usage = arg;

	(void)place;
	if (entry->time_us < usage->from_us || entry->time_us >= usage->to_us)
		return 0;
	return groups_add(usage->groups, entry);
}

static int
set_time(const struct cmd_verb *verb, const char *name, const char *text,
    uint64_t *time_us)
{
	if (text == NULL || entry_time(text, strlen(text), time_us) == 0)
		return CMD_DONE;
	return cmd_wrong(verb, "--%s %s is no time; write it like 2026-11-27 "
	    "or 2026-11-27T10:52:46Z", name, text);
}

static int
set(struct usage *usage, const struct cmd_verb *verb,
    const struct options *options)
{
	const char *word;
	int code;

	if (keys_parse(&usage->keys, options->by, &word) != 0)
		return cmd_wrong(verb, "--by: \"%.*s\" is no key, or stands "
		    "there twice; there are " KEYS_NAMES,
		    (int)strcspn(word, ","), word);
	usage->to_us = UINT64_MAX;
	code = set_time(verb, "from", options->from, &usage->from_us);
	if (code == CMD_DONE)
		code = set_time(verb, "to", options->to, &usage->to_us);
	if (code == CMD_DONE && usage->from_us >= usage->to_us)
		code = cmd_wrong(verb, "--from is not before --to");
	if (code == CMD_DONE && options->is_json && options->is_csv)
		code = cmd_wrong(verb, "--json and --csv are two formats");
	return code;
}

static int
print(struct usage *usage, const struct options *options)
{
	struct buf out = { 0 };
	int code, error;

	if (options->is_json)
		error = report_json(usage->groups, &usage->keys, &out);
	else if (options->is_csv)
		error = report_csv(usage->groups, &usage->keys, &out);
	else
		error = report_table(usage->groups, &usage->keys, &out);
	code = error != 0 ? cmd_fail("no memory for the report") :
	    cmd_print(&out);
	buf_free(&out);
	return code;
}

static int
read_all(struct usage *usage, char **paths, const struct options *options)
{
	struct reader reader = { .each = add, .arg = usage };
	int code, error = 0;

	for (; error == 0 && *paths != NULL; paths++)
		error = reader_read(&reader, *paths);
	if (error == -ENOMEM)
		(void)cmd_fail("no memory for more groups; ask for fewer by "
		    "--by, --from or --to");
	if (error != 0)
		return CMD_FAILED;
	code = print(usage, options);
	/* Said last, where it is seen. */
	return reader_faults(&reader) ? CMD_FAILED : code;
}

/* Without an operand, the log that the configuration names. */
static int
choose(const struct options *options, char ***paths, char *one[2],
    struct conf **conf)
{
	if (**paths != NULL)
		return CMD_DONE;
	*conf = cmd_conf(options->conf);
	if (*conf == NULL)
		return CMD_WRONG;
	one[0] = (*conf)->accounting;
	one[1] = NULL;
	*paths = one;
	return CMD_DONE;
}

int
books_usage(const struct cmd_verb *verb, int argc, char **argv)
{
	struct options options = { .conf = DEFAULT_CONFIG, .by = "tenant" };
	const struct cmd_option table[] = {
		CMD_OPTION_CONF(&options.conf),
		{ 0, "from", "TIME", "only records of this time and later",
		    NULL, &options.from, NULL },
		{ 0, "to", "TIME", "only records before this time", NULL,
		    &options.to, NULL },
		{ 0, "by", "KEYS", "what to group by (default: tenant)", NULL,
		    &options.by, NULL },
		CMD_OPTION_JSON(&options.is_json),
		{ 0, "csv", NULL, "print comma-separated values",
		    &options.is_csv, NULL, NULL },
	};
	struct usage usage = { .from_us = 0 };
	struct conf *conf = NULL;
	char **paths, *one[2];
	int code;

	if (!cmd_options(verb, table, sizeof(table) / sizeof(table[0]), argc,
	    argv, &paths, &code))
		return code;
	code = set(&usage, verb, &options);
	if (code == CMD_DONE)
		code = choose(&options, &paths, one, &conf);
	if (code != CMD_DONE)
		return code;
	usage.groups = groups_new(&usage.keys);
	code = usage.groups == NULL ? cmd_fail("no memory") :
	    read_all(&usage, paths, &options);
	groups_free(usage.groups);
	conf_unref(conf);
	return code;
}
