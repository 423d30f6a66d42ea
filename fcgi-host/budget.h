/*
 * What tenants and functions have used of this day and this month (UTC), and
 * whether that is all they may.  An execution is charged where its line is put
 * into the ledger's batch, and kept in a file (STATE/budgets) together with how
 * far the log was read into it, so that after any death the log's tail says the
 * rest.  Gateway only; the file comes to it as a descriptor.
 *
 * Everybody is counted, with a budget or without: one that a reload sets holds
 * for what was used before it, too.
 */
#ifndef FCGI_HOST_BUDGET_H
#define FCGI_HOST_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/amounts.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/prices.h"
#include "fcgi-host/record.h"

enum budget_period { BUDGET_DAY, BUDGET_MONTH, BUDGET_PERIODS };

struct budgets;

struct budgets *budgets_new(void);
void budgets_free(struct budgets *budgets);

/* The tenants' budgets are this configuration's from now on (borrowed). */
void budgets_set_conf(struct budgets *budgets, const struct conf *conf);

/* The price book for budgets in money (borrowed); NULL: there is none, and those
 * refuse. */
void budgets_set_prices(struct budgets *budgets, const struct prices *prices);

/* What a refused request is told. */
struct budget_refusal {
	int status;
	const char *reason; /* static */
	uint64_t retry_s;   /* until the period ends */
};

/* Whether a budget of the function's or of its tenant's is used up, at now_us of
 * CLOCK_REALTIME.  Costs two look-ups and no system call. */
bool budgets_refuse(struct budgets *budgets,
    const struct ctl_function *function, uint64_t now_us,
    struct budget_refusal *refusal);

/* The execution's line is in the batch; record->seq is its line's, run_id the
 * run's that writes it.  What is refused or lost is not charged. */
void budgets_charge(struct budgets *budgets, const struct record_exec *record,
    uint64_t run_id, uint64_t now_us);

/* The same of an instance's line: its time and work between executions, which
 * may have a price. */
void budgets_charge_instance(struct budgets *budgets,
    const struct record_instance *record, uint64_t run_id, uint64_t now_us);

/* One budget that there is, for `status`. */
struct budget_fact {
	const char *owner; /* a tenant's name, or a function's */
	bool is_tenant;
	enum budget_period period;
	enum amount_unit unit;
	const char *currency; /* of money */
	uint64_t used, most;
	uint64_t ends_us; /* CLOCK_REALTIME */
};

/* Visits the function's budgets and its tenant's; the latter once since the last
 * budgets_tell_begin. */
void budgets_tell_begin(struct budgets *budgets);
void budgets_tell(struct budgets *budgets,
    const struct ctl_function *function, uint64_t now_us,
    void (*fn)(const struct budget_fact *fact, void *arg), void *arg);

#endif
