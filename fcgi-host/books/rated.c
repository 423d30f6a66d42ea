#include "fcgi-host/books/rated.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/cmd.h"

const char *
rated_path(const struct cmd_verb *verb, const char *path, const char *conf_path,
    struct conf **conf)
{
	*conf = NULL;
	if (path != NULL)
		return path;
	*conf = cmd_conf(conf_path);
	if (*conf != NULL && (*conf)->prices == NULL)
		(void)cmd_wrong(verb, "%s names no price book; write prices = "
		    "FILE below [host], or give --prices", conf_path);
	return *conf != NULL ? (*conf)->prices : NULL;
}

struct prices *
rated_prices(const char *path)
{
	struct conf_errors errors = { .count = 0 };
	struct prices *prices = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		(void)cmd_fail("%s cannot be opened: %s; name a price book, "
		    "fcgi-host-prices(5)", path, strerror(errno));
		return NULL;
	}
	prices = prices_read(fd, path, &errors);
	if (prices == NULL)
		(void)fwrite(buf_head(&errors.text), 1,
		    buf_len(&errors.text), stderr);
	conf_errors_free(&errors);
	(void)close(fd);
	return prices;
}

struct keys
rated_keys(const struct keys *by)
{
	struct keys keys = { .at = { KEY_TENANT, KEY_DAY, KEY_RUNTIME },
		.count = RATED_KEYS };
	size_t i;

	for (i = 0; i < by->count; i++)
		if (by->at[i] != KEY_TENANT && by->at[i] != KEY_DAY &&
		    by->at[i] != KEY_RUNTIME)
			keys.at[keys.count++] = by->at[i];
	return keys;
}

void
rated_name(struct span value, char *out, size_t size)
{
	out[0] = '\0';
	if (value.n < size && (value.n == 0 ||
	    memchr(value.at, '\0', value.n) == NULL)) {
		if (value.n > 0)
			memcpy(out, value.at, value.n);
		out[value.n] = '\0';
	}
}

static bool
same_value(const struct group *a, const struct group *b, size_t index)
{
	struct span x = keys_value(a->packed, index);
	struct span y = keys_value(b->packed, index);

	return x.n == y.n && (x.n == 0 || memcmp(x.at, y.at, x.n) == 0);
}

static void
add_usage(struct rate_usage *to, const struct rate_usage *from)
{
	to->executions += from->executions;
	to->mib_ms += from->mib_ms;
	to->cpu_us += from->cpu_us;
	to->bytes_out += from->bytes_out;
	to->idle_mib_ms += from->idle_mib_ms;
}

/* Shares a cell's costs out to its groups, by what each used. */
static int
share(const struct rate_cell *cell, struct rated_group *groups, size_t count)
{
	rate_sum *weights = calloc(2 * count, sizeof(*weights)), *shares;
	int error = 0;
	size_t item, i;

	if (weights == NULL)
		return -ENOMEM;
	shares = weights + count;
	for (item = 0; item < PRICES_ITEM_COUNT && error == 0; item++) {
		for (i = 0; i < count; i++)
			weights[i] = rate_quantity(
			    &groups[i].group->sums.usage,
			    (enum prices_item)item);
		error = money_split(cell->cost[item], weights, count, shares);
		for (i = 0; i < count && error == 0; i++)
			groups[i].cost[item] = shares[i];
	}
	free(weights);
	return error;
}

/* The cells of a month: groups of one day and runtime together.  starts: where
 * the groups of each begin, and the end. */
static size_t
make_cells(const struct rated *rated, const struct rated_month *month,
    struct rate_cell *cells, size_t *starts, char (*runtimes)[CTL_RUNTIME_MAX +
    1])
{
	size_t i, n = 0;

	for (i = month->from; i < month->to; i++) {
		const struct group *group = rated->groups[i].group;

		if (i == month->from ||
		    !same_value(group, rated->groups[i - 1].group, 1) ||
		    !same_value(group, rated->groups[i - 1].group, 2)) {
			rated_name(keys_value(group->packed, 2), runtimes[n],
			    sizeof(runtimes[n]));
			cells[n] = (struct rate_cell){
				.day = rated->groups[i].day,
				.runtime = runtimes[n] };
			starts[n++] = i;
		}
		add_usage(&cells[n - 1].usage, &group->sums.usage);
	}
	starts[n] = month->to;
	return n;
}

static int
rate_month(const struct prices *prices, struct rated *rated,
    struct rated_month *month)
{
	size_t most = month->to - month->from, count, i;
	struct rate_cell *cells = calloc(most, sizeof(*cells));
	size_t *starts = calloc(most + 1, sizeof(*starts));
	char (*runtimes)[CTL_RUNTIME_MAX + 1] = calloc(most,
	    sizeof(*runtimes));
	int error = -ENOMEM;

	if (cells == NULL || starts == NULL || runtimes == NULL)
		goto out;
	count = make_cells(rated, month, cells, starts, runtimes);
	error = rate_bill(prices, month->tenant, month->month, cells, count,
	    &month->bill);
	for (i = 0; i < count && error == 0; i++)
		error = share(&cells[i], &rated->groups[starts[i]],
		    starts[i + 1] - starts[i]);
out:
	free(cells);
	free(starts);
	free(runtimes);
	return error;
}

