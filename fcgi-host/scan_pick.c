#include "fcgi-host/scan_pick.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/scan_name.h"

bool
scan_is_runnable(const struct conf *conf, const struct scan_item *item)
{
	return S_ISREG(item->mode) &&
	    (scan_stem(conf, item->name).extension != NULL ||
	    (item->mode & 0111) != 0);
}

static int
compare_candidates(const void *a, const void *b)
{
	const struct scan_candidate *left = a, *right = b;
	size_t shorter = left->length < right->length ? left->length :
	    right->length;
	int order = memcmp(left->item->name, right->item->name, shorter);

	if (order == 0 && left->length != right->length)
		order = left->length < right->length ? -1 : 1;
	if (order == 0)
		order = (int)right->is_runnable - (int)left->is_runnable;
	return order != 0 ? order : strcmp(left->item->name, right->item->name);
}

bool
scan_candidate_is(const struct scan_candidate *a, const char *name,
    size_t length)
{
	return a->length == length && memcmp(a->item->name, name, length) == 0;
}

/* All files of a folder that could be functions, in order of their names. */
int
scan_candidates_make(struct scan_candidates *out, const struct conf *conf,
    const struct scan_list *list)
{
	size_t ignored;

	out->count = 0;
	out->all = calloc(list->count + 1, sizeof(*out->all));
	if (out->all == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++) {
		const struct scan_item *item = &list->items[i];

		if (S_ISDIR(item->mode) ||
		    scan_name_is_sidecar(item->name, &ignored) ||
		    (scan_name_is_env(item->name) &&
		    !scan_is_runnable(conf, item)))
			continue;
		out->all[out->count++] = (struct scan_candidate){
			.item = item,
			.length = scan_stem(conf, item->name).length,
			.is_runnable = scan_is_runnable(conf, item),
		};
	}
	if (out->count > 1)
		qsort(out->all, out->count, sizeof(*out->all),
		    compare_candidates);
	return 0;
}

/* The first candidate of that name, or NULL. */
struct scan_candidate *
scan_candidates_find(const struct scan_candidates *candidates, const char *name,
    size_t length)
{
	for (size_t low = 0, high = candidates->count; low < high;) {
		size_t middle = low + (high - low) / 2;
		struct scan_candidate *there = &candidates->all[middle];
		struct scan_item wanted_item = { .name = (char *)name };
		struct scan_candidate wanted = { .item = &wanted_item,
			.length = length, .is_runnable = true };

		if (scan_candidate_is(there, name, length) && (middle == 0 ||
		    !scan_candidate_is(there - 1, name, length)))
			return there;
		if (!scan_candidate_is(there, name, length) &&
		    compare_candidates(there, &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void
scan_candidates_free(struct scan_candidates *candidates)
{
	free(candidates->all);
	candidates->all = NULL;
	candidates->count = 0;
}

struct scan_item *
scan_pick_sidecar(const struct scan_list *list, const char *name, size_t length)
{
	char file[256 + sizeof(".ini")];
	struct scan_item *item;

	if (length > 255)
		return NULL;
	memcpy(file, name, length);
	memcpy(file + length, ".ini", sizeof(".ini"));
	item = scan_list_find(list, file, length + 4);
	if (item == NULL || S_ISDIR(item->mode))
		return NULL;
	item->is_used = true;
	return item;
}

/* Which main file counts: 0 best; from MAIN_NONE on, none that can run. */
enum { MAIN_NONE = 4 };

static int
main_rank(const struct conf *conf, const struct scan_item *item)
{
	int rank = item->name[0] == 'm' ? 0 : 1;

	if (!scan_is_runnable(conf, item))
		return MAIN_NONE + rank;
	if (scan_stem(conf, item->name).extension == NULL &&
	    strchr(item->name, '.') != NULL)
		return 2 + rank;
	return rank;
}

static bool
is_main_file(const struct scan_item *item)
{
	size_t ignored;

	return scan_name_is_main(item->name) && !S_ISDIR(item->mode) &&
	    !scan_name_is_sidecar(item->name, &ignored);
}

/* The main file, or NULL; *other is a second one of the same rank. */
const struct scan_item *
scan_pick_main(const struct conf *conf, const struct scan_list *list,
    const struct scan_item **other)
{
	const struct scan_item *best = NULL;

	*other = NULL;
	for (size_t i = 0; i < list->count; i++) {
		const struct scan_item *item = &list->items[i];
		int rank, best_rank;

		if (!is_main_file(item))
			continue;
		rank = main_rank(conf, item);
		best_rank = best == NULL ? rank + 1 : main_rank(conf, best);
		if (rank < best_rank) {
			best = item;
			*other = NULL;
		} else if (rank == best_rank && rank < MAIN_NONE) {
			*other = item;
		}
	}
	return best;
}

