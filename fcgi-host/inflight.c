#include "fcgi-host/inflight.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fcgi-host/log.h"

#define INFLIGHT_MAGIC 0x66637437u /* changes with every change of a struct */

struct inflight_head {
	uint32_t magic;
	uint32_t slot_count, slot_size;
	uint32_t pad;
	uint64_t run_id; /* 0: no run has begun with it */
	uint64_t seq;
	uint64_t number;
	uint64_t alive_us;
	uint64_t charged_us;
	uint64_t seen_us; /* the clock that charged_us is of, when last seen */
	/* of the batch that is being written: its last seq, and charged_us and
	 * mac with it */
	uint64_t batch_seq, batch_charged_us;
	struct chain_mac mac, batch_mac;
	struct inflight_log log;
};

struct inflight {
	struct inflight_head *head;
	struct inflight_slot *slots;
	size_t size;
	uint32_t *free_places; /* a stack */
	uint32_t free_count;
};

/* The head's room is a slot's, which keeps the slots aligned. */
static void
table_lay_out(struct inflight *inflight, void *memory, size_t size)
{
	inflight->head = memory;
	inflight->slots = (struct inflight_slot *)memory + 1;
	inflight->size = size;
}

static void
table_make_new(struct inflight *inflight)
{
	memset(inflight->head, 0, inflight->size);
	inflight->head->magic = INFLIGHT_MAGIC;
	inflight->head->slot_size = sizeof(struct inflight_slot);
	inflight->head->slot_count = (uint32_t)(inflight->size /
	    sizeof(struct inflight_slot) - 1);
}

static bool
head_is_ours(const struct inflight *inflight)
{
	const struct inflight_head *head = inflight->head;

	return head->magic == INFLIGHT_MAGIC &&
	    head->slot_size == sizeof(struct inflight_slot) &&
	    head->slot_count == inflight->size /
	    sizeof(struct inflight_slot) - 1;
}

/* Whatever else stands there cannot be read as executions. */
static void
head_judge(struct inflight *inflight)
{
	if (head_is_ours(inflight))
		return;
	if (inflight->head->magic != 0)
		log_event(LOG_WARN, "inflight", "why=\"the table of "
		    "executions in flight is of another version, or damaged: "
		    "it is made new, and what it held gets no record\"");
	table_make_new(inflight);
}

/* What a record's text is made of, with its end: see request_admit.c and
 * ctl_name_ok. */
static bool
text_is_sane(const char *text, size_t size)
{
	for (size_t i = 0; i < size && text[i] != '\0'; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' ||
		    text[i] == '\\')
			return false;
	return memchr(text, '\0', size) != NULL;
}

static bool
record_is_sane(const struct record_exec *r)
{
	return (unsigned)r->start <= START_FRESH &&
	    (unsigned)r->cpu_source < SOURCE_COUNT &&
	    (unsigned)r->mem_source < SOURCE_COUNT &&
	    (unsigned)r->mem_start_source < SOURCE_COUNT &&
	    (unsigned)r->cause < CAUSE_COUNT &&
	    text_is_sane(r->request_id, sizeof(r->request_id)) &&
	    text_is_sane(r->method, sizeof(r->method)) &&
	    text_is_sane(r->tenant, sizeof(r->tenant)) &&
	    text_is_sane(r->function, sizeof(r->function)) &&
	    text_is_sane(r->version, sizeof(r->version)) &&
	    text_is_sane(r->runtime, sizeof(r->runtime));
}

/* Its writer may have died because it was compromised: what it cannot have
 * meant is forgotten, or all its successors would stumble over it. */
static void
slot_mend(struct inflight_slot *slot)
{
	if (!record_is_sane(&slot->record))
		slot->record = (struct record_exec){ .exit_code = -1,
			.number = slot->record.number,
			.time_us = slot->record.time_us };
}

static int
free_places_collect(struct inflight *inflight)
{
	uint32_t count = inflight->head->slot_count;

	inflight->free_places = calloc(count, sizeof(uint32_t));
	if (inflight->free_places == NULL)
		return -1;
	for (uint32_t i = count; i-- > 0;) {
		inflight->slots[i].place = i;
		if (inflight->slots[i].is_used == 0)
			inflight->free_places[inflight->free_count++] = i;
		else
			slot_mend(&inflight->slots[i]);
	}
	return 0;
}

struct inflight *
inflight_open(int fd)
{
	struct inflight *inflight;
	struct stat status;
	void *memory;

	if (fstat(fd, &status) < 0 ||
	    (size_t)status.st_size < 2 * sizeof(struct inflight_slot))
		return NULL;
	memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return NULL;
	inflight = calloc(1, sizeof(*inflight));
	if (inflight == NULL) {
		munmap(memory, (size_t)status.st_size);
		return NULL;
	}
	table_lay_out(inflight, memory, (size_t)status.st_size);
	head_judge(inflight);
	if (free_places_collect(inflight) < 0) {
		inflight_close(inflight);
		return NULL;
	}
	return inflight;
}

