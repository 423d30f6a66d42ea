/* The end of a day: what an instance that goes on has used belongs to that day,
 * and not to the one, or the month, in which it will end; and with min_instances
 * one may live for weeks. */
#include "fcgi-host/gateway_impl.h"

#include "fcgi-host/log.h"

#define DAY_US UINT64_C(86400000000)
/* The clock of the day may be set, which no timer sees. */
#define LOOK_EVERY_US UINT64_C(3600000000)

static void day_look(void *arg);

static void
day_wait(struct gateway *gateway, uint64_t time_us)
{
	uint64_t left_us = DAY_US - time_us % DAY_US;

	gateway->day = time_us / DAY_US;
	if (loop_timer_set(gateway->loop, &gateway->day_timer,
	    loop_now_us(gateway->loop) + (left_us < LOOK_EVERY_US ? left_us :
	    LOOK_EVERY_US), day_look, gateway) < 0)
		log_event(LOG_ERROR, "memory", "for=day");
}

static void
day_look(void *arg)
{
	struct gateway *gateway = arg;
	uint64_t time_us = loop_clock_real_us(), ago_us = time_us % DAY_US;
	uint64_t now_us = loop_now_us(gateway->loop);

	if (time_us / DAY_US > gateway->day && gateway->has_log)
		pools_account(gateway->server.pools, now_us > ago_us ?
		    now_us - ago_us : 0, time_us - ago_us - 1);
	day_wait(gateway, time_us);
}

void
gateway_day_begin(struct gateway *gateway)
{
	day_wait(gateway, loop_clock_real_us());
}
