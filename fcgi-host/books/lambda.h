/*
 * An execution as a line of the form that AWS Lambda's REPORT lines have, which
 * many tools read.  Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_LAMBDA_H
#define FCGI_HOST_BOOKS_LAMBDA_H

#include "fcgi-host/books/entry.h"
#include "fcgi-host/buf.h"

/* Appends the line, or nothing for what is no execution, was refused or lost.
 * 0 or -ENOMEM. */
int lambda_line(const struct entry *entry, struct buf *out);

#endif
