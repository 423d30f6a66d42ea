/*
 * What a configuration means for one function, in one form: whatever is written
 * elsewhere, in another order or said twice is the same if it works the same.
 * By it a reload knows whose instances may stay.  Not the numbers: the scanner
 * merges those with the sidecar's, and reports a function anew whose have
 * changed.  Pure; used by the gateway.
 */
#ifndef FCGI_HOST_CONF_EFFECT_H
#define FCGI_HOST_CONF_EFFECT_H

#include <stdbool.h>

#include "fcgi-host/conf.h"

/* Appends that form of everything that an instance of the function is made with:
 * its runtime ("": executed directly), the tenant's account, the network, bind,
 * pass_params, env.  0 or -ENOMEM. */
int conf_effect(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct buf *out);

/* Whether both mean the same for the function; false also without memory. */
bool conf_effect_same(const struct conf *a, const struct conf *b,
    const char *tenant, const char *name, const char *runtime);

#endif
