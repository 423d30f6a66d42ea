#include "fcgi-host/budget_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

/* A clock that was wrong for a while may have put a period that far ahead: what
 * lies more than one ahead is taken for that. */
#define AHEAD_MAX 1
#define SECOND_US UINT64_C(1000000)
#define AMOUNT_TEXT 48

static const enum limit_key limit_keys[BUDGET_PERIODS][AMOUNT_COUNT] = {
	[BUDGET_DAY] = {
		[AMOUNT_EXECUTIONS] = LIMIT_BUDGET_DAY_EXECUTIONS,
		[AMOUNT_MIB_MS] = LIMIT_BUDGET_DAY_MIB_MS,
	},
	[BUDGET_MONTH] = {
		[AMOUNT_EXECUTIONS] = LIMIT_BUDGET_MONTH_EXECUTIONS,
		[AMOUNT_MIB_MS] = LIMIT_BUDGET_MONTH_MIB_MS,
	},
};

_Static_assert(AMOUNT_COUNT == CTL_BUDGET_UNITS, "status knows the units");

struct budgets *
budgets_new(void)
{
	struct budgets *budgets = calloc(1, sizeof(*budgets));

	if (budgets == NULL)
		return NULL;
	budgets->keeper.fd = -1;
	budgets->day = UINT32_MAX;
	budgets->generation = 1;
	return budgets;
}

void
budgets_free(struct budgets *budgets)
{
	if (budgets == NULL)
		return;
	for (uint32_t i = 0; i < budgets->count; i++)
		free(budgets->owners[i]);
	free(budgets->owners);
	close_fd(&budgets->keeper.fd);
	free(budgets);
}

void
budgets_set_conf(struct budgets *budgets, const struct conf *conf)
{
	budgets->conf = conf;
	budgets->generation++;
}

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

static bool
has_limits(const struct budget_limits *limits)
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

