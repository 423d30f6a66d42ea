/*
 * Which of a request's params a function may see, and the environment block
 * that carries them.  Pure.  Source: RFC 3875 section 4.1 and the custom of
 * web servers; HTTP_PROXY is dropped always (httpoxy).
 */
#ifndef FCGI_HOST_CGI_ENV_H
#define FCGI_HOST_CGI_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/fcgi_params.h"

/*
 * True when a param of that name may pass: RFC 3875's meta-variables, HTTP_*
 * (but HTTP_PROXY), REQUEST_URI, DOCUMENT_URI, DOCUMENT_ROOT, HTTPS,
 * REQUEST_SCHEME, REMOTE_PORT, SERVER_ADDR, REQUEST_ID, REDIRECT_*, SSL_*,
 * AUTH_*, and the names in pass_params (space-separated, may be NULL; a
 * trailing * is a prefix).  Never PHP_VALUE, PHP_ADMIN_VALUE, LD_*, PATH,
 * SCRIPT_FILENAME, FCGI_* and the like, whatever pass_params says; and never a
 * name that is no identifier ([A-Za-z_][A-Za-z0-9_]*).
 */
bool cgi_env_allowed(const char *name, const char *pass_params);

/* True for a name that an administrator or a sidecar may set by env.NAME:
 * [A-Z_][A-Z0-9_]*, and not LD_*, GLIBC_*, FCGI_*, SCRIPT_FILENAME,
 * REQUEST_ID or a meta-variable of RFC 3875, which this host sets itself. */
bool cgi_env_name_ok(const char *name);

/*
 * The environment of one request as a list that overrides: a later
 * cgi_env_set of the same name replaces the earlier value.
 */
struct cgi_env;
struct cgi_env *cgi_env_new(void);
void cgi_env_free(struct cgi_env *env);
/* 0, -ENOMEM, or -EINVAL (an empty name, '=' in a name). */
int cgi_env_set(struct cgi_env *env, const char *name, const char *value);
void cgi_env_unset(struct cgi_env *env, const char *name);
/* Sets every allowed param. 0 or -ENOMEM. */
int cgi_env_add_params(struct cgi_env *env, const struct params *params,
    const char *pass_params);
/* Sets every "NAME=VALUE\0" of a block (a function's own env), whatever its
 * name.  0, -ENOMEM, or -EINVAL from the first entry on that is none. */
int cgi_env_add_block(struct cgi_env *env, const char *block, size_t n);
/* Appends "NAME=VALUE\0" … (for execve) or FastCGI pairs (for PARAMS). */
int cgi_env_put_block(const struct cgi_env *env, struct buf *out);
int cgi_env_put_params(const struct cgi_env *env, struct buf *out);

#endif
