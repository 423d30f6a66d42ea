/*
 * Who burns the processor: a function whose instances together used a quarter
 * of one or more since it was last looked at, and half a millisecond or more
 * before each time that one of their processes waited for something, is hot, and
 * stays so until it has not for a second.  (One that answers many short requests
 * holds nobody up: it waits for the next before a tick is over.)  Decides only;
 * who looks, and what becomes of it, is behind's part.
 */
#ifndef FCGI_HOST_HEAT_H
#define FCGI_HOST_HEAT_H

#include <stdbool.h>
#include <stdint.h>

#define HEAT_PER_CENT 25u
#define HEAT_RUN_US UINT64_C(500) /* from one waiting to the next */
#define HEAT_COOL_US UINT64_C(1000000)

struct heat {
	uint64_t usage_us, at_us; /* as last seen; at 0: never */
	uint64_t used_us, before_us; /* in the last look; when that began */
	uint64_t burned_us;       /* when it last was over the line */
	uint64_t waits, waits_at_us; /* how often they had waited, and when */
	bool is_hot;
	unsigned nice; /* what its branch has: behind's */
};

/* Whether so much processor time in so much time is a burner's. */
bool heat_is_burning(uint64_t used_us, uint64_t passed_us);
/* What its clock shows now.  Whether it may be burning: then heat_judge is next.
 */
bool heat_look(struct heat *heat, uint64_t usage_us, uint64_t now_us);
/* How often its processes have waited, those that are there. */
void heat_judge(struct heat *heat, uint64_t waits);
/* Behind heat_look and perhaps heat_judge: whether it turned hot or cool. */
bool heat_turn(struct heat *heat);

#endif
