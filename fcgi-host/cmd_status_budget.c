/* What `status` says of budgets. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fcgi-host/amounts.h"
#include "fcgi-host/cmd_status.h"

#define COLUMNS 6
#define AMOUNT_TEXT 48
#define UNTIL_TEXT 32

void
status_budgets_init(struct status *status)
{
	static const char *const heads[COLUMNS] = { "BUDGET", "OF", "USED",
		"ALLOWED", "SHARE", "UNTIL" };

	status->budgets.columns = COLUMNS;
	status->budgets.right = 0x1c; /* the amounts and the share */
	for (size_t i = 0; i < COLUMNS; i++)
		cmd_table_add(&status->budgets, "%s", heads[i]);
}

static const char *
until_text(uint64_t ends_us, char out[UNTIL_TEXT])
{
	time_t seconds = (time_t)(ends_us / 1000000);
	struct tm tm;

	/* what the host says is not believed to be a year that has one */
	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(out, UNTIL_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		strcpy(out, "-");
	return out;
}

/* The number without its unit. */
static int
json_amount(struct buf *json, const char *key, enum amount_unit unit,
    uint64_t value)
{
	char text[AMOUNT_TEXT];

	amounts_text(unit, value, "", text, sizeof(text));
	return buf_addf(json, ",\"%s\":%.*s", key, (int)strcspn(text, " "),
	    text);
}

static int
add_json(struct buf *json, const struct ctl_status_budget *budget)
{
	enum amount_unit unit = (enum amount_unit)budget->unit;
	const char *name = unit == AMOUNT_EXECUTIONS ? "executions" :
	    unit == AMOUNT_MIB_MS ? "GiB-s" : budget->currency;
	char until[UNTIL_TEXT];
	int error = buf_addf(json, "%s{\"%s\":", buf_len(json) > 0 ? "," : "",
	    budget->is_tenant ? "tenant" : "function");

	if (error == 0)
		error = buf_add_json(json, budget->owner,
		    strlen(budget->owner));
	if (error == 0)
		error = buf_addf(json, ",\"period\":\"%s\",\"unit\":",
		    budget->is_month ? "month" : "day");
	if (error == 0)
		error = buf_add_json(json, name, strlen(name));
	if (error == 0)
		error = json_amount(json, "used", unit, budget->used);
	if (error == 0)
		error = json_amount(json, "allowed", unit, budget->most);
	return error != 0 ? error : buf_addf(json, ",\"until\":\"%s\"}",
	    until_text(budget->ends_us, until));
}

/* In hundredths.  What the host says is not believed to be a number that fits. */
static uint64_t
share_of(const struct ctl_status_budget *budget)
{
	unsigned __int128 share = (unsigned __int128)budget->used * 100 /
	    budget->most;

	return share < UINT64_MAX ? (uint64_t)share : UINT64_MAX;
}

int
status_add_budget(struct status *status,
    const struct ctl_status_budget *budget)
{
	enum amount_unit unit = (enum amount_unit)budget->unit;
	struct cmd_table *table = &status->budgets;
	char text[AMOUNT_TEXT], until[UNTIL_TEXT];

	if (status->is_json)
		return add_json(&status->json_budgets, budget);
	cmd_table_add(table, "%s", budget->is_month ? "budget_month" :
	    "budget_day");
	cmd_table_add(table, "%s %s", budget->is_tenant ? "tenant" :
	    "function", budget->owner);
	cmd_table_add(table, "%s", amounts_text(unit, budget->used,
	    budget->currency, text, sizeof(text)));
	cmd_table_add(table, "%s", amounts_text(unit, budget->most,
	    budget->currency, text, sizeof(text)));
	cmd_table_add(table, "%" PRIu64 "%%", share_of(budget));
	cmd_table_add(table, "%s", until_text(budget->ends_us, until));
	return table->error;
}
