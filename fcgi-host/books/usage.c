#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/books/audited.h"
#include "fcgi-host/books/entry.h"
#include "fcgi-host/books/focus.h"
#include "fcgi-host/books/groups.h"
#include "fcgi-host/books/keys.h"
#include "fcgi-host/books/lambda.h"
#include "fcgi-host/books/ledgers.h"
#include "fcgi-host/books/rated.h"
#include "fcgi-host/books/reader.h"
#include "fcgi-host/books/report.h"
#include "fcgi-host/books/sum.h"
#include "fcgi-host/books/usage_page.h"
#include "fcgi-host/books/verbs.h"
#include "fcgi-host/books/verify.h"
#include "fcgi-host/civil.h"

#define DAY_US UINT64_C(86400000000)

struct options {
	const char *conf, *by, *from, *to, *prices, *format;
	struct verify_options verify;
	bool is_json, is_csv, is_html, is_audit, is_verify;
};

struct usage {
	struct keys keys; /* that records are summed by */
	struct keys by;   /* that were asked for */
	uint64_t from_us, to_us; /* the second is the first that is left out */
	struct groups *groups;
	struct prices *prices;   /* NULL: none */
	int32_t from_day, to_day; /* with prices: whole months are read */
	struct buf lines;
	bool is_lambda, is_focus;
};

static int
write_out(struct buf *out)
{
	return cmd_print(out) == CMD_DONE ? 0 : -EIO;
}

static int
add_line(const struct entry *entry, const struct place *place, void *arg)
{
	struct usage *usage = arg;
	int error = 0;

	(void)place;
	if (entry->time_us < usage->from_us || entry->time_us >= usage->to_us)
		return 0;
	if (buf_len(&usage->lines) > REPORT_FULL)
		error = write_out(&usage->lines);
	return error != 0 ? error : lambda_line(entry, &usage->lines);
}

static int
set_time(const struct cmd_verb *verb, const char *name, const char *text,
    uint64_t *time_us)
{
	if (text == NULL || civil_parse_time(text, strlen(text), time_us) == 0)
		return CMD_DONE;
	return cmd_wrong(verb, "--%s %s is no time; write it like 2026-11-27 "
	    "or 2026-11-27T10:52:46Z", name, text);
}

/* Reads the book; a dataset of FOCUS has one in any case. */
static int
read_prices(struct usage *usage, const struct cmd_verb *verb,
    const struct options *options)
{
	struct conf *conf;
	const char *path = rated_path(verb, options->prices, options->conf,
	    &conf);
	int code = CMD_DONE;

	if (path != NULL)
		usage->prices = rated_prices(path);
	if (usage->prices == NULL)
		code = CMD_WRONG;
	else if (usage->is_focus &&
	    prices_issuer(usage->prices).name[0] == '\0') {
		(void)cmd_fail("%s: --format focus names the issuer; write "
		    "issuer = NAME below [book]", path);
		code = CMD_WRONG;
	}
	conf_unref(conf);
	return code;
}

/* Free tier and steps are a whole month's, so that is what is read; what of it
 * is printed are whole days. */
static int
set_prices(struct usage *usage, const struct cmd_verb *verb,
    const struct options *options)
{
	if (options->prices == NULL && !usage->is_focus)
		return CMD_DONE;
	if (usage->from_us % DAY_US != 0 ||
	    (options->to != NULL && usage->to_us % DAY_US != 0))
		return cmd_wrong(verb, "with %s, --from and --to are "
		    "days, as 2026-11-27", usage->is_focus ?
		    "--format focus" : "--prices");
	usage->from_day = (int32_t)(usage->from_us / DAY_US);
	usage->to_day = INT32_MAX;
	usage->from_us = (uint64_t)civil_first_day(civil_month_of(
	    usage->from_day)) * DAY_US;
	if (options->to != NULL) {
		usage->to_day = (int32_t)(usage->to_us / DAY_US);
		usage->to_us = (uint64_t)civil_first_day(civil_month_of(
		    usage->to_day - 1) + 1) * DAY_US;
	}
	usage->keys = rated_keys(usage->is_focus ? &focus_by : &usage->by);
	return read_prices(usage, verb, options);
}

