/*
 * What can be judged about a configuration only when all of it has been read:
 * keys that speak of each other.  Part of reading one; touches nothing outside.
 */
#ifndef FCGI_HOST_CONF_WHOLE_H
#define FCGI_HOST_CONF_WHOLE_H

#include "fcgi-host/conf.h"
#include "fcgi-host/conf_scan.h"

/* Adds a sentence for each fault; the built-in values are filled in.  0 or
 * -ENOMEM. */
int conf_check_whole(const struct conf *conf, const struct conf_scan *scan,
    struct conf_errors *errors);

#endif
