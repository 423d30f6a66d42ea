/*
 * The pairs: however the bytes are cut, the same pairs or the same refusal;
 * never more than the bounds allow; and what was decoded encodes and decodes
 * to itself.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "fcgi-host/fcgi_params.h"

static struct params *
decode(const uint8_t *data, size_t n, size_t bytes_max, size_t count_max,
    bool is_cut, uint32_t seed, int *rc)
{
	struct params *params = params_new(bytes_max, count_max);

	CLAIM(params != NULL);
	*rc = 0;
	while (n > 0 && *rc == 0) {
		size_t length = is_cut ? next_cut(&seed, n) : n;

		*rc = params_feed(params, data, length);
		data += length;
		n -= length;
	}
	if (*rc != 0) {
		size_t count = params_count(params);

		CLAIM(params_feed(params, (const uint8_t *)"\1\1ab", 4) ==
		    *rc);
		CLAIM(params_count(params) == count);
	}
	CLAIM(params_finish(params) == *rc ||
	    (*rc == 0 && params_finish(params) == -EPROTO));
	*rc = params_finish(params);
	return params;
}

static bool
same_pairs(const struct params *a, const struct params *b)
{
	if (params_count(a) != params_count(b))
		return false;
	for (size_t i = 0; i < params_count(a); i++) {
		struct param x = params_at(a, i), y = params_at(b, i);

		if (strcmp(x.name, y.name) != 0 ||
		    strcmp(x.value, y.value) != 0)
			return false;
	}
	return true;
}

/* One length of a whole input; false at its end. */
static bool
plain_length(const uint8_t **data, const uint8_t *end, size_t *length)
{
	const uint8_t *at = *data;

	if (at == end || (*at >= 0x80 && end - at < 4))
		return false;
	*length = *at < 0x80 ? *at : (size_t)(*at & 0x7f) << 24 |
	    (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
	*data = at + (*at < 0x80 ? 1 : 4);
	return true;
}

/*
 * The verdict as the specification reads, on an input that lies there whole:
 * no states, no pieces.  A pair is looked at as far as its bytes are there.
 */
static int
plain_verdict(const uint8_t *data, size_t n, size_t bytes_max,
    size_t count_max)
{
	const uint8_t *end = data + n;
	size_t bytes = 0, count = 0;

	while (data < end) {
		size_t name, value, there;

		if (!plain_length(&data, end, &name) ||
		    !plain_length(&data, end, &value) || name == 0)
			return -EPROTO;
		bytes += name + value + 8;
		if (bytes > bytes_max || ++count > count_max)
			return -EMSGSIZE;
		there = (size_t)(end - data);
		if (there < name + value)
			return -EPROTO;
		if (memchr(data, '\0', name + value) != NULL ||
		    memchr(data, '=', name) != NULL)
			return -EPROTO;
		data += name + value;
	}
	return 0;
}

static void
check_bounds(const struct params *params, size_t bytes_max, size_t count_max)
{
	size_t bytes = 0, count = params_count(params);

	CLAIM(count <= count_max);
	for (size_t i = 0; i < count; i++) {
		struct param param = params_at(params, i);

		CLAIM(param.name_length > 0);
		CLAIM(strlen(param.name) == param.name_length);
		CLAIM(strlen(param.value) == param.value_length);
		CLAIM(strchr(param.name, '=') == NULL);
		CLAIM(params_get(params, param.name) != NULL);
		bytes += param.name_length + param.value_length + 8;
	}
	CLAIM(bytes <= bytes_max);
	if (count > 0) {
		struct param last = params_at(params, count - 1);

		CLAIM(params_get(params, last.name) == last.value);
	}
}

static void
round_trip(const struct params *params)
{
	struct buf out = { 0 };
	struct params *again;
	int rc;

	for (size_t i = 0; i < params_count(params); i++) {
		struct param param = params_at(params, i);

		CLAIM(params_put(&out, param.name, param.name_length,
		    param.value, param.value_length) == 0);
	}
	again = decode(buf_head(&out), buf_len(&out), SIZE_MAX, SIZE_MAX,
	    false, 0, &rc);
	CLAIM(rc == 0);
	CLAIM(same_pairs(params, again));
	params_free(again);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint32_t seed = take_byte(&data, &n) * 2654435761u;
	size_t bytes_max = (size_t)take_byte(&data, &n) * 16;
	size_t count_max = (size_t)take_byte(&data, &n);
	struct params *whole, *cut;
	int whole_rc, cut_rc;

	whole = decode(data, n, bytes_max, count_max, false, 0, &whole_rc);
	cut = decode(data, n, bytes_max, count_max, true, seed, &cut_rc);
	CLAIM(whole_rc == cut_rc);
	CLAIM(whole_rc == (n == 0 ? 0 : plain_verdict(data, n, bytes_max,
	    count_max)));
	CLAIM(same_pairs(whole, cut));
	check_bounds(whole, bytes_max, count_max);
	round_trip(whole);
	params_free(whole);
	params_free(cut);
	return 0;
}
