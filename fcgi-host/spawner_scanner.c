/*
 * What the scanner may send: functions, their removal, and that all has been
 * said.  What is accepted goes on to the gateway, as the registry has it.
 */
#include <errno.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/secrets.h"
#include "fcgi-host/spawner.h"

/* Lines in the log about one configuration. */
#define UNUSED_SAID_MAX 20

void
spawner_send_fd(struct child *child, enum ctl_type type, int fd)
{
	struct parcel *parcel = parcel_new(type);

	if (parcel != NULL && parcel_lend(parcel, fd) != 0) {
		parcel_unref(parcel);
		parcel = NULL;
	}
	child_send(child, parcel);
}

static void
tell_del(void *arg, const char *name)
{
	struct spawner *spawner = arg;
	struct parcel *parcel = parcel_new(CTL_FN_DEL);

	built_drop(spawner->site.built, name);
	if (parcel != NULL)
		memcpy(parcel->msg.u.name.name, name, strlen(name) + 1);
	child_send(spawner->gateway, parcel);
}

/* Of both runtimes by which it may be served: it is the gateway that knows which. */
static uint32_t
image_mark(const struct spawner *spawner, const char *name)
{
	const struct conf_runtime *runtime = conf_runtime_by_name(
	    spawner->conf, name);
	const struct conf_runtime *other = runtime == NULL ||
	    runtime->otherwise == NULL ? NULL : conf_runtime_by_name(
	    spawner->conf, runtime->otherwise);

	return images_changed(spawner->site.images, runtime) +
	    images_changed(spawner->site.images, other);
}

static int
on_put(struct spawner *spawner, const struct ctl_msg *msg, int *fd)
{
	static struct log_limit limit;
	struct parcel *parcel;
	uint32_t suppressed;
	int error;

	registry_make_room(spawner->registry, msg, tell_del, spawner);
	error = registry_put(spawner->registry, spawner->conf, msg, fd,
	    &parcel);
	if (error == -EPROTO)
		return error;
	if (error == 0) {
		struct ctl_function *function = &parcel->msg.u.function;

		function->ids_changed = tenants_ids_changed(spawner->tenants,
		    function->tenant);
		function->image_changed = image_mark(spawner,
		    function->runtime);
		built_keep(spawner->site.built, function);
		function->secrets = secrets_mark(spawner->conf, function);
		child_send(spawner->gateway, parcel_ref(parcel));
	} else if (log_limit_pass(&limit, 1, 60000, loop_clock_us(), &suppressed))
		log_event(LOG_WARN, "function_dropped", "error=\"%s\" "
		    "kept=%zu suppressed=%u", strerror(-error),
		    registry_count(spawner->registry), suppressed);
	return 0;
}

static int
on_del(struct spawner *spawner, const struct ctl_msg *msg, int *fd)
{
	(void)fd;
	/* Unknown: it was dropped, or swept away after a restart. */
	if (registry_del(spawner->registry, msg->u.name.name) == 0)
		tell_del(spawner, msg->u.name.name);
	return 0;
}

/* ------------------------------------------------- sections of nobody */

struct unused {
	const struct spawner *spawner;
	size_t count;
};

static bool
is_known(void *arg, bool is_tenant, const char *name)
{
	const struct registry *registry =
	    ((const struct unused *)arg)->spawner->registry;

	return is_tenant ? registry_has_tenant(registry, name) :
	    registry_find(registry, name) != NULL;
}

static void
say_unused(void *arg, const char *sentence)
{
	struct unused *unused = arg;

	if (unused->count++ < UNUSED_SAID_MAX)
		log_event(LOG_WARN, "section_unused", "why=\"%s\"", sentence);
}

/* Once for each configuration, when all functions are known. */
static void
tell_unused(const struct spawner *spawner)
{
	struct unused unused = { .spawner = spawner };

	conf_each_unused(spawner->conf, is_known, say_unused, &unused);
	if (unused.count > UNUSED_SAID_MAX)
		log_event(LOG_WARN, "section_unused", "more=%zu "
		    "mend=\"fcgi-host check tells all\"",
		    unused.count - UNUSED_SAID_MAX);
}

static int
on_sync(struct spawner *spawner, const struct ctl_msg *msg, int *fd)
{
	(void)msg;
	(void)fd;
	if (!spawner->has_scan)
		registry_sweep(spawner->registry, tell_del, spawner);
	spawner->has_scan = true;
	spawner->is_read = true;
	spawner_send_sync(spawner);
	if (!spawner->has_synced || spawner->reload.is_on)
		tell_unused(spawner);
	if (!spawner->has_synced)
		spawner_send_listeners(spawner);
	spawner->has_synced = true;
	return 0;
}

/* The permit table: what is not in it, the scanner may not send. */
static const struct {
	enum ctl_type type;
	int (*fn)(struct spawner *spawner, const struct ctl_msg *msg, int *fd);
} permits[] = {
	{ CTL_FN_PUT, on_put },
	{ CTL_FN_DEL, on_del },
	{ CTL_FN_SYNC, on_sync },
};

static int
on_message(void *arg, const struct ctl_msg *msg, int *fd)
{
	size_t i;

	for (i = 0; i < sizeof(permits) / sizeof(permits[0]); i++)
		if (permits[i].type == msg->type)
			return permits[i].fn(arg, msg, fd);
	return -EPERM;
}

static void
on_up(void *arg)
{
	struct spawner *spawner = arg;

	registry_begin(spawner->registry);
	spawner->has_scan = false;
	spawner_send_fd(spawner->scanner, CTL_CONF, spawner->conf_fd);
}

static void
on_down(void *arg, int wait_status)
{
	(void)arg;
	(void)wait_status;
}

static void
on_not_started(void *arg)
{
	(void)arg;
}

/* A scanner also ends because its directory was replaced: it may read nothing
 * but the one that it was given. */
static bool
may_start(void *arg)
{
	static struct log_limit limit;
	struct spawner *spawner = arg;
	uint32_t suppressed;
	int error = places_renew_functions(&spawner->places, spawner->conf);

	if (error != 0 &&
	    log_limit_pass(&limit, 1, 60000, loop_clock_us(), &suppressed))
		log_event(LOG_WARN, "functions_missing", "path=\"%s\" "
		    "error=\"%s\" mend=\"make the directory again\"",
		    spawner->conf->functions, strerror(-error));
	return error == 0;
}

const struct child_ops spawner_scanner_ops = {
	.up = on_up,
	.message = on_message,
	.down = on_down,
	.not_started = on_not_started,
	.may_start = may_start,
};
