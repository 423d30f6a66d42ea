/*
 * Checks of functions' files, as the role sees them: which functions have one, what
 * becomes of what it found, and who is told.
 */
#include "fcgi-host/gateway_impl.h"

#include <errno.h>
#include <string.h>

#include "fcgi-host/conf_effect.h"
#include "fcgi-host/exec_env.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

/* A list does not wait longer for what is still to be found. */
#define LISTING_US 15000000

/* That which was reported: by it a file is checked, whoever serves it then. */
static const struct conf_runtime *
runtime_of(const struct gateway *gateway, const struct function *function)
{
	return conf_runtime_by_name(gateway->conf,
	    function->reported_runtime);
}

bool
gateway_is_to_check(const struct gateway *gateway,
    const struct function *function)
{
	const struct conf_runtime *runtime = runtime_of(gateway, function);

	return function->info.problem == CTL_PROBLEM_NONE &&
	    function->check == CTL_CHECK_NONE && runtime != NULL &&
	    (runtime->check != NULL || runtime->build != NULL);
}

static bool
is_built(const struct gateway *gateway, const struct function *function)
{
	const struct conf_runtime *runtime = runtime_of(gateway, function);

	return runtime != NULL && runtime->build != NULL;
}

bool
gateway_is_unbuilt(void *arg, const struct function *function)
{
	return is_built(arg, function) &&
	    (function->check == CTL_CHECK_UNSOUND ||
	    function->check == CTL_CHECK_FAILED);
}

/* What lacked something is tried again when somebody asks for it, a while later. */
static void
build_again(struct gateway *gateway, struct function *function)
{
	if (function->check_again_us != 0 &&
	    loop_now_us(gateway->loop) >= function->check_again_us)
		(void)function_set_check(function, CTL_CHECK_NONE, "");
}

bool
gateway_holds(void *arg, struct function *function, bool is_waited_for)
{
	struct gateway *gateway = arg;
	const struct conf_runtime *runtime = runtime_of(gateway, function);

	if (is_waited_for && gateway_is_unbuilt(gateway, function))
		build_again(gateway, function);
	if (gateway_is_unbuilt(gateway, function))
		return true;
	if (runtime == NULL || (runtime->build == NULL &&
	    (runtime->otherwise == NULL || function->info.is_chosen)) ||
	    !gateway_is_to_check(gateway, function))
		return false;
	if (is_waited_for)
		checks_want(gateway->checks, function, CHECK_WAITED);
	return true;
}

/* ------------------------------------------------------------- what checks ask */

static struct function *
check_find(void *arg, const char *name)
{
	const struct gateway *gateway = arg;
	struct function *function = catalog_find(gateway->server.catalog,
	    name);

	return function != NULL && gateway_is_to_check(gateway, function) ?
	    function : NULL;
}

static bool
check_has_otherwise(void *arg, const struct function *function)
{
	const struct conf_runtime *runtime = runtime_of(arg, function);

	return runtime != NULL && runtime->otherwise != NULL;
}

static bool
check_is_build(void *arg, const struct function *function)
{
	return is_built(arg, function);
}

static struct cgi_env *
check_env(void *arg, const struct function *function)
{
	const struct gateway *gateway = arg;
	const struct route route = {
		.function = (struct function *)(uintptr_t)function };
	const struct exec_env exec = { .conf = gateway->conf,
		.route = &route };

	return exec_env_program(&exec);
}

static void
log_found(struct gateway *gateway, const struct function *function)
{
	const char *text = function->check_text == NULL ? "" :
	    function->check_text;
	char why[2 * CTL_CHECK_TEXT_MAX + 8];
	uint64_t now_us = loop_now_us(gateway->loop);
	uint32_t suppressed;

	if ((function->check == CTL_CHECK_UNSOUND ||
	    function->check == CTL_CHECK_FAILED) &&
	    log_limit_pass(&gateway->check_limit, 10, 10000, now_us,
	    &suppressed))
		logfiles_event(gateway->files, function->info.name,
		    now_us, LOG_WARN, "check", "function=%s version=%s "
		    "suppressed=%u why=\"%s\"", function->info.name,
		    function->info.version, suppressed,
		    log_value(why, sizeof(why), text, strlen(text)));
}

/* Its pool goes on with what is now in the catalogue under its name. */
static void
serve_by(struct gateway *gateway, const struct function *function,
    const struct conf_runtime *runtime)
{
	struct catalog *catalog = gateway->server.catalog;
	const char *name = function->info.name;
	struct function *now;

	if (catalog_serve_by(catalog, function, runtime == NULL ? NULL :
	    runtime->name, runtime != NULL && runtime->is_fastcgi) < 0) {
		log_event(LOG_ERROR, "memory", "for=check");
		return;
	}
	now = catalog_find(catalog, name);
	pools_change(gateway->server.pools, now->info.name, now);
}

