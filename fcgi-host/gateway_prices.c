/* The price book, by which budgets in money are kept. */
#include "fcgi-host/gateway_impl.h"

#include <string.h>

#include "fcgi-host/budget_file.h"
#include "fcgi-host/log.h"
#include "fcgi-host/prices.h"

/* The first of the sentences: whoever ran or reloaded the host has read all. */
static void
errors_log(const struct conf_errors *errors)
{
	const char *text = errors->text.data == NULL ? "not enough memory" :
	    (const char *)errors->text.data + errors->text.start;
	size_t n = errors->text.data == NULL ? strlen(text) :
	    buf_len(&errors->text);
	const char *end = memchr(text, '\n', n);

	log_event(LOG_ERROR, "prices", "why=\"%.*s\" mend=\"mend the price "
	    "book and reload; until then the one before holds\"",
	    end == NULL ? (int)n : (int)(end - text), text);
}

void
gateway_prices_take(struct gateway *gateway, int fd)
{
	struct conf_errors errors = { 0 };

	prices_free(gateway->prices_next);
	gateway->prices_next = prices_read(fd, "prices", &errors);
	if (gateway->prices_next == NULL)
		errors_log(&errors);
	conf_errors_free(&errors);
}

/* What was charged by the book before is not to be read again by the next one. */
static void
charges_save(struct gateway *gateway)
{
	ledger_flush(gateway->server.ledger);
	if (!ledger_is_failing(gateway->server.ledger) &&
	    budgets_is_due(gateway->budgets))
		budgets_save(gateway->budgets);
}

void
gateway_prices_switch(struct gateway *gateway)
{
	const char *currency = conf_currency(gateway->conf);

	charges_save(gateway);
	if (gateway->conf->prices == NULL || gateway->prices_next != NULL) {
		prices_free(gateway->prices);
		gateway->prices = gateway->prices_next;
		gateway->prices_next = NULL;
	}
	budgets_set_prices(gateway->budgets, gateway->prices);
	if (currency[0] != '\0' && (gateway->prices == NULL ||
	    strcmp(currency, prices_currency(gateway->prices)) != 0))
		log_event(LOG_ERROR, "prices", "currency=%s mend=\"there is no "
		    "price book in that currency, so who has a budget in it is "
		    "refused: mend [host] prices and reload\"", currency);
}
