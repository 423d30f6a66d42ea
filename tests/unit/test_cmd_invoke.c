#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "fcgi-host/cmd_invoke.h"
#include "fcgi-host/fcgi_params.h"

static char prefix[] = "/fn";
static const struct conf conf = { .refs = 1, .url_prefix = prefix };
static char problem[256];

static struct invoke_request
plain(const char *function)
{
	struct invoke_request request = { .function = function,
		.method = "GET", .path_info = "", .query = "" };

	return request;
}

/* Reads a request back: its params, and the bytes of its STDIN. */
static struct params *
read_back(struct buf *wire, struct buf *body)
{
	struct params *params = params_new(65536, 256);
	struct fcgi_parser parser = { 0 };
	const uint8_t *data = buf_head(wire);
	size_t n = buf_len(wire);
	bool has_params_end = false, has_body_end = false;

	for (;;) {
		enum fcgi_event event = fcgi_parse(&parser, &data, &n);

		if (event == FCGI_EVENT_MORE)
			break;
		assert_int_not_equal(event, FCGI_EVENT_BAD);
		if (event == FCGI_EVENT_HEADER && parser.content_length == 0) {
			has_params_end |= parser.type == FCGI_PARAMS;
			has_body_end |= parser.type == FCGI_STDIN;
		}
		if (event == FCGI_EVENT_DATA && parser.type == FCGI_PARAMS)
			assert_int_equal(params_feed(params, parser.data,
			    parser.length), 0);
		if (event == FCGI_EVENT_DATA && parser.type == FCGI_STDIN)
			assert_int_equal(buf_add(body, parser.data,
			    parser.length), 0);
	}
	assert_int_equal(params_finish(params), 0);
	assert_true(has_params_end && has_body_end);
	return params;
}

static void
a_request_says_what_the_options_said(void **state)
{
	struct invoke_request request = plain("alice/resize");
	struct buf wire = { 0 }, body = { 0 };
	struct params *params;

	(void)state;
	request.method = "PUT";
	request.path_info = "/a b/\xc3\xa9";
	request.query = "x=1&y=%20";
	request.headers.at[0] = "X-Two-Words:  v: w ";
	request.headers.at[1] = "content-type: text/csv";
	request.headers.count = 2;
	request.has_body = true;
	request.body = "data";
	request.body_bytes = 4;
	assert_int_equal(invoke_put(&request, &conf, &wire, problem,
	    sizeof(problem)), 0);
	params = read_back(&wire, &body);
	assert_string_equal(params_get(params, "REQUEST_METHOD"), "PUT");
	assert_string_equal(params_get(params, "DOCUMENT_URI"),
	    "/fn/alice/resize/a b/\xc3\xa9");
	assert_string_equal(params_get(params, "REQUEST_URI"),
	    "/fn/alice/resize/a%20b/%C3%A9?x=1&y=%20");
	assert_string_equal(params_get(params, "QUERY_STRING"), "x=1&y=%20");
	assert_string_equal(params_get(params, "FCGI_HOST_FUNCTION"),
	    "alice/resize");
	assert_string_equal(params_get(params, "FCGI_HOST_PREFIX"),
	    "/fn/alice/resize");
	assert_string_equal(params_get(params, "HTTP_X_TWO_WORDS"), "v: w ");
	assert_string_equal(params_get(params, "CONTENT_TYPE"), "text/csv");
	assert_string_equal(params_get(params, "CONTENT_LENGTH"), "4");
	assert_int_equal(buf_len(&body), 4);
	params_free(params);
	buf_free(&body);
	buf_free(&wire);
}

static void
without_data_there_is_no_length(void **state)
{
	struct invoke_request request = plain("hello");
	struct buf wire = { 0 }, body = { 0 };
	struct params *params;

	(void)state;
	assert_int_equal(invoke_put(&request, &conf, &wire, problem,
	    sizeof(problem)), 0);
	params = read_back(&wire, &body);
	assert_string_equal(params_get(params, "CONTENT_LENGTH"), "");
	assert_string_equal(params_get(params, "REQUEST_URI"), "/fn/hello");
	assert_int_equal(buf_len(&body), 0);
	params_free(params);
	buf_free(&wire);
}

static void
refused(const struct invoke_request *request, const char *part)
{
	struct buf wire = { 0 };

	assert_int_equal(invoke_put(request, &conf, &wire, problem,
	    sizeof(problem)), -EINVAL);
	assert_non_null(strstr(problem, part));
	buf_free(&wire);
}

