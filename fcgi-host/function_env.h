/*
 * The variables of a function without a request: what a program may rely on, the
 * configuration's, the sidecar's.  For an execution and for a person's shell in
 * the same sandbox.  Pure.
 */
#ifndef FCGI_HOST_FUNCTION_ENV_H
#define FCGI_HOST_FUNCTION_ENV_H

#include <stddef.h>

#include "fcgi-host/cgi_env.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"

/* sidecar: "NAME=VALUE\0"…, n bytes; NULL: none.  Later ones override: built-in,
 * configuration, sidecar, and once more the administrator's own section of the
 * function.  0 or -ENOMEM. */
int function_env_add(struct cgi_env *env, const struct conf *conf,
    const struct ctl_function *info, const char *sidecar, size_t n);

#endif
