#include "fcgi-host/cmd_program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/image.h"

#define WHY_MAX 512

const char *
program_of(const struct conf_runtime *runtime)
{
	return runtime->build != NULL ? runtime->build[0] :
	    runtime->command[0];
}

/* What stands at a path of `bind` is the host's, also beside an image. */
static bool
is_bound(const struct conf *conf, const struct conf_runtime *runtime)
{
	struct conf_bind binds[CONF_BIND_MAX];
	size_t count = conf_binds(conf, "", "", runtime->name, binds), i;
	bool is_found = false;

	for (i = 0; i < count; i++) {
		size_t n = strlen(binds[i].path);
		const char *command = program_of(runtime);

		is_found |= strncmp(command, binds[i].path, n) == 0 &&
		    (command[n] == '/' || command[n] == '\0');
	}
	conf_binds_free(binds, count);
	return is_found;
}

static enum program_state
look_in_image(const struct conf_runtime *runtime, char *why, size_t size)
{
	struct image image;
	int error = image_open(&image, runtime->rootfs, why, size);

	if (error != 0)
		return PROGRAM_NO_IMAGE;
	error = image_find_program(&image, program_of(runtime));
	image_close(&image);
	if (error == 0)
		return PROGRAM_THERE;
	(void)snprintf(why, size, error == -ENOENT ? "is not in the image %s" :
	    "cannot be executed in the image %s", runtime->rootfs);
	return PROGRAM_MISSING;
}

enum program_state
program_look(const struct conf *conf, const struct conf_runtime *runtime,
    char *why, size_t size)
{
	if (runtime->rootfs != NULL && !is_bound(conf, runtime))
		return look_in_image(runtime, why, size);
	if (access(program_of(runtime), X_OK) == 0)
		return PROGRAM_THERE;
	(void)snprintf(why, size, "is not installed");
	return PROGRAM_MISSING;
}

static int
judge(const struct conf *conf, const struct conf_runtime *runtime, char **out)
{
	char why[WHY_MAX];
	int n = 0;

	switch (program_look(conf, runtime, why, sizeof(why))) {
	case PROGRAM_MISSING:
		n = asprintf(out, "%s of its runtime %s, so that it is "
		    "answered by %d", program_of(runtime), why,
		    runtime->build != NULL ? 500 : 502);
		break;
	case PROGRAM_NO_IMAGE:
		n = asprintf(out, "the image of its runtime cannot be used, so "
		    "that it is answered by %d: %s",
		    runtime->build != NULL ? 500 : 502, why);
		break;
	case PROGRAM_THERE:
	default:
		break;
	}
	if (n < 0)
		*out = NULL;
	return n < 0 ? -ENOMEM : 0;
}

char **
programs_look(const struct conf *conf)
{
	char **missing = calloc(conf->runtime_count + 1, sizeof(*missing));
	int error = missing == NULL ? -ENOMEM : 0;
	size_t i;

	for (i = 0; i < conf->runtime_count && error == 0; i++)
		error = judge(conf, &conf->runtimes[i], &missing[i]);
	if (error == 0)
		return missing;
	programs_free(conf, missing);
	return NULL;
}

void
programs_free(const struct conf *conf, char **missing)
{
	size_t i;

	for (i = 0; missing != NULL && i < conf->runtime_count; i++)
		free(missing[i]);
	free(missing);
}