void
inflight_close(struct inflight *inflight)
{
	if (inflight == NULL)
		return;
	munmap(inflight->head, inflight->size);
	free(inflight->free_places);
	free(inflight);
}

struct inflight_slot *
inflight_take(struct inflight *inflight)
{
	struct inflight_slot *slot;
	uint32_t place;

	if (inflight->free_count == 0)
		return NULL;
	place = inflight->free_places[--inflight->free_count];
	slot = &inflight->slots[place];
	memset(slot, 0, sizeof(*slot));
	slot->place = place;
	slot->is_used = 1;
	return slot;
}

void
inflight_drop(struct inflight *inflight, struct inflight_slot *slot)
{
	if (slot == NULL || slot->is_used == 0)
		return;
	slot->is_used = 0;
	inflight->free_places[inflight->free_count++] = slot->place;
}

uint64_t
inflight_seq(const struct inflight *inflight)
{
	return inflight->head->seq;
}

void
inflight_set_seq(struct inflight *inflight, uint64_t seq)
{
	inflight->head->seq = seq;
}

/* The successor of a process that is killed here sees the stores before, and none
 * behind: the compiler must not move them, nor leave one out. */
static void
stores_settle(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/* charged_us and mac are of what the log had before the batch, so that at each
 * moment they and batch_* are right for a seq below and from batch_seq on. */
static void
batch_settle(struct inflight *inflight, uint64_t charged_us)
{
	struct chain_mac mac = *inflight_mac(inflight);

	inflight->head->charged_us = charged_us;
	inflight->head->mac = mac;
	stores_settle();
	inflight->head->batch_seq = 0;
	stores_settle();
}

void
inflight_set_batch(struct inflight *inflight, uint64_t seq,
    uint64_t charged_us, const struct chain_mac *mac)
{
	batch_settle(inflight, inflight_charged(inflight));
	inflight->head->batch_charged_us = charged_us;
	inflight->head->batch_mac = mac != NULL ? *mac :
	    (struct chain_mac){ { 0 } };
	stores_settle();
	inflight->head->batch_seq = seq;
	stores_settle();
}

uint64_t
inflight_batch_seq(const struct inflight *inflight)
{
	return inflight->head->batch_seq;
}

static bool
batch_is_written(const struct inflight_head *head)
{
	return head->batch_seq != 0 && head->seq >= head->batch_seq;
}

uint64_t
inflight_charged(const struct inflight *inflight)
{
	const struct inflight_head *head = inflight->head;

	return batch_is_written(head) ? head->batch_charged_us :
	    head->charged_us;
}

const struct chain_mac *
inflight_mac(const struct inflight *inflight)
{
	const struct inflight_head *head = inflight->head;

	return batch_is_written(head) ? &head->batch_mac : &head->mac;
}

void
inflight_set_seen(struct inflight *inflight, uint64_t used_us)
{
	inflight->head->seen_us = used_us;
}

uint64_t
inflight_seen(const struct inflight *inflight)
{
	return inflight->head->seen_us;
}

uint64_t
inflight_run(const struct inflight *inflight)
{
	return inflight->head->run_id;
}

void
inflight_set_alive(struct inflight *inflight, uint64_t now_us)
{
	inflight->head->alive_us = now_us;
}

/* run_id is set last: who dies before that leaves a table with which the same
 * can be done again. */
void
inflight_begin(struct inflight *inflight, uint64_t run_id,
    uint64_t charged_us, const struct inflight_log *log)
{
	struct inflight_head *head = inflight->head;

	for (uint32_t i = 0; i < head->slot_count; i++) {
		struct inflight_slot *slot = &inflight->slots[i];

		if (slot->is_used == 0)
			continue;
		if (slot->record_seq != 0 && slot->record_seq <= head->seq) {
			inflight_drop(inflight, slot);
			continue;
		}
		slot->record_seq = 0;
		if (slot->ended_us == 0)
			slot->ended_us = head->alive_us;
	}
	stores_settle();
	head->seen_us = 0;
	stores_settle();
	batch_settle(inflight, charged_us);
	head->seq = head->number = 0;
	inflight_set_log(inflight, log);
	head->run_id = run_id;
	stores_settle();
}

/* Whoever dies in between leaves a place behind which there is nothing. */
void
inflight_set_log(struct inflight *inflight, const struct inflight_log *log)
{
	struct inflight_log *kept = &inflight->head->log;

	kept->from = UINT64_MAX;
	stores_settle();
	kept->dev = log->dev;
	kept->ino = log->ino;
	stores_settle();
	kept->from = log->from;
	stores_settle();
}

struct inflight_log
inflight_log(const struct inflight *inflight)
{
	return inflight->head->log;
}

uint64_t
inflight_next_number(struct inflight *inflight)
{
	return ++inflight->head->number;
}

void
inflight_each(struct inflight *inflight,
    void (*fn)(struct inflight_slot *slot, void *arg), void *arg)
{
	for (uint32_t i = 0; i < inflight->head->slot_count; i++)
		if (inflight->slots[i].is_used != 0)
			fn(&inflight->slots[i], arg);
}
