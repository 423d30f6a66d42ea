#include "fcgi-host/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/catalog.h"
#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/scan_hash.h"
#include "fcgi-host/scan_look.h"
#include "fcgi-host/scan_name.h"
#include "fcgi-host/scan_share.h"
#include "fcgi-host/scan_units.h"
#include "fcgi-host/scan_users.h"
#include "fcgi-host/scan_walk.h"
#include "fcgi-host/sock.h"

#define REST_FACTOR 4
/* A short look is repeated so often when events came while it was under way. */
#define LOOKS_MAX 3
#define SHORT_US 50000
/* What one look needs at a time: the folders on the way down, and of the
 * deepest its stream, a file, a sidecar and copies of these. */
#define LOOK_FDS (CTL_SEGMENTS_MAX + 8)
#define SHORTAGE_US 1000000
/* How often what nobody watches is looked at. */
#define UNWATCHED_US 5000000

/* What a look does about what is too fresh to be judged. */
enum look_kind {
	LOOK_FIRST,  /* reports nothing then, and says when to come again */
	LOOK_LAST,   /* judges it by what is there now */
	LOOK_TIMELY  /* reports the rest, and is done again */
};

struct scan {
	struct scan_setup setup;
	struct conf *conf;
	struct scan_units units;
	struct scan_share share; /* of what the other side knows */
	bool is_gone, is_back;
};

struct scan *
scan_new(const struct scan_setup *setup)
{
	struct scan *scan = calloc(1, sizeof(*scan));

	if (scan == NULL)
		return NULL;
	scan->setup = *setup;
	scan_units_init(&scan->units);
	scan->share = (struct scan_share){ .units = &scan->units,
		.most = { setup->names_max != 0 ? setup->names_max : CATALOG_MAX,
		    setup->envs_max != 0 ? setup->envs_max : SIZE_MAX },
		.del = setup->report.del, .arg = setup->report.arg };
	return scan;
}

void
scan_free(struct scan *scan)
{
	if (scan == NULL)
		return;
	scan_units_free(&scan->units);
	conf_unref(scan->conf);
	free(scan);
}

static bool
tenant_resolve(const struct scan *scan, struct scan_tenant *tenant)
{
	const struct settings *settings = conf_tenant(scan->conf,
	    tenant->name);
	const char *user = settings == NULL ? NULL : settings->user;

	tenant->has_uid = tenant->is_unusable = false;
	tenant->user[0] = '\0';
	if (user == NULL)
		return true;
	SCAN_SET(tenant->user, user);
	tenant->has_uid = scan_users_find(scan->setup.users_fd, user,
	    &tenant->uid);
	tenant->is_unusable = !tenant->has_uid;
	return tenant->has_uid;
}

/* --------------------------------------------------------------- reports */

/* old: what stood under that name, or NULL.  With new settings everything is
 * said again, for the other side judges it by them too. */
static void
report_put(struct scan *scan, struct scan_unit *unit, struct scan_entry *old,
    struct scan_entry *entry, bool must_say)
{
	bool is_known = old != NULL && old->is_reported && !must_say &&
	    scan_entry_same(old, entry);

	if (!scan_share_take(&scan->share, unit, old, entry)) {
		if (old != NULL)
			scan_share_give(&scan->share, unit, old);
		return;
	}
	if (!is_known)
		scan->setup.report.put(scan->setup.report.arg, &entry->info,
		    &entry->env);
}

/* First what is gone, so that there is room for what came. */
static void
report_changes(struct scan *scan, struct scan_unit *unit,
    struct scan_table *found)
{
	const size_t names = scan->share.used[SCAN_NAMES];
	const size_t envs = scan->share.used[SCAN_ENVS];

	for (size_t i = 0; i < unit->table.count; i++)
		if (scan_table_find(found,
		    unit->table.entries[i]->info.name) == NULL)
			scan_share_give(&scan->share, unit,
			    unit->table.entries[i]);
	for (size_t i = 0; i < found->count; i++)
		report_put(scan, unit, scan_table_find(&unit->table,
		    found->entries[i]->info.name), found->entries[i],
		    unit->must_read);
	scan_table_free(&unit->table);
	unit->table = *found;
	memset(found, 0, sizeof(*found));
	if (scan->share.is_left_out && (scan->share.used[SCAN_NAMES] < names ||
	    scan->share.used[SCAN_ENVS] < envs)) {
		scan->share.is_left_out = false;
		scan_units_wake(&scan->units);
	}
}

