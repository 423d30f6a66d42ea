#include "fcgi-host/books/focus.h"

#include <errno.h>
#include <stdio.h>

#include "fcgi-host/books/report.h"
#include "fcgi-host/civil.h"

const struct keys focus_by = { .at = { KEY_FUNCTION }, .count = 1 };

enum column {
	BILLED_COST,
	BILLING_ACCOUNT_ID,
	BILLING_ACCOUNT_NAME,
	BILLING_CURRENCY,
	BILLING_PERIOD_END,
	BILLING_PERIOD_START,
	CHARGE_CATEGORY,
	CHARGE_CLASS,
	CHARGE_DESCRIPTION,
	CHARGE_FREQUENCY,
	CHARGE_PERIOD_END,
	CHARGE_PERIOD_START,
	CONSUMED_QUANTITY,
	CONSUMED_UNIT,
	CONTRACTED_COST,
	CONTRACTED_UNIT_PRICE,
	EFFECTIVE_COST,
	INVOICE_ID,
	INVOICE_ISSUER_NAME,
	LIST_COST,
	LIST_UNIT_PRICE,
	PRICING_CATEGORY,
	PRICING_QUANTITY,
	PRICING_UNIT,
	PROVIDER_NAME,
	PUBLISHER_NAME,
	RESOURCE_ID,
	RESOURCE_NAME,
	RESOURCE_TYPE,
	SERVICE_CATEGORY,
	SERVICE_NAME,
	SERVICE_SUBCATEGORY,
	SKU_ID,
	SKU_METER,
	SKU_PRICE_DETAILS,
	SKU_PRICE_ID,
	X_RUNTIME,
	COLUMN_COUNT
};

static const char *const names[COLUMN_COUNT] = {
	"BilledCost", "BillingAccountId", "BillingAccountName",
	"BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
	"ChargeCategory", "ChargeClass", "ChargeDescription",
	"ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
	"ConsumedQuantity", "ConsumedUnit", "ContractedCost",
	"ContractedUnitPrice", "EffectiveCost", "InvoiceId",
	"InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
	"PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
	"ResourceId", "ResourceName", "ResourceType", "ServiceCategory",
	"ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter",
	"SkuPriceDetails", "SkuPriceId", "x_Runtime",
};

/* The items in the units and words of the specification. */
static const struct meter {
	const char *sku, *name, *consumed, *priced;
	bool is_always_shown; /* also without a price */
} meters[PRICES_ITEM_COUNT] = {
	[PRICES_EXECUTIONS] = { "function-executions", "Executions",
	    "Requests", "1000000 Requests", true },
	[PRICES_GIB_SECONDS] = { "function-gib-seconds", "Memory-time",
	    "GiB-Seconds", "GiB-Seconds", true },
	[PRICES_CPU_SECONDS] = { "function-cpu-seconds", "Processor time",
	    "Core-Seconds", "Core-Seconds", false },
	[PRICES_GB_OUT] = { "function-gb-out", "Answers", "GB", "GB", false },
	[PRICES_IDLE_GIB_SECONDS] = { "function-idle-gib-seconds",
	    "Idle memory-time", "GiB-Seconds", "GiB-Seconds", false },
};

/* A row: a null is a span of NULL; texts are kept beside. */
#define TEXT_MAX 512
struct row {
	struct span value[COLUMN_COUNT];
	char text[COLUMN_COUNT][TEXT_MAX];
};

static void
put(struct row *row, enum column column, const char *text)
{
	(void)snprintf(row->text[column], TEXT_MAX, "%s", text);
	row->value[column] = (struct span){ row->text[column],
		strlen(row->text[column]) };
	if (row->value[column].n == 0)
		row->value[column].at = NULL;
}

/* "2026-07-15T00:00:00Z" */
static void
put_time(struct row *row, enum column column, int32_t day)
{
	char text[CIVIL_TEXT_MAX], time[2 * CIVIL_TEXT_MAX];

	(void)snprintf(time, sizeof(time), "%sT00:00:00Z",
	    civil_day_text(day, text));
	put(row, column, time);
}

