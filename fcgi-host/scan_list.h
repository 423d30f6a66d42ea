/*
 * Reading a hostile directory: bounded, without following a link, without
 * blocking on a fifo or waking a device.  Everything goes by descriptor and
 * openat2.  Runs in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_LIST_H
#define FCGI_HOST_SCAN_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Names read of one directory at most; the rest is reported as too many. */
#define SCAN_LIST_MAX 32768

/* Which file, and in which state: equal ids mean equal contents, unless the
 * file was changed within one tick of the clock (see scan_id_is_fresh). */
struct scan_id {
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
};

struct scan_item {
	char *name; /* as the directory has it: any byte but / and NUL */
	mode_t mode;
	uid_t uid;
	struct scan_id id;
	bool is_used; /* for the caller: a sidecar that has its function */
};

/* Sorted by name, without hidden ones. */
struct scan_list {
	struct scan_item *items;
	size_t count, size;
	bool is_cut; /* there were more than SCAN_LIST_MAX */
};

void scan_id_set(struct scan_id *id, const struct stat *st);
bool scan_id_same(const struct scan_id *a, const struct scan_id *b);
/* CLOCK_REALTIME, the clock of file times. */
int64_t scan_now_ns(void);

/*
 * Opens name beneath dir_fd for reading, never blocking: no link in it, no
 * way up.  flags are added (O_DIRECTORY, O_PATH …).  A descriptor or a
 * negative errno (-ELOOP for a link).
 */
int scan_open(int dir_fd, const char *name, int flags);

/* Reads the names and states in an open directory.  0 or a negative errno;
 * free *list also after an error. */
int scan_list_read(int dir_fd, struct scan_list *list);
/* The state of one name; its `name` is borrowed.  0 or a negative errno. */
int scan_item_read(int dir_fd, char *name, struct scan_item *item);
void scan_list_free(struct scan_list *list);
struct scan_item *scan_list_find(const struct scan_list *list,
    const char *name, size_t length);

/* 1 when a name in the directory makes it a function (scan_name_is_main), 0
 * when none does, or a negative errno. */
int scan_list_has_main(int dir_fd);

#endif
