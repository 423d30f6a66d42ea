#include "fcgi-host/images.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"

struct entry {
	char *path;
	struct image image; /* slash_fd -1: it cannot be used */
	uint32_t changed;
	char problem[IMAGES_PROBLEM_MAX];
};

struct images {
	struct entry *entries; /* one for each path */
	size_t count;
};

static struct entry *
find(const struct images *images, const char *path)
{
	size_t i;

	for (i = 0; images != NULL && i < images->count; i++)
		if (strcmp(images->entries[i].path, path) == 0)
			return &images->entries[i];
	return NULL;
}

/* With what was there before: one that could not be used had no instances. */
static void
count_change(struct entry *entry, const struct images *before)
{
	const struct entry *old = find(before, entry->path);

	if (old == NULL)
		return;
	entry->changed = old->changed;
	if (old->image.slash_fd >= 0 &&
	    !image_is_same(&entry->image, &old->image))
		entry->changed++;
}

/* 0; -ENOMEM; or what image_open says, and the entry is there all the same. */
static int
add(struct images *images, const char *path)
{
	struct entry *entry = &images->entries[images->count];

	entry->path = strdup(path);
	if (entry->path == NULL)
		return -ENOMEM;
	images->count++;
	return image_open(&entry->image, path, entry->problem,
	    sizeof(entry->problem));
}

/* 0, or a negative errno with a sentence: the reload is off. */
static int
add_runtime(struct images *images, const struct conf_runtime *runtime,
    const struct images *before, char *problem, size_t size)
{
	struct entry *entry;
	int error;

	if (runtime->rootfs == NULL || find(images, runtime->rootfs) != NULL)
		return 0;
	error = add(images, runtime->rootfs);
	entry = find(images, runtime->rootfs);
	if (entry == NULL) {
		(void)snprintf(problem, size, "out of memory");
		return error;
	}
	if (error != 0 && before != NULL) {
		(void)snprintf(problem, size, "[runtime %s] rootfs: %s",
		    runtime->name, entry->problem);
		return error;
	}
	if (error != 0)
		log_event(LOG_WARN, "rootfs", "runtime=%s why=\"%s\"",
		    runtime->name, entry->problem);
	count_change(entry, before);
	return 0;
}

struct images *
images_new(const struct conf *conf, const struct images *before, char *problem,
    size_t size)
{
	struct images *images = calloc(1, sizeof(*images));
	int error = images == NULL ? -ENOMEM : 0;
	size_t i;

	if (error == 0 && conf->runtime_count > 0) {
		images->entries = calloc(conf->runtime_count,
		    sizeof(*images->entries));
		error = images->entries == NULL ? -ENOMEM : 0;
	}
	if (error != 0)
		(void)snprintf(problem, size, "out of memory");
	for (i = 0; error == 0 && i < conf->runtime_count; i++)
		error = add_runtime(images, &conf->runtimes[i], before,
		    problem, size);
	if (error == 0)
		return images;
	images_free(images);
	return NULL;
}

void
images_free(struct images *images)
{
	size_t i;

	if (images == NULL)
		return;
	for (i = 0; i < images->count; i++) {
		image_close(&images->entries[i].image);
		free(images->entries[i].path);
	}
	free(images->entries);
	free(images);
}

int
images_find(struct images *images, const char *path,
    const struct image **image, const char **problem)
{
	struct entry *entry = find(images, path);
	int error = 0;

	if (entry == NULL) {
		*problem = "rootfs: not of this configuration";
		return -ESTALE;
	}
	/* it may have been made, or mounted, since */
	if (entry->image.slash_fd < 0)
		error = image_open(&entry->image, path, entry->problem,
		    sizeof(entry->problem));
	*image = &entry->image;
	*problem = entry->problem;
	return error;
}

uint32_t
images_changed(const struct images *images, const struct conf_runtime *runtime)
{
	const struct entry *entry = runtime == NULL ||
	    runtime->rootfs == NULL ? NULL : find(images, runtime->rootfs);

	return entry == NULL ? 0 : entry->changed;
}
