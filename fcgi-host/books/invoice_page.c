#include <string.h>

#include "fcgi-host/books/invoice.h"
#include "fcgi-host/civil.h"

/* Light alone: it is paper.  Nothing is loaded. */
static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, "
    "initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light\">\n"
    "<title>Invoice ";
static const char style[] =
    "</title>\n<style>\n"
    "@page { size: A4; margin: 20mm 18mm; }\n"
    ":root { color-scheme: light; }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0 auto; padding: 2rem 1.25rem; max-width: 54rem;\n"
    "  background: #fff; color: #1a1a1a;\n"
    "  font: 15px/1.5 system-ui, -apple-system, \"Segoe UI\", Roboto,\n"
    "    \"Liberation Sans\", sans-serif; }\n"
    "header { display: flex; flex-wrap: wrap; gap: 1rem 3rem;\n"
    "  justify-content: space-between; margin-bottom: 2.5rem; }\n"
    "h1 { font-size: 1.6rem; font-weight: 600; margin: 0; }\n"
    "h2 { font-size: 1rem; font-weight: 600; margin: 2.5rem 0 .5rem; }\n"
    "address { font-style: normal; }\n"
    "address strong { font-weight: 600; }\n"
    "dl { display: grid; grid-template-columns: auto auto; gap: 0 1.25rem;\n"
    "  margin: .5rem 0 0; }\n"
    "dt { color: #5c5c5c; }\n"
    "dd { margin: 0; font-variant-numeric: tabular-nums; }\n"
    ".warning { border: 1px solid #b45309; border-left-width: 6px;\n"
    "  padding: .5rem .75rem; margin: 0 0 2rem; }\n"
    ".wide { overflow-x: auto; }\n"
    "table { width: 100%; border-collapse: collapse; margin-top: 2rem; }\n"
    "h2 + .wide table { margin-top: 0; }\n"
    "th { text-align: left; font-weight: 600; color: #5c5c5c;\n"
    "  border-bottom: 1px solid #1a1a1a; }\n"
    "th, td { padding: .35rem 1rem .35rem 0; vertical-align: top; }\n"
    "td { border-bottom: 1px solid #e2e2e2; unicode-bidi: isolate;\n"
    "  overflow-wrap: break-word; }\n"
    ".number { text-align: right; white-space: nowrap;\n"
    "  font-variant-numeric: tabular-nums; overflow-wrap: normal; }\n"
    "th:last-child, td:last-child { padding-right: 0; }\n"
    "tfoot td { border-bottom: 0; border-top: 2px solid #1a1a1a;\n"
    "  font-weight: 600; font-size: 1.1rem; }\n"
    "footer { margin-top: 2.5rem; color: #5c5c5c; font-size: .85rem; }\n"
    ".day { white-space: nowrap; }\n"
    /* Too narrow for four columns: each row is two lines, the amount at the
     * end of the first. */
    "@media screen and (max-width: 40rem) { body { padding: 1rem .75rem; }\n"
    "  table, thead, tbody, tfoot { display: block; }\n"
    "  tr { display: flex; flex-wrap: wrap; gap: 0 .4rem; padding: .4rem 0;\n"
    "    border-bottom: 1px solid #e2e2e2; }\n"
    "  th, td, tfoot td { border: 0; padding: 0; }\n"
    "  thead tr { border-bottom-color: #1a1a1a; }\n"
    "  tfoot tr { border-bottom: 0; border-top: 2px solid #1a1a1a; }\n"
    "  th:nth-child(2), th:nth-child(3), td:empty { display: none; }\n"
    "  th:first-child, td:first-child { flex: 0 0 calc(100% - 6.9rem); }\n"
    "  th:last-child, td:last-child { flex: 0 0 6.5rem; }\n"
    "  .functions :first-child { flex-basis: calc(100% - 9.9rem); }\n"
    "  .functions :last-child { flex-basis: 9.5rem; }\n"
    "  td:nth-child(2), td:nth-child(3) { order: 1; color: #5c5c5c; }\n"
    "  td:nth-child(2)::after { content: \" \\b7\"; }\n"
    "  .functions td:nth-child(2)::after { content: \" executions \\b7\"; }\n"
    "  .functions td:nth-child(3)::after { content: \" GiB-seconds\"; } }\n"
    "@media print { :root { font-size: 13px; }\n"
    "  body { padding: 0; max-width: none; font-size: 10pt;\n"
    "    line-height: 1.4; }\n"
    "  header { margin-bottom: 2rem; } table { margin-top: 1.5rem; }\n"
    "  h2, footer { margin-top: 1.75rem; }\n"
    "  .wide { overflow: visible; } footer p { margin: .5rem 0; }\n"
    "  thead { display: table-header-group; }\n"
    "  tfoot { display: table-row-group; }\n"
    "  tr, footer, .warning { break-inside: avoid; } h2 { break-after: avoid; } }\n"
    "</style>\n</head>\n<body>\n";

