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
	/* as reported; all strings terminated.  With is_otherwise runtime and
	 * protocol are those that a check has found instead. */
	struct ctl_function info;
	char reported_runtime[CTL_RUNTIME_MAX + 1];
	bool is_reported_fastcgi;
	/* what its runtime's `check` found of this version */
	enum ctl_check check;
	char *check_text; /* NULL: nothing to say; hostile, printable */
	/* that it lacked something (memory, time): by this another try may go
	 * well; 0: none would */
	uint64_t check_again_us;
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
/* The same function, served by another runtime than was reported, or (NULL) by
 * that again; what was learnt of it stays.  0; -ENOENT: another one has the name
 * by now; -ENOMEM. */
int catalog_serve_by(struct catalog *catalog, const struct function *function,
    const char *runtime, bool is_fastcgi);
/* 0 or -ENOENT. */
int catalog_del(struct catalog *catalog, const char *name);
/* Borrowed; NULL: not known.  Finds what is not served too: look at
 * info.problem. */
struct function *catalog_find(const struct catalog *catalog, const char *name);
size_t catalog_count(const struct catalog *catalog);
void catalog_each(const struct catalog *catalog,
    void (*fn)(const struct function *function, void *arg), void *arg);

/* Notes what was found; text: printable, "" for none, CTL_CHECK_TEXT_MAX at most
 * are kept.  0 or -ENOMEM: nothing is said of it. */
int function_set_check(struct function *function, enum ctl_check state,
    const char *text);

struct function *function_ref(struct function *function);
void function_unref(struct function *function);

#endif
