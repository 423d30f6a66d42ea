/*
 * Who is silent, and who was silent longest: the order in which kept connections
 * give way when there are too many.  Web side of the gateway; knows no sockets.
 */
#ifndef FCGI_HOST_IDLE_H
#define FCGI_HOST_IDLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Embedded in its owner; zeroed: not idle. */
struct idle {
	TAILQ_ENTRY(idle) in;
	uint64_t since_us;
	void *owner; /* NULL: not idle */
};

TAILQ_HEAD(idle_list, idle);

/* Joins at the end, anew if it was there already. */
void idle_begin(struct idle_list *list, struct idle *idle, void *owner,
    uint64_t now_us);
/* Leaves; harmless when it is not there. */
void idle_end(struct idle_list *list, struct idle *idle);
/* The owner that has been idle longest, if since before_us or earlier; or
 * NULL. */
void *idle_longest(const struct idle_list *list, uint64_t before_us);

#endif