static void
unit_remove(struct scan *scan, size_t place)
{
	struct scan_unit *unit = scan->units.all[place];
	struct scan_table none = { .is_sorted = true };

	report_changes(scan, unit, &none);
	scan_watch_sweep(scan->setup.watch, unit->number, UINT64_MAX);
	scan_units_remove(&scan->units, place);
}

static void
report_all_gone(struct scan *scan)
{
	struct scan_table none = { .is_sorted = true };

	report_changes(scan, &scan->units.top, &none);
	while (scan->units.count > 0)
		unit_remove(scan, scan->units.count - 1);
}

/* ---------------------------------------------------------------- events */

static void
event_changed(void *arg, uint32_t number)
{
	struct scan_unit *unit = scan_units_at(&((struct scan *)arg)->units,
	    number);

	if (unit != NULL)
		scan_unit_wake(unit);
}

static void
event_folder(void *arg, const char *name)
{
	struct scan_unit *unit = scan_units_find(&((struct scan *)arg)->units,
	    name);

	if (unit != NULL)
		scan_unit_wake(unit);
}

static void
event_root_gone(void *arg)
{
	struct scan *scan = arg;

	/* its way back moves it too, and is told after its new name */
	if (!scan->is_gone)
		scan->is_back = false;
	scan->is_gone = true;
}

static void
event_lost(void *arg)
{
	struct scan *scan = arg;

	scan_units_wake(&scan->units);
	/* What stands there now was lost too: the spawner will see. */
	if (scan->is_gone || scan_watch_is_removed(scan->setup.root_fd))
		scan->is_gone = scan->is_back = true;
}

/* A directory that could not be read could not be watched either, so its mode
 * is seen from outside; and that it was removed is, while it is held. */
static void
event_beside(void *arg, const char *name, enum scan_watch_beside what)
{
	struct scan *scan = arg;
	const char *path = scan->conf->functions;
	size_t end = strlen(path), length = strlen(name);

	while (end > 0 && path[end - 1] == '/')
		end--;
	if (end <= length || path[end - length - 1] != '/' ||
	    memcmp(path + end - length, name, length) != 0)
		return;
	if (what == SCAN_WATCH_CHANGED && !scan->is_gone)
		scan_units_wake(&scan->units);
	else if (what == SCAN_WATCH_LEFT) {
		scan->is_gone = true;
		scan->is_back = false;
	} else if (what == SCAN_WATCH_CAME)
		scan->is_gone = scan->is_back = true;
}

static int
take_events(struct scan *scan)
{
	static const struct scan_watch_calls calls = {
		.changed = event_changed,
		.folder = event_folder,
		.lost = event_lost,
		.root_gone = event_root_gone,
		.beside = event_beside,
	};

	if (scan->setup.watch == NULL)
		return 0;
	return scan_watch_drain(scan->setup.watch, &calls, scan);
}

static void
take_leave(struct scan *scan)
{
	report_all_gone(scan);
	if (!scan->is_back)
		log_event(LOG_WARN, "functions_missing", "path=\"%s\" "
		    "error=\"it was moved away or removed\" mend=\"make the "
		    "directory again: it is served as soon as it is there\"",
		    scan->conf->functions);
}

int
scan_take_events(struct scan *scan)
{
	bool was_gone = scan->is_gone;
	int err = take_events(scan);

	if (scan->is_gone && !was_gone)
		take_leave(scan);
	return err;
}

/* ----------------------------------------------------------------- looks */

static uint32_t
tenant_meet(void *arg, const char *name, bool *is_new)
{
	struct scan *scan = arg;
	struct scan_unit *unit = scan_units_find(&scan->units, name);

	*is_new = unit == NULL || unit->round == 0;
	if (unit == NULL && scan->units.count < SCAN_TENANTS_MAX) {
		unit = scan_units_add(&scan->units, name);
		if (unit != NULL) {
			tenant_resolve(scan, &unit->tenant);
			scan_unit_wake(unit);
		}
	}
	return unit == NULL ? UINT32_MAX : unit->number;
}

static void
tenant_keep(void *arg, const char *name)
{
	struct scan_unit *unit = scan_units_find(&((struct scan *)arg)->units,
	    name);

	if (unit != NULL)
		unit->is_kept = true;
	else
		log_event(LOG_WARN, "too_many_tenants", "tenant=%s most=%d "
		    "mend=\"its functions are not served: remove folders\"",
		    name, SCAN_TENANTS_MAX);
}