static int
add_text(struct buf *out, const char *text)
{
	return buf_add_html(out, text, strlen(text));
}

/* <TAG>TEXT</TAG>; attributes may stand behind the tag's name. */
static int
add_tag(struct buf *out, const char *tag, const char *text)
{
	int error = buf_addf(out, "<%s>", tag);

	if (error == 0)
		error = add_text(out, text);
	return error != 0 ? error : buf_addf(out, "</%.*s>",
	    (int)strcspn(tag, " "), tag);
}

/* Each part between '|' is a line. */
static int
add_party(struct buf *out, const char *name, const char *address)
{
	int error = buf_add_str(out, "<address>");

	if (error == 0)
		error = add_tag(out, "strong", name);
	while (*address != '\0' && error == 0) {
		struct span line = invoice_address_line(&address);

		error = buf_add_str(out, "<br>");
		if (error == 0)
			error = buf_add_html(out, line.at, line.n);
	}
	return error != 0 ? error : buf_add_str(out, "</address>\n");
}

static int
add_fact(struct buf *out, const char *name, const char *value)
{
	int error = add_tag(out, "dt", name);

	return error != 0 ? error : add_tag(out, "dd", value);
}

static int
add_facts(const struct invoice *invoice, struct buf *out)
{
	char number[INVOICE_NUMBER_MAX], period[INVOICE_PERIOD_MAX];
	char day[CIVIL_TEXT_MAX];
	int error = buf_add_str(out, "<div>\n<h1>Invoice</h1>\n<dl>");

	if (error == 0)
		error = add_fact(out, "Number", invoice_number(invoice,
		    number));
	if (error == 0)
		error = add_fact(out, "Period (UTC)", invoice_period(invoice,
		    period));
	if (error == 0)
		error = add_fact(out, "Date", civil_day_text(invoice->date,
		    day));
	return error != 0 ? error : buf_add_str(out,
	    "</dl>\n</div>\n</header>\n");
}

static int
add_head(const struct invoice *invoice, struct buf *out)
{
	struct prices_party issuer = prices_issuer(invoice->prices);
	struct prices_party customer = prices_customer(invoice->prices,
	    invoice->tenant);
	char number[INVOICE_NUMBER_MAX], warning[INVOICE_WARNING_MAX];
	int error = buf_add_str(out, head);

	if (error == 0)
		error = add_text(out, invoice_number(invoice, number));
	if (error == 0)
		error = buf_add_str(out, style);
	if (error == 0)
		error = buf_add_str(out, "<header>\n");
	if (error == 0)
		error = add_party(out, issuer.name, issuer.address);
	if (error == 0)
		error = add_facts(invoice, out);
	if (error == 0 && invoice_warning(invoice, warning) != NULL)
		error = add_tag(out, "p class=\"warning\"", warning);
	return error != 0 ? error : add_party(out, customer.name[0] != '\0' ?
	    customer.name : invoice->tenant, customer.address);
}

/* Text; a date at its end stays in one line. */
static int
add_words(struct buf *out, const char *text)
{
	const char *from = strstr(text, ", from ");
	int error;

	if (from == NULL)
		return add_text(out, text);
	from += 2;
	error = buf_add_html(out, text, (size_t)(from - text));
	return error != 0 ? error : add_tag(out, "span class=\"day\"", from);
}

/* A row of four cells; left: bit i is set where cell i is text. */
static int
add_row(struct buf *out, const char *cell, unsigned left,
    const char *const texts[4])
{
	int error = buf_add_str(out, "<tr>");
	size_t i;

	for (i = 0; i < 4 && error == 0; i++) {
		error = buf_addf(out, (left >> i & 1) != 0 ? "<%s>" :
		    "<%s class=\"number\">", cell);
		if (error == 0)
			error = add_words(out, texts[i]);
		if (error == 0)
			error = buf_addf(out, "</%s>", cell);
	}
	return error != 0 ? error : buf_add_str(out, "</tr>\n");
}

#define USE_LEFT (1u | 1u << 2)
#define FUNCTION_LEFT 1u

