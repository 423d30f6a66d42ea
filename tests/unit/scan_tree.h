/*
 * A functions directory for the scanner's unit tests, and what was reported of
 * it: real files in a fresh folder, the real scanner's rooms in this process.
 */
#ifndef TESTS_SCAN_TREE_H
#define TESTS_SCAN_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/scan.h"

#define SCAN_TREE_CONF \
	"[runtime sh]\nextensions = sh\nprotocol = cgi\ncommand = /bin/sh\n" \
	"[runtime python]\nextensions = py\nprotocol = cgi\n" \
	"command = /usr/bin/python3\n" \
	"[runtime php]\nextensions = php\nprotocol = fastcgi\n" \
	"command = /usr/bin/php-cgi\n"

struct scan_tree_entry {
	struct ctl_function info;
	char env[256];
	size_t env_length;
	unsigned puts;
};

struct scan_tree {
	char parent[64]; /* of the functions directory */
	char root[80];
	int root_fd;
	int users_fd;
	struct scan_watch *watch; /* NULL: no events */
	struct scan *scan;
	struct scan_tree_entry *entries;
	size_t count, size;
	unsigned puts, dels;
};

/* For cmocka: one with SCAN_TREE_CONF that nobody watches, in the state. */
int scan_tree_set_up(void **state);
int scan_tree_tear_down(void **state);

/* Fresh and empty; conf stands beside [host].  Fails the test itself. */
void scan_tree_open(struct scan_tree *tree, const char *conf, bool is_watched);
/* The same, where so much is reported in all (see scan_setup). */
void scan_tree_open_bounded(struct scan_tree *tree, const char *conf,
    bool is_watched, size_t names_max, size_t envs_max);
/* Removes it all. */
void scan_tree_close(struct scan_tree *tree);
/* Sets another configuration. */
void scan_tree_set_conf(struct scan_tree *tree, const char *conf);

/* Everything below is relative to the functions directory. */
void scan_tree_mkdir(const struct scan_tree *tree, const char *path);
/* Writes a file with its folders, mode 0644, last changed long ago. */
void scan_tree_write(const struct scan_tree *tree, const char *path,
    const char *text);
/* The same, executable. */
void scan_tree_program(const struct scan_tree *tree, const char *path,
    const char *text);
void scan_tree_link(const struct scan_tree *tree, const char *target,
    const char *path);
/* The full path, in one of four static places. */
const char *scan_tree_path(const struct scan_tree *tree, const char *path);

/* Looks at everything. */
int scan_tree_scan(struct scan_tree *tree);
/* Serves events until the claim holds, or for_ms is over: then false. */
bool scan_tree_await(struct scan_tree *tree,
    bool (*claim)(struct scan_tree *tree, const char *name), const char *name,
    unsigned for_ms);

/* As reported and not taken back; NULL: never, or gone. */
struct scan_tree_entry *scan_tree_find(struct scan_tree *tree,
    const char *name);

/* Fails the test unless the name is reported with that problem and a sentence
 * that has the words; or as served, just so. */
void scan_tree_refused(struct scan_tree *tree, const char *name,
    enum ctl_problem problem, const char *words);
const struct ctl_function *scan_tree_served(struct scan_tree *tree,
    const char *name, const char *path, const char *tenant,
    const char *runtime, bool is_fastcgi);

/* Claims for scan_tree_await. */
bool scan_tree_is_served(struct scan_tree *tree, const char *name);
bool scan_tree_is_absent(struct scan_tree *tree, const char *name);
bool scan_tree_is_writing(struct scan_tree *tree, const char *name);
bool scan_tree_never(struct scan_tree *tree, const char *name);

#endif
