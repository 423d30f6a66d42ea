/*
 * What a running host's checks have found, for `list`: asked for over its control
 * socket, and nothing to fail of where no host runs.  The command of the person
 * who types it.
 */
#ifndef FCGI_HOST_CMD_VERDICTS_H
#define FCGI_HOST_CMD_VERDICTS_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"

struct verdicts {
	struct ctl_status_check *rows; /* by name */
	size_t count, size;
	const char *why; /* static: why there are none, or NULL */
};

/* Asks, if a runtime of conf has a check; waits until all are done, some 15
 * seconds at most. */
void verdicts_ask(const struct conf *conf, struct verdicts *verdicts);
void verdicts_free(struct verdicts *verdicts);

/* Of exactly this version; NULL: nothing is known. */
const struct ctl_status_check *verdicts_find(const struct verdicts *verdicts,
    const struct ctl_function *function);

/* For a program: "sound" …; NULL: nothing is known or to be known. */
const char *verdict_word(const struct ctl_status_check *row);
/* For a person, what is wrong, to be freed: "" for nothing; NULL: no memory. */
char *verdict_note(const struct ctl_status_check *row);
/* Says on standard error why there are none, where that is of matter. */
void verdicts_say_why(const struct verdicts *verdicts);

#endif
