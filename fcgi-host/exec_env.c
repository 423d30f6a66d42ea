#include "fcgi-host/exec_env.h"

#include <errno.h>
#include <fastcgi.h>
#include <string.h>

#include "fcgi-host/function_env.h"
#include "sandbox/plan.h"

static int
env_add_function(struct cgi_env *env, const struct exec_env *exec)
{
	const struct buf *sidecar = &exec->route->function->env;

	return function_env_add(env, exec->conf, &exec->route->function->info,
	    sidecar->data == NULL ? NULL :
	    (const char *)sidecar->data + sidecar->start,
	    sidecar->end - sidecar->start);
}

static int
env_add_params(struct cgi_env *env, const struct exec_env *exec)
{
	const struct ctl_function *info = &exec->route->function->info;
	struct buf names = { 0 };
	int error = 0;

	/* the administrator's list ends in a NUL; the sidecar's goes before */
	if (info->pass_params[0] != '\0')
		error = buf_addf(&names, "%s ", info->pass_params);
	if (error == 0)
		error = conf_pass_params(exec->conf, info->tenant, info->name,
		    &names);
	if (error == 0)
		error = cgi_env_add_params(env, exec->params,
		    (const char *)names.data + names.start);
	buf_free(&names);
	return error;
}

static int
set_number(struct cgi_env *env, const char *name, uint64_t value)
{
	char text[BUF_DIGITS_SIZE];

	return cgi_env_set(env, name, buf_digits(text, value, 1));
}

/* The file's name below the function's directory in the sandbox. */
static int
set_script(struct cgi_env *env, const struct exec_env *exec)
{
	const char *path = exec->route->function->info.path;
	const char *slash = strrchr(path, '/');
	char text[CTL_PATH_MAX + sizeof(SANDBOX_FN_DIR) + 1];

	strcpy(stpcpy(text, SANDBOX_FN_DIR "/"),
	    slash == NULL ? path : slash + 1);
	return cgi_env_set(env, "SCRIPT_FILENAME", text);
}

static bool
is_empty(const struct params *params, const char *name)
{
	const char *value = params_get(params, name);

	return value == NULL || value[0] == '\0';
}

/* An authorizer is asked about a URL that is another's: it has no part of the
 * path.  libfcgi says the role to its programs itself. */
static int
env_add_path(struct cgi_env *env, const struct exec_env *exec)
{
	const struct route *route = exec->route;
	int error;

	if (exec->role == FCGI_AUTHORIZER) {
		cgi_env_unset(env, "SCRIPT_NAME");
		cgi_env_unset(env, "PATH_INFO");
		return cgi_env_set(env, "FCGI_ROLE", "AUTHORIZER");
	}
	error = cgi_env_set(env, "SCRIPT_NAME",
	    (const char *)route->script_name.data + route->script_name.start);
	if (error == 0)
		error = cgi_env_set(env, "PATH_INFO",
		    (const char *)route->path_info.data +
		    route->path_info.start);
	return error;
}

static int
env_add_own(struct cgi_env *env, const struct exec_env *exec)
{
	const struct route *route = exec->route;
	int error = cgi_env_set(env, "GATEWAY_INTERFACE", "CGI/1.1");

	if (error == 0)
		error = env_add_path(env, exec);
	if (error == 0)
		error = set_script(env, exec);
	/* php-cgi runs nothing without it */
	if (error == 0)
		error = cgi_env_set(env, "REDIRECT_STATUS", "200");
	if (error == 0)
		error = cgi_env_set(env, "REQUEST_ID", exec->request_id);
	if (error == 0)
		error = cgi_env_set(env, "FCGI_HOST_FUNCTION",
		    route->function->info.name);
	if (error == 0)
		error = set_number(env, "FCGI_HOST_INSTANCE", exec->instance);
	return error;
}

/* The body's length as the function will read it, and no empty type. */
static int
env_add_body(struct cgi_env *env, const struct exec_env *exec)
{
	if (is_empty(exec->params, "CONTENT_TYPE"))
		cgi_env_unset(env, "CONTENT_TYPE");
	cgi_env_unset(env, "CONTENT_LENGTH");
	/* the host's paths mean nothing in the sandbox */
	cgi_env_unset(env, "PATH_TRANSLATED");
	if (exec->content_length < 0 || (exec->content_length == 0 &&
	    is_empty(exec->params, "CONTENT_LENGTH")))
		return 0;
	return set_number(env, "CONTENT_LENGTH",
	    (uint64_t)exec->content_length);
}

struct cgi_env *
exec_env_request(const struct exec_env *exec)
{
	struct cgi_env *env = cgi_env_new();
	int error;

	if (env == NULL)
		return NULL;
	error = env_add_params(env, exec);
	if (error == 0)
		error = env_add_function(env, exec);
	if (error == 0)
		error = env_add_own(env, exec);
	if (error == 0)
		error = env_add_body(env, exec);
	if (error == 0)
		return env;
	cgi_env_free(env);
	return NULL;
}

struct cgi_env *
exec_env_program(const struct exec_env *exec)
{
	struct cgi_env *env = cgi_env_new();

	if (env != NULL && env_add_function(env, exec) < 0) {
		cgi_env_free(env);
		return NULL;
	}
	return env;
}
