#include "fcgi-host/books/keyring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A power of two, of which the steps fill less than a half. */
#define SLOTS (1u << 18)

struct line_of_keys {
	uint8_t (*keys)[CHAIN_KEY_SIZE]; /* KEYRING_STEPS: none is moved */
	uint32_t *slots; /* by name: a step and 1; 0: there is none */
	int count;       /* keys that are made */
};

struct keyring {
	struct line_of_keys given[KEYRING_KEYS];
	size_t count;
	struct chain *chain; /* what names are made with */
};

struct keyring *
keyring_new(void)
{
	static const uint8_t none[CHAIN_KEY_SIZE];
	struct keyring *ring = calloc(1, sizeof(*ring));

	if (ring != NULL)
		ring->chain = chain_new(none);
	if (ring != NULL && ring->chain != NULL)
		return ring;
	free(ring);
	return NULL;
}

static void
line_free(struct line_of_keys *line)
{
	if (line->keys != NULL)
		explicit_bzero(line->keys,
		    (size_t)line->count * sizeof(*line->keys));
	free(line->keys);
	free(line->slots);
	*line = (struct line_of_keys){ 0 };
}

void
keyring_free(struct keyring *ring)
{
	if (ring == NULL)
		return;
	for (size_t i = 0; i < ring->count; i++)
		line_free(&ring->given[i]);
	chain_free(ring->chain);
	free(ring);
}

size_t
keyring_count(const struct keyring *ring)
{
	return ring->count;
}

const uint8_t *
keyring_key(const struct keyring *ring, size_t given, int step)
{
	return ring->given[given].keys[step];
}

static void
name_of(struct keyring *ring, const struct line_of_keys *line, int step,
    char name[CHAIN_ID_TEXT])
{
	chain_set_key(ring->chain, line->keys[step]);
	chain_id(ring->chain, name);
}

/* FNV-1a.  Who makes names up can aim at a slot, and not fill one. */
static uint32_t
slot_of(const char *name)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < CHAIN_ID_TEXT - 1; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return hash % SLOTS;
}

static int
look_up(struct keyring *ring, const struct line_of_keys *line,
    const char *name)
{
	uint32_t at = slot_of(name);
	char other[CHAIN_ID_TEXT];

	for (; line->slots[at] != 0; at = (at + 1) % SLOTS) {
		int step = (int)line->slots[at] - 1;

		name_of(ring, line, step, other);
		if (memcmp(other, name, CHAIN_ID_TEXT - 1) == 0)
			return step;
	}
	return -1;
}

/* The last of the line has a place by its name; which is in `name` then. */
static void
note(struct keyring *ring, struct line_of_keys *line, char name[CHAIN_ID_TEXT])
{
	uint32_t at;

	name_of(ring, line, line->count - 1, name);
	for (at = slot_of(name); line->slots[at] != 0; at = (at + 1) % SLOTS)
		continue;
	line->slots[at] = (uint32_t)line->count;
}

int
keyring_add(struct keyring *ring, const uint8_t key[CHAIN_KEY_SIZE])
{
	struct line_of_keys line = { .count = 1 };
	char name[CHAIN_ID_TEXT];

	if (ring->count == KEYRING_KEYS)
		return -ENOSPC;
	line.keys = calloc(KEYRING_STEPS, sizeof(*line.keys));
	line.slots = calloc(SLOTS, sizeof(*line.slots));
	if (line.keys == NULL || line.slots == NULL) {
		line_free(&line);
		return -ENOMEM;
	}
	memcpy(line.keys[0], key, CHAIN_KEY_SIZE);
	note(ring, &line, name);
	ring->given[ring->count++] = line;
	return 0;
}

int
keyring_find(struct keyring *ring, size_t given, const char *name)
{
	struct line_of_keys *line = &ring->given[given];
	int step = look_up(ring, line, name);
	char made[CHAIN_ID_TEXT];

	while (step < 0 && line->count < KEYRING_STEPS) {
		chain_key_next(line->keys[line->count - 1],
		    line->keys[line->count]);
		line->count++;
		note(ring, line, made);
		if (memcmp(made, name, CHAIN_ID_TEXT - 1) == 0)
			step = line->count - 1;
	}
	return step;
}
