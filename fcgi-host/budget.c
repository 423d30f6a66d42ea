#include "fcgi-host/budget_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define SECOND_US UINT64_C(1000000)
#define AMOUNT_TEXT 48
/* Millionths of money in what rate.h counts costs in. */
#define COST_PER_MILLIONTH (MONEY_ONE / 1000000 * RATE_EXACT)

static const enum limit_key limit_keys[BUDGET_PERIODS][AMOUNT_COUNT] = {
	[BUDGET_DAY] = {
		[AMOUNT_EXECUTIONS] = LIMIT_BUDGET_DAY_EXECUTIONS,
		[AMOUNT_MIB_MS] = LIMIT_BUDGET_DAY_MIB_MS,
		[AMOUNT_MONEY] = LIMIT_BUDGET_DAY_MONEY,
	},
	[BUDGET_MONTH] = {
		[AMOUNT_EXECUTIONS] = LIMIT_BUDGET_MONTH_EXECUTIONS,
		[AMOUNT_MIB_MS] = LIMIT_BUDGET_MONTH_MIB_MS,
		[AMOUNT_MONEY] = LIMIT_BUDGET_MONTH_MONEY,
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
	strcpy(budgets->currency, conf == NULL ? "" : conf_currency(conf));
}

void
budgets_set_prices(struct budgets *budgets, const struct prices *prices)
{
	budgets->prices = prices;
}

/* Whether a budget in money can be kept. */
static bool
is_priced(const struct budgets *budgets)
{
	return budgets->prices != NULL && strcmp(budgets->currency,
	    prices_currency(budgets->prices)) == 0;
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
used_of(const struct budget_kept *kept, size_t period, size_t unit)
{
	money_int millionths;

	switch (unit) {
	case AMOUNT_EXECUTIONS:
		return kept->use[period].executions;
	case AMOUNT_MIB_MS:
		return kept->use[period].mib_ms;
	default:
		millionths = kept->cost[period] / COST_PER_MILLIONTH;
		return millionths > UINT64_MAX ? UINT64_MAX :
		    (uint64_t)millionths;
	}
}

static enum budget_level
level_of(uint64_t used, uint64_t most, uint64_t warn_percent)
{
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
		enum budget_level level;

		if (limits->most[p][u] == 0)
			continue;
		level = level_of(used_of(&owner->kept, p, u),
		    limits->most[p][u], limits->warn_percent);
		if (level > worst) {
			worst = level;
			*unit = u;
		}
	}
	return worst;
}

static void
level_log(const struct budgets *budgets, const struct budget_owner *owner,
    size_t p, size_t unit, enum budget_level level)
{
	const struct budget_kept *kept = &owner->kept;
	time_t end = (time_t)(budget_period_end_us((enum budget_period)p,
	    kept->period[p]) / SECOND_US);
	char used[AMOUNT_TEXT], most[AMOUNT_TEXT], until[32];
	struct tm tm;

	gmtime_r(&end, &tm);
	(void)strftime(until, sizeof(until), "%Y-%m-%dT%H:%M:%SZ", &tm);
	amounts_text((enum amount_unit)unit, used_of(kept, p, unit),
	    budgets->currency, used, sizeof(used));
	amounts_text((enum amount_unit)unit, owner->limits.most[p][unit],
	    budgets->currency, most, sizeof(most));
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
		level_log(budgets, owner, p, *unit, level);
	owner->kept.told[p] = (uint8_t)level;
	budget_owner_touch(budgets, owner);
	return level;
}

/* ---- admission ---- */

static const char *
reason_of(bool is_tenant, size_t period, size_t unit)
{
#define REASON(whose, what, period) \
	"the " whose "'s budget of " what " of this " period " is used up " \
	"(budget_" period ")"
#define REASONS(whose, period) { \
	[AMOUNT_EXECUTIONS] = REASON(whose, "executions", period), \
	[AMOUNT_MIB_MS] = REASON(whose, "GiB-s", period), \
	[AMOUNT_MONEY] = REASON(whose, "money", period) }
	static const char *const reasons[2][BUDGET_PERIODS][AMOUNT_COUNT] = {
		{ REASONS("function", "day"), REASONS("function", "month") },
		{ REASONS("tenant", "day"), REASONS("tenant", "month") },
	};

	return reasons[is_tenant][period][unit];
}