static void
put_money(struct row *row, enum column column, money_int amount)
{
	char text[MONEY_TEXT_MAX];

	put(row, column, money_text(amount, MONEY_DIGITS, 0, text));
}

/* What all rows of a tenant's month have. */
static void
start_row(struct row *row, const struct prices *prices,
    const struct rated_month *month, money_int billed)
{
	char text[CIVIL_TEXT_MAX], id[CTL_TENANT_MAX + CIVIL_TEXT_MAX + 2];
	const char *issuer = prices_issuer(prices).name;

	memset(row->value, 0, sizeof(row->value));
	put_money(row, BILLED_COST, billed);
	put_money(row, EFFECTIVE_COST, billed);
	put(row, BILLING_ACCOUNT_ID, month->tenant);
	put(row, BILLING_ACCOUNT_NAME,
	    prices_customer(prices, month->tenant).name);
	put(row, BILLING_CURRENCY, prices_currency(prices));
	put_time(row, BILLING_PERIOD_START, civil_first_day(month->month));
	put_time(row, BILLING_PERIOD_END, civil_first_day(month->month + 1));
	(void)snprintf(id, sizeof(id), "%s-%s", month->tenant,
	    civil_month_text(month->month, text));
	put(row, INVOICE_ID, id);
	put(row, INVOICE_ISSUER_NAME, issuer);
	put(row, PROVIDER_NAME, issuer);
	put(row, PUBLISHER_NAME, issuer);
	put(row, SERVICE_CATEGORY, "Compute");
	put(row, SERVICE_NAME, "Functions");
	put(row, SERVICE_SUBCATEGORY, "Serverless Compute");
}

static int
end_row(const struct row *row, struct buf *out)
{
	int error = 0;
	size_t i;

	for (i = 0; i < COLUMN_COUNT && error == 0; i++) {
		error = report_field(out, row->value[i]);
		if (error == 0)
			error = buf_add_str(out, i + 1 < COLUMN_COUNT ? "," :
			    "\n");
	}
	return error;
}

/* A price before steps and free tier, and what the quantity would cost by it,
 * to the last digit. */
static int
put_price(struct row *row, enum column cost_at, enum column price_at,
    const struct prices_list *list, rate_sum quantity, money_int per)
{
	money_int price = list != NULL ? list->steps[0].price : 0, product;
	char text[MONEY_TEXT_MAX];

	if (__builtin_mul_overflow(quantity, price, &product))
		return -EOVERFLOW;
	put_money(row, price_at, price);
	put(row, cost_at, money_ratio_text(product, per * MONEY_ONE, text));
	return 0;
}

static void
describe(struct row *row, const struct prices *prices,
    const struct prices_list *list, enum prices_item item, struct span function)
{
	char text[TEXT_MAX], price[MONEY_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%s of %.*s at %s %s per %s%s",
	    prices_kinds[item].unit, (int)function.n, function.at,
	    money_text(list != NULL ? list->steps[0].price : 0, MONEY_DIGITS,
	    0, price), prices_currency(prices), prices_kinds[item].priced_as,
	    list != NULL && list->count > 1 ? ", with steps" : "");
	put(row, CHARGE_DESCRIPTION, text);
}

static void
put_sku(struct row *row, const struct meter *meter,
    const struct prices_list *list)
{
	char text[TEXT_MAX];

	put(row, SKU_ID, meter->sku);
	put(row, SKU_METER, meter->name);
	(void)snprintf(text, sizeof(text), "%s%s%s", meter->sku,
	    list != NULL && list->runtime[0] != '\0' ? "/" : "",
	    list != NULL ? list->runtime : "");
	put(row, SKU_PRICE_ID, text);
}

