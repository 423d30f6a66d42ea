#include "fcgi-host/checks_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define READS_AT_END 16

static void checks_run(void *arg);

static uint64_t
now_of(const struct checks *checks)
{
	return loop_now_us(checks->fleet->loop);
}

static void
wake(struct checks *checks)
{
	loop_defer(checks->fleet->loop, &checks->task, checks_run, checks);
}

struct checks *
checks_new(struct fleet *fleet, struct pools *pools,
    const struct checks_ops *ops, void *arg)
{
	struct checks *checks = calloc(1, sizeof(*checks));

	if (checks == NULL)
		return NULL;
	checks->fleet = fleet;
	checks->pools = pools;
	checks->ops = ops;
	checks->arg = arg;
	checks->queue = check_queue_new();
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++) {
		checks->running[i].checks = checks;
		checks->running[i].out_fd = checks->running[i].out_io.fd = -1;
	}
	if (checks->queue != NULL)
		return checks;
	free(checks);
	return NULL;
}

void
checks_free(struct checks *checks)
{
	if (checks == NULL)
		return;
	loop_timer_cancel(checks->fleet->loop, &checks->timer);
	check_queue_free(checks->queue);
	free(checks);
}

static void
output_ready(void *arg, uint32_t events)
{
	(void)events;
	check_output_read(arg, 1);
}

/* --------------------------------------------------------------------- its life */

/* From here on its end is awaited. */
static void
end(struct check *check)
{
	loop_timer_cancel(check->checks->fleet->loop, &check->deadline);
	instance_kill(check->instance, "check");
}

static void
on_report(void *arg, const struct init_report *report)
{
	struct check *check = arg;
	char why[120];

	check_output_read(check, READS_AT_END);
	if (report->serial != check->instance->serial ||
	    report->type == INIT_MEMORY) {
		check_tell(check, CTL_CHECK_UNSOUND,
		    "init sent a report out of turn");
	} else if (report->type == INIT_EXEC_FAILED) {
		snprintf(why, sizeof(why), "the program of its runtime's %s "
		    "cannot be executed: %s", check_word(check),
		    strerror(report->value));
		check_lacks(check);
		check_tell(check, CTL_CHECK_FAILED, why);
	} else {
		check->instance->has_program_status = true;
		check->instance->program_status = report->wait_status;
		check_tell_status(check, report->wait_status);
	}
	end(check);
}

static void
on_gone(void *arg)
{
	struct check *check = arg;
	char why[60];

	check_output_read(check, READS_AT_END);
	if (check->is_sound)
		check_tell(check, CTL_CHECK_SOUND, "");
	check_lacks(check);
	snprintf(why, sizeof(why), "the %s %s", check_word(check),
	    check->instance->gone.oom_kills > 0 ? "had not enough memory" :
	    "was killed");
	check_tell_unsound(check, why);
}

static const struct instance_user as_user = {
	.report = on_report,
	.gone = on_gone,
};

/* In the loop's next turn: nothing frees itself. */
static void
check_free(void *arg)
{
	struct check *check = arg;
	struct checks *checks = check->checks;
	struct function *function = check->function;

	pools_check_over(checks->pools, function);
	check_queue_over(checks->queue, function->info.name, now_of(checks));
	check->instance->user = NULL;
	instance_free(check->instance);
	check->instance = NULL;
	check->function = NULL;
	function_unref(function);
	wake(checks);
}

static void
bury(struct check *check)
{
	struct loop *loop = check->checks->fleet->loop;

	loop_timer_cancel(loop, &check->deadline);
	check_output_close(check);
	loop_defer(loop, &check->task, check_free, check);
}

/* It could not be begun, for a reason that passes. */
static void
again(struct check *check)
{
	struct checks *checks = check->checks;
	const struct ctl_function *info = &check->function->info;

	check->is_told = true;
	if (!check->is_forgotten)
		(void)check_queue_again(checks->queue, info->name,
		    info->tenant, check->urgency, now_of(checks));
}

static void
on_deadline(void *arg)
{
	struct check *check = arg;
	char why[60];

	check_output_read(check, 1);
	check_lacks(check);
	snprintf(why, sizeof(why), "the %s did not end within 10 s",
	    check_word(check));
	check_tell(check, CTL_CHECK_UNSOUND, why);
	end(check);
}

/* -------------------------------------------------------------------- the start */

static int
order_run(struct check *check, const struct buf *block)
{
	struct loop *loop = check->checks->fleet->loop;
	int in[2] = { -1, -1 }, out[2] = { -1, -1 };
	int error = sock_pipe(in);

	if (error == 0)
		error = sock_pipe(out);
	if (error == 0) {
		fd_set_nonblock(out[0], true);
		check->out_fd = steal_fd(&out[0]);
		error = loop_io_add(loop, &check->out_io, check->out_fd,
		    EPOLLIN, output_ready, check);
	}
	/* what it reads is at its end at once; both outputs are one */
	if (error == 0) {
		int fds[3] = { in[0], out[1], out[1] };

		error = instance_order(check->instance, INIT_RUN, block, fds,
		    3);
	}
	for (int i = 0; i < 2; i++) {
		close_fd(&in[i]);
		close_fd(&out[i]);
	}
	return error;
}

