#include "fcgi-host/budget_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/record_read.h"
#include "fcgi-host/sock.h"

#define HEAD_MAGIC UINT64_C(0x32746764756268)  /* changes with every change of a struct */
#define ENTRY_MAGIC UINT64_C(0x32796f6e756268)
/* A sector: written whole or not at all, whenever the power goes. */
#define ENTRY_BYTES 512
#define CHUNK (1u << 20)
/* The gateway hears nobody meanwhile, and who does not read for 10 s is killed:
 * of a longer log the end must do, some 750,000 lines. */
#define READ_MAX (UINT64_C(512) << 20)

union entry {
	struct {
		uint64_t sum; /* of all that follows */
		uint64_t magic;
		union {
			struct budget_head head;
			struct budget_kept kept;
		} u;
	} of;
	uint8_t bytes[ENTRY_BYTES];
};

_Static_assert(sizeof(union entry) == ENTRY_BYTES, "an entry is a sector");

/* ---- entries ---- */

static uint64_t
entry_sum(const union entry *entry)
{
	uint64_t sum = UINT64_C(14695981039346656037);

	for (size_t i = sizeof(sum); i < ENTRY_BYTES; i++)
		sum = (sum ^ entry->bytes[i]) * UINT64_C(1099511628211);
	return sum;
}

