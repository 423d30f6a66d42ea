#include "fcgi-host/books/page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/books/chart.h"
#include "fcgi-host/books/page_words.h"
#include "fcgi-host/civil.h"

#define DAYS_MAX 400
#define TOP_FUNCTIONS 20
#define TENANTS_SHOWN 100
/* The last of a chart's series is for all others. */
#define NAMED (CHART_SERIES_MAX - 1)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct keys page_keys[PAGE_PARTS] = {
	[PAGE_DAYS] = { { KEY_DAY }, 1 },
	[PAGE_DAY_TENANTS] = { { KEY_DAY, KEY_TENANT }, 2 },
	[PAGE_DAY_OUTCOMES] = { { KEY_DAY, KEY_OUTCOME }, 2 },
	[PAGE_TENANTS] = { { KEY_TENANT }, 1 },
	[PAGE_FUNCTIONS] = { { KEY_FUNCTION }, 1 },
};
const bool page_has_spreads[PAGE_PARTS] = {
	[PAGE_DAYS] = true,
	[PAGE_TENANTS] = true,
	[PAGE_FUNCTIONS] = true,
};

/* What is on the page's time axis. */
struct view {
	const struct page *page;
	int32_t first_day;
	size_t days;
	bool is_cut; /* older ones are not shown */
};

typedef rate_sum value_fn(const struct sums *sums);

static rate_sum
executions_of(const struct sums *sums)
{
	return sums->usage.executions;
}

static rate_sum
cost_of(const struct sums *sums)
{
	return sums->cost;
}

/* All records of type exec; of an outcome's group. */
static rate_sum
records_of(const struct sums *sums)
{
	return sums->usage.executions + sums->refused + sums->lost;
}

/* False: the group is of no day (a month's minimum), or one not shown. */
static bool
day_index(const struct view *view, const struct group *group, size_t *index)
{
	struct span day = keys_value(group->packed, 0);
	char text[CIVIL_TEXT_MAX] = "";
	int32_t number;

	if (day.n >= sizeof(text))
		return false;
	memcpy(text, day.at, day.n);
	if (civil_parse_day(text, &number) != 0 || number < view->first_day)
		return false;
	*index = (size_t)(number - view->first_day);
	return *index < view->days || view->days == 0;
}

static int
set_view(struct view *view)
{
	size_t count, i, index, most = 0, least = SIZE_MAX;
	struct group **sorted = groups_sorted(view->page->parts[PAGE_DAYS],
	    &count);

	if (sorted == NULL)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		if (!day_index(view, sorted[i], &index))
			continue;
		if (index < least)
			least = index;
		if (index > most)
			most = index;
	}
	if (least == SIZE_MAX)
		return 0;
	view->is_cut = most - least >= DAYS_MAX;
	if (view->is_cut)
		least = most - DAYS_MAX + 1;
	view->first_day = (int32_t)least;
	view->days = most - least + 1;
	return 0;
}

/* A group, its place by name, and what it costs: 0 without prices. */
struct ranked {
	const struct group *group;
	size_t place;
	rate_sum cost;
};

