#include "fcgi-host/heat.h"

bool
heat_is_burning(uint64_t used_us, uint64_t passed_us)
{
	return passed_us > 0 && used_us >= passed_us / 100 * HEAT_PER_CENT;
}

bool
heat_look(struct heat *heat, uint64_t usage_us, uint64_t now_us)
{
	heat->before_us = heat->at_us;
	heat->used_us = heat->at_us == 0 || usage_us < heat->usage_us ? 0 :
	    usage_us - heat->usage_us;
	heat->usage_us = usage_us;
	heat->at_us = now_us;
	return heat_is_burning(heat->used_us, now_us - heat->before_us);
}

/* Processes that have ended took their numbers with them; init, which stays and
 * waits for the next, has its own.  What was counted before the last look says
 * nothing about this one. */
void
heat_judge(struct heat *heat, uint64_t waits)
{
	bool is_known = heat->waits_at_us != 0 &&
	    heat->waits_at_us == heat->before_us;
	uint64_t waited = waits > heat->waits ? waits - heat->waits : 0;

	if (is_known && heat->used_us >= waited * HEAT_RUN_US)
		heat->burned_us = heat->at_us;
	heat->waits = waits;
	heat->waits_at_us = heat->at_us;
}

bool
heat_turn(struct heat *heat)
{
	bool is_hot = heat->burned_us != 0 &&
	    heat->at_us - heat->burned_us < HEAT_COOL_US;
	bool has_turned = is_hot != heat->is_hot;

	heat->is_hot = is_hot;
	return has_turned;
}
