#include "fcgi-host/netns.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/sock.h"
#include "sandbox/plan.h"

struct netns {
	TAILQ_ENTRY(netns) in_unused;
	struct netns_store *store;
	char function[CTL_NAME_MAX + 1];
	int fd;
	size_t users;
};

struct netns_store {
	void *by_name; /* tsearch(3) */
	size_t count, unused_count;
	TAILQ_HEAD(netns_list, netns) unused; /* the one used last first */
};

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct netns *)a)->function,
	    ((const struct netns *)b)->function);
}

struct netns_store *
netns_store_new(void)
{
	struct netns_store *store = calloc(1, sizeof(*store));

	if (store != NULL)
		TAILQ_INIT(&store->unused);
	return store;
}

static void
unused_remove(struct netns *netns)
{
	TAILQ_REMOVE(&netns->store->unused, netns, in_unused);
	netns->store->unused_count--;
}

static void
netns_free(struct netns *netns)
{
	netns->store->count--;
	tdelete(netns, &netns->store->by_name, compare);
	close_fd(&netns->fd);
	free(netns);
}

static void
unused_shrink(struct netns_store *store, size_t most)
{
	while (store->unused_count > most) {
		struct netns *last = TAILQ_LAST(&store->unused, netns_list);

		unused_remove(last);
		netns_free(last);
	}
}

void
netns_store_free(struct netns_store *store)
{
	if (store == NULL)
		return;
	unused_shrink(store, 0);
	free(store);
}

static int
netns_new(struct netns_store *store, const struct netns *key, struct netns **out)
{
	struct netns *netns = calloc(1, sizeof(*netns));

	if (netns == NULL)
		return -ENOMEM;
	netns->store = store;
	memcpy(netns->function, key->function, sizeof(netns->function));
	netns->fd = sandbox_netns_new();
	if (netns->fd < 0) {
		int error = netns->fd;

		free(netns);
		return error;
	}
	if (tsearch(netns, &store->by_name, compare) == NULL) {
		close_fd(&netns->fd);
		free(netns);
		return -ENOMEM;
	}
	store->count++;
	*out = netns;
	return 0;
}

int
netns_take(struct netns_store *store, const char *function,
    struct netns **out)
{
	struct netns key;
	void **found;
	int error = 0;

	strncpy(key.function, function, sizeof(key.function) - 1);
	key.function[sizeof(key.function) - 1] = '\0';
	found = tfind(&key, &store->by_name, compare);
	if (found == NULL)
		error = netns_new(store, &key, out);
	else
		*out = *found;
	if (error == 0 && (*out)->users++ == 0 && found != NULL)
		unused_remove(*out);
	return error;
}

void
netns_drop(struct netns *netns)
{
	if (netns == NULL || --netns->users > 0)
		return;
	TAILQ_INSERT_HEAD(&netns->store->unused, netns, in_unused);
	netns->store->unused_count++;
	unused_shrink(netns->store, NETNS_UNUSED_MAX);
}

int
netns_fd(const struct netns *netns)
{
	return netns->fd;
}

size_t
netns_count(const struct netns_store *store)
{
	return store->count;
}
