/*
 * `usage --verify`, over a log that an honest gateway wrote and somebody without
 * the key changed: lines taken away, put in, doubled, moved, cut, and any byte of
 * them.  What was not changed verifies.  What verifies is the log as it was
 * written, but for what fcgi-host-accounting(5) says that a chain cannot show:
 * older files that are missing, lines before the chain begins, and lines at the
 * end where no later head was kept.  And the files with keys and heads in them.
 */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/books/keyring.h"
#include "fcgi-host/books/verify.h"
#include "fcgi-host/cmd.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/sock.h"

/* Compiled in anew with fewer keys in a line of them: the name of none costs a
 * hash for each. */
#undef KEYRING_STEPS
#define KEYRING_STEPS 24
#include "fcgi-host/books/keyring.c" /* NOLINT(bugprone-suspicious-include) */

#define OPS_MAX 20 /* fewer than keys */
#define LINES_MAX 128
#define CHANGES_MAX 16
#define TABLE_BYTES 65536
#define PUT_IN_MAX 2048

static const char key_text[] = "000102030405060708090a0b0c0d0e0f"
    "101112131415161718191a1b1c1d1e1f\n";

struct line {
	char *text; /* without the newline */
	size_t n;
};

struct lines_of {
	struct line at[LINES_MAX];
	size_t count;
};

/* In place of the command's: a sentence, and nothing printed. */
int
cmd_fail(const char *fmt, ...)
{
	char text[4096];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	CLAIM(n > 0 && (size_t)n < sizeof(text));
	for (int i = 0; i < n; i++)
		CLAIM(text[i] >= 0x20 && text[i] <= 0x7e);
	return CMD_FAILED;
}

/* --------------------------------------------------------- the honest gateway */

struct writer {
	int table_fd, log_fd;
	uint64_t run_id;
	uint8_t key[CHAIN_KEY_SIZE];
	struct inflight *inflight;
	struct ledger *ledger;
	struct ledger_entry entry;
};

static int
memory_file(size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	CLAIM(fd >= 0 && ftruncate(fd, (off_t)size) == 0 &&
	    fcntl(fd, F_SETFL, O_APPEND) == 0);
	return fd;
}

static void
tell(struct writer *w, const char *event)
{
	struct record_host host = { .event = event };

	CLAIM(ledger_host(w->ledger, &host) == 0);
}

static void
writer_start(struct writer *w, const char *event, bool is_again)
{
	w->inflight = inflight_open(w->table_fd);
	w->ledger = ledger_new(w->inflight, w->run_id);
	CLAIM(w->inflight != NULL && w->ledger != NULL);
	CLAIM(ledger_set_chain(w->ledger, w->key) == 0);
	CLAIM(ledger_switch(w->ledger, fcntl(w->log_fd, F_DUPFD_CLOEXEC, 3),
	    is_again) == 0);
	ledger_begin(w->ledger, 0);
	tell(w, event);
}

static void
writer_end(struct writer *w)
{
	ledger_flush(w->ledger);
	ledger_free(w->ledger);
	inflight_close(w->inflight);
}

static void
on_written(void *arg, int error)
{
	(void)arg;
	CLAIM(error == 0);
}

static void
execute(struct writer *w, uint8_t what)
{
	struct record_exec record = { .time_us = 1700000000000000,
		.number = what, .trigger = "web", .exit_code = -1,
		.status = 200, .run_us = what };

	strcpy(record.tenant, "alice");
	strcpy(record.function, "alice/f");
	w->entry.fn = on_written;
	CLAIM(ledger_exec(w->ledger, &record, &w->entry) == 0);
	ledger_flush(w->ledger);
}

static void
writer_step(struct writer *w, uint8_t op)
{
	switch (op % 5) {
	case 0: /* a rotation, in one file here */
		tell(w, "reopen");
		chain_key_next(w->key, w->key);
		CLAIM(ledger_set_chain(w->ledger, w->key) == 0);
		tell(w, "chain");
		ledger_flush(w->ledger);
		break;
	case 1: /* a restart */
		tell(w, "stop");
		writer_end(w);
		w->run_id++;
		writer_start(w, "start", false);
		break;
	case 2: /* the gateway died, and its successor goes on */
		writer_end(w);
		writer_start(w, "restart", true);
		break;
	default:
		execute(w, op);
		break;
	}
}

