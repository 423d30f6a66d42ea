#include "fcgi-host/books/groups.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS_FIRST 256

struct groups {
	const struct keys *keys;
	struct group **buckets, **sorted;
	size_t bucket_count, count;
	/* Clients choose what is hashed (a method). */
	uint64_t seed;
	bool has_spreads;
	struct keys_hour hour;
	uint8_t *packed; /* of the record that is being added */
	size_t packed_size;
};

struct groups *
groups_new(const struct keys *keys)
{
	struct groups *groups = calloc(1, sizeof(*groups));

	if (groups == NULL)
		return NULL;
	groups->keys = keys;
	groups->bucket_count = BUCKETS_FIRST;
	groups->buckets = calloc(BUCKETS_FIRST, sizeof(*groups->buckets));
	groups->packed_size = KEYS_PACKED_MAX;
	groups->packed = malloc(KEYS_PACKED_MAX);
	if (groups->buckets == NULL || groups->packed == NULL) {
		groups_free(groups);
		return NULL;
	}
	if (getrandom(&groups->seed, sizeof(groups->seed), GRND_NONBLOCK) < 0)
		groups->seed = (uint64_t)(uintptr_t)groups;
	return groups;
}

void
groups_keep_spreads(struct groups *groups)
{
	groups->has_spreads = true;
}

static void
free_group(struct group *group)
{
	if (group->spreads != NULL) {
		spread_free(&group->spreads->run_us);
		spread_free(&group->spreads->start_us);
		free(group->spreads);
	}
	free(group);
}

void
groups_free(struct groups *groups)
{
	size_t i;

	if (groups == NULL)
		return;
	for (i = 0; groups->buckets != NULL && i < groups->bucket_count; i++) {
		struct group *group = groups->buckets[i], *next;

		for (; group != NULL; group = next) {
			next = group->next;
			free_group(group);
		}
	}
	free(groups->buckets);
	free(groups->sorted);
	free(groups->packed);
	free(groups);
}