static int
program_start(struct check *check)
{
	struct checks *checks = check->checks;
	struct cgi_env *env = checks->ops->env(checks->arg, check->function);
	struct buf block = { 0 };
	int error = env == NULL ? -ENOMEM : cgi_env_put_block(env, &block);

	if (error == 0)
		error = loop_timer_set(checks->fleet->loop, &check->deadline,
		    now_of(checks) + CHECKS_DEADLINE_US, on_deadline, check);
	if (error == 0)
		error = order_run(check, &block);
	buf_free(&block);
	cgi_env_free(env);
	return error;
}

static struct check *
check_by_id(struct checks *checks, uint64_t id)
{
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++) {
		struct check *check = &checks->running[i];

		if (check->instance != NULL && check->instance->id == id &&
		    check->instance->state != INSTANCE_GONE)
			return check;
	}
	return NULL;
}

bool
checks_up(struct checks *checks, const struct ctl_instance_up *up, int *fds,
    size_t fd_count)
{
	struct check *check = check_by_id(checks, up->id);
	struct instance *instance = check == NULL ? NULL : check->instance;
	bool is_whole = check != NULL && instance->init_fd < 0 &&
	    fd_count == 1u + (size_t)__builtin_popcount(up->has &
	    CTL_HAS_ALL);

	if (check == NULL)
		return false;
	if (is_whole) {
		instance_up(instance, up, fds);
		instance_keep(instance);
		instance->user = &as_user;
		instance->user_arg = check;
		if (instance->state == INSTANCE_IDLE && !check->is_told &&
		    program_start(check) == 0)
			return true;
	} else {
		for (size_t i = 0; i < fd_count; i++)
			close_fd(&fds[i]);
	}
	if (!check->is_told)
		again(check);
	end(check);
	return true;
}

/* What passes by itself is tried again; of the rest a request will be told the
 * same. */
bool
checks_failed(struct checks *checks, const struct ctl_instance_failed *failed)
{
	struct check *check = check_by_id(checks, failed->id);
	char why[160];

	if (check == NULL || check->instance->init_fd >= 0)
		return check != NULL;
	instance_failed(check->instance);
	if (failed->error == ESTALE || failed->error == EIDRM ||
	    failed->error == EAGAIN || sock_is_shortage(failed->error)) {
		again(check);
	} else {
		snprintf(why, sizeof(why), "the sandbox of its %s cannot be "
		    "made: %.63s: %s", check_word(check), failed->step,
		    strerror(failed->error));
		check_lacks(check);
		check_tell(check, CTL_CHECK_FAILED, why);
	}
	bury(check);
	return true;
}

bool
checks_gone(struct checks *checks, const struct ctl_instance_gone *gone)
{
	struct check *check = check_by_id(checks, gone->id);

	if (check == NULL)
		return false;
	instance_gone(check->instance, gone);
	bury(check);
	return true;
}

/* ---------------------------------------------------------------------- the turn */

static struct check *
free_place(struct checks *checks)
{
	struct check *check = checks->running;

	while (check->instance != NULL)
		check++;
	return check;
}

/* 0, or it is put back. */
static int
begin(struct checks *checks, struct function *function,
    enum check_urgency urgency)
{
	const struct ctl_function *info = &function->info;
	struct check *check = free_place(checks);
	int error = pools_check_begin(checks->pools, function);
	struct instance *instance = NULL;

	if (error == 0) {
		instance = instance_new_apart(checks->fleet, function,
		    CTL_PURPOSE_CHECK, &checks->log_quota, &error);
		if (instance == NULL)
			pools_check_over(checks->pools, function);
	}
	if (instance == NULL) {
		(void)check_queue_again(checks->queue, info->name,
		    info->tenant, urgency, now_of(checks));
		return error;
	}
	check->instance = instance;
	check->function = function_ref(function);
	check->urgency = urgency;
	check->used = check->taken = 0;
	check->is_told = check->is_forgotten = check->is_sound = false;
	function->check_again_us = 0;
	checks->calm_us = now_of(checks);
	check->is_build = checks->ops->is_build(checks->arg, function);
	instance->end_reason = check->is_build ? "build" : "check";
	check_queue_begin(checks->queue, info->name, now_of(checks));
	return 0;
}

static bool
may_begin(void *arg, const char *name)
{
	struct checks *checks = arg;
	const struct function *function = checks->ops->find(checks->arg, name);

	/* one that is not wanted any more is taken out then */
	return function == NULL || pools_may_check(checks->pools, function);
}