/* Its log, with a NUL behind it, to be freed. */
static char *
write_log(const uint8_t **data, size_t *n)
{
	struct writer w = { .table_fd = memory_file(TABLE_BYTES),
		.log_fd = memory_file(0), .run_id = 1 };
	uint8_t ops = take_byte(data, n) % (OPS_MAX + 1);
	struct stat st;
	char *text;

	CLAIM(chain_key_parse(key_text, sizeof(key_text) - 1, w.key));
	writer_start(&w, "start", false);
	while (ops-- > 0)
		writer_step(&w, take_byte(data, n));
	tell(&w, "stop");
	writer_end(&w);
	CLAIM(fstat(w.log_fd, &st) == 0);
	text = calloc(1, (size_t)st.st_size + 1);
	CLAIM(text != NULL && pread(w.log_fd, text, (size_t)st.st_size, 0) ==
	    st.st_size);
	close(w.table_fd);
	close(w.log_fd);
	return text;
}

static void
split(char *text, struct lines_of *lines)
{
	for (lines->count = 0; *text != '\0';) {
		struct line *line = &lines->at[lines->count++];

		CLAIM(lines->count < LINES_MAX / 2);
		line->text = text;
		line->n = strcspn(text, "\n");
		CLAIM(text[line->n] == '\n');
		text += line->n + 1;
	}
}

/* -------------------------------------------------- who does not have the key */

static void
take_away(struct lines_of *lines, size_t at, size_t count)
{
	if (at >= lines->count)
		return;
	if (count > lines->count - at)
		count = lines->count - at;
	memmove(&lines->at[at], &lines->at[at + count],
	    (lines->count - at - count) * sizeof(struct line));
	lines->count -= count;
}

static void
put_in(struct lines_of *lines, size_t at, struct line line)
{
	if (lines->count == LINES_MAX)
		return;
	at %= lines->count + 1;
	memmove(&lines->at[at + 1], &lines->at[at],
	    (lines->count - at) * sizeof(struct line));
	lines->at[at] = line;
	lines->count++;
}

/* A line of its own memory, for *used bytes of the pool. */
static struct line
own(char pool[PUT_IN_MAX], size_t *used, const char *text, size_t n)
{
	struct line line = { pool + *used, n };

	if (n > PUT_IN_MAX - *used)
		line.n = PUT_IN_MAX - *used;
	if (line.n > 0)
		memcpy(line.text, text, line.n);
	*used += line.n;
	return line;
}

/* One byte of a line, which may be in there twice. */
static void
spoil(struct lines_of *lines, size_t at, size_t where, uint8_t what,
    char pool[PUT_IN_MAX], size_t *used)
{
	struct line *line = &lines->at[at % lines->count];

	if (line->n == 0)
		return;
	*line = own(pool, used, line->text, line->n);
	if (line->n > 0)
		line->text[where % line->n] = (char)(line->text[where %
		    line->n] ^ what);
}

static void
change(struct lines_of *lines, const uint8_t **data, size_t *n,
    char pool[PUT_IN_MAX], size_t *used)
{
	uint8_t how = take_byte(data, n), at = take_byte(data, n);
	uint8_t more = take_byte(data, n);
	size_t length = more;

	if (how % 6 == 0 || lines->count == 0) {
		if (length > *n)
			length = *n;
		put_in(lines, at, own(pool, used, (const char *)*data,
		    length));
		*data += length;
		*n -= length;
	} else if (how % 6 == 1) {
		take_away(lines, at % lines->count, more % 4 + 1u);
	} else if (how % 6 == 2) {
		take_away(lines, 0, at % lines->count);
	} else if (how % 6 == 3) {
		take_away(lines, at % lines->count, LINES_MAX);
	} else if (how % 6 == 4) {
		put_in(lines, more, lines->at[at % lines->count]);
	} else {
		size_t where = (size_t)(how / 6 % 4) << 8 | more;

		spoil(lines, at, where, take_byte(data, n), pool, used);
	}
}

/* ------------------------------------------------------------------- verifying */

