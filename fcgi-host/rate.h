/*
 * Usage into money: what a tenant's functions used, per day and runtime, and
 * the lines of a bill that a price book (prices.h) makes of it.  Pure; the
 * command's programs and the gateway (budgets) call it.
 *
 * The rule.  For each item (executions, GiB-seconds, …) a tenant's month is one
 * axis, on which what he used lies in the order of days, whatever function or
 * runtime used it.  Free tier and steps are places on that axis: what lies
 * below the day's free tier costs nothing, the rest has the price of the step
 * in which it lies.  Where such a place falls within a day, each runtime gets
 * its part of both sides in proportion, in whole fine units.  Each day has its
 * own prices, those that hold on it.  What an item has no price for stays off
 * the axis.  All that has one price in one step of one section is one line, and
 * is rounded once; the book's minimum, of the month's first day, is a line of
 * what is missing to it.
 */
#ifndef FCGI_HOST_RATE_H
#define FCGI_HOST_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/money.h"
#include "fcgi-host/prices.h"

/* Sums of records: whatever 64 bits each of them tells, no ledger that a disk
 * holds overflows it. */
typedef money_int rate_sum;

#define RATE_MIB_MS_PER_GIB_S 1024000u /* 1024 MiB * 1000 ms */
#define RATE_US_PER_CPU_S 1000000u
#define RATE_BYTES_PER_GB 1000000000u

/* What was used, in whole fine units of the records. */
struct rate_usage {
	uint64_t executions; /* neither refused nor lost */
	rate_sum mib_ms;     /* memory limit * billed time */
	rate_sum cpu_us;
	rate_sum bytes_out;
	rate_sum idle_mib_ms; /* memory limit * time between executions */
};

/* The quantity of an item, in its fine units. */
rate_sum rate_quantity(const struct rate_usage *usage, enum prices_item item);

/* What a tenant's functions of one runtime used on a day, and what of the
 * bill is for that. */
struct rate_cell {
	int32_t day;         /* civil.h */
	const char *runtime; /* borrowed; "" for none */
	struct rate_usage usage;
	money_int cost[PRICES_ITEM_COUNT]; /* out; without the minimum */
};

struct rate_line {
	enum prices_item item;
	bool is_free;                   /* then list is NULL */
	const struct prices_list *list; /* borrowed from the book */
	unsigned step;                  /* of the list */
	rate_sum quantity;
	money_int price, amount;        /* amount: rounded */
};

struct rate_bill {
	struct rate_line *lines; /* by item; the free one first, then by line
				  * of the book and step */
	size_t count;
	money_int minimum;       /* what is charged up to it, or 0 */
	money_int total;         /* of all lines and that */
};

/*
 * The bill of a tenant's month.  cells: all of that month (civil.h), one for
 * each day and runtime, sorted by day and then runtime; the costs of them sum
 * up to the bill without its minimum, to the last fine unit: a line's rounded
 * amount is split over its cells as money_split does.  0; -EOVERFLOW; -ENOMEM;
 * *bill is to be freed in any case.
 */
int rate_bill(const struct prices *prices, const char *tenant, int32_t month,
    struct rate_cell *cells, size_t count, struct rate_bill *bill);
void rate_bill_free(struct rate_bill *bill);

/*
 * The same rule while a month goes on: for budgets.  Costs are exact, in
 * 1/RATE_EXACT of a fine unit, and not rounded; of executions of one day but
 * different runtimes the earlier lies lower on the axis.  No allocation.
 */
#define RATE_EXACT 16000000000ull /* a multiple of every fine * priced */

struct rate_meter {
	int32_t month;
	rate_sum at[PRICES_ITEM_COUNT]; /* how far the axis is used */
};

/* Days of a month may come in any order; with a day of another month the axis
 * begins anew.  0 or -EOVERFLOW; then the meter is as it was. */
int rate_meter_add(struct rate_meter *meter, const struct prices *prices,
    const char *tenant, const char *runtime, int32_t day,
    const struct rate_usage *usage, money_int *cost);

#endif
