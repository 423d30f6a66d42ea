/*
 * What an invoice says, and its two forms: a page and a text.  Pure but for the
 * verb.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_INVOICE_H
#define FCGI_HOST_BOOKS_INVOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/books/groups.h"
#include "fcgi-host/buf.h"
#include "fcgi-host/prices.h"
#include "fcgi-host/rate.h"

struct invoice {
	const struct prices *prices;
	const char *tenant;
	int32_t month, date; /* date: when it is written */
	const struct rate_bill *bill;
	/* By function, with costs that sum up to the bill; the one without a
	 * name is what is charged up to the minimum. */
	struct group **functions;
	size_t function_count;
	uint64_t faults; /* lines of the log that could not be read */
	uint64_t begins_us; /* what the month had before is missing; 0 */
};

/* "alice-2026-07" */
#define INVOICE_NUMBER_MAX (CTL_TENANT_MAX + 16)
const char *invoice_number(const struct invoice *invoice,
    char out[INVOICE_NUMBER_MAX]);
/* "2026-07-01 to 2026-07-31" */
#define INVOICE_PERIOD_MAX 48
const char *invoice_period(const struct invoice *invoice,
    char out[INVOICE_PERIOD_MAX]);
/* What makes it no last word, or NULL: the month is not over, the log is
 * damaged or begins within the month. */
#define INVOICE_WARNING_MAX 160
const char *invoice_warning(const struct invoice *invoice,
    char out[INVOICE_WARNING_MAX]);

/* The first line of what is left of an address, which must not be empty, and
 * steps over it. */
struct span invoice_address_line(const char **address);

/* A line of the bill in words: "GiB-seconds above 600000, php, from 2026-07-15". */
#define INVOICE_WORDS_MAX 192
const char *invoice_line(const struct rate_line *line,
    char out[INVOICE_WORDS_MAX]);
/* "12.5" */
const char *invoice_quantity(const struct rate_line *line,
    char out[MONEY_TEXT_MAX]);
/* "0.20 per million executions" or "free" */
const char *invoice_price(const struct rate_line *line,
    char out[INVOICE_WORDS_MAX]);
const char *invoice_amount(const struct invoice *invoice, money_int amount,
    char out[MONEY_TEXT_MAX]);

/* Appends the invoice; 0 or -ENOMEM. */
int invoice_text(const struct invoice *invoice, struct buf *out);
/* A page that needs nothing else: no network, no script. */
int invoice_page(const struct invoice *invoice, struct buf *out);

#endif
