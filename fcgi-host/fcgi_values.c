#include "fcgi-host/fcgi_values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/fcgi_record.h"

/* NULL stands for max_connections. */
static const char *const facts[][2] = {
	{ FCGI_MAX_CONNS, NULL },
	{ FCGI_MAX_REQS, NULL },
	{ FCGI_MPXS_CONNS, "0" },
};

#define FACTS (sizeof(facts) / sizeof(facts[0]))

static void
pair_end(struct fcgi_values *values)
{
	for (size_t i = 0; i < FACTS; i++)
		if (values->name_length == strlen(facts[i][0]) &&
		    memcmp(values->name, facts[i][0], values->name_length) == 0)
			values->asked |= 1u << i;
}

static void
take_length_byte(struct fcgi_values *values, uint8_t byte)
{
	size_t value_length, first, second;

	values->lengths[values->lengths_have++] = byte;
	first = params_read_length(values->lengths, values->lengths_have,
	    &values->name_length);
	if (first == 0)
		return;
	second = params_read_length(values->lengths + first,
	    values->lengths_have - first, &value_length);
	if (second == 0)
		return;
	values->lengths_have = 0;
	values->name_have = 0;
	values->left = values->name_length + value_length;
	if (values->left == 0)
		pair_end(values);
}

/* Keeps of a name as much as could be known; the value is of no interest. */
static size_t
take_text(struct fcgi_values *values, const uint8_t *data, size_t n)
{
	size_t room = sizeof(values->name);

	if (n > values->left)
		n = values->left;
	if (room > values->name_length)
		room = values->name_length;
	room -= values->name_have;
	if (room > n)
		room = n;
	memcpy(values->name + values->name_have, data, room);
	values->name_have += room;
	values->left -= n;
	if (values->left == 0)
		pair_end(values);
	return n;
}

void
fcgi_values_feed(struct fcgi_values *values, const uint8_t *data, size_t n)
{
	while (n > 0) {
		size_t step = 1;

		if (values->left > 0)
			step = take_text(values, data, n);
		else
			take_length_byte(values, *data);
		data += step;
		n -= step;
	}
}

int
fcgi_values_answer(const struct fcgi_values *values, uint64_t max_connections,
    struct buf *out)
{
	struct buf pairs = { 0 };
	char most[24];
	int error = values->left > 0 || values->lengths_have > 0 ? -EPROTO : 0;

	snprintf(most, sizeof(most), "%" PRIu64, max_connections);
	for (size_t i = 0; i < FACTS; i++) {
		const char *name = facts[i][0];
		const char *value = facts[i][1] == NULL ? most : facts[i][1];

		if (error == 0 && (values->asked & 1u << i) != 0)
			error = params_put(&pairs, name, strlen(name), value,
			    strlen(value));
	}
	if (error == 0)
		error = fcgi_put_header(out, FCGI_GET_VALUES_RESULT, 0,
		    (uint16_t)buf_len(&pairs), 0);
	if (error == 0 && buf_len(&pairs) > 0)
		error = buf_add(out, buf_head(&pairs), buf_len(&pairs));
	buf_free(&pairs);
	return error;
}
