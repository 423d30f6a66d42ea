#include "fcgi-host/fcgi_params.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAIR_BYTES 8 /* what a pair counts beside its bytes */
#define LONG_LENGTH 0x80
#define LENGTH_MAX 0x7fffffff

/* Offsets, because the text moves as it grows. */
struct pair {
	size_t name, name_length, value, value_length;
};

struct params {
	size_t bytes_max, count_max;
	size_t bytes; /* counted against bytes_max, the pair in hand too */
	struct buf text; /* NUL-terminated names and values */
	struct pair *pairs;
	size_t count, size;
	int error; /* sticky */
	bool is_finished;

	/* The pair in hand: first its lengths, then its bytes. */
	uint8_t lengths[8];
	size_t lengths_have;
	bool in_text;
	struct pair pair;
	size_t name_left, value_left;
};

struct params *
params_new(size_t bytes_max, size_t count_max)
{
	struct params *params = calloc(1, sizeof(*params));

	if (params == NULL)
		return NULL;
	params->bytes_max = bytes_max;
	params->count_max = count_max;
	return params;
}

void
params_free(struct params *params)
{
	if (params == NULL)
		return;
	buf_free(&params->text);
	free(params->pairs);
	free(params);
}

size_t
params_read_length(const uint8_t *from, size_t n, size_t *length)
{
	if (n == 0)
		return 0;
	if ((from[0] & LONG_LENGTH) == 0) {
		*length = from[0];
		return 1;
	}
	if (n < 4)
		return 0;
	*length = (size_t)(from[0] & 0x7f) << 24 | (size_t)from[1] << 16 |
	    (size_t)from[2] << 8 | from[3];
	return 4;
}

static int
grow_pairs(struct params *params)
{
	size_t size = params->size == 0 ? 32 : params->size * 2;
	struct pair *pairs;

	if (params->count < params->size)
		return 0;
	pairs = reallocarray(params->pairs, size, sizeof(*pairs));
	if (pairs == NULL)
		return -ENOMEM;
	params->pairs = pairs;
	params->size = size;
	return 0;
}

/* Both lengths are known.  Every bound is checked before memory is taken for
 * what a peer merely claims to send. */
static int
begin_pair(struct params *params, size_t name_length, size_t value_length)
{
	size_t left = params->bytes_max - params->bytes;

	if (name_length == 0)
		return -EPROTO;
	if (params->count >= params->count_max || left < PAIR_BYTES ||
	    name_length > left - PAIR_BYTES ||
	    value_length > left - PAIR_BYTES - name_length)
		return -EMSGSIZE;
	if (grow_pairs(params) != 0 || buf_reserve(&params->text,
	    name_length + value_length + 2) == NULL)
		return -ENOMEM;
	params->bytes += PAIR_BYTES + name_length + value_length;
	params->pair = (struct pair){
		.name = buf_len(&params->text),
		.name_length = name_length,
		.value = buf_len(&params->text) + name_length + 1,
		.value_length = value_length,
	};
	params->name_left = name_length;
	params->value_left = value_length;
	params->in_text = true;
	return 0;
}

static int
take_length_byte(struct params *params, uint8_t byte)
{
	size_t name_length, value_length, first, second;

	params->lengths[params->lengths_have++] = byte;
	first = params_read_length(params->lengths, params->lengths_have,
	    &name_length);
	if (first == 0)
		return 0;
	second = params_read_length(params->lengths + first,
	    params->lengths_have - first, &value_length);
	if (second == 0)
		return 0;
	params->lengths_have = 0;
	return begin_pair(params, name_length, value_length);
}

static int
check_text(const struct params *params, const uint8_t *data, size_t n)
{
	if (memchr(data, '\0', n) != NULL)
		return -EPROTO;
	if (params->name_left > 0 && memchr(data, '=', n) != NULL)
		return -EPROTO;
	return 0;
}

/* A name and a value are each closed by a NUL as soon as they are whole; the
 * pair counts from then on. */
static int
close_text(struct params *params)
{
	int rc = 0;

	if (params->name_left > 0)
		return 0;
	if (buf_len(&params->text) == params->pair.value - 1)
		rc = buf_add(&params->text, "", 1);
	if (rc != 0 || params->value_left > 0)
		return rc;
	rc = buf_add(&params->text, "", 1);
	if (rc == 0) {
		params->pairs[params->count++] = params->pair;
		params->in_text = false;
	}
	return rc;
}

