/*
 * The price book: a currency and what a unit of use costs, by tenant, runtime
 * and day, as fcgi-host-prices(5) has it.  Reading it tells every mistake with
 * its line; finding a price allocates nothing, so that budgets can ask for each
 * execution.  The file is the administrator's.
 */
#ifndef FCGI_HOST_PRICES_H
#define FCGI_HOST_PRICES_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/conf_scan.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/money.h"

#define PRICES_FILE_MAX (4u << 20)
#define PRICES_STEPS_MAX 16

enum prices_item {
	PRICES_EXECUTIONS,
	PRICES_GIB_SECONDS,
	PRICES_CPU_SECONDS,
	PRICES_GB_OUT,
	PRICES_IDLE_GIB_SECONDS,
	PRICES_ITEM_COUNT
};

/* What an item is counted in.  `unit` is what people read ("GiB-seconds"),
 * fine units make one of them; a price is for `priced` of them. */
struct prices_kind {
	const char *key, *free_key;
	const char *unit;   /* "GiB-seconds" */
	const char *priced_as; /* "GiB-second": a price is for one of it */
	uint64_t fine;      /* fine units of the records in one unit */
	uint64_t priced;    /* units that the price is for */
	unsigned digits;    /* decimals at which a unit is still whole in fine
			     * units: the finest threshold and free tier */
};
extern const struct prices_kind prices_kinds[PRICES_ITEM_COUNT];

struct prices_step {
	money_int above; /* in fine units of the item, of a tenant's month */
	money_int price; /* fine units of money */
};

/* The prices of one item in one section. */
struct prices_list {
	unsigned line;
	char runtime[CTL_RUNTIME_MAX + 1]; /* "": of all */
	bool has_from;
	int32_t from; /* its first day */
	unsigned count;
	struct prices_step steps[PRICES_STEPS_MAX]; /* rising; [0].above is 0 */
};

struct prices;
/* fd is read from its start.  NULL: errors has the sentences. */
struct prices *prices_read(int fd, const char *path,
    struct conf_errors *errors);
void prices_free(struct prices *prices);

const char *prices_currency(const struct prices *prices); /* "EUR" */
unsigned prices_decimals(const struct prices *prices);

/* Who writes or pays a bill; "" is not said.  Lines of an address are separated
 * by '|'.  Any bytes but control bytes. */
struct prices_party {
	const char *name, *address;
};
struct prices_party prices_issuer(const struct prices *prices);
struct prices_party prices_customer(const struct prices *prices,
    const char *tenant);
/* What every bill says at its end. */
const char *prices_note(const struct prices *prices);

/* What holds for a tenant on a day: of the sections that have the key, the one
 * for tenant and runtime goes before the tenant's, that before the runtime's,
 * that before everybody's; of these the one with the latest date that is not
 * behind the day.  NULL: the item has no price. */
const struct prices_list *prices_find(const struct prices *prices,
    const char *tenant, const char *runtime, int32_t day,
    enum prices_item item);
/* In fine units of the item, in a month. */
money_int prices_free_tier(const struct prices *prices, const char *tenant,
    int32_t day, enum prices_item item);
money_int prices_minimum(const struct prices *prices, const char *tenant,
    int32_t day);

#endif
