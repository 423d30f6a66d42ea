#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/civil.h"
#include "fcgi-host/log.h"
#include "fcgi-host/rate.h"

/* A part of a cell's quantity that belongs to one line. */
struct piece {
	size_t cell, line;
	rate_sum quantity;
};

/* A bill that is being made; the arrays of one day's cells are scratch. */
struct work {
	const struct prices *prices;
	const char *tenant;
	struct rate_cell *cells;
	size_t count;
	struct rate_bill *bill;
	struct piece *pieces;
	size_t piece_count;
	const struct prices_list **lists; /* by cell, of the item */
	rate_sum *left, *parts;           /* by cell: not yet placed, placed now */
	enum prices_item item;
};

rate_sum
rate_quantity(const struct rate_usage *usage, enum prices_item item)
{
	switch (item) {
	case PRICES_EXECUTIONS:
		return usage->executions;
	case PRICES_GIB_SECONDS:
		return usage->mib_ms;
	case PRICES_CPU_SECONDS:
		return usage->cpu_us;
	case PRICES_GB_OUT:
		return usage->bytes_out;
	case PRICES_IDLE_GIB_SECONDS:
		return usage->idle_mib_ms;
	case PRICES_ITEM_COUNT:
		break;
	}
	LOG_ASSERT(false);
	return 0;
}

/* The line of the list's step (list NULL: of the item's free tier); it is made
 * when there is none.  Its index, or -ENOMEM. */
static ssize_t
line_of(struct work *w, const struct prices_list *list, unsigned step)
{
	struct rate_bill *bill = w->bill;
	struct rate_line *lines, *line;
	size_t i;

	for (i = 0; i < bill->count; i++) {
		line = &bill->lines[i];
		if (line->item == w->item && line->list == list &&
		    line->step == step)
			return (ssize_t)i;
	}
	lines = buf_grow(bill->lines, bill->count, sizeof(*lines));
	if (lines == NULL)
		return -ENOMEM;
	bill->lines = lines;
	line = &lines[bill->count];
	*line = (struct rate_line){ .item = w->item, .is_free = list == NULL,
		.list = list, .step = step,
		.price = list != NULL ? list->steps[step].price : 0 };
	return (ssize_t)bill->count++;
}

static int
add_piece(struct work *w, size_t cell, const struct prices_list *list,
    unsigned step, rate_sum quantity)
{
	struct piece *pieces = buf_grow(w->pieces, w->piece_count,
	    sizeof(*pieces));
	ssize_t line;

	if (pieces == NULL)
		return -ENOMEM;
	w->pieces = pieces;
	line = line_of(w, list, step);
	if (line < 0)
		return -ENOMEM;
	pieces[w->piece_count++] = (struct piece){ .cell = cell,
		.line = (size_t)line, .quantity = quantity };
	return money_add(&w->bill->lines[line].quantity, quantity);
}

/* The step in which the place lies. */
static unsigned
step_at(const struct prices_list *list, rate_sum place)
{
	unsigned step = 0;

	while (step + 1 < list->count && list->steps[step + 1].above <= place)
		step++;
	return step;
}

/* Where the next step of any of the day's lists begins, or end. */
static rate_sum
next_step(const struct work *w, size_t from, size_t to, rate_sum place,
    rate_sum end)
{
	size_t i;
	unsigned step;

	for (i = from; i < to; i++) {
		if (w->lists[i] == NULL)
			continue;
		step = step_at(w->lists[i], place) + 1;
		if (step < w->lists[i]->count &&
		    w->lists[i]->steps[step].above < end)
			end = w->lists[i]->steps[step].above;
	}
	return end;
}

/* Puts the next n units of the day's cells onto the axis at place. */
static int
place_units(struct work *w, size_t from, size_t to, rate_sum place, rate_sum n,
    bool is_free)
{
	int error = money_split(n, w->left + from, to - from, w->parts + from);
	size_t i;

	for (i = from; i < to && error == 0; i++) {
		const struct prices_list *list = is_free ? NULL : w->lists[i];

		if (w->parts[i] == 0)
			continue;
		w->left[i] -= w->parts[i];
		error = add_piece(w, i, list,
		    list != NULL ? step_at(list, place) : 0, w->parts[i]);
	}
	return error;
}

