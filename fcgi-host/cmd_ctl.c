#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_ctl.h"
#include "fcgi-host/lock.h"
#include "fcgi-host/sock.h"

#define CONTROL_SOCKET "control.sock"
#define SEND_TIMEOUT_S 10

/* The verbs that are one question and one answer. */
static const struct ctl_verb_rule {
	const char *name;
	enum ctl_verb verb;
	int timeout_ms; /* -1: as long as it takes */
} rules[] = {
	{ "reload", CTL_VERB_RELOAD, 60000 },
	{ "reopen", CTL_VERB_REOPEN, 60000 },
	{ "drain", CTL_VERB_DRAIN, -1 },
};

static int
connect_failed(const char *path, int error, pid_t owner)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		if (owner > 0)
			(void)cmd_fail("a host runs (process %d), but its "
			    "socket %s is gone: if it neither starts nor ends "
			    "just now, its run directory was emptied; stop it "
			    "(kill %d) and start it again", (int)owner, path,
			    (int)owner);
		else
			(void)cmd_fail("no host runs at %s; start it with "
			    "fcgi-host run, or name its configuration with -c "
			    "FILE", path);
		break;
	case EACCES:
	case EPERM:
		(void)cmd_fail("%s: not permitted; be root or in the "
		    "service's group", path);
		break;
	default:
		(void)cmd_fail("%s: %s", path, strerror(error));
	}
	return -error;
}

/* The address in any case. */
static int
connect_quietly(const struct conf *conf, struct sockaddr_un *address)
{
	struct timeval patience = { .tv_sec = SEND_TIMEOUT_S };
	CLEANUP_FD int sock = -1;
	int n;

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s",
	    conf->run, CONTROL_SOCKET);
	if (n < 0 || (size_t)n >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	/* A host that hangs must not hang who asks it. */
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience,
	    sizeof(patience)) != 0 ||
	    connect(sock, (const struct sockaddr *)address,
	    sizeof(*address)) != 0)
		return -errno;
	return steal_fd(&sock);
}

static int
connect_control(const struct conf *conf)
{
	struct sockaddr_un address;
	struct stat run;
	int sock = connect_quietly(conf, &address);

	if (sock >= 0)
		return sock;
	return connect_failed(address.sun_path, -sock,
	    stat(conf->run, &run) == 0 ? lock_owner(&run) : 0);
}

int
ctl_try(const struct conf *conf, enum ctl_verb verb)
{
	struct sockaddr_un address;
	CLEANUP_FD int sock = connect_quietly(conf, &address);
	struct ctl_msg msg;
	int error;

	if (sock < 0)
		return sock;
	ctl_msg_init(&msg, CTL_COMMAND);
	msg.u.command.verb = verb;
	error = sock_send(sock, &msg, msg.size, NULL, 0);
	/* one that hung up has perhaps said why */
	return error != 0 && error != -EPIPE ? error : steal_fd(&sock);
}

int
ctl_send(const struct conf *conf, const struct ctl_msg *msg, int fd)
{
	CLEANUP_FD int sock = connect_control(conf);
	int error;

	if (sock < 0)
		return sock;
	error = sock_send(sock, msg, msg->size, &fd, fd >= 0 ? 1 : 0);
	/* A host that hung up has perhaps said why: its answer is read. */
	if (error != 0 && error != -EPIPE) {
		(void)cmd_fail("the host takes no command: %s",
		    strerror(-error));
		return error;
	}
	return steal_fd(&sock);
}

int
ctl_ask(const struct conf *conf, enum ctl_verb verb, int fd)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_COMMAND);
	msg.u.command.verb = verb;
	msg.u.command.has_file = fd >= 0 && verb == CTL_VERB_RELOAD;
	return ctl_send(conf, &msg, fd);
}

