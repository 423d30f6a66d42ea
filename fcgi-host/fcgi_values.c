#include "fcgi-host/fcgi_values.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/fcgi_record.h"

#define BYTES_MAX 4096
#define NAMES_MAX 64

/* NULL stands for max_connections. */
static const char *const facts[][2] = {
	{ FCGI_MAX_CONNS, NULL },
	{ FCGI_MAX_REQS, NULL },
	{ FCGI_MPXS_CONNS, "0" },
};

static int
pairs_put(const struct params *asked, const char *most, struct buf *pairs)
{
	int error = 0;

	for (size_t i = 0; error == 0 &&
	    i < sizeof(facts) / sizeof(facts[0]); i++) {
		const char *name = facts[i][0];
		const char *value = facts[i][1] == NULL ? most : facts[i][1];

		if (params_get(asked, name) != NULL)
			error = params_put(pairs, name, strlen(name), value,
			    strlen(value));
	}
	return error;
}

int
fcgi_values_answer(const uint8_t *asked, size_t n, uint64_t max_connections,
    struct buf *out)
{
	struct params *params = params_new(BYTES_MAX, NAMES_MAX);
	struct buf pairs = { 0 };
	char most[24];
	int error = -ENOMEM;

	snprintf(most, sizeof(most), "%llu",
	    (unsigned long long)max_connections);
	if (params != NULL)
		error = params_feed(params, asked, n);
	if (error == 0)
		error = params_finish(params);
	if (error == 0)
		error = pairs_put(params, most, &pairs);
	if (error == 0)
		error = fcgi_put_header(out, FCGI_GET_VALUES_RESULT, 0,
		    (uint16_t)buf_len(&pairs), 0);
	if (error == 0 && buf_len(&pairs) > 0)
		error = buf_add(out, buf_head(&pairs), buf_len(&pairs));
	buf_free(&pairs);
	params_free(params);
	return error;
}
