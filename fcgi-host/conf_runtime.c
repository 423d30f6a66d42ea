#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/conf_host.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WORDS_MAX 64
#define EXTENSION_MAX 15
#define SPARE_MAX 1024
#define PRELOAD_MAX 1000
#define PRELOAD_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" \
	"._-:/@ \t"

#define SET(name) static int set_##name(struct conf_runtime *runtime, \
    const char *value, char *problem, size_t size)

static void
free_words(char **words)
{
	size_t i;

	for (i = 0; words != NULL && words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

/* The next word of *text into word (as long as *text at least): blanks
 * separate, both kinds of quotes hold together.  False: none; *is_open: a
 * quote is not closed. */
static bool
next_word(const char **text, char *word, bool *is_open)
{
	const char *at = *text + strspn(*text, " \t");
	char quote = '\0';

	if (*at == '\0')
		return false;
	for (; *at != '\0'; at++) {
		if (quote == '\0' && (*at == ' ' || *at == '\t'))
			break;
		if (quote == '\0' && (*at == '"' || *at == '\''))
			quote = *at;
		else if (quote != '\0' && *at == quote)
			quote = '\0';
		else
			*word++ = *at;
	}
	*word = '\0';
	*is_open = quote != '\0';
	*text = at;
	return true;
}

/* 0, -EINVAL (open quote, or none or too many words), -ENOMEM. */
static int
split(const char *text, char ***out)
{
	char **words = calloc(WORDS_MAX + 1, sizeof(*words));
	char *word = malloc(strlen(text) + 1);
	bool is_open = false;
	size_t count = 0;
	int error = 0;

	if (words == NULL || word == NULL)
		error = -ENOMEM;
	while (error == 0 && next_word(&text, word, &is_open)) {
		if (is_open || count == WORDS_MAX)
			error = -EINVAL;
		else if ((words[count++] = strdup(word)) == NULL)
			error = -ENOMEM;
	}
	if (error == 0 && count == 0)
		error = -EINVAL;
	free(word);
	if (error != 0) {
		free_words(words);
		return error;
	}
	*out = words;
	return 0;
}

static bool
is_extension(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n <= EXTENSION_MAX &&
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789") == n;
}

SET(extensions)
{
	char **words = NULL;
	size_t i;
	int error = split(value, &words);

	if (error == -EINVAL)
		return settings_problem(problem, size, "extensions: nothing "
		    "or too many; write them as: py pyw");
	if (error != 0)
		return error;
	for (i = 0; words[i] != NULL; i++) {
		if (words[i][0] == '.')
			memmove(words[i], words[i] + 1, strlen(words[i]));
		if (is_extension(words[i]) && strcmp(words[i], "cgi") != 0 &&
		    strcmp(words[i], "fcgi") != 0 &&
		    strcmp(words[i], "ini") != 0)
			continue;
		(void)settings_problem(problem, size, "extensions: \"%.40s\" "
		    "cannot be one; use a-z and 0-9, and not cgi, fcgi or "
		    "ini, which have a meaning", words[i]);
		free_words(words);
		return -EINVAL;
	}
	free_words(runtime->extensions);
	runtime->extensions = words;
	return 0;
}

SET(protocol)
{
	if (strcmp(value, "cgi") != 0 && strcmp(value, "fastcgi") != 0)
		return settings_problem(problem, size, "protocol: \"%.40s\" "
		    "is not cgi or fastcgi", value);
	runtime->is_fastcgi = value[0] == 'f';
	return 0;
}

static int
set_words(char ***place, const char *key, const char *value, char *problem,
    size_t size)
{
	char **words = NULL;
	int error = split(value, &words);

	if (error == -EINVAL)
		return settings_problem(problem, size, "%s: no program, "
		    "an open quote, or more than %d words; write "
		    "/path/of/program and its arguments", key, WORDS_MAX);
	if (error != 0)
		return error;
	/* A search along PATH would depend on what a tenant can write. */
	if (!settings_path_ok(words[0]) || words[0][1] == '\0') {
		(void)settings_problem(problem, size, "%s: \"%.60s\" is "
		    "no absolute path; write it in full, as /usr/bin/php-cgi",
		    key, words[0]);
		free_words(words);
		return -EINVAL;
	}
	free_words(*place);
	*place = words;
	return 0;
}

SET(command)
{
	return set_words(&runtime->command, "command", value, problem, size);
}

SET(check)
{
	return set_words(&runtime->check, "check", value, problem, size);
}

SET(build)
{
	return set_words(&runtime->build, "build", value, problem, size);
}

/* That there is such a section is seen when all are read. */
SET(otherwise)
{
	if (strlen(value) > CTL_RUNTIME_MAX)
		return settings_problem(problem, size, "otherwise: \"%.60s\" "
		    "is no name; write the NAME of a [runtime NAME] section",
		    value);
	return settings_put_text(&runtime->otherwise, value);
}

SET(rootfs)
{
	if (!settings_path_ok(value) || value[1] == '\0')
		return settings_problem(problem, size, "rootfs: \"%.60s\" is "
		    "no absolute path of an image; write the directory that "
		    "mmdebstrap made, or take the line out for the host's own "
		    "programs", value);
	return settings_put_text(&runtime->rootfs, value);
}

SET(bind)
{
	int error = settings_check_bind(value, problem, size);

	return error != 0 ? error : settings_put_text(&runtime->bind, value);
}

SET(spare)
{
	char *end;

	errno = 0;
	runtime->spare = strtoull(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 ||
	    runtime->spare > SPARE_MAX)
		return settings_problem(problem, size, "spare: \"%.40s\" is "
		    "not a number from 0 to %d", value, SPARE_MAX);
	return 0;
}

SET(preload)
{
	if (strlen(value) > PRELOAD_MAX || value[strspn(value, PRELOAD_CHARACTERS)]
	    != '\0')
		return settings_problem(problem, size, "preload: \"%.40s\" is "
		    "no list of modules, or longer than %d bytes; write their "
		    "names with blanks between, as: json urllib.request",
		    value, PRELOAD_MAX);
	return settings_put_text(&runtime->preload, value);
}

static const struct runtime_key {
	const char *name;
	int (*set)(struct conf_runtime *runtime, const char *value,
	    char *problem, size_t size);
} runtime_keys[] = {
	{ "extensions", set_extensions },
	{ "protocol", set_protocol },
	{ "command", set_command },
	{ "check", set_check },
	{ "build", set_build },
	{ "otherwise", set_otherwise },
	{ "rootfs", set_rootfs },
	{ "bind", set_bind },
	{ "spare", set_spare },
	{ "preload", set_preload },
};

int
conf_runtime_set(struct conf_runtime *runtime, const char *key,
    const char *value, char *problem, size_t size)
{
	const char *names[COUNT(runtime_keys)], *near;
	size_t i;

	if (strncmp(key, "env.", 4) == 0)
		return settings_set_env(&runtime->env, key + 4, value,
		    problem, size);
	for (i = 0; i < COUNT(runtime_keys); i++) {
		names[i] = runtime_keys[i].name;
		if (strcmp(names[i], key) == 0)
			return runtime_keys[i].set(runtime, value, problem,
			    size);
	}
	near = settings_nearest(key, names, i);
	(void)settings_problem(problem, size, "unknown key \"%.60s\" in a "
	    "[runtime]; %s%s", key, near != NULL ? "do you mean " :
	    "the manual page fcgi-host.ini(5) lists the keys",
	    near != NULL ? near : "");
	return -ENOENT;
}
