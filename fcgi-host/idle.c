#include "fcgi-host/idle.h"

#include <stddef.h>

void
idle_begin(struct idle_list *list, struct idle *idle, void *owner,
    uint64_t now_us)
{
	idle_end(list, idle);
	idle->since_us = now_us;
	idle->owner = owner;
	TAILQ_INSERT_TAIL(list, idle, in);
}

void
idle_end(struct idle_list *list, struct idle *idle)
{
	if (idle->owner != NULL)
		TAILQ_REMOVE(list, idle, in);
	idle->owner = NULL;
}

void *
idle_longest(const struct idle_list *list, uint64_t before_us)
{
	const struct idle *first = TAILQ_FIRST(list);

	return first != NULL && first->since_us <= before_us ?
	    first->owner : NULL;
}