static void
give_way(struct checks *checks)
{
	const char *name = check_queue_victim(checks->queue, now_of(checks),
	    may_begin, checks);

	for (size_t i = 0; name != NULL && i < CHECK_QUEUE_RUNNING_MAX; i++) {
		struct check *check = &checks->running[i];

		if (check->is_told || strcmp(name,
		    check->function->info.name) != 0)
			continue;
		again(check);
		end(check);
	}
}

static void
run_due(void *arg)
{
	wake(arg);
}

static void
timer_set(struct checks *checks)
{
	struct loop *loop = checks->fleet->loop;
	uint64_t wake_us = checks->is_over ? 0 :
	    check_queue_wake_us(checks->queue, now_of(checks));

	if (wake_us == 0)
		loop_timer_cancel(loop, &checks->timer);
	else if (loop_timer_set(loop, &checks->timer, wake_us, run_due,
	    checks) < 0)
		log_event(LOG_ERROR, "memory", "timer=checks");
}

static bool
is_calm(struct checks *checks)
{
	if (!pools_is_starting(checks->pools))
		checks->calm_us = now_of(checks);
	else if (now_of(checks) - checks->calm_us < CHECKS_PATIENCE_US)
		return false;
	return !checks->is_draining;
}

static void
checks_run(void *arg)
{
	struct checks *checks = arg;
	enum check_urgency urgency;
	struct function *function;
	const char *name;

	while (checks->has_begun && !checks->is_over &&
	    (name = check_queue_pick(checks->queue, now_of(checks),
	    is_calm(checks), may_begin, checks, &urgency)) != NULL) {
		function = checks->ops->find(checks->arg, name);
		if (function == NULL)
			check_queue_del(checks->queue, name);
		else if (begin(checks, function, urgency) != 0)
			break;
	}
	if (checks->has_begun)
		give_way(checks);
	timer_set(checks);
	if (!checks_is_busy(checks))
		checks->ops->settled(checks->arg);
}

/* ------------------------------------------------------------------- from above */

void
checks_begin(struct checks *checks)
{
	checks->has_begun = true;
	wake(checks);
}

static struct check *
check_by_name(struct checks *checks, const char *name)
{
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++) {
		struct check *check = &checks->running[i];

		if (check->instance != NULL && !check->is_told &&
		    !check->is_forgotten && strcmp(name,
		    check->function->info.name) == 0)
			return check;
	}
	return NULL;
}

void
checks_want(struct checks *checks, const struct function *function,
    enum check_urgency urgency)
{
	const struct ctl_function *info = &function->info;
	struct check *check = check_by_name(checks, info->name);

	if (check != NULL) {
		if (check->urgency < urgency)
			check->urgency = urgency;
		return;
	}
	if (check_queue_count(checks->queue) == 0)
		checks->calm_us = now_of(checks);
	if (check_queue_put(checks->queue, info->name, info->tenant, urgency,
	    now_of(checks)) < 0)
		log_event(LOG_ERROR, "memory", "for=check");
	wake(checks);
}

static void
forget(struct check *check)
{
	check->is_forgotten = true;
	if (check->instance->state != INSTANCE_GONE)
		end(check);
}

void
checks_forget(struct checks *checks, const char *name)
{
	struct check *check = check_by_name(checks, name);

	check_queue_del(checks->queue, name);
	if (check != NULL)
		forget(check);
}

void
checks_list(struct checks *checks)
{
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++)
		if (checks->running[i].instance != NULL &&
		    checks->running[i].urgency < CHECK_LISTED)
			checks->running[i].urgency = CHECK_LISTED;
	check_queue_list(checks->queue);
	wake(checks);
}

bool
checks_is_busy(const struct checks *checks)
{
	if (checks->is_over)
		return false;
	/* nobody knows yet what there is to look at */
	if (!checks->has_begun)
		return true;
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++)
		if (checks->running[i].instance != NULL &&
		    !checks->running[i].is_told)
			return true;
	return check_queue_count(checks->queue) > 0;
}

void
checks_drain(struct checks *checks)
{
	checks->is_draining = true;
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++)
		if (checks->running[i].instance != NULL &&
		    checks->running[i].urgency < CHECK_WAITED)
			forget(&checks->running[i]);
}

void
checks_end(struct checks *checks)
{
	checks->is_over = true;
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++)
		if (checks->running[i].instance != NULL)
			forget(&checks->running[i]);
}

void
checks_each(const struct checks *checks,
    void (*fn)(const struct instance *instance, void *arg), void *arg)
{
	for (size_t i = 0; i < CHECK_QUEUE_RUNNING_MAX; i++)
		if (checks->running[i].instance != NULL)
			fn(checks->running[i].instance, arg);
}
