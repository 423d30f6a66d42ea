/*
 * Aligned tables for people, made row by row.  Pure; the command.
 */
#ifndef FCGI_HOST_CMD_TABLE_H
#define FCGI_HOST_CMD_TABLE_H

#include <stddef.h>

#include "fcgi-host/buf.h"

#define CMD_TABLE_COLUMNS_MAX 24

/* All-zero is an empty table.  The first row is the heading. */
struct cmd_table {
	struct buf cells; /* row by row, each with its NUL */
	size_t count, columns;
	unsigned right; /* bit i: column i is aligned to the right */
	int widths[CMD_TABLE_COLUMNS_MAX];
	int error;
};

/* Adds one cell to the row that is being filled; rows have `columns` cells,
 * which is set before the first.  The errors are kept until the end. */
void cmd_table_add(struct cmd_table *table, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Appends the table, without blanks at a line's end.  0 or -ENOMEM. */
int cmd_table_put(const struct cmd_table *table, struct buf *out);
void cmd_table_free(struct cmd_table *table);

#endif
