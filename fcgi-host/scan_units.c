#include "fcgi-host/scan_units.h"

#include <stdlib.h>
#include <string.h>

#include "fcgi-host/loop.h"
#include "fcgi-host/scan_name.h"

void
scan_units_init(struct scan_units *units)
{
	memset(units, 0, sizeof(*units));
	SCAN_SET(units->top.tenant.name, "default");
	units->top.due_us = UINT64_MAX;
}

static void
unit_free(struct scan_unit *unit)
{
	scan_table_free(&unit->table);
	free(unit);
}

void
scan_units_free(struct scan_units *units)
{
	for (size_t i = 0; i < units->count; i++)
		unit_free(units->all[i]);
	free(units->all);
	scan_table_free(&units->top.table);
	memset(units, 0, sizeof(*units));
}

static size_t
unit_place(const struct scan_units *units, const char *name)
{
	size_t low = 0, high = units->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(units->all[middle]->tenant.name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct scan_unit *
scan_units_find(const struct scan_units *units, const char *name)
{
	size_t place = unit_place(units, name);

	if (place < units->count &&
	    strcmp(units->all[place]->tenant.name, name) == 0)
		return units->all[place];
	return NULL;
}

struct scan_unit *
scan_units_at(struct scan_units *units, uint32_t number)
{
	if (number == units->top.number)
		return &units->top;
	for (size_t i = 0; i < units->count; i++)
		if (units->all[i]->number == number)
			return units->all[i];
	return NULL;
}

struct scan_unit *
scan_units_add(struct scan_units *units, const char *name)
{
	struct scan_unit *unit = calloc(1, sizeof(*unit));
	size_t place = unit_place(units, name);

	if (unit == NULL)
		return NULL;
	if (units->count == units->size) {
		size_t size = units->size == 0 ? 8 : units->size * 2;
		void *all = reallocarray(units->all, size, sizeof(unit));

		if (all == NULL) {
			free(unit);
			return NULL;
		}
		units->all = all;
		units->size = size;
	}
	unit->number = ++units->last_number;
	SCAN_SET(unit->tenant.name, name);
	unit->due_us = UINT64_MAX;
	memmove(&units->all[place + 1], &units->all[place],
	    (units->count - place) * sizeof(unit));
	units->all[place] = unit;
	units->count++;
	return unit;
}

void
scan_unit_wake(struct scan_unit *unit)
{
	uint64_t now_us = loop_clock_us();
	uint64_t due_us = now_us > unit->rest_us ? now_us : unit->rest_us;

	if (due_us < unit->due_us)
		unit->due_us = due_us;
}

void
scan_units_wake(struct scan_units *units)
{
	scan_unit_wake(&units->top);
	for (size_t i = 0; i < units->count; i++)
		scan_unit_wake(units->all[i]);
}

void
scan_units_remove(struct scan_units *units, size_t i)
{
	unit_free(units->all[i]);
	units->count--;
	memmove(&units->all[i], &units->all[i + 1],
	    (units->count - i) * sizeof(*units->all));
}

struct scan_unit *
scan_units_first(struct scan_units *units)
{
	struct scan_unit *first = &units->top;

	for (size_t i = 0; i < units->count; i++)
		if (units->all[i]->due_us < first->due_us)
			first = units->all[i];
	return first;
}
