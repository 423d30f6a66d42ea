/*
 * What a running host says about itself, as text or as one JSON object.  The
 * rows come as messages; pure but for cmd_status itself.
 */
#ifndef FCGI_HOST_CMD_STATUS_H
#define FCGI_HOST_CMD_STATUS_H

#include <stdbool.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/cmd_table.h"
#include "fcgi-host/ctl_msg.h"

struct status {
	bool is_json;
	struct ctl_status_host host;
	struct cmd_table tenants, functions, instances, budgets;
	bool has_ceiling; /* one of the tenants */
	struct buf worries; /* lines */
	struct buf json_tenants, json_functions, json_instances, json_budgets;
};

/* cmd_status_budget.c: a budget's row, and their heads. */
void status_budgets_init(struct status *status);
int status_add_budget(struct status *status,
    const struct ctl_status_budget *budget);

void status_init(struct status *status, bool is_json);
/* 0, -EPROTO (no message of a status), -ENOMEM. */
int status_add(struct status *status, const struct ctl_msg *msg);
/* Appends all of it.  0 or -ENOMEM. */
int status_put(const struct status *status, struct buf *out);
void status_free(struct status *status);

/* "3.5s", "42s", "5m07s", "2h30m", "3d04h". */
const char *status_span(uint64_t ms, char *out, size_t size);

#endif
