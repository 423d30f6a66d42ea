/* What prices_read fills in and prices finds its answers in. */
#ifndef FCGI_HOST_PRICES_IMPL_H
#define FCGI_HOST_PRICES_IMPL_H

#include "fcgi-host/prices.h"

/* One [prices …]: whom and when it is for, and what it says. */
struct prices_section {
	char tenant[CTL_TENANT_MAX + 1];
	char runtime[CTL_RUNTIME_MAX + 1];
	bool has_from;
	int32_t from;
	unsigned line;
	struct prices_list *lists[PRICES_ITEM_COUNT]; /* NULL: not said */
	bool has_free[PRICES_ITEM_COUNT];
	money_int free_tier[PRICES_ITEM_COUNT];
	bool has_minimum;
	money_int minimum;
	unsigned minimum_line;
};

/* One [customer NAME], or the issuer; NULL: not said. */
struct prices_person {
	char tenant[CTL_TENANT_MAX + 1];
	unsigned line;
	char *name, *address;
};

struct prices {
	char currency[4];
	unsigned decimals;
	struct prices_section *sections; /* by tenant, runtime, date */
	size_t count;
	struct prices_person issuer, *customers; /* as they stand */
	size_t customer_count;
	char *note;
};

#endif
