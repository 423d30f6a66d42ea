/* `fcgi-host invoice`: reads a tenant's month and writes its bill. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/books/invoice.h"
#include "fcgi-host/books/ledgers.h"
#include "fcgi-host/books/rated.h"
#include "fcgi-host/books/verbs.h"
#include "fcgi-host/civil.h"

#define DAY_US UINT64_C(86400000000)

struct options {
	const char *conf, *month, *prices, *date;
	bool is_text;
};

struct bill {
	struct invoice invoice;
	struct prices *prices;
	struct keys keys;
	struct groups *groups;
	uint64_t from_us, to_us;
};

static const struct keys by_function = { .at = { KEY_FUNCTION }, .count = 1 };

/* The price book that was named, or the configuration's.  CMD_DONE, or
 * CMD_WRONG after a sentence. */
static int
set_prices(struct bill *bill, const struct cmd_verb *verb,
    const struct options *options)
{
	struct conf *conf;
	const char *path = rated_path(verb, options->prices, options->conf,
	    &conf);

	if (path != NULL)
		bill->prices = rated_prices(path);
	conf_unref(conf);
	return bill->prices != NULL ? CMD_DONE : CMD_WRONG;
}

static int
set(struct bill *bill, const struct cmd_verb *verb,
    const struct options *options, const char *tenant)
{
	struct invoice *invoice = &bill->invoice;
	int32_t first;

	if (tenant == NULL || !ctl_segment_ok(tenant, strlen(tenant)))
		return cmd_wrong(verb, "name the tenant whose bill it is");
	if (options->month == NULL ||
	    civil_parse_month(options->month, &invoice->month) != 0 ||
	    civil_first_day(invoice->month) < 0)
		return cmd_wrong(verb, "--month %s is no month; write it like "
		    "2026-11", options->month != NULL ? options->month : "");
	invoice->date = (int32_t)(time(NULL) / 86400);
	if (options->date != NULL &&
	    civil_parse_day(options->date, &invoice->date) != 0)
		return cmd_wrong(verb, "--date %s is no day; write it like "
		    "2026-12-01", options->date);
	if (set_prices(bill, verb, options) != CMD_DONE)
		return CMD_WRONG;
	first = civil_first_day(invoice->month);
	bill->from_us = (uint64_t)first * DAY_US;
	bill->to_us = (uint64_t)civil_first_day(invoice->month + 1) * DAY_US;
	bill->keys = rated_keys(&by_function);
	invoice->prices = bill->prices;
	invoice->tenant = tenant;
	return CMD_DONE;
}

/* Functions by name; what is of none, and therefore first, goes to the end. */
static int
take_functions(struct invoice *invoice, struct groups *functions)
{
	struct group *first, **all = groups_sorted(functions,
	    &invoice->function_count);
	size_t count = invoice->function_count;

	invoice->functions = all;
	if (all == NULL)
		return -ENOMEM;
	if (count < 2 || keys_value(all[0]->packed, 0).n > 0)
		return 0;
	first = all[0];
	memmove(all, all + 1, (count - 1) * sizeof(*all));
	all[count - 1] = first;
	return 0;
}

static int
print(const struct invoice *invoice, bool is_text)
{
	struct buf out = { .data = NULL };
	int error = is_text ? invoice_text(invoice, &out) :
	    invoice_page(invoice, &out);
	int code = error != 0 ? cmd_fail("no memory for the invoice") :
	    cmd_print(&out);

	buf_free(&out);
	return code;
}

/* A month without a record has no group; its bill is made of none. */
static int
make_bill(struct bill *bill, const struct rated *rated, struct rate_bill *empty)
{
	struct invoice *invoice = &bill->invoice;

	if (rated->month_count > 0) {
		invoice->bill = &rated->months[0].bill;
		return 0;
	}
	invoice->bill = empty;
	return rate_bill(bill->prices, invoice->tenant, invoice->month, NULL,
	    0, empty);
}

static int
write_bill(struct bill *bill, bool is_text)
{
	struct invoice *invoice = &bill->invoice;
	struct groups *functions = groups_new(&by_function);
	struct rated rated = { .count = 0 };
	struct rate_bill empty = { .count = 0 };
	int error = functions == NULL ? -ENOMEM :
	    rated_make(bill->prices, bill->groups, &rated), code;

	if (error == 0)
		error = make_bill(bill, &rated, &empty);
	if (error == 0)
		error = rated_fold(&rated, &bill->keys, &by_function,
		    civil_first_day(invoice->month),
		    civil_first_day(invoice->month + 1), functions);
	if (error == 0)
		error = take_functions(invoice, functions);
	code = error != 0 ? rated_fail(error) : print(invoice, is_text);
	rate_bill_free(&empty);
	rated_free(&rated);
	groups_free(functions);
	return code;
}

static int
read_and_write(struct bill *bill, char **paths, const struct options *options)
{
	struct sum_query query = { .count = 1, .at[0] = {
		.keys = &bill->keys, .from_us = bill->from_us,
		.to_us = bill->to_us }, .tenant = bill->invoice.tenant };
	struct reader reader = { .each = NULL };
	size_t count;
	int code = ledgers_sum(&query, paths, options->conf, &reader,
	    &bill->groups);

	if (code != CMD_DONE)
		return code;
	bill->invoice.faults = reader.faults;
	if (reader_begins_late(&reader, bill->from_us))
		bill->invoice.begins_us = reader.begins_us;
	code = write_bill(bill, options->is_text);
	if (code == CMD_DONE && (groups_sorted(bill->groups, &count) == NULL ||
	    count == 0))
		(void)cmd_fail("warning: no record of tenant %s is of %s",
		    bill->invoice.tenant, options->month);
	return reader_faults(&reader) ? CMD_FAILED : code;
}

int
books_invoice(const struct cmd_verb *verb, int argc, char **argv)
{
	struct options options = { .conf = DEFAULT_CONFIG };
	const struct cmd_option table[] = {
		CMD_OPTION_CONF(&options.conf),
		{ 0, "month", "MONTH", "the month, as 2026-11", NULL,
		    &options.month, NULL },
		{ 0, "prices", "FILE", "the price book (default: the "
		    "configuration's)", NULL, &options.prices, NULL },
		{ 0, "date", "DAY", "the invoice's date (default: today)",
		    NULL, &options.date, NULL },
		{ 0, "text", NULL, "print plain text instead of HTML",
		    &options.is_text, NULL, NULL },
	};
	struct bill bill = { .prices = NULL };
	char **operands;
	int code;

	if (!cmd_options(verb, table, sizeof(table) / sizeof(table[0]), argc,
	    argv, &operands, &code))
		return code;
	code = set(&bill, verb, &options, operands[0]);
	if (code == CMD_DONE)
		code = read_and_write(&bill, operands + 1, &options);
	groups_free(bill.groups);
	prices_free(bill.prices);
	return code;
}
