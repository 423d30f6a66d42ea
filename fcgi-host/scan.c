#include "fcgi-host/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/catalog.h"
#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/scan_hash.h"
#include "fcgi-host/scan_name.h"
#include "fcgi-host/scan_users.h"
#include "fcgi-host/scan_walk.h"

#define REST_FACTOR 4
/* A look is repeated so often when events came while it was under way. */
#define LOOKS_MAX 3

static const char top_tenant[] = "default";

/* What a look does about what is too fresh to be judged. */
enum look_kind {
	LOOK_FIRST,  /* reports nothing then, and says when to come again */
	LOOK_LAST,   /* judges it by what is there now */
	LOOK_TIMELY  /* reports the rest, and is done again */
};

struct unit {
	uint32_t number; /* 0: the top */
	struct scan_tenant tenant;
	struct scan_table table; /* as reported */
	uint64_t round;
	uint64_t due_us;  /* UINT64_MAX: nothing to do */
	uint64_t rest_us; /* not before */
	bool is_kept;     /* the top's look saw the folder */
	bool must_read;   /* settings changed: nothing is taken over */
};

struct scan {
	struct scan_setup setup;
	struct conf *conf;
	struct unit top;
	struct unit **units; /* tenants, sorted by name */
	size_t count, size;
	uint32_t last_number;
	size_t reported;  /* names that the other side knows */
	bool is_left_out; /* some were not, for want of room */
	bool is_gone, is_back;
};

struct scan *
scan_new(const struct scan_setup *setup)
{
	struct scan *scan = calloc(1, sizeof(*scan));

	if (scan == NULL)
		return NULL;
	scan->setup = *setup;
	strcpy(scan->top.tenant.name, top_tenant);
	scan->top.due_us = UINT64_MAX;
	return scan;
}

static void
unit_free(struct unit *unit)
{
	scan_table_free(&unit->table);
	free(unit);
}

void
scan_free(struct scan *scan)
{
	if (scan == NULL)
		return;
	for (size_t i = 0; i < scan->count; i++)
		unit_free(scan->units[i]);
	free(scan->units);
	scan_table_free(&scan->top.table);
	conf_unref(scan->conf);
	free(scan);
}

/* ------------------------------------------------------------- the units */

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

