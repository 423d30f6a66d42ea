/*
 * What one look at one tenant found: entries sorted by name, each name once.
 * Memory only; runs in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_TABLE_H
#define FCGI_HOST_SCAN_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/scan_list.h"

struct scan_entry {
	struct ctl_function info;
	struct buf env; /* the sidecar's "NAME=VALUE\0"… */
	/* The files that info and env were made from (zeroes: none). */
	struct scan_id main, sidecar, env_file;
	/* The same ids mean the same info: nothing need be read again. */
	bool is_settled;
	bool is_reported;
};

struct scan_table {
	struct scan_entry **entries;
	size_t count, size;
	bool is_sorted;
};

/* All zero but the name, which is cut to fit.  NULL: no memory. */
struct scan_entry *scan_entry_new(const char *name);
void scan_entry_free(struct scan_entry *entry);
/* True when both say the same to the spawner. */
bool scan_entry_same(const struct scan_entry *a, const struct scan_entry *b);
bool scan_entry_is_served(const struct scan_entry *entry);

/* Takes the entry, in every case. 0 or -ENOMEM. */
int scan_table_add(struct scan_table *table, struct scan_entry *entry);
/* Sorts by name; of one name what is served stays, else the first. */
void scan_table_sort(struct scan_table *table);
/* NULL: not there.  The table is sorted. */
struct scan_entry *scan_table_find(const struct scan_table *table,
    const char *name);
void scan_table_free(struct scan_table *table);

#endif
