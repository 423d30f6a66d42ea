/* GET_VALUES: what is asked, however it is cut and however much, and the
 * answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/fcgi_record.h"
#include "fcgi-host/fcgi_values.h"

#define CONNS "\16\3FCGI_MAX_CONNS600"
#define REQS "\15\3FCGI_MAX_REQS600"
#define MPXS "\17\1FCGI_MPXS_CONNS0"

/* The answer's record has this content; NULL: -EPROTO. */
static void
assert_answer(const struct fcgi_values *values, const char *wanted)
{
	struct buf out = { 0 };
	const uint8_t *record;

	if (wanted == NULL) {
		assert_int_equal(fcgi_values_answer(values, 600, &out),
		    -EPROTO);
		assert_int_equal(buf_len(&out), 0);
		return;
	}
	assert_int_equal(fcgi_values_answer(values, 600, &out), 0);
	record = buf_head(&out);
	assert_int_equal(buf_len(&out), FCGI_HEADER_LEN + strlen(wanted));
	assert_int_equal(record[1], FCGI_GET_VALUES_RESULT);
	assert_int_equal(record[5], strlen(wanted));
	assert_memory_equal(record + FCGI_HEADER_LEN, wanted, strlen(wanted));
	buf_free(&out);
}

/* In two parts cut at every place, and byte by byte. */
static void
assert_asked(const char *asked, size_t n, const char *wanted)
{
	const uint8_t *data = (const uint8_t *)asked;
	struct fcgi_values bytes = { 0 };

	for (size_t cut = 0; cut <= n; cut++) {
		struct fcgi_values values = { 0 };

		fcgi_values_feed(&values, data, cut);
		fcgi_values_feed(&values, data + cut, n - cut);
		assert_answer(&values, wanted);
	}
	for (size_t i = 0; i < n; i++)
		fcgi_values_feed(&bytes, data + i, 1);
	assert_answer(&bytes, wanted);
}

#define ASKED(text) (text), sizeof(text) - 1

static void
what_is_asked_for_is_told_however_it_is_cut(void **state)
{
	(void)state;
	assert_asked(ASKED(""), "");
	assert_asked(ASKED("\16\0FCGI_MAX_CONNS"), CONNS);
	assert_asked(ASKED("\17\0FCGI_MPXS_CONNS" "\15\0FCGI_MAX_REQS"),
	    REQS MPXS);
	assert_asked(ASKED("\200\0\0\16\200\0\0\5FCGI_MAX_CONNSwhat?"), CONNS);
}

/* W7 */
static void
names_that_nobody_knows_are_passed_over(void **state)
{
	(void)state;
	assert_asked(ASKED("\0\0" "\0\3abc" "\1\0X" "\16\1FCGI_MAX_CONNX0"
	    "\21\0FCGI_MAX_CONNSXYZ" "\15\0FCGI_MAX_CONN"), "");
	assert_asked(ASKED("\30\0A_NAME_LONGER_THAN_KNOWN" "\15\0FCGI_MAX_REQS"
	    "\4\0\0\0\0\0"), REQS);
	/* a name that only begins like one, and a value that is one */
	assert_asked(ASKED("\17\0FCGI_MAX_CONNS\0"), "");
	assert_asked(ASKED("\1\15AFCGI_MAX_REQS"), "");
}

/* W7 */
static void
a_name_that_is_asked_for_without_end_is_told_once(void **state)
{
	struct fcgi_values values = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		fcgi_values_feed(&values, (const uint8_t *)
		    "\15\0FCGI_MAX_REQS", 15);
	assert_answer(&values, REQS);
}

static void
a_record_that_ends_inside_a_pair_is_malformed(void **state)
{
	static const char text[] = "\200\0\0\15\2FCGI_MAX_REQSab";
	size_t n = sizeof(text) - 1;

	(void)state;
	for (size_t i = 1; i < n; i++)
		assert_asked(text, i, NULL);
	assert_asked(text, n, REQS);
	assert_asked(ASKED("\377\377\377\377\377\377\377\377A"), NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_for_is_told_however_it_is_cut),
		cmocka_unit_test(names_that_nobody_knows_are_passed_over),
		cmocka_unit_test(
		    a_name_that_is_asked_for_without_end_is_told_once),
		cmocka_unit_test(
		    a_record_that_ends_inside_a_pair_is_malformed),
	};

	return cmocka_run_group_tests_name("fcgi_values", tests, NULL, NULL);
}
