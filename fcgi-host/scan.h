/*
 * The scanner's picture of the functions directory: a unit for each tenant,
 * looked at anew when something in it changed, and the difference reported.
 * Each unit rests after a look for four times as long as the look took, so
 * that a tenant who rewrites without end costs a fifth of a core and keeps
 * nobody from his own changes.  Knows descriptors and reports, no sockets.
 */
#ifndef FCGI_HOST_SCAN_H
#define FCGI_HOST_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/scan_watch.h"

/* Folders of the functions directory that are tenants, at most. */
#define SCAN_TENANTS_MAX 4096

struct scan_report {
	/* New or changed; env is the sidecar's. */
	void (*put)(void *arg, const struct ctl_function *info,
	    const struct buf *env);
	void (*del)(void *arg, const char *name);
	void *arg;
};

struct scan_setup {
	int root_fd;              /* borrowed: the functions directory */
	int users_fd;             /* borrowed: see scan_users.h */
	uid_t own_uid;            /* files of it are right too; 0: root only */
	/* In all, of all tenants; 0: CATALOG_MAX, and no bound. */
	size_t names_max, envs_max;
	struct scan_watch *watch; /* borrowed; NULL: no events, single looks */
	struct scan_report report;
};

struct scan;

/* NULL: no memory.  scan_free accepts NULL. */
struct scan *scan_new(const struct scan_setup *setup);
void scan_free(struct scan *scan);

/* A new generation of settings (a reference is taken): everything is read and
 * reported anew at the next scan_all.  False when a tenant's user is not to be
 * found: its functions are not served. */
bool scan_set_conf(struct scan *scan, struct conf *conf);

/*
 * Looks at everything and reports the differences.  Blocks; waits at most
 * 0.1 s for what was changed just before.  0, or a negative errno when the
 * functions directory cannot be read: then everything is reported gone, but
 * for a shortage: then nothing is, and the caller comes again.
 */
int scan_all(struct scan *scan);
/* Of descriptors or memory: an error that passes. */
bool scan_is_shortage(int err);

/* Takes the events that wait; 0 or a negative errno. */
int scan_take_events(struct scan *scan);
/* When the next look is due (loop_clock_us); UINT64_MAX: none is. */
uint64_t scan_due_us(struct scan *scan);
/* Looks at one unit that is due, and reports. */
void scan_step(struct scan *scan);

/* The functions directory was removed, moved or unmounted: everything has been
 * reported gone. */
bool scan_is_gone(const struct scan *scan);
/* … and a folder of its name stands in its place, which only a new scanner may
 * read. */
bool scan_is_back(const struct scan *scan);

#endif
