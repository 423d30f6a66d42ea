/*
 * What may be reported in all, and whose names give way where there is no room
 * left: those of the tenant who has most, so that nobody's files keep another's
 * functions from being served.  Memory and reports; runs in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_SHARE_H
#define FCGI_HOST_SCAN_SHARE_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/scan_units.h"

struct scan_share {
	struct scan_units *units; /* borrowed */
	/* At most: names, and of those with an environment of their own. */
	size_t most[SCAN_COUNTS];
	size_t used[SCAN_COUNTS];
	void (*del)(void *arg, const char *name); /* takes a name back */
	void *arg;
	bool is_left_out; /* something was not reported, for want of room */
};

/*
 * Room for the entry of the unit, in the place of old (what is reported under
 * its name, or NULL).  It is reported then, and old is not: the caller says so.
 * False: there is none, and nothing has changed.
 */
bool scan_share_take(struct scan_share *share, struct scan_unit *unit,
    struct scan_entry *old, struct scan_entry *entry);
/* Takes the entry back, if it is reported. */
void scan_share_give(struct scan_share *share, struct scan_unit *unit,
    struct scan_entry *entry);

#endif
