#include "fcgi-host/check_queue.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "fcgi-host/ctl_msg.h"

#define SWEEP_FIRST 64

struct tenant {
	TAILQ_ENTRY(tenant) in;
	char name[CTL_TENANT_MAX + 1];
	size_t due; /* of his functions */
	bool is_running;
	uint64_t rest_us; /* until then */
};

struct due {
	TAILQ_ENTRY(due) in;
	char name[CTL_NAME_MAX + 1];
	struct tenant *tenant;
	enum check_urgency urgency;
	uint64_t from_us; /* not before */
	uint64_t settled_us; /* nor, unless somebody waits */
	uint64_t long_us; /* when it runs, it need not give way before */
};

struct running {
	struct tenant *tenant; /* NULL: a free place */
	char name[CTL_NAME_MAX + 1];
	uint64_t begun_us, long_us;
};

struct check_queue {
	TAILQ_HEAD(, due) entries; /* as they came */
	TAILQ_HEAD(, tenant) tenants;
	void *by_name, *by_tenant; /* tsearch(3) */
	size_t count, tenant_count, sweep_at;
	struct running running[CHECK_QUEUE_RUNNING_MAX];
	uint64_t rest_us; /* of what was found at the start */
};

struct check_queue *
check_queue_new(void)
{
	struct check_queue *queue = calloc(1, sizeof(*queue));

	if (queue == NULL)
		return NULL;
	TAILQ_INIT(&queue->entries);
	TAILQ_INIT(&queue->tenants);
	queue->sweep_at = SWEEP_FIRST;
	return queue;
}

static int
entry_compare(const void *a, const void *b)
{
	return strcmp(((const struct due *)a)->name,
	    ((const struct due *)b)->name);
}

static int
tenant_compare(const void *a, const void *b)
{
	return strcmp(((const struct tenant *)a)->name,
	    ((const struct tenant *)b)->name);
}

static void
entry_free(struct check_queue *queue, struct due *entry)
{
	entry->tenant->due--;
	queue->count--;
	TAILQ_REMOVE(&queue->entries, entry, in);
	tdelete(entry, &queue->by_name, entry_compare);
	free(entry);
}

static void
tenant_free(struct check_queue *queue, struct tenant *tenant)
{
	queue->tenant_count--;
	TAILQ_REMOVE(&queue->tenants, tenant, in);
	tdelete(tenant, &queue->by_tenant, tenant_compare);
	free(tenant);
}

void
check_queue_free(struct check_queue *queue)
{
	if (queue == NULL)
		return;
	while (!TAILQ_EMPTY(&queue->entries))
		entry_free(queue, TAILQ_FIRST(&queue->entries));
	while (!TAILQ_EMPTY(&queue->tenants))
		tenant_free(queue, TAILQ_FIRST(&queue->tenants));
	free(queue);
}

/* ------------------------------------------------------------------- in, out */

/* Those of whom nothing is left to remember; now and then. */
static void
sweep(struct check_queue *queue, uint64_t now_us)
{
	struct tenant *tenant, *next;

	if (queue->tenant_count < queue->sweep_at)
		return;
	for (tenant = TAILQ_FIRST(&queue->tenants); tenant != NULL;
	    tenant = next) {
		next = TAILQ_NEXT(tenant, in);
		if (tenant->due == 0 && !tenant->is_running &&
		    tenant->rest_us <= now_us)
			tenant_free(queue, tenant);
	}
	queue->sweep_at = 2 * queue->tenant_count + SWEEP_FIRST;
}

static struct tenant *
tenant_get(struct check_queue *queue, const char *name, uint64_t now_us)
{
	struct tenant *tenant, **found;

	sweep(queue, now_us);
	tenant = calloc(1, sizeof(*tenant));
	if (tenant == NULL)
		return NULL;
	strncpy(tenant->name, name, sizeof(tenant->name) - 1);
	found = tsearch(tenant, &queue->by_tenant, tenant_compare);
	if (found == NULL || *found != tenant) {
		free(tenant);
		return found == NULL ? NULL : *found;
	}
	TAILQ_INSERT_TAIL(&queue->tenants, tenant, in);
	queue->tenant_count++;
	return tenant;
}