static void
check_found(void *arg, struct function *function, enum ctl_check state,
    const char *text)
{
	struct gateway *gateway = arg;
	const struct conf_runtime *runtime = runtime_of(gateway, function);
	struct function *kept;

	if (catalog_find(gateway->server.catalog, function->info.name) !=
	    function)
		return;
	/* whose runtime somebody has named is asked nothing but the syntax */
	if (state == CTL_CHECK_OTHERWISE && function->info.is_chosen)
		state = CTL_CHECK_SOUND;
	(void)function_set_check(function, state, text);
	log_found(gateway, function);
	if (state != CTL_CHECK_OTHERWISE || runtime == NULL ||
	    runtime->otherwise == NULL) {
		pools_look_again(gateway->server.pools, function->info.name);
		return;
	}
	kept = function_ref(function);
	serve_by(gateway, kept, conf_runtime_by_name(gateway->conf,
	    runtime->otherwise));
	function_unref(kept);
}

/* ---------------------------------------------------------------- who is told */

static void
listings_answer(void *arg)
{
	struct gateway *gateway = arg;

	loop_timer_cancel(gateway->loop, &gateway->listing_timer);
	while (gateway->listing_count > 0)
		gateway_check_rows(gateway, steal_fd(
		    &gateway->listings[--gateway->listing_count]));
}

void
gateway_checks(struct gateway *gateway, int fd)
{
	checks_list(gateway->checks);
	if (!checks_is_busy(gateway->checks) ||
	    gateway->listing_count == GATEWAY_LISTINGS_MAX ||
	    (gateway->listing_count == 0 && loop_timer_set(gateway->loop,
	    &gateway->listing_timer, loop_now_us(gateway->loop) + LISTING_US,
	    listings_answer, gateway) < 0)) {
		gateway_check_rows(gateway, fd);
		return;
	}
	gateway->listings[gateway->listing_count++] = fd;
}

static const struct checks_ops check_ops = {
	.find = check_find,
	.has_otherwise = check_has_otherwise,
	.is_build = check_is_build,
	.env = check_env,
	.found = check_found,
	.settled = listings_answer,
};

/* ------------------------------------------------------------- what it is told */

int
gateway_checks_init(struct gateway *gateway)
{
	gateway->checks = checks_new(&gateway->fleet, gateway->server.pools,
	    &check_ops, gateway);
	return gateway->checks == NULL ? -ENOMEM : 0;
}

void
gateway_check_put(struct gateway *gateway, const char *name)
{
	struct function *function = catalog_find(gateway->server.catalog,
	    name);

	checks_forget(gateway->checks, name);
	if (function != NULL && gateway_is_to_check(gateway, function))
		checks_want(gateway->checks, function, gateway->has_synced ?
		    CHECK_CHANGED : CHECK_FOUND);
}

void
gateway_check_sync(struct gateway *gateway)
{
	gateway->has_synced = true;
	checks_begin(gateway->checks);
}

/* A list of names, since each change puts another function into the catalogue. */
struct recheck {
	struct gateway *gateway;
	const struct conf *old;
	struct buf names;
	int error;
};

static void
recheck_note(const struct function *function, void *arg)
{
	struct recheck *recheck = arg;
	const struct ctl_function *info = &function->info;

	if (info->problem != CTL_PROBLEM_NONE || conf_effect_same(recheck->old,
	    recheck->gateway->conf, info->tenant, info->name,
	    function->reported_runtime))
		return;
	if (buf_add(&recheck->names, info->name, strlen(info->name) + 1) < 0)
		recheck->error = -ENOMEM;
}

/* By whom a file is served otherwise, the new configuration says anew. */
static void
recheck_one(struct gateway *gateway, const char *name)
{
	struct function *function = function_ref(catalog_find(
	    gateway->server.catalog, name));

	(void)function_set_check(function, CTL_CHECK_NONE, "");
	if (function->info.is_otherwise)
		serve_by(gateway, function, NULL);
	function_unref(function);
	gateway_check_put(gateway, name);
}

void
gateway_check_conf(struct gateway *gateway, const struct conf *old)
{
	struct recheck recheck = { .gateway = gateway, .old = old };
	size_t at;

	catalog_each(gateway->server.catalog, recheck_note, &recheck);
	for (at = recheck.names.start; at < recheck.names.end;) {
		const char *name = (const char *)recheck.names.data + at;

		at += strlen(name) + 1;
		recheck_one(gateway, name);
	}
	if (recheck.error < 0)
		log_event(LOG_ERROR, "memory", "for=check");
	buf_free(&recheck.names);
}
