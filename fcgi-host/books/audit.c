#include "fcgi-host/books/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd_table.h"

/* The kernel's clocks of a program and of the wall are not read in one moment. */
#define CPU_SLACK_US 50000
/* What an instance that is being made or ended has used nobody knows yet; of a
 * run that has ended all is known but what one reading is late. */
#define RUNNING_SLACK_US 50000
#define ENDED_SLACK_US 10000

/* What a host record tells, and what had been recorded by then. */
struct reading {
	const char *event; /* static; NULL: there was none */
	uint64_t clock_us, open_us, recorded_us;
};

struct run {
	uint64_t id;
	uint64_t executions, recorded_us;
	bool is_whole;      /* its first record is there */
	struct reading first, last;
	/* Of its start: the clock of those that died before it, 0, and what of
	 * that stands in no record. */
	uint64_t left_us, left_lost_us;
};

struct audit {
	uint64_t cores;
	struct run *runs;
	size_t count, room, at;
};

/* A run's balance, from its first reading (or its beginning) to its last. */
struct balance {
	const char *until; /* NULL: there is no clock to hold it against */
	uint64_t recorded_us, clock_us;
	int64_t open_us, missing_us;
	bool is_right;
};

struct audit *
audit_new(uint64_t cores)
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (audit != NULL)
		audit->cores = cores;
	return audit;
}

void
audit_free(struct audit *audit)
{
	if (audit == NULL)
		return;
	free(audit->runs);
	free(audit);
}

/* ---- records ---- */

static struct run *
run_of(struct audit *audit, uint64_t id)
{
	size_t room = audit->room == 0 ? 16 : audit->room * 2;
	struct run *runs;

	if (audit->at < audit->count && audit->runs[audit->at].id == id)
		return &audit->runs[audit->at];
	for (audit->at = 0; audit->at < audit->count; audit->at++)
		if (audit->runs[audit->at].id == id)
			return &audit->runs[audit->at];
	if (audit->count == audit->room) {
		runs = reallocarray(audit->runs, room, sizeof(*runs));
		if (runs == NULL)
			return NULL;
		audit->runs = runs;
		audit->room = room;
	}
	audit->runs[audit->count] = (struct run){ .id = id };
	return &audit->runs[audit->count++];
}

static const char *
exec_problem(const struct entry *e, uint64_t cores)
{
	bool is_lost = span_is(e->outcome, "lost");
	uint64_t most_us, billed_ms, mib_ms;

	if (__builtin_mul_overflow(e->run_us, cores, &most_us) ||
	    most_us > UINT64_MAX - CPU_SLACK_US)
		return "run_us is longer than any time";
	if (!is_lost && e->cpu_us > most_us + CPU_SLACK_US)
		return "cpu_us is more than all processors had in run_us";
	if (e->init_us > UINT64_MAX - e->run_us - 999)
		return "init_us is longer than any time";
	billed_ms = span_is(e->outcome, "refused") ? 0 :
	    (e->init_us + e->run_us + 999) / 1000;
	if (e->billed_ms != billed_ms)
		return "billed_ms is not init_us and run_us, rounded up";
	if (__builtin_mul_overflow(e->mem_limit_mib, billed_ms, &mib_ms))
		mib_ms = UINT64_MAX;
	if (e->mib_ms != mib_ms)
		return "mib_ms is not mem_limit_mib times billed_ms";
	if (e->sandbox_us > e->init_us)
		return "sandbox_us is more than init_us";
	return !is_lost && e->program_us > e->run_us ?
	    "program_us is more than run_us" : NULL;
}

static const char *
instance_problem(const struct entry *e)
{
	if (e->idle_us > e->lifetime_us)
		return "idle_us is more than lifetime_us";
	return e->start_cpu_us > UINT64_MAX - e->idle_cpu_us ?
	    "start_cpu_us is more than any clock shows" : NULL;
}

/* No further than to where a difference of two of them is a number. */
static uint64_t
add_up(uint64_t a, uint64_t b)
{
	return b > INT64_MAX || a > INT64_MAX - b ? INT64_MAX : a + b;
}

static const char *
host_event(const struct entry *e)
{
	static const char *const events[] = { "stop", "totals", "reopen",
		"restart", "reload", "refused" };

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (span_is(e->event, events[i]))
			return events[i];
	return "other";
}