/* What is not known to be left is not spent. */
static bool
unpriced_refuse(struct budget_refusal *refusal)
{
	*refusal = (struct budget_refusal){ .status = 503, .retry_s = 60,
		.reason = "there is a budget in money, and no price book in "
		"its currency that can be used" };
	return true;
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

		if (owner->limits.most[p][AMOUNT_MONEY] != 0 &&
		    !is_priced(budgets))
			return unpriced_refuse(refusal);
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

	if (tenant == NULL || (own == NULL && budget_has_limits(&limits)))
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
    const struct budget_charge *charge, money_int cost)
{
	size_t unit;

	budget_owner_charge(budgets, owner, charge, cost);
	for (size_t p = 0; p < BUDGET_PERIODS; p++)
		(void)period_judge(budgets, owner, p, &unit);
}

static void
charge_both(struct budgets *budgets, const struct budget_charge *charge,
    uint64_t now_us)
{
	struct budget_owner *tenant = budget_owner_find(budgets,
	    charge->tenant, true, true);
	struct budget_owner *own = budget_owner_find(budgets,
	    charge->function, false, true);
	money_int cost = 0;

	if (tenant == NULL || own == NULL)
		full_log(budgets, now_us);
	if (tenant != NULL) {
		tenant_limits_renew(budgets, tenant);
		cost = budget_cost(budgets, tenant, charge, false);
		owner_charge(budgets, tenant, charge, cost);
	}
	if (own != NULL)
		owner_charge(budgets, own, charge, cost);
}

void
budgets_charge(struct budgets *budgets, const struct record_exec *record,
    uint64_t run_id, uint64_t now_us)
{
	struct budget_charge charge = {
		.tenant = record->tenant, .function = record->function,
		.runtime = record->runtime, .run_id = run_id,
		.seq = record->seq,
		.usage = { .executions = 1,
			.mib_ms = record_mib_ms(record->mem_limit_mib,
			    record_billed_ms(record)),
			.cpu_us = record->cpu_us,
			.bytes_out = record->bytes_out },
	};

	if (record->outcome == OUTCOME_REFUSED ||
	    record->outcome == OUTCOME_LOST || record->function[0] == '\0')
		return;
	budget_charge_time(budgets, &charge, record->time_us, now_us);
	charge_both(budgets, &charge, now_us);
}

void
budgets_charge_instance(struct budgets *budgets,
    const struct record_instance *record, uint64_t run_id, uint64_t now_us)
{
	struct budget_charge charge = {
		.tenant = record->tenant, .function = record->function,
		.runtime = record->runtime, .run_id = run_id,
		.seq = record->seq,
		.usage = { .cpu_us = record->start_cpu_us +
			record->idle_cpu_us,
			.idle_mib_ms = record_mib_ms(record->mem_limit_mib,
			    (record->idle_us + 999) / 1000) },
	};

	budget_charge_time(budgets, &charge, record->time_us, now_us);
	charge_both(budgets, &charge, now_us);
}

/* ---- telling ---- */

void
budgets_tell_begin(struct budgets *budgets)
{
	budgets->telling++;
}

static void
owner_tell(const struct budgets *budgets, struct budget_owner *owner,
    const struct budget_now *now,
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
				.currency = budgets->currency,
				.used = used_of(&owner->kept, p, u),
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
	struct budget_owner *own = budget_has_limits(&limits) ?
	    budget_owner_find(budgets, function->name, false, true) : NULL;

	if (tenant != NULL && tenant->told_in != budgets->telling) {
		tenant->told_in = budgets->telling;
		tenant_limits_renew(budgets, tenant);
		owner_tell(budgets, tenant, &now, fn, arg);
	}
	if (own == NULL)
		return;
	own->limits = limits;
	owner_tell(budgets, own, &now, fn, arg);
}
