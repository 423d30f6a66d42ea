/*
 * The environment of a request: what a peer sends never becomes a variable
 * that may not pass, never two of one name; the block and the pairs say the
 * same.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <strings.h>

#include "fcgi-host/cgi_env.h"

#define WORDS_MAX 64

/* Every entry of a block as a call; n counts them. */
static size_t
each_entry(const struct buf *block, void (*fn)(const char *entry, void *arg),
    void *arg)
{
	size_t left = buf_len(block), count = 0;
	const char *at = left == 0 ? NULL :
	    (const char *)block->data + block->start;

	while (left > 0) {
		size_t length = strnlen(at, left);

		CLAIM(length < left);
		fn(at, arg);
		count++;
		at += length + 1;
		left -= length + 1;
	}
	return count;
}

static void
must_be_allowed(const char *entry, void *arg)
{
	const char *equals = strchr(entry, '=');
	char name[4096];
	size_t length;

	CLAIM(equals != NULL);
	length = (size_t)(equals - entry);
	CLAIM(length > 0 && length < sizeof(name));
	memcpy(name, entry, length);
	name[length] = '\0';
	CLAIM(cgi_env_allowed(name, arg));
	CLAIM(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"
	    "abcdefghijklmnopqrstuvwxyz") == length);
	CLAIM(name[0] < '0' || name[0] > '9');
	CLAIM(strcasecmp(name, "HTTP_PROXY") != 0);
	CLAIM(strncmp(name, "LD_", 3) != 0);
	CLAIM(strncmp(name, "FCGI_", 5) != 0);
	CLAIM(strcmp(name, "PATH") != 0 && strcmp(name, "PHP_VALUE") != 0);
}

/* The entry must be what the pairs have under its name: no other entry of the
 * same name can be. */
static void
must_be_in(const char *entry, void *arg)
{
	const struct params *params = arg;
	const char *equals = strchr(entry, '=');
	size_t seen = 0, length;

	CLAIM(equals != NULL);
	length = (size_t)(equals - entry);
	for (size_t i = 0; i < params_count(params); i++) {
		struct param param = params_at(params, i);

		if (param.name_length != length ||
		    memcmp(param.name, entry, length) != 0)
			continue;
		seen++;
		CLAIM(strcmp(param.value, equals + 1) == 0);
	}
	CLAIM(seen == 1);
}

/* Block and pairs agree, and the block read back is the block. */
static void
check_forms(const struct cgi_env *env, struct buf *block)
{
	struct buf pairs = { 0 }, again = { 0 };
	struct params *params = params_new(SIZE_MAX, SIZE_MAX);
	struct cgi_env *copy = cgi_env_new();

	CLAIM(params != NULL && copy != NULL);
	CLAIM(cgi_env_put_block(env, block) == 0);
	CLAIM(cgi_env_put_params(env, &pairs) == 0);
	CLAIM(params_feed(params, buf_head(&pairs), buf_len(&pairs)) == 0);
	CLAIM(params_finish(params) == 0);
	CLAIM(each_entry(block, must_be_in, params) == params_count(params));
	CLAIM(cgi_env_add_block(copy, (const char *)buf_head(block),
	    buf_len(block)) == 0);
	CLAIM(cgi_env_put_block(copy, &again) == 0);
	CLAIM(same_bytes(block, &again));
	cgi_env_free(copy);
	params_free(params);
	buf_free(&pairs);
	buf_free(&again);
}

static void
from_params(const uint8_t *data, size_t n, char *pass_params)
{
	struct params *params = params_new(4096, 64);
	struct cgi_env *env = cgi_env_new();
	struct buf block = { 0 };

	CLAIM(params != NULL && env != NULL);
	if (params_feed(params, data, n) == 0 && params_finish(params) == 0) {
		CLAIM(cgi_env_add_params(env, params, pass_params) == 0);
		check_forms(env, &block);
		each_entry(&block, must_be_allowed, pass_params);
	}
	buf_free(&block);
	cgi_env_free(env);
	params_free(params);
}

static void
from_block(const uint8_t *data, size_t n)
{
	struct cgi_env *env = cgi_env_new();
	struct buf block = { 0 };
	int rc;

	CLAIM(env != NULL);
	rc = cgi_env_add_block(env, (const char *)data, n);
	CLAIM(rc == 0 || rc == -EINVAL);
	if (n > 0 && data[n - 1] != '\0')
		CLAIM(rc == -EINVAL);
	check_forms(env, &block);
	buf_free(&block);
	cgi_env_free(env);
}

/* pass_params, up to a newline, then what is parsed. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char words[WORDS_MAX + 1];
	size_t length = 0;

	while (length < WORDS_MAX && n > 0) {
		uint8_t byte = take_byte(&data, &n);

		if (byte == '\n' || byte == '\0')
			break;
		words[length++] = (char)byte;
	}
	words[length] = '\0';
	from_params(data, n, words);
	from_block(data, n);
	return 0;
}
