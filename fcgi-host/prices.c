#include <stdlib.h>
#include <string.h>

#include "fcgi-host/prices_impl.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct prices_kind prices_kinds[PRICES_ITEM_COUNT] = {
	[PRICES_EXECUTIONS] = { "million_executions", "free_executions",
	    "executions", "million executions", 1, 1000000, 0 },
	[PRICES_GIB_SECONDS] = { "gib_second", "free_gib_seconds",
	    "GiB-seconds", "GiB-second", 1024000, 1, 3 },
	[PRICES_CPU_SECONDS] = { "cpu_second", "free_cpu_seconds",
	    "CPU-seconds", "CPU-second", 1000000, 1, 6 },
	[PRICES_GB_OUT] = { "gb_out", "free_gb_out", "GB out", "GB out",
	    1000000000, 1, 9 },
	[PRICES_IDLE_GIB_SECONDS] = { "idle_gib_second",
	    "free_idle_gib_seconds", "idle GiB-seconds", "idle GiB-second",
	    1024000, 1, 3 },
};

static void
free_person(struct prices_person *person)
{
	free(person->name);
	free(person->address);
}

void
prices_free(struct prices *prices)
{
	size_t i, item;

	if (prices == NULL)
		return;
	for (i = 0; i < prices->count; i++)
		for (item = 0; item < PRICES_ITEM_COUNT; item++)
			free(prices->sections[i].lists[item]);
	for (i = 0; i < prices->customer_count; i++)
		free_person(&prices->customers[i]);
	free_person(&prices->issuer);
	free(prices->customers);
	free(prices->note);
	free(prices->sections);
	free(prices);
}

const char *
prices_currency(const struct prices *prices)
{
	return prices->currency;
}

unsigned
prices_decimals(const struct prices *prices)
{
	return prices->decimals;
}

static struct prices_party
party(const struct prices_person *person)
{
	return (struct prices_party){
		.name = person->name != NULL ? person->name : "",
		.address = person->address != NULL ? person->address : "" };
}

struct prices_party
prices_issuer(const struct prices *prices)
{
	return party(&prices->issuer);
}

struct prices_party
prices_customer(const struct prices *prices, const char *tenant)
{
	static const struct prices_person nobody;
	size_t i;

	for (i = 0; i < prices->customer_count; i++)
		if (strcmp(prices->customers[i].tenant, tenant) == 0)
			return party(&prices->customers[i]);
	return party(&nobody);
}

const char *
prices_note(const struct prices *prices)
{
	return prices->note != NULL ? prices->note : "";
}

typedef bool says(const struct prices_section *section, enum prices_item item);

static bool
says_price(const struct prices_section *section, enum prices_item item)
{
	return section->lists[item] != NULL;
}

static bool
says_free(const struct prices_section *section, enum prices_item item)
{
	return section->has_free[item];
}

static bool
says_minimum(const struct prices_section *section, enum prices_item item)
{
	(void)item;
	return section->has_minimum;
}

/* The latest section of exactly this tenant and runtime that says it on the
 * day, or NULL. */
static const struct prices_section *
latest(const struct prices *prices, const char *tenant, const char *runtime,
    int32_t day, says *says_it, enum prices_item item)
{
	size_t low = 0, high = prices->count;

	/* low: the number of sections that stand before (tenant, runtime,
	 * day + 1). */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct prices_section *at = &prices->sections[mid];
		int order = strcmp(at->tenant, tenant);

		if (order == 0)
			order = strcmp(at->runtime, runtime);
		if (order < 0 || (order == 0 &&
		    (!at->has_from || at->from <= day)))
			low = mid + 1;
		else
			high = mid;
	}
	for (; low > 0; low--) {
		const struct prices_section *at = &prices->sections[low - 1];

		if (strcmp(at->tenant, tenant) != 0 ||
		    strcmp(at->runtime, runtime) != 0)
			return NULL;
		if (says_it(at, item))
			return at;
	}
	return NULL;
}

static const struct prices_section *
find(const struct prices *prices, const char *tenant, const char *runtime,
    int32_t day, says *says_it, enum prices_item item)
{
	const char *tenants[] = { tenant, tenant, "", "" };
	const char *runtimes[] = { runtime, "", runtime, "" };
	size_t i;

	for (i = 0; i < COUNT(tenants); i++) {
		const struct prices_section *found = latest(prices, tenants[i],
		    runtimes[i], day, says_it, item);

		if (found != NULL)
			return found;
	}
	return NULL;
}

const struct prices_list *
prices_find(const struct prices *prices, const char *tenant,
    const char *runtime, int32_t day, enum prices_item item)
{
	const struct prices_section *found = find(prices, tenant, runtime, day,
	    says_price, item);

	return found != NULL ? found->lists[item] : NULL;
}

money_int
prices_free_tier(const struct prices *prices, const char *tenant, int32_t day,
    enum prices_item item)
{
	const struct prices_section *found = find(prices, tenant, "", day, says_free,
	    item);

	return found != NULL ? found->free_tier[item] : 0;
}

money_int
prices_minimum(const struct prices *prices, const char *tenant, int32_t day)
{
	const struct prices_section *found = find(prices, tenant, "", day,
	    says_minimum, PRICES_ITEM_COUNT);

	return found != NULL ? found->minimum : 0;
}
