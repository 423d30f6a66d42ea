/* Days and months of UTC, as civil.h counts them. */
#include "fcgi-host/budget_impl.h"
#include "fcgi-host/civil.h"

#define DAY_US (UINT64_C(86400) * 1000000)

const char *
budget_period_key(enum budget_period period)
{
	return period == BUDGET_DAY ? "budget_day" : "budget_month";
}

struct budget_now
budget_now_of(struct budgets *budgets, uint64_t time_us)
{
	uint32_t day = (uint32_t)(time_us / DAY_US);

	if (day != budgets->day) {
		budgets->day = day;
		budgets->month = (uint32_t)civil_month_of((int32_t)day);
	}
	return (struct budget_now){ { day, budgets->month } };
}

void
budget_charge_time(struct budgets *budgets, struct budget_charge *charge,
    uint64_t time_us, uint64_t now_us)
{
	charge->then = budget_now_of(budgets, time_us);
	charge->now = budget_now_of(budgets, now_us);
	charge->latest = time_us > now_us ? charge->then : charge->now;
}

uint64_t
budget_period_end_us(enum budget_period period, uint32_t value)
{
	int32_t day = period == BUDGET_DAY ? (int32_t)value + 1 :
	    civil_first_day((int32_t)value + 1);

	return (uint64_t)day * DAY_US;
}
