#include "fcgi-host/cgi_env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/fcgi_record.h"

/* One variable is one string "NAME=VALUE", which stands in the text of all; an
 * offset, because that moves as it grows.  What was replaced stays there. */
struct variable {
	size_t text;
	size_t name_length, length;
	size_t mark;
};

struct cgi_env {
	struct buf text;
	struct variable *variables;
	size_t count, size;
	/* a bit for each that was set, which others may share: where it is not
	 * there, no variable needs to be looked for */
	uint64_t marks[4];
};

/* What a request of an ordinary web server needs. */
#define VARIABLES_MIN 64
#define TEXT_MIN 1024

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
	buf_free(&env->text);
	free(env->variables);
	free(env);
}

static const char *
text_of(const struct cgi_env *env, const struct variable *variable)
{
	return (const char *)env->text.data + variable->text;
}

static size_t
mark_of(const char *name, size_t name_length)
{
	const unsigned char *bytes = (const unsigned char *)name;

	return (name_length + 5u * bytes[0] + 41u * bytes[name_length / 2] +
	    17u * bytes[name_length - 1]) % 256;
}

static struct variable *
find(const struct cgi_env *env, const char *name, size_t name_length,
    size_t mark)
{
	if ((env->marks[mark / 64] >> mark % 64 & 1) == 0)
		return NULL;
	for (size_t i = 0; i < env->count; i++) {
		struct variable *variable = &env->variables[i];

		if (variable->mark == mark &&
		    variable->name_length == name_length &&
		    memcmp(text_of(env, variable), name, name_length) == 0)
			return variable;
	}
	return NULL;
}

/* A new place at the end, without a text. */
static struct variable *
append(struct cgi_env *env)
{
	if (env->count == env->size) {
		size_t size = env->size == 0 ? VARIABLES_MIN :
		    env->size * 2;
		struct variable *variables = reallocarray(env->variables,
		    size, sizeof(*variables));

		if (variables == NULL)
			return NULL;
		env->variables = variables;
		env->size = size;
	}
	return &env->variables[env->count++];
}

static int
set_pair(struct cgi_env *env, const char *name, size_t name_length,
    const char *value, size_t value_length)
{
	size_t at = buf_len(&env->text), mark = mark_of(name, name_length);
	size_t length = name_length + 1 + value_length;
	uint8_t *text = buf_reserve(&env->text, at == 0 && length < TEXT_MIN ?
	    TEXT_MIN : length + 1);
	struct variable *variable;

	if (text == NULL)
		return -ENOMEM;
	variable = find(env, name, name_length, mark);
	if (variable == NULL)
		variable = append(env);
	if (variable == NULL)
		return -ENOMEM;
	memcpy(text, name, name_length);
	text[name_length] = '=';
	memcpy(text + name_length + 1, value, value_length);
	text[length] = '\0';
	buf_commit(&env->text, length + 1);
	*variable = (struct variable){ at, name_length, length, mark };
	env->marks[mark / 64] |= UINT64_C(1) << mark % 64;
	return 0;
}

int
cgi_env_set(struct cgi_env *env, const char *name, const char *value)
{
	size_t name_length = strlen(name);

	if (name_length == 0 || memchr(name, '=', name_length) != NULL)
		return -EINVAL;
	return set_pair(env, name, name_length, value, strlen(value));
}

bool
cgi_method_is_safe(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
	    strcmp(method, "OPTIONS") == 0;
}

bool
cgi_env_is_safe(const struct cgi_env *env)
{
	static const char name[] = "REQUEST_METHOD";
	const struct variable *variable = find(env, name,
	    sizeof(name) - 1, mark_of(name, sizeof(name) - 1));

	return variable != NULL &&
	    cgi_method_is_safe(text_of(env, variable) + sizeof(name));
}

void
cgi_env_unset(struct cgi_env *env, const char *name)
{
	size_t name_length = strlen(name), after;
	struct variable *variable = find(env, name, name_length,
	    mark_of(name, name_length));

	if (variable == NULL)
		return;
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
		rc = set_pair(env, param.name, param.name_length, param.value,
		    param.value_length);
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
		int rc;

		if (end == NULL)
			return -EINVAL;
		length = (size_t)(end - block);
		name_length = strcspn(block, "=");
		if (name_length == 0 || name_length == length)
			return -EINVAL;
		rc = set_pair(env, block, name_length,
		    block + name_length + 1, length - name_length - 1);
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
		int rc = buf_add(out, text_of(env, variable),
		    variable->length + 1);

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
		const char *text = text_of(env, variable);
		int rc = params_put(out, text, variable->name_length,
		    text + value, variable->length - value);

		if (rc != 0)
			return rc;
	}
	return 0;
}

int
cgi_env_put_stream(const struct cgi_env *env, struct buf *out, uint16_t id)
{
	size_t at = buf_len(out);
	int error = fcgi_put_header(out, FCGI_PARAMS, id, 0, 0);

	if (error == 0)
		error = cgi_env_put_params(env, out);
	if (error == 0)
		error = fcgi_wrap_stream(out, at, FCGI_PARAMS, id);
	return error < 0 ? error : fcgi_put_stream_end(out, FCGI_PARAMS, id);
}
