#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/civil.h"

#define YEAR_MAX 9999

static bool
is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int
days_of(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };

	return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

/* Days from 0001-01-01 to January 1 of the year. */
static int32_t
days_before(int year)
{
	int past = year - 1;

	return past * 365 + past / 4 - past / 100 + past / 400;
}

int32_t
civil_day(struct civil date)
{
	int32_t day = days_before(date.year) - days_before(1970);
	int month;

	for (month = 1; month < date.month; month++)
		day += days_of(date.year, month);
	return day + date.day - 1;
}

struct civil
civil_date(int32_t day)
{
	int64_t left = (int64_t)day + days_before(1970);
	/* At most one too late: a year has at least 365 days. */
	struct civil date = { .year = (int)(left / 365) + 1, .month = 1 };

	while (days_before(date.year) > left)
		date.year--;
	left -= days_before(date.year);
	for (; left >= days_of(date.year, date.month); date.month++)
		left -= days_of(date.year, date.month);
	date.day = (int)left + 1;
	return date;
}

/* A number of exactly n digits; -1: there is none. */
static int
digits(const char *text, size_t n)
{
	int value = 0;

	for (; n > 0; n--, text++) {
		if (*text < '0' || *text > '9')
			return -1;
		value = value * 10 + (*text - '0');
	}
	return value;
}

static int
parse_month(const char *text, struct civil *date)
{
	if (strnlen(text, 7) < 7 || text[4] != '-')
		return -EINVAL;
	date->year = digits(text, 4);
	date->month = digits(text + 5, 2);
	return date->year >= 1 && date->month >= 1 && date->month <= 12 ? 0 :
	    -EINVAL;
}

int
civil_parse_day(const char *text, int32_t *day)
{
	struct civil date;

	if (strlen(text) != 10 || parse_month(text, &date) != 0 ||
	    text[7] != '-')
		return -EINVAL;
	date.day = digits(text + 8, 2);
	if (date.day < 1 || date.day > days_of(date.year, date.month))
		return -EINVAL;
	*day = civil_day(date);
	return 0;
}

int
civil_parse_month(const char *text, int32_t *month)
{
	struct civil date;

	if (strlen(text) != 7 || parse_month(text, &date) != 0)
		return -EINVAL;
	*month = date.year * 12 + date.month - 1;
	return 0;
}

int32_t
civil_month_of(int32_t day)
{
	struct civil date = civil_date(day);

	return date.year * 12 + date.month - 1;
}

int32_t
civil_first_day(int32_t month)
{
	return civil_day((struct civil){ .year = month / 12,
	    .month = month % 12 + 1, .day = 1 });
}

const char *
civil_day_text(int32_t day, char out[CIVIL_TEXT_MAX])
{
	struct civil date = civil_date(day);

	(void)snprintf(out, CIVIL_TEXT_MAX, "%04u-%02u-%02u",
	    (unsigned)date.year % (YEAR_MAX + 1), (unsigned)date.month % 100,
	    (unsigned)date.day % 100);
	return out;
}

const char *
civil_month_text(int32_t month, char out[CIVIL_TEXT_MAX])
{
	(void)snprintf(out, CIVIL_TEXT_MAX, "%04u-%02u",
	    (unsigned)month / 12 % (YEAR_MAX + 1), (unsigned)month % 12 + 1);
	return out;
}
