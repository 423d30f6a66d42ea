/*
 * A growable byte buffer that is filled at its tail and consumed at its head.
 * All-zero is an empty buffer.  Pure memory, used by every role.
 */
#ifndef FCGI_HOST_BUF_H
#define FCGI_HOST_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fcgi-host/log.h"

struct buf {
	uint8_t *data;
	size_t start; /* first byte that is not consumed */
	size_t end;   /* first free byte */
	size_t size;  /* bytes allocated */
};

static inline size_t
buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline uint8_t *
buf_head(struct buf *b)
{
	/* NULL + 0 is undefined, and an empty buffer has no memory. */
	return b->data == NULL ? NULL : b->data + b->start;
}

/* Room for n more bytes at the tail; returns their place, or NULL (ENOMEM).
 * buf_commit then says how many of them were filled. */
uint8_t *buf_reserve_growing(struct buf *b, size_t n);

static inline uint8_t *
buf_reserve(struct buf *b, size_t n)
{
	if (b->data == NULL || b->size - b->end < n)
		return buf_reserve_growing(b, n);
	return b->data + b->end;
}

static inline void
buf_commit(struct buf *b, size_t n)
{
	LOG_ASSERT(n <= b->size - b->end);
	b->end += n;
}

/* Append; 0 or -ENOMEM. */
int buf_add_growing(struct buf *b, const void *data, size_t n);

/* In line, since an execution's record and environment are made of hundreds of
 * small pieces, most of a size that the compiler knows. */
static inline int
buf_add(struct buf *b, const void *data, size_t n)
{
	if (n == 0)
		return 0;
	if (b->size - b->end < n)
		return buf_add_growing(b, data, n);
	memcpy(b->data + b->end, data, n);
	b->end += n;
	return 0;
}

static inline int
buf_add_str(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

/* A number's digits, with zeros in front up to a width of at most 20, and a
 * NUL: written at the end of text, where it begins is returned. */
#define BUF_DIGITS_SIZE 21
char *buf_digits(char text[BUF_DIGITS_SIZE], uint64_t value, size_t width);
/* The same in lower-case hexadecimal, without zeros. */
char *buf_hex(char text[BUF_DIGITS_SIZE], uint64_t value);
/* Appends the digits: without printf, since an execution has dozens. */
int buf_add_number(struct buf *b, uint64_t value, size_t width);

int buf_addf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int buf_addv(struct buf *b, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

/* Whether all of text[0..n) is UTF-8 (RFC 3629). */
bool buf_is_utf8(const char *text, size_t n);

/* Appends text[0..n) as a quoted JSON string (RFC 8259); a byte that is not
 * UTF-8 becomes U+FFFD.  0, or -ENOMEM and nothing was appended. */
int buf_add_json(struct buf *b, const char *text, size_t n);

/* Appends text[0..n) as text of an HTML page, also within quotes; a control
 * byte, or one that is not UTF-8, becomes U+FFFD.  0 or -ENOMEM. */
int buf_add_html(struct buf *b, const char *text, size_t n);

/* Drops n bytes (of those there are) at the head; a buffer that becomes empty
 * starts over. */
void buf_consume(struct buf *b, size_t n);

/* Empties; memory above keep_size bytes is given back. */
void buf_reset(struct buf *b, size_t keep_size);

/* Releases the memory; the struct is an empty buffer again. */
void buf_free(struct buf *b);

/* Room for one more element of an array of count: it grows in powers of two.
 * The array; or NULL, and it is as it was. */
void *buf_grow(void *array, size_t count, size_t size);

#endif
