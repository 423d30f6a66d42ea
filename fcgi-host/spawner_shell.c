/*
 * Shells in functions' sandboxes, for root.  What is started is root's own
 * command, and whose sandbox it gets is a known function, by its name; so nothing
 * here was written by a tenant.  The gateway is asked first, because it keeps the
 * books: of a shell, too, there will be a line, and it gives the number.  A shell
 * lives as long as its client's connection, and as the gateway.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/spawner.h"

/* Half of the clients that the control socket takes. */
#define SHELLS_MAX 8

struct spawner_shell {
	struct spawner_shell *next;
	struct control_client *client; /* NULL: it has left */
	uint64_t serial, id; /* id 0: the gateway has not answered */
	int terminal_fd;
	uint64_t up_us, start_us;
	struct ctl_shell asked;
	struct ctl_function function; /* as it was then */
};

static void
shell_free(struct spawner *spawner, struct spawner_shell *shell)
{
	struct spawner_shell **place = &spawner->shells;

	while (*place != shell)
		place = &(*place)->next;
	*place = shell->next;
	close_fd(&shell->terminal_fd);
	free(shell);
}

/* ------------------------------------------------------------------ the wish */

/* 0, or a positive errno and a sentence. */
static int
judge(const struct spawner *spawner, const struct control_client *client,
    const char *name, char *why, size_t size)
{
	const struct ctl_function *function = registry_find(spawner->registry,
	    name);
	const struct spawner_shell *shell;
	size_t count = 0;

	for (shell = spawner->shells; shell != NULL; shell = shell->next)
		count++;
	/* It reads a tenant's secrets and writes his data: more than anything
	 * else that the service's group may ask for. */
	if (control_uid(client) != 0) {
		snprintf(why, size, "only root opens a shell in a tenant's "
		    "sandbox");
		return EPERM;
	}
	if (spawner->phase != SPAWNER_SERVING) {
		snprintf(why, size, "the host is ending");
		return ESHUTDOWN;
	}
	if (!child_is_up(spawner->gateway)) {
		snprintf(why, size, "the gateway is being started; try again");
		return EAGAIN;
	}
	if (function == NULL) {
		snprintf(why, size, "there is no function %s; see: fcgi-host "
		    "list", name);
		return ENOENT;
	}
	if (function->problem != CTL_PROBLEM_NONE) {
		snprintf(why, size, "%s is not served: %s", name,
		    ctl_problem_text((enum ctl_problem)function->problem));
		return EINVAL;
	}
	if (count >= SHELLS_MAX) {
		snprintf(why, size, "%zu shells are open; end one", count);
		return EBUSY;
	}
	return 0;
}

static struct spawner_shell *
shell_new(struct spawner *spawner, struct control_client *client,
    const struct ctl_shell *asked, int *fd)
{
	struct spawner_shell *shell = calloc(1, sizeof(*shell));

	if (shell == NULL)
		return NULL;
	shell->client = client;
	shell->serial = ++spawner->shell_serial;
	shell->terminal_fd = asked->has_terminal ? steal_fd(fd) : -1;
	shell->asked = *asked;
	shell->function = *registry_find(spawner->registry, asked->name);
	shell->next = spawner->shells;
	spawner->shells = shell;
	return shell;
}

void
spawner_shell_ask(void *arg, struct control_client *client,
    const struct ctl_shell *asked, int *fd)
{
	struct spawner *spawner = arg;
	char why[SPAWNER_PROBLEM_MAX] = "";
	struct spawner_shell *shell = NULL;
	struct parcel *parcel;
	int code = judge(spawner, client, asked->name, why, sizeof(why));

	if (code == 0) {
		shell = shell_new(spawner, client, asked, fd);
		if (shell == NULL) {
			snprintf(why, sizeof(why), "not enough memory");
			code = ENOMEM;
		}
	}
	if (code != 0) {
		log_event(LOG_WARN, "shell_refused", "function=%s uid=%lu "
		    "why=\"%s\"", asked->name,
		    (unsigned long)control_uid(client), why);
		control_reply(client, code, "%s", why);
		return;
	}
	parcel = parcel_new(CTL_SHELL_ASK);
	if (parcel != NULL)
		parcel->msg.u.shell_ask.serial = shell->serial;
	child_send(spawner->gateway, parcel);
}

/* ----------------------------------------------------------------- the start */

/* argv: room for all of them and the NULL. */
static void
cut_arguments(struct ctl_shell *asked, char **argv)
{
	char *at = asked->text;
	uint32_t i;

	for (i = 0; i < asked->count; i++) {
		argv[i] = at;
		at += strlen(at) + 1;
	}
	argv[i] = NULL;
}

static int
send_up(struct spawner *spawner, struct spawner_shell *shell, int init_sock)
{
	int env_fd = registry_env(spawner->registry, shell->function.name);
	const int fds[] = { init_sock, spawner->conf_fd, env_fd };
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_SHELL_UP);
	msg.u.function = shell->function;
	msg.u.function.has_env = env_fd >= 0;
	return control_send(shell->client, &msg, fds, env_fd >= 0 ? 3 : 2);
}

