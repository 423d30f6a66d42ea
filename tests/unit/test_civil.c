/* The calendar; test_log compares what is written with gmtime_r. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/civil.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void
every_day_of_four_centuries_comes_back(void **state)
{
	struct civil before = civil_date(-1);
	char text[CIVIL_TEXT_MAX];
	int32_t day, again;

	(void)state;
	assert_int_equal(before.year, 1969);
	for (day = 0; day < 146097; day++) {
		struct civil date = civil_date(day);

		assert_int_equal(civil_day(date), day);
		assert_int_equal(civil_parse_day(civil_day_text(day, text),
		    &again), 0);
		assert_int_equal(again, day);
		/* It is the day behind, or the first of something. */
		assert_true((date.month == before.month &&
		    date.day == before.day + 1) || date.day == 1);
		assert_int_equal(civil_first_day(civil_month_of(day)),
		    day - date.day + 1);
		before = date;
	}
	assert_string_equal(civil_day_text(20649, text), "2026-07-15");
	assert_string_equal(civil_month_text(civil_month_of(20649), text),
	    "2026-07");
}

static void
what_is_no_day_of_the_calendar_is_refused(void **state)
{
	static const char *const days[] = { "", "2026", "2026-07", "2026-7-15",
		"2026-13-01", "2026-00-10", "2026-02-29", "2026-04-31",
		"2026-07-00", "2026-07-15 ", "2026/07/15", "0000-01-01",
		"1900-02-29", "-026-07-15" };
	static const char *const months[] = { "", "2026", "2026-7", "2026-13",
		"2026-00", "0000-01", "2026-07-", "2026-07-15" };
	int32_t number;

	(void)state;
	for (size_t i = 0; i < COUNT(days); i++)
		assert_int_equal(civil_parse_day(days[i], &number), -EINVAL);
	for (size_t i = 0; i < COUNT(months); i++)
		assert_int_equal(civil_parse_month(months[i], &number),
		    -EINVAL);
	assert_int_equal(civil_parse_day("2024-02-29", &number), 0);
	assert_int_equal(civil_parse_day("2000-02-29", &number), 0);
	assert_int_equal(civil_parse_day("9999-12-31", &number), 0);
}

static void
a_moment_is_read_as_timegm_reads_it(void **state)
{
	static const struct { const char *text; int64_t seconds; } times[] = {
		{ "1970-01-01", 0 }, { "2024-02-29", 1709164800 },
		{ "2026-11-27T10:52:46Z", 1795776766 },
		{ "2026-11-27T10:52:46.5Z", 1795776766 },
		{ "2100-03-01", 4107542400 }, { "2100-02-29", -1 },
		{ "1969-12-31", -1 }, { "2026-13-01", -1 },
		{ "2026-11-27T24:00:00Z", -1 }, { "2026-11-27T10:52:46", -1 },
		{ "2026-11-27T10:52:46.1234567Z", -1 }, { "", -1 },
		{ "2026-11-27T", -1 }, { "2026-11-2x", -1 },
	};
	struct tm tm = { .tm_year = 124, .tm_mon = 1, .tm_mday = 29,
		.tm_hour = 23, .tm_min = 59, .tm_sec = 58 };
	uint64_t us;

	(void)state;
	for (size_t i = 0; i < COUNT(times); i++) {
		const char *text = times[i].text;

		assert_int_equal(civil_parse_time(text, strlen(text), &us),
		    times[i].seconds < 0 ? -EINVAL : 0);
		if (times[i].seconds >= 0)
			assert_int_equal(us / 1000000, times[i].seconds);
	}
	assert_int_equal(civil_parse_time("2024-02-29T23:59:58.07Z", 23, &us),
	    0);
	assert_int_equal(us, timegm(&tm) * 1000000 + 70000);
}

static void
a_moment_comes_back_as_it_was_written(void **state)
{
	char text[CIVIL_TIME_MAX];
	uint64_t us, again;

	(void)state;
	/* To the year 3870, by steps of no whole day, second or thousandth. */
	for (us = 0; us < UINT64_C(60000000) * 1000000000;
	    us += UINT64_C(599999) * 100003337) {
		assert_int_equal(strlen(civil_time_text(us, text)),
		    CIVIL_TIME_MAX - 1);
		assert_int_equal(civil_parse_time(text, CIVIL_TIME_MAX - 1,
		    &again), 0);
		assert_int_equal(again, us);
	}
	assert_string_equal(civil_time_text(UINT64_C(951868799000001), text),
	    "2000-02-29T23:59:59.000001Z");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_day_of_four_centuries_comes_back),
		cmocka_unit_test(what_is_no_day_of_the_calendar_is_refused),
		cmocka_unit_test(a_moment_is_read_as_timegm_reads_it),
		cmocka_unit_test(a_moment_comes_back_as_it_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
