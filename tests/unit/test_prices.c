/* The price book: what is read, whose price holds when, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/sock.h"
#include "tests/unit/prices_text.h"

#define BOOK "[book]\ncurrency = EUR\n"
#define DAY 20649 /* 2026-07-15 */

static money_int
price_at(const struct prices *prices, const char *tenant, const char *runtime,
    int32_t day)
{
	const struct prices_list *list = prices_find(prices, tenant, runtime,
	    day, PRICES_GIB_SECONDS);

	return list != NULL ? list->steps[0].price / MONEY_ONE : 0;
}

static void
the_most_specific_price_holds(void **state)
{
	struct prices *prices = prices_of(BOOK
	    "[prices]\ngib_second = 1\n"
	    "[prices runtime php]\ngib_second = 2\n"
	    "[prices tenant alice]\ngib_second = 3\n"
	    "[prices tenant alice runtime php]\ngib_second = 4\n"
	    "[prices tenant bob]\nminimum = 1\n");

	(void)state;
	assert_true(price_at(prices, "carol", "", DAY) == 1);
	assert_true(price_at(prices, "carol", "php", DAY) == 2);
	assert_true(price_at(prices, "bob", "php", DAY) == 2);
	assert_true(price_at(prices, "alice", "", DAY) == 3);
	assert_true(price_at(prices, "alice", "python", DAY) == 3);
	assert_true(price_at(prices, "alice", "php", DAY) == 4);
	assert_null(prices_find(prices, "alice", "", DAY, PRICES_GB_OUT));
	prices_free(prices);
}

static void
the_latest_date_that_has_come_holds_for_the_keys_it_names(void **state)
{
	struct prices *prices = prices_of(BOOK
	    "[prices from 2026-07-15]\ngib_second = 3\n"
	    "[prices]\ngib_second = 1\nfree_gib_seconds = 10\n"
	    "[prices from 2026-07-01]\ngib_second = 2\nminimum = 7.5\n"
	    "[prices tenant alice from 2026-07-15]\ngib_second = 9\n");

	(void)state;
	assert_true(price_at(prices, "bob", "", DAY - 15) == 1);
	assert_true(price_at(prices, "bob", "", DAY - 14) == 2);
	assert_true(price_at(prices, "bob", "", DAY - 1) == 2);
	assert_true(price_at(prices, "bob", "", DAY) == 3);
	assert_true(price_at(prices, "bob", "", DAY + 9999) == 3);
	assert_true(price_at(prices, "alice", "", DAY - 1) == 2);
	assert_true(price_at(prices, "alice", "", DAY) == 9);
	assert_true(prices_free_tier(prices, "alice", DAY,
	    PRICES_GIB_SECONDS) == 10240000);
	assert_true(prices_free_tier(prices, "alice", DAY,
	    PRICES_EXECUTIONS) == 0);
	assert_true(prices_minimum(prices, "bob", DAY - 15) == 0);
	assert_true(prices_minimum(prices, "bob", DAY) == MONEY_ONE * 15 / 2);
	prices_free(prices);
}

static void
steps_lie_on_whole_units_of_the_log(void **state)
{
	struct prices *prices = prices_of(BOOK "decimals = 4\n[prices]\n"
	    "gib_second = 0.00002 , 0.000015 above 0.001,1 above 600000\n"
	    "million_executions = 0.2, 0 above 3\n");
	const struct prices_list *list = prices_find(prices, "a", "", DAY,
	    PRICES_GIB_SECONDS);

	(void)state;
	assert_string_equal(prices_currency(prices), "EUR");
	assert_int_equal(prices_decimals(prices), 4);
	assert_int_equal(list->count, 3);
	assert_int_equal(list->line, 5);
	assert_true(list->steps[0].price == 20000000);
	assert_true(list->steps[1].price == 15000000);
	assert_true(list->steps[1].above == 1024);
	assert_true(list->steps[2].above == (money_int)600000 * 1024000);
	list = prices_find(prices, "a", "", DAY, PRICES_EXECUTIONS);
	assert_true(list->steps[1].above == 3);
	prices_free(prices);
}

