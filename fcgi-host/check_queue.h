/*
 * Whose file is looked at next by its runtime's `check`, and when: names in, a
 * name out.  Time is a parameter (microseconds, CLOCK_MONOTONIC).  checks.h acts
 * on it.
 *
 *  - Who is waited for by a request goes first, then who stands in a list that
 *    somebody asks for, then what has changed, then what was found at the start.
 *  - Among equals it is the tenant's turn whose checks took least of late; he rests
 *    four times as long as his last one took, unless he is waited for.
 *  - One at a time; a second one only for a request, and never two of a tenant.
 *  - One that takes long gives way for the request of another tenant, and may take
 *    twice as long the next time: else of three that are long none would ever end.
 *    Of those that gave way one runs at a time.
 *  - A file that is written over and over is looked at when it rests.
 */
#ifndef FCGI_HOST_CHECK_QUEUE_H
#define FCGI_HOST_CHECK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_QUEUE_RUNNING_MAX 2
#define CHECK_QUEUE_CHANGE_US 250000 /* from a change */
#define CHECK_QUEUE_AGAIN_US 1000000 /* after one that could not be begun */
#define CHECK_QUEUE_REST 4 /* times what the last one took */
#define CHECK_QUEUE_REST_MAX_US 60000000
#define CHECK_QUEUE_LONG_US 2000000 /* then it gives way, the first time */

enum check_urgency {
	CHECK_FOUND,
	CHECK_CHANGED,
	CHECK_LISTED,
	CHECK_WAITED
};

struct check_queue;

struct check_queue *check_queue_new(void);
void check_queue_free(struct check_queue *queue);

/* Is to be looked at; of one that is there already the higher urgency holds, and a
 * change makes it wait anew.  0 or -ENOMEM. */
int check_queue_put(struct check_queue *queue, const char *name,
    const char *tenant, enum check_urgency urgency, uint64_t now_us);
/* It was begun and came to nothing: not at once again.  Of one that runs still: it
 * gives way.  0 or -ENOMEM. */
int check_queue_again(struct check_queue *queue, const char *name,
    const char *tenant, enum check_urgency urgency, uint64_t now_us);
/* Harmless when it is not there. */
void check_queue_del(struct check_queue *queue, const char *name);
/* Somebody asks for the list. */
void check_queue_list(struct check_queue *queue);
size_t check_queue_count(const struct check_queue *queue);

/* Who begins now, and how urgent it is; NULL: nobody.  is_calm: nothing else is
 * being started; may: is there room for it? */
const char *check_queue_pick(const struct check_queue *queue, uint64_t now_us,
    bool is_calm, bool (*may)(void *arg, const char *name), void *arg,
    enum check_urgency *urgency);
/* It has begun, and is in the queue no longer; and its end. */
void check_queue_begin(struct check_queue *queue, const char *name,
    uint64_t now_us);
void check_queue_over(struct check_queue *queue, const char *name,
    uint64_t now_us);
/* Of those that run the one that must end for a request; NULL: none. */
const char *check_queue_victim(const struct check_queue *queue,
    uint64_t now_us, bool (*may)(void *arg, const char *name), void *arg);
/* When to ask again without an event; 0: never. */
uint64_t check_queue_wake_us(const struct check_queue *queue, uint64_t now_us);

#endif
