/*
 * The functions that the gateway knows: name → function, kept as the scanner's
 * reports come through the spawner.  A function is immutable, but for what was
 * learnt of its program, and reference-counted; a new version is a new function
 * under the same name.
 */
#ifndef FCGI_HOST_CATALOG_H
#define FCGI_HOST_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/ctl_msg.h"

struct function {
	unsigned refs;
	struct ctl_function info; /* as reported; all strings terminated */
	struct buf env;           /* the sidecar's "NAME=VALUE\0"… */
	/* a request was lost on a kept connection: no more are kept */
	bool is_single_use;
};

struct catalog;
struct catalog *catalog_new(void);
void catalog_free(struct catalog *catalog);

/* Puts or replaces; env is copied (may be NULL with 0).  0, -ENOMEM, -ENOSPC
 * (over CATALOG_MAX). Returns 1 when nothing of it changed and the old stays. */
#define CATALOG_MAX 20000
int catalog_put(struct catalog *catalog, const struct ctl_function *info,
    const char *env, size_t env_length);
/* 0 or -ENOENT. */
int catalog_del(struct catalog *catalog, const char *name);
/* Borrowed; NULL: not known.  Finds what is not served too: look at
 * info.problem. */
struct function *catalog_find(const struct catalog *catalog, const char *name);
size_t catalog_count(const struct catalog *catalog);
void catalog_each(const struct catalog *catalog,
    void (*fn)(const struct function *function, void *arg), void *arg);

struct function *function_ref(struct function *function);
void function_unref(struct function *function);

#endif
