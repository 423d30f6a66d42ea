#include <errno.h>
#include <string.h>

#include "fcgi-host/civil.h"

#define SECOND_US UINT64_C(1000000)
#define DAY_S 86400
#define DATE_LENGTH 10
#define TIME_LENGTH 19

/* Here years begin in March, so that the leap day is the last of its year, and
 * days are counted from 0000-03-01. */
#define EPOCH 719468
#define DAYS_OF_400_YEARS 146097

int32_t
civil_day(struct civil date)
{
	int year = date.month > 2 ? date.year : date.year - 1;
	int month = date.month > 2 ? date.month - 3 : date.month + 9;

	return 365 * year + year / 4 - year / 100 + year / 400 +
	    (153 * month + 2) / 5 + date.day - 1 - EPOCH;
}

struct civil
civil_date(int32_t day)
{
	int64_t days = (int64_t)day + EPOCH, left = days % DAYS_OF_400_YEARS;
	int64_t year = (left - left / 1460 + left / 36524 - left / 146096) /
	    365;
	int64_t of_year = left - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;

	return (struct civil){
		.year = (int)(year + days / DAYS_OF_400_YEARS * 400 +
		    (month >= 10)),
		.month = (int)(month < 10 ? month + 3 : month - 9),
		.day = (int)(of_year - (153 * month + 2) / 5 + 1) };
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

/* "2026-07" at the beginning of text. */
static int
parse_month(const char *text, struct civil *date)
{
	date->year = digits(text, 4);
	date->month = digits(text + 5, 2);
	return text[4] == '-' && date->year >= 1 && date->month >= 1 &&
	    date->month <= 12 ? 0 : -EINVAL;
}

/* "2026-07-15" at the beginning of text. */
static int
parse_day(const char *text, int32_t *day)
{
	struct civil date;

	if (parse_month(text, &date) != 0 || text[7] != '-')
		return -EINVAL;
	date.day = digits(text + 8, 2);
	if (date.day < 1)
		return -EINVAL;
	*day = civil_day(date);
	/* What its month does not have is a day of the next one. */
	return date.day <= 28 || civil_date(*day).day == date.day ? 0 : -EINVAL;
}

int
civil_parse_day(const char *text, int32_t *day)
{
	return strlen(text) == DATE_LENGTH ? parse_day(text, day) : -EINVAL;
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

/* .123456Z, .1Z or Z */
static int
parse_fraction(const char *text, size_t n, uint64_t *us)
{
	int value;
	size_t i;

	*us = 0;
	if (n == 1 && text[0] == 'Z')
		return 0;
	if (n < 3 || n > 8 || text[0] != '.' || text[n - 1] != 'Z')
		return -EINVAL;
	value = digits(text + 1, n - 2);
	if (value < 0)
		return -EINVAL;
	*us = (uint64_t)value;
	for (i = n - 2; i < 6; i++)
		*us *= 10;
	return 0;
}

int
civil_parse_time(const char *text, size_t n, uint64_t *time_us)
{
	int hour, minute, second;
	int32_t day;
	uint64_t us;

	if (n < DATE_LENGTH || parse_day(text, &day) != 0 || day < 0)
		return -EINVAL;
	*time_us = (uint64_t)day * DAY_S * SECOND_US;
	if (n == DATE_LENGTH)
		return 0;
	if (n <= TIME_LENGTH || text[10] != 'T' || text[13] != ':' ||
	    text[16] != ':')
		return -EINVAL;
	hour = digits(text + 11, 2);
	minute = digits(text + 14, 2);
	second = digits(text + 17, 2);
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
	    second > 60 ||
	    parse_fraction(text + TIME_LENGTH, n - TIME_LENGTH, &us) != 0)
		return -EINVAL;
	*time_us += (uint64_t)(hour * 3600 + minute * 60 + second) *
	    SECOND_US + us;
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

/* The last n digits of a number, and what stands behind them.  Returns the end
 * of both. */
static char *
put(char *at, uint32_t number, size_t n, char behind)
{
	size_t i;

	for (i = n; i-- > 0; number /= 10)
		at[i] = (char)('0' + number % 10);
	at[n] = behind;
	return at + n + 1;
}

const char *
civil_day_text(int32_t day, char out[CIVIL_TEXT_MAX])
{
	struct civil date = civil_date(day);
	char *at = put(out, (uint32_t)date.year, 4, '-');

	at = put(at, (uint32_t)date.month, 2, '-');
	(void)put(at, (uint32_t)date.day, 2, '\0');
	return out;
}

const char *
civil_month_text(int32_t month, char out[CIVIL_TEXT_MAX])
{
	(void)put(put(out, (uint32_t)month / 12, 4, '-'),
	    (uint32_t)month % 12 + 1, 2, '\0');
	return out;
}

const char *
civil_time_text(uint64_t time_us, char out[CIVIL_TIME_MAX])
{
	uint64_t seconds = time_us / SECOND_US;
	uint32_t of_day = (uint32_t)(seconds % DAY_S);
	char *at = out + DATE_LENGTH + 1;

	(void)civil_day_text((int32_t)(seconds / DAY_S), out);
	at[-1] = 'T';
	at = put(at, of_day / 3600, 2, ':');
	at = put(at, of_day / 60 % 60, 2, ':');
	at = put(at, of_day % 60, 2, '.');
	at = put(at, (uint32_t)(time_us % SECOND_US), 6, 'Z');
	*at = '\0';
	return out;
}