/* One item of the cells [from, to), which are of one day. */
static int
rate_day(struct work *w, size_t from, size_t to, rate_sum *at)
{
	int32_t day = w->cells[from].day;
	rate_sum free_tier, place = *at, end = *at;
	int error = 0;
	size_t i;

	for (i = from; i < to && error == 0; i++) {
		w->lists[i] = prices_find(w->prices, w->tenant,
		    w->cells[i].runtime, day, w->item);
		w->left[i] = w->lists[i] == NULL ? 0 :
		    rate_quantity(&w->cells[i].usage, w->item);
		error = money_add(&end, w->left[i]);
	}
	free_tier = prices_free_tier(w->prices, w->tenant, day, w->item);
	if (free_tier > end)
		free_tier = end;
	if (error == 0 && place < free_tier) {
		error = place_units(w, from, to, place, free_tier - place,
		    true);
		place = free_tier;
	}
	while (place < end && error == 0) {
		rate_sum next = next_step(w, from, to, place, end);

		error = place_units(w, from, to, place, next - place, false);
		place = next;
	}
	*at = end;
	return error;
}

static int
rate_item(struct work *w, enum prices_item item)
{
	rate_sum at = 0;
	size_t from, to;
	int error = 0;

	w->item = item;
	for (from = 0; from < w->count && error == 0; from = to) {
		for (to = from + 1; to < w->count &&
		    w->cells[to].day == w->cells[from].day;)
			to++;
		error = rate_day(w, from, to, &at);
	}
	return error;
}

static int
compare_pieces(const void *a, const void *b)
{
	const struct piece *left = a, *right = b;

	if (left->line != right->line)
		return left->line < right->line ? -1 : 1;
	return (left->cell > right->cell) - (left->cell < right->cell);
}

/* Rounds one line, whose pieces are [from, to), and gives the cells their
 * shares of it. */
static int
charge_line(struct work *w, size_t from, size_t to)
{
	struct rate_line *line = &w->bill->lines[w->pieces[from].line];
	const struct prices_kind *kind = &prices_kinds[line->item];
	rate_sum *weights = calloc(2 * (to - from), sizeof(*weights)), *shares;
	int error;
	size_t i;

	if (weights == NULL)
		return -ENOMEM;
	shares = weights + (to - from);
	error = money_charge(line->quantity, line->price,
	    kind->fine * kind->priced, prices_decimals(w->prices),
	    &line->amount);
	for (i = from; i < to && error == 0; i++)
		weights[i - from] = w->pieces[i].quantity;
	if (error == 0)
		error = money_split(line->amount, weights, to - from, shares);
	for (i = from; i < to && error == 0; i++)
		error = money_add(&w->cells[w->pieces[i].cell].cost[line->item],
		    shares[i - from]);
	if (error == 0)
		error = money_add(&w->bill->total, line->amount);
	free(weights);
	return error;
}

/* By line and cell, with one piece for each pair of them: another runtime's
 * step may have cut it. */
static void
sort_pieces(struct work *w)
{
	size_t i, n = 0;

	if (w->piece_count == 0)
		return;
	qsort(w->pieces, w->piece_count, sizeof(*w->pieces), compare_pieces);
	for (i = 1; i < w->piece_count; i++) {
		/* No overflow: the line's quantity is their sum. */
		if (compare_pieces(&w->pieces[n], &w->pieces[i]) == 0)
			w->pieces[n].quantity += w->pieces[i].quantity;
		else
			w->pieces[++n] = w->pieces[i];
	}
	w->piece_count = n + 1;
}

static int
charge(struct work *w)
{
	size_t from, to;
	int error = 0;

	sort_pieces(w);
	for (from = 0; from < w->piece_count && error == 0; from = to) {
		for (to = from + 1; to < w->piece_count &&
		    w->pieces[to].line == w->pieces[from].line;)
			to++;
		error = charge_line(w, from, to);
	}
	return error;
}

