/*
 * The environment of an execution: from the request's params by the allow-list,
 * the function's own variables over them, and what this host alone may say.
 * Pure.  Source: RFC 3875 section 4.1, FastCGI 1.0 section 6.3, DESIGN "Function
 * contract".
 */
#ifndef FCGI_HOST_EXEC_ENV_H
#define FCGI_HOST_EXEC_ENV_H

#include "fcgi-host/cgi_env.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/fcgi_params.h"
#include "fcgi-host/route.h"

struct exec_env {
	const struct conf *conf;
	const struct params *params;
	const struct route *route;
	const char *request_id;
	uint64_t instance;
	int64_t content_length; /* of the body as the function will see it; -1 */
	uint16_t role;          /* FCGI_RESPONDER, FCGI_AUTHORIZER */
};

/* For the request: meta-variables and the function's.  NULL: no memory. */
struct cgi_env *exec_env_request(const struct exec_env *exec);
/* For a FastCGI program's process: only the function's. */
struct cgi_env *exec_env_program(const struct exec_env *exec);

#endif