static int
start(struct spawner *spawner, struct spawner_shell *shell, char *step,
    size_t size)
{
	const struct ctl_function *current = registry_find(spawner->registry,
	    shell->function.name);
	char *argv[CTL_SHELL_ARGUMENTS_MAX + 1];
	struct launch_shell launched = { .argv = argv,
		.terminal_fd = shell->terminal_fd, .init_sock = -1 };
	int error;

	if (current == NULL || current->problem != CTL_PROBLEM_NONE)
		return -EIDRM;
	shell->function = *current;
	cut_arguments(&shell->asked, argv);
	reserve_close(&spawner->reserve);
	error = launch_shell(&spawner->site, spawner->conf, current, shell->id,
	    &launched, step, size);
	reserve_open(&spawner->reserve);
	close_fd(&shell->terminal_fd);
	if (error != 0)
		return error;
	shell->up_us = loop_clock_us();
	shell->start_us = launched.start_us;
	log_event(LOG_INFO, "shell", "function=%s instance=%llu command=\"%s\"",
	    shell->function.name, (unsigned long long)shell->id,
	    argv[0]);
	/* A client that is gone by now leaves in the next turn of the loop. */
	(void)send_up(spawner, shell, launched.init_sock);
	close_fd(&launched.init_sock);
	return 0;
}

static void
send_gone(struct spawner *spawner, const struct spawner_shell *shell,
    const struct ctl_instance_gone *gone)
{
	const struct ctl_function *function = &shell->function;
	struct parcel *parcel = parcel_new(CTL_SHELL_GONE);

	if (parcel != NULL) {
		struct ctl_shell_gone *body = &parcel->msg.u.shell_gone;

		body->gone = *gone;
		body->start_us = shell->start_us;
		body->lifetime_us = shell->up_us == 0 ? 0 : loop_clock_us() -
		    shell->up_us + shell->start_us;
		body->was_up = shell->up_us != 0;
		memcpy(body->tenant, function->tenant, sizeof(body->tenant));
		memcpy(body->name, function->name, sizeof(body->name));
		memcpy(body->version, function->version,
		    sizeof(body->version));
	}
	child_send(spawner->gateway, parcel);
}

/* The line that was reserved is not needed. */
static void
not_begun(struct spawner *spawner, struct spawner_shell *shell, int code,
    const char *why)
{
	const struct ctl_instance_gone none = { .id = shell->id };

	if (shell->id != 0)
		send_gone(spawner, shell, &none);
	log_event(LOG_WARN, "shell_failed", "function=%s why=\"%s\"",
	    shell->function.name, why);
	control_reply(shell->client, code, "%s", why);
	shell_free(spawner, shell);
	spawner_drained(spawner);
}

static struct spawner_shell *
find_asked(const struct spawner *spawner, uint64_t serial)
{
	struct spawner_shell *shell = spawner->shells;

	while (shell != NULL && (shell->serial != serial || shell->id != 0))
		shell = shell->next;
	return shell;
}

bool
spawner_shell_is_asked(const struct spawner *spawner, uint64_t serial)
{
	return find_asked(spawner, serial) != NULL;
}

int
spawner_shell_answer(struct spawner *spawner, const struct ctl_msg *msg)
{
	const struct ctl_shell_answer *answer = &msg->u.shell_answer;
	struct spawner_shell *shell = find_asked(spawner, answer->serial);
	char step[160] = "", why[SPAWNER_PROBLEM_MAX];
	int error;

	if (shell == NULL)
		return -EPROTO;
	if (answer->error != 0) {
		snprintf(why, sizeof(why), "it could not be recorded, so it is "
		    "not run: %s", strerror(answer->error));
		not_begun(spawner, shell, answer->error, why);
		return 0;
	}
	/* An id that comes again could stand for another's processes. */
	if (answer->id <= spawner->last_id)
		return -EPROTO;
	spawner->last_id = shell->id = answer->id;
	if (shell->client == NULL || spawner->phase != SPAWNER_SERVING) {
		not_begun(spawner, shell, ESHUTDOWN, "the host is ending, or "
		    "who asked has left");
		return 0;
	}
	error = start(spawner, shell, step, sizeof(step));
	if (error != 0) {
		snprintf(why, sizeof(why), "the sandbox cannot be made; %s: %s",
		    step[0] != '\0' ? step : "function",
		    strerror(-error));
		not_begun(spawner, shell, -error, why);
	}
	return 0;
}

/* ------------------------------------------------------------------- the end */

bool
spawner_shell_gone(struct spawner *spawner,
    const struct ctl_instance_gone *gone)
{
	struct spawner_shell *shell = spawner->shells;
	int fd;

	while (shell != NULL && shell->id != gone->id)
		shell = shell->next;
	if (shell == NULL)
		return false;
	log_event(LOG_INFO, "shell_ended", "function=%s instance=%llu "
	    "cpu_us=%llu", shell->function.name, (unsigned long long)shell->id,
	    (unsigned long long)gone->cpu_usage_us);
	send_gone(spawner, shell, gone);
	if (shell->client != NULL) {
		fd = control_take(shell->client);
		close_fd(&fd);
	}
	shell_free(spawner, shell);
	spawner_drained(spawner);
	return true;
}

void
spawner_shell_left(struct spawner *spawner, const struct control_client *client)
{
	struct spawner_shell *shell;

	for (shell = spawner->shells; shell != NULL; shell = shell->next) {
		if (shell->client != client)
			continue;
		shell->client = NULL;
		if (shell->up_us != 0)
			(void)sandboxes_kill(spawner->sandboxes, shell->id);
	}
}

void
spawner_shells_kill(struct spawner *spawner)
{
	const struct spawner_shell *shell;

	for (shell = spawner->shells; shell != NULL; shell = shell->next)
		if (shell->up_us != 0)
			(void)sandboxes_kill(spawner->sandboxes, shell->id);
}

void
spawner_shells_forget(struct spawner *spawner)
{
	while (spawner->shells != NULL) {
		struct spawner_shell *shell = spawner->shells;

		control_reply(shell->client, EAGAIN, "the gateway has ended, "
		    "and with it all sandboxes; try again");
		shell_free(spawner, shell);
	}
}
