/*
 * What the gateway may ask for: instances of known functions, their end, and
 * the two answers that it owes.  Its claims are numbers and names; what they
 * stand for is looked up here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "fcgi-host/log.h"
#include "fcgi-host/notify.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/spawner.h"

/* How long the instances of a dead gateway may take to die before its
 * successor is started all the same. */
#define OLD_INSTANCES_MS 2000
/* From DRAINED to the gateway's exit. */
#define LAST_RECORD_MS 5000
/* While executions go on the clock of all instances is recorded, so that the
 * books of a host that dies can be balanced up to then: first so long after the
 * first one. */
#define TOTALS_FIRST_US (10 * UINT64_C(1000000))
#define TOTALS_EVERY_US (60 * UINT64_C(1000000))
/* As often as a gateway says that it is busy, and not more often if it says so
 * without end. */
#define TOTALS_NOTED_US UINT64_C(900000)
#define DRAIN_LONGEST_MS 30000
/* Of gateways in a drain: one may die under what it has in hand, its successor
 * has nothing but the writing of that. */
#define DRAIN_DEATHS_MAX 2
/* Of its starts: some three seconds. */
#define DRAIN_FAILURES_MAX 6

/* ------------------------------------------------------------------ sending */

void
spawner_gateway_gone(void *arg, const struct ctl_instance_gone *gone)
{
	struct spawner *spawner = arg;
	struct parcel *parcel;

	built_over(spawner->site.built, gone->id);
	if (spawner_shell_gone(spawner, gone))
		return;
	parcel = parcel_new(CTL_INSTANCE_GONE);
	if (parcel != NULL)
		parcel->msg.u.instance_gone = *gone;
	child_send(spawner->gateway, parcel);
}

void
spawner_send_totals(struct spawner *spawner, enum spawner_totals kind)
{
	struct parcel *parcel = parcel_new(CTL_TOTALS);

	if (parcel != NULL) {
		sandboxes_totals(spawner->sandboxes, &parcel->msg.u.totals);
		parcel->msg.u.totals.is_final = kind == SPAWNER_TOTALS_LAST;
		parcel->msg.u.totals.is_told = kind == SPAWNER_TOTALS_NOW;
		parcel->msg.u.totals.is_noted = kind == SPAWNER_TOTALS_NOTED;
	}
	child_send(spawner->gateway, parcel);
}

static void
send_log(struct spawner *spawner, int fd, bool is_first)
{
	struct parcel *parcel = parcel_new(CTL_LOG);

	if (parcel != NULL) {
		parcel->msg.u.log.is_first = is_first;
		parcel->msg.u.log.has_chain = spawner->chain_fd >= 0;
		if (parcel_lend(parcel, fd) != 0 || (spawner->chain_fd >= 0 &&
		    parcel_lend(parcel, spawner->chain_fd) != 0)) {
			parcel_unref(parcel);
			parcel = NULL;
		}
	}
	child_send(spawner->gateway, parcel);
}

void
spawner_send_log(struct spawner *spawner)
{
	spawner->switches_pending++;
	send_log(spawner, spawner->accounting_fd, false);
}

/* One that died in a reopen may have written its last lines to the old file, and
 * only these tell what it still owed: its successor begins there. */
static void
send_first_log(struct spawner *spawner)
{
	if (spawner->old_accounting_fd < 0) {
		send_log(spawner, spawner->accounting_fd, true);
		return;
	}
	send_log(spawner, spawner->old_accounting_fd, true);
	spawner_send_log(spawner);
}

void
spawner_send_drain(struct spawner *spawner)
{
	struct parcel *parcel = parcel_new(CTL_DRAIN);
	int keep = spawner->has_next ? spawner->places.carried.in : -1;

	if (parcel != NULL) {
		parcel->msg.u.drain.longest_ms = DRAIN_LONGEST_MS;
		parcel->msg.u.drain.has_next = keep >= 0;
	}
	if (parcel != NULL && keep >= 0 && parcel_lend(parcel, keep) != 0) {
		parcel_unref(parcel);
		parcel = NULL;
	}
	child_send(spawner->gateway, parcel);
}

void
spawner_send_sync(struct spawner *spawner)
{
	/* one that is down gets it when it comes up */
	if (!child_is_up(spawner->gateway))
		return;
	spawner->syncs_pending++;
	child_send(spawner->gateway, parcel_new(CTL_FN_SYNC));
}

