#include "fcgi-host/books/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "fcgi-host/cmd_table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* MiB*ms in a thousandth of one. */
#define MILLI_GIB_S (RATE_MIB_MS_PER_GIB_S / 1000)
#define VALUE_SHOWN 512

/* What JSON and CSV have of each group. */
static const struct number {
	const char *name;
	size_t offset;
	bool is_wide;
} numbers[] = {
#define N(name) { #name, offsetof(struct sums, name), \
	sizeof(((struct sums *)NULL)->name) == sizeof(rate_sum) }
#define U(name) { #name, offsetof(struct sums, usage.name), \
	sizeof(((struct sums *)NULL)->usage.name) == sizeof(rate_sum) }
	U(executions),
	N(errors),
	N(aborted),
	N(refused),
	N(lost),
	N(cold),
	N(queue_us),
	N(init_us),
	N(run_us),
	N(billed_ms),
	U(mib_ms),
	U(cpu_us),
	N(mem_peak_kib),
	N(bytes_in),
	U(bytes_out),
	N(instances),
	N(idle_us),
	U(idle_mib_ms),
#undef N
#undef U
};

char *
report_digits(char text[REPORT_DIGITS_SIZE], rate_sum value)
{
	char *at = text + REPORT_DIGITS_SIZE - 1;

	*at = '\0';
	do {
		*--at = (char)('0' + (int)(value % 10));
		value /= 10;
	} while (value > 0);
	return at;
}

static rate_sum
value_of(const struct sums *sums, const struct number *number)
{
	const char *at = (const char *)sums + number->offset;

	return number->is_wide ? *(const rate_sum *)(const void *)at :
	    *(const uint64_t *)(const void *)at;
}

/* An amount in text, since most readers of JSON make numbers inexact. */
static const char *
cost_text(const struct prices *prices, const struct sums *sums,
    char text[MONEY_TEXT_MAX])
{
	return money_text(sums->cost, MONEY_DIGITS, prices_decimals(prices),
	    text);
}

static int
put_json(struct buf *out, const struct keys *keys, const struct group *group,
    const struct prices *prices)
{
	char digits[REPORT_DIGITS_SIZE], cost[MONEY_TEXT_MAX];
	int error = 0;
	size_t i;

	for (i = 0; i < keys->count && error == 0; i++) {
		struct span value = keys_value(group->packed, i);

		error = buf_addf(out, "%c\"%s\":", i == 0 ? '{' : ',',
		    keys_name(keys->at[i]));
		if (error == 0)
			error = buf_add_json(out, value.at, value.n);
	}
	for (i = 0; i < COUNT(numbers) && error == 0; i++)
		error = buf_addf(out, "%c\"%s\":%s",
		    i + keys->count == 0 ? '{' : ',', numbers[i].name,
		    report_digits(digits, value_of(&group->sums,
		    &numbers[i])));
	if (error == 0 && prices != NULL)
		error = buf_addf(out, ",\"cost\":\"%s\",\"currency\":\"%s\"",
		    cost_text(prices, &group->sums, cost),
		    prices_currency(prices));
	return error != 0 ? error : buf_add_str(out, "}\n");
}

/* All groups, by a function for one. */
static int
put_each(struct groups *groups, const struct keys *keys,
    const struct prices *prices, struct buf *out, int (*full)(struct buf *out),
    int (*put)(struct buf *out, const struct keys *keys,
    const struct group *group, const struct prices *prices))
{
	size_t count, i;
	struct group **sorted = groups_sorted(groups, &count);
	int error = sorted == NULL ? -ENOMEM : 0;

	for (i = 0; error == 0 && i < count; i++) {
		error = put(out, keys, sorted[i], prices);
		if (error == 0 && buf_len(out) > REPORT_FULL)
			error = full(out);
	}
	return error;
}

int
report_json(struct groups *groups, const struct keys *keys,
    const struct prices *prices, struct buf *out, int (*full)(struct buf *out))
{
	return put_each(groups, keys, prices, out, full, put_json);
}

int
report_field(struct buf *out, struct span value)
{
	bool is_plain = true;
	int error;
	size_t i;

	for (i = 0; i < value.n; i++)
		is_plain &= value.at[i] != '"' && value.at[i] != ',' &&
		    (unsigned char)value.at[i] >= ' ';
	if (is_plain)
		return value.n == 0 ? 0 : buf_add(out, value.at, value.n);
	error = buf_add_str(out, "\"");
	for (i = 0; i < value.n && error == 0; i++)
		error = value.at[i] == '"' ? buf_add_str(out, "\"\"") :
		    buf_add(out, value.at + i, 1);
	return error != 0 ? error : buf_add_str(out, "\"");
}

static int
put_csv(struct buf *out, const struct keys *keys, const struct group *group,
    const struct prices *prices)
{
	char digits[REPORT_DIGITS_SIZE], cost[MONEY_TEXT_MAX];
	int error = 0;
	size_t i;

	for (i = 0; i < keys->count && error == 0; i++) {
		error = report_field(out, keys_value(group->packed, i));
		if (error == 0)
			error = buf_add_str(out, ",");
	}
	for (i = 0; i < COUNT(numbers) && error == 0; i++)
		error = buf_addf(out, "%s%s", i > 0 ? "," : "",
		    report_digits(digits, value_of(&group->sums,
		    &numbers[i])));
	if (error == 0 && prices != NULL)
		error = buf_addf(out, ",%s,%s", cost_text(prices,
		    &group->sums, cost), prices_currency(prices));
	return error != 0 ? error : buf_add_str(out, "\n");
}

