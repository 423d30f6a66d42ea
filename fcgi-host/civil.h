/*
 * Days and months of the calendar, UTC, as numbers that can be compared: a day
 * is counted from 1970-01-01, a month from January of the year 0.  Pure.
 */
#ifndef FCGI_HOST_CIVIL_H
#define FCGI_HOST_CIVIL_H

#include <stdint.h>

#define CIVIL_TEXT_MAX 16

struct civil {
	int year;      /* 1 to 9999 */
	int month;     /* 1 to 12 */
	int day;       /* 1 to 31 */
};

int32_t civil_day(struct civil date);
struct civil civil_date(int32_t day);

/* "2026-07-15" or "2026-07", nothing else.  0 or -EINVAL. */
int civil_parse_day(const char *text, int32_t *day);
int civil_parse_month(const char *text, int32_t *month);

int32_t civil_month_of(int32_t day);
/* The first day of a month; of month + 1: the day behind its last. */
int32_t civil_first_day(int32_t month);

/* Returns out. */
const char *civil_day_text(int32_t day, char out[CIVIL_TEXT_MAX]);
const char *civil_month_text(int32_t month, char out[CIVIL_TEXT_MAX]);

#endif
