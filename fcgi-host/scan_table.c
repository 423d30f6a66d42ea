#include "fcgi-host/scan_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/scan_name.h"

struct scan_entry *
scan_entry_new(const char *name)
{
	struct scan_entry *entry = calloc(1, sizeof(*entry));

	if (entry != NULL)
		SCAN_SET(entry->info.name, name);
	return entry;
}

void
scan_entry_free(struct scan_entry *entry)
{
	if (entry == NULL)
		return;
	buf_free(&entry->env);
	free(entry);
}

bool
scan_entry_same(const struct scan_entry *a, const struct scan_entry *b)
{
	size_t length = buf_len(&a->env);

	return memcmp(&a->info, &b->info, sizeof(a->info)) == 0 &&
	    length == buf_len(&b->env) &&
	    (length == 0 || memcmp(a->env.data + a->env.start,
	    b->env.data + b->env.start, length) == 0);
}

bool
scan_entry_is_served(const struct scan_entry *entry)
{
	return entry->info.problem == CTL_PROBLEM_NONE;
}

int
scan_table_add(struct scan_table *table, struct scan_entry *entry)
{
	if (table->count == table->size) {
		size_t size = table->size == 0 ? 16 : table->size * 2;
		void *entries = reallocarray(table->entries, size,
		    sizeof(*table->entries));

		if (entries == NULL) {
			scan_entry_free(entry);
			return -ENOMEM;
		}
		table->entries = entries;
		table->size = size;
	}
	table->entries[table->count++] = entry;
	table->is_sorted = false;
	return 0;
}

/* By name; what is served first; then by path, so that the order is the same
 * in every look. */
static int
compare(const void *a, const void *b)
{
	const struct scan_entry *left = *(struct scan_entry *const *)a;
	const struct scan_entry *right = *(struct scan_entry *const *)b;
	int order = strcmp(left->info.name, right->info.name);

	if (order == 0)
		order = (int)scan_entry_is_served(right) -
		    (int)scan_entry_is_served(left);
	if (order == 0)
		order = strcmp(left->info.path, right->info.path);
	if (order == 0)
		order = left->info.problem - right->info.problem;
	return order;
}

void
scan_table_sort(struct scan_table *table)
{
	size_t kept = 0;

	if (table->count > 1)
		qsort(table->entries, table->count, sizeof(*table->entries),
		    compare);
	for (size_t i = 0; i < table->count; i++) {
		struct scan_entry *entry = table->entries[i];

		if (kept > 0 && strcmp(table->entries[kept - 1]->info.name,
		    entry->info.name) == 0)
			scan_entry_free(entry);
		else
			table->entries[kept++] = entry;
	}
	table->count = kept;
	table->is_sorted = true;
}

struct scan_entry *
scan_table_find(const struct scan_table *table, const char *name)
{
	size_t low = 0, high = table->count;

	LOG_ASSERT(table->count == 0 || table->is_sorted);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, table->entries[middle]->info.name);

		if (order == 0)
			return table->entries[middle];
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void
scan_table_free(struct scan_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		scan_entry_free(table->entries[i]);
	free(table->entries);
	memset(table, 0, sizeof(*table));
}
