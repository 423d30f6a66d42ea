/*
 * The environment block that carries the params that a function may see.
 * Pure.  Source: RFC 3875 section 4.1.
 */
#ifndef FCGI_HOST_CGI_ENV_H
#define FCGI_HOST_CGI_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/cgi_name.h"
#include "fcgi-host/fcgi_params.h"

/*
 * The environment of one request as a list that overrides: a later
 * cgi_env_set of the same name replaces the earlier value.
 */
struct cgi_env;
struct cgi_env *cgi_env_new(void);
void cgi_env_free(struct cgi_env *env);
/* 0, -ENOMEM, or -EINVAL (an empty name, '=' in a name). */
int cgi_env_set(struct cgi_env *env, const char *name, const char *value);
/* RFC 9110 section 9.2.1: the method asks for no change.  Done twice, it does no
 * harm. */
bool cgi_env_is_safe(const struct cgi_env *env);
/* GET, HEAD, OPTIONS: asks for no change, and has no body where none is announced. */
bool cgi_method_is_safe(const char *method);
void cgi_env_unset(struct cgi_env *env, const char *name);
/* Sets every allowed param, whose texts it borrows: the params are to outlive the
 * list.  0 or -ENOMEM. */
int cgi_env_add_params(struct cgi_env *env, const struct params *params,
    const char *pass_params);
/* Sets every "NAME=VALUE\0" of a block (a function's own env), whatever its
 * name.  0, -ENOMEM, or -EINVAL from the first entry on that is none. */
int cgi_env_add_block(struct cgi_env *env, const char *block, size_t n);
/* Appends "NAME=VALUE\0" … (for execve) or FastCGI pairs (for PARAMS). */
int cgi_env_put_block(const struct cgi_env *env, struct buf *out);
int cgi_env_put_params(const struct cgi_env *env, struct buf *out);
/* Appends the stream of them that belongs to the request id, and its end. */
int cgi_env_put_stream(const struct cgi_env *env, struct buf *out,
    uint16_t id);

#endif