static int
look_at_top(struct scan *scan, struct scan_look *look)
{
	const struct scan_tenants tenants = { .meet = tenant_meet,
		.keep = tenant_keep, .arg = scan };

	for (size_t i = 0; i < scan->units.count; i++)
		scan->units.all[i]->is_kept = false;
	return scan_walk_top(look, &tenants);
}

static void
drop_lost_tenants(struct scan *scan)
{
	for (size_t i = scan->units.count; i-- > 0;)
		if (!scan->units.all[i]->is_kept)
			unit_remove(scan, i);
}

static struct scan_look
look_begin(const struct scan *scan, struct scan_unit *unit, enum look_kind kind)
{
	struct scan_look look = {
		.conf = scan->conf,
		.tenant = &unit->tenant,
		.watch = scan->setup.watch,
		.root_fd = scan->setup.root_fd,
		.own_uid = scan->setup.own_uid,
		.unit = unit->number,
		.round = ++unit->round,
		.is_last = kind == LOOK_LAST,
		.old = unit->must_read ? NULL : &unit->table,
		.reported = &unit->table,
		.hash_left = unit->round == 1 ? SCAN_HASH_FIRST_MAX :
		    SCAN_HASH_LOOK_MAX,
		.items_left = SCAN_ITEMS_MAX,
		.folders_left = SCAN_FOLDERS_MAX,
		.now_ns = scan_now_ns(),
	};

	return look;
}

/* One walk; *again_ns is when the next is wanted, 0: never. */
static int
look_once(struct scan *scan, struct scan_unit *unit, enum look_kind kind,
    struct scan_table *found, int64_t *again_ns)
{
	struct scan_look look = look_begin(scan, unit, kind);
	int err = 0;

	unit->due_us = UINT64_MAX;
	if (unit == &scan->units.top)
		err = look_at_top(scan, &look);
	else
		scan_walk_tenant(&look);
	if (err == 0)
		err = look.error;
	scan_table_sort(&look.found);
	*found = look.found;
	*again_ns = look.again_ns;
	unit->is_unwatched = look.is_unwatched;
	return err;
}

static void
schedule(struct scan_unit *unit, int64_t again_ns, uint64_t start_us)
{
	uint64_t now_us = loop_clock_us(), again_us;
	int64_t wait_ns = again_ns - scan_now_ns();

	unit->rest_us = now_us + REST_FACTOR * (now_us - start_us);
	if (unit->due_us != UINT64_MAX && unit->due_us < unit->rest_us)
		unit->due_us = unit->rest_us;
	if (unit->is_unwatched && unit->due_us > now_us + UNWATCHED_US)
		unit->due_us = now_us + UNWATCHED_US > unit->rest_us ?
		    now_us + UNWATCHED_US : unit->rest_us;
	if (again_ns == 0)
		return;
	again_us = now_us + (wait_ns > 0 ? (uint64_t)wait_ns / 1000 : 0) + 1000;
	if (again_us < unit->rest_us)
		again_us = unit->rest_us;
	if (again_us < unit->due_us)
		unit->due_us = again_us;
}

/* What cannot be opened would look like what is broken or gone: a look that may
 * run out of descriptors does not begin. */
static int
descriptors_check(const struct scan *scan)
{
	int fds[LOOK_FDS], count = 0, err = 0;

	while (count < LOOK_FDS && err == 0) {
		fds[count] = scan_open(scan->setup.root_fd, ".", O_DIRECTORY);
		if (fds[count] < 0)
			err = fds[count];
		else
			count++;
	}
	while (count > 0)
		close_fd(&fds[--count]);
	return err;
}

