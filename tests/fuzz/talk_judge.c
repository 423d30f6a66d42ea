#include "tests/fuzz/talk.h"

#include <stdio.h>
#include <string.h>

#include "fcgi-host/cgi_response.h"
#include "tests/fuzz/fuzz.h"

#define HEAD_MAX 65536

/* A whole answer, read plainly. */
struct reading {
	bool has_head;
	int status;
	int64_t length; /* Content-Length, -1 */
	const char *body;
	size_t body_bytes;
};

/* ---------------------------------------------------- what the program wrote */

/* The STDOUT in the records, up to the END_REQUEST. */
static void
read_records(struct buf *records, uint16_t id, struct buf *text)
{
	const uint8_t *data = buf_head(records);
	size_t n = buf_len(records);

	while (n >= 8 && data[0] == 1) {
		size_t length = (size_t)data[4] << 8 | data[5];
		size_t whole = length + data[6], have;
		bool is_own = ((unsigned)data[2] << 8 | data[3]) == id;
		uint8_t type = data[1];

		data += 8;
		n -= 8;
		have = length < n ? length : n;
		if (is_own && type == FCGI_STDOUT && have > 0)
			CLAIM(buf_add(text, data, have) == 0);
		if (n < whole || (is_own && type == FCGI_END_REQUEST))
			return;
		data += whole;
		n -= whole;
	}
}

static void
program_text(struct request_story *story, struct buf *text)
{
	if (story->id != 0)
		read_records(&story->said, story->id, text);
	else if (buf_len(&story->said) > 0)
		CLAIM(buf_add(text, buf_head(&story->said),
		    buf_len(&story->said)) == 0);
}

/* cgi_response has a fuzz target of its own: here it is trusted. */
static struct reading
read_answer(const char *text, size_t n, bool is_head)
{
	struct cgi_response response;
	struct reading reading = { .body = "" };
	size_t used;

	if (n == 0)
		return reading;
	cgi_response_init(&response, HEAD_MAX);
	used = cgi_response_feed(&response, (const uint8_t *)text, n);
	reading.has_head = response.state == CGI_RESPONSE_DONE;
	reading.status = response.status;
	reading.length = response.content_length;
	reading.body = text + used;
	reading.body_bytes = n - used;
	if (cgi_response_is_bodyless(response.status, is_head ? "HEAD" :
	    "POST")) {
		reading.body_bytes = 0;
		reading.length = 0;
	}
	cgi_response_free(&response);
	return reading;
}

/* -------------------------------------------------------- what its record says */

/* Claims that there is one, and only one; to be freed. */
static char *
record_of(const struct talk *talk, unsigned number)
{
	char *log = stage_log(&talk->stage), id[32], *at, *line, *end;

	snprintf(id, sizeof(id), "\"request_id\":\"n%u\"", number);
	at = strstr(log, id);
	CLAIM(at != NULL && strstr(at + 1, id) == NULL);
	end = strchr(at, '\n');
	CLAIM(end != NULL);
	*end = '\0';
	line = strdup(at);
	CLAIM(line != NULL);
	free(log);
	return line;
}

/* What stands behind the name, without the quotes of a string. */
static const char *
field_of(const char *record, const char *name)
{
	char key[32];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(record, key);
	CLAIM(at != NULL);
	at += strlen(key);
	return *at == '"' ? at + 1 : at;
}

static bool
is_field(const char *record, const char *name, const char *value)
{
	const char *at = field_of(record, name);

	return strncmp(at, value, strlen(value)) == 0 &&
	    at[strlen(value)] == '"';
}

static unsigned long
number_field(const char *record, const char *name)
{
	return strtoul(field_of(record, name), NULL, 10);
}

/* ---------------------------------------------------------------- the verdict */

static bool
is_whole(const struct reading *wrote)
{
	return wrote->has_head && (wrote->length < 0 ||
	    (uint64_t)wrote->length == wrote->body_bytes);
}

static bool
is_same(const struct reading *a, const struct reading *b)
{
	return a->status == b->status && a->length == b->length &&
	    a->body_bytes == b->body_bytes &&
	    memcmp(a->body, b->body, a->body_bytes) == 0;
}

/* One of ours gives the record's reason. */
static void
check_ours(const char *record, const struct reading *came, bool is_head)
{
	const char *reason = field_of(record, "reason");
	size_t n = strcspn(reason, "\"");

	CLAIM(!is_field(record, "outcome", "ok"));
	if (is_head)
		CLAIM(came->body_bytes == 0);
	else
		CLAIM(came->body_bytes == n + 1 &&
		    memcmp(came->body, reason, n) == 0 &&
		    came->body[n] == '\n');
}

void
talk_judge(struct talk *talk, unsigned number, struct buf *answer)
{
	struct request_story *story = &talk->requests[number];
	char *record = record_of(talk, number);
	struct buf text = { 0 };
	struct reading wrote, came;
	bool is_good = is_field(record, "outcome", "ok") ||
	    is_field(record, "reason", "exit code");

	CLAIM(!is_good || !story->is_lied_about);
	program_text(story, &text);
	wrote = read_answer((const char *)buf_head(&text), buf_len(&text),
	    story->is_head);
	came = read_answer((const char *)buf_head(answer), buf_len(answer),
	    story->is_head);
	/* an aborted one has an end, and no answer that anybody reads */
	if (!story->is_aborted) {
		CLAIM(came.has_head && is_whole(&came));
		CLAIM(number_field(record, "status") ==
		    (unsigned long)came.status);
		if (is_good)
			CLAIM(is_whole(&wrote) && is_same(&wrote, &came) &&
			    number_field(record, "bytes_out") ==
			    buf_len(&text));
		/* where a length says that all is there, a crash behind it
		 * changes nothing */
		else if (!is_field(record, "outcome", "crash") ||
		    wrote.length <= 0 || !is_same(&wrote, &came))
			check_ours(record, &came, story->is_head);
	}
	buf_free(&text);
	free(record);
}

void
talk_judge_early(const struct talk *talk, unsigned number,
    struct buf *answer)
{
	struct reading came = read_answer((const char *)buf_head(answer),
	    buf_len(answer), talk->requests[number].is_head);

	if (came.has_head && came.length >= 0 &&
	    came.body_bytes >= (uint64_t)came.length)
		CLAIM(talk_records(talk, number) == 1);
}

void
talk_judge_books(const struct talk *talk)
{
	char *log = stage_log(&talk->stage), *at = log;
	unsigned long long seq = 0;

	while ((at = strstr(at, "\"seq\":")) != NULL) {
		at += 6;
		CLAIM(strtoull(at, NULL, 10) == ++seq);
	}
	CLAIM(seq == ledger_seq(talk->stage.ledger));
	free(log);
	CLAIM(stage_log_count(&talk->stage, "\"type\":\"exec\"") ==
	    talk->stage.server.executions);
	for (unsigned i = 1; i <= talk->count; i++) {
		size_t records = talk_records(talk, i);

		CLAIM(records <= 1);
		CLAIM(records == 1 || !talk->requests[i].is_sent);
	}
}
