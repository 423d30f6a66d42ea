/*
 * The books of a shell that root opens in a function's sandbox.  The gateway has
 * no other part in one: it reserves the space of its line before it begins, gives
 * it a number, and writes the line at its end.
 */
#include "fcgi-host/gateway_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "fcgi-host/log.h"

void
gateway_shell_ask(struct gateway *gateway, const struct ctl_shell_ask *ask)
{
	struct ctl_msg msg;
	int error = gateway->has_log ? ledger_reserve(gateway->server.ledger) :
	    -EAGAIN;

	ctl_msg_init(&msg, CTL_SHELL_ANSWER);
	msg.u.shell_answer.serial = ask->serial;
	if (error == 0)
		msg.u.shell_answer.id = ++gateway->fleet.next_id;
	else
		msg.u.shell_answer.error = -error;
	gateway_send(gateway, &msg);
}

void
gateway_shell_gone(struct gateway *gateway, const struct ctl_shell_gone *shell)
{
	const struct ctl_instance_gone *gone = &shell->gone;
	const struct function *function =
	    catalog_find(gateway->server.catalog, shell->name);
	struct record_instance record = {
		.number = gone->id,
		.time_us = loop_clock_real_us(),
		.reason = "shell",
		.lifetime_us = shell->lifetime_us,
		.start_us = shell->start_us,
		.idle_us = shell->lifetime_us - shell->start_us,
		.idle_cpu_us = gone->cpu_usage_us,
		.cpu_source = gone->has_cgroup ? SOURCE_CGROUP :
		    SOURCE_PROCESS,
		.mem_peak_kib = gone->memory_peak_kib,
		.exit_code = WIFEXITED(gone->wait_status) ?
		    WEXITSTATUS(gone->wait_status) : -1,
		.signal_number = WIFSIGNALED(gone->wait_status) ?
		    WTERMSIG(gone->wait_status) : 0,
	};

	if (!shell->was_up) {
		ledger_release(gateway->server.ledger);
		return;
	}
	memcpy(record.tenant, shell->tenant, sizeof(record.tenant));
	memcpy(record.function, shell->name, sizeof(record.function));
	memcpy(record.version, shell->version, sizeof(record.version));
	if (function != NULL) {
		memcpy(record.runtime, function->info.runtime,
		    sizeof(record.runtime));
		record.mem_limit_mib = record_mib(
		    function->info.limits.value[LIMIT_MEMORY_BYTES]);
	}
	if (ledger_instance(gateway->server.ledger, &record) != 0)
		log_event(LOG_ERROR, "shell_record", "function=%s "
		    "error=\"not enough memory\"", shell->name);
}
