#include "fcgi-host/cgi_env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One variable is one string "NAME=VALUE". */
struct variable {
	char *text;
	size_t name_length, length;
};

struct cgi_env {
	struct variable *variables;
	size_t count, size;
};

struct cgi_env *
cgi_env_new(void)
{
	return calloc(1, sizeof(struct cgi_env));
}

void
cgi_env_free(struct cgi_env *env)
{
	if (env == NULL)
		return;
	for (size_t i = 0; i < env->count; i++)
		free(env->variables[i].text);
	free(env->variables);
	free(env);
}

static struct variable *
find(const struct cgi_env *env, const char *name, size_t name_length)
{
	for (size_t i = 0; i < env->count; i++) {
		struct variable *variable = &env->variables[i];

		if (variable->name_length == name_length &&
		    memcmp(variable->text, name, name_length) == 0)
			return variable;
	}
	return NULL;
}

/* A new place at the end, without a text. */
static struct variable *
append(struct cgi_env *env)
{
	if (env->count == env->size) {
		size_t size = env->size == 0 ? 32 : env->size * 2;
		struct variable *variables = reallocarray(env->variables,
		    size, sizeof(*variables));

		if (variables == NULL)
			return NULL;
		env->variables = variables;
		env->size = size;
	}
	env->variables[env->count] = (struct variable){ 0 };
	return &env->variables[env->count++];
}

/* Takes text[0..length), "NAME=VALUE" with a name of name_length bytes. */
static int
set_text(struct cgi_env *env, char *text, size_t name_length, size_t length)
{
	struct variable *variable = find(env, text, name_length);

	if (variable == NULL)
		variable = append(env);
	if (variable == NULL) {
		free(text);
		return -ENOMEM;
	}
	free(variable->text);
	*variable = (struct variable){ text, name_length, length };
	return 0;
}

int
cgi_env_set(struct cgi_env *env, const char *name, const char *value)
{
	size_t name_length = strlen(name), value_length = strlen(value);
	char *text;

	if (name_length == 0 || strchr(name, '=') != NULL)
		return -EINVAL;
	text = malloc(name_length + value_length + 2);
	if (text == NULL)
		return -ENOMEM;
	memcpy(text, name, name_length);
	text[name_length] = '=';
	memcpy(text + name_length + 1, value, value_length + 1);
	return set_text(env, text, name_length,
	    name_length + 1 + value_length);
}

void
cgi_env_unset(struct cgi_env *env, const char *name)
{
	struct variable *variable = find(env, name, strlen(name));
	size_t after;

	if (variable == NULL)
		return;
	free(variable->text);
	env->count--;
	after = env->count - (size_t)(variable - env->variables);
	memmove(variable, variable + 1, after * sizeof(*variable));
}

int
cgi_env_add_params(struct cgi_env *env, const struct params *params,
    const char *pass_params)
{
	size_t count = params_count(params);

	for (size_t i = 0; i < count; i++) {
		struct param param = params_at(params, i);
		int rc;

		if (!cgi_env_allowed(param.name, pass_params))
			continue;
		rc = cgi_env_set(env, param.name, param.value);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int
cgi_env_add_block(struct cgi_env *env, const char *block, size_t n)
{
	while (n > 0) {
		const char *end = memchr(block, '\0', n);
		size_t length, name_length;
		char *text;
		int rc;

		if (end == NULL)
			return -EINVAL;
		length = (size_t)(end - block);
		name_length = strcspn(block, "=");
		if (name_length == 0 || name_length == length)
			return -EINVAL;
		text = strdup(block);
		if (text == NULL)
			return -ENOMEM;
		rc = set_text(env, text, name_length, length);
		if (rc != 0)
			return rc;
		block += length + 1;
		n -= length + 1;
	}
	return 0;
}

int
cgi_env_put_block(const struct cgi_env *env, struct buf *out)
{
	for (size_t i = 0; i < env->count; i++) {
		const struct variable *variable = &env->variables[i];
		int rc = buf_add(out, variable->text, variable->length + 1);

		if (rc != 0)
			return rc;
	}
	return 0;
}

int
cgi_env_put_params(const struct cgi_env *env, struct buf *out)
{
	for (size_t i = 0; i < env->count; i++) {
		const struct variable *variable = &env->variables[i];
		size_t value = variable->name_length + 1;
		int rc = params_put(out, variable->text,
		    variable->name_length, variable->text + value,
		    variable->length - value);

		if (rc != 0)
			return rc;
	}
	return 0;
}