static int
set_format(struct usage *usage, const struct cmd_verb *verb,
    const struct options *options)
{
	if (options->is_json + options->is_csv + options->is_html +
	    (options->format != NULL) > 1)
		return cmd_wrong(verb, "two formats are asked for; give one "
		    "of --json, --csv, --html and --format");
	if (options->is_html && options->by != NULL)
		return cmd_wrong(verb, "--html has its own groups, without "
		    "--by");
	if (options->format == NULL)
		return CMD_DONE;
	usage->is_lambda = strcmp(options->format, "lambda") == 0;
	usage->is_focus = strcmp(options->format, "focus") == 0;
	if (!usage->is_lambda && !usage->is_focus)
		return cmd_wrong(verb, "--format %s is not known; there are "
		    "focus and lambda", options->format);
	if (options->by != NULL)
		return cmd_wrong(verb, "--format %s has its own rows, without "
		    "--by", options->format);
	if (usage->is_lambda && options->prices != NULL)
		return cmd_wrong(verb, "--format lambda has one line for each "
		    "execution, without --prices");
	return CMD_DONE;
}

static int
set(struct usage *usage, const struct cmd_verb *verb,
    const struct options *options)
{
	const char *word;
	int code;

	if (options->is_audit && (options->is_csv || options->is_html ||
	    options->by != NULL ||
	    options->from != NULL || options->to != NULL ||
	    options->prices != NULL || options->format != NULL))
		return cmd_wrong(verb, "--audit balances whole runs: it goes "
		    "with --json only");
	if (keys_parse(&usage->by, options->by != NULL ? options->by :
	    "tenant", &word) != 0)
		return cmd_wrong(verb, "--by: \"%.*s\" is no key, or stands "
		    "there twice; there are " KEYS_NAMES,
		    (int)strcspn(word, ","), word);
	usage->keys = usage->by;
	usage->to_us = UINT64_MAX;
	code = set_time(verb, "from", options->from, &usage->from_us);
	if (code == CMD_DONE)
		code = set_time(verb, "to", options->to, &usage->to_us);
	if (code == CMD_DONE && usage->from_us >= usage->to_us)
		code = cmd_wrong(verb, "--from is not before --to");
	if (code == CMD_DONE)
		code = set_format(usage, verb, options);
	if (code == CMD_DONE)
		code = set_prices(usage, verb, options);
	return code;
}

/* Month by month, so that no more of it is held. */
static int
print_focus(struct usage *usage, const struct rated *rated)
{
	int error = focus_heading(&usage->lines), code = CMD_DONE;
	size_t i;

	for (i = 0; i < rated->month_count && error == 0 && code == CMD_DONE;
	    i++) {
		error = focus_month(usage->prices, rated, &rated->months[i],
		    usage->from_day, usage->to_day, &usage->lines);
		if (error == 0)
			code = cmd_print(&usage->lines);
	}
	if (error != 0)
		return rated_fail(error);
	return code == CMD_DONE ? cmd_print(&usage->lines) : code;
}

/* The groups by what was asked for become those with their costs. */
static int
fold(struct usage *usage, const struct rated *rated)
{
	struct groups *folded = groups_new(&usage->by);
	int error = folded == NULL ? -ENOMEM :
	    rated_fold(rated, &usage->keys, &usage->by, usage->from_day,
	    usage->to_day, folded);

	if (error != 0) {
		groups_free(folded);
		return rated_fail(error);
	}
	groups_free(usage->groups);
	usage->groups = folded;
	return CMD_DONE;
}

static int
charge(struct usage *usage)
{
	struct rated rated;
	int error = rated_make(usage->prices, usage->groups, &rated), code;

	rated.spent = usage->groups;
	code = error != 0 ? rated_fail(error) : usage->is_focus ?
	    print_focus(usage, &rated) : fold(usage, &rated);
	rated_free(&rated);
	return code;
}

static int
print(struct usage *usage, const struct options *options)
{
	struct buf out = { 0 };
	int code = usage->prices != NULL ? charge(usage) : CMD_DONE, error;

	if (code != CMD_DONE)
		return code;
	if (usage->is_lambda || usage->is_focus)
		return cmd_print(&usage->lines);
	if (options->is_json)
		error = report_json(usage->groups, &usage->by, usage->prices,
		    &out, write_out);
	else if (options->is_csv)
		error = report_csv(usage->groups, &usage->by, usage->prices,
		    &out, write_out);
	else
		error = report_table(usage->groups, &usage->by, usage->prices,
		    &out);
	code = error == -EIO ? CMD_FAILED :
	    error != 0 ? cmd_fail("no memory for the report") :
	    cmd_print(&out);
	buf_free(&out);
	return code;
}

/* The page, in usage->lines.  An exit code. */
static int
make_page(struct usage *usage, char **paths, const struct options *options,
    struct reader *reader)
{
	struct page_query query = { .from_us = usage->from_us,
		.to_us = usage->to_us, .prices = usage->prices,
		.rated_from_us = usage->from_us, .rated_to_us = usage->to_us,
		.from_day = usage->from_day, .to_day = usage->to_day };