static size_t
unit_place(const struct scan *scan, const char *name)
{
	size_t low = 0, high = scan->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(scan->units[middle]->tenant.name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct unit *
unit_by_name(const struct scan *scan, const char *name)
{
	size_t place = unit_place(scan, name);

	if (place < scan->count &&
	    strcmp(scan->units[place]->tenant.name, name) == 0)
		return scan->units[place];
	return NULL;
}

static struct unit *
unit_by_number(struct scan *scan, uint32_t number)
{
	if (number == scan->top.number)
		return &scan->top;
	for (size_t i = 0; i < scan->count; i++)
		if (scan->units[i]->number == number)
			return scan->units[i];
	return NULL;
}

static struct unit *
unit_add(struct scan *scan, const char *name)
{
	struct unit *unit = calloc(1, sizeof(*unit));
	size_t place = unit_place(scan, name);

	if (unit == NULL)
		return NULL;
	if (scan->count == scan->size) {
		size_t size = scan->size == 0 ? 8 : scan->size * 2;
		void *units = reallocarray(scan->units, size, sizeof(unit));

		if (units == NULL) {
			free(unit);
			return NULL;
		}
		scan->units = units;
		scan->size = size;
	}
	unit->number = ++scan->last_number;
	SCAN_SET(unit->tenant.name, name);
	unit->due_us = UINT64_MAX;
	tenant_resolve(scan, &unit->tenant);
	memmove(&scan->units[place + 1], &scan->units[place],
	    (scan->count - place) * sizeof(unit));
	scan->units[place] = unit;
	scan->count++;
	return unit;
}

static void
unit_wake(struct unit *unit)
{
	uint64_t now_us = loop_clock_us();
	uint64_t due_us = now_us > unit->rest_us ? now_us : unit->rest_us;

	if (due_us < unit->due_us)
		unit->due_us = due_us;
}

static void
wake_all(struct scan *scan)
{
	unit_wake(&scan->top);
	for (size_t i = 0; i < scan->count; i++)
		unit_wake(scan->units[i]);
}

/* --------------------------------------------------------------- reports */

static void
report_del(struct scan *scan, const struct scan_entry *entry)
{
	if (!entry->is_reported)
		return;
	scan->setup.report.del(scan->setup.report.arg, entry->info.name);
	scan->reported--;
}

/* old: what stood under that name, or NULL.  With new settings everything is
 * said again, for the other side judges it by them too. */
static void
report_put(struct scan *scan, const struct scan_entry *old,
    struct scan_entry *entry, bool must_say)
{
	bool was_reported = old != NULL && old->is_reported;

	if (was_reported && !must_say && scan_entry_same(old, entry)) {
		entry->is_reported = true;
		return;
	}
	if (!was_reported && scan->reported == CATALOG_MAX) {
		if (!scan->is_left_out)
			log_event(LOG_WARN, "too_many_functions", "most=%d "
			    "mend=\"remove some; the rest is not served\"",
			    CATALOG_MAX);
		scan->is_left_out = true;
		return;
	}
	scan->reported += !was_reported;
	entry->is_reported = true;
	scan->setup.report.put(scan->setup.report.arg, &entry->info,
	    &entry->env);
}

/* First what is gone, so that there is room for what came. */
static void
report_changes(struct scan *scan, struct unit *unit, struct scan_table *found)
{
	size_t before = scan->reported;

	for (size_t i = 0; i < unit->table.count; i++)
		if (scan_table_find(found,
		    unit->table.entries[i]->info.name) == NULL)
			report_del(scan, unit->table.entries[i]);
	for (size_t i = 0; i < found->count; i++)
		report_put(scan, scan_table_find(&unit->table,
		    found->entries[i]->info.name), found->entries[i],
		    unit->must_read);
	scan_table_free(&unit->table);
	unit->table = *found;
	memset(found, 0, sizeof(*found));
	if (scan->is_left_out && scan->reported < before) {
		scan->is_left_out = false;
		wake_all(scan);
	}
}

static void
unit_remove(struct scan *scan, size_t place)
{
	struct unit *unit = scan->units[place];
	struct scan_table none = { .is_sorted = true };

	report_changes(scan, unit, &none);
	scan_watch_sweep(scan->setup.watch, unit->number, UINT64_MAX);
	unit_free(unit);
	scan->count--;
	memmove(&scan->units[place], &scan->units[place + 1],
	    (scan->count - place) * sizeof(unit));
}

static void
report_all_gone(struct scan *scan)
{
	struct scan_table none = { .is_sorted = true };

	report_changes(scan, &scan->top, &none);
	while (scan->count > 0)
		unit_remove(scan, scan->count - 1);
}

/* ---------------------------------------------------------------- events */

static void
event_changed(void *arg, uint32_t number)
{
	struct unit *unit = unit_by_number(arg, number);

	if (unit != NULL)
		unit_wake(unit);
}

static void
event_folder(void *arg, const char *name)
{
	struct unit *unit = unit_by_name(arg, name);

	if (unit != NULL)
		unit_wake(unit);
}

static void
event_lost(void *arg)
{
	wake_all(arg);
}

static void
event_root_gone(void *arg)
{
	struct scan *scan = arg;

	scan->is_gone = true;
	scan->is_back = false;
}

static void
event_returned(void *arg, const char *name)
{
	struct scan *scan = arg;
	const char *path = scan->conf->functions;
	size_t end = strlen(path), length = strlen(name);

	while (end > 0 && path[end - 1] == '/')
		end--;
	if (scan->is_gone && end > length && path[end - length - 1] == '/' &&
	    memcmp(path + end - length, name, length) == 0)
		scan->is_back = true;
}

static int
take_events(struct scan *scan)
{
	static const struct scan_watch_calls calls = {
		.changed = event_changed,
		.folder = event_folder,
		.lost = event_lost,
		.root_gone = event_root_gone,
		.returned = event_returned,
	};

	if (scan->setup.watch == NULL)
		return 0;
	return scan_watch_drain(scan->setup.watch, &calls, scan);
}

int
scan_take_events(struct scan *scan)
{
	bool was_gone = scan->is_gone;
	int err = take_events(scan);

	if (scan->is_gone && !was_gone)
		report_all_gone(scan);
	return err;
}

/* ----------------------------------------------------------------- looks */

static uint32_t
tenant_meet(void *arg, const char *name, bool *is_new)
{
	struct scan *scan = arg;
	struct unit *unit = unit_by_name(scan, name);

	*is_new = unit == NULL || unit->round == 0;
	if (unit == NULL && scan->count < SCAN_TENANTS_MAX) {
		unit = unit_add(scan, name);
		if (unit != NULL)
			unit_wake(unit);
	}
	return unit == NULL ? UINT32_MAX : unit->number;
}

static void
tenant_keep(void *arg, const char *name)
{
	struct unit *unit = unit_by_name(arg, name);

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

	for (size_t i = 0; i < scan->count; i++)
		scan->units[i]->is_kept = false;
	return scan_walk_top(look, &tenants);
}

static void
drop_lost_tenants(struct scan *scan)
{
	for (size_t i = scan->count; i-- > 0;)
		if (!scan->units[i]->is_kept)
			unit_remove(scan, i);
}

static struct scan_look
look_begin(const struct scan *scan, struct unit *unit, enum look_kind kind)
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
		.hash_left = SCAN_HASH_LOOK_MAX,
		.items_left = SCAN_ITEMS_MAX,
		.folders_left = SCAN_FOLDERS_MAX,
		.now_ns = scan_now_ns(),
	};

	return look;
}

