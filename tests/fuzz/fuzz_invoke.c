/*
 * `invoke`: what a host answers, which may be any bytes, is read alike however
 * it is cut, and only END_REQUEST makes an answer complete; and what a person
 * types becomes a request that says what he typed, with no param twice but
 * where he gave a header twice, or is refused in a sentence.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>

#include "fcgi-host/cmd_invoke.h"
#include "fcgi-host/fcgi_params.h"

#define TEXTS 4 /* function, method, path, query; the rest are headers */
#define TEXT_MAX 4096
#define PROBLEM_MAX 512

static char prefix[] = "/fn";
static const struct conf conf = { .refs = 1, .url_prefix = prefix };

/* ---------------------------------------------------------------- the answer */

static void
feed(struct invoke_answer *answer, const uint8_t *data, size_t n, bool is_cut,
    uint32_t seed)
{
	invoke_answer_init(answer);
	while (n > 0) {
		size_t length = is_cut ? next_cut(&seed, n) : n;

		CLAIM(invoke_answer_feed(answer, data, length) == 0);
		data += length;
		n -= length;
	}
}

static void
same(const struct invoke_answer *a, const struct invoke_answer *b)
{
	CLAIM(a->is_complete == b->is_complete && a->is_bad == b->is_bad &&
	    a->is_cut == b->is_cut);
	CLAIM(a->head.state == b->head.state);
	CLAIM(a->head.state != CGI_RESPONSE_DONE ||
	    a->head.status == b->head.status);
	CLAIM(same_bytes(&a->body, &b->body));
	CLAIM(same_bytes(&a->errors, &b->errors));
}

/* The body is all that its request wrote behind the head. */
static void
check_body(const struct invoke_answer *answer, const struct buf *out)
{
	size_t body = buf_len(&answer->body);

	CLAIM(body <= buf_len(out));
	CLAIM(body == 0 || memcmp(answer->body.data + answer->body.start,
	    out->data + out->end - body, body) == 0);
	CLAIM(body == 0 || answer->head.state == CGI_RESPONSE_DONE);
}

/* The streams of request 1 as a plain reading finds them, up to its end. */
static void
check_streams(const struct invoke_answer *answer, const uint8_t *data,
    size_t n)
{
	struct buf out = { .data = NULL };
	size_t errors = 0, end = 0;
	bool is_over = false, is_ended = false;

	while (n >= 8 && data[0] == 1 && !is_over) {
		size_t length = (size_t)data[4] << 8 | data[5];
		size_t there = length < n - 8 ? length : n - 8;
		bool is_ours = data[2] == 0 && data[3] == 1;

		if (is_ours && data[1] == FCGI_STDOUT)
			CLAIM(buf_add(&out, data + 8, there) == 0);
		errors += is_ours && data[1] == FCGI_STDERR ? there : 0;
		end += is_ours && data[1] == FCGI_END_REQUEST ? there : 0;
		if (length + data[6] > n - 8)
			break;
		is_ended = is_ours && data[1] == FCGI_END_REQUEST && end >= 8;
		is_over = is_ended ||
		    (is_ours && data[1] == FCGI_ABORT_REQUEST);
		length += 8 + data[6];
		data += length;
		n -= length;
	}
	CLAIM(answer->is_bad || answer->is_complete == is_ended);
	CLAIM(answer->is_bad || buf_len(&answer->errors) == errors);
	if (!answer->is_bad)
		check_body(answer, &out);
	buf_free(&out);
}

static void
be_answered(const uint8_t *data, size_t n)
{
	struct invoke_answer whole, cut, bytes;
	uint32_t seed = 0x9e3779b9u ^ (uint32_t)n;

	feed(&whole, data, n, false, 0);
	feed(&cut, data, n, true, seed);
	feed(&bytes, data, n, true, 0);
	same(&whole, &cut);
	same(&whole, &bytes);
	check_streams(&whole, data, n);
	CLAIM(whole.is_complete + whole.is_bad + whole.is_cut <= 1);
	CLAIM(whole.head.state != CGI_RESPONSE_BAD || whole.is_bad);
	invoke_answer_free(&whole);
	invoke_answer_free(&cut);
	invoke_answer_free(&bytes);
}

/* --------------------------------------------------------------- the request */

/* The texts that stand in the input, each up to a NUL. */
static size_t
take_texts(const uint8_t *data, size_t n, char *memory, const char **texts,
    size_t max)
{
	size_t count = 0;
	char *at = memory, *end = memory + n;

	if (n > 0)
		memcpy(memory, data, n);
	memory[n] = '\0';
	for (; at <= end && count < max; at += strlen(at) + 1)
		texts[count++] = at;
	return count;
}

