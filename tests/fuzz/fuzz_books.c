/*
 * What a gateway that was taken over leaves its successor: a table of
 * executions in flight with any bytes in it, and an accounting log with any
 * last line.  The successor lives, cuts off at most a torn line of its own
 * kind, and records each debt that can be one exactly once, in whole lines
 * that smuggle nothing in.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/ledger.h"
#include "fcgi-host/request.h"
#include "fcgi-host/sock.h"

#define INPUT_MAX 8192
#define SLOTS 6
#define TABLE_SIZE ((SLOTS + 1) * sizeof(struct inflight_slot))
#define RUN_ID 0x1234

struct books {
	int table_fd, log_fd;
	struct server server;
	size_t debts;
	bool is_foreign; /* no line of the log is of the table's run */
};

static int
memory_file(size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	CLAIM(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static struct record_exec
honest_record(uint64_t seq)
{
	struct record_exec record = { .seq = seq, .run_id = RUN_ID,
		.number = seq, .time_us = 1700000000000000, .status = 200,
		.trigger = "web", .exit_code = -1 };

	snprintf(record.request_id, sizeof(record.request_id), "r%d",
	    (int)seq);
	strcpy(record.method, "GET");
	strcpy(record.tenant, "default");
	strcpy(record.function, "f");
	strcpy(record.version, "0123456789abcdef");
	return record;
}

/* A table as an honest gateway leaves it: `used` in flight, some of them in
 * the batch already, whose lines would stand from `from` on. */
static void
fill_table(const struct books *books, unsigned used, uint64_t from)
{
	struct inflight *inflight = inflight_open(books->table_fd);
	struct inflight_log log = { .from = from };
	struct stat st;
	uint64_t seq;

	CLAIM(inflight != NULL && fstat(books->log_fd, &st) == 0);
	log.dev = st.st_dev;
	log.ino = st.st_ino;
	inflight_begin(inflight, RUN_ID, 0, &log);
	for (seq = 1; seq <= used; seq++) {
		struct inflight_slot *slot = inflight_take(inflight);

		CLAIM(slot != NULL);
		slot->record = honest_record(seq);
		slot->record_seq = seq % 2 == 0 ? seq : 0;
		slot->started_us = seq;
	}
	inflight_set_seq(inflight, 2);
	inflight_set_batch(inflight, used, 0, NULL);
	inflight_close(inflight);
}

/* Patches: an offset of two bytes, a length, and so many bytes.  Whether there
 * were any. */
static bool
spoil_table(int fd, const uint8_t **data, size_t *n)
{
	uint8_t patches = take_byte(data, n) % 8;
	bool is_spoilt = patches > 0 && *n > 3;

	while (patches-- > 0 && *n > 3) {
		size_t at = (size_t)take_byte(data, n) << 8;
		size_t length;

		at = (at | take_byte(data, n)) % TABLE_SIZE;
		length = take_byte(data, n);
		if (length > *n)
			length = *n;
		if (length > TABLE_SIZE - at)
			length = TABLE_SIZE - at;
		CLAIM(pwrite(fd, *data, length, (off_t)at) ==
		    (ssize_t)length);
		*data += length;
		*n -= length;
	}
	return is_spoilt;
}

/* `lines` of honest ones, and what the input says behind them. */
static void
fill_log(int fd, unsigned lines, const uint8_t *data, size_t n)
{
	struct buf text = { 0 };
	uint64_t seq;

	for (seq = 1; seq <= lines; seq++) {
		struct record_exec record = honest_record(seq);

		CLAIM(record_put_exec(&text, &record) == 0);
	}
	CLAIM(n == 0 || buf_add(&text, data, n) == 0);
	CLAIM(pwrite(fd, buf_head(&text), buf_len(&text), 0) ==
	    (ssize_t)buf_len(&text));
	buf_free(&text);
}

/* The whole file, with a NUL behind it, to be freed. */
static char *
read_log(int fd, size_t *n)
{
	struct stat st;
	char *text;

	CLAIM(fstat(fd, &st) == 0);
	*n = (size_t)st.st_size;
	text = calloc(1, *n + 1);
	CLAIM(text != NULL && pread(fd, text, *n, 0) == st.st_size);
	return text;
}

/* ------------------------------------------------------------- the successor */

static void
count_debt(struct inflight_slot *slot, void *arg)
{
	struct books *books = arg;

	if (slot->record_seq == 0 ||
	    slot->record_seq > inflight_seq(books->server.inflight))
		books->debts++;
}

static void
count_slot(struct inflight_slot *slot, void *arg)
{
	(void)slot;
	(*(size_t *)arg)++;
}

/* As gateway_ctl.c's on_start and on_log.  Returns ledger_switch's word. */
static int
succeed(struct books *books, uint64_t run_id)
{
	struct server *server = &books->server;
	struct record_host host = { .event = "restart" };
	size_t left = 0;
	uint64_t seq;
	int error;

	server->inflight = inflight_open(books->table_fd);
	CLAIM(server->inflight != NULL);
	seq = inflight_seq(server->inflight);
	server->ledger = ledger_new(server->inflight, run_id);
	CLAIM(server->ledger != NULL);
	error = ledger_switch(server->ledger, fcntl(books->log_fd,
	    F_DUPFD_CLOEXEC, 3), inflight_run(server->inflight) != 0);
	CLAIM(!books->is_foreign || inflight_seq(server->inflight) == seq);
	if (error == 0) {
		ledger_begin(server->ledger, 0);
		CLAIM(ledger_host(server->ledger, &host) == 0);
		books->debts = 0;
		inflight_each(server->inflight, count_debt, books);
		request_record_lost(server);
		CLAIM(!ledger_is_failing(server->ledger));
		inflight_each(server->inflight, count_slot, &left);
		CLAIM(left == 0);
	}
	ledger_flush(server->ledger);
	ledger_free(server->ledger);
	inflight_close(server->inflight);
	return error;
}

/* Strings in it end where they should: an even number of quotes, none of them
 * escaped by the record's own rules for outside text. */
static void
check_line(const char *line, size_t n)
{
	size_t i, quotes = 0;

	CLAIM(n > 6 && n < RECORD_LINE_MAX);
	CLAIM(memcmp(line, "{\"v\":", 5) == 0 && line[n - 1] == '}');
	for (i = 0; i < n; i++) {
		CLAIM(line[i] >= 0x20 && line[i] <= 0x7e);
		quotes += line[i] == '"' && line[i - 1] != '\\';
	}
	CLAIM(quotes % 2 == 0);
}

/* What was added: one line of the host, and one for each debt. */
static void
check_added(const char *text, size_t n, size_t debts)
{
	const char *end;
	size_t lines = 0, lost = 0;

	for (; n > 0; lines++, n -= (size_t)(end - text) + 1, text = end + 1) {
		end = memchr(text, '\n', n);
		CLAIM(end != NULL);
		check_line(text, (size_t)(end - text));
		lost += memmem(text, (size_t)(end - text),
		    "\"outcome\":\"lost\"", 16) != NULL;
	}
	CLAIM(lost == debts && lines == debts + 1);
}

/* A torn line is the beginning of one of ours, or a hole from a power cut. */
static bool
may_be_cut(const char *tail, size_t n)
{
	const char begin[] = "{\"v\":";

	return n <= RECORD_LINE_MAX && (n == 0 || tail[0] == '\0' ||
	    memcmp(tail, begin, n < 5 ? n : 5) == 0);
}

/* Of n bytes these stay, if the log is taken at all. */
static size_t
whole_part(const char *text, size_t n)
{
	const char *end = memrchr(text, '\n', n);

	return end != NULL ? (size_t)(end - text) + 1 : 0;
}

static void
check_succession(struct books *books, uint64_t run_id)
{
	size_t before, after, whole;
	char *old = read_log(books->log_fd, &before), *new;
	int error = succeed(books, run_id);

	new = read_log(books->log_fd, &after);
	whole = error == 0 ? whole_part(old, before) : before;
	CLAIM(error == 0 || error == -EBADMSG);
	CLAIM(after >= whole && memcmp(old, new, whole) == 0);
	CLAIM((error == 0) == may_be_cut(old + whole, before - whole) ||
	    whole == before);
	if (error == 0)
		check_added(new + whole, after - whole, books->debts);
	else
		CLAIM(after == before);
	free(old);
	free(new);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t how = take_byte(&data, &n), more = take_byte(&data, &n);
	struct books books = { .server.loop = loop_new() };

	if (n <= INPUT_MAX) {
		log_init("fuzz", LOG_ERROR);
		books.table_fd = memory_file(TABLE_SIZE);
		books.log_fd = memory_file(0);
		CLAIM(fcntl(books.log_fd, F_SETFL, O_APPEND) == 0);
		books.is_foreign = more >> 7;
		fill_table(&books, how % (SLOTS + 1),
		    books.is_foreign ? INPUT_MAX * 2 : 0);
		if (spoil_table(books.table_fd, &data, &n))
			books.is_foreign = false;
		fill_log(books.log_fd, more % 4, data, n);
		/* another gateway of the run, or of the next; and its own */
		check_succession(&books, RUN_ID + (how >> 7));
		books.is_foreign = false;
		check_succession(&books, RUN_ID + (how >> 7));
		close(books.table_fd);
		close(books.log_fd);
	}
	loop_free(books.server.loop);
	return 0;
}
