#include "fcgi-host/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fcgi-host/budget_file.h"
#include "fcgi-host/ledger_tail.h"
#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/sock.h"

#define RESERVE_CHUNK (256u * 1024)
#define HOST_LINES 2 /* that always fit, without an admission of their own */
#define LOOK_EVERY_US 1000000 /* whether somebody else has shortened the file */
#define NO_BATCH UINT64_MAX

struct ledger {
	struct inflight *inflight;
	struct budgets *budgets;
	uint64_t run_id;
	int fd;
	struct inflight_log log; /* as the file was when it was switched to */
	bool is_sync, is_failing;
	bool is_torn; /* what a write left behind the size is still there */
	int error;         /* errno of the last write that failed */
	bool no_fallocate; /* the file system cannot: free space is compared */
	uint64_t size, reserved_end; /* of the file, its one writer knows */
	uint64_t look_us; /* when it is looked at next */
	uint64_t size_most; /* RLIMIT_FSIZE, which no reserving knows of */
	uint64_t admitted, next_seq;
	uint64_t charged_us; /* in the clock's lines, the batch's too */
	struct chain *chain; /* NULL: the lines have no mac */
	bool is_chain_told; /* a host record names its key */
	struct buf batch;
	struct ledger_entry *first, **last;
	uint64_t executions, refused, errors;
	struct log_limit limit;
};

static int space_reserve(struct ledger *ledger, uint64_t more);

struct ledger *
ledger_new(struct inflight *inflight, uint64_t run_id)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));

	if (ledger == NULL)
		return NULL;
	ledger->inflight = inflight;
	ledger->run_id = run_id;
	ledger->fd = -1;
	ledger->last = &ledger->first;
	ledger->next_seq = inflight_run(inflight) == run_id ?
	    inflight_seq(inflight) + 1 : 1;
	ledger->charged_us = inflight_charged(inflight);
	return ledger;
}

void
ledger_begin(struct ledger *ledger, uint64_t charged_us)
{
	if (inflight_run(ledger->inflight) == ledger->run_id)
		return;
	ledger->log.from = ledger->size;
	inflight_begin(ledger->inflight, ledger->run_id, charged_us,
	    &ledger->log);
	ledger->charged_us = charged_us;
	if (buf_len(&ledger->batch) == 0)
		ledger->next_seq = 1;
}

/* An earlier run's table keeps that run's place, until ledger_begin. */
static void
log_note(struct ledger *ledger, bool is_again)
{
	struct inflight_log log = inflight_log(ledger->inflight);

	if (inflight_run(ledger->inflight) == ledger->run_id &&
	    (!is_again || log.dev != ledger->log.dev ||
	    log.ino != ledger->log.ino))
		inflight_set_log(ledger->inflight, &ledger->log);
}

/*
 * Goes on at the end that the file has now, if somebody else has shortened it: what
 * was reserved is gone with what he cut off, and behind the old end would be NULs.
 * begins: of a batch that is not written whole; without one he has put back what is
 * there more, and none of it is ours to cut off.
 */
static bool
file_follow(struct ledger *ledger, uint64_t begins)
{
	struct stat status;
	uint64_t size;

	if (fstat(ledger->fd, &status) < 0)
		return false;
	size = (uint64_t)status.st_size;
	if (begins == NO_BATCH && !ledger->is_torn && size > ledger->size) {
		ledger->size = size;
		if (ledger->reserved_end < size)
			ledger->reserved_end = size;
	}
	size = size < begins ? size : begins;
	if (size >= ledger->size)
		return false;
	log_event(LOG_ERROR, "accounting_shortened", "mend=\"rotate by rename "
	    "and reopen; copytruncate loses records\"");
	ledger->size = ledger->reserved_end = size;
	ledger->is_torn = false;
	if (ledger->log.from > ledger->size) {
		ledger->log.from = ledger->size;
		log_note(ledger, false);
	}
	return true;
}

/* What was reserved beyond the end and not used goes back to the disk. */
static void
file_leave(struct ledger *ledger)
{
	if (ledger->fd < 0)
		return;
	(void)file_follow(ledger, NO_BATCH);
	if ((ledger->is_torn || ledger->reserved_end > ledger->size) &&
	    ftruncate(ledger->fd, (off_t)ledger->size) < 0)
		log_event(LOG_WARN, "accounting_trim", "error=\"%s\"",
		    strerror(errno));
	ledger->is_torn = false;
	close_fd(&ledger->fd);
}

