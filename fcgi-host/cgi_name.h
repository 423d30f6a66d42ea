/*
 * Which of a request's params a function may see, and which variables an
 * administrator or a sidecar may set, by their names.  Pure; a room of its own,
 * because the spawner checks names and is to hold no decoder.  Source: RFC 3875
 * section 4.1 and the custom of web servers; HTTP_PROXY is dropped always
 * (httpoxy).
 */
#ifndef FCGI_HOST_CGI_NAME_H
#define FCGI_HOST_CGI_NAME_H

#include <stdbool.h>

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

#endif
