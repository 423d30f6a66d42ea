/* The rooms of fcgi-host-books, with lines as text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "fcgi-host/books/chart.h"
#include "fcgi-host/books/entry.h"
#include "fcgi-host/books/groups.h"
#include "fcgi-host/books/json.h"
#include "fcgi-host/books/keys.h"
#include "fcgi-host/books/report.h"
#include "fcgi-host/books/spread.h"
#include "fcgi-host/record.h"

#define LINE_SIZE (RECORD_LINE_MAX + JSON_PADDING)

struct reading {
	struct json *json;
	struct entry entry;
	char why[JSON_WHY_MAX];
	char line[LINE_SIZE];
};

static void
setup(struct reading *r)
{
	memset(r, 0, sizeof(*r));
	r->json = json_new();
	assert_non_null(r->json);
}

static int
take(struct reading *r, const char *text)
{
	(void)snprintf(r->line, sizeof(r->line), "%s", text);
	return json_read(r->json, r->line, strlen(text), &r->entry, r->why);
}

static struct record_exec
sample(void)
{
	struct record_exec exec = { .seq = 7, .run_id = 0xabc, .number = 3,
		.instance = 2, .time_us = UINT64_C(1764240766123456),
		.request_id = "r\"1", .method = "GET", .tenant = "alice",
		.function = "alice/resize", .version = "v1",
		.trigger = "web", .start = START_FRESH, .outcome = OUTCOME_OK,
		.status = 200, .init_us = 1500, .run_us = 1000, .cpu_us = 900,
		.cpu_source = SOURCE_CGROUP, .mem_source = SOURCE_CGROUP,
		.mem_peak_kib = 4096, .mem_limit_mib = 128, .bytes_out = 12,
		.exit_code = 0 };

	return exec;
}

/* The line of a record, without its newline. */
static void
line_of(const struct record_exec *exec, char out[LINE_SIZE])
{
	struct buf buf = { 0 };

	assert_int_equal(record_put_exec(&buf, exec), 0);
	(void)snprintf(out, LINE_SIZE, "%.*s", (int)buf_len(&buf) - 1,
	    (char *)buf_head(&buf));
	buf_free(&buf);
}

static void
test_a_record_is_read_as_it_was_written(void **state)
{
	struct record_exec exec = sample();
	struct reading r;
	char line[LINE_SIZE];

	(void)state;
	setup(&r);
	line_of(&exec, line);
	assert_int_equal(take(&r, line), 0);
	assert_int_equal(r.entry.type, ENTRY_EXEC);
	assert_int_equal(r.entry.seq, 7);
	assert_int_equal(r.entry.run, 0xabc);
	assert_int_equal(r.entry.number, 3);
	assert_int_equal(r.entry.time_us, exec.time_us);
	assert_true(span_is(r.entry.request_id, "r\"1"));
	assert_true(span_is(r.entry.function, "alice/resize"));
	assert_true(span_is(r.entry.instance, "abc-2"));
	assert_true(span_is(r.entry.outcome, "ok"));
	assert_true(r.entry.is_cold);
	assert_int_equal(r.entry.status, 200);
	assert_int_equal(r.entry.billed_ms, 3);
	assert_int_equal(r.entry.mib_ms, 3 * 128);
	assert_int_equal(r.entry.bytes_out, 12);
	assert_int_equal(r.entry.exit, 0);
	assert_int_equal(r.entry.signal, 0);
	exec.exit_code = -1;
	line_of(&exec, line);
	assert_int_equal(take(&r, line), 0);
	assert_int_equal(r.entry.exit, -1);
	json_free(r.json);
}

static void
test_a_line_that_is_cut_anywhere_is_no_record(void **state)
{
	struct record_exec exec = sample();
	char line[LINE_SIZE];
	struct reading r;
	size_t n;

	(void)state;
	setup(&r);
	line_of(&exec, line);
	for (n = strlen(line); n > 0; n--) {
		line[n - 1] = '\0';
		r.why[0] = '\0';
		assert_int_equal(take(&r, line), -EBADMSG);
		assert_string_not_equal(r.why, "");
	}
	json_free(r.json);
}

static void
test_any_byte_that_is_changed_leaves_a_record_or_a_reason(void **state)
{
	struct record_exec exec = sample();
	char line[LINE_SIZE];
	struct reading r;
	size_t i;
	int byte;

	(void)state;
	setup(&r);
	line_of(&exec, line);
	for (i = 0; i < strlen(line); i++) {
		char kept = line[i];

		for (byte = 1; byte < 256; byte += 7) {
			line[i] = (char)byte;
			r.why[0] = '\0';
			if (take(&r, line) != 0)
				assert_string_not_equal(r.why, "");
		}
		line[i] = kept;
	}
	json_free(r.json);
}

