/* Days and months of UTC. */
#include <time.h>

#include "fcgi-host/budget_impl.h"

#define DAY_S 86400u
#define SECOND_US UINT64_C(1000000)
#define EPOCH_YEAR 70 /* as struct tm counts */

const char *
budget_period_key(enum budget_period period)
{
	return period == BUDGET_DAY ? "budget_day" : "budget_month";
}

struct budget_now
budget_now_of(struct budgets *budgets, uint64_t time_us)
{
	time_t seconds = (time_t)(time_us / SECOND_US);
	uint32_t day = (uint32_t)((uint64_t)seconds / DAY_S);
	struct tm tm;

	if (day != budgets->day) {
		gmtime_r(&seconds, &tm);
		budgets->day = day;
		budgets->month = (uint32_t)(tm.tm_year - EPOCH_YEAR) * 12 +
		    (uint32_t)tm.tm_mon;
	}
	return (struct budget_now){ { day, budgets->month } };
}

uint64_t
budget_period_end_us(enum budget_period period, uint32_t value)
{
	struct tm tm = { .tm_mday = 1 };

	if (period == BUDGET_DAY)
		return ((uint64_t)value + 1) * DAY_S * SECOND_US;
	tm.tm_year = EPOCH_YEAR + (int)((value + 1) / 12);
	tm.tm_mon = (int)((value + 1) % 12);
	return (uint64_t)timegm(&tm) * SECOND_US;
}
