/*
 * A line of an accounting log into an entry, by simdjson: the one room that
 * knows that library.  Every byte of the line is taken for hostile.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_JSON_H
#define FCGI_HOST_BOOKS_JSON_H

#include <stddef.h>

#include "fcgi-host/books/entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* So many bytes behind a line's end must be readable; what they are does not
 * matter. */
#define JSON_PADDING 64
#define JSON_LINE_MAX ((size_t)64 << 10)
#define JSON_WHY_MAX 160

struct json;

/* NULL: no memory.  json_free accepts NULL. */
struct json *json_new(void);
void json_free(struct json *json);

/*
 * Reads line[0..n), without its newline.  What the entry's spans point to lasts
 * until the next call.  Fields that this version does not know are passed over.
 * 0; -EBADMSG: the line is no record, or longer than JSON_LINE_MAX, and why
 * (JSON_WHY_MAX bytes) says what is wrong in it, in printable ASCII.
 */
int json_read(struct json *json, const char *line, size_t n,
    struct entry *entry, char *why);

#ifdef __cplusplus
}
#endif

#endif