static int
add_line(const struct invoice *invoice, const struct rate_line *line,
    struct buf *out)
{
	char words[INVOICE_WORDS_MAX], price[INVOICE_WORDS_MAX];
	char quantity[MONEY_TEXT_MAX], amount[MONEY_TEXT_MAX];

	return add_row(out, "td", USE_LEFT, (const char *const[4]){
	    invoice_line(line, words), invoice_quantity(line, quantity),
	    invoice_price(line, price),
	    invoice_amount(invoice, line->amount, amount) });
}

static int
add_lines(const struct invoice *invoice, struct buf *out)
{
	const struct rate_bill *bill = invoice->bill;
	char amount[MONEY_TEXT_MAX];
	int error = buf_add_str(out, "<div class=\"wide\"><table>\n<thead>\n");
	size_t i;

	if (error == 0)
		error = add_row(out, "th", USE_LEFT, (const char *const[4]){
		    "Use", "Quantity", "Price", prices_currency(
		    invoice->prices) });
	if (error == 0)
		error = buf_add_str(out, "</thead>\n<tbody>\n");
	for (i = 0; i < bill->count && error == 0; i++)
		error = add_line(invoice, &bill->lines[i], out);
	if (error == 0 && bill->minimum > 0)
		error = add_row(out, "td", USE_LEFT, (const char *const[4]){
		    "Up to the month\xe2\x80\x99s minimum", "", "",
		    invoice_amount(invoice, bill->minimum, amount) });
	if (error == 0)
		error = buf_add_str(out, "</tbody>\n<tfoot>\n");
	if (error == 0)
		error = add_row(out, "td", USE_LEFT, (const char *const[4]){
		    "Total", "", "", invoice_amount(invoice, bill->total,
		    amount) });
	return error != 0 ? error : buf_add_str(out,
	    "</tfoot>\n</table></div>\n");
}

/* A function, or what is of none: up to the minimum. */
static int
add_function(const struct invoice *invoice, const struct group *group,
    struct buf *out)
{
	struct span name = keys_value(group->packed, 0);
	char executions[MONEY_TEXT_MAX] = "", gib_s[MONEY_TEXT_MAX] = "";
	char cost[MONEY_TEXT_MAX];
	int error = buf_add_str(out, "<tr><td>");

	if (name.n > 0) {
		(void)money_text(group->sums.usage.executions, 0, 0,
		    executions);
		(void)money_ratio_text(group->sums.usage.mib_ms,
		    RATE_MIB_MS_PER_GIB_S, gib_s);
	}
	if (error == 0)
		error = name.n == 0 ? buf_add_str(out, "(minimum)") :
		    buf_add_html(out, name.at, name.n);
	return error != 0 ? error : buf_addf(out, "</td><td class=\"number\">"
	    "%s</td><td class=\"number\">%s</td><td class=\"number\">%s</td>"
	    "</tr>\n", executions, gib_s, invoice_amount(invoice,
	    group->sums.cost, cost));
}

static int
add_functions(const struct invoice *invoice, struct buf *out)
{
	int error = buf_add_str(out, "<h2>By function</h2>\n"
	    "<div class=\"wide\"><table class=\"functions\">\n<thead>\n");
	size_t i;

	if (error == 0)
		error = add_row(out, "th", FUNCTION_LEFT,
		    (const char *const[4]){ "Function", "Executions",
		    "GiB-seconds", prices_currency(invoice->prices) });
	if (error == 0)
		error = buf_add_str(out, "</thead>\n<tbody>\n");
	for (i = 0; i < invoice->function_count && error == 0; i++)
		error = add_function(invoice, invoice->functions[i], out);
	return error != 0 ? error : buf_add_str(out,
	    "</tbody>\n</table></div>\n");
}

int
invoice_page(const struct invoice *invoice, struct buf *out)
{
	const char *note = prices_note(invoice->prices);
	int error = add_head(invoice, out);

	if (error == 0)
		error = add_lines(invoice, out);
	if (error == 0 && invoice->function_count > 0)
		error = add_functions(invoice, out);
	if (error == 0)
		error = buf_add_str(out, "<footer>\n");
	if (error == 0 && note[0] != '\0')
		error = add_tag(out, "p", note);
	return error != 0 ? error : buf_add_str(out, "<p>Each line is its "
	    "quantity times its price, rounded once, a half upwards. The "
	    "functions\xe2\x80\x99 costs are shares of these lines.</p>\n"
	    "</footer>\n</body>\n</html>\n");
}