static int
take(int sock, struct ctl_msg *msg, int *fds, size_t max)
{
	size_t count = 0, i;
	ssize_t n = sock_recv(sock, msg, sizeof(*msg), fds, max, &count);
	int error;

	/* A host that hung up on a command that it did not read may have said
	 * why before; Linux reports the reset first. */
	if (n == -ECONNRESET)
		n = sock_recv(sock, msg, sizeof(*msg), fds, max, &count);
	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return (int)n;
	error = ctl_msg_check(msg, (size_t)n, count, CTL_WAY_TO_COMMAND);
	for (i = 0; i < count && error != 0; i++)
		close_fd(&fds[i]);
	return error;
}

int
ctl_take(int sock, struct ctl_msg *msg)
{
	return take(sock, msg, NULL, 0);
}

int
ctl_receive_fds(int sock, struct ctl_msg *msg, int timeout_ms, int *fds,
    size_t max)
{
	struct pollfd wait = { .fd = sock, .events = POLLIN };
	int ready, error;
	size_t i;

	for (i = 0; i < max; i++)
		fds[i] = -1;
	do {
		ready = poll(&wait, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready == 0) {
		(void)cmd_fail("the host does not answer; look at its log");
		return -ETIMEDOUT;
	}
	error = ready < 0 ? -errno : take(sock, msg, fds, max);
	if (error == -ECONNRESET)
		(void)cmd_fail("the host ended the connection without an "
		    "answer; look at its log");
	else if (error != 0)
		(void)cmd_fail("the host's answer cannot be understood (%s); "
		    "command and host are of different versions",
		    strerror(-error));
	return error;
}

int
ctl_receive(int sock, struct ctl_msg *msg, int timeout_ms)
{
	return ctl_receive_fds(sock, msg, timeout_ms, NULL, 0);
}

/* The host reads its own file, and must say so if that is not the one that was
 * judged here. */
static int
open_judged(const struct conf *conf, const struct ctl_verb_rule *rule)
{
	return rule->verb == CTL_VERB_RELOAD ?
	    open(conf->file, O_PATH | O_CLOEXEC) : -1;
}

static int
ask_once(const struct conf *conf, const struct ctl_verb_rule *rule)
{
	CLEANUP_FD int file = open_judged(conf, rule);
	CLEANUP_FD int sock = ctl_ask(conf, rule->verb, file);
	struct ctl_msg msg;

	if (rule->verb == CTL_VERB_RELOAD &&
	    (sock == -ENOENT || sock == -ECONNREFUSED))
		(void)cmd_fail("if `run` was changed in %s: a change of run "
		    "needs a restart", conf->file);
	if (sock < 0 || ctl_receive(sock, &msg, rule->timeout_ms) != 0)
		return CMD_FAILED;
	if (msg.type != CTL_REPLY)
		return cmd_fail("the host answered something else");
	if (msg.u.reply.code != 0) {
		(void)cmd_fail("%s", msg.u.reply.text[0] != '\0' ?
		    msg.u.reply.text : strerror(msg.u.reply.code));
		/* as everywhere: a configuration that is not right */
		return rule->verb == CTL_VERB_RELOAD &&
		    msg.u.reply.code == EINVAL ? CMD_WRONG : CMD_FAILED;
	}
	if (msg.u.reply.text[0] != '\0')
		printf("%s\n", msg.u.reply.text);
	return CMD_DONE;
}

int
cmd_ctl(const struct cmd_verb *verb, int argc, char **argv)
{
	const char *path = DEFAULT_CONFIG;
	const struct cmd_option options[] = { CMD_OPTION_CONF(&path) };
	const struct ctl_verb_rule *rule = rules;
	struct conf *conf;
	int code;

	if (!cmd_options(verb, options, 1, argc, argv, NULL, &code))
		return code;
	while (strcmp(rule->name, verb->name) != 0)
		rule++;
	/* Records must go on, and logs turn, while somebody edits the file. */
	conf = rule->verb == CTL_VERB_RELOAD ? cmd_conf(path) :
	    cmd_conf_running(path);
	if (conf == NULL)
		return CMD_WRONG;
	code = rule->verb == CTL_VERB_RELOAD && !cmd_prices_ok(conf) ?
	    CMD_WRONG : ask_once(conf, rule);
	conf_unref(conf);
	return code;
}
