/*
 * Which records were read: the numbers of each run, as stretches.  It finds
 * what stands there twice, and at the end what is missing in between.  Memory
 * grows with the number of holes.  Locked; fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_SEEN_H
#define FCGI_HOST_BOOKS_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/books/reader.h"

/* Numbers first … last of a run.  What is claimed stands in one file, in lines
 * that follow each other. */
struct stretch {
	uint64_t run;
	bool is_orphan; /* of lost executions alone, whose run is not said */
	uint64_t first, last;
	const char *path, *last_path; /* borrowed, until seen_free */
	uint64_t first_line, last_line;
};

/* A record more of the stretch, which stands right behind it.  False: it is of
 * none (all-zero) or another; that one begins with stretch_of. */
bool stretch_add(struct stretch *stretch, const struct entry *entry,
    const char *path, uint64_t line);
struct stretch stretch_of(const struct entry *entry, const char *path,
    uint64_t line);

struct seen;

struct seen *seen_new(void); /* NULL: no memory */
void seen_free(struct seen *seen); /* accepts NULL */

/*
 * Notes the numbers of a stretch.  twice is called for those that were noted
 * before.  0; -ENOMEM; -EOVERFLOW: too many holes to remember.
 */
int seen_claim(struct seen *seen, const struct stretch *stretch,
    void (*twice)(uint64_t first, uint64_t last, void *arg), void *arg);

/* Reports the numbers of a stretch, as a fault of the reader: they were noted
 * before. */
void seen_tell_twice(const struct stretch *stretch, struct reader *reader);

/* The first number of a run that was noted, after all; 0: there is none. */
uint64_t seen_first(const struct seen *seen, uint64_t run);

/* What -EOVERFLOW is for who reads it. */
#define SEEN_OVERFLOW "more than 100000 places where records are missing or " \
	"out of order: these are no books of one host"

/* After all: reports what is missing between the numbers of a run, as faults of
 * the reader.  0 or -ENOMEM. */
int seen_finish(struct seen *seen, struct reader *reader);

#endif
