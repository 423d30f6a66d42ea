/* A test's own folder below /tmp, and files in it. */
#ifndef TESTS_UNIT_FOLDER_H
#define TESTS_UNIT_FOLDER_H

#include <stddef.h>

/* A new and empty one; 0, or -1 as a set_up returns it. */
int folder_make(void);
/* With the files that are in it; 0 or -1. */
int folder_remove(void);
const char *folder_name(void);
/* Of a file in it; the text stands until the next call. */
const char *folder_path(const char *name);
/* Makes the file if it is not there; flags: beside O_CREAT and O_RDWR. */
int folder_open(const char *name, int flags);
int folder_append(const char *name);
/* A file's text, NUL-terminated, to be freed.  n: its bytes, or NULL. */
char *folder_text(const char *name, size_t *n);

#endif
