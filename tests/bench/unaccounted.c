/*
 * What makes a gateway without accounting, for the benchmark of what accounting
 * costs: the gateway's own program is linked a second time with --wrap, so that
 * nothing is measured of an execution, no line of it is made, reserved for or
 * written, and its answer is complete at the end of the iteration, as otherwise.
 * Never installed: the build-time switch is the program that is started.
 */
#include <stddef.h>
#include <string.h>

#include "fcgi-host/backend.h"
#include "fcgi-host/ledger.h"
#include "sandbox/cgroup.h"

/* Names that --wrap wants. */
int __wrap_ledger_admit(struct ledger *ledger);
int __wrap_ledger_reserve(struct ledger *ledger);
int __wrap_ledger_probe(struct ledger *ledger);
void __wrap_ledger_release(struct ledger *ledger);
int __wrap_ledger_exec(struct ledger *ledger, struct record_exec *record,
    struct ledger_entry *entry);
int __wrap_ledger_instance(struct ledger *ledger,
    struct record_instance *record);
int __wrap_ledger_host(struct ledger *ledger, struct record_host *record);
void __wrap_ledger_flush(struct ledger *ledger);
int __wrap_cgroup_cpu_read(int fd, struct cgroup_cpu *cpu);
int __wrap_cgroup_number_read(int fd, uint64_t *number);
int __wrap_backend_measure(struct backend *backend);

static struct ledger_entry *first;
static struct ledger_entry **last = &first;

int
__wrap_ledger_admit(struct ledger *ledger)
{
	(void)ledger;
	return 0;
}

int
__wrap_ledger_reserve(struct ledger *ledger)
{
	(void)ledger;
	return 0;
}

int
__wrap_ledger_probe(struct ledger *ledger)
{
	(void)ledger;
	return 0;
}

void
__wrap_ledger_release(struct ledger *ledger)
{
	(void)ledger;
}

int
__wrap_ledger_exec(struct ledger *ledger, struct record_exec *record,
    struct ledger_entry *entry)
{
	(void)ledger;
	(void)record;
	entry->next = NULL;
	*last = entry;
	last = &entry->next;
	return 0;
}

int
__wrap_ledger_instance(struct ledger *ledger, struct record_instance *record)
{
	(void)ledger;
	(void)record;
	return 0;
}

int
__wrap_ledger_host(struct ledger *ledger, struct record_host *record)
{
	(void)ledger;
	(void)record;
	return 0;
}

void
__wrap_ledger_flush(struct ledger *ledger)
{
	struct ledger_entry *entry = first;

	(void)ledger;
	first = NULL;
	last = &first;
	while (entry != NULL) {
		struct ledger_entry *next = entry->next;

		entry->fn(entry->arg, 0);
		entry = next;
	}
}

int
__wrap_cgroup_cpu_read(int fd, struct cgroup_cpu *cpu)
{
	(void)fd;
	memset(cpu, 0, sizeof(*cpu));
	return 0;
}

int
__wrap_cgroup_number_read(int fd, uint64_t *number)
{
	(void)fd;
	*number = 0;
	return 0;
}

/* init is not asked what the program holds. */
int
__wrap_backend_measure(struct backend *backend)
{
	(void)backend;
	return -1;
}
