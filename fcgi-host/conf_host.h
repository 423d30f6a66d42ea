/*
 * The keys of [host] and [runtime NAME]: tables of names, checks and built-in
 * values.  Part of reading a configuration; touches nothing outside.
 */
#ifndef FCGI_HOST_CONF_HOST_H
#define FCGI_HOST_CONF_HOST_H

#include <stddef.h>

#include "fcgi-host/conf.h"

/* Sets one key; 0, -ENOENT, -EINVAL (a sentence in problem), -ENOMEM. */
int conf_host_set(struct conf *conf, const char *key, const char *value,
    char *problem, size_t size);
/* Fills in what no line has set.  0 or -ENOMEM. */
int conf_host_defaults(struct conf *conf);

int conf_runtime_set(struct conf_runtime *runtime, const char *key,
    const char *value, char *problem, size_t size);

#endif