static int
item_row(const struct prices *prices, const struct rated_month *month,
    const struct rated_group *group, enum prices_item item, struct buf *out)
{
	const struct prices_kind *kind = &prices_kinds[item];
	const struct meter *meter = &meters[item];
	rate_sum quantity = rate_quantity(&group->group->sums.usage, item);
	struct span function = keys_value(group->group->packed, RATED_KEYS);
	char runtime[CTL_RUNTIME_MAX + 1], text[MONEY_TEXT_MAX];
	const struct prices_list *list, *public_list;
	struct row row;
	int error;

	rated_name(keys_value(group->group->packed, 2), runtime,
	    sizeof(runtime));
	list = prices_find(prices, month->tenant, runtime, group->day, item);
	public_list = prices_find(prices, "", runtime, group->day, item);
	if (quantity == 0 || (list == NULL && !meter->is_always_shown))
		return 0;
	start_row(&row, prices, month, group->cost[item]);
	put(&row, CHARGE_CATEGORY, "Usage");
	put(&row, CHARGE_FREQUENCY, "Usage-Based");
	put_time(&row, CHARGE_PERIOD_START, group->day);
	put_time(&row, CHARGE_PERIOD_END, group->day + 1);
	put(&row, CONSUMED_QUANTITY, money_ratio_text(quantity, kind->fine,
	    text));
	put(&row, CONSUMED_UNIT, meter->consumed);
	put(&row, PRICING_QUANTITY, money_ratio_text(quantity,
	    kind->fine * kind->priced, text));
	put(&row, PRICING_UNIT, meter->priced);
	put(&row, PRICING_CATEGORY, "Standard");
	put_sku(&row, meter, list);
	describe(&row, prices, list, item, function);
	if (function.n > 0) {
		row.value[RESOURCE_ID] = function;
		put(&row, RESOURCE_TYPE, "Function");
	}
	put(&row, X_RUNTIME, runtime);
	error = put_price(&row, CONTRACTED_COST, CONTRACTED_UNIT_PRICE, list,
	    quantity, kind->fine * kind->priced);
	if (error == 0)
		error = put_price(&row, LIST_COST, LIST_UNIT_PRICE,
		    public_list != NULL ? public_list : list, quantity,
		    kind->fine * kind->priced);
	return error != 0 ? error : end_row(&row, out);
}

/* What belongs to no use has no quantity and no unit price. */
static int
minimum_row(const struct prices *prices, const struct rated_month *month,
    struct buf *out)
{
	struct row row;

	if (month->bill.minimum == 0)
		return 0;
	start_row(&row, prices, month, month->bill.minimum);
	put_money(&row, LIST_COST, month->bill.minimum);
	put_money(&row, CONTRACTED_COST, month->bill.minimum);
	put(&row, CHARGE_CATEGORY, "Adjustment");
	put(&row, CHARGE_FREQUENCY, "Recurring");
	put(&row, CHARGE_DESCRIPTION, "Up to the month's minimum");
	put_time(&row, CHARGE_PERIOD_START, civil_first_day(month->month));
	put_time(&row, CHARGE_PERIOD_END, civil_first_day(month->month + 1));
	return end_row(&row, out);
}

int
focus_month(const struct prices *prices, const struct rated *rated,
    const struct rated_month *month, int32_t from, int32_t to, struct buf *out)
{
	int error = 0;
	size_t i, item;

	for (i = month->from; i < month->to && error == 0; i++) {
		const struct rated_group *group = &rated->groups[i];

		if (group->day < from || group->day >= to)
			continue;
		for (item = 0; item < PRICES_ITEM_COUNT && error == 0; item++)
			error = item_row(prices, month, group,
			    (enum prices_item)item, out);
	}
	if (error == 0 && civil_first_day(month->month) >= from &&
	    civil_first_day(month->month + 1) <= to)
		error = minimum_row(prices, month, out);
	return error;
}

int
focus_heading(struct buf *out)
{
	int error = 0;
	size_t i;

	for (i = 0; i < COLUMN_COUNT && error == 0; i++)
		error = buf_addf(out, "%s%s", names[i],
		    i + 1 < COLUMN_COUNT ? "," : "\n");
	return error;
}
