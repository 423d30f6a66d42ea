/*
 * The calendar, UTC: days and months as numbers that can be compared (a day is
 * counted from 1970-01-01, a month from January of the year 0), and moments in
 * microseconds since 1970.  Pure, and async-signal-safe: gmtime_r takes a lock
 * and opens /etc/localtime, and strptime takes more than it should.
 */
#ifndef FCGI_HOST_CIVIL_H
#define FCGI_HOST_CIVIL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CIVIL_TEXT_MAX 16
#define CIVIL_TIME_MAX 28

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

/* "2026-11-27T10:52:46.123456Z" (RFC 3339, UTC; the fraction has up to 6
 * digits or none) or "2026-11-27", from 1970 on; text need not end.  0 or
 * -EINVAL. */
int civil_parse_time(const char *text, size_t n, uint64_t *time_us);

int32_t civil_month_of(int32_t day);
/* The first day of a month; of month + 1: the day behind its last. */
int32_t civil_first_day(int32_t month);

/* Return out. */
const char *civil_day_text(int32_t day, char out[CIVIL_TEXT_MAX]);
const char *civil_month_text(int32_t month, char out[CIVIL_TEXT_MAX]);
/* "2026-11-27T10:52:46.123456Z" */
const char *civil_time_text(uint64_t time_us, char out[CIVIL_TIME_MAX]);

#ifdef __cplusplus
}
#endif

#endif
