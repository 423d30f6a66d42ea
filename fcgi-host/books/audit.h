/*
 * Whether the books balance: what the records of each run of a host tell that
 * was used, beside the clock of all its instances, and records that none can
 * be.  Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_AUDIT_H
#define FCGI_HOST_BOOKS_AUDIT_H

#include <stdbool.h>

#include "fcgi-host/books/entry.h"
#include "fcgi-host/buf.h"

struct audit;

/* cores: of the machine that wrote the log.  NULL: no memory.  audit_free
 * accepts NULL. */
struct audit *audit_new(uint64_t cores);
void audit_free(struct audit *audit);

/* Records of a run come in order.  problem: why there can be no such record, a
 * static clause, or NULL.  0 or -ENOMEM. */
int audit_add(struct audit *audit, const struct entry *entry,
    const char **problem);

/* Appends a line for each run, in order.  is_balanced: none is beyond 99 to 101
 * of a hundred.  0 or -ENOMEM. */
int audit_table(struct audit *audit, struct buf *out, bool *is_balanced);
int audit_json(struct audit *audit, struct buf *out, bool *is_balanced);

#endif