void
ledger_free(struct ledger *ledger)
{
	if (ledger == NULL)
		return;
	file_leave(ledger);
	chain_free(ledger->chain);
	buf_free(&ledger->batch);
	free(ledger);
}

void
ledger_set_sync(struct ledger *ledger, bool is_sync)
{
	ledger->is_sync = is_sync;
}

void
ledger_set_budgets(struct ledger *ledger, struct budgets *budgets)
{
	ledger->budgets = budgets;
}

static void
budgets_switch(const struct ledger *ledger)
{
	const struct budget_log log = { .fd = ledger->fd,
		.size = ledger->size, .run_id = ledger->run_id,
		.known_run = inflight_run(ledger->inflight),
		.is_behind = buf_len(&ledger->batch) > 0 };

	if (ledger->budgets != NULL)
		budgets_follow(ledger->budgets, &log);
}

int
ledger_set_chain(struct ledger *ledger, const uint8_t key[CHAIN_KEY_SIZE])
{
	if (ledger->chain != NULL)
		chain_set_key(ledger->chain, key);
	else
		ledger->chain = chain_new(key);
	ledger->is_chain_told = false;
	return ledger->chain == NULL ? -ENOMEM : 0;
}

const struct chain_mac *
ledger_head(const struct ledger *ledger)
{
	return ledger->chain == NULL ? NULL : chain_head(ledger->chain);
}

static uint64_t
file_size_most(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) < 0 ||
	    limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

/* Who died between the write and the note of it is believed by the log: a debt
 * whose line is there is paid.  But an earlier run's line has a number too, and
 * then that is one of other debts. */
static bool
seq_believe(struct ledger *ledger, const struct ledger_tail *line)
{
	struct inflight *inflight = ledger->inflight;
	struct inflight_log log = inflight_log(inflight);

	if (log.dev != ledger->log.dev || log.ino != ledger->log.ino ||
	    line->start < log.from || line->seq <= inflight_seq(inflight) ||
	    line->seq > inflight_batch_seq(inflight))
		return false;
	inflight_set_seq(inflight, line->seq);
	ledger->next_seq = line->seq + 1;
	ledger->charged_us = inflight_charged(inflight);
	return true;
}

/* The table's word counts before the file's: whose end was cut meanwhile, or that
 * is another's, has a next line that does not follow on it.  Of a batch that is
 * there in part only the file knows. */
static void
mac_believe(struct ledger *ledger, const struct ledger_tail *line,
    bool is_believed)
{
	const struct chain_mac *mac = inflight_mac(ledger->inflight);

	if (is_believed || chain_mac_is_none(mac))
		mac = &line->mac;
	if (ledger->chain != NULL)
		chain_go_on(ledger->chain, mac);
}

int
ledger_switch(struct ledger *ledger, int fd, bool is_again)
{
	struct ledger_tail line;
	struct stat status;
	bool is_first, is_believed;
	uint64_t size;
	int error;

	ledger_flush(ledger);
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	size = (uint64_t)status.st_size;
	error = ledger_tail_mend(fd, &size, &line);
	if (error < 0) {
		close(fd);
		return error;
	}
	is_first = ledger->fd < 0;
	file_leave(ledger);
	ledger->fd = fd;
	ledger->size = ledger->reserved_end = size;
	ledger->no_fallocate = false;
	ledger->size_most = file_size_most();
	ledger->log = (struct inflight_log){ .dev = status.st_dev,
		.ino = status.st_ino, .from = size };
	is_believed = is_again && seq_believe(ledger, &line);
	if (is_first)
		mac_believe(ledger, &line, is_believed);
	log_note(ledger, is_again);
	budgets_switch(ledger);
	/* what was reserved for the admitted went with the old file */
	error = space_reserve(ledger, 0);
	if (error < 0)
		log_event(LOG_WARN, "accounting_reserve", "error=\"%s\"",
		    strerror(-error));
	return 0;
}

static int
space_compare(const struct ledger *ledger, uint64_t wanted)
{
	struct statvfs fs;

	if (fstatvfs(ledger->fd, &fs) < 0)
		return -errno;
	return (uint64_t)fs.f_bavail * fs.f_frsize >= wanted ? 0 : -ENOSPC;
}

static int
space_extend(struct ledger *ledger, uint64_t n)
{
	while (fallocate(ledger->fd, FALLOC_FL_KEEP_SIZE,
	    (off_t)ledger->reserved_end, (off_t)n) < 0)
		if (errno != EINTR)
			return -errno;
	ledger->reserved_end += n;
	return 0;
}

