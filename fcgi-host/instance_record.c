/* What an instance leaves in the accounting log. */
#include <string.h>
#include <sys/wait.h>

#include "fcgi-host/instance.h"

static enum record_source
cpu_source(const struct instance *instance)
{
	bool has_clock = instance->state == INSTANCE_GONE ?
	    instance->gone.has_cgroup : instance->cpu_fd >= 0;

	return has_clock ? SOURCE_CGROUP : SOURCE_PROCESS;
}

uint64_t
instance_cpu_open(const struct instance *instance)
{
	uint64_t recorded_us = instance->exec_cpu_us;
	struct cgroup_cpu now = instance->cpu_mark;

	recorded_us += instance->told.start_cpu_us +
	    instance->told.idle_cpu_us;
	if (instance->user != NULL)
		recorded_us -= instance->last_cpu.usage_us;
	if (instance->cpu_fd >= 0)
		(void)cgroup_cpu_read(instance->cpu_fd, &now);
	return now.usage_us > recorded_us ? now.usage_us - recorded_us : 0;
}

void
instance_waited(struct instance *instance, uint64_t until_us)
{
	uint64_t from_us = instance->idle_since_us > instance->told.at_us ?
	    instance->idle_since_us : instance->told.at_us;

	if ((instance->served > 0 || instance->is_kept) && until_us > from_us)
		instance->idle_us += until_us - from_us;
}

/* All that is to be told of it up to then. */
static struct instance_told
all_of(const struct instance *instance, uint64_t at_us)
{
	/* what runs stands in its own record, and may turn out to be none of
	 * this instance's: instance_untake */
	bool is_busy = instance->state == INSTANCE_BUSY;

	return (struct instance_told){ .at_us = at_us,
		.executions = instance->served - is_busy,
		.lifetime_us = at_us - instance->asked_us,
		.start_us = instance->start_us,
		.idle_us = instance->idle_us,
		.start_cpu_us = instance->start_cpu_us,
		.exec_cpu_us = instance->exec_cpu_us -
		    (is_busy ? instance->last_cpu.usage_us : 0),
		.idle_cpu_us = instance->idle_cpu_us };
}

static struct record_instance
record_of(const struct instance *instance, const struct instance_told *all)
{
	const struct ctl_function *info = &instance->function->info;
	const struct instance_told *told = &instance->told;
	struct record_instance record = {
		.number = instance->id,
		.executions = all->executions - told->executions,
		.lifetime_us = all->lifetime_us - told->lifetime_us,
		.start_us = all->start_us - told->start_us,
		.idle_us = all->idle_us - told->idle_us,
		.start_cpu_us = all->start_cpu_us - told->start_cpu_us,
		.exec_cpu_us = all->exec_cpu_us - told->exec_cpu_us,
		.idle_cpu_us = all->idle_cpu_us - told->idle_cpu_us,
		.cpu_source = cpu_source(instance),
		.mem_peak_kib = instance->gone.memory_peak_kib,
		.mem_limit_mib =
		    record_mib(info->limits.value[LIMIT_MEMORY_BYTES]),
		.exit_code = -1,
	};

	memcpy(record.tenant, info->tenant, sizeof(record.tenant));
	memcpy(record.function, info->name, sizeof(record.function));
	memcpy(record.version, info->version, sizeof(record.version));
	memcpy(record.runtime, info->runtime, sizeof(record.runtime));
	return record;
}

void
instance_record(struct instance *instance)
{
	struct instance_told all = all_of(instance,
	    loop_now_us(instance->fleet->loop));
	struct record_instance record = record_of(instance, &all);
	int status = instance->has_program_status ?
	    instance->program_status : instance->gone.wait_status;

	record.time_us = loop_clock_real_us();
	record.reason = instance->end_reason;
	if (WIFEXITED(status))
		record.exit_code = WEXITSTATUS(status);
	if (WIFSIGNALED(status))
		record.signal_number = WTERMSIG(status);
	if (ledger_instance(instance->fleet->ledger, &record) == 0)
		instance->is_admitted = false;
}

/* What has been counted of its waiting ends when it was taken, or when it began
 * to wait again: by then the loop may be later than at_us. */
static uint64_t
told_until(const struct instance *instance, uint64_t at_us)
{
	if (instance->state == INSTANCE_BUSY)
		at_us = instance->taken_us;
	else if (at_us < instance->idle_since_us)
		at_us = instance->idle_since_us;
	return at_us < instance->told.at_us ? instance->told.at_us : at_us;
}

void
instance_account(struct instance *instance, uint64_t at_us, uint64_t time_us)
{
	struct ledger *ledger = instance->fleet->ledger;
	struct record_instance record;
	struct instance_told all;

	if (instance->state != INSTANCE_IDLE &&
	    instance->state != INSTANCE_BUSY)
		return;
	at_us = told_until(instance, at_us);
	/* else it stands in the next one */
	if (ledger_reserve(ledger) < 0)
		return;
	if (instance->state == INSTANCE_IDLE) {
		(void)instance_cpu_charge(instance);
		instance_waited(instance, at_us);
	}
	all = all_of(instance, at_us);
	record = record_of(instance, &all);
	instance->told.at_us = at_us;
	record.time_us = time_us;
	record.reason = "day";
	if ((record.idle_us == 0 && record.start_cpu_us == 0 &&
	    record.idle_cpu_us == 0) || ledger_instance(ledger, &record) != 0)
		ledger_release(ledger);
	else
		instance->told = all;
}
