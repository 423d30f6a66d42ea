/*
 * Empty network namespaces, one a function, kept for its next instances: to make
 * one costs as much as half of all the rest of a sandbox, and to take it apart
 * once more.  Its instances of today share it; another function never sees it.
 * What a program can leave in it ends with its processes: there is no right to
 * change an address, a route or a setting.  Spawner only.
 */
#ifndef FCGI_HOST_NETNS_H
#define FCGI_HOST_NETNS_H

#include <stddef.h>
#include <stdint.h>

#define NETNS_UNUSED_MAX 16 /* kept without an instance; about 220 KiB each */

struct netns;
struct netns_store;

struct netns_store *netns_store_new(void);
/* When no instance has one any more. */
void netns_store_free(struct netns_store *store);

/* The function's, made if there is none.  0; -ENOMEM or what the kernel says. */
int netns_take(struct netns_store *store, const char *function,
    struct netns **out);
/* Accepts NULL. */
void netns_drop(struct netns *netns);
/* Borrowed. */
int netns_fd(const struct netns *netns);
/* How many there are, for tests. */
size_t netns_count(const struct netns_store *store);

#endif
