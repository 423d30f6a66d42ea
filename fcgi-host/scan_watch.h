/*
 * The directories that are watched, and which files in them are being written.
 * One inotify descriptor; the kernel's word about a half-written file is
 * IN_MODIFY, and that it is whole IN_CLOSE_WRITE.  Knows directories and names,
 * nothing of functions.  Runs in the confined scanner, where no path leads to a
 * directory: a watch is set on "." after fchdir.
 */
#ifndef FCGI_HOST_SCAN_WATCH_H
#define FCGI_HOST_SCAN_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Names that are marked as being written, of one directory at most.  A name
 * beyond is judged by its times alone. */
#define SCAN_WATCH_MARKS_MAX 512

enum scan_watch_kind {
	SCAN_WATCH_ROOT,   /* the functions directory itself */
	SCAN_WATCH_TENANT, /* a folder in it */
	SCAN_WATCH_PLAIN,  /* a deeper folder that holds functions */
	SCAN_WATCH_FOLDER  /* a function's own: main.* and index.* matter */
};

enum scan_watch_beside {
	SCAN_WATCH_CAME,    /* was made there, or moved there */
	SCAN_WATCH_LEFT,    /* was removed, or moved away */
	SCAN_WATCH_CHANGED  /* got another owner or mode */
};

/* What an event means to the caller; `unit` is the number that it gave the
 * directory. */
struct scan_watch_calls {
	void (*changed)(void *arg, uint32_t unit);
	/* A folder of the root came, went, or was changed. */
	void (*folder)(void *arg, const char *name);
	/* Events were lost: everything may have changed. */
	void (*lost)(void *arg);
	/* The functions directory was removed, moved or unmounted. */
	void (*root_gone)(void *arg);
	/* What befell a folder of that name in the parent of the functions
	 * directory. */
	void (*beside)(void *arg, const char *name,
	    enum scan_watch_beside what);
};

struct scan_watch;

/* NULL with errno when the kernel gives no inotify descriptor. */
struct scan_watch *scan_watch_new(void);
void scan_watch_free(struct scan_watch *watch);
int scan_watch_fd(const struct scan_watch *watch);

/* Watches for the return of the directory dir_fd, by the folder that it stands
 * in.  To be called before confinement (it goes up).  0 or negative errno. */
int scan_watch_parent(struct scan_watch *watch, int dir_fd);

/* False when nobody will tell of its return. */
bool scan_watch_has_parent(const struct scan_watch *watch);

/* True of an open directory that was removed.  The kernel tells of that by an
 * event of its own only when nobody holds the directory any more. */
bool scan_watch_is_removed(int dir_fd);

/* One directory that is watched; valid until the next call that is no query. */
struct scan_watched {
	int number;       /* of the watch; -1: could not be watched */
	int64_t since_ns; /* CLOCK_REALTIME */
	bool is_known;    /* scan_watch_know was called */
};

/*
 * Watches an open directory, or goes on watching it under a new unit and kind.
 * round is the unit's number of the current look.  Changes the working
 * directory.  When the kernel refuses, number is -1 (said once in the log):
 * then only a reload finds what changes in there.
 */
struct scan_watched scan_watch_add(struct scan_watch *watch, int dir_fd,
    uint32_t unit, enum scan_watch_kind kind, uint64_t round);
/* Remembers that what stands in the directory has been taken as it is. */
void scan_watch_know(struct scan_watch *watch, int number);
/* Ends the unit's watches that no look of this round asked for. */
void scan_watch_sweep(struct scan_watch *watch, uint32_t unit, uint64_t round);

/* True when the file was changed and not closed since. */
bool scan_watch_is_writing(const struct scan_watch *watch, int number,
    const char *name);
/* Takes everything that the kernel has.  0 or a negative errno. */
int scan_watch_drain(struct scan_watch *watch,
    const struct scan_watch_calls *calls, void *arg);

#endif
