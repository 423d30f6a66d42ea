#include "fcgi-host/books/verify.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/books/keyring.h"
#include "fcgi-host/chain.h"
#include "fcgi-host/cmd.h"

#define PATH_SHOWN 1024
#define WORDS_MAX (1 << 20) /* of a file with keys or heads */

/* How a line ends before its mac where a key begins. */
#define NAMED_BEGIN ",\"chain\":\""
#define NAMED_MIDDLE "\",\"prev\":\""
#define NAMED_SIZE (sizeof(NAMED_BEGIN) - 1 + CHAIN_ID_TEXT - 1 + \
    sizeof(NAMED_MIDDLE) - 1 + CHAIN_MAC_TEXT - 1 + 1)

struct head {
	struct chain_mac mac;
	bool is_found;
};

/* What a record was, as far as it matters where a key ends. */
enum last_kind { LAST_OTHER, LAST_REOPEN, LAST_STOP, LAST_FAULT };

struct verify {
	struct keyring *ring;
	struct head *heads; /* sorted */
	size_t head_count;

	struct chain *chain; /* by the key of the lines now */
	size_t given;        /* from which it comes, */
	int step;            /* by so many steps */
	bool has_key;
	bool is_chained;       /* a line with a mac has come */
	struct chain_mac last; /* of the last line, as it stands there */
	struct chain_mac good; /* of the last one that follows */
	enum last_kind kind;

	uint64_t verified, unchained, unknown, keys_seen;
	char unknown_at[PATH_SHOWN + 32]; /* the first of them */
	char begins[CHAIN_MAC_TEXT];      /* the mac before the first; "" */
};

struct verify *
verify_new(void)
{
	static const uint8_t none[CHAIN_KEY_SIZE];
	struct verify *verify = calloc(1, sizeof(*verify));

	if (verify == NULL)
		return NULL;
	verify->chain = chain_new(none);
	verify->ring = keyring_new();
	if (verify->chain != NULL && verify->ring != NULL)
		return verify;
	verify_free(verify);
	return NULL;
}

void
verify_free(struct verify *verify)
{
	if (verify == NULL)
		return;
	chain_free(verify->chain);
	keyring_free(verify->ring);
	free(verify->heads);
	free(verify);
}

/* ---- keys and heads ---- */

/* Calls take for each word, whatever stands between them; what it does not take is
 * passed over.  How many it took, or a negative number. */
static int
words_take(struct verify *verify, const char *text, size_t n,
    int (*take)(struct verify *verify, const char *word, size_t n))
{
	int taken = 0;

	for (size_t at = 0, end; at < n && taken >= 0; at = end + 1) {
		int is_taken;

		for (end = at; end < n && isalnum((unsigned char)text[end]);)
			end++;
		is_taken = end > at ? take(verify, text + at, end - at) : 0;
		taken = is_taken < 0 ? is_taken : taken + is_taken;
	}
	return taken;
}

/* All of a file, in memory that is to be overwritten; or a negative errno.  A file
 * of which only the beginning was read would pass for one that holds no more. */
static int
words_read(const char *path, char **text, size_t *n)
{
	FILE *file = fopen(path, "re");
	int error = 0;

	*text = file != NULL ? malloc(WORDS_MAX) : NULL;
	if (*text == NULL) {
		error = -errno;
	} else {
		(void)setvbuf(file, NULL, _IONBF, 0); /* no copy of a key */
		*n = fread(*text, 1, WORDS_MAX, file);
		if (ferror(file))
			error = -errno;
		else if (*n == WORDS_MAX)
			error = -EFBIG;
	}
	if (file != NULL)
		(void)fclose(file);
	return error;
}

