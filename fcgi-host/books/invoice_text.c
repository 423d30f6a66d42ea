#include <errno.h>
#include <string.h>

#include "fcgi-host/books/invoice.h"
#include "fcgi-host/civil.h"
#include "fcgi-host/cmd_table.h"

#define SHOWN_MAX 512

/* A name, and its address a line each.  The price book has no control bytes. */
static int
add_party(struct buf *out, const char *name, const char *address)
{
	int error = buf_add_str(out, name);

	if (error == 0)
		error = buf_add_str(out, "\n");
	while (*address != '\0' && error == 0) {
		struct span line = invoice_address_line(&address);

		error = buf_add(out, line.at, line.n);
		if (error == 0)
			error = buf_add_str(out, "\n");
	}
	return error;
}

static int
add_head(const struct invoice *invoice, struct buf *out)
{
	struct prices_party issuer = prices_issuer(invoice->prices);
	struct prices_party customer = prices_customer(invoice->prices,
	    invoice->tenant);
	char number[INVOICE_NUMBER_MAX], period[INVOICE_PERIOD_MAX];
	char day[CIVIL_TEXT_MAX], warning[INVOICE_WARNING_MAX];
	int error = 0;

	if (issuer.name[0] != '\0')
		error = add_party(out, issuer.name, issuer.address);
	if (error == 0)
		error = buf_addf(out, "\nInvoice %s\nPeriod:  %s (UTC)\n"
		    "Date:    %s\n\n", invoice_number(invoice, number),
		    invoice_period(invoice, period),
		    civil_day_text(invoice->date, day));
	if (error == 0 && invoice_warning(invoice, warning) != NULL)
		error = buf_addf(out, "%s\n\n", warning);
	if (error == 0)
		error = add_party(out, customer.name[0] != '\0' ?
		    customer.name : invoice->tenant, customer.address);
	return error != 0 ? error : buf_add_str(out, "\n");
}

static int
add_lines(const struct invoice *invoice, struct buf *out)
{
	struct cmd_table table = { .columns = 4, .right = 1u << 1 | 1u << 3 };
	char words[INVOICE_WORDS_MAX], price[INVOICE_WORDS_MAX];
	char quantity[MONEY_TEXT_MAX], amount[MONEY_TEXT_MAX];
	const struct rate_bill *bill = invoice->bill;
	int error;
	size_t i;

	cmd_table_add(&table, "USE");
	cmd_table_add(&table, "QUANTITY");
	cmd_table_add(&table, "PRICE");
	cmd_table_add(&table, "%s", prices_currency(invoice->prices));
	for (i = 0; i < bill->count; i++) {
		const struct rate_line *line = &bill->lines[i];

		cmd_table_add(&table, "%s", invoice_line(line, words));
		cmd_table_add(&table, "%s", invoice_quantity(line, quantity));
		cmd_table_add(&table, "%s", invoice_price(line, price));
		cmd_table_add(&table, "%s", invoice_amount(invoice,
		    line->amount, amount));
	}
	for (i = bill->minimum > 0 ? 0 : 1; i < 2; i++) {
		cmd_table_add(&table, "%s", i == 0 ?
		    "Up to the month's minimum" : "Total");
		cmd_table_add(&table, "%s", "");
		cmd_table_add(&table, "%s", "");
		cmd_table_add(&table, "%s", invoice_amount(invoice, i == 0 ?
		    bill->minimum : bill->total, amount));
	}
	error = cmd_table_put(&table, out);
	cmd_table_free(&table);
	return error;
}

static int
add_functions(const struct invoice *invoice, struct buf *out)
{
	struct cmd_table table = { .columns = 4, .right = 1u << 1 | 1u << 2 |
		1u << 3 };
	char shown[SHOWN_MAX], text[MONEY_TEXT_MAX];
	int error;
	size_t i;

	cmd_table_add(&table, "FUNCTION");
	cmd_table_add(&table, "EXECUTIONS");
	cmd_table_add(&table, "GIB-SECONDS");
	cmd_table_add(&table, "%s", prices_currency(invoice->prices));
	for (i = 0; i < invoice->function_count; i++) {
		const struct group *group = invoice->functions[i];
		struct span name = keys_value(group->packed, 0);

		cmd_table_add(&table, "%s", name.n == 0 ? "(minimum)" :
		    log_value(shown, sizeof(shown), name.at, name.n));
		cmd_table_add(&table, "%s", name.n == 0 ? "" : money_text(
		    group->sums.usage.executions, 0, 0, text));
		cmd_table_add(&table, "%s", name.n == 0 ? "" :
		    money_ratio_text(group->sums.usage.mib_ms,
		    RATE_MIB_MS_PER_GIB_S, text));
		cmd_table_add(&table, "%s", invoice_amount(invoice,
		    group->sums.cost, text));
	}
	error = cmd_table_put(&table, out);
	cmd_table_free(&table);
	return error;
}

int
invoice_text(const struct invoice *invoice, struct buf *out)
{
	const char *note = prices_note(invoice->prices);
	int error = add_head(invoice, out);

	if (error == 0)
		error = add_lines(invoice, out);
	if (error == 0)
		error = buf_add_str(out, "\n");
	if (error == 0 && invoice->function_count > 0)
		error = add_functions(invoice, out);
	if (error == 0 && note[0] != '\0')
		error = buf_add_str(out, "\n");
	if (error == 0 && note[0] != '\0')
		error = buf_add_str(out, note);
	return error != 0 || note[0] == '\0' ? error : buf_add_str(out, "\n");
}
