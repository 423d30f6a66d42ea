/* Spares that the configuration asks for and that can never be, or that take too
 * much of the machine. */
#include <inttypes.h>
#include <stdbool.h>
#include <unistd.h>

#include "fcgi-host/cmd_check.h"

/* What the smallest of them holds (docs/RUNTIMES.md, Tiers). */
#define SPARE_MIB_LEAST 5
/* More than this part of the memory stands booted for nobody. */
#define MEMORY_PART 8

static bool
is_allowed(const struct conf *conf)
{
	char tenant[CTL_NAME_MAX + 1];
	struct limits limits;
	size_t i;

	/* of a tenant without a section */
	conf_tenant_limits(conf, "", &limits);
	if (limits.value[LIMIT_SPARE] != 0)
		return true;
	for (i = 0; i < conf->tenant_count; i++) {
		conf_tenant_limits(conf, conf->tenants[i].name, &limits);
		if (limits.value[LIMIT_SPARE] != 0)
			return true;
	}
	for (i = 0; i < conf->function_count; i++) {
		const char *name = conf->functions_sections[i].name;

		conf_tenant_of(name, tenant);
		conf_limits(conf, tenant, name, NULL, &limits, NULL, 0);
		if (limits.value[LIMIT_SPARE] != 0)
			return true;
	}
	return false;
}

static uint64_t
machine_mib(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);

	return pages <= 0 || bytes <= 0 ? UINT64_MAX :
	    (uint64_t)pages / 1024 * (uint64_t)bytes / 1024;
}

void
check_spares(const struct conf *conf, struct findings *findings)
{
	uint64_t count = 0, mib;

	for (size_t i = 0; i < conf->runtime_count; i++)
		count += conf->runtimes[i].spare;
	if (count == 0)
		return;
	if (count > conf->max_prepared)
		findings_add(findings, FINDING_WARNING, "%" PRIu64 " spares "
		    "of all [runtime] sections together, but [host] "
		    "max_prepared = %" PRIu64 ", of which they are: %s", count,
		    conf->max_prepared, conf->max_prepared == 0 ?
		    "there are none; raise it, or take spare out" :
		    "no more than that are there; raise it, or lower spare");
	if (!is_allowed(conf))
		findings_add(findings, FINDING_WARNING, "[runtime] has spare, "
		    "but no function may have one: spare = no holds for all; "
		    "take it out of [defaults], or write spare = yes in "
		    "[tenant] or [function]");
	if (count > conf->max_prepared)
		count = conf->max_prepared;
	mib = machine_mib();
	if (count * SPARE_MIB_LEAST > mib / MEMORY_PART)
		findings_add(findings, FINDING_WARNING, "%" PRIu64 " spares "
		    "hold %" PRIu64 " MiB at least, and those of some "
		    "languages four times as much, of the machine's %" PRIu64
		    " MiB; lower spare", count, count * SPARE_MIB_LEAST, mib);
}