/* The dearest come first; then those that used most. */
static int
compare(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	const struct rate_usage *p = &x->group->sums.usage;
	const struct rate_usage *q = &y->group->sums.usage;

	if (x->cost != y->cost)
		return x->cost > y->cost ? -1 : 1;
	if (p->mib_ms != q->mib_ms)
		return p->mib_ms > q->mib_ms ? -1 : 1;
	if (p->executions != q->executions)
		return p->executions > q->executions ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

/* The groups of a part in that order; NULL: no memory. */
static struct ranked *
rank(const struct page *page, enum page_part part, size_t *count)
{
	struct group **sorted = groups_sorted(page->parts[part], count);
	struct ranked *ranked = sorted == NULL ? NULL :
	    calloc(*count + 1, sizeof(*ranked));
	size_t i;

	for (i = 0; ranked != NULL && i < *count; i++) {
		const struct group *cost = page->costs[part] == NULL ? NULL :
		    groups_find(page->costs[part], sorted[i]->packed,
		    sorted[i]->n);

		ranked[i].group = sorted[i];
		ranked[i].place = i;
		ranked[i].cost = cost == NULL ? 0 : cost->sums.cost;
	}
	if (ranked != NULL)
		qsort(ranked, *count, sizeof(*ranked), compare);
	return ranked;
}

/* ------------------------------------------------------------- charts */

static struct chart
new_chart(const struct view *view, const char *title, size_t series)
{
	return (struct chart){ .title = title, .first_day = view->first_day,
		.days = view->days, .series = series,
		.put = words_count };
}

/* The tenants that come first; "others" stands for the rest.  The same for
 * every picture, so that a tenant has one colour. */
static int
choose_tenants(const struct page *page, struct chart *chart)
{
	size_t count, i;
	struct ranked *ranked = rank(page, PAGE_TENANTS, &count);

	if (ranked == NULL)
		return -ENOMEM;
	chart->series = 0;
	for (i = 0; i < count && i < NAMED; i++)
		chart->names[chart->series++] =
		    keys_value(ranked[i].group->packed, 0);
	if (i < count)
		chart->names[chart->series++] = (struct span){ "others", 6 };
	free(ranked);
	return 0;
}

static size_t
series_of(const struct chart *chart, struct span name)
{
	size_t i;

	for (i = 0; i < chart->series; i++)
		if (chart->names[i].n == name.n &&
		    memcmp(chart->names[i].at, name.at, name.n) == 0)
			return i;
	return chart->series - 1;
}

/* Bars of a value, by the second key of groups. */
static int
put_stack(const struct view *view, struct groups *groups, value_fn *value,
    struct chart *chart, struct buf *out)
{
	size_t count, i, day;
	struct group **sorted = groups_sorted(groups, &count);
	int error = sorted == NULL ? -ENOMEM : chart_make(chart);

	for (i = 0; error == 0 && chart->series > 0 && i < count; i++) {
		struct span name = keys_value(sorted[i]->packed, 1);

		if (day_index(view, sorted[i], &day) && name.n > 0)
			chart->at[series_of(chart, name) * chart->days + day] +=
			    value(&sorted[i]->sums);
	}
	if (error == 0)
		error = chart_put(chart, out);
	chart_free(chart);
	return error;
}

static int
put_tenant_stack(const struct view *view, const char *title, bool is_cost,
    struct buf *out)
{
	const struct page *page = view->page;
	struct groups *const *parts = is_cost ? page->costs : page->parts;
	value_fn *value = is_cost ? cost_of : executions_of;
	struct chart chart = new_chart(view, title, 0);
	int error = choose_tenants(page, &chart);

	if (is_cost) {
		chart.put = words_cost;
		chart.arg = page->prices;
		chart.note = "What a month is charged up to its minimum is in "
		    "the sums, and in no day.";
	}
	return error != 0 ? error : put_stack(view, parts[PAGE_DAY_TENANTS],
	    value, &chart, out);
}

static int
put_outcomes(const struct view *view, struct buf *out)
{
	static const char *const names[] = { "error", "crash", "oom",
		"timeout", "stalled", "aborted", "refused", "lost" };
	struct chart chart = new_chart(view, "What did not end well, by day",
	    COUNT(names));
	size_t count, i, day, j;
	struct group **sorted = groups_sorted(
	    view->page->parts[PAGE_DAY_OUTCOMES], &count);
	int error = sorted == NULL ? -ENOMEM : chart_make(&chart);

	for (i = 0; i < COUNT(names); i++)
		chart.names[i] = (struct span){ names[i], strlen(names[i]) };
	for (i = 0; error == 0 && i < count; i++) {
		struct span name = keys_value(sorted[i]->packed, 1);

		for (j = 0; j < COUNT(names); j++)
			if (span_is(name, names[j]) &&
			    day_index(view, sorted[i], &day))
				chart.at[j * chart.days + day] +=
				    records_of(&sorted[i]->sums);
	}
	if (error == 0)
		error = chart_put(&chart, out);
	chart_free(&chart);
	return error;
}

enum lines { LINES_RUN, LINES_START, LINES_COLD };

static const unsigned permilles[] = { 500, 950, 990 };

static void
set_lines(struct chart *chart, enum lines lines, const struct group *group,
    size_t day)
{
	const struct sums *sums = &group->sums;
	size_t i;

	if (lines == LINES_COLD && sums->usage.executions > 0)
		chart->at[day] = sums->cold * 1000 / sums->usage.executions;
	for (i = 0; lines != LINES_COLD && group->spreads != NULL &&
	    i < COUNT(permilles); i++)
		chart->at[i * chart->days + day] = spread_at(
		    lines == LINES_RUN ? &group->spreads->run_us :
		    &group->spreads->start_us, permilles[i]);
}

static int
put_lines(const struct view *view, enum lines lines, const char *title,
    struct buf *out)
{
	static const struct span percentiles[] = { { "p50", 3 }, { "p95", 3 },
		{ "p99", 3 } };
	struct chart chart = new_chart(view, title,
	    lines == LINES_COLD ? 1 : COUNT(percentiles));
	size_t count, i, day;
	struct group **sorted = groups_sorted(view->page->parts[PAGE_DAYS],
	    &count);
	int error = sorted == NULL ? -ENOMEM : chart_make(&chart);

	chart.is_lines = true;
	chart.put = lines == LINES_COLD ? words_permille : words_us;
	memcpy(chart.names, percentiles, sizeof(percentiles));
	if (lines == LINES_COLD)
		chart.names[0] = (struct span){ "cold", 4 };
	for (i = 0; error == 0 && i < count; i++)
		if (day_index(view, sorted[i], &day))
			set_lines(&chart, lines, sorted[i], day);
	if (error == 0)
		error = chart_put(&chart, out);
	chart_free(&chart);
	return error;
}

/* ------------------------------------------------------ tiles and tables */

static int
put_tile(struct buf *out, const char *name,
    int (*put)(struct buf *out, rate_sum value, const void *arg),
    rate_sum value, const void *arg)
{
	int error = buf_addf(out, "<div><b>%s</b><span>", name);

	if (error == 0)
		error = put(out, value, arg);
	return error != 0 ? error : buf_add_str(out, "</span></div>\n");
}

/* The spreads of all tenants in one. */
static int
merge_all(const struct page *page, struct spreads *all)
{
	size_t count, i;
	struct group **sorted = groups_sorted(page->parts[PAGE_TENANTS],
	    &count);
	int error = sorted == NULL ? -ENOMEM : 0;

	for (i = 0; error == 0 && i < count; i++) {
		const struct spreads *one = sorted[i]->spreads;

		if (one == NULL)
			continue;
		error = spread_merge(&all->run_us, &one->run_us);
		if (error == 0)
			error = spread_merge(&all->start_us, &one->start_us);
	}
	return error;
}

static int
put_tiles(const struct page *page, struct buf *out)
{
	struct spreads all = { .run_us = { 0 } };
	struct sums sums, costs;
	uint64_t n;
	int error = merge_all(page, &all);

	groups_total(page->parts[PAGE_TENANTS], &sums);
	n = sums.usage.executions > 0 ? sums.usage.executions : 1;
	error = error != 0 ? error : buf_add_str(out, "<section "
	    "class=\"tiles\">\n");
	if (error == 0 && page->prices != NULL) {
		groups_total(page->costs[PAGE_TENANTS], &costs);
		error = put_tile(out, "cost", words_cost, costs.cost,
		    page->prices);
	}
	if (error == 0)
		error = put_tile(out, "executions", words_count,
		    sums.usage.executions, NULL);
	if (error == 0)
		error = put_tile(out, "errors", words_permille,
		    (rate_sum)sums.errors * 1000 / n, NULL);
	if (error == 0)
		error = put_tile(out, "cold", words_permille,
		    (rate_sum)sums.cold * 1000 / n, NULL);
	if (error == 0)
		error = put_tile(out, "run time, p95", words_us,
		    spread_at(&all.run_us, 950), NULL);
	if (error == 0)
		error = put_tile(out, "start time, p95", words_us,
		    spread_at(&all.start_us, 950), NULL);
	if (error == 0)
		error = put_tile(out, "processor", words_us,
		    sums.usage.cpu_us, NULL);
	spread_free(&all.run_us);
	spread_free(&all.start_us);
	return error != 0 ? error : buf_add_str(out, "</section>\n");
}

static int
put_cell(struct buf *out,
    int (*put)(struct buf *out, rate_sum value, const void *arg),
    rate_sum value, const void *arg)
{
	int error = buf_add_str(out, "<td>");

	if (error == 0)
		error = put(out, value, arg);
	return error != 0 ? error : buf_add_str(out, "</td>");
}

static int
put_row(const struct page *page, const struct ranked *ranked, struct buf *out)
{
	const struct group *group = ranked->group;
	const struct sums *sums = &group->sums;
	struct span name = keys_value(group->packed, 0);
	uint64_t n = sums->usage.executions > 0 ? sums->usage.executions : 1;
	int error = buf_add_str(out, "<tr><th scope=\"row\">");
	size_t i;

	if (error == 0)
		error = chart_text(out, name);
	if (error == 0)
		error = buf_add_str(out, "</th>");
	if (error == 0 && page->prices != NULL)
		error = put_cell(out, words_cost, ranked->cost, page->prices);
	if (error == 0)
		error = put_cell(out, words_count, sums->usage.executions,
		    NULL);
	if (error == 0)
		error = put_cell(out, words_gib_s, sums->usage.mib_ms, NULL);
	if (error == 0)
		error = put_cell(out, words_permille, (rate_sum)sums->errors *
		    1000 / n, NULL);
	if (error == 0)
		error = put_cell(out, words_permille, (rate_sum)sums->cold *
		    1000 / n, NULL);
	for (i = 0; error == 0 && i < 2 * COUNT(permilles); i++)
		error = put_cell(out, words_us, group->spreads == NULL ? 0 :
		    spread_at(i < COUNT(permilles) ? &group->spreads->run_us :
		    &group->spreads->start_us,
		    permilles[i % COUNT(permilles)]), NULL);
	return error != 0 ? error : buf_add_str(out, "</tr>\n");
}

static int
put_table(const struct page *page, enum page_part part, const char *title,
    size_t most, struct buf *out)
{
	size_t count, i;
	struct ranked *ranked = rank(page, part, &count);
	int error = ranked == NULL ? -ENOMEM : buf_addf(out, "<section>"
	    "<h2>%s</h2>\n<div class=\"wide\"><table>\n<thead><tr><th></th>"
	    "%s<th>executions</th><th>GiB-s</th><th>errors</th><th>cold</th>"
	    "<th>run p50</th><th>p95</th><th>p99</th><th>start p50</th><th>p95</th>"
	    "<th>p99</th></tr></thead>\n<tbody>\n", title,
	    page->prices != NULL ? "<th>cost</th>" : "");

	for (i = 0; error == 0 && i < count && i < most; i++)
		error = put_row(page, &ranked[i], out);
	free(ranked);
	if (error == 0)
		error = buf_add_str(out, "</tbody></table></div>\n");
	if (error == 0 && count > most)
		error = buf_addf(out, "<p class=\"note\">%zu more are not "
		    "shown.</p>\n", count - most);
	return error != 0 ? error : buf_add_str(out, "</section>\n");
}

/* --------------------------------------------------------------- the page */

static int
put_head(const struct view *view, struct buf *out)
{
	char from[CIVIL_TEXT_MAX] = "", to[CIVIL_TEXT_MAX] = "";
	int error;

	if (view->days > 0) {
		(void)civil_day_text(view->first_day, from);
		(void)civil_day_text(view->first_day +
		    (int32_t)view->days - 1, to);
	}
	error = buf_add_str(out, words_head);
	if (error == 0)
		error = buf_addf(out, "<h1>Usage</h1>\n<p class=\"note\">%s%s%s"
		    "%s</p>\n", view->days == 0 ? "There are no executions." :
		    from, view->days > 0 ? " to " : "", to, view->days > 0 ?
		    ", UTC" : "");
	if (error == 0 && view->is_cut)
		error = buf_addf(out, "<p class=\"note\">The pictures show the "
		    "last %d days; the sums are of all.</p>\n", DAYS_MAX);
	if (error == 0 && view->page->faults > 0)
		error = buf_addf(out, "<p class=\"warn\">The books have faults "
		    "(%" PRIu64 "): lines that are none, records that are "
		    "missing or stand there twice.</p>\n",
		    view->page->faults);
	return error;
}

static int
put_charts(const struct view *view, struct buf *out)
{
	int error = buf_add_str(out, "<section class=\"charts\">\n");

	if (error == 0 && view->page->prices != NULL)
		error = put_tenant_stack(view, "Cost by day and tenant", true,
		    out);
	if (error == 0)
		error = put_tenant_stack(view, "Executions by day and tenant",
		    false, out);
	if (error == 0)
		error = put_outcomes(view, out);
	if (error == 0)
		error = put_lines(view, LINES_COLD, "Executions that waited "
		    "for a start, by day", out);
	if (error == 0)
		error = put_lines(view, LINES_RUN, "Run time by day", out);
	if (error == 0)
		error = put_lines(view, LINES_START, "Start time by day",
		    out);
	return error != 0 ? error : buf_add_str(out, "</section>\n");
}

int
page_put(const struct page *page, struct buf *out)
{
	struct view view = { .page = page };
	int error = set_view(&view);

	if (error == 0)
		error = put_head(&view, out);
	if (error == 0)
		error = put_tiles(page, out);
	if (error == 0 && view.days > 0)
		error = put_charts(&view, out);
	if (error == 0)
		error = put_table(page, PAGE_TENANTS, "Tenants",
		    TENANTS_SHOWN, out);
	if (error == 0)
		error = put_table(page, PAGE_FUNCTIONS, page->prices != NULL ?
		    "Functions that cost most" : "Functions that used most",
		    TOP_FUNCTIONS, out);
	return error != 0 ? error : buf_add_str(out, words_foot);
}
