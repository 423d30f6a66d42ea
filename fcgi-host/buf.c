#include "fcgi-host/buf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_SIZE_MIN 256

/* Moves what is unread to the front.  Only where at least as many bytes are
 * won as are moved, so that a slow reader costs no quadratic copying. */
static void
move_to_front(struct buf *b)
{
	size_t n = buf_len(b);

	if (b->start == 0 || b->start < n)
		return;
	memcpy(b->data, b->data + b->start, n);
	b->start = 0;
	b->end = n;
}

/* After it at least as much is free as was copied, for the same reason. */
static int
grow(struct buf *b, size_t n)
{
	size_t length = buf_len(b), size;
	uint8_t *data;

	if (n > SIZE_MAX / 4 || length > SIZE_MAX / 4)
		return -ENOMEM;
	size = b->size < BUF_SIZE_MIN ? BUF_SIZE_MIN : b->size;
	while (size < length + n || size - length < length)
		size *= 2;
	data = malloc(size);
	if (data == NULL)
		return -ENOMEM;
	if (length > 0)
		memcpy(data, b->data + b->start, length);
	free(b->data);
	*b = (struct buf){ .data = data, .end = length, .size = size };
	return 0;
}

uint8_t *
buf_reserve_growing(struct buf *b, size_t n)
{
	if (b->data != NULL && b->size - b->end < n)
		move_to_front(b);
	if (b->data == NULL || b->size - b->end < n)
		if (grow(b, n) != 0)
			return NULL;
	return b->data + b->end;
}

int
buf_add_growing(struct buf *b, const void *data, size_t n)
{
	uint8_t *place = buf_reserve(b, n);

	if (place == NULL)
		return -ENOMEM;
	memcpy(place, data, n);
	b->end += n;
	return 0;
}

char *
buf_digits(char text[BUF_DIGITS_SIZE], uint64_t value, size_t width)
{
	char *end = text + BUF_DIGITS_SIZE - 1, *at = end;

	*end = '\0';
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0 || (size_t)(end - at) < width);
	return at;
}

char *
buf_hex(char text[BUF_DIGITS_SIZE], uint64_t value)
{
	char *at = text + BUF_DIGITS_SIZE - 1;

	*at = '\0';
	do {
		*--at = "0123456789abcdef"[value % 16];
		value /= 16;
	} while (value > 0);
	return at;
}

int
buf_add_number(struct buf *b, uint64_t value, size_t width)
{
	size_t length = 1;
	uint8_t *at;

	for (uint64_t rest = value; rest > 9; rest /= 10)
		length++;
	if (length < width)
		length = width;
	at = buf_reserve(b, length);
	if (at == NULL)
		return -ENOMEM;
	b->end += length;
	for (at += length; length > 0; length--) {
		*--at = (uint8_t)('0' + value % 10);
		value /= 10;
	}
	return 0;
}

int
buf_addv(struct buf *b, const char *fmt, va_list args)
{
	va_list copy;
	char *place;
	int length;

	va_copy(copy, args);
	length = vsnprintf(NULL, 0, fmt, copy);
	va_end(copy);
	if (length < 0)
		return -ENOMEM;
	/* One more for the NUL that vsnprintf writes and nobody commits. */
	place = (char *)buf_reserve(b, (size_t)length + 1);
	if (place == NULL)
		return -ENOMEM;
	vsnprintf(place, (size_t)length + 1, fmt, args);
	b->end += (size_t)length;
	return 0;
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	int error;

	va_start(args, fmt);
	error = buf_addv(b, fmt, args);
	va_end(args);
	return error;
}

/* The length of the UTF-8 sequence at text[0..n), 0 for none (RFC 3629: no
 * overlong form, no surrogate, nothing above U+10FFFF). */
