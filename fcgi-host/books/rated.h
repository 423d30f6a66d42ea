/*
 * Groups of usage with what they cost.  Records are summed by tenant, day and
 * runtime, and by what is asked for besides; whole months are rated, and the
 * rounded lines of the bills are shared out to the groups.  Pure but for
 * rated_path and rated_prices.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_RATED_H
#define FCGI_HOST_BOOKS_RATED_H

#include "fcgi-host/books/groups.h"
#include "fcgi-host/cmd.h"
#include "fcgi-host/prices.h"
#include "fcgi-host/rate.h"

/* Where the price book is: path, or if that is NULL what the configuration
 * names, which *conf then holds (conf_unref, also of NULL).  NULL after a
 * sentence. */
const char *rated_path(const struct cmd_verb *verb, const char *path,
    const char *conf_path, struct conf **conf);

/* Reads a price book; NULL after all its errors went to standard error. */
struct prices *rated_prices(const char *path);

/* The keys by which records must be summed: tenant, day and runtime, then the
 * others of `by`. */
struct keys rated_keys(const struct keys *by);
#define RATED_KEYS 3 /* the place of the first of the others */

/* A name of a log as text; one that no host writes is "". */
void rated_name(struct span value, char *out, size_t size);

/* A group of rated_keys and its share of each item. */
struct rated_group {
	const struct group *group; /* borrowed */
	int32_t day;
	money_int cost[PRICES_ITEM_COUNT];
};

/* A tenant's month. */
struct rated_month {
	char tenant[CTL_TENANT_MAX + 1];
	int32_t month;
	size_t from, to; /* its groups, in their order */
	struct rate_bill bill;
};

struct rated {
	struct rated_group *groups;
	size_t count;
	struct rated_month *months; /* by tenant and month */
	size_t month_count;
	/* NULL, or what the groups are taken out of as they are folded, for both
	 * together are much memory: no other folding comes. */
	struct groups *spent;
};

/* Rates all groups, which have rated_keys.  0; -ENOMEM; -EOVERFLOW;
 * -EINVAL: a day that the calendar does not have.  *rated is to be freed in any
 * case; it borrows the groups. */
int rated_make(const struct prices *prices, struct groups *groups,
    struct rated *rated);
/* A sentence about such an error on standard error; returns an exit code. */
int rated_fail(int error);
void rated_free(struct rated *rated);

/*
 * Puts the days [from, to) together by other keys, with their costs in
 * sums.cost.  What a month is charged up to its minimum is in a group of its
 * own, with tenant and month alone; it is there when the whole month is.  0;
 * -ENOMEM; -EOVERFLOW.
 */
int rated_fold(const struct rated *rated, const struct keys *keys,
    const struct keys *by, int32_t from, int32_t to, struct groups *out);

#endif
