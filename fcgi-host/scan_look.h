/*
 * What the rooms of the scanner share: one look at one tenant, the folders on
 * the way down, a file in hand; and the checks of owner, mode and link.  Runs
 * in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_LOOK_H
#define FCGI_HOST_SCAN_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/scan_list.h"
#include "fcgi-host/scan_table.h"
#include "fcgi-host/scan_watch.h"

/* A file that was changed so short ago, before anybody watched, counts as
 * half-written; it is looked at again then. */
#define SCAN_SETTLE_NS 100000000LL

/* Bounds of one tenant, so that none takes the catalogue from the others. */
#define SCAN_SERVED_MAX 10000
#define SCAN_PROBLEMS_MAX 1000
#define SCAN_ITEMS_MAX 65536
#define SCAN_FOLDERS_MAX 8192

/* Whose files a look judges. */
struct scan_tenant {
	char name[CTL_TENANT_MAX + 1];
	char user[64]; /* as configured; "": none */
	uid_t uid;
	bool has_uid; /* else the spawner assigns one, unknown here */
	bool is_unusable; /* the user does not exist */
};

/* An open folder on the way down. */
struct scan_place {
	const struct scan_place *up; /* NULL: the functions directory */
	int fd;
	char prefix[CTL_NAME_MAX + 1]; /* "" for the functions directory */
	struct scan_id id;
	struct scan_watched watched;
	unsigned depth; /* segments of prefix */
};

/* One look at all of one tenant. */
struct scan_look {
	const struct conf *conf;
	const struct scan_tenant *tenant;
	struct scan_watch *watch; /* NULL: a single look, without events */
	int root_fd;
	uid_t own_uid; /* owner that is right too; 0: root only */
	uint32_t unit;
	uint64_t round;
	bool is_last; /* what is fresh still is judged now */
	bool is_unwatched; /* the kernel had no watch left for a folder of it */
	const struct scan_table *old; /* of the look before; NULL: read all */
	const struct scan_table *reported; /* of the look before, in any case */
	struct scan_table found;
	uint64_t hash_left;
	int64_t now_ns;
	int64_t again_ns; /* when to look again; 0: need not */
	size_t served, problems;
	size_t items_left, folders_left; /* what may still be read */
	size_t left_out;                 /* names over a bound, and the first */
	char first_left_out[CTL_NAME_MAX + 1];
	int error; /* -ENOMEM: what was found is not all */
};

/* One file of a function; item NULL: there is none. */
struct scan_file {
	const struct scan_place *place;
	const struct scan_item *item;
};

/* Asks for another look at that CLOCK_REALTIME, if none comes earlier. */
void scan_look_again(struct scan_look *look, int64_t when_ns);

/* Counts what a bound leaves out; scan_look_end reports how many. */
void scan_look_leave_out(struct scan_look *look, const char *name);
void scan_look_end(struct scan_look *look);

/* Adds an entry; its texts are made printable, and over a
 * bound it is left out.  NULL is no memory, noted. */
struct scan_entry *scan_look_entry(struct scan_look *look, const char *name);
void scan_look_add(struct scan_look *look, struct scan_entry *entry);
/* Adds an entry that is not served; a printf of the sentence. */
void scan_look_refuse(struct scan_look *look, const char *name,
    const char *path, enum ctl_problem problem, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* True when a file may belong to that user. */
bool scan_owner_ok(const struct scan_look *look, uid_t uid);
/* True when the tenant's user has the right, a bit as in a mode: r 4, x 1. */
bool scan_tenant_may(const struct scan_look *look,
    const struct scan_item *item, mode_t bit);

/* The folder that item is: CTL_PROBLEM_NONE, or why nothing in it is served,
 * with a sentence in detail.  is_function: writable by nobody else at all. */
enum ctl_problem scan_check_folder(const struct scan_look *look,
    const struct scan_item *item, const char *path, bool is_function,
    char detail[CTL_DETAIL_MAX + 1]);

/* Which kind of link it is, with a sentence in detail. */
enum ctl_problem scan_check_link(const struct scan_look *look,
    const struct scan_file *file, const char *path,
    char detail[CTL_DETAIL_MAX + 1]);

#endif
