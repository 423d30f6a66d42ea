/*
 * The table of executions in flight, in a file that the spawner made and that
 * outlives the gateway, and the spawner too: what a gateway owed when it died,
 * its successor records as lost, in the same run of the host or in the next.  A
 * slot holds everything that such a record needs.
 */
#ifndef FCGI_HOST_INFLIGHT_H
#define FCGI_HOST_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/chain.h"
#include "fcgi-host/record.h"

struct inflight_slot {
	uint32_t is_used;
	uint32_t place;      /* in the table */
	uint64_t record_seq; /* not 0: its record has this seq in the batch */
	struct record_exec record; /* pointers in it are set anew when read */
	uint64_t started_us; /* CLOCK_MONOTONIC of the dispatch, 0: none */
	uint64_t ended_us;   /* the last sign of life of its run, 0: this one */
	uint32_t is_invoke;
};

/* A place in the accounting log: from there on its lines are this run's. */
struct inflight_log {
	uint64_t dev, ino;
	uint64_t from;
};

struct inflight;

/* Maps the table (fd borrowed).  What a dead gateway left in it is kept, as far
 * as it can be a record; anything else in the file is wiped, with a warning.
 * NULL: not to be mapped or too small. */
struct inflight *inflight_open(int fd);
void inflight_close(struct inflight *inflight);

/* A free slot, zeroed; NULL: all are used. */
struct inflight_slot *inflight_take(struct inflight *inflight);
void inflight_drop(struct inflight *inflight, struct inflight_slot *slot);

/* The last seq whose line is in the log, and the count of executions. */
uint64_t inflight_seq(const struct inflight *inflight);
void inflight_set_seq(struct inflight *inflight, uint64_t seq);
/* The processor time in the lines that are in the log: of this run, and of runs
 * before on whose clock it goes on. */
uint64_t inflight_charged(const struct inflight *inflight);
/* What the clock that this is of showed when it was last looked at; 0 when a run
 * begins: who finds that clock gone knows no more. */
void inflight_set_seen(struct inflight *inflight, uint64_t used_us);
uint64_t inflight_seen(const struct inflight *inflight);
/* The mac of that seq's line, by which the next one is chained; of a run before,
 * too.  All zeros: there is none. */
const struct chain_mac *inflight_mac(const struct inflight *inflight);
/* Before a batch is written: its last seq, and what is charged and chained once
 * that is in the log (mac NULL: lines are not chained).  Whoever dies in between,
 * the log tells which of the two holds: it is one store that makes the batch the
 * next, and one (the seq) that ends it. */
void inflight_set_batch(struct inflight *inflight, uint64_t seq,
    uint64_t charged_us, const struct chain_mac *mac);
/* That seq: no line of this run in the log has a later one.  0: none was tried. */
uint64_t inflight_batch_seq(const struct inflight *inflight);
uint64_t inflight_next_number(struct inflight *inflight);

/* The run whose debts, seq and count these are; 0: of none. */
uint64_t inflight_run(const struct inflight *inflight);
/* A new run: seq and count begin anew, and of the debts stay those whose line
 * is not in the log (seq: the last that is).  charged_us: what inflight_charged
 * is from here on; log: where its first line will stand. */
void inflight_begin(struct inflight *inflight, uint64_t run_id,
    uint64_t charged_us, const struct inflight_log *log);
/* The run goes on in another file.  Nothing of it may be in that one yet. */
void inflight_set_log(struct inflight *inflight,
    const struct inflight_log *log);
/* What was last set; any bytes, if the table's writer was compromised. */
struct inflight_log inflight_log(const struct inflight *inflight);
/* A sign of life: nothing in flight has run longer than to the last one. */
void inflight_set_alive(struct inflight *inflight, uint64_t now_us);

/* Visits every used slot. */
void inflight_each(struct inflight *inflight,
    void (*fn)(struct inflight_slot *slot, void *arg), void *arg);

#endif