static int
words_each(struct verify *verify, const char *path, const char *what,
    int (*take)(struct verify *verify, const char *word, size_t n))
{
	char *text;
	size_t n = 0;
	int taken = 0, error = words_read(path, &text, &n);

	if (error == 0)
		taken = words_take(verify, text, n, take);
	if (text != NULL)
		explicit_bzero(text, n);
	free(text);
	if (error == 0 && taken > 0)
		return 0;
	if (error == -EFBIG)
		(void)cmd_fail("%s: longer than a MiB: leave in it what is "
		    "needed", path);
	else if (error != 0)
		(void)cmd_fail("%s: %s", path, strerror(-error));
	else if (taken < 0)
		(void)cmd_fail("%s: no memory, or too many of them", path);
	else
		(void)cmd_fail("%s: %s, that is 64 digits of 0-9 a-f", path,
		    what);
	return -EINVAL;
}

static int
key_take(struct verify *verify, const char *word, size_t n)
{
	uint8_t key[CHAIN_KEY_SIZE];
	int taken = 0;

	if (n == 2 * CHAIN_KEY_SIZE && chain_key_parse(word, n, key))
		taken = keyring_add(verify->ring, key) == 0 ? 1 : -1;
	explicit_bzero(key, sizeof(key));
	return taken;
}

int
verify_keys(struct verify *verify, const char *path)
{
	return words_each(verify, path, "there is no key in it", key_take);
}

static int
head_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct chain_mac));
}

static int
head_take(struct verify *verify, const char *word, size_t n)
{
	struct head head = { .is_found = false }, *grown;

	if (!chain_mac_parse(word, n, &head.mac))
		return 0;
	grown = reallocarray(verify->heads, verify->head_count + 1,
	    sizeof(*grown));
	if (grown == NULL)
		return -1;
	verify->heads = grown;
	grown[verify->head_count++] = head;
	return 1;
}

int
verify_heads(struct verify *verify, const char *path)
{
	int error = words_each(verify, path, "there is no head in it",
	    head_take);

	if (error == 0)
		qsort(verify->heads, verify->head_count,
		    sizeof(*verify->heads), head_compare);
	return error;
}

/* It may stand there twice. */
static void
head_find(struct verify *verify, const struct chain_mac *mac)
{
	struct head *head = verify->head_count == 0 ? NULL : bsearch(mac,
	    verify->heads, verify->head_count, sizeof(*head), head_compare);
	const struct head *end;

	if (head == NULL)
		return;
	end = verify->heads + verify->head_count;
	while (head > verify->heads && head_compare(head - 1, mac) == 0)
		head--;
	for (; head < end && head_compare(head, mac) == 0; head++)
		head->is_found = true;
}

/* What the key of a line is to the one before it. */
struct succession {
	bool is_same; /* it is that one */
	bool is_next; /* that leads to it */
	int skipped;  /* keys on the way to it, from that or from one given */
};

static struct succession
key_find(struct verify *verify, const char *name)
{
	struct succession to = { .is_same = false };
	size_t given = verify->given;
	int step = verify->has_key ?
	    keyring_find(verify->ring, given, name) : -1;
	int behind = step - verify->step;

	if (step >= 0 && behind >= 0) {
		to.is_same = behind == 0;
		to.is_next = true;
		to.skipped = behind > 0 ? behind - 1 : 0;
	} else {
		for (step = -1, given = 0; step < 0 &&
		    given < keyring_count(verify->ring); given++)
			step = keyring_find(verify->ring, given, name);
		to.skipped = step;
		given--;
	}
	verify->has_key = step >= 0;
	if (step < 0)
		return to;
	verify->given = given;
	verify->step = step;
	chain_set_key(verify->chain, keyring_key(verify->ring, given, step));
	return to;
}

/* ---- lines ---- */

/* A line that says by which key it is chained. */
struct named {
	const char *name;
	struct chain_mac prev;
};

