/*
 * What is used of budgets, through deaths of every kind in any order: of the
 * gateway, the host and the machine, at any moment between charge, write and
 * save; with rotations, and with a state that is damaged.  As long as the files
 * are whole each execution in the log is charged once; whatever is in them, the
 * successor lives and charges nobody for more than there ever was.  What
 * begins as a line of the log is read as one instead.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/budget.h"
#include "fcgi-host/budget_file.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/record_read.h"
#include "fcgi-host/sock.h"

#define OPS_MAX 200
#define OWNERS 3
#define TABLE_BYTES 65536
#define WAITING_MAX 64

struct world {
	int state_fd, log_fd, table_fd;
	uint64_t run_id;
	struct inflight *inflight;
	struct budgets *budgets;
	struct ledger *ledger;
	uint64_t written[OWNERS], waiting[OWNERS];
	size_t entry_count;
	struct ledger_entry entries[WAITING_MAX];
	bool is_rotated; /* the log that is there does not tell all */
	bool is_spoilt;  /* nor do the files say what was */
};

static const struct {
	const char *tenant, *function;
} owners[OWNERS] = { { "alice", "alice/f" }, { "bob", "bob/f" },
	{ "default", "alice" } };

static int
memory_file(size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	CLAIM(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static int
copy_of(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	CLAIM(copy >= 0);
	return copy;
}

static void
on_fact(const struct budget_fact *fact, void *arg)
{
	if (!fact->is_tenant && fact->unit == AMOUNT_EXECUTIONS)
		*(uint64_t *)arg = fact->used;
}

static void
counts_check(struct world *w)
{
	for (size_t i = 0; i < OWNERS; i++) {
		struct ctl_function function = { .is_fastcgi = 0 };
		uint64_t used = 0;

		function.limits.value[LIMIT_BUDGET_MONTH_EXECUTIONS] = 1;
		strcpy(function.tenant, owners[i].tenant);
		strcpy(function.name, owners[i].function);
		budgets_tell_begin(w->budgets);
		budgets_tell(w->budgets, &function, loop_clock_real_us(),
		    on_fact, &used);
		CLAIM(w->is_spoilt || used == w->written[i]);
		CLAIM(used <= w->written[i]);
	}
}

static void
gateway_start(struct world *w)
{
	w->inflight = inflight_open(w->table_fd);
	w->ledger = ledger_new(w->inflight, w->run_id);
	w->budgets = budgets_new();
	CLAIM(w->inflight != NULL && w->ledger != NULL && w->budgets != NULL);
	budgets_open(w->budgets, copy_of(w->state_fd));
	ledger_set_budgets(w->ledger, w->budgets);
	CLAIM(ledger_switch(w->ledger, copy_of(w->log_fd),
	    inflight_run(w->inflight) != 0) == 0);
	ledger_begin(w->ledger, 0);
	counts_check(w);
}

/* What waited in the batch is gone. */
static void
gateway_die(struct world *w)
{
	budgets_free(w->budgets);
	ledger_free(w->ledger);
	inflight_close(w->inflight);
	memset(w->waiting, 0, sizeof(w->waiting));
	w->entry_count = 0;
}

static void
host_record(struct world *w)
{
	struct record_host host = { .event = "start" };

	CLAIM(ledger_host(w->ledger, &host) == 0);
	ledger_flush(w->ledger);
}

static void
host_die(struct world *w)
{
	gateway_die(w);
	w->run_id++;
	gateway_start(w);
	host_record(w);
}

static void
table_renew(struct world *w)
{
	close(w->table_fd);
	w->table_fd = memory_file(TABLE_BYTES);
}

static void
on_written(void *arg, int error)
{
	(void)arg;
	CLAIM(error == 0);
}

static void
execute(struct world *w, size_t i)
{
	struct record_exec record = { .time_us = loop_clock_real_us(),
		.number = 1, .trigger = "web", .outcome = OUTCOME_OK,
		.run_us = 1000, .mem_limit_mib = 64, .exit_code = -1 };
	struct ledger_entry *entry = &w->entries[w->entry_count++];

	entry->fn = on_written;
	strcpy(record.tenant, owners[i].tenant);
	strcpy(record.function, owners[i].function);
	CLAIM(ledger_exec(w->ledger, &record, entry) == 0);
	w->waiting[i]++;
}

static void
flush(struct world *w)
{
	ledger_flush(w->ledger);
	for (size_t i = 0; i < OWNERS; i++) {
		w->written[i] += w->waiting[i];
		w->waiting[i] = 0;
	}
	w->entry_count = 0;
}

static void
rotate(struct world *w)
{
	flush(w);
	close(w->log_fd);
	w->log_fd = memory_file(0);
	CLAIM(fcntl(w->log_fd, F_SETFL, O_APPEND) == 0);
	CLAIM(ledger_switch(w->ledger, copy_of(w->log_fd), false) == 0);
	w->is_rotated = true;
}

/* While the gateway is dead; what is rebuilt is whole only from a whole log. */
static void
spoil(struct world *w, uint8_t where, uint8_t what)
{
	struct stat st;
	off_t at;
	uint8_t byte;

	CLAIM(fstat(w->state_fd, &st) == 0);
	if (st.st_size == 0)
		return;
	at = (off_t)where * 37 % st.st_size;
	CLAIM(pread(w->state_fd, &byte, 1, at) == 1);
	byte ^= what;
	CLAIM(pwrite(w->state_fd, &byte, 1, at) == 1);
	if (what != 0 && w->is_rotated)
		w->is_spoilt = true;
}

static void
cut(struct world *w, uint8_t n)
{
	struct stat st;

	CLAIM(fstat(w->log_fd, &st) == 0);
	if (n == 0 || st.st_size < n)
		return;
	CLAIM(ftruncate(w->log_fd, st.st_size - n) == 0);
	w->is_spoilt = true;
}

static void
step(struct world *w, const uint8_t **data, size_t *n)
{
	uint8_t op = take_byte(data, n);

	switch (op % 12) {
	default:
		execute(w, op % OWNERS);
		if (w->entry_count < WAITING_MAX)
			break;
		/* fall through */
	case 4:
		flush(w);
		break;
	case 5:
		flush(w);
		budgets_save(w->budgets);
		break;
	case 6:
		gateway_die(w);
		gateway_start(w);
		break;
	case 7:
		host_die(w);
		break;
	case 8: /* the machine, or a good end whose table is removed */
		if (op & 64) {
			flush(w);
			budgets_finish(w->budgets);
		}
		gateway_die(w);
		table_renew(w);
		w->run_id++;
		gateway_start(w);
		host_record(w);
		break;
	case 9:
		rotate(w);
		break;
	case 10:
		gateway_die(w);
		spoil(w, take_byte(data, n), take_byte(data, n));
		w->run_id++;
		gateway_start(w);
		host_record(w);
		break;
	case 11:
		gateway_die(w);
		cut(w, take_byte(data, n));
		gateway_start(w);
		break;
	}
}

#define ENDS_WITHIN(text) (strnlen(text, sizeof(text)) < sizeof(text))

static void
line_check(const char *data, size_t n)
{
	struct record_line line;

	if (record_read(data, n, &line) < 0)
		return;
	CLAIM(line.seq != 0 && line.seq == record_line_seq(data, n));
	CLAIM(ENDS_WITHIN(line.tenant) && ENDS_WITHIN(line.function) &&
	    ENDS_WITHIN(line.runtime));
	/* the year 10000: days are counted in 32 bits */
	CLAIM(line.time_us < UINT64_C(253402300800) * 1000000);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct world w = { .run_id = 1000 };

	log_init("fuzz", LOG_ERROR);
	if (n > 0 && data[0] == '{') {
		line_check((const char *)data, n);
		return 0;
	}
	w.state_fd = memory_file(0);
	w.log_fd = memory_file(0);
	w.table_fd = memory_file(TABLE_BYTES);
	CLAIM(fcntl(w.log_fd, F_SETFL, O_APPEND) == 0);
	gateway_start(&w);
	host_record(&w);
	for (int i = 0; i < OPS_MAX && n > 0; i++)
		step(&w, &data, &n);
	gateway_die(&w);
	gateway_start(&w);
	gateway_die(&w);
	close(w.state_fd);
	close(w.log_fd);
	close(w.table_fd);
	return 0;
}
