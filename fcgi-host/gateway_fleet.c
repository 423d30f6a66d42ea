/* What instances need of the role: of the spawner, and of the configuration. */
#include "fcgi-host/gateway_impl.h"

#include <errno.h>
#include <string.h>

#include "fcgi-host/backend.h"
#include "fcgi-host/exec_env.h"

static int
instance_ask(void *arg, const struct instance *instance)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_INSTANCE_START);
	msg.u.instance_start.id = instance->id;
	memcpy(msg.u.instance_start.name, instance->function->info.name,
	    sizeof(msg.u.instance_start.name));
	memcpy(msg.u.instance_start.version, instance->function->info.version,
	    sizeof(msg.u.instance_start.version));
	msg.u.instance_start.purpose = (uint8_t)(
	    instance->purpose == CTL_PURPOSE_SERVE &&
	    instance->function->info.is_otherwise ? CTL_PURPOSE_OTHERWISE :
	    instance->purpose);
	gateway_send(arg, &msg);
	return 0;
}

static void
instance_end(void *arg, const struct instance *instance)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_INSTANCE_KILL);
	msg.u.instance_kill.id = instance->id;
	gateway_send(arg, &msg);
}

static uint64_t
instance_spares(void *arg, const struct function *function)
{
	const struct gateway *gateway = arg;
	const struct conf_runtime *runtime = conf_runtime_by_name(gateway->conf,
	    function->info.runtime);

	return runtime == NULL ? 0 : runtime->spare;
}

/* What tells a runtime's program to boot, and no more. */
static int
env_add_spare(struct cgi_env *env, const struct gateway *gateway,
    const struct function *function)
{
	const struct conf_runtime *runtime = conf_runtime_by_name(gateway->conf,
	    function->info.runtime);
	int error = cgi_env_set(env, "FCGI_HOST_SPARE", "1");

	if (error == 0 && runtime != NULL && runtime->preload != NULL)
		error = cgi_env_set(env, "FCGI_HOST_PRELOAD",
		    runtime->preload);
	return error;
}

static int
instance_boot(void *arg, struct instance *instance, bool is_spare)
{
	const struct gateway *gateway = arg;
	const struct route route = { .function = instance->function };
	const struct exec_env exec = { .conf = gateway->conf,
		.route = &route };
	struct cgi_env *env = exec_env_program(&exec);
	int error = env == NULL ? -ENOMEM : is_spare ?
	    env_add_spare(env, gateway, instance->function) : 0;

	if (error == 0)
		error = backend_boot(instance, env);
	cgi_env_free(env);
	return error;
}

const struct fleet_ops gateway_fleet_ops = {
	.start = instance_ask,
	.kill = instance_end,
	.boot = instance_boot,
	.spares = instance_spares,
	.holds = gateway_holds,
	.is_unbuilt = gateway_is_unbuilt,
};