static int
add_group(struct rated *rated, size_t index, const struct group *group)
{
	struct rated_group *own = &rated->groups[index];
	struct span day = keys_value(group->packed, 1);
	struct rated_month *month = rated->month_count > 0 ?
	    &rated->months[rated->month_count - 1] : NULL;
	char text[CIVIL_TEXT_MAX];

	own->group = group;
	rated_name(day, text, sizeof(text));
	if (civil_parse_day(text, &own->day) != 0)
		return -EINVAL;
	if (month == NULL || civil_month_of(own->day) != month->month ||
	    !same_value(group, own[-1].group, 0)) {
		month = &rated->months[rated->month_count++];
		rated_name(keys_value(group->packed, 0), month->tenant,
		    sizeof(month->tenant));
		month->month = civil_month_of(own->day);
		month->from = index;
	}
	month->to = index + 1;
	return 0;
}

int
rated_make(const struct prices *prices, struct groups *groups,
    struct rated *rated)
{
	struct group **sorted;
	int error = 0;
	size_t i;

	memset(rated, 0, sizeof(*rated));
	sorted = groups_sorted(groups, &rated->count);
	if (sorted == NULL)
		return -ENOMEM;
	rated->groups = calloc(rated->count + 1, sizeof(*rated->groups));
	rated->months = calloc(rated->count + 1, sizeof(*rated->months));
	if (rated->groups == NULL || rated->months == NULL)
		return -ENOMEM;
	for (i = 0; i < rated->count && error == 0; i++)
		error = add_group(rated, i, sorted[i]);
	for (i = 0; i < rated->month_count && error == 0; i++)
		error = rate_month(prices, rated, &rated->months[i]);
	return error;
}

int
rated_fail(int error)
{
	if (error == -EOVERFLOW)
		return cmd_fail("the costs do not fit into 128 bits; look at "
		    "the prices, and at the log's numbers");
	if (error == -EINVAL)
		return cmd_fail("a record's day is none of the years 1 to "
		    "9999; look at the log's times");
	return cmd_fail("no memory for the costs of so many groups; ask for "
	    "fewer by --by, --from or --to");
}

void
rated_free(struct rated *rated)
{
	size_t i;

	for (i = 0; i < rated->month_count; i++)
		rate_bill_free(&rated->months[i].bill);
	free(rated->groups);
	free(rated->months);
	memset(rated, 0, sizeof(*rated));
}

static int
pack(struct buf *out, const char *at, size_t n)
{
	uint8_t length[2] = { (uint8_t)(n >> 8), (uint8_t)n };
	int error = buf_add(out, length, sizeof(length));

	return error != 0 || n == 0 ? error : buf_add(out, at, n);
}

/* The values of `by` from a group that has `keys`. */
static int
repack(const struct keys *keys, const struct keys *by, const uint8_t *packed,
    struct buf *out)
{
	int error = 0;
	size_t i, j;

	buf_consume(out, buf_len(out));
	for (i = 0; i < by->count && error == 0; i++) {
		struct span value = { NULL, 0 };

		for (j = 0; j < keys->count; j++)
			if (keys->at[j] == by->at[i])
				value = keys_value(packed, j);
		error = pack(out, value.at, value.n);
	}
	return error;
}

static int
fold_group(const struct rated_group *rated, const struct keys *keys,
    const struct keys *by, struct groups *out, struct buf *packed)
{
	struct sums sums = rated->group->sums;
	int error = repack(keys, by, rated->group->packed, packed);
	size_t item;

	sums.cost = 0;
	for (item = 0; item < PRICES_ITEM_COUNT && error == 0; item++)
		error = money_add(&sums.cost, rated->cost[item]);
	return error != 0 ? error : groups_add_sums(out, buf_head(packed),
	    buf_len(packed), &sums);
}

static int
fold_minimum(const struct rated_month *month, const struct keys *by,
    struct groups *out, struct buf *packed)
{
	struct sums sums = { .cost = month->bill.minimum };
	char text[CIVIL_TEXT_MAX];
	int error = 0;
	size_t i;

	if (sums.cost == 0)
		return 0;
	(void)civil_month_text(month->month, text);
	buf_consume(packed, buf_len(packed));
	for (i = 0; i < by->count && error == 0; i++) {
		const char *value = by->at[i] == KEY_TENANT ? month->tenant :
		    by->at[i] == KEY_MONTH ? text : "";

		error = pack(packed, value, strlen(value));
	}
	return error != 0 ? error : groups_add_sums(out, buf_head(packed),
	    buf_len(packed), &sums);
}

/* When all bills together fit, so does every part of them. */
static int
check_total(const struct rated *rated)
{
	money_int total = 0;
	int error = 0;
	size_t i;

	for (i = 0; i < rated->month_count && error == 0; i++)
		error = money_add(&total, rated->months[i].bill.total);
	return error;
}

int
rated_fold(const struct rated *rated, const struct keys *keys,
    const struct keys *by, int32_t from, int32_t to, struct groups *out)
{
	struct buf packed = { .data = NULL };
	int error = check_total(rated);
	size_t i;

	for (i = 0; i < rated->count && error == 0; i++) {
		if (rated->groups[i].day >= from && rated->groups[i].day < to)
			error = fold_group(&rated->groups[i], keys, by, out,
			    &packed);
		if (rated->spent != NULL)
			groups_remove(rated->spent, rated->groups[i].group);
	}
	for (i = 0; i < rated->month_count && error == 0; i++) {
		int32_t month = rated->months[i].month;

		if (civil_first_day(month) >= from &&
		    civil_first_day(month + 1) <= to)
			error = fold_minimum(&rated->months[i], by, out,
			    &packed);
	}
	buf_free(&packed);
	return error;
}
