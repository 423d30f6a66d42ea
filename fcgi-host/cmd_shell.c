/*
 * `fcgi-host shell`: a command in exactly a function's sandbox.  The running host
 * makes it, with the function's numbers, ids, files and environment; this process
 * commands its init, as the gateway does for a request, and carries the terminal.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_ctl.h"
#include "fcgi-host/function_env.h"
#include "fcgi-host/sock.h"
#include "sandbox/session.h"

#define ANSWER_MS 15000
#define ENV_BYTES_MAX (64u * 1024) /* of a sidecar, as the gateway takes it */

struct shell {
	const char *function;
	char **command;
	int control;   /* open as long as the shell is to live */
	int init_sock, conf_fd, env_fd;
	int signal_fd;
	struct terminal terminal;
	struct ctl_function info;
};

/* What is run where no command is given: the best shell of the tree. */
static const char *const default_command[] = { "/bin/sh", "-c",
	"command -v bash >/dev/null && exec bash; exec /bin/sh", NULL };

static int
put_arguments(struct ctl_shell *asked, const char *const *command)
{
	for (; *command != NULL; command++) {
		size_t n = strlen(*command) + 1;

		if (asked->count == CTL_SHELL_ARGUMENTS_MAX ||
		    n > sizeof(asked->text) - asked->length)
			return -E2BIG;
		memcpy(asked->text + asked->length, *command, n);
		asked->length += (uint32_t)n;
		asked->count++;
	}
	return 0;
}

static int
ask(struct shell *shell, const struct conf *conf)
{
	const char *const *command = shell->command[0] != NULL ?
	    (const char *const *)shell->command : default_command;
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_SHELL);
	(void)snprintf(msg.u.shell.name, sizeof(msg.u.shell.name), "%s",
	    shell->function);
	msg.u.shell.has_terminal = shell->terminal.is_there;
	if (put_arguments(&msg.u.shell, command) != 0) {
		(void)cmd_fail("the command is too long: %d arguments and %d "
		    "bytes are the most; put it into a file of the function",
		    CTL_SHELL_ARGUMENTS_MAX, CTL_SHELL_TEXT_MAX);
		return -E2BIG;
	}
	shell->control = ctl_send(conf, &msg, shell->terminal.is_there ?
	    shell->terminal.slave : -1);
	return shell->control < 0 ? shell->control : 0;
}

/* The host's answer, with what comes along. */
static int
take_answer(struct shell *shell)
{
	struct ctl_msg msg;
	int fds[3] = { -1, -1, -1 };
	int error = ctl_receive_fds(shell->control, &msg, ANSWER_MS, fds, 3);

	if (error != 0)
		return error;
	if (msg.type == CTL_SHELL_UP) {
		shell->init_sock = fds[0];
		shell->conf_fd = fds[1];
		shell->env_fd = fds[2];
		shell->info = msg.u.function;
		return 0;
	}
	for (size_t i = 0; i < 3; i++)
		close_fd(&fds[i]);
	(void)cmd_fail("%s", msg.type == CTL_REPLY &&
	    msg.u.reply.text[0] != '\0' ? msg.u.reply.text :
	    "the host answered something else");
	return -EPROTO;
}

/* By the configuration and the sidecar with which the host runs. */
static int
make_env(const struct shell *shell, struct buf *block)
{
	struct conf_errors errors = { .count = 0 };
	struct conf *conf = conf_read(shell->conf_fd, "configuration",
	    &errors);
	struct cgi_env *env = cgi_env_new();
	const char *term = getenv("TERM");
	char *sidecar = NULL;
	size_t n = 0;
	int error = conf == NULL ? -EPROTO : env == NULL ? -ENOMEM : 0;

	conf_errors_free(&errors);
	if (error == 0 && shell->env_fd >= 0)
		error = sock_sealed_read(shell->env_fd, ENV_BYTES_MAX,
		    &sidecar, &n);
	if (error == 0 && shell->terminal.is_there && term != NULL)
		error = cgi_env_set(env, "TERM", term);
	if (error == 0)
		error = function_env_add(env, conf, &shell->info, sidecar, n);
	if (error == 0)
		error = cgi_env_put_block(env, block);
	free(sidecar);
	cgi_env_free(env);
	conf_unref(conf);
	return error;
}

static int
begin(struct shell *shell)
{
	struct buf block = { 0 };
	int fds[3], error = make_env(shell, &block);

	terminal_fds(&shell->terminal, fds);
	if (error == 0)
		error = session_run(shell->init_sock,
		    (const char *)buf_head(&block), buf_len(&block), fds);
	buf_free(&block);
	if (error == 0)
		error = terminal_begin(&shell->terminal);
	if (error != 0)
		(void)cmd_fail("the shell cannot be started: %s",
		    strerror(-error));
	return error;
}

static int
follow(struct shell *shell)
{
	struct session_end end = session_follow(shell->init_sock,
	    shell->signal_fd, &shell->terminal);

	terminal_close(&shell->terminal);
	if (end.outcome == SESSION_NO_EXEC)
		(void)cmd_fail("%s: %s", shell->command[0] != NULL ?
		    shell->command[0] : default_command[0],
		    strerror(end.value));
	else if (end.outcome == SESSION_LOST)
		(void)cmd_fail("the host has ended the sandbox, or it was out "
		    "of memory; look at its log");
	return session_status(&end);
}

static int
open_shell(struct shell *shell, const struct conf *conf)
{
	int error = terminal_open(&shell->terminal);

	if (error != 0) {
		(void)cmd_fail("a terminal for the sandbox: %s",
		    strerror(-error));
		return SESSION_CANNOT;
	}
	shell->signal_fd = session_signals();
	if (shell->signal_fd < 0) {
		(void)cmd_fail("signals: %s", strerror(-shell->signal_fd));
		return SESSION_CANNOT;
	}
	if (ask(shell, conf) != 0 || take_answer(shell) != 0 ||
	    begin(shell) != 0)
		return SESSION_CANNOT;
	return follow(shell);
}

int
cmd_shell(const struct cmd_verb *verb, int argc, char **argv)
{
	struct shell shell = { .control = -1, .init_sock = -1, .conf_fd = -1,
		.env_fd = -1, .signal_fd = -1, .terminal = TERMINAL_NONE };
	const char *path = DEFAULT_CONFIG;
	const struct cmd_option options[] = { CMD_OPTION_CONF(&path) };
	struct conf *conf;
	char **operands;
	int code;

	if (!cmd_options(verb, options, 1, argc, argv, &operands, &code))
		return code;
	if (*operands == NULL)
		return cmd_wrong(verb, "name the function");
	if (!ctl_name_ok(*operands))
		return cmd_wrong(verb, "\"%s\" is no name of a function",
		    *operands);
	shell.function = *operands;
	shell.command = operands + 1;
	conf = cmd_conf_running(path);
	if (conf == NULL)
		return CMD_WRONG;
	code = open_shell(&shell, conf);
	terminal_close(&shell.terminal);
	close_fd(&shell.init_sock);
	close_fd(&shell.control);
	close_fd(&shell.conf_fd);
	close_fd(&shell.env_fd);
	close_fd(&shell.signal_fd);
	conf_unref(conf);
	return code;
}
