/*
 * Sums of whole ledgers, by several threads: each has groups of its own, which
 * are merged at the end.  A record that stands there twice is counted once.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_SUM_H
#define FCGI_HOST_BOOKS_SUM_H

#include <stdint.h>

#include "fcgi-host/books/files.h"
#include "fcgi-host/books/groups.h"
#include "fcgi-host/books/reader.h"

#define SUM_GROUPINGS_MAX 8

/* What is asked for.  keys are borrowed until the groups are freed. */
struct sum_grouping {
	const struct keys *keys;
	bool has_spreads;
	uint64_t from_us, to_us; /* the second is the first that is left out */
};

struct sum_query {
	struct sum_grouping at[SUM_GROUPINGS_MAX];
	size_t count;
	const char *tenant; /* NULL: all */
	bool is_quiet; /* no progress on a terminal */
};

/*
 * Reads all files once, and fills groups[i] for at[i]; each is to be freed
 * with groups_free.  Faults, and what is doubled or missing, are told by the
 * reader.  0, also with faults; a negative errno after a sentence on standard
 * error, and then there are no groups; -ESTALE without one: there was a rotation
 * meanwhile.
 */
int sum_files(const struct sum_query *query, const struct files *files,
    struct reader *reader, struct groups *groups[]);

#endif
