#include "fcgi-host/books/usage_page.h"

#include <errno.h>

#include "fcgi-host/books/focus.h"
#include "fcgi-host/books/page.h"
#include "fcgi-host/books/rated.h"
#include "fcgi-host/cmd.h"

static bool
has_cost(enum page_part part)
{
	return part == PAGE_DAY_TENANTS || part == PAGE_TENANTS ||
	    part == PAGE_FUNCTIONS;
}

/* The costs of the parts that show them. */
static int
charge(const struct page_query *query, const struct keys *keys,
    struct groups *groups, struct page *page)
{
	struct rated rated = { .count = 0 };
	int error = rated_make(query->prices, groups, &rated);
	unsigned i;

	for (i = 0; error == 0 && i < PAGE_PARTS; i++) {
		if (!has_cost((enum page_part)i))
			continue;
		page->costs[i] = groups_new(&page_keys[i]);
		error = page->costs[i] == NULL ? -ENOMEM :
		    rated_fold(&rated, keys, &page_keys[i], query->from_day,
		    query->to_day, page->costs[i]);
	}
	rated_free(&rated);
	return error == 0 ? CMD_DONE : rated_fail(error);
}

int
usage_page(const struct page_query *query, char **paths, const char *conf,
    struct reader *reader, struct buf *out)
{
	struct keys keys = rated_keys(&focus_by);
	struct groups *groups[PAGE_PARTS + 1] = { NULL };
	struct page page = { .prices = query->prices };
	struct sum_query sum = { .count = PAGE_PARTS };
	int code;
	unsigned i;

	for (i = 0; i < PAGE_PARTS; i++)
		sum.at[i] = (struct sum_grouping){ .keys = &page_keys[i],
			.has_spreads = page_has_spreads[i],
			.from_us = query->from_us, .to_us = query->to_us };
	if (query->prices != NULL)
		sum.at[sum.count++] = (struct sum_grouping){ .keys = &keys,
			.from_us = query->rated_from_us,
			.to_us = query->rated_to_us };
	code = ledgers_sum(&sum, paths, conf, reader, groups);
	if (code != CMD_DONE)
		return code;
	for (i = 0; i < PAGE_PARTS; i++)
		page.parts[i] = groups[i];
	page.faults = reader->faults;
	if (query->prices != NULL)
		code = charge(query, &keys, groups[PAGE_PARTS], &page);
	if (code == CMD_DONE && page_put(&page, out) != 0)
		code = cmd_fail("no memory for the page");
	for (i = 0; i < PAGE_PARTS; i++) {
		groups_free(groups[i]);
		groups_free(page.costs[i]);
	}
	groups_free(groups[PAGE_PARTS]);
	return code;
}