static void
what_cannot_be_sent_is_refused_in_words(void **state)
{
	static const char *const headers[] = { "no colon", ": v", "a b: v",
		"X: a\nY: b", "X: a\r", "Content-Length: 5", "" };
	struct invoke_request request = plain("../etc");
	size_t i;

	(void)state;
	refused(&request, "no name of a function");
	request = plain("hello");
	request.method = "GET /";
	refused(&request, "no method");
	request.method = "";
	refused(&request, "no method");
	request = plain("hello");
	request.path_info = "x";
	refused(&request, "begins with a slash");
	for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		request = plain("hello");
		request.headers.at[0] = headers[i];
		request.headers.count = 1;
		refused(&request, "");
	}
}

static void
make_answer(struct buf *wire, const char *text)
{
	assert_int_equal(fcgi_put_stream(wire, FCGI_STDOUT, 1, text,
	    strlen(text)), 0);
	assert_int_equal(fcgi_put_stream(wire, FCGI_STDERR, 1, "oops\n", 5),
	    0);
	assert_int_equal(fcgi_put_stream(wire, FCGI_STDOUT, 2, "other", 5),
	    0);
	assert_int_equal(fcgi_put_stream_end(wire, FCGI_STDOUT, 1), 0);
	assert_int_equal(fcgi_put_end(wire, 1, 0, FCGI_REQUEST_COMPLETE), 0);
}

static void
an_answer_is_the_same_however_it_is_cut(void **state)
{
	struct buf wire = { 0 };
	size_t cut;

	(void)state;
	make_answer(&wire, "Status: 201\r\nContent-Type: a/b\r\n\r\nbody");
	for (cut = 0; cut <= buf_len(&wire); cut++) {
		struct invoke_answer answer;

		invoke_answer_init(&answer);
		assert_int_equal(invoke_answer_feed(&answer, buf_head(&wire),
		    cut), 0);
		assert_true(answer.is_complete == (cut == buf_len(&wire)));
		assert_int_equal(invoke_answer_feed(&answer,
		    buf_head(&wire) + cut, buf_len(&wire) - cut), 0);
		assert_true(answer.is_complete && !answer.is_bad);
		assert_int_equal(answer.head.status, 201);
		assert_int_equal(buf_len(&answer.body), 4);
		assert_memory_equal(buf_head(&answer.body), "body", 4);
		assert_int_equal(buf_len(&answer.errors), 5);
		invoke_answer_free(&answer);
	}
	buf_free(&wire);
}

static void
an_answer_that_is_none_is_bad(void **state)
{
	struct invoke_answer answer;
	struct buf wire = { 0 };

	(void)state;
	make_answer(&wire, "no header at all\n\n");
	invoke_answer_init(&answer);
	assert_int_equal(invoke_answer_feed(&answer, buf_head(&wire),
	    buf_len(&wire)), 0);
	assert_true(answer.is_bad);
	assert_non_null(answer.head.problem);
	invoke_answer_free(&answer);
	buf_free(&wire);
	invoke_answer_init(&answer);
	assert_int_equal(invoke_answer_feed(&answer,
	    (const uint8_t *)"HTTP/1.1 200 OK\r\n", 17), 0);
	assert_true(answer.is_bad);
	invoke_answer_free(&answer);
}

static void
a_cut_answer_is_no_bad_one(void **state)
{
	struct invoke_answer answer;
	struct buf wire = { 0 };

	(void)state;
	assert_int_equal(fcgi_put_stream(&wire, FCGI_STDOUT, 1,
	    "Status: 200\n\nhalf", 17), 0);
	assert_int_equal(fcgi_put_cut(&wire, 1), 0);
	invoke_answer_init(&answer);
	assert_int_equal(invoke_answer_feed(&answer, buf_head(&wire),
	    buf_len(&wire)), 0);
	assert_true(answer.is_cut);
	assert_false(answer.is_bad);
	assert_false(answer.is_complete);
	assert_int_equal(buf_len(&answer.body), 4);
	invoke_answer_free(&answer);
	buf_free(&wire);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_says_what_the_options_said),
		cmocka_unit_test(without_data_there_is_no_length),
		cmocka_unit_test(what_cannot_be_sent_is_refused_in_words),
		cmocka_unit_test(an_answer_is_the_same_however_it_is_cut),
		cmocka_unit_test(an_answer_that_is_none_is_bad),
		cmocka_unit_test(a_cut_answer_is_no_bad_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