static struct due *
find(const struct check_queue *queue, const char *name)
{
	struct due key, **found;

	strncpy(key.name, name, sizeof(key.name) - 1);
	key.name[sizeof(key.name) - 1] = '\0';
	found = tfind(&key, &queue->by_name, entry_compare);
	return found == NULL ? NULL : *found;
}

static struct due *
entry_new(struct check_queue *queue, const char *name, const char *tenant,
    uint64_t now_us)
{
	struct due *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return NULL;
	strncpy(entry->name, name, sizeof(entry->name) - 1);
	entry->tenant = tenant_get(queue, tenant, now_us);
	if (entry->tenant == NULL ||
	    tsearch(entry, &queue->by_name, entry_compare) == NULL) {
		free(entry);
		return NULL;
	}
	entry->long_us = CHECK_QUEUE_LONG_US;
	entry->tenant->due++;
	queue->count++;
	TAILQ_INSERT_TAIL(&queue->entries, entry, in);
	return entry;
}

static struct due *
put(struct check_queue *queue, const char *name, const char *tenant,
    enum check_urgency urgency, uint64_t now_us)
{
	struct due *entry = find(queue, name);

	if (entry == NULL)
		entry = entry_new(queue, name, tenant, now_us);
	if (entry != NULL && urgency > entry->urgency)
		entry->urgency = urgency;
	return entry;
}

int
check_queue_put(struct check_queue *queue, const char *name,
    const char *tenant, enum check_urgency urgency, uint64_t now_us)
{
	struct due *entry = put(queue, name, tenant, urgency, now_us);

	if (entry == NULL)
		return -ENOMEM;
	if (urgency == CHECK_CHANGED)
		entry->settled_us = now_us + CHECK_QUEUE_CHANGE_US;
	return 0;
}

static struct running *
running_of(struct check_queue *queue, const char *name)
{
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++)
		if (queue->running[i].tenant != NULL &&
		    strcmp(queue->running[i].name, name) == 0)
			return &queue->running[i];
	return NULL;
}

static bool
is_long(const struct running *running, uint64_t now_us)
{
	return now_us >= running->begun_us + running->long_us;
}

int
check_queue_again(struct check_queue *queue, const char *name,
    const char *tenant, enum check_urgency urgency, uint64_t now_us)
{
	const struct running *running = running_of(queue, name);
	struct due *entry = put(queue, name, tenant, urgency, now_us);

	if (entry == NULL)
		return -ENOMEM;
	if (running != NULL && is_long(running, now_us))
		entry->long_us = 2 * running->long_us;
	entry->from_us = now_us + (urgency == CHECK_WAITED ?
	    CHECK_QUEUE_CHANGE_US : CHECK_QUEUE_AGAIN_US);
	return 0;
}

void
check_queue_del(struct check_queue *queue, const char *name)
{
	struct due *entry = find(queue, name);

	if (entry != NULL)
		entry_free(queue, entry);
}

void
check_queue_list(struct check_queue *queue)
{
	struct due *entry;

	TAILQ_FOREACH(entry, &queue->entries, in)
		if (entry->urgency < CHECK_LISTED)
			entry->urgency = CHECK_LISTED;
}

size_t
check_queue_count(const struct check_queue *queue)
{
	return queue->count;
}

/* ---------------------------------------------------------------- whose turn */

static size_t
running_count(const struct check_queue *queue)
{
	size_t count = 0;

	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++)
		count += queue->running[i].tenant != NULL;
	return count;
}

/* When it may begin, as far as time alone decides.  A request or a person does not
 * wait for a change to settle: the version is what is there now. */
static uint64_t
begin_us(const struct check_queue *queue, const struct due *entry)
{
	uint64_t at_us = entry->from_us;

	if (entry->urgency >= CHECK_LISTED)
		return at_us;
	if (at_us < entry->settled_us)
		at_us = entry->settled_us;
	if (at_us < entry->tenant->rest_us)
		at_us = entry->tenant->rest_us;
	if (entry->urgency == CHECK_FOUND && at_us < queue->rest_us)
		at_us = queue->rest_us;
	return at_us;
}

/* Of those that gave way one runs at a time, so that who takes less finds the other
 * place as soon as before. */
static bool
is_behind_long(const struct check_queue *queue, const struct due *entry)
{
	for (size_t i = 0; entry->long_us > CHECK_QUEUE_LONG_US &&
	    i < CHECK_QUEUE_RUNNING_MAX; i++)
		if (queue->running[i].tenant != NULL &&
		    queue->running[i].long_us > CHECK_QUEUE_LONG_US)
			return true;
	return false;
}

