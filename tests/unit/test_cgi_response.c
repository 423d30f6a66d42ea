#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cgi_response.h"

#define HEADER_MAX 1000

struct text {
	const char *bytes;
	size_t n;
};

#define TEXT(literal) (struct text){ (literal), sizeof(literal) - 1 }

/* Feeds text cut at cut, then in steps; returns how much was head. */
static size_t
feed(struct cgi_response *response, struct text text, size_t cut, size_t step)
{
	const uint8_t *data = (const uint8_t *)text.bytes;
	size_t done = cgi_response_feed(response, data, cut);

	while (response->state == CGI_RESPONSE_MORE && done < text.n) {
		size_t length = text.n - done < step ? text.n - done : step;

		done += cgi_response_feed(response, data + done, length);
	}
	return done;
}

/* Calls check for every way of cutting: at each place, and byte by byte. */
static void
each_cut(struct text text, size_t header_max,
    void (*check)(struct cgi_response *response, size_t done, const void *arg),
    const void *arg)
{
	for (size_t cut = 0; cut <= text.n + 1; cut++) {
		bool is_bytewise = cut > text.n;
		struct cgi_response response;
		size_t done;

		cgi_response_init(&response, header_max);
		assert_int_equal(response.state, CGI_RESPONSE_MORE);
		done = feed(&response, text, is_bytewise ? 0 : cut,
		    is_bytewise ? 1 : text.n);
		check(&response, done, arg);
		cgi_response_free(&response);
	}
}

struct wanted {
	const char *head, *body;
	struct text text;
};