int
report_csv(struct groups *groups, const struct keys *keys,
    const struct prices *prices, struct buf *out, int (*full)(struct buf *out))
{
	int error = 0;
	size_t i;

	for (i = 0; error == 0 && i < keys->count; i++)
		error = buf_addf(out, "%s,", keys_name(keys->at[i]));
	for (i = 0; error == 0 && i < COUNT(numbers); i++)
		error = buf_addf(out, "%s%s", i > 0 ? "," : "",
		    numbers[i].name);
	if (error == 0)
		error = buf_add_str(out, prices != NULL ? ",cost,currency\n" :
		    "\n");
	return error != 0 ? error :
	    put_each(groups, keys, prices, out, full, put_csv);
}

/* Thousandths with their point; rounded down, as whole numbers are cut. */
static void
add_milli(struct cmd_table *table, rate_sum milli)
{
	char digits[REPORT_DIGITS_SIZE];

	cmd_table_add(table, "%s.%03u", report_digits(digits, milli / 1000),
	    (unsigned)(milli % 1000));
}

static void
add_bytes(struct cmd_table *table, rate_sum bytes)
{
	static const char *const units[] = { "kB", "MB", "GB", "TB", "PB" };
	char digits[REPORT_DIGITS_SIZE];
	rate_sum tenths = bytes / 100;
	size_t i;

	if (bytes < 1000) {
		cmd_table_add(table, "%u B", (unsigned)bytes);
		return;
	}
	for (i = 0; tenths >= 10000 && i + 1 < COUNT(units); i++)
		tenths /= 1000;
	cmd_table_add(table, "%s.%u %s", report_digits(digits, tenths / 10),
	    (unsigned)(tenths % 10), units[i]);
}

static void
add_share(struct cmd_table *table, uint64_t part, uint64_t whole)
{
	uint64_t milli = whole == 0 ? 0 :
	    (uint64_t)((rate_sum)part * 1000 / whole);

	if (whole == 0)
		cmd_table_add(table, "-");
	else
		cmd_table_add(table, "%" PRIu64 ".%" PRIu64 "%%", milli / 10,
		    milli % 10);
}

static void
add_sums(struct cmd_table *table, const struct sums *sums,
    const struct prices *prices)
{
	char cost[MONEY_TEXT_MAX];

	cmd_table_add(table, "%" PRIu64, sums->usage.executions);
	cmd_table_add(table, "%" PRIu64, sums->errors);
	cmd_table_add(table, "%" PRIu64, sums->refused);
	add_share(table, sums->cold, sums->usage.executions);
	add_milli(table, sums->billed_ms);
	add_milli(table, sums->usage.mib_ms / MILLI_GIB_S);
	add_milli(table, sums->usage.cpu_us / 1000);
	add_bytes(table, sums->usage.bytes_out);
	add_milli(table, sums->usage.idle_mib_ms / MILLI_GIB_S);
	if (prices != NULL)
		cmd_table_add(table, "%s", cost_text(prices, sums, cost));
}

static const char *const headings[] = { "EXECUTIONS", "ERRORS", "REFUSED",
	"COLD", "BILLED-S", "GIB-S", "CPU-S", "OUT", "IDLE-GIB-S" };

static void
add_heading(struct cmd_table *table, const struct keys *keys,
    const struct prices *prices)
{
	size_t i, j;

	table->columns = keys->count + COUNT(headings) + (prices != NULL);
	for (i = 0; i < keys->count; i++) {
		char name[16] = "";

		for (j = 0; keys_name(keys->at[i])[j] != '\0'; j++)
			name[j] = (char)(keys_name(keys->at[i])[j] - 'a' +
			    'A');
		cmd_table_add(table, "%s", name);
	}
	for (i = 0; i < COUNT(headings); i++) {
		table->right |= 1u << (keys->count + i);
		cmd_table_add(table, "%s", headings[i]);
	}
	if (prices != NULL) {
		table->right |= 1u << (keys->count + i);
		cmd_table_add(table, "%s", prices_currency(prices));
	}
}

int
report_table(struct groups *groups, const struct keys *keys,
    const struct prices *prices, struct buf *out)
{
	struct cmd_table table = { 0 };
	size_t count, i, j;
	struct group **sorted = groups_sorted(groups, &count);
	struct sums total;
	int error;

	if (sorted == NULL)
		return -ENOMEM;
	add_heading(&table, keys, prices);
	for (i = 0; i < count; i++) {
		for (j = 0; j < keys->count; j++) {
			struct span value = keys_value(sorted[i]->packed, j);
			char shown[VALUE_SHOWN];

			cmd_table_add(&table, "%s", value.n == 0 ? "-" :
			    log_value(shown, sizeof(shown), value.at,
			    value.n));
		}
		add_sums(&table, &sorted[i]->sums, prices);
	}
	if (keys->count > 0) {
		groups_total(groups, &total);
		for (j = 0; j < keys->count; j++)
			cmd_table_add(&table, "%s", j == 0 ? "(all)" : "");
		add_sums(&table, &total, prices);
	}
	error = cmd_table_put(&table, out);
	cmd_table_free(&table);
	return error;
}
