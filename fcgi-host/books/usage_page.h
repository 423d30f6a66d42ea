/*
 * The page of `usage --html`: what is summed for it, and what that costs.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_USAGE_PAGE_H
#define FCGI_HOST_BOOKS_USAGE_PAGE_H

#include "fcgi-host/books/ledgers.h"
#include "fcgi-host/buf.h"
#include "fcgi-host/prices.h"

struct page_query {
	uint64_t from_us, to_us; /* what is shown */
	const struct prices *prices; /* NULL: none */
	/* With prices: whole months are rated, and these days of them shown. */
	uint64_t rated_from_us, rated_to_us;
	int32_t from_day, to_day;
};

/* Reads the ledgers (ledgers.h) and appends the page.  An exit code, after a
 * sentence on standard error if it is not CMD_DONE; faults are the reader's. */
int usage_page(const struct page_query *query, char **paths, const char *conf,
    struct reader *reader, struct buf *out);

#endif