static void
send_start(struct spawner *spawner)
{
	struct parcel *parcel = parcel_new(CTL_START);
	int error = places_size_inflight(spawner->inflight_fd);

	if (error != 0)
		log_event(LOG_ERROR, "inflight", "error=\"%s\" mend=\"make "
		    "room on the file system of `run`\"", strerror(-error));
	if (parcel != NULL) {
		struct ctl_start *start = &parcel->msg.u.start;

		start->run_id = spawner->run_id;
		start->is_again = spawner->is_again;
		start->has_cgroup = spawner->cgroup.fd >= 0;
		start->has_memory = spawner->cgroup.fd >= 0 &&
		    spawner->cgroup.has_memory;
		start->file_limit = spawner->file_limit;
		if (parcel_lend(parcel, spawner->inflight_fd) != 0 ||
		    parcel_lend(parcel, spawner->budgets_fd) != 0) {
			parcel_unref(parcel);
			parcel = NULL;
		}
	}
	child_send(spawner->gateway, parcel);
}

/* For its first record, which tells what of this no record does: what hosts
 * that died here used, or all until a gateway died.  The instances are dead
 * (may_start), so nothing is added any more. */
static void
send_used(struct spawner *spawner)
{
	const struct cgroup_cpu *left = &spawner->cgroup.left;
	struct parcel *parcel;

	if (spawner->is_again)
		spawner_send_totals(spawner, SPAWNER_TOTALS_FOR_NEXT);
	if (spawner->is_again || left->usage_us == 0)
		return;
	parcel = parcel_new(CTL_TOTALS);
	if (parcel != NULL)
		parcel->msg.u.totals = (struct ctl_totals){
			.cpu_usage_us = left->usage_us,
			.cpu_user_us = left->user_us,
			.cpu_sys_us = left->system_us,
			.whole_us = left->usage_us, .has_cgroup = 1,
			.is_taken_over = 1 };
	child_send(spawner->gateway, parcel);
}

static void
send_failed(struct spawner *spawner, uint64_t id, int error, const char *step)
{
	struct parcel *parcel = parcel_new(CTL_INSTANCE_FAILED);

	if (parcel != NULL) {
		struct ctl_instance_failed *failed =
		    &parcel->msg.u.instance_failed;
		size_t i;

		failed->id = id;
		failed->error = -error;
		/* A step can be a path that the administrator wrote. */
		for (i = 0; i + 1 < sizeof(failed->step) && step[i] != '\0';
		    i++)
			failed->step[i] = step[i] >= 0x20 && step[i] <= 0x7e ?
			    step[i] : '?';
	}
	child_send(spawner->gateway, parcel);
}

/* ---------------------------------------------------------------- receiving */

/* -EIDRM and -ESTALE are honest: the gateway may not have heard yet. */
static int
find_function(const struct spawner *spawner,
    const struct ctl_instance_start *wanted,
    const struct ctl_function **function)
{
	*function = registry_find(spawner->registry, wanted->name);
	if (*function == NULL || (*function)->problem != CTL_PROBLEM_NONE)
		return -EIDRM;
	return strcmp((*function)->version, wanted->version) == 0 ? 0 :
	    -ESTALE;
}

static int
on_instance_start(struct spawner *spawner, const struct ctl_msg *msg)
{
	const struct ctl_instance_start *wanted = &msg->u.instance_start;
	static struct log_limit limit;
	const struct ctl_function *function;
	char step[160] = "";
	struct parcel *up = NULL;
	uint32_t suppressed;
	int error;

	/* An id that comes again could stand for another's processes.  And behind
	 * its own word that all is done nothing that was on its way excuses one. */
	if (wanted->id <= spawner->last_id || spawner->phase == SPAWNER_DRAINED)
		return -EPROTO;
	spawner->last_id = wanted->id;
	error = find_function(spawner, wanted, &function);
	if (error == 0) {
		up = parcel_new(CTL_INSTANCE_UP);
		reserve_close(&spawner->reserve);
		error = up == NULL ? -ENOMEM : launch_start(&spawner->site,
		    spawner->conf, function, wanted->id,
		    (enum ctl_purpose)wanted->purpose, up, step,
		    sizeof(step));
		reserve_open(&spawner->reserve);
	}
	if (error == 0) {
		child_send(spawner->gateway, up);
		return 0;
	}
	parcel_unref(up);
	if (error != -ESTALE &&
	    log_limit_pass(&limit, 10, 1000, loop_clock_us(), &suppressed))
		log_event(LOG_WARN, "instance_failed", "function=%s id=%llu "
		    "step=\"%s\" error=\"%s\" suppressed=%u%s", wanted->name,
		    (unsigned long long)wanted->id, step, strerror(-error),
		    suppressed, error == -EMFILE || error == -ENFILE ?
		    " mend=\"raise LimitNOFILE\"" : "");
	send_failed(spawner, wanted->id, error, step);
	return 0;
}

