#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd_table.h"

void
cmd_table_add(struct cmd_table *table, const char *fmt, ...)
{
	size_t count = table->count;
	char **grown;
	va_list args;
	int n;

	if (table->error != 0)
		return;
	table->error = -ENOMEM;
	grown = buf_grow(table->cells, count, sizeof(*grown));
	if (grown == NULL)
		return;
	table->cells = grown;
	va_start(args, fmt);
	n = vasprintf(&table->cells[count], fmt, args);
	va_end(args);
	if (n < 0)
		return;
	table->count++;
	table->error = 0;
}

static int
column_width(const struct cmd_table *table, size_t column)
{
	size_t width = 0, i;

	for (i = column; i < table->count; i += table->columns) {
		size_t n = strlen(table->cells[i]);

		if (n > width)
			width = n;
	}
	return (int)width;
}

int
cmd_table_put(const struct cmd_table *table, struct buf *out)
{
	int widths[CMD_TABLE_COLUMNS_MAX];
	size_t i;
	int error = table->error;

	if (table->columns == 0 || table->columns > CMD_TABLE_COLUMNS_MAX)
		return -EINVAL;
	for (i = 0; i < table->columns; i++) {
		widths[i] = column_width(table, i);
		if ((table->right & 1u << i) == 0)
			widths[i] = -widths[i];
	}
	for (i = 0; i < table->count && error == 0; i++) {
		size_t column = i % table->columns;
		bool is_last = column + 1 == table->columns;

		/* A negative width aligns to the left. */
		if (is_last && widths[column] < 0)
			error = buf_addf(out, "%s\n", table->cells[i]);
		else
			error = buf_addf(out, "%*s%s", widths[column],
			    table->cells[i], is_last ? "\n" : "  ");
	}
	return error;
}

void
cmd_table_free(struct cmd_table *table)
{
	size_t i;

	for (i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	memset(table, 0, sizeof(*table));
}