	if (usage->prices != NULL) {
		query.from_us = (uint64_t)usage->from_day * DAY_US;
		if (usage->to_day != INT32_MAX)
			query.to_us = (uint64_t)usage->to_day * DAY_US;
	}
	return usage_page(&query, paths, options->conf, reader,
	    &usage->lines);
}

/* Lines come one by one, in their order; sums by several threads. */
static int
read_all(struct usage *usage, char **paths, const struct options *options)
{
	struct reader reader = { .each = add_line, .arg = usage,
		.prints = true };
	struct sum_query query = { .count = 1, .at[0] = {
		.keys = &usage->keys, .from_us = usage->from_us,
		.to_us = usage->to_us } };
	int code;

	if (options->is_html)
		code = make_page(usage, paths, options, &reader);
	else if (usage->is_lambda)
		code = ledgers_read_once(&reader, paths, options->conf);
	else
		code = ledgers_sum(&query, paths, options->conf, &reader,
		    &usage->groups);
	if (code != CMD_DONE)
		return code;
	code = options->is_html ? cmd_print(&usage->lines) :
	    print(usage, options);
	/* Said last, where it is seen. */
	if (options->from != NULL)
		(void)reader_begins_late(&reader, usage->from_us);
	return reader_faults(&reader) ? CMD_FAILED : code;
}

static int
set_verify(const struct cmd_verb *verb, struct options *options)
{
	options->verify.conf = options->conf;
	if (!options->is_verify && (options->verify.keys != NULL ||
	    options->verify.heads != NULL))
		return cmd_wrong(verb, "--chain-key and --heads go with "
		    "--verify");
	if (options->is_verify && (options->by != NULL ||
	    options->from != NULL || options->to != NULL ||
	    options->prices != NULL || options->format != NULL ||
	    options->is_json || options->is_csv || options->is_html ||
	    options->is_audit))
		return cmd_wrong(verb, "--verify reads whole logs and sums up "
		    "nothing: it goes with --chain-key and --heads alone");
	return CMD_DONE;
}

int
books_usage(const struct cmd_verb *verb, int argc, char **argv)
{
	struct options options = { .conf = DEFAULT_CONFIG, .by = NULL };
	const struct cmd_option table[] = {
		CMD_OPTION_CONF(&options.conf),
		{ 0, "from", "TIME", "only records of this time and later",
		    NULL, &options.from, NULL },
		{ 0, "to", "TIME", "only records before this time", NULL,
		    &options.to, NULL },
		{ 0, "by", "KEYS", "what to group by (default: tenant)", NULL,
		    &options.by, NULL },
		{ 0, "prices", "FILE", "what it costs by this price book",
		    NULL, &options.prices, NULL },
		CMD_OPTION_JSON(&options.is_json),
		{ 0, "csv", NULL, "print comma-separated values",
		    &options.is_csv, NULL, NULL },
		{ 0, "html", NULL, "print a page with pictures",
		    &options.is_html, NULL, NULL },
		{ 0, "format", "FORMAT", "focus: FOCUS 1.2, or "
		    "lambda: REPORT lines", NULL, &options.format, NULL },
		{ 0, "audit", NULL, "hold each run's records against its clock",
		    &options.is_audit, NULL, NULL },
		{ 0, "verify", NULL, "follow the chain, and sum up nothing",
		    &options.is_verify, NULL, NULL },
		{ 0, "chain-key", "FILE", "with --verify: the first key, or "
		    "several", NULL, &options.verify.keys, NULL },
		{ 0, "heads", "FILE", "with --verify: heads that were kept",
		    NULL, &options.verify.heads, NULL },
	};
	struct usage usage = { .from_us = 0 };
	char **paths;
	int code;

	if (!cmd_options(verb, table, sizeof(table) / sizeof(table[0]), argc,
	    argv, &paths, &code))
		return code;
	code = set_verify(verb, &options);
	if (code == CMD_DONE)
		code = set(&usage, verb, &options);
	if (code == CMD_DONE && options.is_verify)
		code = verify_run(paths, &options.verify);
	else if (code == CMD_DONE && options.is_audit)
		code = audited(paths, options.conf, options.is_json);
	else if (code == CMD_DONE)
		code = read_all(&usage, paths, &options);
	groups_free(usage.groups);
	buf_free(&usage.lines);
	prices_free(usage.prices);
	return code;
}
