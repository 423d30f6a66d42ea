/*
 * The starters of `fcgi-host new`: for each language a function that is served as
 * it is.  Text and nothing else.
 */
#ifndef FCGI_HOST_CMD_NEW_H
#define FCGI_HOST_CMD_NEW_H

#include <stddef.h>
#include <sys/types.h>

struct starter {
	const char *language;  /* as it is typed */
	const char *extension; /* without its dot */
	mode_t mode;
	const char *text;
};

extern const struct starter starters[];
extern const size_t starter_count;
/* The sidecar, the same for all of them. */
extern const char starter_sidecar[];

#endif