static uint64_t
hash_of(uint64_t seed, const uint8_t *data, size_t n)
{
	uint64_t hash = seed ^ n, word;

	for (; n > 0; data += 8, n -= n < 8 ? n : 8) {
		word = 0;
		memcpy(&word, data, n < 8 ? n : 8);
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return hash;
}

/* Twice the buckets; without the memory for them the old ones do. */
static void
grow(struct groups *groups)
{
	size_t count = groups->bucket_count * 2, i;
	struct group **buckets = calloc(count, sizeof(*buckets));

	if (buckets == NULL)
		return;
	for (i = 0; i < groups->bucket_count; i++) {
		struct group *group = groups->buckets[i], *next;

		for (; group != NULL; group = next) {
			next = group->next;
			group->next = buckets[group->hash & (count - 1)];
			buckets[group->hash & (count - 1)] = group;
		}
	}
	free(groups->buckets);
	groups->buckets = buckets;
	groups->bucket_count = count;
}

/* Where the group with these values is, or is to be put: there NULL is. */
static struct group **
place_of(const struct groups *groups, const uint8_t *packed, size_t n,
    uint64_t *hash)
{
	struct group **place;

	*hash = hash_of(groups->seed, packed, n);
	place = &groups->buckets[*hash & (groups->bucket_count - 1)];
	while (*place != NULL && ((*place)->hash != *hash ||
	    (*place)->n != n || memcmp((*place)->packed, packed, n) != 0))
		place = &(*place)->next;
	return place;
}

static void
put(struct groups *groups, struct group **place, struct group *group)
{
	group->next = NULL;
	*place = group;
	if (++groups->count > groups->bucket_count)
		grow(groups);
}

const struct group *
groups_find(const struct groups *groups, const uint8_t *packed, size_t n)
{
	uint64_t hash;

	return *place_of(groups, packed, n, &hash);
}

/* The same, made if there is none; NULL: no memory. */
static struct group *
find(struct groups *groups, const uint8_t *packed, size_t n)
{
	uint64_t hash;
	struct group **place = place_of(groups, packed, n, &hash);
	struct group *group = *place;

	if (group != NULL)
		return group;
	group = calloc(1, sizeof(*group) + n);
	if (group == NULL)
		return NULL;
	group->hash = hash;
	group->n = n;
	if (n > 0)
		memcpy(group->packed, packed, n);
	put(groups, place, group);
	return group;
}

static void
add_outcome(struct sums *sums, const struct entry *entry)
{
	if (span_is(entry->outcome, "refused")) {
		sums->refused++;
		return;
	}
	if (span_is(entry->outcome, "lost")) {
		sums->lost++;
		return;
	}
	sums->usage.executions++;
	sums->cold += entry->is_cold;
	if (span_is(entry->outcome, "aborted"))
		sums->aborted++;
	else if (!span_is(entry->outcome, "ok"))
		sums->errors++;
}

/* What a lost one used is not charged: nobody knows when it ended. */
static void
add_exec(struct sums *sums, const struct entry *entry)
{
	add_outcome(sums, entry);
	sums->queue_us += entry->queue_us;
	sums->usage.cpu_us += entry->cpu_us;
	if (span_is(entry->outcome, "lost"))
		return;
	sums->init_us += entry->init_us;
	sums->run_us += entry->run_us;
	sums->billed_ms += entry->billed_ms;
	sums->usage.mib_ms += entry->mib_ms;
	sums->bytes_in += entry->bytes_in;
	sums->usage.bytes_out += entry->bytes_out;
	if (entry->mem_peak_kib > sums->mem_peak_kib)
		sums->mem_peak_kib = entry->mem_peak_kib;
}

static void
add_instance(struct sums *sums, const struct entry *entry)
{
	/* who lives on has another record */
	sums->instances += !span_is(entry->reason, "day");
	sums->idle_us += entry->idle_us;
	sums->usage.idle_mib_ms += entry->idle_mib_ms;
	sums->usage.cpu_us += (rate_sum)entry->start_cpu_us +
	    entry->idle_cpu_us;
}

/* The group of a record; NULL: no memory. */
static struct group *
group_of(struct groups *groups, const struct entry *entry)
{
	size_t n, wanted = keys_pack(groups->keys, entry, &groups->hour,
	    groups->packed, &n, groups->packed_size);
	uint8_t *grown;

	if (wanted > 0) {
		grown = realloc(groups->packed, wanted);
		if (grown == NULL)
			return NULL;
		groups->packed = grown;
		groups->packed_size = wanted;
		(void)keys_pack(groups->keys, entry, &groups->hour, grown, &n,
		    wanted);
	}
	return find(groups, groups->packed, n);
}

static void
add_entry(struct sums *sums, const struct entry *entry)
{
	if (entry->type == ENTRY_EXEC)
		add_exec(sums, entry);
	else
		add_instance(sums, entry);
}

static struct spreads *
spreads_of(struct group *group)
{
	if (group->spreads == NULL)
		group->spreads = calloc(1, sizeof(*group->spreads));
	return group->spreads;
}

/* What was refused did not run; of what was lost nobody knows how long. */
static int
change_spreads(struct groups *groups, struct group *group,
    const struct entry *entry, bool is_taken)
{
	struct spreads *spreads;
	int error = 0;

	if (!groups->has_spreads || entry->type != ENTRY_EXEC ||
	    span_is(entry->outcome, "refused") ||
	    span_is(entry->outcome, "lost"))
		return 0;
	spreads = spreads_of(group);
	if (spreads == NULL)
		return -ENOMEM;
	if (entry->is_cold)
		error = spread_change(&spreads->start_us, entry->init_us,
		    is_taken);
	return error != 0 ? error :
	    spread_change(&spreads->run_us, entry->run_us, is_taken);
}

static int
merge_spreads(struct group *to, const struct group *from)
{
	struct spreads *spreads;
	int error;

	if (from->spreads == NULL)
		return 0;
	spreads = spreads_of(to);
	if (spreads == NULL)
		return -ENOMEM;
	error = spread_merge(&spreads->run_us, &from->spreads->run_us);
	return error != 0 ? error :
	    spread_merge(&spreads->start_us, &from->spreads->start_us);
}

int
groups_add(struct groups *groups, const struct entry *entry)
{
	struct group *group;

	if (entry->type == ENTRY_HOST)
		return 0;
	group = group_of(groups, entry);
	if (group == NULL)
		return -ENOMEM;
	add_entry(&group->sums, entry);
	return change_spreads(groups, group, entry, false);
}

#define SUM(name) (to->name += is_taken ? -from->name : from->name)

static void
sums_change(struct sums *to, const struct sums *from, bool is_taken)
{
	SUM(usage.executions);
	SUM(usage.mib_ms);
	SUM(usage.cpu_us);
	SUM(usage.bytes_out);
	SUM(usage.idle_mib_ms);
	SUM(errors);
	SUM(aborted);
	SUM(refused);
	SUM(lost);
	SUM(cold);
	SUM(queue_us);
	SUM(init_us);
	SUM(run_us);
	SUM(billed_ms);
	SUM(bytes_in);
	SUM(instances);
	SUM(idle_us);
	if (from->mem_peak_kib > to->mem_peak_kib)
		to->mem_peak_kib = from->mem_peak_kib;
	to->cost += from->cost; /* rated_fold has looked that it fits */
}

int
groups_add_sums(struct groups *groups, const uint8_t *packed, size_t n,
    const struct sums *sums)
{
	struct group *group = find(groups, packed, n);

	if (group == NULL)
		return -ENOMEM;
	sums_change(&group->sums, sums, false);
	return 0;
}


int
groups_take(struct groups *groups, const struct entry *entry)
{
	struct sums one = { 0 };
	struct group *group;

	if (entry->type == ENTRY_HOST)
		return 0;
	group = group_of(groups, entry);
	if (group == NULL)
		return -ENOMEM;
	add_entry(&one, entry);
	sums_change(&group->sums, &one, true);
	return change_spreads(groups, group, entry, true);
}

/* Takes the group over, or what is in it; it is the other's no more. */
static int
take_over(struct groups *groups, struct group *from)
{
	struct group **place = place_of(groups, from->packed, from->n,
	    &from->hash), *to = *place;
	int error = 0;

	if (to == NULL) {
		put(groups, place, from);
		return 0;
	}
	sums_change(&to->sums, &from->sums, false);
	error = merge_spreads(to, from);
	free_group(from);
	return error;
}

int
groups_merge(struct groups *groups, struct groups *other)
{
	int error = 0;
	size_t i;

	for (i = 0; i < other->bucket_count; i++)
		while (error == 0 && other->buckets[i] != NULL) {
			struct group *from = other->buckets[i];

			other->buckets[i] = from->next;
			other->count--;
			error = take_over(groups, from);
		}
	return error;
}

void
groups_remove(struct groups *groups, const struct group *group)
{
	uint64_t hash;
	struct group **place = place_of(groups, group->packed, group->n,
	    &hash), *gone = *place;

	*place = gone->next;
	groups->count--;
	free_group(gone);
}

static int
compare(const void *a, const void *b, void *keys)
{
	struct group *const *x = a, *const *y = b;

	return keys_compare(keys, (*x)->packed, (*y)->packed);
}

struct group **
groups_sorted(struct groups *groups, size_t *count)
{
	struct keys keys = *groups->keys;
	struct group *group;
	size_t i, n = 0;

	free(groups->sorted);
	groups->sorted = calloc(groups->count + 1, sizeof(*groups->sorted));
	if (groups->sorted == NULL)
		return NULL;
	for (i = 0; i < groups->bucket_count; i++)
		for (group = groups->buckets[i]; group != NULL;
		    group = group->next)
			groups->sorted[n++] = group;
	qsort_r(groups->sorted, n, sizeof(*groups->sorted), compare, &keys);
	*count = n;
	return groups->sorted;
}

void
groups_total(const struct groups *groups, struct sums *total)
{
	const struct group *group;
	size_t i;

	memset(total, 0, sizeof(*total));
	for (i = 0; i < groups->bucket_count; i++)
		for (group = groups->buckets[i]; group != NULL;
		    group = group->next)
			sums_change(total, &group->sums, false);
}
