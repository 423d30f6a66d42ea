/*
 * The records of accounting logs, in order, for who looks at each; and how
 * faults are told.  Every byte is taken for hostile: a line that is no record
 * is reported with file and line and counted, never passed over in silence.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_READER_H
#define FCGI_HOST_BOOKS_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/books/entry.h"

/* Where a record stands, and its bytes without the newline. */
struct place {
	const char *path;
	uint64_t line; /* from 1 */
	const char *text;
	size_t n;
};

struct reader {
	/* Called for each record; what it is given lasts until it returns.  0
	 * to go on; a negative errno ends the reading. */
	int (*each)(const struct entry *entry, const struct place *place,
	    void *arg);
	void *arg;
	bool prints; /* each writes to standard output */
	/* Called now and then with the bytes of the file that were read; or
	 * NULL. */
	void (*moved)(uint64_t position, void *arg);
	void *moved_arg;
	uint64_t faults; /* reported by reader_fault */
	/* Of sums: before this time there were records that are not here, since
	 * a run begins in the midst; 0: none is known of. */
	uint64_t begins_us;
};

/*
 * Reads one file from its first byte to its last, also a compressed one.  A
 * line that another process has not finished (the file's last, without a
 * newline) is no fault: it is warned of, and not counted.  0, also with faults;
 * -ENOMEM; what each returned; else the errno of opening or reading, after a
 * sentence on standard error.
 */
int reader_read(struct reader *reader, const char *path);

/* "fcgi-host: PATH:LINE: SENTENCE" on standard error, for the first of them;
 * all are counted.  Several threads may call it. */
void reader_fault(struct reader *reader, const char *path, uint64_t line,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* How many faults there were beyond those that were shown; true: there were
 * any at all. */
bool reader_faults(const struct reader *reader);
/* Whether records of the day of from_us or later ones may be missing before the
 * first that there is; then a warning says so. */
bool reader_begins_late(const struct reader *reader, uint64_t from_us);

#endif
