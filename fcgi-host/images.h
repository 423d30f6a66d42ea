/*
 * The images (`rootfs`) of a configuration's runtimes, opened once and not at
 * each start.  What stands at a path may be replaced while the host runs: a
 * reload opens all of them anew and tells which became another.  Spawner only.
 */
#ifndef FCGI_HOST_IMAGES_H
#define FCGI_HOST_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/conf.h"
#include "sandbox/image.h"

#define IMAGES_PROBLEM_MAX 512

struct images;

/*
 * before: those that are used now, or NULL at the start.  An image that cannot
 * be used is an error of a reload, since the last good configuration is there to
 * go on with; at the start it is only logged, for other runtimes are none the
 * worse, and tried again at each start of an instance.  NULL with a sentence in
 * problem.
 */
struct images *images_new(const struct conf *conf, const struct images *before,
    char *problem, size_t size);
/* Accepts NULL. */
void images_free(struct images *images);

/* The image at a path of the configuration (borrowed).  0, or a negative errno,
 * and then *problem is a sentence that names the place. */
int images_find(struct images *images, const char *path,
    const struct image **image, const char **problem);

/* How often another stood behind the runtime (or NULL), in this run: instances
 * made of one before are of no use. */
uint32_t images_changed(const struct images *images,
    const struct conf_runtime *runtime);

#endif
