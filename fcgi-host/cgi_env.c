#include "fcgi-host/cgi_env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/fcgi_record.h"

/*
 * The name, a NUL, the value, a NUL: where params have them, or in the text of
 * all; there an offset, because that moves as it grows.  What was replaced stays
 * there.  A name of no length: it was unset.
 */
struct variable {
	const char *borrowed; /* or NULL */
	size_t text;
	size_t name_length, value_length;
	uint32_t next; /* of those with its mark; one more than the place */
};

/* A power of two. */
#define MARKS 64
/* What a request of an ordinary web server needs. */
#define VARIABLES_MIN 48
#define TEXT_MIN 512

struct cgi_env {
	struct buf text;
	struct variable *variables;
	size_t count, size;
	uint32_t first[MARKS];
	struct variable few[VARIABLES_MIN];
};

struct cgi_env *
cgi_env_new(void)
{
	struct cgi_env *env = malloc(sizeof(*env));

	if (env == NULL)
		return NULL;
	memset(env, 0, offsetof(struct cgi_env, few));
	env->variables = env->few;
	env->size = VARIABLES_MIN;
	return env;
}

void
cgi_env_free(struct cgi_env *env)
{
	if (env == NULL)
		return;
	buf_free(&env->text);
	if (env->variables != env->few)
		free(env->variables);
	free(env);
}

static const char *
name_of(const struct cgi_env *env, const struct variable *variable)
{
	return variable->borrowed != NULL ? variable->borrowed :
	    (const char *)env->text.data + variable->text;
}

static const char *
value_of(const struct cgi_env *env, const struct variable *variable)
{
	return name_of(env, variable) + variable->name_length + 1;
}

static size_t
mark_of(const char *name, size_t name_length)
{
	const unsigned char *bytes = (const unsigned char *)name;

	return (name_length + 5u * bytes[0] + 41u * bytes[name_length / 2] +
	    17u * bytes[name_length - 1]) % MARKS;
}

static struct variable *
find(const struct cgi_env *env, const char *name, size_t name_length,
    size_t mark)
{
	for (uint32_t at = env->first[mark]; at != 0;) {
		struct variable *variable = &env->variables[at - 1];

		if (variable->name_length == name_length &&
		    memcmp(name_of(env, variable), name, name_length) == 0)
			return variable;
		at = variable->next;
	}
	return NULL;
}

static int
grow(struct cgi_env *env)
{
	size_t size = env->size * 2;
	struct variable *variables;

	if (env->count < env->size)
		return 0;
	if (size > UINT32_MAX)
		return -ENOMEM;
	variables = reallocarray(env->variables == env->few ? NULL :
	    env->variables, size, sizeof(*variables));
	if (variables == NULL)
		return -ENOMEM;
	if (env->variables == env->few)
		memcpy(variables, env->few, sizeof(env->few));
	env->variables = variables;
	env->size = size;
	return 0;
}

/* The variable of that name: in its place, or a new one at the end. */
static int
put(struct cgi_env *env, const char *name, size_t name_length,
    struct variable variable)
{
	size_t mark = mark_of(name, name_length);
	struct variable *there = find(env, name, name_length, mark);

	if (there != NULL) {
		variable.next = there->next;
	} else {
		if (grow(env) != 0)
			return -ENOMEM;
		variable.next = env->first[mark];
		there = &env->variables[env->count++];
		env->first[mark] = (uint32_t)env->count;
	}
	*there = variable;
	return 0;
}

static int
put_copy(struct cgi_env *env, const char *name, size_t name_length,
    const char *value, size_t value_length)
{
	size_t at = buf_len(&env->text), length = name_length + value_length + 2;
	uint8_t *text = buf_reserve(&env->text, at == 0 && length < TEXT_MIN ?
	    TEXT_MIN : length);
	int error;

	if (text == NULL)
		return -ENOMEM;
	memcpy(text, name, name_length);
	text[name_length] = '\0';
	memcpy(text + name_length + 1, value, value_length);
	text[length - 1] = '\0';
	error = put(env, name, name_length, (struct variable){ .text = at,
	    .name_length = name_length, .value_length = value_length });
	if (error == 0)
		buf_commit(&env->text, length);
	return error;
}

int
cgi_env_set(struct cgi_env *env, const char *name, const char *value)
{
	size_t name_length = strlen(name);

	if (name_length == 0 || memchr(name, '=', name_length) != NULL)
		return -EINVAL;
	return put_copy(env, name, name_length, value, strlen(value));
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
	    cgi_method_is_safe(value_of(env, variable));
}

void
cgi_env_unset(struct cgi_env *env, const char *name)
{
	size_t name_length = strlen(name);
	struct variable *variable = find(env, name, name_length,
	    mark_of(name, name_length));

	if (variable != NULL)
		variable->name_length = 0;
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
		rc = put(env, param.name, param.name_length, (struct variable){
			.borrowed = param.name,
			.name_length = param.name_length,
			.value_length = param.value_length });
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
		rc = put_copy(env, block, name_length,
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
		size_t name_length = variable->name_length;
		size_t length = name_length + 1 + variable->value_length + 1;
		uint8_t *at;

		if (name_length == 0)
			continue;
		at = buf_reserve(out, length);
		if (at == NULL)
			return -ENOMEM;
		memcpy(at, name_of(env, variable), length);
		at[name_length] = '=';
		buf_commit(out, length);
	}
	return 0;
}

int
cgi_env_put_params(const struct cgi_env *env, struct buf *out)
{
	for (size_t i = 0; i < env->count; i++) {
		const struct variable *variable = &env->variables[i];
		int rc = variable->name_length == 0 ? 0 : params_put(out,
		    name_of(env, variable), variable->name_length,
		    value_of(env, variable), variable->value_length);

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
