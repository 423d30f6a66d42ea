/*
 * The price book: every refusal is a printable sentence, a book that is
 * accepted is within its bounds and rates usage without an overflow that is
 * not told, and the shares of the bill sum up to it.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/rate.h"
#include "fcgi-host/sock.h"
#include "tests/fuzz/fuzz.h"

#define DAY 20649 /* 2026-07-15 */
#define CELLS 4

static void
check_sentences(struct conf_errors *errors)
{
	size_t n = buf_len(&errors->text), i;
	const char *text = (const char *)buf_head(&errors->text);

	CLAIM(n > 0 && text[n - 1] == '\n');
	for (i = 0; i < n; i++)
		CLAIM(text[i] == '\n' || (text[i] >= 0x20 && text[i] <= 0x7e));
}

static void
check_lists(const struct prices *prices)
{
	size_t item;
	unsigned i;

	for (item = 0; item < PRICES_ITEM_COUNT; item++) {
		const struct prices_list *list = prices_find(prices, "alice",
		    "php", DAY, (enum prices_item)item);

		if (list == NULL)
			continue;
		CLAIM(list->count >= 1 && list->count <= PRICES_STEPS_MAX);
		CLAIM(list->steps[0].above == 0 && list->line > 0);
		CLAIM(!list->has_from || list->from <= DAY);
		for (i = 1; i < list->count; i++)
			CLAIM(list->steps[i].above > list->steps[i - 1].above);
	}
}

static void
check_bill(const struct prices *prices, uint64_t size)
{
	struct rate_cell cells[CELLS] = { 0 };
	struct rate_bill bill;
	money_int lines = 0, costs = 0;
	size_t i, item;

	for (i = 0; i < CELLS; i++) {
		cells[i].day = DAY - 1 + (int32_t)i / 2;
		cells[i].runtime = i % 2 == 0 ? "" : "php";
		cells[i].usage = (struct rate_usage){ .executions = size,
			.mib_ms = size * 7, .cpu_us = size, .bytes_out = size,
			.idle_mib_ms = size + i };
	}
	if (rate_bill(prices, "alice", civil_month_of(DAY), cells, CELLS,
	    &bill) == 0) {
		for (i = 0; i < bill.count; i++)
			CLAIM(money_add(&lines, bill.lines[i].amount) == 0);
		for (i = 0; i < CELLS; i++)
			for (item = 0; item < PRICES_ITEM_COUNT; item++)
				CLAIM(money_add(&costs, cells[i].cost[item]) ==
				    0);
		CLAIM(costs == lines && lines + bill.minimum == bill.total);
	}
	rate_bill_free(&bill);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct conf_errors errors = { .count = 0 };
	uint8_t size = take_byte(&data, &n);
	int fd = sock_sealed("fuzz", (const char *)data, n);
	struct prices *prices;

	CLAIM(fd >= 0);
	prices = prices_read(fd, "fuzz.ini", &errors);
	(void)close(fd);
	if (prices == NULL) {
		check_sentences(&errors);
	} else {
		CLAIM(errors.count == 0);
		CLAIM(strlen(prices_currency(prices)) == 3);
		CLAIM(prices_decimals(prices) <= 9);
		CLAIM(prices_issuer(prices).name != NULL &&
		    prices_customer(prices, "alice").address != NULL &&
		    prices_note(prices) != NULL);
		check_lists(prices);
		check_bill(prices, (uint64_t)1 << size % 64);
	}
	conf_errors_free(&errors);
	prices_free(prices);
	return 0;
}
