/*
 * The functions' logs: the gateway says of which function it has lines, and gets a
 * file to write them to.  What it says is a name, of which all else is looked up
 * here; no number of it is believed, and nothing that a function wrote comes by.
 */
#include <errno.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/spawner.h"
#include "sandbox/userns.h"

static bool
is_known(void *arg, const char *function)
{
	const struct spawner *spawner = arg;

	return registry_find(spawner->registry, function) != NULL;
}

/* A group that another tenant is in as well lets nobody read. */
static int
find_reader(const struct spawner *spawner, struct tenant_logs_want *want)
{
	struct tenants_id id;
	int error = tenants_find(spawner->tenants, spawner->conf,
	    want->tenant, &id);

	if (error != 0)
		return error;
	want->has_group = !userns_is_single() &&
	    !tenants_share_group(spawner->tenants, want->tenant, id.gid);
	want->gid = id.gid;
	return 0;
}

static int
find_reader_for(void *arg, struct tenant_logs_want *want)
{
	return find_reader(arg, want);
}

void
spawner_function_logs_give(struct spawner *spawner)
{
	if (spawner->conf->function_logs != NULL)
		tenant_logs_give(spawner->conf, find_reader_for, spawner);
}

static int
open_log(struct spawner *spawner, const char *function, uint32_t *room)
{
	char tenant[CTL_NAME_MAX + 1];
	struct tenant_logs_want want = { .conf = spawner->conf,
		.function = function, .tenant = tenant,
		.now_us = loop_clock_us(), .is_known = is_known,
		.arg = spawner };
	int error;

	if (spawner->conf->function_logs == NULL)
		return -EOPNOTSUPP;
	conf_tenant_of(function, tenant);
	/* who never ran anything has no number, and wrote nothing */
	error = find_reader(spawner, &want);
	return error != 0 ? error :
	    tenant_logs_open(spawner->tenant_logs, &want, room);
}

int
spawner_function_log_ask(struct spawner *spawner, const struct ctl_msg *msg)
{
	struct parcel *parcel = parcel_new(CTL_FUNCTION_LOG);
	struct ctl_function_log *log;
	int fd;

	if (parcel != NULL) {
		log = &parcel->msg.u.function_log;
		memcpy(log->name, msg->u.name.name, sizeof(log->name));
		/* not of the reserve: a line more is no reason to start nothing */
		reserve_close(&spawner->reserve);
		fd = open_log(spawner, log->name, &log->room);
		reserve_open(&spawner->reserve);
		if (fd < 0)
			log->error = -fd;
		parcel_give(parcel, &fd);
	}
	child_send(spawner->gateway, parcel);
	return 0;
}