/* With 65,536 of them a new one takes the place of one without a budget. */
static struct budget_owner *
owner_take_over(struct budgets *budgets)
{
	for (uint32_t i = 0; i < budgets->count; i++) {
		struct budget_owner *owner =
		    budgets->owners[budgets->hand++ % budgets->count];

		if (has_limits(&owner->limits))
			continue;
		bucket_leave(budgets, owner);
		memset(&owner->kept, 0, sizeof(owner->kept));
		owner->generation = 0;
		return owner;
	}
	return NULL;
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
owner_make(struct budgets *budgets)
{
	struct budget_owner *owner = budgets->spare;

	if (owner != NULL)
		budgets->spare = owner->next;
	else if (budgets->count >= BUDGET_OWNERS_MAX)
		owner = owner_take_over(budgets);
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
	owner = owner_make(budgets);
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
			kept->told[p] = LEVEL_NONE;
			kept->period[p] = now->period[p];
		} else if (kept->period[p] - now->period[p] > AHEAD_MAX) {
			kept->period[p] = now->period[p];
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
void
budget_owner_add(struct budget_owner *owner, const struct budget_now *then,
    const struct budget_now *now, const struct budget_use *use)
{
	struct budget_kept *kept = &owner->kept;

	for (size_t p = 0; p < BUDGET_PERIODS; p++) {
		struct budget_use *sum = &kept->use[p];

		if (then->period[p] < kept->period[p] &&
		    now->period[p] >= kept->period[p])
			continue;
		add(&sum->executions, use->executions);
		add(&sum->mib_ms, use->mib_ms);
		add(&sum->cpu_us, use->cpu_us);
		add(&sum->bytes_out, use->bytes_out);
		add(&sum->idle_mib_ms, use->idle_mib_ms);
	}
}

/* ---- limits ---- */

static struct budget_limits
limits_of(const struct limits *limits)
{
	struct budget_limits out = {
		.warn_percent = limits->value[LIMIT_BUDGET_WARN_PERCENT],
		.status = limits->value[LIMIT_BUDGET_STATUS] == 402 ? 402 :
		    429,
	};

	for (size_t p = 0; p < BUDGET_PERIODS; p++)
		for (size_t u = 0; u < AMOUNT_COUNT; u++)
			out.most[p][u] = limits->value[limit_keys[p][u]];
	return out;
}

/* The configuration's sections are a list: it is walked once for each tenant. */
static void
tenant_limits_renew(struct budgets *budgets, struct budget_owner *owner)
{
	struct limits limits;

	if (owner->generation == budgets->generation || budgets->conf == NULL)
		return;
	conf_tenant_limits(budgets->conf, owner->kept.name, &limits);
	owner->limits = limits_of(&limits);
	owner->generation = budgets->generation;
}

static uint64_t
used_of(const struct budget_use *use, size_t unit)
{
	return unit == AMOUNT_EXECUTIONS ? use->executions : use->mib_ms;
}

static enum budget_level
level_of(uint64_t used, uint64_t most, uint64_t warn_percent)
{
	if (most == 0)
		return LEVEL_NONE;
	if (used >= most)
		return LEVEL_USED_UP;
	/* rounded up, and the product fits */
	return used >= most / 100 * warn_percent +
	    (most % 100 * warn_percent + 99) / 100 ? LEVEL_WARNED :
	    LEVEL_NONE;
}

/* The worst of a period's units; *unit is which. */
static enum budget_level
period_level(const struct budget_owner *owner, size_t p, size_t *unit)
{
	const struct budget_limits *limits = &owner->limits;
	enum budget_level worst = LEVEL_NONE;

	*unit = 0;
	for (size_t u = 0; u < AMOUNT_COUNT; u++) {
		enum budget_level level = level_of(
		    used_of(&owner->kept.use[p], u), limits->most[p][u],
		    limits->warn_percent);

		if (level > worst) {
			worst = level;
			*unit = u;
		}
	}
	return worst;
}

static void
level_log(const struct budget_owner *owner, size_t p, size_t unit,
    enum budget_level level)
{
	const struct budget_kept *kept = &owner->kept;
	time_t end = (time_t)(budget_period_end_us((enum budget_period)p,
	    kept->period[p]) / SECOND_US);
	char used[AMOUNT_TEXT], most[AMOUNT_TEXT], until[32];
	struct tm tm;

	gmtime_r(&end, &tm);
	(void)strftime(until, sizeof(until), "%Y-%m-%dT%H:%M:%SZ", &tm);
	amounts_text((enum amount_unit)unit, used_of(&kept->use[p], unit),
	    used, sizeof(used));
	amounts_text((enum amount_unit)unit, owner->limits.most[p][unit],
	    most, sizeof(most));
	log_event(LOG_WARN, level == LEVEL_USED_UP ? "budget_used_up" :
	    "budget_warning", "%s=%s key=%s used=\"%s\" budget=\"%s\" "
	    "until=%s mend=\"%s\"", kept->is_tenant != 0 ? "tenant" :
	    "function", kept->name,
	    budget_period_key((enum budget_period)p), used, most, until,
	    level == LEVEL_USED_UP ? "its requests are refused until then; "
	    "raise the budget and reload, or wait" :
	    "raise the budget and reload, if that is not meant");
}

/* Each is told once in a period; and anew, if the budget was raised between. */
static enum budget_level
period_judge(struct budgets *budgets, struct budget_owner *owner, size_t p,
    size_t *unit)
{
	enum budget_level level = period_level(owner, p, unit);

	if (level == owner->kept.told[p])
		return level;
	if (level > owner->kept.told[p])
		level_log(owner, p, *unit, level);
	owner->kept.told[p] = (uint8_t)level;
	budget_owner_touch(budgets, owner);
	return level;
}

/* ---- admission ---- */

static const char *
reason_of(bool is_tenant, size_t period, size_t unit)
{
	static const char *const reasons[2][BUDGET_PERIODS][AMOUNT_COUNT] = {
		{ { "the function's budget of executions of this day is used "
		    "up (budget_day)",
		    "the function's budget of GiB-s of this day is used up "
		    "(budget_day)" },
		  { "the function's budget of executions of this month is "
		    "used up (budget_month)",
		    "the function's budget of GiB-s of this month is used up "
		    "(budget_month)" } },
		{ { "the tenant's budget of executions of this day is used "
		    "up (budget_day)",
		    "the tenant's budget of GiB-s of this day is used up "
		    "(budget_day)" },
		  { "the tenant's budget of executions of this month is used "
		    "up (budget_month)",
		    "the tenant's budget of GiB-s of this month is used up "
		    "(budget_month)" } },
	};

	return reasons[is_tenant][period][unit];
}

/* The one that ends last: who comes back then is not refused by another. */
static bool
owner_refuses(struct budgets *budgets, struct budget_owner *owner,
    uint64_t now_us, struct budget_refusal *refusal)
{
	bool is_refused = false;

	for (size_t p = 0; p < BUDGET_PERIODS; p++) {
		uint64_t end_us;
		size_t unit;

		if (period_judge(budgets, owner, p, &unit) != LEVEL_USED_UP)
			continue;
		end_us = budget_period_end_us((enum budget_period)p,
		    owner->kept.period[p]);
		refusal->reason = reason_of(owner->kept.is_tenant != 0, p,
		    unit);
		refusal->status = owner->limits.status;
		refusal->retry_s = end_us <= now_us ? 1 :
		    (end_us - now_us + SECOND_US - 1) / SECOND_US;
		is_refused = true;
	}
	return is_refused;
}

static void
full_log(struct budgets *budgets, uint64_t now_us)
{
	uint32_t suppressed;

	if (log_limit_pass(&budgets->full_limit, 1, 10000, now_us,
	    &suppressed))
		log_event(LOG_ERROR, "budgets_full", "most=%u mend=\"no more "
		    "tenants and functions can be counted: take budgets from "
		    "some, or functions away\"", BUDGET_OWNERS_MAX);
}

/* A budget that cannot be counted is none that could be kept: it refuses. */
static bool
uncounted_refuse(struct budgets *budgets, uint64_t now_us,
    struct budget_refusal *refusal)
{
	full_log(budgets, now_us);
	*refusal = (struct budget_refusal){ .status = 503, .retry_s = 1,
		.reason = "what is used of the budget cannot be counted now" };
	return true;
}

bool
budgets_refuse(struct budgets *budgets, const struct ctl_function *function,
    uint64_t now_us, struct budget_refusal *refusal)
{
	struct budget_now now = budget_now_of(budgets, now_us);
	struct budget_limits limits = limits_of(&function->limits);
	struct budget_owner *tenant = budget_owner_find(budgets,
	    function->tenant, true, true);
	struct budget_owner *own = budget_owner_find(budgets, function->name,
	    false, true);

	if (tenant == NULL || (own == NULL && has_limits(&limits)))
		return uncounted_refuse(budgets, now_us, refusal);
	tenant_limits_renew(budgets, tenant);
	budget_owner_roll(tenant, &now);
	if (owner_refuses(budgets, tenant, now_us, refusal))
		return true;
	if (own == NULL)
		return false;
	own->limits = limits;
	budget_owner_roll(own, &now);
	return owner_refuses(budgets, own, now_us, refusal);
}

/* ---- charging ---- */

static void
owner_charge(struct budgets *budgets, struct budget_owner *owner,
    const struct record_exec *record, uint64_t run_id, uint64_t now_us)
{
	const struct budget_use use = {
		.executions = 1,
		.mib_ms = record->mem_limit_mib * record_billed_ms(record),
		.cpu_us = record->cpu_us,
		.bytes_out = record->bytes_out,
	};
	struct budget_now now = budget_now_of(budgets, now_us);
	struct budget_now then = budget_now_of(budgets, record->time_us);
	size_t unit;

	budget_owner_roll(owner, record->time_us > now_us ? &then : &now);
	budget_owner_add(owner, &then, &now, &use);
	owner->kept.run_id = run_id;
	owner->kept.seq = record->seq;
	budget_owner_touch(budgets, owner);
	for (size_t p = 0; p < BUDGET_PERIODS; p++)
		(void)period_judge(budgets, owner, p, &unit);
}

void
budgets_charge(struct budgets *budgets, const struct record_exec *record,
    uint64_t run_id, uint64_t now_us)
{
	struct budget_owner *tenant, *own;

	if (record->outcome == OUTCOME_REFUSED ||
	    record->outcome == OUTCOME_LOST || record->function[0] == '\0')
		return;
	tenant = budget_owner_find(budgets, record->tenant, true, true);
	own = budget_owner_find(budgets, record->function, false, true);
	if (tenant == NULL || own == NULL)
		full_log(budgets, now_us);
	if (tenant != NULL) {
		tenant_limits_renew(budgets, tenant);
		owner_charge(budgets, tenant, record, run_id, now_us);
	}
	if (own != NULL)
		owner_charge(budgets, own, record, run_id, now_us);
}

/* ---- telling ---- */

void
budgets_tell_begin(struct budgets *budgets)
{
	budgets->telling++;
}

static void
owner_tell(struct budget_owner *owner, const struct budget_now *now,
    void (*fn)(const struct budget_fact *fact, void *arg), void *arg)
{
	budget_owner_roll(owner, now);
	for (size_t p = 0; p < BUDGET_PERIODS; p++)
		for (size_t u = 0; u < AMOUNT_COUNT; u++) {
			const struct budget_fact fact = {
				.owner = owner->kept.name,
				.is_tenant = owner->kept.is_tenant != 0,
				.period = (enum budget_period)p,
				.unit = (enum amount_unit)u,
				.used = used_of(&owner->kept.use[p], u),
				.most = owner->limits.most[p][u],
				.ends_us = budget_period_end_us(
				    (enum budget_period)p,
				    owner->kept.period[p]),
			};

			if (fact.most != 0)
				fn(&fact, arg);
		}
}

void
budgets_tell(struct budgets *budgets, const struct ctl_function *function,
    uint64_t now_us, void (*fn)(const struct budget_fact *fact, void *arg),
    void *arg)
{
	struct budget_now now = budget_now_of(budgets, now_us);
	struct budget_limits limits = limits_of(&function->limits);
	struct budget_owner *tenant = budget_owner_find(budgets,
	    function->tenant, true, true);
	struct budget_owner *own = has_limits(&limits) ?
	    budget_owner_find(budgets, function->name, false, true) : NULL;

	if (tenant != NULL && tenant->told_in != budgets->telling) {
		tenant->told_in = budgets->telling;
		tenant_limits_renew(budgets, tenant);
		owner_tell(tenant, &now, fn, arg);
	}
	if (own == NULL)
		return;
	own->limits = limits;
	owner_tell(own, &now, fn, arg);
}
