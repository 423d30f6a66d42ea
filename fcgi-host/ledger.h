/*
 * The accounting log as the gateway holds it: space reserved before an
 * execution is admitted, the lines of an iteration written with one write,
 * and only then what waits for them released.  The one writer of that file.
 * Knows descriptors and lines, nothing of requests.
 */
#ifndef FCGI_HOST_LEDGER_H
#define FCGI_HOST_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/budget.h"
#include "fcgi-host/inflight.h"
#include "fcgi-host/record.h"

/* Who waits for a line: called once, from ledger_flush; error 0: the line is
 * in the file (and on the disk with sync); else a negative errno: the line is
 * kept and written later, but the answer must not be completed. */
struct ledger_entry {
	struct ledger_entry *next;
	void (*fn)(void *arg, int error);
	void *arg;
};

struct ledger;

/* inflight is borrowed.  NULL: no memory. */
struct ledger *ledger_new(struct inflight *inflight, uint64_t run_id);
/* Gives unused reserved space back and closes. */
void ledger_free(struct ledger *ledger);
void ledger_set_sync(struct ledger *ledger, bool is_sync);
/* Whom the executions are charged to as their lines are made (borrowed; NULL:
 * nobody). */
void ledger_set_budgets(struct ledger *ledger, struct budgets *budgets);
/* From here on each line is chained by this key, and the next host record says
 * so.  Before the first switch, or behind all lines of the key before.  0 or
 * -ENOMEM. */
int ledger_set_chain(struct ledger *ledger,
    const uint8_t key[CHAIN_KEY_SIZE]);
/* The mac of the last line, written or not.  NULL: they are not chained. */
const struct chain_mac *ledger_head(const struct ledger *ledger);

/*
 * Goes on in the file fd (taken, O_APPEND|O_RDWR); what was pending is
 * written to the old one first.  A torn last line is cut off.  With is_again
 * the file's last seq is compared with the table's, if the table's run wrote
 * that line.  0 or negative errno: the old file stays.  -EBADMSG: the last line
 * of the new one is no record.
 */
int ledger_switch(struct ledger *ledger, int fd, bool is_again);

/* After the first switch: makes the table this run's, if it holds an earlier
 * run's debts or none.  charged_us: of the clock, what is recorded already. */
void ledger_begin(struct ledger *ledger, uint64_t charged_us);

/* Reserves the space of one line to come.  0; or negative errno: there will be
 * none. */
int ledger_reserve(struct ledger *ledger);
/* The same for an execution: it must not run, which is counted for the next host
 * record. */
int ledger_admit(struct ledger *ledger);
/* Whether one could be reserved: 0, or the negative errno of what is in the way.
 * Counts nothing. */
int ledger_probe(struct ledger *ledger);
/* Gives an admission back that led to no line. */
void ledger_release(struct ledger *ledger);

/*
 * Appends a line to the batch and uses up one admission; sets the record's
 * seq.  0 or -ENOMEM (then entry is not called and the admission stands).
 */
int ledger_exec(struct ledger *ledger, struct record_exec *record,
    struct ledger_entry *entry);
int ledger_instance(struct ledger *ledger, struct record_instance *record);
/* Needs no admission.  has_totals and cgroup_* of the record are the caller's. */
int ledger_host(struct ledger *ledger, struct record_host *record);

/* Writes the batch; call at the end of every iteration. */
void ledger_flush(struct ledger *ledger);
/* Lines that could not be written wait: call ledger_flush again later. */
bool ledger_is_failing(const struct ledger *ledger);

/* What an administrator does about such an errno: a clause, static. */
const char *ledger_mend(int error);

uint64_t ledger_seq(const struct ledger *ledger);
/* Refused by ledger_admit since the last host record. */
uint64_t ledger_refused(const struct ledger *ledger);
uint64_t ledger_errors(const struct ledger *ledger);

#endif
