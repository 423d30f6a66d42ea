/* What is known of an instance's memory: its peak, what it holds, kills. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/instance.h"

#define START_AGE_US 50000

bool
instance_peak_read(struct instance *instance, uint64_t *kib)
{
	uint64_t bytes;

	if (!instance->is_peak_resettable ||
	    cgroup_number_read(instance->peak_fd, &bytes) < 0)
		return false;
	*kib = bytes / 1024;
	return true;
}

/* "SIZE RESIDENT …" in pages. */
static uint64_t
statm_kib(int fd)
{
	char text[128];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	const char *blank;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	blank = strchr(text, ' ');
	return blank == NULL ? 0 : strtoull(blank, NULL, 10) *
	    (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

uint64_t
instance_memory_kib(const struct instance *instance)
{
	uint64_t number;

	if (instance->memory_fd < 0)
		return 0;
	if (!instance->is_memory_of_init)
		return cgroup_number_read(instance->memory_fd, &number) == 0 ?
		    (number + 1023) / 1024 : 0;
	if (instance->served > 0 || instance->is_program_running)
		return 0;
	return statm_kib(instance->memory_fd);
}

void
instance_look(struct instance *instance)
{
	instance->share_kib = instance->resident_kib = 0;
	if (instance->is_look_due || instance->is_frozen ||
	    (instance->memory_fd >= 0 && !instance->is_memory_of_init) ||
	    (instance->state != INSTANCE_IDLE &&
	    instance->state != INSTANCE_BUSY))
		return;
	instance->is_look_due =
	    instance_order(instance, INIT_LOOK, NULL, NULL, 0) == 0;
	instance->fleet->looks_due += instance->is_look_due;
}

void
instance_look_end(struct instance *instance)
{
	instance->fleet->looks_due -= instance->is_look_due;
	instance->is_look_due = false;
}

int
instance_looked(struct instance *instance, const struct init_report *report)
{
	if (!instance->is_look_due)
		return -EPROTO;
	instance_look_end(instance);
	instance->share_kib = report->memory_kib;
	instance->resident_kib = report->memory_now_kib;
	return 0;
}

uint64_t
instance_memory_held(const struct instance *instance,
    enum ctl_memory_source *source)
{
	uint64_t kib = instance->share_kib;

	*source = CTL_MEMORY_PSS;
	if (kib == 0) {
		*source = CTL_MEMORY_RSS;
		kib = instance->resident_kib;
	}
	if (kib == 0) {
		/* init has not answered: that of itself is all there is */
		*source = instance->is_memory_of_init ? CTL_MEMORY_RSS :
		    CTL_MEMORY_CGROUP;
		kib = instance_memory_kib(instance);
	}
	if (kib == 0)
		*source = CTL_MEMORY_UNKNOWN;
	return kib;
}

/* A warm execution costs no reading where another has just paid for one. */
static void
leaf_look(struct instance *instance)
{
	uint64_t now_us = loop_now_us(instance->fleet->loop);

	if (instance->start_memory_us != 0 &&
	    now_us < instance->start_memory_us + START_AGE_US)
		return;
	instance->start_memory_us = now_us;
	instance->start_memory_kib = instance_memory_kib(instance);
}

enum record_source
instance_memory_start(struct instance *instance, uint64_t *kib)
{
	bool is_leaf = instance->memory_fd >= 0 && !instance->is_memory_of_init;
	bool is_alone = !instance->is_program_running && (instance->served == 0 ||
	    !instance->function->info.is_fastcgi);

	if (is_leaf)
		leaf_look(instance);
	else if (is_alone && instance->served == 0)
		instance->start_memory_kib = instance_memory_kib(instance);
	*kib = is_leaf || is_alone ? instance->start_memory_kib :
	    instance->left_memory_kib;
	if (*kib == 0)
		return SOURCE_NONE;
	return is_leaf ? SOURCE_CGROUP : SOURCE_PROCESS;
}

static uint64_t
oom_count(const struct instance *instance)
{
	uint64_t count = 0;

	if (instance->events_fd >= 0)
		cgroup_key_read(instance->events_fd, "oom_kill", &count);
	return count;
}

bool
instance_had_oom(struct instance *instance)
{
	uint64_t mark = instance->oom_mark;

	instance->oom_mark = instance->state == INSTANCE_GONE ?
	    instance->gone.oom_kills : oom_count(instance);
	return instance->oom_mark > mark;
}
