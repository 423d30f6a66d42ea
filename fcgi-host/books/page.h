/*
 * Usage as one page of HTML that needs nothing else: no network, no script.
 * Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_PAGE_H
#define FCGI_HOST_BOOKS_PAGE_H

#include "fcgi-host/books/groups.h"
#include "fcgi-host/buf.h"
#include "fcgi-host/prices.h"

/* The groups that a page is made of, by these keys. */
enum page_part {
	PAGE_DAYS,          /* day, with spreads */
	PAGE_DAY_TENANTS,   /* day, tenant */
	PAGE_DAY_OUTCOMES,  /* day, outcome */
	PAGE_TENANTS,       /* tenant, with spreads */
	PAGE_FUNCTIONS,     /* function, with spreads */
	PAGE_PARTS
};
extern const struct keys page_keys[PAGE_PARTS];
extern const bool page_has_spreads[PAGE_PARTS];

struct page {
	struct groups *parts[PAGE_PARTS];
	/* With a price book: costs[i] is of the same keys, where a page has
	 * costs (day and tenant, tenant, function); else NULL. */
	struct groups *costs[PAGE_PARTS];
	const struct prices *prices;
	uint64_t faults; /* that were told while the books were read */
};

/* Appends the page; 0 or -ENOMEM. */
int page_put(const struct page *page, struct buf *out);

#endif
