/*
 * Keys of a chain that were given, and those that each of them leads to, by the
 * names that lines tell.  A name that none has costs as much as all keys once:
 * who forges lines makes up as many as he likes.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_KEYRING_H
#define FCGI_HOST_BOOKS_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/chain.h"

#define KEYRING_KEYS 16
/* Rotations through which a key is followed: eleven years of hourly ones. */
#define KEYRING_STEPS 100000

struct keyring;

struct keyring *keyring_new(void); /* NULL: no memory */
/* Overwrites the keys; accepts NULL. */
void keyring_free(struct keyring *ring);

/* 0; -ENOSPC: there are KEYRING_KEYS; -ENOMEM. */
int keyring_add(struct keyring *ring, const uint8_t key[CHAIN_KEY_SIZE]);
size_t keyring_count(const struct keyring *ring);

/* How many steps behind the given key, from 0 on, the one stands that has this
 * name, of CHAIN_ID_TEXT - 1 bytes, whatever they are; -1: none has. */
int keyring_find(struct keyring *ring, size_t given, const char *name);
/* One that was found. */
const uint8_t *keyring_key(const struct keyring *ring, size_t given, int step);

#endif