/* Takes bytes of the name or of the value; *n becomes how many. */
static int
take_text(struct params *params, const uint8_t *data, size_t *n)
{
	size_t *left = params->name_left > 0 ? &params->name_left :
	    &params->value_left;
	int rc;

	if (*n > *left)
		*n = *left;
	rc = check_text(params, data, *n);
	if (rc == 0)
		rc = buf_add(&params->text, data, *n);
	if (rc != 0)
		return rc;
	*left -= *n;
	return close_text(params);
}

/* Both lengths, when they stand in data[0..n); how many bytes they are, or 0. */
static size_t
read_lengths(const uint8_t *data, size_t n, size_t *name_length,
    size_t *value_length)
{
	size_t first = params_read_length(data, n, name_length), second;

	if (first == 0)
		return 0;
	second = params_read_length(data + first, n - first, value_length);
	return second == 0 ? 0 : first + second;
}

/* A pair of which nothing was cut off, as nearly all are.  Its bytes, or 0: it
 * has to be taken in parts, or params->error is set. */
static size_t
take_whole(struct params *params, const uint8_t *data, size_t n)
{
	size_t name_n, value_n, at;
	uint8_t *text;

	if (params->in_text || params->lengths_have > 0)
		return 0;
	at = read_lengths(data, n, &name_n, &value_n);
	if (at == 0 || name_n > n - at || value_n > n - at - name_n)
		return 0;
	params->error = begin_pair(params, name_n, value_n);
	data += at;
	if (params->error == 0 && (memchr(data, '\0', name_n + value_n) != NULL ||
	    memchr(data, '=', name_n) != NULL))
		params->error = -EPROTO;
	if (params->error < 0)
		return 0;
	text = buf_reserve(&params->text, name_n + value_n + 2);
	memcpy(text, data, name_n);
	text[name_n] = '\0';
	memcpy(text + name_n + 1, data + name_n, value_n);
	text[name_n + 1 + value_n] = '\0';
	buf_commit(&params->text, name_n + value_n + 2);
	params->pairs[params->count++] = params->pair;
	params->in_text = false;
	return at + name_n + value_n;
}

int
params_feed(struct params *params, const uint8_t *data, size_t n)
{
	if (params->error == 0 && params->is_finished && n > 0)
		params->error = -EPROTO;
	/* as text they take as much: lengths go, and NULs come */
	if (params->count == 0 && params->error == 0 && n > 0 && n <= params->bytes_max &&
	    buf_reserve(&params->text, n) == NULL)
		params->error = -ENOMEM;
	while (n > 0 && params->error == 0) {
		size_t step = take_whole(params, data, n);

		if (step > 0 || params->error < 0) {
			data += step;
			n -= step;
			continue;
		}
		step = 1;
		if (params->in_text) {
			step = n;
			params->error = take_text(params, data, &step);
		} else {
			params->error = take_length_byte(params, *data);
		}
		data += step;
		n -= step;
	}
	return params->error;
}

int
params_finish(struct params *params)
{
	if (params->error == 0 && (params->in_text ||
	    params->lengths_have > 0))
		params->error = -EPROTO;
	params->is_finished = true;
	return params->error;
}

size_t
params_count(const struct params *params)
{
	return params->count;
}

struct param
params_at(const struct params *params, size_t i)
{
	const struct pair *pair = &params->pairs[i];
	const char *text = (const char *)params->text.data;

	return (struct param){ text + pair->name, text + pair->value,
		pair->name_length, pair->value_length };
}

const char *
params_get(const struct params *params, const char *name)
{
	size_t length = strlen(name);

	const char *text = (const char *)params->text.data;

	for (size_t i = params->count; i > 0; i--) {
		const struct pair *pair = &params->pairs[i - 1];

		if (pair->name_length == length &&
		    memcmp(text + pair->name, name, length) == 0)
			return text + pair->value;
	}
	return NULL;
}

static size_t
write_length(uint8_t *out, size_t length)
{
	if (length < LONG_LENGTH) {
		out[0] = (uint8_t)length;
		return 1;
	}
	out[0] = (uint8_t)(length >> 24 | LONG_LENGTH);
	out[1] = (uint8_t)(length >> 16);
	out[2] = (uint8_t)(length >> 8);
	out[3] = (uint8_t)length;
	return 4;
}

int
params_put(struct buf *out, const char *name, size_t name_length,
    const char *value, size_t value_length)
{
	uint8_t *at;
	size_t used;

	if (name_length > LENGTH_MAX || value_length > LENGTH_MAX)
		return -EMSGSIZE;
	at = buf_reserve(out, 8 + name_length + value_length);
	if (at == NULL)
		return -ENOMEM;
	used = write_length(at, name_length);
	used += write_length(at + used, value_length);
	memcpy(at + used, name, name_length);
	memcpy(at + used + name_length, value, value_length);
	buf_commit(out, used + name_length + value_length);
	return 0;
}
