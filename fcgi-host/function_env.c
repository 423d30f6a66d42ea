#include "fcgi-host/function_env.h"

/* What a program may rely on, whatever the daemon's own environment is. */
static const char *const base[][2] = {
	{ "PATH", "/usr/local/bin:/usr/bin:/bin" },
	{ "HOME", "/tmp" },
	{ "TMPDIR", "/tmp" },
	{ "LANG", "C.UTF-8" },
};

int
function_env_add(struct cgi_env *env, const struct conf *conf,
    const struct ctl_function *info, const char *sidecar, size_t n)
{
	const struct settings *own = conf_function(conf, info->name);
	struct buf block = { 0 };
	int error = 0;

	for (size_t i = 0; i < sizeof(base) / sizeof(base[0]); i++)
		if (error == 0)
			error = cgi_env_set(env, base[i][0], base[i][1]);
	if (error == 0)
		error = conf_env(conf, info->tenant, info->name,
		    info->runtime, &block);
	if (error == 0 && buf_len(&block) > 0)
		error = cgi_env_add_block(env, (const char *)block.data +
		    block.start, buf_len(&block));
	if (error == 0 && sidecar != NULL)
		error = cgi_env_add_block(env, sidecar, n);
	if (error == 0 && own != NULL && own->env.data != NULL)
		error = cgi_env_add_block(env, (const char *)own->env.data +
		    own->env.start, own->env.end - own->env.start);
	buf_free(&block);
	return error;
}