/* Makes sure that every admitted line, the batch and `more` lines fit. */
static int
space_reserve(struct ledger *ledger, uint64_t more)
{
	uint64_t wanted = (ledger->admitted + more + HOST_LINES) *
	    RECORD_LINE_MAX + buf_len(&ledger->batch);
	uint64_t have = ledger->reserved_end - ledger->size;
	int error;

	if (ledger->fd < 0)
		return -EBADF;
	if (ledger->size + wanted > ledger->size_most)
		return -EFBIG;
	if (ledger->no_fallocate)
		return space_compare(ledger, wanted);
	if (have >= wanted)
		return 0;
	error = space_extend(ledger, wanted - have + RESERVE_CHUNK);
	if (error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
		error = space_extend(ledger, wanted - have);
	if (error == -EOPNOTSUPP || error == -ENOSYS) {
		ledger->no_fallocate = true;
		return space_compare(ledger, wanted);
	}
	return error;
}

int
ledger_probe(struct ledger *ledger)
{
	return ledger->is_failing ? -ledger->error : space_reserve(ledger, 1);
}

int
ledger_reserve(struct ledger *ledger)
{
	int error = ledger_probe(ledger);

	if (error == 0)
		ledger->admitted++;
	return error;
}

int
ledger_admit(struct ledger *ledger)
{
	int error = ledger_reserve(ledger);

	if (error < 0)
		ledger->refused++;
	return error;
}

void
ledger_release(struct ledger *ledger)
{
	if (ledger->admitted > 0)
		ledger->admitted--;
}

/* A record of the next seq stands in the batch: its line has nothing before it
 * that could fail any more. */
static void
line_end(struct ledger *ledger, size_t before)
{
	if (ledger->chain != NULL)
		chain_seal(ledger->chain, &ledger->batch, before);
	LOG_ASSERT(buf_len(&ledger->batch) - before <= RECORD_LINE_MAX);
	ledger->next_seq++;
}

int
ledger_exec(struct ledger *ledger, struct record_exec *record,
    struct ledger_entry *entry)
{
	size_t before = buf_len(&ledger->batch);

	record->seq = ledger->next_seq;
	/* a debt of an earlier run keeps the id that it was known by */
	if (record->run_id == 0)
		record->run_id = ledger->run_id;
	if (record_put_exec(&ledger->batch, record) < 0) {
		ledger->batch.end = ledger->batch.start + before;
		return -ENOMEM;
	}
	line_end(ledger, before);
	ledger->charged_us += record->cpu_us;
	ledger->executions++;
	if (ledger->budgets != NULL)
		budgets_charge(ledger->budgets, record, ledger->run_id,
		    loop_clock_real_us());
	ledger_release(ledger);
	entry->next = NULL;
	*ledger->last = entry;
	ledger->last = &entry->next;
	return 0;
}

int
ledger_instance(struct ledger *ledger, struct record_instance *record)
{
	size_t before = buf_len(&ledger->batch);

	record->seq = ledger->next_seq;
	record->run_id = ledger->run_id;
	if (record_put_instance(&ledger->batch, record) < 0) {
		ledger->batch.end = ledger->batch.start + before;
		return -ENOMEM;
	}
	line_end(ledger, before);
	ledger->charged_us += record->start_cpu_us + record->idle_cpu_us;
	if (ledger->budgets != NULL)
		budgets_charge_instance(ledger->budgets, record,
		    ledger->run_id, loop_clock_real_us());
	ledger_release(ledger);
	return 0;
}

int
ledger_host(struct ledger *ledger, struct record_host *record)
{
	size_t before = buf_len(&ledger->batch);
	char id[CHAIN_ID_TEXT], prev[CHAIN_MAC_TEXT];
	int error;

	if (ledger->chain != NULL && !ledger->is_chain_told) {
		chain_id(ledger->chain, id);
		chain_mac_text(chain_head(ledger->chain), prev);
		record->chain = id;
		record->prev = prev;
	}
	record->seq = ledger->next_seq;
	record->run_id = ledger->run_id;
	record->time_us = loop_clock_real_us();
	record->executions = ledger->executions;
	record->refused_unrecorded = ledger->refused;
	error = record_put_host(&ledger->batch, record);
	record->chain = record->prev = NULL;
	if (error < 0) {
		ledger->batch.end = ledger->batch.start + before;
		return -ENOMEM;
	}
	line_end(ledger, before);
	ledger->is_chain_told = true;
	if (!record->is_lost_clock)
		ledger->charged_us += record->lost_cpu_us;
	ledger->refused = 0;
	return 0;
}

/* The end of what was appended is where the kernel said, and need not be there. */
static int
batch_cut(struct ledger *ledger, size_t done)
{
	off_t end = done > 0 ? lseek(ledger->fd, 0, SEEK_CUR) : -1;

	(void)file_follow(ledger, done == 0 || end < 0 ? NO_BATCH :
	    (uint64_t)end > done ? (uint64_t)end - done : 0);
	ledger->is_torn = ftruncate(ledger->fd, (off_t)ledger->size) < 0;
	return ledger->is_torn ? -errno : 0;
}

/* Writes all or nothing: a part that went out is cut off again, so that what
 * is in the file is whole lines only.  Where it cannot be, nothing more is
 * written: the next line would begin within a torn one. */
static int
batch_write(struct ledger *ledger)
{
	size_t n = buf_len(&ledger->batch), done = 0;
	int error = ledger->is_torn ? batch_cut(ledger, 0) : 0;

	while (done < n && error == 0) {
		ssize_t out = write(ledger->fd,
		    buf_head(&ledger->batch) + done, n - done);

		if (out > 0)
			done += (size_t)out;
		else if (out == 0)
			error = -ENOSPC;
		else if (errno != EINTR)
			error = -errno;
	}
	if (error == 0 && ledger->is_sync && fdatasync(ledger->fd) < 0)
		error = -errno;
	if (error < 0 && done > 0 && batch_cut(ledger, done) < 0)
		log_event(LOG_ERROR, "accounting_cut", "error=\"%s\"",
		    strerror(errno));
	return error;
}

static void
entries_call(struct ledger *ledger, int error)
{
	struct ledger_entry *entry = ledger->first;

	ledger->first = NULL;
	ledger->last = &ledger->first;
	while (entry != NULL) {
		struct ledger_entry *next = entry->next;

		entry->fn(entry->arg, error);
		entry = next;
	}
}

const char *
ledger_mend(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return "make room on the accounting log's file system";
	case EFBIG:
		return "raise LimitFSIZE, or rotate the accounting log";
	case EPERM:
		return "take the immutable or append-only attribute from the "
		    "accounting log: chattr -ia";
	case EACCES:
	case EROFS:
		return "mount the accounting log's file system writable";
	default:
		return "look at the accounting log's file system";
	}
}