/* What replaces a part of a good line, and what is then said. */
static const struct fault {
	const char *part, *instead, *why;
} faults[] = {
	{ "\"v\":1", "\"v\":2", "v is not 1: a newer fcgi-host can read it" },
	{ "\"v\":1,", "", "v is missing" },
	{ "\"seq\":7", "\"seq\":-7", "seq is no number of 0 or more" },
	{ "\"seq\":7", "\"seq\":7,\"seq\":8", "seq stands in the line twice" },
	{ "\"seq\":7", "\"seq\":1e3", "seq is no number of 0 or more" },
	{ "\"seq\":7", "\"seq\":0", "seq is no number of a record" },
	{ "\"seq\":7", "\"seq\":18446744073709551615",
	    "seq is no number of a record" },
	{ "\"seq\":7", "\"seq\":18446744073709551616",
	    NULL },
	{ "\"exec\"", "\"exce\"", "type is not exec, instance or host" },
	{ "\"alice\"", "null", "tenant is null" },
	{ "\"alice\"", "17", "tenant is no text" },
	{ "\"id\":\"abc-3\"", "\"id\":\"abc\"", "id is no id" },
	{ "\"id\":\"abc-3\"", "\"id\":\"xyz-3\"", "id is no id" },
	{ "2025-11-27T", "2025-02-29T", "time is no time" },
	{ "2025-11-27T", "2025-11-27 ", "time is no time" },
	{ "\"cold\":true", "\"cold\":1", "cold is neither true nor false" },
	{ "\"run_us\":1000,", "", "run_us is missing" },
	{ "{\"v\"", "[{\"v\"", NULL },
};

static void
test_what_is_wrong_in_a_line_is_named(void **state)
{
	struct record_exec exec = sample();
	char line[LINE_SIZE], text[2 * LINE_SIZE];
	struct reading r;
	size_t i;

	(void)state;
	setup(&r);
	line_of(&exec, line);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		const char *at = strstr(line, faults[i].part);

		assert_non_null(at);
		(void)snprintf(text, sizeof(text), "%.*s%s%s",
		    (int)(at - line), line, faults[i].instead,
		    at + strlen(faults[i].part));
		assert_int_equal(take(&r, text), -EBADMSG);
		if (faults[i].why != NULL)
			assert_string_equal(r.why, faults[i].why);
	}
	json_free(r.json);
}

static void
test_a_field_that_is_not_known_is_passed_over(void **state)
{
	struct record_exec exec = sample();
	char line[LINE_SIZE];
	struct reading r;

	(void)state;
	setup(&r);
	line_of(&exec, line);
	(void)snprintf(strrchr(line, '}'), 64,
	    ",\"later\":{\"a\":[1,2]}}");
	assert_int_equal(take(&r, line), 0);
	assert_int_equal(r.entry.mib_ms, 3 * 128);
	json_free(r.json);
}

static void
test_a_line_of_the_first_hosts_has_its_memory_time_computed(void **state)
{
	struct record_exec exec = sample();
	char line[LINE_SIZE], *at;
	struct reading r;

	(void)state;
	setup(&r);
	line_of(&exec, line);
	at = strstr(line, ",\"mib_ms\":384");
	assert_non_null(at);
	memmove(at, at + 13, strlen(at + 13) + 1);
	assert_int_equal(take(&r, line), 0);
	assert_int_equal(r.entry.mib_ms, 3 * 128);
	json_free(r.json);
}

static void
test_keys_are_a_list_without_repetition(void **state)
{
	struct keys keys;
	const char *word;

	(void)state;
	assert_int_equal(keys_parse(&keys, "tenant,day,status", &word), 0);
	assert_int_equal(keys.count, 3);
	assert_int_equal(keys.at[2], KEY_STATUS);
	assert_int_equal(keys_parse(&keys, "tenant,days", &word), -EINVAL);
	assert_string_equal(word, "days");
	assert_int_equal(keys_parse(&keys, "day,day", &word), -EINVAL);
	assert_int_equal(keys_parse(&keys, "day,", &word), -EINVAL);
	assert_int_equal(keys_parse(&keys, "", &word), -EINVAL);
}

/* Adds count records, each of a function of its own. */
static void
add_functions(struct groups *groups, unsigned count)
{
	struct record_exec exec = sample();
	char line[LINE_SIZE];
	struct reading r;
	unsigned i;

	setup(&r);
	for (i = 0; i < count; i++) {
		(void)snprintf(exec.function, sizeof(exec.function),
		    "alice/f%05u", (i * 7919) % count);
		line_of(&exec, line);
		assert_int_equal(take(&r, line), 0);
		assert_int_equal(groups_add(groups, &r.entry), 0);
	}
	json_free(r.json);
}