static void
each_mistake_is_told_with_its_line_and_its_mend(void **state)
{
	(void)state;
	prices_refused("[book]\ncurrency = euro\ndecimals = 10\ncurency = EUR\n"
	    "[prices tenant]\ngib_second = 1\n"
	    "[prices runtime php]\ngib_second = 1\nminimum = 2\n"
	    "[prices from 2026-02-30]\n[price]\n",
	    "p.ini:2: currency: \"euro\" is no code of ISO 4217; write three "
	    "capital letters, as EUR\n"
	    "p.ini:3: decimals: \"10\" is no number of decimals; write 0 to 9:"
	    " 2 for cents\n"
	    "p.ini:4: unknown key \"curency\"; do you mean currency?\n"
	    "p.ini:5: \"\" is no tenant's name; write [prices tenant NAME], of"
	    " a-z, 0-9, '.', '_' and '-'\n"
	    "p.ini:9: minimum is a tenant's, not a runtime's; put it into "
	    "[prices] or [prices tenant NAME]\n"
	    "p.ini:10: \"2026-02-30\" is no date; write [prices from "
	    "YYYY-MM-DD], the first day on which the prices hold (UTC)\n"
	    "p.ini:11: unknown section [price]; write [book], [customer "
	    "NAME] or [prices], [prices tenant NAME runtime NAME from YYYY-MM-DD] (each part may "
	    "be left out)\n");
}

static void
each_mistake_in_a_price_is_told(void **state)
{
	(void)state;
	prices_refused(BOOK "[prices]\n"
	    "gib_second = 0,2\n"
	    "cpu_second = 1 above 5\n"
	    "gb_out = 1, 2 above 5, 3 above 5\n"
	    "idle_gib_second = 1 over 5\n"
	    "million_executions = 0.0000000000001\n"
	    "free_executions = 0.5\n"
	    "free_gib_seconds = -1\n"
	    "minimum = 0.001\n",
	    "p.ini:4: gib_second: a further price begins somewhere; write "
	    "PRICE above QUANTITY (and a point, no comma, before the decimals)"
	    "\n"
	    "p.ini:5: cpu_second: the first price holds from 0 on; leave out "
	    "\"above 5\"\n"
	    "p.ini:6: gb_out: \"above 5\" does not lie above the step before; "
	    "write the steps in rising order\n"
	    "p.ini:7: idle_gib_second: \"over 5\" is not understood; write "
	    "PRICE, PRICE above QUANTITY with a point before "
	    "the decimals\n"
	    "p.ini:8: million_executions: \"0.0000000000001\" has more than 12 "
	    "decimals or is 10^18 or more; write it shorter\n"
	    "p.ini:9: free_executions: \"0.5\" is not a whole number below "
	    "10^18; write one\n"
	    "p.ini:10: free_gib_seconds: \"-1\" is no quantity; write digits, "
	    "with a point before the decimals, as 0.25\n"
	    "p.ini:11: minimum has more decimals than amounts have (2); round "
	    "it, or raise decimals of [book]\n");
}

static void
prices_that_stand_twice_are_told_whatever_the_blanks(void **state)
{
	(void)state;
	prices_refused(BOOK "[prices tenant a]\ngb_out = 1\n"
	    "[prices  tenant   a]\ngb_out = 2\n",
	    "p.ini:5: these prices stand already at line 3; put all of their "
	    "keys there\n");
}

static void
issuer_and_customers_are_as_they_were_written(void **state)
{
	struct prices *prices = prices_of(BOOK "issuer = Example ; Ltd\n"
	    "address = a | b\t1\nnote = 'x; y'\n[customer alice]\n"
	    "name = Alice & \xc3\x84rger\n[prices]\ngb_out = 1\n");

	(void)state;
	assert_string_equal(prices_issuer(prices).address, "a | b 1");
	assert_string_equal(prices_note(prices), "x; y");
	assert_string_equal(prices_customer(prices, "alice").name,
	    "Alice & \xc3\x84rger");
	assert_string_equal(prices_customer(prices, "alice").address, "");
	assert_string_equal(prices_customer(prices, "bob").name, "");
	prices_free(prices);
	prices_refused(BOOK "note =\n[prices]\ngb_out = 1\n[customer b]\n"
	    "[customer  b]\nphone = 1\n[customer]\n",
	    "p.ini:3: note says nothing; leave it out, or write a text\n"
	    "p.ini:7: [customer b] stands already at line 6; put all of its "
	    "keys there\n"
	    "p.ini:8: unknown key \"phone\"; fcgi-host-prices(5) has the keys "
	    "of [customer NAME]\n"
	    "p.ini:9: \"\" is no customer's name; write [customer NAME], of "
	    "a-z, 0-9, '.', '_' and '-'\n");
}

