/*
 * The keys that [defaults], [tenant], [function] and a sidecar share: one
 * table of names, units, bounds and ceilings, and the merging of layers.
 * Values only; conf.h reads files.
 */
#ifndef FCGI_HOST_SETTINGS_H
#define FCGI_HOST_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/amounts.h"
#include "fcgi-host/buf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/settings_text.h"

enum settings_network { NETWORK_NONE, NETWORK_LOOPBACK, NETWORK_EGRESS };

/* Which sections may hold a key. */
enum settings_scope {
	SCOPE_DEFAULTS = 1,
	SCOPE_TENANT = 2,
	SCOPE_FUNCTION = 4,
	SCOPE_SIDECAR = 8,
	/* [host] and [runtime] have keys of their own: conf_host.h */
	SCOPE_ADMIN = SCOPE_DEFAULTS | SCOPE_TENANT | SCOPE_FUNCTION,
	SCOPE_ALL = SCOPE_ADMIN | SCOPE_SIDECAR
};

/* One section's values; a key that it does not name is absent. */
struct settings {
	struct limits limits;
	uint64_t has_limits; /* bit i: limits.value[i] is set */
	bool has_network;
	enum settings_network network;
	char *egress;      /* a namespace's path; NULL: not set */
	char *runtime;     /* NULL: not set */
	char *bind;        /* as written; checked */
	char *pass_params; /* as written; checked */
	char *user;        /* tenant only */
	char *env_file;    /* a path; a sidecar's: a name beside the function */
	char currency[AMOUNT_CURRENCY_SIZE]; /* of its budgets; "": none */
	struct buf env;    /* "NAME=VALUE\0"… */
};

void settings_free(struct settings *settings);

/*
 * Sets one key from its text.  scope: one SCOPE_ bit.  0; -ENOENT: no such
 * key; -EPERM: not in this section; -EINVAL: a bad value.  On an error
 * problem[0..size) gets a sentence that says what would be right
 * ("memory: \"12X\" is not a size; write 128M, 1G or a number of bytes").
 */
int settings_set(struct settings *settings, unsigned scope, const char *key,
    const char *value, char *problem, size_t size);

/* The built-in defaults of every limit (DESIGN's "Defaults"). */
void settings_defaults(struct limits *limits);

/* Overrides base by what the section sets. */
void settings_apply(struct limits *base, const struct settings *settings);

/*
 * Lowers what exceeds the ceiling (for a number whose 0 means "none", 0 exceeds
 * every ceiling but 0).  Returns how many were lowered, and writes their keys,
 * separated by spaces, into lowered[0..size).
 */
size_t settings_clamp(struct limits *limits, const struct limits *ceiling,
    char *lowered, size_t size);
/*
 * What another process claims for a function, brought to what the administrator's
 * file and a sidecar could have come to: no more than the ceiling, no less than
 * a file may say (0 is "none", and would be no limit at all), and the numbers
 * that are a tenant's as the ceiling has them.
 */
void settings_admit(struct limits *limits, const struct limits *ceiling);
/* What is never handed down from a tenant to his functions, budgets, becomes the
 * section's own (NULL, or not set there: none). */
void settings_own(struct limits *limits, const struct settings *own);
/* Of that the lesser of both. */
void settings_own_least(struct limits *limits, const struct limits *other);
/* Raises to whatever is more in other, in the same sense of "more". */
void settings_raise(struct limits *limits, const struct limits *other);

/* env.KEY = value, upper-cased and checked: appends "NAME=VALUE\0". */
int settings_set_env(struct buf *env, const char *key, const char *value,
    char *problem, size_t size);

/* All shared keys, for messages. */
const char *const *settings_keys(size_t *count);

#endif