static int
on_instance_kill(struct spawner *spawner, const struct ctl_msg *msg)
{
	uint64_t id = msg->u.instance_kill.id;

	if (id > spawner->last_id)
		return -EPROTO;
	/* Not there: it has ended by itself, and GONE is on its way. */
	(void)sandboxes_kill(spawner->sandboxes, id);
	return 0;
}

static int
on_log_switched(struct spawner *spawner, const struct ctl_msg *msg)
{
	if (spawner->switches_pending == 0)
		return -EPROTO;
	if (--spawner->switches_pending == 0)
		spawner_log_switched(spawner, &msg->u.log_switched);
	return 0;
}

/* Once: the service manager takes it for a host that serves. */
static void
tell_ready(struct spawner *spawner)
{
	if (spawner->is_ready || spawner->phase != SPAWNER_SERVING)
		return;
	spawner->is_ready = true;
	log_set_also(-1);
	log_event(LOG_INFO, "ready", "functions=%zu",
	    registry_count(spawner->registry));
	notify_send("READY=1");
}

/* A start and a reload are over when whoever asks then is served by them.  That
 * a gateway was forked says nothing: perhaps its program cannot be started. */
static int
on_synced(struct spawner *spawner, const struct ctl_msg *msg)
{
	(void)msg;
	if (spawner->syncs_pending == 0)
		return -EPROTO;
	if (--spawner->syncs_pending > 0)
		return 0;
	tell_ready(spawner);
	spawner_reload_check(spawner);
	return 0;
}

/* Of shells there will be lines, too, before the last. */
void
spawner_drained(struct spawner *spawner)
{
	if (!spawner->is_drained || spawner->shells != NULL ||
	    spawner->phase != SPAWNER_DRAINING)
		return;
	spawner->phase = SPAWNER_DRAINED;
	/* What it did not kill is nobody's any more, and its time belongs
	 * into the totals. */
	sandboxes_kill_all(spawner->sandboxes);
	spawner_send_totals(spawner, SPAWNER_TOTALS_LAST);
	child_end(spawner->gateway, LAST_RECORD_MS);
}

static int
on_drained(struct spawner *spawner, const struct ctl_msg *msg)
{
	(void)msg;
	if (spawner->phase != SPAWNER_DRAINING || spawner->is_drained)
		return -EPROTO;
	spawner->is_drained = true;
	spawner_drained(spawner);
	return 0;
}

/* The books can be balanced up to the last record, whatever becomes of the host,
 * and what is noted is not lost with the cgroup. */
static void
totals_tell(struct spawner *spawner)
{
	uint64_t now_us = loop_now_us(spawner->loop);

	if (spawner->totals_us == 0)
		spawner->totals_us = now_us + TOTALS_FIRST_US;
	if (now_us >= spawner->totals_us) {
		spawner->totals_us = now_us + TOTALS_EVERY_US;
		spawner->noted_us = now_us;
		spawner_send_totals(spawner, SPAWNER_TOTALS_NOW);
	} else if (now_us >= spawner->noted_us + TOTALS_NOTED_US) {
		spawner->noted_us = now_us;
		spawner_send_totals(spawner, SPAWNER_TOTALS_NOTED);
	}
}

/* One that says so without end makes us look ten times a second, no more. */
static int
on_busy(struct spawner *spawner, const struct ctl_msg *msg)
{
	(void)msg;
	sandboxes_busy(spawner->sandboxes);
	totals_tell(spawner);
	return 0;
}