static void
test_groups_hold_their_sums_and_come_in_order(void **state)
{
	struct keys keys;
	const char *word;
	struct groups *a, *b;
	struct group **sorted;
	struct sums total;
	size_t count, i;

	(void)state;
	assert_int_equal(keys_parse(&keys, "function,day", &word), 0);
	a = groups_new(&keys);
	b = groups_new(&keys);
	add_functions(a, 1000);
	add_functions(b, 3000);
	assert_int_equal(groups_merge(a, b), 0);
	groups_total(b, &total);
	assert_int_equal(total.usage.executions, 0);
	assert_int_equal(groups_merge(b, a), 0);
	assert_int_equal(groups_merge(a, b), 0);
	sorted = groups_sorted(a, &count);
	assert_non_null(sorted);
	assert_int_equal(count, 3000);
	for (i = 0; i < count; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "alice/f%05zu", i);
		assert_true(span_is(keys_value(sorted[i]->packed, 0), name));
		assert_true(span_is(keys_value(sorted[i]->packed, 1),
		    "2025-11-27"));
		assert_int_equal(sorted[i]->sums.usage.executions, i < 1000 ? 2 : 1);
	}
	groups_total(a, &total);
	assert_int_equal(total.usage.executions, 4000);
	assert_int_equal(total.cold, 4000);
	assert_int_equal(total.billed_ms, 12000);
	assert_true(total.usage.mib_ms == 12000 * 128);
	for (i = 1; i < count; i++)
		groups_remove(a, sorted[i]);
	sorted = groups_sorted(a, &count);
	assert_int_equal(count, 1);
	assert_true(span_is(keys_value(sorted[0]->packed, 0), "alice/f00000"));
	groups_free(a);
	groups_free(b);
}

static void
test_numbers_beyond_64_bits_are_written_whole(void **state)
{
	char text[REPORT_DIGITS_SIZE];

	(void)state;
	assert_string_equal(report_digits(text, 0), "0");
	assert_string_equal(report_digits(text, ~(rate_sum)0),
	    "340282366920938463463374607431768211455");
}

static void
test_a_percentile_is_at_most_a_sixteenth_too_high(void **state)
{
	static const uint64_t steps[] = { 1, 7, 1000, UINT64_C(1) << 40 };
	struct spread a = { .n = 0 }, b = { .n = 0 };
	unsigned permille;
	uint64_t i;
	size_t j;

	(void)state;
	assert_int_equal(spread_at(&a, 500), 0);
	for (j = 0; j < 4; j++) {
		for (i = 1; i <= 2000; i++)
			assert_int_equal(spread_change(i % 3 == 0 ? &a : &b,
			    i * steps[j], false), 0);
		/* what is taken back was never there */
		for (i = 1; i <= 500; i++) {
			assert_int_equal(spread_change(&a, i, false), 0);
			assert_int_equal(spread_change(&a, i, true), 0);
		}
		assert_int_equal(spread_merge(&a, &b), 0);
		assert_int_equal(a.count, 2000);
		for (permille = 1; permille <= 1000; permille += 3) {
			uint64_t exact = permille * 2 * steps[j];
			uint64_t told = spread_at(&a, permille);

			assert_true(told >= exact);
			assert_true(told <= exact + exact / 16);
		}
		spread_free(&a);
		spread_free(&b);
	}
	assert_int_equal(spread_change(&a, UINT64_MAX, false), 0);
	assert_true(spread_at(&a, 1) == UINT64_MAX);
	spread_free(&a);
}

static void
test_text_in_a_page_is_never_markup(void **state)
{
	static const char text[] = "<a>&\"'\x01\x7f\xe2\x80\xae\xef\xbb\xbf"
	    "\xc3\xbc\xe2\x82\xac";
	struct buf out = { .data = NULL };

	(void)state;
	assert_int_equal(chart_text(&out, (struct span){ text,
	    sizeof(text) - 1 }), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_string_equal((char *)buf_head(&out), "&lt;a&gt;&amp;&quot;&#39;"
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
	    "\xc3\xbc\xe2\x82\xac");
	buf_reset(&out, 0);
	assert_int_equal(chart_text(&out, (struct span){ NULL, 0 }), 0);
	assert_int_equal(buf_len(&out), 0);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_record_is_read_as_it_was_written),
		cmocka_unit_test(test_a_line_that_is_cut_anywhere_is_no_record),
		cmocka_unit_test(
		    test_any_byte_that_is_changed_leaves_a_record_or_a_reason),
		cmocka_unit_test(test_what_is_wrong_in_a_line_is_named),
		cmocka_unit_test(test_a_field_that_is_not_known_is_passed_over),
		cmocka_unit_test(
		    test_a_line_of_the_first_hosts_has_its_memory_time_computed),
		cmocka_unit_test(test_keys_are_a_list_without_repetition),
		cmocka_unit_test(test_groups_hold_their_sums_and_come_in_order),
		cmocka_unit_test(
		    test_a_percentile_is_at_most_a_sixteenth_too_high),
		cmocka_unit_test(test_text_in_a_page_is_never_markup),
		cmocka_unit_test(test_numbers_beyond_64_bits_are_written_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
