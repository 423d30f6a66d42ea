/*
 * Which names of one folder belong together: the files that could be one
 * function, its sidecar, a folder's main file.  Names and states only, nothing
 * is opened.  Runs in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_PICK_H
#define FCGI_HOST_SCAN_PICK_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/scan_list.h"

/* A file by its function's name. */
struct scan_candidate {
	const struct scan_item *item;
	size_t length; /* of the name, in item->name */
	bool is_runnable;
	bool is_done; /* for the caller */
};

/* All files of a folder that could be functions, ordered by the functions'
 * names; of one name the runnable ones first. */
struct scan_candidates {
	struct scan_candidate *all;
	size_t count;
};
/* 0 or -ENOMEM. */
int scan_candidates_make(struct scan_candidates *candidates,
    const struct conf *conf, const struct scan_list *list);
void scan_candidates_free(struct scan_candidates *candidates);
bool scan_candidate_is(const struct scan_candidate *candidate,
    const char *name, size_t length);
/* The first of that name, or NULL. */
struct scan_candidate *scan_candidates_find(
    const struct scan_candidates *candidates, const char *name, size_t length);

/* NAME.ini, marked as used; or NULL. */
struct scan_item *scan_pick_sidecar(const struct scan_list *list,
    const char *name, size_t length);

/*
 * The main file of a folder, or NULL: main before index; one of a known
 * extension, or of none, before another executable; any of these before what
 * cannot run.  *other is a second one that counts as much.
 */
const struct scan_item *scan_pick_main(const struct conf *conf,
    const struct scan_list *list, const struct scan_item **other);

/* True for a regular file that would be run: its extension is known, or it is
 * executable. */
bool scan_is_runnable(const struct conf *conf, const struct scan_item *item);

#endif
