/*
 * A unit is what is looked at and reported together: one tenant, or the top
 * with the tenant `default`.  Keeping them, and when each is due.  Memory and
 * the clock only; runs in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_UNITS_H
#define FCGI_HOST_SCAN_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/scan_look.h"
#include "fcgi-host/scan_table.h"

/* What is bounded over all tenants. */
enum scan_count { SCAN_NAMES, SCAN_ENVS, SCAN_COUNTS };

struct scan_unit {
	uint32_t number; /* 0: the top */
	struct scan_tenant tenant;
	struct scan_table table; /* as reported */
	size_t used[SCAN_COUNTS]; /* of the table, reported (scan_share.h) */
	uint64_t round;
	uint64_t due_us;  /* UINT64_MAX: nothing to do */
	uint64_t rest_us; /* not before */
	bool is_kept;     /* the top's look saw the folder */
	bool must_read;   /* settings changed: nothing is taken over */
	bool is_unwatched; /* in part: no event tells of a change there */
};

struct scan_units {
	struct scan_unit top;
	struct scan_unit **all; /* the tenants, sorted by name */
	size_t count, size;
	uint32_t last_number;
};

void scan_units_init(struct scan_units *units);
void scan_units_free(struct scan_units *units);

/* NULL: there is none. */
struct scan_unit *scan_units_find(const struct scan_units *units,
    const char *tenant);
struct scan_unit *scan_units_at(struct scan_units *units, uint32_t number);
/* NULL: no memory. */
struct scan_unit *scan_units_add(struct scan_units *units, const char *tenant);
/* Forgets the i-th. */
void scan_units_remove(struct scan_units *units, size_t i);

/* Makes it due, now or when it has rested. */
void scan_unit_wake(struct scan_unit *unit);
void scan_units_wake(struct scan_units *units);
/* The one that is due first; its due_us may be UINT64_MAX. */
struct scan_unit *scan_units_first(struct scan_units *units);

#endif
