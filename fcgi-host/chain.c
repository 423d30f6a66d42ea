#include "fcgi-host/chain.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert(CHAIN_ID_SIZE >= crypto_generichash_BYTES_MIN,
    "BLAKE2b gives no shorter one");

/* What a key is used for beside macs.  A mac's text begins with the mac before
 * it and so is longer than these: no one can be taken for another. */
static const char next_word[] = "fcgi-host chain: next key";
static const char id_word[] = "fcgi-host chain: name of key";

_Static_assert(sizeof(next_word) - 1 < CHAIN_MAC_SIZE &&
    sizeof(id_word) - 1 < CHAIN_MAC_SIZE, "they are shorter");

struct chain {
	uint8_t key[CHAIN_KEY_SIZE];
	/* the hash as it is after the key, and the one at work */
	crypto_generichash_state keyed, working;
	struct chain_mac head;
};

/* A whole mapping, so that the advice is about nothing else. */
struct chain *
chain_new(const uint8_t key[CHAIN_KEY_SIZE])
{
	void *memory = mmap(NULL, sizeof(struct chain),
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	(void)madvise(memory, sizeof(struct chain), MADV_DONTDUMP);
	chain_set_key(memory, key);
	return memory;
}

void
chain_free(struct chain *chain)
{
	if (chain == NULL)
		return;
	sodium_memzero(chain, sizeof(*chain));
	munmap(chain, sizeof(*chain));
}

void
chain_set_key(struct chain *chain, const uint8_t key[CHAIN_KEY_SIZE])
{
	memcpy(chain->key, key, CHAIN_KEY_SIZE);
	(void)crypto_generichash_init(&chain->keyed, chain->key,
	    CHAIN_KEY_SIZE, CHAIN_MAC_SIZE);
}

static void
hash_word(const uint8_t key[CHAIN_KEY_SIZE], const char *word, uint8_t *out,
    size_t size)
{
	(void)crypto_generichash(out, size, (const uint8_t *)word,
	    strlen(word), key, CHAIN_KEY_SIZE);
}

void
chain_id(const struct chain *chain, char text[CHAIN_ID_TEXT])
{
	uint8_t id[CHAIN_ID_SIZE];

	hash_word(chain->key, id_word, id, sizeof(id));
	sodium_bin2hex(text, CHAIN_ID_TEXT, id, sizeof(id));
}

void
chain_mac(struct chain *chain, const struct chain_mac *before,
    const char *line, size_t n, struct chain_mac *mac)
{
	/* not on the stack: it holds the key */
	crypto_generichash_state *working = &chain->working;

	*working = chain->keyed;
	(void)crypto_generichash_update(working, before->byte,
	    CHAIN_MAC_SIZE);
	(void)crypto_generichash_update(working, (const uint8_t *)line, n);
	(void)crypto_generichash_final(working, mac->byte, CHAIN_MAC_SIZE);
}

void
chain_go_on(struct chain *chain, const struct chain_mac *mac)
{
	chain->head = *mac;
}

const struct chain_mac *
chain_head(const struct chain *chain)
{
	return &chain->head;
}

void
chain_seal(struct chain *chain, struct buf *batch, size_t start)
{
	static const char begin[] = ",\"mac\":\"", end[] = "\"}\n";
	const char *line = (const char *)buf_head(batch) + start;
	char text[CHAIN_MAC_TEXT];

	batch->end -= 2; /* }\n */
	chain_mac(chain, &chain->head, line, buf_len(batch) - start,
	    &chain->head);
	chain_mac_text(&chain->head, text);
	(void)buf_add(batch, begin, sizeof(begin) - 1);
	(void)buf_add(batch, text, CHAIN_MAC_TEXT - 1);
	(void)buf_add(batch, end, sizeof(end) - 1);
}

void
chain_key_next(const uint8_t key[CHAIN_KEY_SIZE], uint8_t next[CHAIN_KEY_SIZE])
{
	uint8_t out[CHAIN_KEY_SIZE];

	hash_word(key, next_word, out, sizeof(out));
	memcpy(next, out, sizeof(out));
	sodium_memzero(out, sizeof(out));
}

static bool
is_hex(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((text[i] < '0' || text[i] > '9') &&
		    (text[i] < 'a' || text[i] > 'f'))
			return false;
	return true;
}

static bool
hex_read(const char *text, size_t n, uint8_t *out, size_t size)
{
	return n == 2 * size && is_hex(text, n) &&
	    sodium_hex2bin(out, size, text, n, NULL, NULL, NULL) == 0;
}

bool
chain_key_parse(const char *text, size_t n, uint8_t key[CHAIN_KEY_SIZE])
{
	if (n > 0 && text[n - 1] == '\n')
		n--;
	return hex_read(text, n, key, CHAIN_KEY_SIZE);
}

void
chain_key_text(const uint8_t key[CHAIN_KEY_SIZE],
    char text[2 * CHAIN_KEY_SIZE + 1])
{
	sodium_bin2hex(text, 2 * CHAIN_KEY_SIZE + 1, key, CHAIN_KEY_SIZE);
}

bool
chain_mac_parse(const char *text, size_t n, struct chain_mac *mac)
{
	return hex_read(text, n, mac->byte, CHAIN_MAC_SIZE);
}

void
chain_mac_text(const struct chain_mac *mac, char text[CHAIN_MAC_TEXT])
{
	sodium_bin2hex(text, CHAIN_MAC_TEXT, mac->byte, CHAIN_MAC_SIZE);
}

bool
chain_mac_is_none(const struct chain_mac *mac)
{
	return sodium_is_zero(mac->byte, CHAIN_MAC_SIZE) == 1;
}

bool
chain_mac_same(const struct chain_mac *a, const struct chain_mac *b)
{
	return sodium_memcmp(a->byte, b->byte, CHAIN_MAC_SIZE) == 0;
}

bool
chain_line_read(const char *line, size_t n, struct chain_mac *mac,
    size_t *covered)
{
	static const char begin[] = ",\"mac\":\"", end[] = "\"}";
	const size_t digits = 2 * CHAIN_MAC_SIZE;
	const size_t field = sizeof(begin) - 1 + digits + sizeof(end) - 1;
	const char *at;

	if (n <= field)
		return false;
	at = line + (n - field);
	*covered = n - field;
	return memcmp(at, begin, sizeof(begin) - 1) == 0 &&
	    memcmp(line + (n - (sizeof(end) - 1)), end, sizeof(end) - 1) == 0 &&
	    chain_mac_parse(at + sizeof(begin) - 1, digits, mac);
}
