/*
 * What usage is grouped by: a list of keys, and a record's values of them as
 * one string of bytes.  Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_KEYS_H
#define FCGI_HOST_BOOKS_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/books/entry.h"
#include "fcgi-host/civil.h"

enum key {
	KEY_TENANT,
	KEY_FUNCTION,
	KEY_RUNTIME,
	KEY_DAY,
	KEY_MONTH,
	KEY_HOUR,
	KEY_OUTCOME,
	KEY_START,
	KEY_TRIGGER,
	KEY_METHOD,
	KEY_STATUS,
	KEY_COUNT
};

struct keys {
	enum key at[KEY_COUNT];
	size_t count;
};

#define KEYS_NAMES "tenant, function, runtime, day, month, hour, outcome, " \
	"start, trigger, method, status"

/* "tenant,day".  0; -EINVAL: *word is where in text a word begins that is no
 * key, or stands there twice. */
int keys_parse(struct keys *keys, const char *text, const char **word);
const char *keys_name(enum key key);

/* The last hour that was written out: most records are of the same. */
struct keys_hour {
	uint64_t hour;
	char text[CIVIL_TIME_MAX];
};

/* Two bytes of length and the bytes, for each key.  0, or the bytes needed,
 * when size is too small. */
#define KEYS_PACKED_MAX 1024
size_t keys_pack(const struct keys *keys, const struct entry *entry,
    struct keys_hour *hour, uint8_t *out, size_t *n, size_t size);

/* The value of the index-th key of what keys_pack wrote. */
struct span keys_value(const uint8_t *packed, size_t index);

/* By the values in order; numbers as text of the same length go right. */
int keys_compare(const struct keys *keys, const uint8_t *a, const uint8_t *b);

#endif
