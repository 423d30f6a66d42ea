/* Who is counted, and what in which period. */
#include "fcgi-host/budget_impl.h"

#include <stdlib.h>
#include <string.h>

#include "fcgi-host/civil.h"

/* A clock that was wrong for a while may have put a period that far ahead: what
 * lies more than one ahead is taken for that. */
#define AHEAD_MAX 1
#define COST_MAX (~(money_int)0)

/* ---- owners ---- */

static uint32_t
bucket_of(const char *name, bool is_tenant)
{
	uint32_t hash = 2166136261u + is_tenant;

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return (hash ^ hash >> 15) % BUDGET_BUCKETS;
}

void
budget_owner_touch(struct budgets *budgets, struct budget_owner *owner)
{
	if (owner->is_dirty)
		return;
	owner->is_dirty = true;
	owner->next_dirty = budgets->dirty;
	budgets->dirty = owner;
}

bool
budget_has_limits(const struct budget_limits *limits)
{
	for (size_t p = 0; p < BUDGET_PERIODS; p++)
		for (size_t u = 0; u < AMOUNT_COUNT; u++)
			if (limits->most[p][u] != 0)
				return true;
	return false;
}

static void
bucket_leave(struct budgets *budgets, const struct budget_owner *owner)
{
	struct budget_owner **at = &budgets->buckets[bucket_of(
	    owner->kept.name, owner->kept.is_tenant != 0)];

	while (*at != owner)
		at = &(*at)->next;
	*at = owner->next;
}

/* Who gives way to a new one when there are 65,536, in this order: nobody who has
 * no budget loses anything; and whoever makes names without end, each with a budget
 * in its sidecar, takes his own places and not his neighbours'. */
enum way { WAY_NO_BUDGET, WAY_SAME_TENANT, WAY_ANY, WAYS };

/* A tenant never does, nor a function that the administrator has a section for:
 * of both there are few. */
static bool
gives_way(const struct budgets *budgets, const struct budget_owner *owner,
    enum way way, const char *tenant)
{
	char of[CTL_NAME_MAX + 1];

	if (owner->kept.is_tenant != 0 ||
	    (way == WAY_NO_BUDGET && budget_has_limits(&owner->limits)))
		return false;
	if (way == WAY_SAME_TENANT) {
		conf_tenant_of(owner->kept.name, of);
		if (strcmp(of, tenant) != 0)
			return false;
	}
	return budgets->conf == NULL ||
	    conf_function(budgets->conf, owner->kept.name) == NULL;
}

static struct budget_owner *
owner_choose(struct budgets *budgets, const char *tenant)
{
	for (int way = 0; way < WAYS; way++)
		for (uint32_t i = 0; i < budgets->count; i++) {
			struct budget_owner *owner = budgets->owners[
			    budgets->hand++ % budgets->count];

			if (gives_way(budgets, owner, (enum way)way, tenant))
				return owner;
		}
	return NULL;
}

static struct budget_owner *
owner_take_over(struct budgets *budgets, const char *name, bool is_tenant)
{
	struct budget_owner *owner;
	char tenant[CTL_NAME_MAX + 1];

	if (is_tenant)
		strcpy(tenant, name);
	else
		conf_tenant_of(name, tenant);
	owner = owner_choose(budgets, tenant);
	if (owner == NULL)
		return NULL;
	bucket_leave(budgets, owner);
	memset(&owner->kept, 0, sizeof(owner->kept));
	memset(&owner->limits, 0, sizeof(owner->limits));
	owner->is_new = false;
	return owner;
}

/* At the end; NULL without memory. */
static struct budget_owner *
owner_add(struct budgets *budgets)
{
	struct budget_owner *owner;

	if (budgets->count == budgets->size) {
		uint32_t size = budgets->size == 0 ? 64 : budgets->size * 2;
		struct budget_owner **grown = reallocarray(budgets->owners,
		    size, sizeof(struct budget_owner *));

		if (grown == NULL)
			return NULL;
		budgets->owners = grown;
		budgets->size = size;
	}
	owner = calloc(1, sizeof(*owner));
	if (owner == NULL)
		return NULL;
	owner->place = budgets->count;
	budgets->owners[budgets->count++] = owner;
	return owner;
}

static struct budget_owner *
owner_make(struct budgets *budgets, const char *name, bool is_tenant)
{
	struct budget_owner *owner = budgets->spare;

	if (owner != NULL)
		budgets->spare = owner->next;
	else if (budgets->count >= BUDGET_OWNERS_MAX)
		owner = owner_take_over(budgets, name, is_tenant);
	else
		owner = owner_add(budgets);
	return owner;
}

