/*
 * Whether the programs of the runtimes are there, for check and list: on the
 * host, or in the runtime's image.  No daemon is needed.
 */
#ifndef FCGI_HOST_CMD_PROGRAM_H
#define FCGI_HOST_CMD_PROGRAM_H

#include <stddef.h>

#include "fcgi-host/conf.h"

enum program_state {
	PROGRAM_THERE,
	PROGRAM_MISSING,
	PROGRAM_NO_IMAGE /* its image cannot be used */
};

/* The one that has to be there, of build or else of command: what a build makes is
 * there when it is needed. */
const char *program_of(const struct conf_runtime *runtime);

/* why: of one that is missing "cannot …", of an image the whole sentence. */
enum program_state program_look(const struct conf *conf,
    const struct conf_runtime *runtime, char *why, size_t size);

/* For each runtime of conf, in its order: NULL, or what is to be said of its
 * functions.  NULL: no memory. */
char **programs_look(const struct conf *conf);
/* Accepts NULL. */
void programs_free(const struct conf *conf, char **missing);

#endif
