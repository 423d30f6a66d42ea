/*
 * The keyed chain over the lines of the accounting log: each line ends in a
 * mac over the mac before it and the line itself, so that none can be taken
 * away, changed, moved or put in by who lacks the key.  Pure: bytes in, a mac
 * out.  A key leads to the next one and never back, so that who takes the host
 * today cannot write what an earlier key has written.  Writer: the gateway;
 * reader: fcgi-host usage --verify; fcgi-host-accounting(5) has it in words.
 */
#ifndef FCGI_HOST_CHAIN_H
#define FCGI_HOST_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"

#define CHAIN_KEY_SIZE 32
#define CHAIN_MAC_SIZE 32
#define CHAIN_ID_SIZE 16
#define CHAIN_MAC_TEXT (2 * CHAIN_MAC_SIZE + 1)
#define CHAIN_ID_TEXT (2 * CHAIN_ID_SIZE + 1)
/* ,"mac":"…" */
#define CHAIN_FIELD_SIZE (9 + 2 * CHAIN_MAC_SIZE)

/* All zeros: no line stands before. */
struct chain_mac {
	uint8_t byte[CHAIN_MAC_SIZE];
};

/* A key, in memory that is in no core, and the last mac that was made. */
struct chain;

/* Of no line yet.  NULL: no memory. */
struct chain *chain_new(const uint8_t key[CHAIN_KEY_SIZE]);
/* Overwrites the key. */
void chain_free(struct chain *chain);
/* In place of the one before, which is overwritten. */
void chain_set_key(struct chain *chain, const uint8_t key[CHAIN_KEY_SIZE]);

/* What a line tells of its key; it says nothing about the key. */
void chain_id(const struct chain *chain, char text[CHAIN_ID_TEXT]);
/* The mac of a line: n bytes of it, all that stands before its ,"mac": */
void chain_mac(struct chain *chain, const struct chain_mac *before,
    const char *line, size_t n, struct chain_mac *mac);

/* The chain goes on behind a line of this mac. */
void chain_go_on(struct chain *chain, const struct chain_mac *mac);
const struct chain_mac *chain_head(const struct chain *chain);
/* The batch's end from `start` on is a whole line: puts its mac into it, and goes
 * on behind it.  Room for CHAIN_FIELD_SIZE must be reserved. */
void chain_seal(struct chain *chain, struct buf *batch, size_t start);

/* The key after it; both may be the same memory. */
void chain_key_next(const uint8_t key[CHAIN_KEY_SIZE],
    uint8_t next[CHAIN_KEY_SIZE]);
/* From 64 hex digits, and nothing behind them but one newline.  False: that is
 * no key. */
bool chain_key_parse(const char *text, size_t n, uint8_t key[CHAIN_KEY_SIZE]);
void chain_key_text(const uint8_t key[CHAIN_KEY_SIZE],
    char text[2 * CHAIN_KEY_SIZE + 1]);

/* Exactly 64 hex digits, small letters. */
bool chain_mac_parse(const char *text, size_t n, struct chain_mac *mac);
void chain_mac_text(const struct chain_mac *mac, char text[CHAIN_MAC_TEXT]);
bool chain_mac_is_none(const struct chain_mac *mac);
bool chain_mac_same(const struct chain_mac *a, const struct chain_mac *b);

/* The mac of a line (n: without its newline), and in *covered how much of it that
 * covers.  False: it has none. */
bool chain_line_read(const char *line, size_t n, struct chain_mac *mac,
    size_t *covered);

#endif
