#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "fcgi-host/cmd_table.h"

void
cmd_table_add(struct cmd_table *table, const char *fmt, ...)
{
	size_t before = buf_len(&table->cells), n;
	int *width;
	va_list args;

	if (table->error != 0)
		return;
	if (table->columns == 0 || table->columns > CMD_TABLE_COLUMNS_MAX) {
		table->error = -EINVAL;
		return;
	}
	va_start(args, fmt);
	table->error = buf_addv(&table->cells, fmt, args);
	va_end(args);
	n = buf_len(&table->cells) - before;
	if (table->error == 0)
		table->error = buf_add(&table->cells, "", 1);
	width = &table->widths[table->count++ % table->columns];
	if (*width < (int)n)
		*width = (int)n;
}

int
cmd_table_put(const struct cmd_table *table, struct buf *out)
{
	const char *cell = (const char *)table->cells.data;
	int error = table->error;
	size_t i;

	for (i = 0; i < table->count && error == 0; i++) {
		size_t column = i % table->columns;
		bool is_last = column + 1 == table->columns;
		bool is_right = (table->right & 1u << column) != 0;
		int width = table->widths[column];

		/* A negative width aligns to the left. */
		if (is_last && !is_right)
			error = buf_addf(out, "%s\n", cell);
		else
			error = buf_addf(out, "%*s%s",
			    is_right ? width : -width, cell,
			    is_last ? "\n" : "  ");
		cell += strlen(cell) + 1;
	}
	return error;
}

void
cmd_table_free(struct cmd_table *table)
{
	buf_free(&table->cells);
	memset(table, 0, sizeof(*table));
}