/* Invoices print these texts as they are. */
static void
a_text_with_a_control_byte_is_refused(void **state)
{
	char book[] = BOOK "note = a?b\n[prices]\ngb_out = 1\n";
	char *at = strchr(book, '?');

	(void)state;
	for (int byte = 1; byte <= 0x7f; byte++) {
		if ((byte >= ' ' && byte != 0x7f) || byte == '\t' ||
		    byte == '\n')
			continue;
		*at = (char)byte;
		prices_refused(book, "p.ini:3: a control byte; take it out\n");
	}
}

static void
a_text_that_is_no_utf8_is_refused(void **state)
{
	(void)state;
	prices_refused(BOOK "issuer = M\xfcller\n[prices]\ngb_out = 1\n"
	    "[customer a]\nname = \xc3\n",
	    "p.ini:3: issuer is not UTF-8; save the file as plain UTF-8\n"
	    "p.ini:7: name is not UTF-8; save the file as plain UTF-8\n");
}

static void
a_price_or_currency_that_is_wrong_is_not_said_to_be_missing(void **state)
{
	(void)state;
	prices_refused("[book]\ncurrency = eur\n[prices]\ngb_out = -1\n",
	    "p.ini:2: currency: \"eur\" is no code of ISO 4217; write three "
	    "capital letters, as EUR\n"
	    "p.ini:4: gb_out: \"-1\" is no price; write digits, with a point "
	    "before the decimals, as 0.25\n");
	prices_refused(BOOK "[prices tenant b/c]\ngb_out = 1\n",
	    "p.ini:3: \"b/c\" is no tenant's name; write [prices tenant "
	    "NAME], of a-z, 0-9, '.', '_' and '-'\n");
}

static void
a_book_without_a_price_is_refused(void **state)
{
	(void)state;
	prices_refused(BOOK "[prices]\nminimum = 3\n",
	    "p.ini: no price; write [prices] and below it at least one, as "
	    "gib_second = 0.0000166667\n");
}

static void
more_steps_than_sixteen_are_refused(void **state)
{
	char text[1024] = BOOK "[prices]\ngb_out = 1";
	struct prices *prices;
	size_t n, i;

	(void)state;
	for (i = 1; i < PRICES_STEPS_MAX; i++) {
		n = strlen(text);
		(void)snprintf(text + n, sizeof(text) - n, ", 1 above %zu", i);
	}
	prices = prices_of(text);
	prices_free(prices);
	n = strlen(text);
	(void)snprintf(text + n, sizeof(text) - n, ", 1 above 99");
	prices_refused(text, "p.ini:4: gb_out: more than 16 steps; leave some "
	    "out\n");
}

static void
the_sample_is_right_also_with_all_its_examples(void **state)
{
	const char *build = getenv("BUILDDIR");
	struct conf_errors errors = { 0 };
	struct buf text = { 0 };
	char path[4096], line[1024];
	struct prices *prices;
	FILE *file;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/conf/prices.ini",
	    build != NULL ? build : ".");
	file = fopen(path, "re");
	assert_non_null(file);
	prices = prices_read(fileno(file), path, &errors);
	assert_non_null(prices);
	prices_free(prices);
	/* ";key" and ";[section]" are examples, "; text" is none. */
	while (fgets(line, sizeof(line), file) != NULL)
		assert_int_equal(buf_add_str(&text, line + (line[0] == ';' &&
		    line[1] != ' ' && line[1] != '\n')), 0);
	(void)fclose(file);
	assert_int_equal(buf_add(&text, "", 1), 0);
	prices = prices_of((const char *)buf_head(&text));
	assert_true(prices_minimum(prices, "x", DAY) == MONEY_ONE);
	prices_free(prices);
	buf_free(&text);
	conf_errors_free(&errors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_specific_price_holds),
		cmocka_unit_test(
		    the_latest_date_that_has_come_holds_for_the_keys_it_names),
		cmocka_unit_test(steps_lie_on_whole_units_of_the_log),
		cmocka_unit_test(
		    each_mistake_is_told_with_its_line_and_its_mend),
		cmocka_unit_test(each_mistake_in_a_price_is_told),
		cmocka_unit_test(
		    prices_that_stand_twice_are_told_whatever_the_blanks),
		cmocka_unit_test(
		    issuer_and_customers_are_as_they_were_written),
		cmocka_unit_test(a_text_with_a_control_byte_is_refused),
		cmocka_unit_test(a_text_that_is_no_utf8_is_refused),
		cmocka_unit_test(
		    a_price_or_currency_that_is_wrong_is_not_said_to_be_missing),
		cmocka_unit_test(a_book_without_a_price_is_refused),
		cmocka_unit_test(more_steps_than_sixteen_are_refused),
		cmocka_unit_test(
		    the_sample_is_right_also_with_all_its_examples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