static int
path_of(const char *text, size_t n, char path[64])
{
	int fd = memory_file(0);

	CLAIM(write(fd, text, n) == (ssize_t)n);
	(void)snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

/* What it prints is thrown away, once it was seen to be a sentence. */
static bool
end_of(struct verify *verify, const struct reader *reader)
{
	FILE *kept = stdout;
	char *text = NULL;
	size_t n = 0, i;
	bool is_good;

	stdout = open_memstream(&text, &n);
	CLAIM(stdout != NULL);
	is_good = verify_end(verify, reader);
	CLAIM(fclose(stdout) == 0);
	stdout = kept;
	for (i = 0; i < n; i++)
		CLAIM(text[i] == '\n' || (text[i] >= 0x20 && text[i] <= 0x7e));
	free(text);
	return is_good;
}

/* head: the mac of the last line as it was, kept elsewhere; or NULL. */
static bool
verifies(const struct lines_of *lines, const char *head)
{
	struct reader reader = { .faults = 0 };
	struct verify *verify = verify_new();
	char path[64];
	int fd = path_of(key_text, sizeof(key_text) - 1, path);
	bool is_good;
	size_t i;

	CLAIM(verify != NULL && verify_keys(verify, path) == 0);
	close(fd);
	if (head != NULL) {
		fd = path_of(head, CHAIN_MAC_TEXT - 1, path);
		CLAIM(verify_heads(verify, path) == 0);
		close(fd);
	}
	for (i = 0; i < lines->count; i++) {
		struct place place = { .path = "log", .line = i + 1,
			.text = lines->at[i].text, .n = lines->at[i].n };

		verify_line(verify, &reader, &place);
	}
	is_good = end_of(verify, &reader);
	verify_free(verify);
	return is_good;
}

/* Whether lines, from `from` on, are what was written from `begin` to the end,
 * or, where no head was kept, to any line. */
static bool
is_part(const struct lines_of *lines, size_t from, const struct lines_of *was,
    size_t begin, bool has_head)
{
	size_t count = lines->count - from, i;

	if (count == 0 || count > was->count - begin ||
	    (has_head && count != was->count - begin))
		return false;
	for (i = 0; i < count; i++) {
		const struct line *a = &lines->at[from + i];
		const struct line *b = &was->at[begin + i];

		if (a->n != b->n || memcmp(a->text, b->text, a->n) != 0)
			return false;
	}
	return true;
}

static bool
has_mac(const struct line *line)
{
	struct chain_mac mac;
	size_t covered;

	return chain_line_read(line->text, line->n, &mac, &covered);
}

/* What a chain cannot show. */
static bool
may_verify(const struct lines_of *lines, const struct lines_of *was,
    bool has_head)
{
	size_t plain = 0, begin;

	while (plain < lines->count && !has_mac(&lines->at[plain]))
		plain++;
	if (is_part(lines, plain, was, 0, has_head))
		return true;
	for (begin = 1; begin < was->count && plain == 0; begin++)
		if (memmem(was->at[begin].text, was->at[begin].n,
		    ",\"prev\":\"", 9) != NULL &&
		    is_part(lines, 0, was, begin, has_head))
			return true;
	return false;
}

static void
check_log(const uint8_t *data, size_t n)
{
	static struct lines_of was, now;
	static char pool[PUT_IN_MAX];
	bool has_head = take_byte(&data, &n) % 2 != 0;
	char *text = write_log(&data, &n);
	const char *head;
	size_t used = 0;

	split(text, &was);
	now = was;
	/* ,"mac":"HEAD"} */
	head = was.at[was.count - 1].text + was.at[was.count - 1].n -
	    (CHAIN_MAC_TEXT - 1) - 2;
	CLAIM(verifies(&was, head));
	for (unsigned i = 0; i < CHANGES_MAX && n > 0; i++)
		change(&now, &data, &n, pool, &used);
	CLAIM(verifies(&now, has_head ? head : NULL) ==
	    may_verify(&now, &was, has_head));
	free(text);
}

/* ------------------------------------------------------- keys and heads of files */

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z');
}

/* Words of 64 small hex digits. */
static size_t
count_words(const char *text, size_t n)
{
	size_t count = 0, length = 0, digits = 0, i;

	for (i = 0; i <= n; i++) {
		if (i < n && is_alnum(text[i])) {
			length++;
			digits += (text[i] <= '9' || (text[i] >= 'a' &&
			    text[i] <= 'f'));
			continue;
		}
		count += length == 64 && digits == 64;
		length = digits = 0;
	}
	return count;
}

static void
check_files(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data;
	struct verify *verify = verify_new();
	size_t count = count_words(text, n);
	uint8_t key[CHAIN_KEY_SIZE];
	char path[64];
	int fd = path_of(text, n, path);
	bool is_one = (n == 64 || (n == 65 && text[64] == '\n')) && count == 1;

	CLAIM(verify != NULL);
	CLAIM((verify_keys(verify, path) == 0) ==
	    (count > 0 && count <= KEYRING_KEYS));
	CLAIM((verify_heads(verify, path) == 0) == (count > 0));
	CLAIM(chain_key_parse(text, n, key) == is_one);
	verify_free(verify);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t mode = take_byte(&data, &n);

	log_init("fuzz", LOG_ERROR);
	if (mode % 4 != 3)
		check_log(data, n);
	else
		check_files(data, n);
	return 0;
}
