#include "fcgi-host/books/entry.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define SECOND_US UINT64_C(1000000)
#define DAY_S 86400
#define DATE_LENGTH 10
#define TIME_LENGTH 19

/* Digits of text, or -1 if there is anything else. */
static int
digits(const char *text, size_t n)
{
	int value = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

static int
days_of(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

/* Days from 1970-01-01, counted in years that begin in March. */
static uint64_t
days_since_epoch(int year, int month, int day)
{
	int y = month > 2 ? year : year - 1;
	int m = month > 2 ? month - 3 : month + 9;

	return (uint64_t)(365 * y + y / 4 - y / 100 + y / 400 +
	    (153 * m + 2) / 5 + day - 1 - 719468);
}

static int
parse_date(const char *text, uint64_t *days)
{
	int year = digits(text, 4), month = digits(text + 5, 2);
	int day = digits(text + 8, 2);

	if (text[4] != '-' || text[7] != '-' || year < 1970 || month < 1 ||
	    month > 12 || day < 1 || day > days_of(year, month))
		return -EINVAL;
	*days = days_since_epoch(year, month, day);
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
entry_time(const char *text, size_t n, uint64_t *time_us)
{
	int hour, minute, second;
	uint64_t days, us;

	if (n < DATE_LENGTH || parse_date(text, &days) != 0)
		return -EINVAL;
	*time_us = days * DAY_S * SECOND_US;
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

void
entry_date(uint64_t time_us, size_t length, char out[14])
{
	time_t seconds = (time_t)(time_us / SECOND_US);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&seconds, &tm) != NULL)
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H", &tm);
	memcpy(out, text, length);
	out[length] = '\0';
}

int
entry_id(struct span text, uint64_t *run, uint64_t *number)
{
	const char *dash = text.at == NULL ? NULL :
	    memchr(text.at, '-', text.n);
	size_t n = dash == NULL ? text.n : (size_t)(dash - text.at), i;

	if (text.at == NULL || n == 0 || n > 16 ||
	    (dash == NULL) != (number == NULL))
		return -EINVAL;
	for (*run = 0, i = 0; i < n; i++) {
		const char *hex = "0123456789abcdef";
		const char *digit = text.at[i] == '\0' ? NULL :
		    strchr(hex, text.at[i]);

		if (digit == NULL)
			return -EINVAL;
		*run = *run << 4 | (uint64_t)(digit - hex);
	}
	if (number == NULL)
		return 0;
	if (text.n - n - 1 == 0 || text.n - n - 1 > 19)
		return -EINVAL;
	for (*number = 0, i = n + 1; i < text.n; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return -EINVAL;
		*number = *number * 10 + (uint64_t)(text.at[i] - '0');
	}
	return 0;
}
