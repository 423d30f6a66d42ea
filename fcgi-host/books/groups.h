/*
 * Sums of records by groups: memory grows with the number of groups, never
 * with that of records.  Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_GROUPS_H
#define FCGI_HOST_BOOKS_GROUPS_H

#include <stdint.h>

#include "fcgi-host/books/entry.h"
#include "fcgi-host/books/keys.h"
#include "fcgi-host/books/spread.h"
#include "fcgi-host/rate.h"

struct sums {
	/* What is rated; its processor time is that of executions and of
	 * instances before, between and after them. */
	struct rate_usage usage;
	/* Of type exec, by their outcome.  errors: error, crash, oom, timeout,
	 * stalled. */
	uint64_t errors, aborted, refused, lost;
	uint64_t cold; /* among the executions */
	rate_sum queue_us, init_us, run_us, billed_ms;
	rate_sum bytes_in;
	uint64_t mem_peak_kib; /* the highest */
	/* Of type instance. */
	uint64_t instances;
	rate_sum idle_us;
	money_int cost; /* with a price book: rated.h */
};

/* How long executions ran, and how long those that waited for a start did. */
struct spreads {
	struct spread run_us, start_us;
};

struct group {
	struct spreads *spreads; /* NULL: none, or nothing in them */
	uint64_t hash;
	struct group *next; /* of its bucket */
	struct sums sums;
	size_t n;
	uint8_t packed[]; /* keys_pack */
};

struct groups;

/* keys is borrowed.  NULL: no memory.  groups_free accepts NULL. */
struct groups *groups_new(const struct keys *keys);
/* From now on each group has its spreads. */
void groups_keep_spreads(struct groups *groups);
void groups_free(struct groups *groups);

/* Adds a record; one of type host is in no group.  0 or -ENOMEM. */
int groups_add(struct groups *groups, const struct entry *entry);
/* Takes back a record that was added; the highest memory stays. */
int groups_take(struct groups *groups, const struct entry *entry);

/* Adds sums to the group with these values (keys_pack).  0 or -ENOMEM. */
int groups_add_sums(struct groups *groups, const uint8_t *packed, size_t n,
    const struct sums *sums);

/* Takes all groups out of the other and adds them.  0 or -ENOMEM. */
int groups_merge(struct groups *groups, struct groups *other);

/* Takes out one of its groups, which is no more. */
void groups_remove(struct groups *groups, const struct group *group);

/* The group with these values, or NULL. */
const struct group *groups_find(const struct groups *groups,
    const uint8_t *packed, size_t n);

/* By their keys in order, and NULL at the end; borrowed from groups until the
 * next call.  NULL: no memory. */
struct group **groups_sorted(struct groups *groups, size_t *count);

/* Sum of all groups. */
void groups_total(const struct groups *groups, struct sums *total);

#endif