static void
check_head(struct cgi_response *response, size_t done, const void *arg)
{
	const struct wanted *wanted = arg;
	struct buf out = { 0 };

	if (response->state != CGI_RESPONSE_DONE)
		fail_msg("state %d: %s", response->state,
		    response->problem != NULL ? response->problem : "");
	assert_null(response->problem);
	assert_int_equal(cgi_response_put_head(response, &out), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_string_equal((char *)buf_head(&out), wanted->head);
	assert_int_equal(wanted->text.n - done, strlen(wanted->body));
	assert_memory_equal(wanted->text.bytes + done, wanted->body,
	    strlen(wanted->body));
	buf_free(&out);
}

static void
assert_head(struct text text, const char *head, const char *body)
{
	struct wanted wanted = { head, body, text };

	each_cut(text, HEADER_MAX, check_head, &wanted);
}

static void
check_bad(struct cgi_response *response, size_t done, const void *arg)
{
	const struct wanted *wanted = arg;

	if (response->state != CGI_RESPONSE_BAD)
		fail_msg("taken: %s", wanted->text.bytes);
	if (strstr(response->problem, wanted->head) == NULL)
		fail_msg("%s: because: %s", wanted->text.bytes,
		    response->problem);
	assert_true(done <= wanted->text.n);
	assert_int_equal(cgi_response_feed(response, (const uint8_t *)"x", 1),
	    0);
}

/* problem: a part of the sentence that must be given. */
static void
assert_bad(struct text text, const char *problem)
{
	struct wanted wanted = { problem, NULL, text };

	each_cut(text, HEADER_MAX, check_bad, &wanted);
}

static void
check_more(struct cgi_response *response, size_t done, const void *arg)
{
	const struct text *text = arg;

	assert_int_equal(response->state, CGI_RESPONSE_MORE);
	assert_int_equal(done, text->n);
}

/* What is taken */

static void
a_plain_answer_is_taken_however_it_is_cut(void **state)
{
	(void)state;
	assert_head(TEXT("Content-Type: text/plain\r\nX-A: b\r\n\r\nbody\r\n"),
	    "Status: 200 OK\r\nContent-Type: text/plain\r\nX-A: b\r\n\r\n",
	    "body\r\n");
}

/* W19 */
static void
lines_end_in_lf_or_crlf_even_mixed(void **state)
{
	(void)state;
	assert_head(TEXT("Content-Type: a/b\nX: 1\r\nY: 2\n\r\n\n"),
	    "Status: 200 OK\r\nContent-Type: a/b\r\nX: 1\r\nY: 2\r\n\r\n",
	    "\n");
	assert_head(TEXT("Content-Type: a/b\r\n\n\r\n"),
	    "Status: 200 OK\r\nContent-Type: a/b\r\n\r\n", "\r\n");
}

static void
a_status_is_put_first_with_the_reason_of_the_standard(void **state)
{
	(void)state;
	assert_head(TEXT("Content-Type: a/b\nstatus: 404 Sorry\n\n"),
	    "Status: 404 Not Found\r\nContent-Type: a/b\r\n\r\n", "");
	assert_head(TEXT("STATUS:204\n\n"), "Status: 204 No Content\r\n\r\n",
	    "");
	assert_head(TEXT("Status: 599\n\n"), "Status: 599 Unknown\r\n\r\n",
	    "");
	assert_head(TEXT("Status: 200\t\n\n"), "Status: 200 OK\r\n\r\n", "");
}

static void
a_location_is_a_redirect_but_for_a_status_that_is_given(void **state)
{
	(void)state;
	assert_head(TEXT("Location: http://example.org/\n\n"),
	    "Location: http://example.org/\r\nStatus: 302 Found\r\n\r\n", "");
	assert_head(TEXT("Location: /local?x\n\n"),
	    "Location: /local?x\r\nStatus: 302 Found\r\n\r\n", "");
	assert_head(TEXT("Location: /x\nStatus: 201 Created\n\n"),
	    "Location: /x\r\nStatus: 201 Created\r\n\r\n", "");
	assert_head(TEXT("Status: 301\nLocation: /x\n\n"),
	    "Location: /x\r\nStatus: 301 Moved Permanently\r\n\r\n", "");
}

static void
the_status_line_of_a_whole_http_answer_becomes_the_status(void **state)
{
	(void)state;
	assert_head(TEXT("HTTP/1.1 404 Nope\r\nServer: x\r\n\r\nbody"),
	    "Status: 404 Not Found\r\nServer: x\r\n\r\n", "body");
	assert_head(TEXT("HTTP/1.0 200\n\n"), "Status: 200 OK\r\n\r\n", "");
	assert_bad(TEXT("HTTP/1.1 20\n\n"), "three digits");
	assert_bad(TEXT("HTTP/1.1 2000\n\n"), "three digits");
	assert_bad(TEXT("HTTP/1.1 200\rX: y\n\n"), "control");
	assert_bad(TEXT("HTTP/2 200 OK\n\n"), "colon");
	assert_bad(TEXT("HTTP/1.1\n\n"), "colon");
	assert_bad(TEXT("X: y\nHTTP/1.1 200 OK\n\n"), "colon");
	assert_bad(TEXT("HTTP/1.1 200 OK\nStatus: 200\n\n"), "twice");
}

static void
fields_of_the_connection_are_dropped(void **state)
{
	(void)state;
	assert_head(TEXT("Connection: close\nContent-Type: a/b\n"
	    "keep-alive: x\nTRANSFER-ENCODING: chunked\nUpgrade: h2c\n"
	    "Trailer: X\nTE: trailers\nProxy-Authenticate: Basic\n"
	    "proxy-: x\nTEX: kept\nProxy: kept\n\n"),
	    "Status: 200 OK\r\nContent-Type: a/b\r\nTEX: kept\r\n"
	    "Proxy: kept\r\n\r\n", "");
	/* Dropped is not unchecked. */
	assert_bad(TEXT("Status: 200\nConnection: a\rb\n\n"), "control");
}

static void
a_function_cannot_make_the_web_server_send_something_else(void **state)
{
	(void)state;
	assert_head(TEXT("Content-Type: a/b\nX-Accel-Redirect: /internal/x\n"
	    "x-sendfile: /etc/passwd\nX-LIGHTTPD-send-file: /etc/passwd\n"
	    "X-Reproxy-URL: http://a/\nX-Accel-Buffering: no\n\n"),
	    "Status: 200 OK\r\nContent-Type: a/b\r\n"
	    "X-Accel-Buffering: no\r\n\r\n", "");
}

static void
a_value_is_trimmed_and_may_hold_tabs_and_high_bytes(void **state)
{
	(void)state;
	assert_head(TEXT("Content-Type:\t  a/b \t \r\nX:a\tb \xff\nEmpty:\n"
	    "Colon: a:b:c\n\n"),
	    "Status: 200 OK\r\nContent-Type: a/b\r\nX: a\tb \xff\r\n"
	    "Empty: \r\nColon: a:b:c\r\n\r\n", "");
}

static void
a_content_length_is_read_and_kept(void **state)
{
	static const struct { const char *text; int64_t length; } cases[] = {
		{ "0", 0 }, { "1", 1 }, { "007", 7 },
		{ "999999999999999999", 999999999999999999 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cgi_response response;
		char text[100];
		int n = snprintf(text, sizeof(text),
		    "Status: 200\nContent-Length: %s\n\n", cases[i].text);

		cgi_response_init(&response, HEADER_MAX);
		assert_int_equal(response.content_length, -1);
		cgi_response_feed(&response, (uint8_t *)text, (size_t)n);
		assert_int_equal(response.state, CGI_RESPONSE_DONE);
		assert_int_equal(response.content_length, cases[i].length);
		cgi_response_free(&response);
	}
	assert_head(TEXT("Status: 200\nContent-Length: 12\n\n"),
	    "Status: 200 OK\r\nContent-Length: 12\r\n\r\n", "");
}

static void
what_was_seen_can_be_asked_for(void **state)
{
	static const char text[] = "HTTP/1.1 201 x\nContent-Type: a/b\n"
	    "Location: /y\n\n";
	struct cgi_response response;

	(void)state;
	cgi_response_init(&response, HEADER_MAX);
	cgi_response_feed(&response, (const uint8_t *)text, sizeof(text) - 1);
	assert_int_equal(response.status, 201);
	assert_true(response.is_nph && response.has_status &&
	    response.has_content_type && response.has_location);
	cgi_response_free(&response);
}

/* What is refused */

static void
a_head_without_a_cgi_field_is_refused(void **state)
{
	(void)state;
	assert_bad(TEXT("\n"), "no Content-Type");
	assert_bad(TEXT("\r\nContent-Type: a/b\r\n\r\n"), "no Content-Type");
	assert_bad(TEXT("X: y\nContent-Length: 1\n\n"), "no Content-Type");
	assert_bad(TEXT("Content-Typ: a/b\nLocatio: /\n\n"),
	    "no Content-Type");
}

/* W19 */
static void
a_field_that_decides_is_never_taken_twice(void **state)
{
	(void)state;
	assert_bad(TEXT("Status: 200\nstatus: 200\n\n"), "Status is given");
	assert_bad(TEXT("Content-Type: a/b\nContent-type: a/b\n\n"),
	    "Content-Type is given");
	assert_bad(TEXT("Location: /\nLOCATION: /\n\n"), "Location is given");
	assert_bad(TEXT("Status: 200\nContent-Length: 1\n"
	    "content-length: 1\n\n"), "Content-Length is given");
	assert_head(TEXT("Status: 200\nSet-Cookie: a\nSet-Cookie: b\n\n"),
	    "Status: 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n", "");
}

/* W19 */
static void
a_value_cannot_smuggle_a_field_or_an_answer(void **state)
{
	char text[] = "Status: 200\nX: a?b\n\n";

	(void)state;
	for (int c = 0; c < 256; c++) {
		struct text whole = { text, sizeof(text) - 1 };

		if (c == '\n')
			continue;
		text[16] = (char)c;
		if (c == '\t' || (c >= 0x20 && c != 0x7f)) {
			struct cgi_response response;

			cgi_response_init(&response, HEADER_MAX);
			feed(&response, whole, 0, 3);
			assert_int_equal(response.state, CGI_RESPONSE_DONE);
			cgi_response_free(&response);
		} else {
			assert_bad(whole, "control");
		}
	}
	assert_bad(TEXT("Location: /\rSet-Cookie: x\n\n"), "control");
	assert_bad(TEXT("Content-Type: a/b\r\r\n\r\n"), "control");
	assert_bad(TEXT("Content-Type: a/b\n\0\n\n"), "colon");
}

static void
a_name_is_a_token(void **state)
{
	char text[] = "Status: 200\nX?Y: z\n\n";

	(void)state;
	for (int c = 0; c < 256; c++) {
		bool is_token = c != 0 && strchr("!#$%&'*+-.^_`|~0123456789"
		    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c)
		    != NULL;
		struct cgi_response response;

		if (c == ':' || c == '\n')
			continue;
		text[13] = (char)c;
		cgi_response_init(&response, HEADER_MAX);
		feed(&response, (struct text){ text, sizeof(text) - 1 }, 0, 7);
		assert_int_equal(response.state, is_token ?
		    CGI_RESPONSE_DONE : CGI_RESPONSE_BAD);
		cgi_response_free(&response);
	}
	assert_bad(TEXT("Status : 200\n\n"), "token");
	assert_bad(TEXT(": x\n\n"), "token");
}

static void
a_line_that_is_no_field_is_refused(void **state)
{
	(void)state;
	assert_bad(TEXT("Content-Type: a/b\nHello\n\n"), "colon");
	assert_bad(TEXT("<html>\n"), "colon");
	assert_bad(TEXT("Content-Type: a/b\n folded: x\n\n"), "blank");
	assert_bad(TEXT("Content-Type: a/b\n\tfolded\n\n"), "blank");
	assert_bad(TEXT(" Content-Type: a/b\n\n"), "blank");
	assert_bad(TEXT(" \n"), "blank");
}

static void
a_status_is_three_digits_between_200_and_599(void **state)
{
	(void)state;
	assert_bad(TEXT("Status:\n\n"), "three digits");
	assert_bad(TEXT("Status: OK\n\n"), "three digits");
	assert_bad(TEXT("Status: 20\n\n"), "three digits");
	assert_bad(TEXT("Status: 2 00\n\n"), "three digits");
	assert_bad(TEXT("Status: 2000\n\n"), "three digits");
	assert_bad(TEXT("Status: 200OK\n\n"), "three digits");
	assert_bad(TEXT("Status: -20\n\n"), "three digits");
	assert_bad(TEXT("Status: +200\n\n"), "three digits");
	assert_bad(TEXT("Status: 199\n\n"), "between");
	assert_bad(TEXT("Status: 101 Switching\n\n"), "between");
	assert_bad(TEXT("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n\n"),
	    "between");
	assert_bad(TEXT("Status: 600\n\n"), "between");
	assert_bad(TEXT("Status: 000\n\n"), "between");
}

static void
a_content_length_is_digits_that_fit(void **state)
{
	(void)state;
	assert_bad(TEXT("Status: 200\nContent-Length:\n\n"), "number");
	assert_bad(TEXT("Status: 200\nContent-Length: -1\n\n"), "number");
	assert_bad(TEXT("Status: 200\nContent-Length: +1\n\n"), "number");
	assert_bad(TEXT("Status: 200\nContent-Length: 1 2\n\n"), "number");
	assert_bad(TEXT("Status: 200\nContent-Length: 1,1\n\n"), "number");
	assert_bad(TEXT("Status: 200\nContent-Length: 0x1\n\n"), "number");
	assert_bad(TEXT("Status: 200\nContent-Length: "
	    "9999999999999999999\n\n"), "number");
	assert_bad(TEXT("Status: 200\nContent-Length: "
	    "18446744073709551617\n\n"), "number");
}

static void
an_empty_location_is_refused(void **state)
{
	(void)state;
	assert_bad(TEXT("Location:\n\n"), "empty");
	assert_bad(TEXT("Location: \t\n\n"), "empty");
}

/* Bounds */

static void
the_length_of_the_head_is_bounded_exactly(void **state)
{
	struct text text = TEXT("Status: 200\r\nX: yyyy\r\n\r\nbody");
	struct text endless = TEXT("Content-Type: no end of line in sight");
	struct wanted fits = { "Status: 200 OK\r\nX: yyyy\r\n\r\n", "body",
		text };
	struct wanted too_long = { "too long", NULL, text };

	(void)state;
	each_cut(text, 24, check_head, &fits);
	for (size_t max = 0; max < 24; max++)
		each_cut(text, max, check_bad, &too_long);
	too_long.text = endless;
	each_cut(endless, endless.n, check_bad, &too_long);
	each_cut(endless, endless.n + 1, check_more, &endless);
}

/* W23 */
static void
the_number_of_fields_is_bounded_exactly(void **state)
{
	for (int extra = 0; extra < 2; extra++) {
		struct cgi_response response;
		struct buf text = { 0 };

		(void)state;
		assert_int_equal(buf_add_str(&text, "Status: 200\n"), 0);
		for (int i = 1; i < CGI_RESPONSE_FIELDS_MAX + extra; i++)
			assert_int_equal(buf_add_str(&text, "X: y\n"), 0);
		assert_int_equal(buf_add_str(&text, "\n"), 0);
		cgi_response_init(&response, 100000);
		cgi_response_feed(&response, buf_head(&text), buf_len(&text));
		assert_int_equal(response.state, extra ? CGI_RESPONSE_BAD :
		    CGI_RESPONSE_DONE);
		cgi_response_free(&response);
		buf_free(&text);
	}
}

static void
a_head_that_is_not_complete_asks_for_more(void **state)
{
	static const struct text texts[] = {
		{ "", 0 }, { "Content-Type: a/b", 17 },
		{ "Content-Type: a/b\r\n", 19 },
		{ "Content-Type: a/b\r\n\r", 20 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		each_cut(texts[i], HEADER_MAX, check_more, &texts[i]);
}

/* Our own answers */

static void
an_error_of_our_own_is_a_whole_answer(void **state)
{
	static const char wanted[] = "Status: 503 Service Unavailable\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Length: 6\r\nRetry-After: 5\r\n\r\nBusy.\n";
	struct cgi_response response;
	struct buf out = { 0 };
	size_t head;

	(void)state;
	assert_int_equal(cgi_response_put_error(&out, 503,
	    "Retry-After: 5\r\n", "Busy."), 0);
	assert_int_equal(buf_len(&out), sizeof(wanted) - 1);
	assert_memory_equal(buf_head(&out), wanted, sizeof(wanted) - 1);
	cgi_response_init(&response, HEADER_MAX);
	head = cgi_response_feed(&response, buf_head(&out), buf_len(&out));
	assert_int_equal(response.state, CGI_RESPONSE_DONE);
	assert_int_equal(response.content_length, buf_len(&out) - head);
	cgi_response_free(&response);
	buf_reset(&out, 0);
	assert_int_equal(cgi_response_put_error(&out, 404, NULL, ""), 0);
	assert_non_null(memmem(buf_head(&out), buf_len(&out),
	    "Content-Length: 1\r\n\r\n\n", 22));
	buf_free(&out);
}

static void
an_answer_without_a_body_is_known_by_status_and_method(void **state)
{
	(void)state;
	assert_true(cgi_response_is_bodyless(200, "HEAD"));
	assert_true(cgi_response_is_bodyless(204, "GET"));
	assert_true(cgi_response_is_bodyless(304, "GET"));
	assert_true(cgi_response_is_bodyless(100, NULL));
	assert_true(cgi_response_is_bodyless(199, "GET"));
	assert_false(cgi_response_is_bodyless(200, "GET"));
	assert_false(cgi_response_is_bodyless(200, "head"));
	assert_false(cgi_response_is_bodyless(205, "POST"));
	assert_false(cgi_response_is_bodyless(500, NULL));
}

static void
known_statuses_have_the_reason_of_the_standard(void **state)
{
	(void)state;
	assert_string_equal(cgi_response_reason(200), "OK");
	assert_string_equal(cgi_response_reason(413), "Content Too Large");
	assert_string_equal(cgi_response_reason(504), "Gateway Timeout");
	assert_string_equal(cgi_response_reason(299), "Unknown");
	assert_string_equal(cgi_response_reason(-1), "Unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_answer_is_taken_however_it_is_cut),
		cmocka_unit_test(lines_end_in_lf_or_crlf_even_mixed),
		cmocka_unit_test(
		    a_status_is_put_first_with_the_reason_of_the_standard),
		cmocka_unit_test(
		    a_location_is_a_redirect_but_for_a_status_that_is_given),
		cmocka_unit_test(
		    the_status_line_of_a_whole_http_answer_becomes_the_status),
		cmocka_unit_test(fields_of_the_connection_are_dropped),
		cmocka_unit_test(
		    a_function_cannot_make_the_web_server_send_something_else),
		cmocka_unit_test(
		    a_value_is_trimmed_and_may_hold_tabs_and_high_bytes),
		cmocka_unit_test(a_content_length_is_read_and_kept),
		cmocka_unit_test(what_was_seen_can_be_asked_for),
		cmocka_unit_test(a_head_without_a_cgi_field_is_refused),
		cmocka_unit_test(a_field_that_decides_is_never_taken_twice),
		cmocka_unit_test(a_value_cannot_smuggle_a_field_or_an_answer),
		cmocka_unit_test(a_name_is_a_token),
		cmocka_unit_test(a_line_that_is_no_field_is_refused),
		cmocka_unit_test(a_status_is_three_digits_between_200_and_599),
		cmocka_unit_test(a_content_length_is_digits_that_fit),
		cmocka_unit_test(an_empty_location_is_refused),
		cmocka_unit_test(the_length_of_the_head_is_bounded_exactly),
		cmocka_unit_test(the_number_of_fields_is_bounded_exactly),
		cmocka_unit_test(a_head_that_is_not_complete_asks_for_more),
		cmocka_unit_test(an_error_of_our_own_is_a_whole_answer),
		cmocka_unit_test(
		    an_answer_without_a_body_is_known_by_status_and_method),
		cmocka_unit_test(
		    known_statuses_have_the_reason_of_the_standard),
	};

	return cmocka_run_group_tests_name("cgi_response", tests, NULL, NULL);
}