bool
scan_is_shortage(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* Nothing that is served changes by it. */
static void
wait_for_more(struct scan_unit *unit, int err)
{
	static struct log_limit limit;
	uint64_t now_us = loop_clock_us();
	uint32_t suppressed;

	unit->due_us = now_us + SHORTAGE_US;
	if (log_limit_pass(&limit, 1, 60000, now_us, &suppressed))
		log_event(LOG_WARN, "look_delayed", "error=\"%s\" "
		    "suppressed=%u mend=\"changes of functions wait; raise "
		    "LimitNOFILE or MemoryMax\"", strerror(-err), suppressed);
}

/*
 * Looks at the unit, and again when something in it changed meanwhile, unless
 * that would keep the others waiting.  The events are taken first: what is said
 * to be whole was closed before it was read.  *again_ns: when to come again for
 * what was too fresh, or 0.
 */
static int
look(struct scan *scan, struct scan_unit *unit, enum look_kind kind,
    int64_t *again_ns)
{
	uint64_t start_us = loop_clock_us();
	struct scan_table found = { 0 };
	int err = 0;

	take_events(scan);
	err = descriptors_check(scan);
	if (scan_is_shortage(err))
		return err;
	for (int i = 0; i < LOOKS_MAX && !scan->is_gone; i++) {
		scan_table_free(&found);
		err = look_once(scan, unit, kind, &found, again_ns);
		if (err != 0 || take_events(scan) != 0 ||
		    unit->due_us == UINT64_MAX ||
		    loop_clock_us() - start_us > SHORT_US)
			break;
	}
	if (scan->is_gone || err != 0 ||
	    (kind == LOOK_FIRST && *again_ns != 0)) {
		scan_table_free(&found);
		schedule(unit, *again_ns, start_us);
		return err;
	}
	scan_watch_sweep(scan->setup.watch, unit->number, unit->round);
	if (unit == &scan->units.top)
		drop_lost_tenants(scan);
	report_changes(scan, unit, &found);
	unit->must_read = false;
	schedule(unit, *again_ns, start_us);
	return 0;
}

static void
fail_top(struct scan *scan, int err)
{
	log_event(LOG_ERROR, "functions_unreadable", "path=\"%s\" error=\"%s\" "
	    "mend=\"let the host's user read the directory: chmod a+rx\"",
	    scan->conf->functions, strerror(-err));
	report_all_gone(scan);
}

/* The top or a tenant, at an hour of the loop: what is too fresh is reported
 * as half-written and looked at again. */
static void
look_in_time(struct scan *scan, struct scan_unit *unit)
{
	int64_t again_ns = 0;
	int err = look(scan, unit, LOOK_TIMELY, &again_ns);

	if (scan_is_shortage(err))
		wait_for_more(unit, err);
	else if (err != 0)
		fail_top(scan, err);
	if (scan->is_gone)
		take_leave(scan);
}

void
scan_step(struct scan *scan)
{
	struct scan_unit *first = scan_units_first(&scan->units);

	if (!scan->is_gone && first->due_us <= loop_clock_us())
		look_in_time(scan, first);
}

uint64_t
scan_due_us(struct scan *scan)
{
	return scan->is_gone ? UINT64_MAX :
	    scan_units_first(&scan->units)->due_us;
}

/* One pass over all units that want a look.  *is_fresh: not all have been
 * reported. */
static int
pass(struct scan *scan, enum look_kind kind, bool *is_fresh)
{
	int64_t again_ns = 0;
	int err = 0;

	if (scan->units.top.due_us != UINT64_MAX)
		err = look(scan, &scan->units.top, kind, &again_ns);
	if (err != 0)
		return err;
	*is_fresh = again_ns != 0;
	for (size_t i = 0; i < scan->units.count && !scan->is_gone; i++) {
		if (scan->units.all[i]->due_us == UINT64_MAX)
			continue;
		err = look(scan, scan->units.all[i], kind, &again_ns);
		if (err != 0)
			return err;
		*is_fresh |= again_ns != 0;
	}
	return 0;
}

/* Until what was fresh in the last pass is old enough. */
static void
settle(void)
{
	const struct timespec wait = { .tv_nsec = SCAN_SETTLE_NS };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
}

int
scan_all(struct scan *scan)
{
	bool is_fresh = false;
	int err = scan_take_events(scan);

	/* asked to look again: what the path leads to now, the spawner sees */
	if (scan->is_gone)
		scan->is_back = true;
	if (err != 0 || scan->is_gone)
		return err;
	scan_units_wake(&scan->units);
	err = pass(scan, LOOK_FIRST, &is_fresh);
	if (err == 0 && is_fresh && !scan->is_gone) {
		settle();
		take_events(scan);
		err = pass(scan, LOOK_LAST, &is_fresh);
	}
	if (err != 0 && !scan_is_shortage(err))
		fail_top(scan, err);
	else if (scan->is_gone)
		take_leave(scan);
	return err;
}

bool
scan_set_conf(struct scan *scan, struct conf *conf)
{
	bool is_whole;

	conf_ref(conf);
	conf_unref(scan->conf);
	scan->conf = conf;
	is_whole = tenant_resolve(scan, &scan->units.top.tenant);
	scan->units.top.must_read = true;
	for (size_t i = 0; i < scan->units.count; i++) {
		is_whole &= tenant_resolve(scan, &scan->units.all[i]->tenant);
		scan->units.all[i]->must_read = true;
	}
	return is_whole;
}

bool
scan_is_gone(const struct scan *scan)
{
	return scan->is_gone;
}

bool
scan_is_back(const struct scan *scan)
{
	return scan->is_back;
}
