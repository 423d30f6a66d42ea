/*
 * The line scan beside iniparser: what iniparser does not tell (line numbers,
 * duplicates, what it cut off, joined or could not read) comes from here.
 * Hostile bytes for a sidecar, so every bound is checked; pure but for
 * conf_scan_read and conf_scan_agree.
 */
#ifndef FCGI_HOST_CONF_SCAN_H
#define FCGI_HOST_CONF_SCAN_H

#include <stddef.h>

#include "fcgi-host/buf.h"

/* Collected sentences, each "FILE:LINE: what is wrong; what to do\n". */
struct conf_errors {
	struct buf text;
	unsigned count;
};
void conf_errors_free(struct conf_errors *errors);

/* Adds a sentence; unprintable bytes are escaped.  line 0: no line.  After
 * CONF_ERRORS_MAX they are only counted. */
#define CONF_ERRORS_MAX 100
void conf_error(struct conf_errors *errors, const char *path, unsigned line,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Brings the sentences about one file into the order of its lines. */
void conf_errors_sort(struct conf_errors *errors, const char *path);

struct conf_entry {
	unsigned line;
	char *key;   /* lower case */
	char *value; /* without quotes and comment */
};

struct conf_part {
	unsigned line;
	char *name; /* lower case, as iniparser names the section */
	struct conf_entry *entries;
	size_t count;
};

struct conf_scan {
	struct conf_part *parts;
	size_t count;
};

/* What a section is about: "host", "tenant alice" … */
enum conf_kind { CONF_KIND_HOST, CONF_KIND_DEFAULTS, CONF_KIND_RUNTIME,
	CONF_KIND_TENANT, CONF_KIND_FUNCTION, CONF_KIND_NONE };
extern const char *const conf_kinds[CONF_KIND_NONE];
/* *name: "alice", or "" where there is none. */
enum conf_kind conf_part_kind(const struct conf_part *part,
    const char **name);

#define CONF_LINE_MAX 1000 /* iniparser's lines have 1024 bytes */
#define CONF_PARTS_MAX 4000
#define CONF_ENTRIES_MAX 500 /* of one section */

/* The file's bytes from its start, *text to be freed.  0; -EFBIG (longer than
 * max), -EINVAL (no regular file), -ENOMEM or what read gives: errors has it. */
int conf_scan_read(int fd, const char *path, size_t max, char **text,
    size_t *n, struct conf_errors *errors);

/* Scans text[0..n); sections: what one can write, for sentences.  0; -EINVAL:
 * errors has what is wrong; -ENOMEM.  What was readable is in *scan in any
 * case, to be freed. */
int conf_scan_text(const char *path, const char *text, size_t n,
    const char *sections, struct conf_scan *scan, struct conf_errors *errors);
void conf_scan_free(struct conf_scan *scan);

/*
 * Reads the same file with iniparser and takes each value from there; where
 * the two differ, the line is an error.  iniparser opens files by name, so a
 * role that has no /proc any more keeps the scan's values: of a file that the
 * spawner accepted before, they are the same.  0, -EINVAL, -ENOMEM.
 */
int conf_scan_agree(int fd, const char *path, struct conf_scan *scan,
    struct conf_errors *errors);

/* Cuts blanks and tabs from both ends, in place. */
char *conf_scan_strip(char *text);

/* The line of section name's key, or 0. */
unsigned conf_scan_line(const struct conf_scan *scan, const char *name,
    const char *key);

#endif
