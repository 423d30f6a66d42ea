#include "fcgi-host/books/invoice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/civil.h"

const char *
invoice_number(const struct invoice *invoice, char out[INVOICE_NUMBER_MAX])
{
	char month[CIVIL_TEXT_MAX];

	(void)snprintf(out, INVOICE_NUMBER_MAX, "%.*s-%s", CTL_TENANT_MAX,
	    invoice->tenant, civil_month_text(invoice->month, month));
	return out;
}

const char *
invoice_period(const struct invoice *invoice, char out[INVOICE_PERIOD_MAX])
{
	char first[CIVIL_TEXT_MAX], last[CIVIL_TEXT_MAX];

	(void)snprintf(out, INVOICE_PERIOD_MAX, "%s to %s",
	    civil_day_text(civil_first_day(invoice->month), first),
	    civil_day_text(civil_first_day(invoice->month + 1) - 1, last));
	return out;
}

const char *
invoice_warning(const struct invoice *invoice, char out[INVOICE_WARNING_MAX])
{
	bool is_over = invoice->date >= civil_first_day(invoice->month + 1);
	char begins[CIVIL_TIME_MAX];

	if (invoice->faults > 0)
		(void)snprintf(out, INVOICE_WARNING_MAX, "Incomplete: the "
		    "accounting log has faults (%" PRIu64 ").",
		    invoice->faults);
	else if (invoice->begins_us != 0)
		(void)snprintf(out, INVOICE_WARNING_MAX, "Perhaps incomplete: "
		    "the accounting log begins at %s.%s",
		    civil_time_text(invoice->begins_us, begins), is_over ? "" :
		    "  Provisional: the month is not over.");
	else if (!is_over)
		(void)snprintf(out, INVOICE_WARNING_MAX,
		    "Provisional: the month is not over.");
	else
		return NULL;
	return out;
}

static const char *
capital(char *text)
{
	if (text[0] >= 'a' && text[0] <= 'z')
		text[0] = (char)(text[0] - 'a' + 'A');
	return text;
}

struct span
invoice_address_line(const char **address)
{
	struct span line = { *address + strspn(*address, " \t"), 0 };
	const char *end = *address + strcspn(*address, "|");

	*address = *end == '|' ? end + 1 : end;
	if (line.at > end)
		line.at = end;
	line.n = (size_t)(end - line.at);
	while (line.n > 0 && (line.at[line.n - 1] == ' ' ||
	    line.at[line.n - 1] == '\t'))
		line.n--;
	return line;
}

const char *
invoice_line(const struct rate_line *line, char out[INVOICE_WORDS_MAX])
{
	const struct prices_kind *kind = &prices_kinds[line->item];
	const struct prices_list *list = line->list;
	char above[MONEY_TEXT_MAX + 8] = "", from[CIVIL_TEXT_MAX + 8] = "";
	char text[MONEY_TEXT_MAX], day[CIVIL_TEXT_MAX];

	if (line->is_free) {
		(void)snprintf(out, INVOICE_WORDS_MAX, "%s, free tier",
		    kind->unit);
		return capital(out);
	}
	if (line->step > 0)
		(void)snprintf(above, sizeof(above), " above %s",
		    money_ratio_text(list->steps[line->step].above,
		    kind->fine, text));
	if (list->has_from)
		(void)snprintf(from, sizeof(from), ", from %s",
		    civil_day_text(list->from, day));
	(void)snprintf(out, INVOICE_WORDS_MAX, "%s%s%s%s%s", kind->unit, above,
	    list->runtime[0] != '\0' ? ", " : "", list->runtime, from);
	return capital(out);
}

const char *
invoice_quantity(const struct rate_line *line, char out[MONEY_TEXT_MAX])
{
	return money_ratio_text(line->quantity, prices_kinds[line->item].fine,
	    out);
}

const char *
invoice_price(const struct rate_line *line, char out[INVOICE_WORDS_MAX])
{
	char text[MONEY_TEXT_MAX];

	if (line->is_free)
		(void)snprintf(out, INVOICE_WORDS_MAX, "free");
	else
		(void)snprintf(out, INVOICE_WORDS_MAX, "%s per %s",
		    money_text(line->price, MONEY_DIGITS, 2, text),
		    prices_kinds[line->item].priced_as);
	return out;
}

const char *
invoice_amount(const struct invoice *invoice, money_int amount,
    char out[MONEY_TEXT_MAX])
{
	return money_text(amount, MONEY_DIGITS,
	    prices_decimals(invoice->prices), out);
}