static bool
named_read(const char *line, size_t n, struct named *named)
{
	const char *at = line + n - NAMED_SIZE;
	const char *middle;

	if (n < NAMED_SIZE ||
	    memcmp(at, NAMED_BEGIN, sizeof(NAMED_BEGIN) - 1) != 0)
		return false;
	named->name = at + sizeof(NAMED_BEGIN) - 1;
	middle = named->name + CHAIN_ID_TEXT - 1;
	return memcmp(middle, NAMED_MIDDLE, sizeof(NAMED_MIDDLE) - 1) == 0 &&
	    line[n - 1] == '"' && chain_mac_parse(middle +
	    sizeof(NAMED_MIDDLE) - 1, CHAIN_MAC_TEXT - 1, &named->prev);
}

/* A quote in a value has a backslash before it, so no value looks like this. */
static enum last_kind
kind_of(const char *line, size_t n)
{
	static const char host[] = ",\"type\":\"host\",";
	static const char reopen[] = ",\"event\":\"reopen\",";
	static const char stop[] = ",\"event\":\"stop\",";

	if (memmem(line, n < 64 ? n : 64, host, sizeof(host) - 1) == NULL)
		return LAST_OTHER;
	return memmem(line, n, reopen, sizeof(reopen) - 1) != NULL ?
	    LAST_REOPEN : memmem(line, n, stop, sizeof(stop) - 1) != NULL ?
	    LAST_STOP : LAST_OTHER;
}

static void
no_mac(struct verify *verify, struct reader *reader, const struct place *place)
{
	if (!verify->is_chained) {
		verify->unchained++;
		return;
	}
	reader_fault(reader, place->path, place->line, "the line has no mac: "
	    "it was put in, or its mac was taken away");
}

/* Whether a key's first line is in its place. */
static bool
prev_check(struct verify *verify, struct reader *reader,
    const struct place *place, const struct named *named)
{
	const char *problem = NULL;

	if (!verify->is_chained && chain_mac_is_none(&named->prev))
		return true;
	if (!verify->is_chained && verify->unchained > 0)
		problem = "the chain began before this line, and the lines "
		    "before it have no mac: it was taken away";
	else if (!verify->is_chained)
		chain_mac_text(&named->prev, verify->begins);
	else if (chain_mac_is_none(&named->prev))
		problem = "another chain begins here: the log was moved away "
		    "while the host and its `run` were gone, or lines before "
		    "this one were taken away";
	else if (!chain_mac_same(&named->prev, &verify->last) &&
	    !chain_mac_same(&named->prev, &verify->good))
		problem = "it does not follow on the line before it: lines "
		    "between them are missing, or these stand there twice";
	if (problem != NULL)
		reader_fault(reader, place->path, place->line, "%s", problem);
	head_find(verify, &named->prev);
	return problem == NULL;
}

/*
 * Lines by a key of before may be cut off at the end by whoever has this one, but
 * for the last, which he cannot write; or all lines of a key.  Each key writes the
 * first line of its file, and none is left out by a rotation.
 */
static void
change_check(const struct verify *verify, struct reader *reader,
    const struct place *place, const struct succession *to)
{
	if (to->skipped > 0)
		reader_fault(reader, place->path, place->line, "between the "
		    "line before it and this one %d key%s no line: files are "
		    "missing there, or the host died in one rotation behind "
		    "the other; a head that was kept (--heads) tells",
		    to->skipped, to->skipped == 1 ? " has" : "s have");
	else if (verify->kind != LAST_REOPEN && verify->kind != LAST_FAULT &&
	    (verify->kind != LAST_STOP || to->is_next))
		reader_fault(reader, place->path, place->line, "the key "
		    "changes behind a line that is no end of one: the host "
		    "died in a rotation, or lines were cut off there; a head "
		    "that was kept (--heads) tells");
}

static void
key_begin(struct verify *verify, struct reader *reader,
    const struct place *place, const struct named *named)
{
	bool is_in_place = prev_check(verify, reader, place, named);
	bool had_key = verify->has_key;
	struct succession to = key_find(verify, named->name);

	if (!verify->has_key || to.is_same)
		return;
	verify->keys_seen++;
	if (had_key && is_in_place)
		change_check(verify, reader, place, &to);
}