/* Params and body as they come out of the records. */
static struct params *
read_back(const struct buf *wire, struct buf *body)
{
	struct params *params = params_new(1 << 20, 256);
	struct fcgi_parser parser = { 0 };
	const uint8_t *data = wire->data + wire->start;
	size_t n = buf_len(wire);
	enum fcgi_event event;

	CLAIM(params != NULL);
	while ((event = fcgi_parse(&parser, &data, &n)) != FCGI_EVENT_MORE) {
		CLAIM(event != FCGI_EVENT_BAD && parser.id == 1);
		if (event == FCGI_EVENT_DATA && parser.type == FCGI_PARAMS)
			CLAIM(params_feed(params, parser.data,
			    parser.length) == 0);
		if (event == FCGI_EVENT_DATA && parser.type == FCGI_STDIN)
			CLAIM(buf_add(body, parser.data, parser.length) == 0);
	}
	CLAIM(parser.type == FCGI_STDIN && parser.content_length == 0);
	CLAIM(params_finish(params) == 0);
	return params;
}

static void
check_pairs(const struct params *params)
{
	for (size_t i = 0; i < params_count(params); i++) {
		struct param at = params_at(params, i);
		size_t times = 0, j;

		CLAIM(strcmp(at.name, "HTTP_CONTENT_LENGTH") != 0);
		for (j = 0; at.name[j] != '\0'; j++)
			CLAIM(at.name[j] > 0x20 && at.name[j] < 0x7f);
		for (j = 0; strncmp(at.name, "HTTP_", 5) == 0 &&
		    at.value[j] != '\0'; j++)
			CLAIM((unsigned char)at.value[j] >= 0x20 ||
			    at.value[j] == '\t');
		for (j = 0; j < params_count(params); j++)
			times += strcmp(params_at(params, j).name,
			    at.name) == 0;
		CLAIM(times == 1 || strncmp(at.name, "HTTP_", 5) == 0 ||
		    strcmp(at.name, "CONTENT_TYPE") == 0);
	}
}

static void
check_request(const struct invoke_request *request, const struct buf *wire)
{
	struct buf body = { .data = NULL };
	struct params *params = read_back(wire, &body);
	char length[32] = "";

	if (request->has_body)
		(void)snprintf(length, sizeof(length), "%zu",
		    request->body_bytes);
	CLAIM(buf_len(&body) == request->body_bytes);
	CLAIM(strcmp(params_get(params, "CONTENT_LENGTH"), length) == 0);
	CLAIM(strcmp(params_get(params, "REQUEST_METHOD"),
	    request->method) == 0);
	CLAIM(strcmp(params_get(params, "QUERY_STRING"), request->query) == 0);
	CLAIM(strcmp(params_get(params, "FCGI_HOST_FUNCTION"),
	    request->function) == 0);
	CLAIM(strncmp(params_get(params, "REQUEST_URI"), "/fn/", 4) == 0);
	check_pairs(params);
	params_free(params);
	buf_free(&body);
}

static void
be_asked(const uint8_t *data, size_t n)
{
	char memory[TEXT_MAX + 1], problem[PROBLEM_MAX] = "";
	const char *texts[TEXTS + CMD_TEXTS_MAX];
	struct invoke_request request = { .has_body = n % 2 == 0,
		.body = "data", .body_bytes = n % 2 == 0 ? n % 5 : 0 };
	struct buf wire = { .data = NULL };
	size_t count, i;
	int error;

	count = take_texts(data, n < TEXT_MAX ? n : TEXT_MAX, memory, texts,
	    TEXTS + CMD_TEXTS_MAX);
	for (i = count; i < TEXTS; i++)
		texts[i] = "";
	request.function = texts[0];
	request.method = texts[1];
	request.path_info = texts[2];
	request.query = texts[3];
	for (i = TEXTS; i < count; i++)
		request.headers.at[request.headers.count++] = texts[i];
	error = invoke_put(&request, &conf, &wire, problem, sizeof(problem));
	CLAIM(error == 0 || error == -EINVAL);
	CLAIM(error == 0 || problem[0] != '\0');
	if (error == 0)
		check_request(&request, &wire);
	buf_free(&wire);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t mode = take_byte(&data, &n);

	if (mode % 2 == 0)
		be_answered(data, n);
	else
		be_asked(data, n);
	return 0;
}