static size_t
utf8_length(const uint8_t *text, size_t n)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t length;

	if (text[0] >= 0xc2 && text[0] <= 0xdf)
		length = 2;
	else if (text[0] >= 0xe0 && text[0] <= 0xef)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] <= 0xf4)
		length = 4;
	else
		return text[0] < 0x80;
	if (text[0] == 0xe0)
		low = 0xa0;
	else if (text[0] == 0xed)
		high = 0x9f;
	else if (text[0] == 0xf0)
		low = 0x90;
	else if (text[0] == 0xf4)
		high = 0x8f;
	if (n < length || text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

bool
buf_is_utf8(const char *text, size_t n)
{
	size_t at, length;

	for (at = 0; at < n; at += length) {
		length = utf8_length((const uint8_t *)text + at, n - at);
		if (length == 0)
			return false;
	}
	return true;
}

static int
add_json_escape(struct buf *b, uint8_t byte)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (size_t i = 0; i + 1 < sizeof(shorts); i += 2)
		if ((uint8_t)shorts[i] == byte)
			return buf_addf(b, "\\%c", shorts[i + 1]);
	if (byte < 0x80)
		return buf_addf(b, "\\u%04x", byte);
	return buf_add_str(b, "\xef\xbf\xbd");
}

/* What stands for itself in a JSON string, alone. */
static const bool is_plain[UINT8_MAX + 1] = {
	[' ' ... '!'] = true, ['#' ... '['] = true, [']' ... '~'] = true,
};

static int
add_json_text(struct buf *b, const uint8_t *text, size_t n)
{
	size_t plain = 0, at = 0;
	int rc;

	for (;;) {
		size_t length;

		while (at < n && is_plain[text[at]])
			at++;
		if (at == n)
			break;
		length = text[at] < 0x80 ? 0 : utf8_length(text + at, n - at);
		if (length > 0) {
			at += length;
			continue;
		}
		rc = buf_add(b, text + plain, at - plain);
		if (rc == 0)
			rc = add_json_escape(b, text[at]);
		if (rc != 0)
			return rc;
		plain = ++at;
	}
	return buf_add(b, text + plain, n - plain);
}

int
buf_add_json(struct buf *b, const char *text, size_t n)
{
	size_t before = buf_len(b);
	int rc;

	rc = buf_add(b, "\"", 1);
	if (rc == 0 && n > 0)
		rc = add_json_text(b, (const uint8_t *)text, n);
	if (rc == 0)
		rc = buf_add(b, "\"", 1);
	if (rc != 0)
		b->end = b->start + before;
	return rc;
}

static const char *
html_escape(uint8_t byte)
{
	switch (byte) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return byte < 0x20 || byte == 0x7f ? "\xef\xbf\xbd" : NULL;
	}
}

int
buf_add_html(struct buf *b, const char *text, size_t n)
{
	const uint8_t *at = (const uint8_t *)text;
	int rc = 0;

	while (n > 0 && rc == 0) {
		const char *escape = html_escape(*at);
		size_t length = utf8_length(at, n);

		if (escape == NULL && length == 0)
			escape = "\xef\xbf\xbd";
		rc = escape != NULL ? buf_add_str(b, escape) :
		    buf_add(b, at, length);
		length = escape != NULL ? 1 : length;
		at += length;
		n -= length;
	}
	return rc;
}

void
buf_consume(struct buf *b, size_t n)
{
	LOG_ASSERT(n <= buf_len(b));
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void
buf_reset(struct buf *b, size_t keep_size)
{
	uint8_t *data;

	b->start = b->end = 0;
	if (b->size <= keep_size)
		return;
	if (keep_size == 0) {
		buf_free(b);
		return;
	}
	data = realloc(b->data, keep_size);
	if (data != NULL) {
		b->data = data;
		b->size = keep_size;
	}
}

void
buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

void *
buf_grow(void *array, size_t count, size_t size)
{
	if (count > 0 && (count & (count - 1)) != 0)
		return array;
	return reallocarray(array, count == 0 ? 1 : count * 2, size);
}
