/*
 * A ledger's files: the log itself and what rotations left beside it, in the
 * order in which they were written.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_FILES_H
#define FCGI_HOST_BOOKS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct file {
	char *path;
	dev_t dev;
	ino_t ino;
	uint64_t size;
	/* Of its first record; UINT64_MAX: there is none.  run and seq are of the
	 * first that tells its run. */
	uint64_t time_us, run, seq;
};

struct files {
	struct file *at;
	size_t count;
	char **asked; /* the paths that were added */
	size_t asked_count;
};

/*
 * Adds PATH and its rotated generations: PATH.N and PATH-DATE, each
 * also packed, behind what is there already, in the order of their first
 * records.  A file that is there by another name
 * too is taken once.  0; a negative errno after a sentence on standard error:
 * -ENOENT is that there is neither.
 */
int files_add(struct files *files, const char *path);

/* Whether a rotation has come since: a file that was added is another one now,
 * or has another name, or there are more.  Then what was read may lack records,
 * or have them twice. */
bool files_changed(const struct files *files);

void files_free(struct files *files);

/* Whether the end of a name is that of a rotated log: "", ".1", ".2.gz",
 * "-2026-11-27_10.zst"; or ".1.xz", which cannot be read. */
bool files_is_suffix(const char *suffix);

#endif
