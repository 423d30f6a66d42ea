/*
 * What the files of the budget room share: budget.c (who may, and who is charged
 * what), budget_owner.c (who there is, and what he used), budget_time.c (days and
 * months), budget_file.c (what outlives the process).  Included by nobody else.
 */
#ifndef FCGI_HOST_BUDGET_IMPL_H
#define FCGI_HOST_BUDGET_IMPL_H

#include "fcgi-host/budget.h"
#include "fcgi-host/budget_file.h"
#include "fcgi-host/log.h"
#include "fcgi-host/rate.h"

#define BUDGET_OWNERS_MAX 65536u
#define BUDGET_BUCKETS 4096u

/* Sums; they stop at the greatest number. */
struct budget_use {
	uint64_t executions, mib_ms;
};

/* How much of a budget has been told of. */
enum budget_level { LEVEL_NONE, LEVEL_WARNED, LEVEL_USED_UP };

/* What is kept. */
struct budget_kept {
	char name[CTL_NAME_MAX + 1];
	uint8_t is_tenant;
	uint8_t told[BUDGET_PERIODS];   /* enum budget_level */
	uint32_t period[BUDGET_PERIODS]; /* as civil.h counts days and months */
	uint64_t run_id, seq; /* up to this line it is true */
	struct budget_use use[BUDGET_PERIODS];
	money_int cost[BUDGET_PERIODS]; /* exact, as rate_meter_add has it */
	struct rate_meter meter; /* of a tenant: his month's axis */
};

struct budget_limits {
	uint64_t most[BUDGET_PERIODS][AMOUNT_COUNT]; /* 0: none */
	uint64_t warn_percent;
	int status;
};

struct budget_owner {
	struct budget_kept kept;
	struct budget_limits limits;
	uint64_t generation;      /* of a tenant's limits */
	uint64_t told_in;         /* see budgets_tell_begin */
	uint32_t place;           /* in the file */
	struct budget_owner *next; /* of its bucket, or of the spare ones */
	struct budget_owner *next_dirty;
	bool is_dirty;
	bool is_new;              /* made by the reading that goes on */
};

struct budgets {
	const struct conf *conf;
	const struct prices *prices;
	char currency[AMOUNT_CURRENCY_SIZE]; /* of the budgets in money */
	uint64_t generation, telling;
	struct budget_owner *buckets[BUDGET_BUCKETS];
	struct budget_owner **owners; /* by place */
	uint32_t count, size, hand;
	struct budget_owner *dirty, *spare;
	struct log_limit full_limit, save_limit;
	/* the month of the day that was asked for last */
	uint32_t day, month;
	struct budget_keeper keeper;
};

struct budget_now {
	uint32_t period[BUDGET_PERIODS];
};

/* A line of the log, as it is charged. */
struct budget_charge {
	const char *tenant, *function, *runtime;
	uint64_t run_id, seq;
	struct rate_usage usage;
	/* when it came, when it is charged, and the later of these: the clock may
	 * have gone back between */
	struct budget_now then, now, latest;
};

/* budget_time.c */
struct budget_now budget_now_of(struct budgets *budgets, uint64_t time_us);
void budget_charge_time(struct budgets *budgets, struct budget_charge *charge,
    uint64_t time_us, uint64_t now_us);
/* When the period ends, CLOCK_REALTIME. */
uint64_t budget_period_end_us(enum budget_period period, uint32_t value);
const char *budget_period_key(enum budget_period period);

/* NULL: not there, and (with is_made) no room or memory for it. */
struct budget_owner *budget_owner_find(struct budgets *budgets,
    const char *name, bool is_tenant, bool is_made);
/* One of the next place, with what was kept of it; NULL: nothing, and the place
 * is free for another.  False: no memory. */
bool budget_owner_restore(struct budgets *budgets,
    const struct budget_kept *kept);
void budget_owner_touch(struct budgets *budgets, struct budget_owner *owner);
/* A new period begins with nothing used. */
void budget_owner_roll(struct budget_owner *owner,
    const struct budget_now *now);
/* What it costs the tenant; is_known: he is charged for it already. */
money_int budget_cost(struct budgets *budgets, struct budget_owner *tenant,
    const struct budget_charge *charge, bool is_known);
/* Adds what belongs to the owner's periods. */
void budget_owner_charge(struct budgets *budgets, struct budget_owner *owner,
    const struct budget_charge *charge, money_int cost);
bool budget_has_limits(const struct budget_limits *limits);

#endif