static const char *
host_add(struct run *run, const struct entry *e)
{
	struct reading reading = { .event = host_event(e),
		.clock_us = e->cgroup_cpu_us, .open_us = e->open_cpu_us };

	if (e->cgroup_cpu_us > INT64_MAX)
		return "cgroup_cpu_us is more than any clock shows";
	if (span_is(e->event, "start")) {
		run->left_us = e->cgroup_cpu_us;
		run->left_lost_us = e->lost_cpu_us;
		return NULL;
	}
	run->recorded_us = add_up(run->recorded_us, e->lost_cpu_us);
	reading.recorded_us = run->recorded_us;
	if (!e->has_totals)
		return NULL;
	if (e->open_cpu_us > e->cgroup_cpu_us)
		return "open_cpu_us is more than cgroup_cpu_us";
	if (run->last.event != NULL && run->last.clock_us > e->cgroup_cpu_us)
		return "cgroup_cpu_us is less than it was before";
	if (run->first.event == NULL)
		run->first = reading;
	run->last = reading;
	return NULL;
}

int
audit_add(struct audit *audit, const struct entry *entry,
    const char **problem)
{
	uint64_t used_us = entry->cpu_us;
	struct run *run;

	*problem = entry->type == ENTRY_EXEC ?
	    exec_problem(entry, audit->cores) :
	    entry->type == ENTRY_INSTANCE ? instance_problem(entry) : NULL;
	/* what a lost one used stands in lost_cpu_us */
	if (entry->type == ENTRY_EXEC && span_is(entry->outcome, "lost"))
		return 0;
	run = run_of(audit, entry->run);
	if (run == NULL)
		return -ENOMEM;
	if (entry->seq == 1)
		run->is_whole = true;
	if (entry->type == ENTRY_HOST) {
		*problem = host_add(run, entry);
		return 0;
	}
	if (entry->type == ENTRY_INSTANCE)
		used_us = add_up(entry->start_cpu_us, entry->idle_cpu_us);
	else
		run->executions++;
	run->recorded_us = add_up(run->recorded_us, used_us);
	return 0;
}

/* ---- balances ---- */

/* Runs are called after the time of their start. */
static int
compare(const void *a, const void *b)
{
	const struct run *one = a, *other = b;

	return (one->id > other->id) - (one->id < other->id);
}

/* The last word about it: its own, or what the host behind it found.  That is of
 * all that died in a row, and without its own beginning nobody knows its part. */
static struct reading
last_of(const struct run *run, const struct run *next)
{
	struct reading reading = run->last;

	if ((reading.event == NULL || strcmp(reading.event, "stop") != 0) &&
	    run->is_whole && next != NULL && next->left_us > run->left_us)
		reading = (struct reading){ .event = "next start",
			.clock_us = next->left_us - run->left_us,
			.recorded_us = add_up(run->recorded_us,
			    next->left_lost_us) };
	return reading;
}