/* One walk; *again_ns is when the next is wanted, 0: never. */
static int
look_once(struct scan *scan, struct unit *unit, enum look_kind kind,
    struct scan_table *found, int64_t *again_ns)
{
	struct scan_look look = look_begin(scan, unit, kind);
	int err = 0;

	unit->due_us = UINT64_MAX;
	if (unit == &scan->top)
		err = look_at_top(scan, &look);
	else
		scan_walk_tenant(&look);
	if (err == 0)
		err = look.error;
	scan_table_sort(&look.found);
	*found = look.found;
	*again_ns = look.again_ns;
	return err;
}

static void
schedule(struct unit *unit, int64_t again_ns, uint64_t start_us)
{
	uint64_t now_us = loop_clock_us(), again_us;
	int64_t wait_ns = again_ns - scan_now_ns();

	unit->rest_us = now_us + REST_FACTOR * (now_us - start_us);
	if (unit->due_us != UINT64_MAX && unit->due_us < unit->rest_us)
		unit->due_us = unit->rest_us;
	if (again_ns == 0)
		return;
	again_us = now_us + (wait_ns > 0 ? (uint64_t)wait_ns / 1000 : 0) + 1000;
	if (again_us < unit->rest_us)
		again_us = unit->rest_us;
	if (again_us < unit->due_us)
		unit->due_us = again_us;
}

/*
 * Looks at the unit, and again when something in it changed meanwhile: what is
 * reported was whole after it was read.  *again_ns: when to come again for what
 * was too fresh, or 0.
 */
static int
look(struct scan *scan, struct unit *unit, enum look_kind kind,
    int64_t *again_ns)
{
	uint64_t start_us = loop_clock_us();
	struct scan_table found = { 0 };
	int err = 0;

	for (int i = 0; i < LOOKS_MAX && !scan->is_gone; i++) {
		scan_table_free(&found);
		err = look_once(scan, unit, kind, &found, again_ns);
		if (err != 0 || take_events(scan) != 0 ||
		    unit->due_us == UINT64_MAX)
			break;
	}
	if (scan->is_gone || err != 0 ||
	    (kind == LOOK_FIRST && *again_ns != 0)) {
		scan_table_free(&found);
		schedule(unit, *again_ns, start_us);
		return err;
	}
	scan_watch_sweep(scan->setup.watch, unit->number, unit->round);
	if (unit == &scan->top)
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
look_in_time(struct scan *scan, struct unit *unit)
{
	int64_t again_ns = 0;
	int err = look(scan, unit, LOOK_TIMELY, &again_ns);

	if (err == -ENOMEM)
		unit->due_us = loop_clock_us() + 1000000;
	else if (err != 0)
		fail_top(scan, err);
	if (scan->is_gone)
		report_all_gone(scan);
}

void
scan_step(struct scan *scan)
{
	struct unit *first = &scan->top;

	if (scan->is_gone)
		return;
	for (size_t i = 0; i < scan->count; i++)
		if (scan->units[i]->due_us < first->due_us)
			first = scan->units[i];
	if (first->due_us <= loop_clock_us())
		look_in_time(scan, first);
}

uint64_t
scan_due_us(const struct scan *scan)
{
	uint64_t due_us = scan->top.due_us;

	if (scan->is_gone)
		return UINT64_MAX;
	for (size_t i = 0; i < scan->count; i++)
		if (scan->units[i]->due_us < due_us)
			due_us = scan->units[i]->due_us;
	return due_us;
}

/* One pass over all units that want a look.  *is_fresh: not all have been
 * reported. */
static int
pass(struct scan *scan, enum look_kind kind, bool *is_fresh)
{
	int64_t again_ns = 0;
	int err = 0;

	if (scan->top.due_us != UINT64_MAX)
		err = look(scan, &scan->top, kind, &again_ns);
	if (err != 0)
		return err;
	*is_fresh = again_ns != 0;
	for (size_t i = 0; i < scan->count && !scan->is_gone; i++) {
		if (scan->units[i]->due_us == UINT64_MAX)
			continue;
		err = look(scan, scan->units[i], kind, &again_ns);
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

	if (err != 0 || scan->is_gone)
		return err;
	wake_all(scan);
	err = pass(scan, LOOK_FIRST, &is_fresh);
	if (err == 0 && is_fresh && !scan->is_gone) {
		settle();
		take_events(scan);
		err = pass(scan, LOOK_LAST, &is_fresh);
	}
	if (err != 0 && err != -ENOMEM)
		fail_top(scan, err);
	else if (scan->is_gone)
		report_all_gone(scan);
	return err;
}

bool
scan_set_conf(struct scan *scan, struct conf *conf)
{
	bool is_whole;

	conf_ref(conf);
	conf_unref(scan->conf);
	scan->conf = conf;
	is_whole = tenant_resolve(scan, &scan->top.tenant);
	scan->top.must_read = true;
	for (size_t i = 0; i < scan->count; i++) {
		is_whole &= tenant_resolve(scan, &scan->units[i]->tenant);
		scan->units[i]->must_read = true;
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
