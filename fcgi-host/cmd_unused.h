/*
 * Sections of the configuration for functions and tenants that are not there:
 * what `check` and `list` say about them.  Remembers the names that the scanner
 * reports.
 */
#ifndef FCGI_HOST_CMD_UNUSED_H
#define FCGI_HOST_CMD_UNUSED_H

#include <stddef.h>

#include "fcgi-host/conf.h"

/* All-zero knows none. */
struct known {
	char **names;
	size_t count, size;
};

/* 0 or -ENOMEM. */
int known_add(struct known *known, const char *name);
void known_free(struct known *known);

/* Each sentence of conf_each_unused, once all names have been added. */
void known_each_unused(struct known *known, const struct conf *conf,
    void (*say)(void *arg, const char *sentence), void *arg);

#endif