static void
write_failed(struct ledger *ledger, int error)
{
	uint32_t suppressed;

	ledger->errors++;
	ledger->is_failing = true;
	ledger->error = -error;
	/* the cut gave the reserve back with the torn part */
	ledger->reserved_end = ledger->size;
	if (log_limit_pass(&ledger->limit, 1, 10000, loop_clock_us(),
	    &suppressed))
		log_event(LOG_ERROR, "accounting_write",
		    "error=\"%s\" mend=\"%s; requests get 503 until then\"",
		    strerror(-error), ledger_mend(-error));
}

/* Who copies and cuts asks for no reopen, in which it would be seen. */
static void
file_look(struct ledger *ledger)
{
	uint64_t now_us = loop_clock_us();

	if (ledger->fd < 0 || now_us < ledger->look_us)
		return;
	ledger->look_us = now_us + LOOK_EVERY_US;
	if (file_follow(ledger, NO_BATCH))
		(void)space_reserve(ledger, 0); /* else the next is refused */
}

void
ledger_flush(struct ledger *ledger)
{
	size_t n = buf_len(&ledger->batch);
	int error;

	if (n == 0 && ledger->first == NULL)
		return;
	file_look(ledger);
	inflight_set_batch(ledger->inflight, ledger->next_seq - 1,
	    ledger->charged_us, ledger_head(ledger));
	error = ledger->fd < 0 ? -EBADF : batch_write(ledger);
	if (error < 0) {
		write_failed(ledger, error);
	} else {
		ledger->is_failing = false;
		ledger->size += n;
		if (ledger->reserved_end < ledger->size)
			ledger->reserved_end = ledger->size;
		buf_consume(&ledger->batch, n);
		inflight_set_seq(ledger->inflight, ledger->next_seq - 1);
		if (ledger->budgets != NULL)
			budgets_wrote(ledger->budgets, ledger->size);
	}
	entries_call(ledger, error);
}

bool
ledger_is_failing(const struct ledger *ledger)
{
	return ledger->is_failing;
}

uint64_t
ledger_seq(const struct ledger *ledger)
{
	return ledger->next_seq - 1;
}

uint64_t
ledger_refused(const struct ledger *ledger)
{
	return ledger->refused;
}

uint64_t
ledger_errors(const struct ledger *ledger)
{
	return ledger->errors;
}
