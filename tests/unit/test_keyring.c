/* Keys by their names, and how much it takes to look for names that none has:
 * counted in hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include <sodium.h>

#include "fcgi-host/books/keyring.h"

typedef int hash_fn(unsigned char *out, size_t out_size,
    const unsigned char *text, unsigned long long n, const unsigned char *key,
    size_t key_size);

static unsigned hashes;

/* In place of the library's, which it calls. */
int
crypto_generichash(unsigned char *out, size_t out_size,
    const unsigned char *text, unsigned long long n, const unsigned char *key,
    size_t key_size)
{
	static hash_fn *real;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "crypto_generichash");
	assert_non_null(real);
	hashes++;
	return real(out, out_size, text, n, key, key_size);
}

static struct keyring *
ring_of(uint8_t first, uint8_t last)
{
	struct keyring *ring = keyring_new();

	assert_non_null(ring);
	for (uint8_t seed = first; seed <= last; seed++) {
		uint8_t key[CHAIN_KEY_SIZE] = { seed };

		assert_int_equal(keyring_add(ring, key), 0);
	}
	return ring;
}

/* As a line tells it of the key so many steps behind the one of this seed. */
static void
name_of(uint8_t seed, int steps, char name[CHAIN_ID_TEXT])
{
	uint8_t key[CHAIN_KEY_SIZE] = { seed };
	struct chain *chain;

	while (steps-- > 0)
		chain_key_next(key, key);
	chain = chain_new(key);
	assert_non_null(chain);
	chain_id(chain, name);
	chain_free(chain);
}

static void
a_key_is_found_by_the_name_that_lines_tell(void **state)
{
	struct keyring *ring = ring_of(1, 2);
	char name[CHAIN_ID_TEXT];

	(void)state;
	for (int step = 40; step >= 0; step -= 5) {
		uint8_t key[CHAIN_KEY_SIZE] = { 2 };

		name_of(2, step, name);
		assert_int_equal(keyring_find(ring, 1, name), step);
		for (int i = 0; i < step; i++)
			chain_key_next(key, key);
		assert_memory_equal(keyring_key(ring, 1, step), key,
		    sizeof(key));
	}
	name_of(2, KEYRING_STEPS - 1, name);
	assert_int_equal(keyring_find(ring, 0, name), -1);
	assert_int_equal(keyring_find(ring, 1, name), KEYRING_STEPS - 1);
	name_of(2, KEYRING_STEPS, name);
	assert_int_equal(keyring_find(ring, 1, name), -1);
	keyring_free(ring);
}

static void
no_more_keys_are_taken_than_there_are_places(void **state)
{
	struct keyring *ring = ring_of(1, KEYRING_KEYS);
	uint8_t key[CHAIN_KEY_SIZE] = { 99 };

	(void)state;
	assert_int_equal(keyring_count(ring), KEYRING_KEYS);
	assert_int_equal(keyring_add(ring, key), -ENOSPC);
	assert_int_equal(keyring_count(ring), KEYRING_KEYS);
	keyring_free(ring);
}

static void
names_that_no_key_has_cost_all_keys_once(void **state)
{
	struct keyring *ring = ring_of(7, 7);
	char name[CHAIN_ID_TEXT], real[CHAIN_ID_TEXT];

	(void)state;
	name_of(7, 3, real);
	hashes = 0;
	for (unsigned i = 0; i < 20000; i++) {
		(void)snprintf(name, sizeof(name), "%08x%024x", i * 2654435761u,
		    i);
		assert_int_equal(keyring_find(ring, 0, name), -1);
		/* between them as well */
		assert_int_equal(keyring_find(ring, 0, real), 3);
	}
	/* each key's own and its name's; then some names that lie beside */
	assert_true(hashes >= 2 * (KEYRING_STEPS - 1));
	assert_true(hashes <= 2 * KEYRING_STEPS + 20000 * 2 * 10);
	keyring_free(ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_found_by_the_name_that_lines_tell),
		cmocka_unit_test(no_more_keys_are_taken_than_there_are_places),
		cmocka_unit_test(names_that_no_key_has_cost_all_keys_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
