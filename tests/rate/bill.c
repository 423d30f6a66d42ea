/*
 * What tests/rate/judge drives: makes the bills of made-up months.  Commands on
 * stdin, one a line; the answer ends with a line ".".
 *	book FILE
 *	cell DAY RUNTIME EXECUTIONS MIB_MS CPU_US BYTES_OUT IDLE_MIB_MS
 *	bill TENANT MONTH	of the cells since the last one
 *	split TOTAL WEIGHT…
 * A runtime is "-" for none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/log.h"
#include "fcgi-host/rate.h"

#define CELLS_MAX 400

struct world {
	struct prices *prices;
	struct rate_cell cells[CELLS_MAX];
	char runtimes[CELLS_MAX][32];
	size_t count;
};

static money_int
whole(const char *text)
{
	money_int value = 0;

	LOG_ASSERT(text != NULL && *text != '\0');
	for (; *text != '\0'; text++) {
		LOG_ASSERT(*text >= '0' && *text <= '9');
		value = value * 10 + (unsigned)(*text - '0');
	}
	return value;
}

static const char *
text_of(money_int value)
{
	static char out[4][MONEY_TEXT_MAX];
	static unsigned next;

	return money_text(value, 0, 0, out[next++ % 4]);
}

static void
read_book(struct world *w, const char *path)
{
	struct conf_errors errors = { .count = 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	prices_free(w->prices);
	w->prices = prices_read(fd, path, &errors);
	(void)close(fd);
	if (w->prices == NULL)
		(void)printf("%.*s", (int)buf_len(&errors.text),
		    (const char *)buf_head(&errors.text));
	conf_errors_free(&errors);
}

static void
add_cell(struct world *w, char **words)
{
	struct rate_cell *cell = &w->cells[w->count];
	char *runtime = w->runtimes[w->count++];

	LOG_ASSERT(w->count < CELLS_MAX);
	memset(cell, 0, sizeof(*cell));
	LOG_ASSERT(civil_parse_day(words[1], &cell->day) == 0);
	(void)snprintf(runtime, 32, "%s",
	    strcmp(words[2], "-") == 0 ? "" : words[2]);
	cell->runtime = runtime;
	cell->usage = (struct rate_usage){
		.executions = (uint64_t)whole(words[3]),
		.mib_ms = whole(words[4]), .cpu_us = (uint64_t)whole(words[5]),
		.bytes_out = (uint64_t)whole(words[6]),
		.idle_mib_ms = whole(words[7]) };
}

static void
print_meter(struct world *w, const char *tenant)
{
	struct rate_meter meter = { .month = 0 };
	money_int sum = 0, cost;
	size_t i;

	for (i = 0; i < w->count; i++) {
		if (rate_meter_add(&meter, w->prices, tenant,
		    w->cells[i].runtime, w->cells[i].day, &w->cells[i].usage,
		    &cost) != 0 || money_add(&sum, cost) != 0) {
			(void)printf("meter overflow\n");
			return;
		}
	}
	(void)printf("meter %s\n", text_of(sum));
}

static void
print_bill(struct world *w, const char *tenant, const char *month_text)
{
	struct rate_bill bill;
	int32_t month;
	int error;
	size_t i, j;

	LOG_ASSERT(civil_parse_month(month_text, &month) == 0);
	error = rate_bill(w->prices, tenant, month, w->cells, w->count, &bill);
	if (error != 0)
		(void)printf("error %s\n", strerrorname_np(-error));
	for (i = 0; i < bill.count && error == 0; i++) {
		struct rate_line *line = &bill.lines[i];

		(void)printf("line %s %u %u %s %s %s\n",
		    prices_kinds[line->item].key,
		    line->list != NULL ? line->list->line : 0, line->step,
		    text_of(line->quantity), text_of(line->price),
		    text_of(line->amount));
	}
	for (i = 0; i < w->count && error == 0; i++) {
		(void)printf("cell");
		for (j = 0; j < PRICES_ITEM_COUNT; j++)
			(void)printf(" %s", text_of(w->cells[i].cost[j]));
		(void)printf("\n");
	}
	if (error == 0)
		(void)printf("minimum %s\ntotal %s\n", text_of(bill.minimum),
		    text_of(bill.total));
	print_meter(w, tenant);
	rate_bill_free(&bill);
	w->count = 0;
}

static void
print_split(char **words, size_t count)
{
	money_int weights[64], shares[64];
	int error;
	size_t i;

	for (i = 2; i < count; i++)
		weights[i - 2] = whole(words[i]);
	error = money_split(whole(words[1]), weights, count - 2, shares);
	if (error != 0) {
		(void)printf("error %s\n", strerrorname_np(-error));
		return;
	}
	for (i = 0; i + 2 < count; i++)
		(void)printf("%s%s", i > 0 ? " " : "", text_of(shares[i]));
	(void)printf("\n");
}

int
main(void)
{
	struct world *w = calloc(1, sizeof(*w));
	char line[4096];

	LOG_ASSERT(w != NULL);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		char *words[66], *rest = line;
		size_t count = 0;

		line[strcspn(line, "\n")] = '\0';
		while (count < 66 && (words[count] = strsep(&rest, " ")) !=
		    NULL)
			count++;
		if (strcmp(words[0], "book") == 0 && count == 2)
			read_book(w, words[1]);
		else if (strcmp(words[0], "cell") == 0 && count == 8)
			add_cell(w, words);
		else if (strcmp(words[0], "bill") == 0 && count == 3)
			print_bill(w, words[1], words[2]);
		else if (strcmp(words[0], "split") == 0 && count > 2)
			print_split(words, count);
		else
			(void)printf("what?\n");
		(void)printf(".\n");
		(void)fflush(stdout);
	}
	prices_free(w->prices);
	free(w);
	return 0;
}