static int
compare_lines(const void *a, const void *b)
{
	const struct rate_line *left = a, *right = b;

	if (left->item != right->item)
		return left->item < right->item ? -1 : 1;
	if (left->is_free != right->is_free)
		return left->is_free ? -1 : 1;
	if (left->list != right->list)
		return left->list->line < right->list->line ? -1 : 1;
	return (left->step > right->step) - (left->step < right->step);
}

/* What is missing to the minimum of the month's first day. */
static void
charge_minimum(struct work *w, int32_t month)
{
	struct rate_bill *bill = w->bill;
	money_int minimum = prices_minimum(w->prices, w->tenant,
	    civil_first_day(month));

	if (minimum <= bill->total)
		return;
	bill->minimum = minimum - bill->total;
	bill->total = minimum;
}

int
rate_bill(const struct prices *prices, const char *tenant, int32_t month,
    struct rate_cell *cells, size_t count, struct rate_bill *bill)
{
	struct work w = { .prices = prices, .tenant = tenant, .cells = cells,
		.count = count, .bill = bill };
	int error = 0;
	size_t i;

	memset(bill, 0, sizeof(*bill));
	for (i = 0; i < count; i++) {
		LOG_ASSERT(civil_month_of(cells[i].day) == month);
		LOG_ASSERT(i == 0 || cells[i - 1].day <= cells[i].day);
		memset(cells[i].cost, 0, sizeof(cells[i].cost));
	}
	w.lists = calloc(count + 1, sizeof(*w.lists));
	w.left = calloc(count + 1, sizeof(*w.left));
	w.parts = calloc(count + 1, sizeof(*w.parts));
	if (w.lists == NULL || w.left == NULL || w.parts == NULL)
		error = -ENOMEM;
	for (i = 0; i < PRICES_ITEM_COUNT && error == 0; i++)
		error = rate_item(&w, (enum prices_item)i);
	if (error == 0)
		error = charge(&w);
	if (error == 0)
		charge_minimum(&w, month);
	if (bill->count > 0)
		qsort(bill->lines, bill->count, sizeof(*bill->lines),
		    compare_lines);
	free(w.lists);
	free(w.left);
	free(w.parts);
	free(w.pieces);
	return error;
}

void
rate_bill_free(struct rate_bill *bill)
{
	free(bill->lines);
	memset(bill, 0, sizeof(*bill));
}

/* The exact cost of n units from place on. */
static int
meter_item(const struct prices_list *list, enum prices_item item,
    rate_sum place, rate_sum end, money_int *cost)
{
	const struct prices_kind *kind = &prices_kinds[item];
	uint64_t factor = RATE_EXACT / (kind->fine * kind->priced);
	int error = 0;

	while (place < end && error == 0) {
		unsigned step = step_at(list, place);
		rate_sum next = step + 1 < list->count &&
		    list->steps[step + 1].above < end ?
		    list->steps[step + 1].above : end;
		money_int amount;

		if (__builtin_mul_overflow(next - place,
		    list->steps[step].price, &amount) ||
		    __builtin_mul_overflow(amount, factor, &amount))
			return -EOVERFLOW;
		error = money_add(cost, amount);
		place = next;
	}
	return error;
}

int
rate_meter_add(struct rate_meter *meter, const struct prices *prices,
    const char *tenant, const char *runtime, int32_t day,
    const struct rate_usage *usage, money_int *cost)
{
	struct rate_meter next = *meter;
	int32_t month = civil_month_of(day);
	int error = 0;
	size_t i;

	if (next.month != month)
		next = (struct rate_meter){ .month = month };
	*cost = 0;
	for (i = 0; i < PRICES_ITEM_COUNT && error == 0; i++) {
		enum prices_item item = (enum prices_item)i;
		rate_sum quantity = rate_quantity(usage, item), place, free_tier;
		const struct prices_list *list = quantity == 0 ? NULL :
		    prices_find(prices, tenant, runtime, day, item);

		if (list == NULL)
			continue;
		place = next.at[i];
		error = money_add(&next.at[i], quantity);
		free_tier = prices_free_tier(prices, tenant, day, item);
		if (place < free_tier)
			place = free_tier;
		if (error == 0)
			error = meter_item(list, item, place, next.at[i],
			    cost);
	}
	if (error == 0)
		*meter = next;
	return error;
}