static int
entry_put(int fd, uint64_t place, const union entry *entry)
{
	ssize_t n;

	do
		n = pwrite(fd, entry, ENTRY_BYTES,
		    (off_t)(place * ENTRY_BYTES));
	while (n < 0 && errno == EINTR);
	return n == ENTRY_BYTES ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int
entry_write(int fd, uint64_t place, union entry *entry)
{
	entry->of.sum = entry_sum(entry);
	return entry_put(fd, place, entry);
}

static bool
entry_is_empty(const union entry *entry)
{
	for (size_t i = 0; i < ENTRY_BYTES; i++)
		if (entry->bytes[i] != 0)
			return false;
	return true;
}

static bool
entry_is_sound(const union entry *entry, uint64_t magic)
{
	return entry->of.magic == magic && entry->of.sum == entry_sum(entry);
}

/* The sum is no seal: a gateway that was taken over may have written this. */
static bool
kept_is_sane(const struct budget_kept *kept)
{
	size_t n = strnlen(kept->name, sizeof(kept->name));

	return n > 0 && n < sizeof(kept->name) && kept->is_tenant <= 1 &&
	    (kept->is_tenant != 0 ? ctl_segment_ok(kept->name, n) :
	    ctl_name_ok(kept->name)) &&
	    kept->told[BUDGET_DAY] <= LEVEL_USED_UP &&
	    kept->told[BUDGET_MONTH] <= LEVEL_USED_UP;
}

/* ---- loading ---- */

static void
owners_load(struct budgets *budgets, uint64_t count)
{
	struct budget_keeper *keeper = &budgets->keeper;

	for (uint64_t place = 1; place <= count; place++) {
		const struct budget_kept *kept = NULL;
		union entry entry;

		if (pread(keeper->fd, &entry, ENTRY_BYTES,
		    (off_t)(place * ENTRY_BYTES)) != ENTRY_BYTES)
			memset(&entry, 1, sizeof(entry));
		if (entry_is_sound(&entry, ENTRY_MAGIC) &&
		    kept_is_sane(&entry.of.u.kept) &&
		    budget_owner_find(budgets, entry.of.u.kept.name,
		    entry.of.u.kept.is_tenant != 0, false) == NULL)
			kept = &entry.of.u.kept;
		else if (!entry_is_empty(&entry))
			keeper->is_damaged = true;
		if (!budget_owner_restore(budgets, kept)) {
			keeper->is_damaged = true;
			return;
		}
	}
}

void
budgets_open(struct budgets *budgets, int fd)
{
	struct budget_keeper *keeper = &budgets->keeper;
	union entry entry;
	struct stat st;
	uint64_t count;

	keeper->fd = fd;
	if (fstat(fd, &st) < 0 || st.st_size == 0)
		return;
	keeper->has_found = pread(fd, &entry, ENTRY_BYTES, 0) == ENTRY_BYTES &&
	    entry_is_sound(&entry, HEAD_MAGIC);
	count = (uint64_t)st.st_size / ENTRY_BYTES;
	if (keeper->has_found) {
		keeper->found = keeper->head = entry.of.u.head;
		keeper->is_damaged = count <= keeper->found.count;
		keeper->written = count - 1;
		owners_load(budgets, count - 1 > BUDGET_OWNERS_MAX ?
		    BUDGET_OWNERS_MAX : count - 1);
	} else {
		keeper->is_damaged = true;
	}
}

/* ---- saving ---- */

static void
save_failed(struct budgets *budgets, int error)
{
	uint32_t suppressed;

	if (log_limit_pass(&budgets->save_limit, 1, 60000, loop_clock_us(),
	    &suppressed))
		log_event(LOG_ERROR, "budgets_save", "error=\"%s\" mend=\"make "
		    "room on the file system of [host] state; until then the "
		    "accounting log is read again after a crash\"",
		    strerror(-error));
}

static int
owner_write(int fd, const struct budget_owner *owner)
{
	union entry entry = { .bytes = { 0 } };

	entry.of.magic = ENTRY_MAGIC;
	entry.of.u.kept = owner->kept;
	return entry_write(fd, owner->place + UINT64_C(1), &entry);
}

static int
head_write(const struct budget_keeper *keeper)
{
	union entry entry = { .bytes = { 0 } };

	entry.of.magic = HEAD_MAGIC;
	entry.of.u.head = keeper->head;
	return entry_write(keeper->fd, 0, &entry);
}

/*
 * What could not be read is not met again.  Behind a head that is made anew the
 * entries of before would be owners once more, with what they had used then; and
 * a place that nobody took would be told of at each start.
 */
static void
damage_clear(struct budgets *budgets)
{
	const struct budget_keeper *keeper = &budgets->keeper;
	const struct budget_owner *owner = budgets->spare;
	const union entry empty = { .bytes = { 0 } };
	int error = 0;

	if (!keeper->has_found && ftruncate(keeper->fd, 0) < 0)
		error = -errno;
	for (; owner != NULL && error == 0; owner = owner->next)
		error = entry_put(keeper->fd, owner->place + UINT64_C(1),
		    &empty);
	if (error < 0)
		save_failed(budgets, error);
}

bool
budgets_is_due(const struct budgets *budgets)
{
	return budgets->keeper.fd >= 0 && budgets->keeper.is_followed &&
	    (budgets->dirty != NULL || budgets->keeper.is_unwritten);
}

/* The head last: it says of the others that they are up to date. */
static int
save(struct budgets *budgets)
{
	struct budget_keeper *keeper = &budgets->keeper;
	int error = 0;

	if (keeper->fd < 0 || !keeper->is_followed)
		return 0;
	while (budgets->dirty != NULL && error == 0) {
		struct budget_owner *owner = budgets->dirty;

		error = owner_write(keeper->fd, owner);
		if (error < 0)
			break;
		if (owner->place >= keeper->written)
			keeper->written = owner->place + UINT64_C(1);
		owner->is_dirty = false;
		budgets->dirty = owner->next_dirty;
	}
	keeper->head.count = keeper->written;
	if (error == 0)
		error = head_write(keeper);
	if (error == 0)
		keeper->is_unwritten = false;
	else
		save_failed(budgets, error);
	return error;
}

void
budgets_save(struct budgets *budgets)
{
	(void)save(budgets);
}

static void
save_for_good(struct budgets *budgets)
{
	if (save(budgets) == 0 && budgets->keeper.fd >= 0 &&
	    fdatasync(budgets->keeper.fd) < 0)
		save_failed(budgets, -errno);
}

void
budgets_wrote(struct budgets *budgets, uint64_t size)
{
	budgets->keeper.head.offset = size;
	if (budgets->keeper.head.run_from > size)
		budgets->keeper.head.run_from = size; /* it was shortened */
	budgets->keeper.is_unwritten = true;
}

void
budgets_finish(struct budgets *budgets)
{
	budgets->keeper.head.is_clean = 1;
	save_for_good(budgets);
	budgets->keeper.head.is_clean = 0;
}

/* ---- reading the log again ---- */

struct reading {
	struct budgets *budgets;
	uint64_t run_id; /* whose lines these are */
	uint64_t known;  /* of the log; before that only who is new is charged */
	uint64_t at;     /* of the line */
	uint64_t now_us;
	uint64_t charged;
};

/* Whether the owner knows of the line; one that was only now met does not. */
static bool
is_charged(const struct reading *reading, const struct budget_owner *owner,
    const struct record_line *line)
{
	return !owner->is_new && (reading->at < reading->known ||
	    (owner->kept.run_id == reading->run_id &&
	    line->seq <= owner->kept.seq));
}

static struct budget_owner *
owner_meet(struct reading *reading, const char *name, bool is_tenant)
{
	struct budget_owner *owner = budget_owner_find(reading->budgets, name,
	    is_tenant, false);

	if (owner != NULL)
		return owner;
	owner = budget_owner_find(reading->budgets, name, is_tenant, true);
	if (owner != NULL)
		owner->is_new = true;
	return owner;
}

/* One line, as budgets_charge would have charged it. */
static void
line_charge(struct reading *reading, const struct record_line *line)
{
	struct budgets *budgets = reading->budgets;
	struct budget_charge charge = {
		.tenant = line->tenant, .function = line->function,
		.runtime = line->runtime, .run_id = reading->run_id,
		.seq = line->seq,
		.usage = { .executions = line->type == RECORD_EXEC,
			.mib_ms = line->mib_ms, .cpu_us = line->cpu_us,
			.bytes_out = line->bytes_out,
			.idle_mib_ms = line->idle_mib_ms },
	};
	struct budget_owner *tenant = owner_meet(reading, line->tenant, true);
	struct budget_owner *own = owner_meet(reading, line->function, false);
	bool is_known = tenant == NULL || is_charged(reading, tenant, line);
	money_int cost = 0;

	budget_charge_time(budgets, &charge, line->time_us, reading->now_us);
	if (tenant != NULL)
		cost = budget_cost(budgets, tenant, &charge, is_known);
	if (!is_known) {
		budget_owner_charge(budgets, tenant, &charge, cost);
		reading->charged += charge.usage.executions;
	}
	if (own != NULL && !is_charged(reading, own, line))
		budget_owner_charge(budgets, own, &charge, cost);
}

static void
line_take(struct reading *reading, const char *text, size_t n)
{
	struct record_line line;

	if (record_read(text, n, &line) < 0)
		return;
	if (line.type == RECORD_HOST)
		reading->run_id = line.run_id;
	if (line.is_charged &&
	    ctl_segment_ok(line.tenant, strlen(line.tenant)) &&
	    ctl_name_ok(line.function))
		line_charge(reading, &line);
}

/* The whole lines of data[0..n); returns how much they are. */
static size_t
lines_take(struct reading *reading, uint64_t from, const char *data, size_t n)
{
	size_t at = 0;

	while (at < n) {
		const char *end = memchr(data + at, '\n', n - at);

		if (end == NULL)
			break;
		reading->at = from + at;
		line_take(reading, data + at, (size_t)(end - data) - at);
		at = (size_t)(end - data) + 1;
	}
	return at;
}

static int
log_read(struct reading *reading, int fd, uint64_t from, uint64_t size)
{
	char *chunk = malloc(CHUNK);

	if (chunk == NULL)
		return -ENOMEM;
	/* what it begins with is no line, and passed over */
	if (from < size && size - from > READ_MAX)
		from = size - READ_MAX;
	while (from < size) {
		ssize_t n = pread(fd, chunk, CHUNK, (off_t)from);
		size_t done = n <= 0 ? 0 : lines_take(reading, from,
		    chunk, (size_t)n);

		if (n < 0 && errno == EINTR)
			continue;
		/* no line of ours is that long */
		if (n == CHUNK && done == 0)
			done = CHUNK;
		if (done == 0)
			break;
		from += done;
	}
	free(chunk);
	for (uint32_t i = 0; i < reading->budgets->count; i++)
		reading->budgets->owners[i]->is_new = false;
	return 0;
}

static bool
is_found_log(const struct budget_keeper *keeper, const struct stat *st)
{
	return keeper->has_found && keeper->found.ino == st->st_ino;
}

/*
 * Up to where the log is charged; size: all of it.  The file's pages may have gone
 * to the disk in any order, so what its head says of how far it is holds for as
 * long as the machine has not gone down.  The table of executions in flight of the
 * same run says that it has not; else all lines of that run are looked at again.
 */
static uint64_t
known_until(const struct budget_keeper *keeper, const struct stat *st,
    uint64_t size, uint64_t known_run)
{
	const struct budget_head *found = &keeper->found;
	uint64_t until;

	if (!keeper->has_found)
		return 0;
	if (!is_found_log(keeper, st) ||
	    (!keeper->is_followed && found->is_clean != 0))
		return size;
	until = known_run == found->run_id ? found->offset : found->run_from;
	return until < size ? until : size;
}

static void
reading_log(const struct budget_keeper *keeper, const struct stat *st,
    const struct budget_log *log, uint64_t charged)
{
	const struct budget_head *found = &keeper->found;

	if (keeper->is_damaged || (!keeper->has_found && charged > 0))
		log_event(LOG_WARN, "budgets_rebuilt", "executions=%" PRIu64
		    " why=\"STATE/budgets %s: what is used of budgets was "
		    "read from the accounting log; what stands in rotated "
		    "files alone%s is not counted\"", charged,
		    keeper->is_damaged ? "is damaged" : "was not there",
		    log->size > READ_MAX ? ", or before its last 512 MiB," : "");
	else if (keeper->has_found && found->is_clean == 0 &&
	    log->known_run != log->run_id &&
	    (!is_found_log(keeper, st) || found->offset > log->size))
		log_event(LOG_WARN, "budgets_behind", "why=\"the accounting "
		    "log has been changed since the host died: the last "
		    "executions before that may be missing in what is used of "
		    "budgets\"");
	else if (charged > 0)
		log_event(LOG_INFO, "budgets_read", "executions=%" PRIu64,
		    charged);
}

/* Where the run's lines begin in the file that it goes on in. */
static void
head_set(struct budget_keeper *keeper, const struct stat *st, uint64_t size,
    uint64_t run_id)
{
	bool is_same = !keeper->is_followed && is_found_log(keeper, st) &&
	    keeper->found.run_id == run_id;

	keeper->head = (struct budget_head){ .run_id = run_id,
		.dev = st->st_dev, .ino = st->st_ino, .offset = size,
		.run_from = is_same ? keeper->found.run_from : size };
}

void
budgets_follow(struct budgets *budgets, const struct budget_log *log)
{
	struct budget_keeper *keeper = &budgets->keeper;
	struct reading reading = { .budgets = budgets,
		.run_id = keeper->found.run_id,
		.now_us = loop_clock_real_us() };
	bool is_first = !keeper->is_followed, is_whole;
	struct stat st;

	if (fstat(log->fd, &st) < 0 || (!is_first &&
	    keeper->head.ino == st.st_ino && keeper->head.dev == st.st_dev))
		return;
	is_whole = is_first && (!keeper->has_found || keeper->is_damaged);
	reading.known = !is_first && !keeper->has_found ? log->size :
	    known_until(keeper, &st, log->size, log->known_run);
	if (log_read(&reading, log->fd, is_whole ? 0 : reading.known,
	    log->size) < 0)
		log_event(LOG_ERROR, "memory", "for=budgets");
	if (is_first)
		reading_log(keeper, &st, log, reading.charged);
	if (is_first && keeper->is_damaged)
		damage_clear(budgets);
	head_set(keeper, &st, log->size, log->run_id);
	keeper->is_followed = true;
	keeper->is_unwritten = true;
	if (!log->is_behind)
		save_for_good(budgets);
}