static void
bucket_enter(struct budgets *budgets, struct budget_owner *owner)
{
	struct budget_owner **bucket = &budgets->buckets[bucket_of(
	    owner->kept.name, owner->kept.is_tenant != 0)];

	owner->next = *bucket;
	*bucket = owner;
}

struct budget_owner *
budget_owner_find(struct budgets *budgets, const char *name, bool is_tenant,
    bool is_made)
{
	struct budget_owner *owner =
	    budgets->buckets[bucket_of(name, is_tenant)];

	while (owner != NULL && (owner->kept.is_tenant != is_tenant ||
	    strcmp(owner->kept.name, name) != 0))
		owner = owner->next;
	if (owner != NULL || !is_made)
		return owner;
	owner = owner_make(budgets, name, is_tenant);
	if (owner == NULL)
		return NULL;
	strncpy(owner->kept.name, name, sizeof(owner->kept.name) - 1);
	owner->kept.is_tenant = is_tenant;
	bucket_enter(budgets, owner);
	return owner;
}

bool
budget_owner_restore(struct budgets *budgets, const struct budget_kept *kept)
{
	struct budget_owner *owner = owner_add(budgets);

	if (owner == NULL)
		return false;
	if (kept != NULL) {
		owner->kept = *kept;
		bucket_enter(budgets, owner);
	} else {
		owner->next = budgets->spare;
		budgets->spare = owner;
	}
	return true;
}

/* ---- time ---- */

/*
 * A period that was begun is not begun again: where the clock has gone back over
 * midnight, what is used counts to the day after, as before.  Only one that lies
 * far ahead was the clock's error, and becomes today's, with what was used.
 */
void
budget_owner_roll(struct budget_owner *owner, const struct budget_now *now)
{
	struct budget_kept *kept = &owner->kept;

	for (size_t p = 0; p < BUDGET_PERIODS; p++) {
		if (now->period[p] == kept->period[p])
			continue;
		if (now->period[p] > kept->period[p]) {
			kept->use[p] = (struct budget_use){ 0 };
			kept->cost[p] = 0;
			kept->told[p] = LEVEL_NONE;
			kept->period[p] = now->period[p];
		} else if (kept->period[p] - now->period[p] > AHEAD_MAX) {
			kept->period[p] = now->period[p];
			if (p == BUDGET_MONTH)
				kept->meter.month = (int32_t)now->period[p];
		}
	}
}

static void
add(uint64_t *sum, uint64_t more)
{
	if (__builtin_add_overflow(*sum, more, sum))
		*sum = UINT64_MAX;
}

/* An execution belongs to the period in which it came, as in the ledger.  One
 * that ended after midnight is of a day that is over; but not if it is the clock
 * that went back. */
static bool
is_over(const struct budget_kept *kept, size_t p,
    const struct budget_charge *charge)
{
	return charge->then.period[p] < kept->period[p] &&
	    charge->now.period[p] >= kept->period[p];
}

void
budget_owner_charge(struct budgets *budgets, struct budget_owner *owner,
    const struct budget_charge *charge, money_int cost)
{
	struct budget_kept *kept = &owner->kept;

	budget_owner_roll(owner, &charge->latest);
	for (size_t p = 0; p < BUDGET_PERIODS; p++) {
		if (is_over(kept, p, charge))
			continue;
		add(&kept->use[p].executions, charge->usage.executions);
		add(&kept->use[p].mib_ms, (uint64_t)charge->usage.mib_ms);
		if (money_add(&kept->cost[p], cost) < 0)
			kept->cost[p] = COST_MAX;
	}
	kept->run_id = charge->run_id;
	kept->seq = charge->seq;
	budget_owner_touch(budgets, owner);
}

/* ---- money ---- */

/*
 * What it costs at the place on the axis of the tenant's month where it comes to
 * lie.  A clock that went back over a month's end goes on with that month's axis,
 * as all else does.
 */
money_int
budget_cost(struct budgets *budgets, struct budget_owner *tenant,
    const struct budget_charge *charge, bool is_known)
{
	struct budget_kept *kept = &tenant->kept;
	struct rate_meter copy;
	int32_t day = (int32_t)charge->then.period[BUDGET_DAY];
	money_int cost = 0;

	budget_owner_roll(tenant, &charge->latest);
	if (budgets->prices == NULL || is_over(kept, BUDGET_MONTH, charge))
		return 0;
	if (charge->then.period[BUDGET_MONTH] < kept->period[BUDGET_MONTH])
		day = civil_first_day((int32_t)kept->period[BUDGET_MONTH]);
	copy = kept->meter;
	return rate_meter_add(is_known ? &copy : &kept->meter,
	    budgets->prices, kept->name, charge->runtime, day, &charge->usage,
	    &cost) < 0 ? COST_MAX : cost;
}