/* The permit table: what is not in it, the gateway may not send. */
static const struct {
	enum ctl_type type;
	int (*fn)(struct spawner *spawner, const struct ctl_msg *msg);
} permits[] = {
	{ CTL_INSTANCE_START, on_instance_start },
	{ CTL_INSTANCE_KILL, on_instance_kill },
	{ CTL_LOG_SWITCHED, on_log_switched },
	{ CTL_FN_SYNC, on_synced },
	{ CTL_DRAINED, on_drained },
	{ CTL_SHELL_ANSWER, spawner_shell_answer },
	{ CTL_BUSY, on_busy },
	{ CTL_FUNCTION_LOG_ASK, spawner_function_log_ask },
};

static int
on_message(void *arg, const struct ctl_msg *msg, int *fd)
{
	size_t i;

	(void)fd; /* there is none: it may send no descriptor */
	for (i = 0; i < sizeof(permits) / sizeof(permits[0]); i++)
		if (permits[i].type == msg->type)
			return permits[i].fn(arg, msg);
	return -EPERM;
}

/* --------------------------------------------------------------- its lives */

void
spawner_send_listeners(struct spawner *spawner)
{
	/* one that is down gets them when it comes up */
	if (spawner->phase != SPAWNER_SERVING || !child_is_up(spawner->gateway))
		return;
	for (size_t i = 0; i < spawner->places.listeners.count; i++)
		spawner_send_fd(spawner->gateway, CTL_LISTEN,
		    spawner->places.listeners.fd[i]);
	if (spawner->places.carried.from >= 0)
		spawner_send_fd(spawner->gateway, CTL_ADOPT,
		    spawner->places.carried.from);
	close_fd(&spawner->places.carried.from);
}

static void
on_up(void *arg)
{
	struct spawner *spawner = arg;
	struct child *gateway = spawner->gateway;
	size_t i;

	spawner->last_id = 0;
	spawner->switches_pending = 0;
	spawner->syncs_pending = 0;
	send_start(spawner);
	spawner_send_conf(spawner);
	send_used(spawner);
	send_first_log(spawner);
	/* In a drain it only has to write what its predecessor owed. */
	if (spawner->phase == SPAWNER_SERVING)
		for (i = 0; i < registry_count(spawner->registry); i++)
			child_send(gateway,
			    parcel_ref(registry_at(spawner->registry, i)));
	if (spawner->has_synced) {
		spawner_send_sync(spawner);
		spawner_send_listeners(spawner);
	}
	if (spawner->phase != SPAWNER_SERVING)
		spawner_send_drain(spawner);
}

static void
on_down(void *arg, int wait_status)
{
	struct spawner *spawner = arg;

	spawner->is_again = true;
	spawner->gateway_down_us = loop_clock_us();
	/* init sees the hang-up too; this is for one that does not care. */
	sandboxes_disown(spawner->sandboxes);
	built_disown(spawner->site.built);
	spawner_shells_forget(spawner);
	spawner->is_drained = false;
	if (spawner->phase == SPAWNER_DRAINED) {
		spawner->is_settled = WIFEXITED(wait_status) &&
		    WEXITSTATUS(wait_status) == 0;
		if (!spawner->is_settled)
			log_event(LOG_ERROR, "drain", "why=\"the gateway did "
			    "not end well; its last record may be missing\"");
	} else if (spawner->phase == SPAWNER_DRAINING &&
	    ++spawner->drain_deaths >= DRAIN_DEATHS_MAX) {
		log_event(LOG_ERROR, "drain", "why=\"no gateway stays up; what "
		    "was in flight is recorded by the next start\"");
	} else {
		return;
	}
	spawner->phase = SPAWNER_ENDING;
	loop_stop(spawner->loop);
}

/* A drain does not wait for ever for the process in which it would end. */
static void
on_not_started(void *arg)
{
	struct spawner *spawner = arg;

	if (spawner->phase != SPAWNER_DRAINING ||
	    ++spawner->drain_failures < DRAIN_FAILURES_MAX)
		return;
	log_event(LOG_ERROR, "drain", "why=\"no gateway can be started; what was "
	    "in flight is recorded by the next start\"");
	spawner->phase = SPAWNER_ENDING;
	loop_stop(spawner->loop);
}

static bool
may_start(void *arg)
{
	const struct spawner *spawner = arg;

	return sandboxes_count(spawner->sandboxes) == 0 ||
	    loop_clock_us() - spawner->gateway_down_us >
	    (uint64_t)OLD_INSTANCES_MS * 1000;
}

const struct child_ops spawner_gateway_ops = {
	.up = on_up,
	.message = on_message,
	.down = on_down,
	.not_started = on_not_started,
	.may_start = may_start,
};