static uint64_t
size_of(int64_t value)
{
	return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

static struct balance
balance_of(const struct run *run, const struct run *next)
{
	struct reading last = last_of(run, next), first = { .event = NULL };
	struct balance b = { .until = last.event, .is_right = true };
	uint64_t slack_us;

	if (!run->is_whole)
		first = run->first;
	if (last.event == NULL || (!run->is_whole &&
	    (first.event == NULL || first.clock_us >= last.clock_us))) {
		b.until = NULL;
		return b;
	}
	b.recorded_us = last.recorded_us - first.recorded_us;
	b.clock_us = last.clock_us - first.clock_us;
	b.open_us = (int64_t)(last.open_us - first.open_us);
	if (__builtin_sub_overflow((int64_t)b.clock_us - (int64_t)b.recorded_us,
	    b.open_us, &b.missing_us))
		b.missing_us = b.open_us > 0 ? INT64_MIN : INT64_MAX;
	slack_us = strcmp(last.event, "stop") == 0 && run->is_whole ?
	    ENDED_SLACK_US : RUNNING_SLACK_US;
	if (b.clock_us / 100 > slack_us)
		slack_us = b.clock_us / 100;
	b.is_right = size_of(b.missing_us) <= slack_us;
	return b;
}

/* Each run with its balance, in order. */
static int
each(struct audit *audit, bool *is_balanced, struct buf *out,
    int (*put)(struct buf *out, struct cmd_table *table,
    const struct run *run, const struct balance *balance),
    struct cmd_table *table)
{
	int error = 0;
	size_t i;

	*is_balanced = true;
	if (audit->count > 0)
		qsort(audit->runs, audit->count, sizeof(*audit->runs),
		    compare);
	for (i = 0; i < audit->count && error == 0; i++) {
		const struct run *run = &audit->runs[i];
		struct balance balance = balance_of(run,
		    i + 1 < audit->count ? run + 1 : NULL);

		*is_balanced &= balance.is_right;
		error = put(out, table, run, &balance);
	}
	return error;
}

static int
put_json(struct buf *out, struct cmd_table *table, const struct run *run,
    const struct balance *b)
{
	(void)table;
	if (b->until == NULL)
		return buf_addf(out, "{\"run\":\"%" PRIx64 "\",\"executions\":%"
		    PRIu64 ",\"until\":null}\n", run->id, run->executions);
	return buf_addf(out, "{\"run\":\"%" PRIx64 "\",\"executions\":%" PRIu64
	    ",\"until\":\"%s\",\"is_whole\":%s,\"recorded_us\":%" PRIu64
	    ",\"open_us\":%" PRId64 ",\"clock_us\":%" PRIu64
	    ",\"missing_us\":%" PRId64 ",\"is_balanced\":%s}\n", run->id,
	    run->executions, b->until, run->is_whole ? "true" : "false",
	    b->recorded_us, b->open_us, b->clock_us, b->missing_us,
	    b->is_right ? "true" : "false");
}

int
audit_json(struct audit *audit, struct buf *out, bool *is_balanced)
{
	return each(audit, is_balanced, out, put_json, NULL);
}

static void
add_seconds(struct cmd_table *table, int64_t us)
{
	uint64_t milli = (size_of(us) + 500) / 1000;

	cmd_table_add(table, "%s%" PRIu64 ".%03" PRIu64,
	    us < 0 && milli > 0 ? "-" : "", milli / 1000, milli % 1000);
}

static void
add_ratio(struct cmd_table *table, const struct balance *b)
{
	__int128 told = (__int128)b->recorded_us + b->open_us;
	__int128 size = told < 0 ? -told : told;
	uint64_t hundredths;

	if (b->clock_us == 0) {
		cmd_table_add(table, "-");
		return;
	}
	size = (size * 10000 + b->clock_us / 2) / b->clock_us;
	hundredths = size < UINT64_MAX ? (uint64_t)size : UINT64_MAX;
	cmd_table_add(table, "%s%" PRIu64 ".%02" PRIu64 "%%",
	    told < 0 && hundredths > 0 ? "-" : "", hundredths / 100,
	    hundredths % 100);
}

static int
put_row(struct buf *out, struct cmd_table *table, const struct run *run,
    const struct balance *b)
{
	(void)out;
	cmd_table_add(table, "%" PRIx64, run->id);
	cmd_table_add(table, "%s", b->until == NULL ? "-" : b->until);
	cmd_table_add(table, "%" PRIu64, run->executions);
	if (b->until == NULL) {
		for (int i = 0; i < 5; i++)
			cmd_table_add(table, "-");
		cmd_table_add(table, run->is_whole ? "no clock" :
		    "no beginning");
		return 0;
	}
	add_seconds(table, (int64_t)b->recorded_us);
	add_seconds(table, b->open_us);
	add_seconds(table, (int64_t)b->clock_us);
	add_ratio(table, b);
	add_seconds(table, b->missing_us);
	cmd_table_add(table, "%s", b->is_right ? "ok" : "WRONG");
	return 0;
}

int
audit_table(struct audit *audit, struct buf *out, bool *is_balanced)
{
	static const char *const headings[] = { "RUN", "UNTIL", "EXECUTIONS",
		"RECORDED-S", "OPEN-S", "CLOCK-S", "RATIO", "MISSING-S",
		"BALANCE" };
	struct cmd_table table = { .columns = 9, .right = 0xfc };
	int error;

	for (size_t i = 0; i < table.columns; i++)
		cmd_table_add(&table, "%s", headings[i]);
	error = each(audit, is_balanced, out, put_row, &table);
	if (error == 0)
		error = cmd_table_put(&table, out);
	cmd_table_free(&table);
	return error;
}
