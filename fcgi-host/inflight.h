/*
 * The table of executions in flight, in memory that the spawner made and that
 * outlives the gateway: what a gateway owed when it died, its successor
 * records as lost.  A slot holds everything that such a record needs.
 */
#ifndef FCGI_HOST_INFLIGHT_H
#define FCGI_HOST_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/record.h"

struct inflight_slot {
	uint32_t is_used;
	uint32_t place;      /* in the table */
	uint64_t record_seq; /* not 0: its record has this seq in the batch */
	struct record_exec record; /* pointers in it are set anew when read */
	uint64_t started_us; /* CLOCK_MONOTONIC of the dispatch, 0: none */
	uint32_t is_invoke;
};

struct inflight;

/* Maps the table (fd borrowed).  is_again: it holds a dead gateway's debts,
 * of which only what can be a record is kept; else it is made new.  NULL: not to
 * be mapped or too small. */
struct inflight *inflight_open(int fd, bool is_again);
void inflight_close(struct inflight *inflight);

/* A free slot, zeroed; NULL: all are used. */
struct inflight_slot *inflight_take(struct inflight *inflight);
void inflight_drop(struct inflight *inflight, struct inflight_slot *slot);

/* The last seq whose line is in the log, and the count of executions. */
uint64_t inflight_seq(const struct inflight *inflight);
void inflight_set_seq(struct inflight *inflight, uint64_t seq);
uint64_t inflight_next_number(struct inflight *inflight);

/* Visits every used slot. */
void inflight_each(struct inflight *inflight,
    void (*fn)(struct inflight_slot *slot, void *arg), void *arg);

#endif
