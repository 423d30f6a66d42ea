#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/conf_effect.h"

/* A text of a list, with its place there: of one name the last one counts. */
struct item {
	const char *text;
	size_t place, name_length;
};

static int
compare(const void *a, const void *b)
{
	const struct item *left = a, *right = b;
	size_t n = left->name_length < right->name_length ?
	    left->name_length : right->name_length;
	int order = memcmp(left->text, right->text, n);

	if (order == 0 && left->name_length != right->name_length)
		order = left->name_length < right->name_length ? -1 : 1;
	if (order == 0)
		order = left->place < right->place ? -1 : 1;
	return order;
}

static bool
is_overridden(const struct item *item, const struct item *next)
{
	return item->name_length == next->name_length &&
	    memcmp(item->text, next->text, item->name_length) == 0;
}

static int
add_items(struct item *items, size_t count, struct buf *out)
{
	int error = 0;
	size_t i;

	qsort(items, count, sizeof(*items), compare);
	for (i = 0; i < count && error == 0; i++)
		if (i + 1 == count || !is_overridden(&items[i], &items[i + 1]))
			error = buf_add(out, items[i].text,
			    strlen(items[i].text) + 1);
	/* where the list ends: no item is empty */
	return error == 0 ? buf_add(out, "", 1) : error;
}

/* "TEXT\0"…, the name of each up to `end` or whole. */
static int
add_list(const struct buf *list, char end, struct buf *out)
{
	size_t length = buf_len(list), count = 0, at, n;
	const char *text = length == 0 ? "" :
	    (const char *)list->data + list->start;
	struct item *items;
	int error;

	if (length == 0)
		return buf_add(out, "", 1);
	items = calloc(length / 2 + 1, sizeof(*items));
	if (items == NULL)
		return -ENOMEM;
	for (at = 0; at < length; at += n + 1) {
		const char *stop = strchr(text + at, end);

		n = strlen(text + at);
		if (n == 0)
			continue;
		items[count] = (struct item){ .text = text + at,
			.place = count, .name_length = stop == NULL ? n :
			(size_t)(stop - text) - at };
		count++;
	}
	error = add_items(items, count, out);
	free(items);
	return error;
}

/* The sidecar's stand between the layers and the function's own section, so
 * these two are kept apart. */
static int
add_env(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct buf *out)
{
	const struct settings *own = conf_function(conf, name);
	struct buf env = { 0 };
	int error = conf_env(conf, tenant, name, runtime, &env);

	if (error == 0)
		error = add_list(&env, '=', out);
	buf_free(&env);
	if (error == 0 && own != NULL)
		error = add_list(&own->env, '=', out);
	else if (error == 0)
		error = buf_add(out, "", 1);
	return error;
}

static int
add_pass_params(const struct conf *conf, const char *tenant, const char *name,
    struct buf *out)
{
	struct buf names = { 0 };
	int error = conf_pass_params(conf, tenant, name, &names);
	size_t i;

	for (i = names.start; error == 0 && i < names.end; i++)
		if (names.data[i] == ' ' || names.data[i] == '\t')
			names.data[i] = '\0';
	if (error == 0)
		error = add_list(&names, '\0', out);
	buf_free(&names);
	return error;
}

static int
add_binds(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct buf *out)
{
	struct conf_bind binds[CONF_BIND_MAX];
	size_t i, count = conf_binds(conf, tenant, name, runtime, binds);
	int error = 0;

	for (i = 0; i < count && error == 0; i++)
		error = buf_addf(out, "%s%s%c", binds[i].path,
		    binds[i].is_writable ? ":rw" : "", '\0');
	conf_binds_free(binds, count);
	return error == 0 ? buf_add(out, "", 1) : error;
}

/* A namespace is of matter to those alone who enter it. */
static int
add_network(const struct conf *conf, const char *tenant, const char *name,
    struct buf *out)
{
	enum settings_network network = conf_network(conf, tenant, name);
	const char *path = network == NETWORK_EGRESS ?
	    conf_egress(conf, tenant, name) : NULL;

	return buf_addf(out, "%d%s%c", (int)network, path == NULL ? "" : path,
	    '\0');
}

static int
add_env_files(const struct conf *conf, const char *tenant, const char *name,
    struct buf *out)
{
	const char *paths[CONF_ENV_FILES];

	conf_env_files(conf, tenant, name, paths);
	return buf_addf(out, "%s%c%s%c", paths[0] == NULL ? "" : paths[0], '\0',
	    paths[1] == NULL ? "" : paths[1], '\0');
}

/* A command's word may be empty, and is told from the end. */
static int
add_words(char mark, char *const *word, struct buf *out)
{
	int error = 0;

	for (; word != NULL && *word != NULL && error == 0; word++)
		error = buf_addf(out, "%c%c%s", '\0', mark, *word);
	return error;
}

static int
add_runtime(const struct conf_runtime *runtime, struct buf *out)
{
	int error = buf_add_str(out, runtime == NULL ? "none" :
	    runtime->is_fastcgi ? "fastcgi" : "cgi");

	if (error == 0 && runtime != NULL)
		error = add_words('+', runtime->command, out);
	if (error == 0 && runtime != NULL)
		error = add_words('?', runtime->check, out);
	if (error == 0 && runtime != NULL)
		error = add_words('!', runtime->build, out);
	if (error == 0 && runtime != NULL && runtime->otherwise != NULL)
		error = buf_addf(out, "%c:%s", '\0', runtime->otherwise);
	if (error == 0 && runtime != NULL && runtime->rootfs != NULL)
		error = buf_addf(out, "%c/%s", '\0', runtime->rootfs);
	if (error == 0 && runtime != NULL && runtime->preload != NULL)
		error = buf_addf(out, "%c-%s", '\0', runtime->preload);
	return error == 0 ? buf_add(out, "\0", 2) : error;
}

int
conf_effect(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct buf *out)
{
	const struct settings *section = conf_tenant(conf, tenant);
	const char *user = section == NULL ? NULL : section->user;
	int error = add_runtime(runtime[0] == '\0' ? NULL :
	    conf_runtime_by_name(conf, runtime), out);

	if (error == 0)
		error = buf_addf(out, "%s%c", user == NULL ? "" : user, '\0');
	if (error == 0)
		error = add_network(conf, tenant, name, out);
	if (error == 0)
		error = add_binds(conf, tenant, name, runtime, out);
	if (error == 0)
		error = add_pass_params(conf, tenant, name, out);
	if (error == 0)
		error = add_env(conf, tenant, name, runtime, out);
	if (error == 0)
		error = add_env_files(conf, tenant, name, out);
	return error;
}

bool
conf_effect_same(const struct conf *a, const struct conf *b,
    const char *tenant, const char *name, const char *runtime)
{
	struct buf of_a = { 0 }, of_b = { 0 };
	bool is_same = conf_effect(a, tenant, name, runtime, &of_a) == 0 &&
	    conf_effect(b, tenant, name, runtime, &of_b) == 0 &&
	    buf_len(&of_a) == buf_len(&of_b) &&
	    memcmp(buf_head(&of_a), buf_head(&of_b), buf_len(&of_a)) == 0;

	buf_free(&of_a);
	buf_free(&of_b);
	return is_same;
}
