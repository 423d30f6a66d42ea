/*
 * The wire rooms when memory runs out: whichever allocation of a piece of work
 * fails, the work is refused, nothing leaks and nothing is half done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/cgi_env.h"
#include "fcgi-host/cgi_response.h"
#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/fcgi_record.h"
#include "tests/unit/failing_malloc.h"

#if HAS_OWN_ALLOCATOR

/* Does the work with the first allocation failing, then the second, until one
 * round needs no more.  work returns -ENOMEM or 0. */
static void
fail_each_allocation(int (*work)(void))
{
	for (int n = 1;; n++) {
		int rc, left;

		assert_true(n < 1000);
		alive = 0;
		until_failure = n;
		is_counting = true;
		rc = work();
		is_counting = false;
		left = until_failure;
		until_failure = 0;
		assert_int_equal(alive, 0);
		assert_int_equal(rc, left == 0 ? -ENOMEM : 0);
		if (left > 0) {
			assert_true(n > 1);
			return;
		}
	}
}

static char long_text[3000];

static int
grow_a_buffer(void)
{
	struct buf b = { 0 };
	size_t before = 0;
	int rc = buf_add(&b, "start", 5);

	for (int i = 0; i < 20 && rc == 0; i++) {
		before = buf_len(&b);
		rc = buf_addf(&b, "%s", long_text);
		if (rc == 0)
			before = buf_len(&b);
		if (rc == 0)
			rc = buf_add_json(&b, "a\x01\xff", 3);
		if (rc == 0)
			rc = buf_add_json(&b, long_text, 700);
	}
	/* What was there before is there still. */
	if (buf_len(&b) < before || (before > 0 &&
	    memcmp(buf_head(&b), "start", 5) != 0))
		rc = -EFAULT;
	buf_free(&b);
	return rc;
}

static int
json_half(void)
{
	struct buf b = { 0 };
	int rc = buf_add_json(&b, long_text, sizeof(long_text) - 1);

	if (rc != 0 && buf_len(&b) != 0)
		rc = -EFAULT;
	buf_free(&b);
	return rc;
}

/* The second stream fits in what the first has left free, its header not. */
static int
write_records(void)
{
	static const size_t lengths[] = { 3000, 1084, 3000, 1, 1070 };
	struct buf out = { 0 };
	int rc = 0;

	for (size_t i = 0; i < 5 && rc == 0; i++) {
		size_t before = buf_len(&out);

		rc = fcgi_put_stream(&out, FCGI_STDOUT, 1, long_text,
		    lengths[i]);
		if (rc != 0 && buf_len(&out) != before)
			rc = -EFAULT;
		if (rc == 0 && i == 0 && out.size - out.end != 1088)
			rc = -ERANGE;
	}
	if (rc == 0)
		rc = fcgi_put_end(&out, 1, 0, 0);
	buf_free(&out);
	return rc;
}

static int
put_pairs(struct buf *out)
{
	int rc = 0;

	for (int i = 0; i < 100 && rc == 0; i++) {
		char name[] = "HTTP_AA";
		size_t before = buf_len(out);

		name[5] = (char)('A' + i / 26);
		name[6] = (char)('A' + i % 26);
		rc = params_put(out, name, 7, long_text, 200);
		if (rc != 0 && buf_len(out) != before)
			rc = -EFAULT;
	}
	return rc;
}

static int
carry_params(void)
{
	struct params *params = params_new(1 << 20, 1000);
	struct cgi_env *env = cgi_env_new(), *copy = cgi_env_new();
	struct buf in = { 0 }, out = { 0 };
	int rc = params == NULL || env == NULL || copy == NULL ? -ENOMEM : 0;

	if (rc == 0)
		rc = put_pairs(&in);
	if (rc == 0)
		rc = params_feed(params, buf_head(&in), buf_len(&in));
	if (rc == 0)
		rc = params_finish(params);
	if (rc == 0)
		rc = cgi_env_add_params(env, params, NULL);
	if (rc == 0)
		rc = cgi_env_put_block(env, &out);
	if (rc == 0)
		rc = cgi_env_add_block(copy, (char *)buf_head(&out),
		    buf_len(&out));
	if (rc == 0)
		rc = cgi_env_put_params(copy, &out);
	cgi_env_free(env);
	cgi_env_free(copy);
	params_free(params);
	buf_free(&in);
	buf_free(&out);
	return rc;
}

/* A shortage inside the parser is BAD, as there is no answer without it. */
static int
take_a_head(void)
{
	static const char text[] = "Content-Type: a/b\nX-Long: ";
	struct cgi_response response;
	struct buf out = { 0 };
	int rc = 0;

	cgi_response_init(&response, 1 << 20);
	cgi_response_feed(&response, (const uint8_t *)text, sizeof(text) - 1);
	cgi_response_feed(&response, (const uint8_t *)long_text,
	    sizeof(long_text) - 1);
	cgi_response_feed(&response, (const uint8_t *)"\n\n", 2);
	if (response.state == CGI_RESPONSE_DONE)
		rc = cgi_response_put_head(&response, &out);
	else if (response.state == CGI_RESPONSE_BAD)
		rc = strstr(response.problem, "memory") ? -ENOMEM : -EFAULT;
	else
		rc = -EFAULT;
	if (rc == 0)
		rc = cgi_response_put_error(&out, 500, NULL, long_text);
	cgi_response_free(&response);
	buf_free(&out);
	return rc;
}

static void
a_buffer_keeps_what_it_had_when_memory_runs_out(void **state)
{
	(void)state;
	fail_each_allocation(grow_a_buffer);
	fail_each_allocation(json_half);
}

static void
a_stream_is_never_half_written_when_memory_runs_out(void **state)
{
	(void)state;
	fail_each_allocation(write_records);
}

static void
params_and_environment_are_refused_when_memory_runs_out(void **state)
{
	(void)state;
	fail_each_allocation(carry_params);
}

static void
a_head_is_refused_when_memory_runs_out(void **state)
{
	(void)state;
	fail_each_allocation(take_a_head);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_buffer_keeps_what_it_had_when_memory_runs_out),
		cmocka_unit_test(
		    a_stream_is_never_half_written_when_memory_runs_out),
		cmocka_unit_test(
		    params_and_environment_are_refused_when_memory_runs_out),
		cmocka_unit_test(a_head_is_refused_when_memory_runs_out),
	};

	memset(long_text, 'x', sizeof(long_text) - 1);
	return cmocka_run_group_tests_name("no_memory", tests, NULL, NULL);
}

#else

#include <stdio.h>

/* The exit status by which automake knows a test that was skipped. */
int
main(void)
{
	puts("SKIP: a sanitizer's allocator cannot be made to fail");
	return 77;
}

#endif