static bool
has_place(const struct check_queue *queue, const struct due *entry,
    bool is_calm)
{
	size_t count = running_count(queue);

	if (entry->tenant->is_running || is_behind_long(queue, entry))
		return false;
	return entry->urgency == CHECK_WAITED ?
	    count < CHECK_QUEUE_RUNNING_MAX : count == 0 && is_calm;
}

static bool
goes_before(const struct due *a, const struct due *b)
{
	if (a->urgency != b->urgency)
		return a->urgency > b->urgency;
	return a->tenant->rest_us < b->tenant->rest_us;
}

const char *
check_queue_pick(const struct check_queue *queue, uint64_t now_us,
    bool is_calm, bool (*may)(void *arg, const char *name), void *arg,
    enum check_urgency *urgency)
{
	const struct due *entry, *best = NULL;

	TAILQ_FOREACH(entry, &queue->entries, in) {
		if ((best != NULL && !goes_before(entry, best)) ||
		    !has_place(queue, entry, is_calm) ||
		    begin_us(queue, entry) > now_us || !may(arg, entry->name))
			continue;
		best = entry;
	}
	if (best == NULL)
		return NULL;
	*urgency = best->urgency;
	return best->name;
}

void
check_queue_begin(struct check_queue *queue, const char *name,
    uint64_t now_us)
{
	struct due *entry = find(queue, name);
	struct running *place = queue->running;

	while (place->tenant != NULL)
		place++;
	place->tenant = entry->tenant;
	place->tenant->is_running = true;
	memcpy(place->name, entry->name, sizeof(place->name));
	place->begun_us = now_us;
	place->long_us = entry->long_us;
	entry_free(queue, entry);
}

void
check_queue_over(struct check_queue *queue, const char *name,
    uint64_t now_us)
{
	struct running *place = running_of(queue, name);
	uint64_t rest_us = CHECK_QUEUE_REST * (now_us - place->begun_us);

	if (rest_us > CHECK_QUEUE_REST_MAX_US)
		rest_us = CHECK_QUEUE_REST_MAX_US;
	queue->rest_us = place->tenant->rest_us = now_us + rest_us;
	place->tenant->is_running = false;
	place->tenant = NULL;
}

/* A request of a tenant of whom none runs, and that could begin if there were a
 * place. */
static bool
is_somebody_kept(const struct check_queue *queue, uint64_t now_us,
    bool (*may)(void *arg, const char *name), void *arg)
{
	const struct due *entry;

	TAILQ_FOREACH(entry, &queue->entries, in)
		if (entry->urgency == CHECK_WAITED &&
		    !entry->tenant->is_running && entry->from_us <= now_us &&
		    !is_behind_long(queue, entry) && may(arg, entry->name))
			return true;
	return false;
}

/* The longest of those that are long; NULL: none is. */
static const struct running *
longest(const struct check_queue *queue, uint64_t now_us)
{
	const struct running *found = NULL;

	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++) {
		const struct running *one = &queue->running[i];

		if (is_long(one, now_us) && (found == NULL ||
		    one->begun_us < found->begun_us))
			found = one;
	}
	return found;
}

const char *
check_queue_victim(const struct check_queue *queue, uint64_t now_us,
    bool (*may)(void *arg, const char *name), void *arg)
{
	const struct running *victim;

	if (running_count(queue) < CHECK_QUEUE_RUNNING_MAX)
		return NULL;
	victim = longest(queue, now_us);
	return victim == NULL || !is_somebody_kept(queue, now_us, may, arg) ?
	    NULL : victim->name;
}

/* What is due and waits for a place, or for calm, waits for an event; but what
 * lacks room is not told when there is some. */
uint64_t
check_queue_wake_us(const struct check_queue *queue, uint64_t now_us)
{
	const struct due *entry;
	uint64_t first_us = 0, at_us;

	TAILQ_FOREACH(entry, &queue->entries, in) {
		at_us = begin_us(queue, entry);
		if (at_us <= now_us)
			at_us = now_us + CHECK_QUEUE_CHANGE_US;
		if (first_us == 0 || at_us < first_us)
			first_us = at_us;
	}
	return first_us;
}
