#include "fcgi-host/scan_share.h"

#include "fcgi-host/log.h"

static bool
counts(const struct scan_entry *entry, enum scan_count what)
{
	return entry != NULL && entry->is_reported &&
	    (what == SCAN_NAMES || buf_len(&entry->env) > 0);
}

static void
count(struct scan_share *share, struct scan_unit *unit,
    struct scan_entry *entry, bool is_reported)
{
	/* either before it is taken away, or after it was given */
	entry->is_reported = true;
	for (enum scan_count what = 0; what < SCAN_COUNTS; what++) {
		if (!counts(entry, what))
			continue;
		share->used[what] += is_reported ? 1 : (size_t)-1;
		unit->used[what] += is_reported ? 1 : (size_t)-1;
	}
	entry->is_reported = is_reported;
}

void
scan_share_give(struct scan_share *share, struct scan_unit *unit,
    struct scan_entry *entry)
{
	if (!entry->is_reported)
		return;
	count(share, unit, entry, false);
	share->del(share->arg, entry->info.name);
}

static struct scan_unit *
find_largest(struct scan_units *units, enum scan_count what)
{
	struct scan_unit *largest = &units->top;

	for (size_t i = 0; i < units->count; i++)
		if (units->all[i]->used[what] > largest->used[what])
			largest = units->all[i];
	return largest;
}

/* Once, until there is room again. */
static void
tell(struct scan_share *share, const struct scan_unit *unit,
    enum scan_count what)
{
	if (!share->is_left_out)
		log_event(LOG_WARN, "too_many_functions", "tenant=%s most=%zu "
		    "of=\"%s\" mend=\"remove some; of the tenant who has most "
		    "the rest is not served\"", unit->tenant.name,
		    share->most[what], what == SCAN_NAMES ? "functions" :
		    "functions with an environment of their own");
	share->is_left_out = true;
}

/* Who has one more only would turn the two round. */
static bool
can_make_room(struct scan_share *share, const struct scan_unit *unit,
    enum scan_count what)
{
	if (find_largest(share->units, what)->used[what] > unit->used[what] + 1)
		return true;
	tell(share, unit, what);
	return false;
}

static void
make_room(struct scan_share *share, enum scan_count what)
{
	struct scan_unit *largest = find_largest(share->units, what);
	size_t i = largest->table.count;

	tell(share, largest, what);
	while (i > 0 && !counts(largest->table.entries[i - 1], what))
		i--;
	if (i > 0)
		scan_share_give(share, largest, largest->table.entries[i - 1]);
}

static bool
is_full(const struct scan_share *share, const struct scan_entry *old,
    const struct scan_entry *entry, enum scan_count what)
{
	return (what == SCAN_NAMES || buf_len(&entry->env) > 0) &&
	    !counts(old, what) && share->used[what] >= share->most[what];
}

bool
scan_share_take(struct scan_share *share, struct scan_unit *unit,
    struct scan_entry *old, struct scan_entry *entry)
{
	for (enum scan_count what = 0; what < SCAN_COUNTS; what++)
		if (is_full(share, old, entry, what) &&
		    !can_make_room(share, unit, what))
			return false;
	/* one that goes may make room for both */
	for (enum scan_count what = 0; what < SCAN_COUNTS; what++)
		if (is_full(share, old, entry, what))
			make_room(share, what);
	if (old != NULL && old->is_reported)
		count(share, unit, old, false);
	count(share, unit, entry, true);
	return true;
}