static bool
is_behind(struct verify *verify, const struct chain_mac *before,
    const struct place *place, size_t covered, const struct chain_mac *mac)
{
	struct chain_mac made;

	chain_mac(verify->chain, before, place->text, covered, &made);
	return chain_mac_same(&made, mac);
}

/* Whether the line follows on the last, or on the last that followed itself: then
 * those between were put in, and have been told. */
static bool
follows(struct verify *verify, const struct place *place, size_t covered,
    const struct chain_mac *mac, const struct named *named)
{
	if (named != NULL)
		return is_behind(verify, &named->prev, place, covered, mac);
	return is_behind(verify, &verify->last, place, covered, mac) ||
	    (!chain_mac_same(&verify->last, &verify->good) &&
	    is_behind(verify, &verify->good, place, covered, mac));
}

static void
unknown_note(struct verify *verify, const struct place *place)
{
	char shown[PATH_SHOWN];

	if (verify->unknown++ == 0)
		snprintf(verify->unknown_at, sizeof(verify->unknown_at),
		    "%s:%" PRIu64, log_value(shown, sizeof(shown),
		    place->path, strlen(place->path)), place->line);
}

void
verify_line(struct verify *verify, struct reader *reader,
    const struct place *place)
{
	struct named found, *named = NULL;
	struct chain_mac mac;
	bool is_good = true;
	size_t covered;

	if (!chain_line_read(place->text, place->n, &mac, &covered)) {
		no_mac(verify, reader, place);
		return;
	}
	if (named_read(place->text, covered, &found))
		named = &found;
	if (named != NULL)
		key_begin(verify, reader, place, named);
	if (!verify->has_key)
		unknown_note(verify, place);
	else
		is_good = follows(verify, place, covered, &mac, named);
	if (!is_good)
		reader_fault(reader, place->path, place->line, "the line was "
		    "changed, or put in, or lines before it are missing or "
		    "stand elsewhere");
	else if (verify->has_key)
		verify->verified++;
	verify->is_chained = true;
	verify->last = mac;
	verify->kind = is_good ? kind_of(place->text, covered) : LAST_FAULT;
	if (is_good) {
		verify->good = mac;
		head_find(verify, &mac);
	}
}

/* ---- the end ---- */

static bool
heads_check(const struct verify *verify)
{
	char text[CHAIN_MAC_TEXT];
	bool is_good = true;

	for (size_t i = 0; i < verify->head_count; i++) {
		if (verify->heads[i].is_found)
			continue;
		chain_mac_text(&verify->heads[i].mac, text);
		(void)cmd_fail("the head %s is the mac of no line: lines up "
		    "to it are missing", text);
		is_good = false;
	}
	return is_good;
}

bool
verify_end(struct verify *verify, const struct reader *reader)
{
	bool is_good = heads_check(verify) && reader->faults == 0;
	char text[CHAIN_MAC_TEXT];

	if (verify->unknown > 0) {
		(void)cmd_fail("%" PRIu64 " line%s not verified, from %s "
		    "on: no key that was given leads to theirs; give the "
		    "first one, of which a copy was kept (--chain-key)",
		    verify->unknown, verify->unknown == 1 ? " is" : "s are",
		    verify->unknown_at);
		is_good = false;
	}
	if (!verify->is_chained) {
		(void)cmd_fail("no line has a mac: [host] chain_key was not "
		    "set, or all were taken away");
		return false;
	}
	if (verify->unchained > 0)
		printf("%" PRIu64 " records before the chain begins, not "
		    "verified\n", verify->unchained);
	if (verify->begins[0] != '\0')
		printf("the first record follows on %s, which is not here\n",
		    verify->begins);
	chain_mac_text(&verify->last, text);
	printf("%" PRIu64 " record%s verified, by %" PRIu64 " key%s; the head "
	    "is %s\n", verify->verified, verify->verified == 1 ? "" : "s",
	    verify->keys_seen, verify->keys_seen == 1 ? "" : "s", text);
	return is_good;
}
