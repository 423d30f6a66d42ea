/*
 * A gateway, a scanner and typed commands against the spawner, each hostile as
 * it likes: messages of any type, size, order and with any descriptors, while
 * instances and roles die and time passes.  Real are the spawner's rooms from
 * the sockets to the books of instances (children, the two permit tables,
 * registry, sandboxes, control, commands); spawner_cast.c plays the rest.
 *
 * Claims: who breaks a rule is killed, and nobody else is; what reaches the
 * roles is well-formed; the gateway hears one UP or FAILED of each START and
 * one GONE after an UP; books and ceilings hold; no descriptor stays.
 */
#include "tests/fuzz/spawner_cast.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 2048
#define STEPS_MAX 100

static struct play play;

static uint8_t
next(void)
{
	return take_byte(&play.data, &play.left);
}

/* ------------------------------------------------------------------ the text */

static const char *const conf_texts[] = {
	"[host]\nfunctions=/srv/f\n",
	"[host]\nfunctions=/srv/f\n[defaults]\ninstances=1\nmemory=8M\n",
	"[host]\nfunctions=/srv/f\naccounting=/var/log/other.log\n",
	"[host]\nfunctions=/srv/other\n",
	"[host]\nfunctions=\n\"'\x01[",
	"[host]\nfunctions=/srv/f\n[tenant alice]\nuser=nobody-has-this\n",
	("[host]\nfunctions=/srv/f\n[runtime py]\nextensions=py\n"
	    "command=/usr/bin/python3\n"),
};

static const char *const names[] = { "hello", "a/b", "a/b/c", "bob/x",
	"default/x", "default", "..", "a/../b", "A", "", "/etc", "x\xff" };
static const char *const paths[] = { "hello.cgi", "hello.fcgi", "a/b.cgi",
	"a/b/main.py", "a/b/c.cgi", "bob/x", "hello.py", "../x", "/x", "" };
static const char *const tenants[] = { "default", "a", "bob", "alice", "",
	"a/b" };
static const char *const versions[] = { "0123456789abcdef",
	"fedcba9876543210", "0123", "0123456789abcdeg" };
static const char *const runtimes[] = { "", "py", "sh", "Py\n" };

#define PICK(field, list) \
	snprintf((field), sizeof(field), "%s", \
	    (list)[next() % (sizeof(list) / sizeof((list)[0]))])

static void
make_function(struct ctl_function *function)
{
	uint8_t flags;

	PICK(function->name, names);
	PICK(function->path, paths);
	PICK(function->tenant, tenants);
	PICK(function->version, versions);
	PICK(function->runtime, runtimes);
	flags = next();
	function->problem = (flags & 3) == 3 ? next() : 0;
	function->has_env = (flags >> 2) & 1;
	function->is_folder = (flags >> 3) & 1;
	settings_defaults(&function->limits);
	if ((flags & 16) != 0)
		function->limits.value[next() % LIMIT_COUNT] =
		    (uint64_t)next() << (next() % 64);
	function->limits.value[LIMIT_INSTANCES] = 1 + (flags >> 6);
}

/* A message as honest as its bytes make it, and now and then not even that. */
static void
make_message(struct ctl_msg *msg, const enum ctl_type *types, size_t count)
{
	uint8_t type = next(), how;
	size_t n;

	ctl_msg_init(msg, type < 224 ? types[type % count] :
	    (enum ctl_type)(next() % (CTL_TYPE_COUNT + 1)));
	switch (msg->type) {
	case CTL_FN_PUT:
		make_function(&msg->u.function);
		break;
	case CTL_FN_DEL:
	case CTL_FUNCTION_LOG_ASK:
		PICK(msg->u.name.name, names);
		break;
	case CTL_INSTANCE_START:
		how = next();
		msg->u.instance_start.id = play.spawner.last_id +
		    (how + 1u) % 4;
		msg->u.instance_start.purpose = (how >> 2) & 3;
		PICK(msg->u.instance_start.name, names);
		PICK(msg->u.instance_start.version, versions);
		break;
	case CTL_INSTANCE_KILL:
		msg->u.instance_kill.id = next() % 32;
		break;
	case CTL_SHELL:
		PICK(msg->u.shell.name, names);
		msg->u.shell.has_terminal = next() & 1;
		memcpy(msg->u.shell.text, "sh", 3);
		msg->u.shell.length = 3;
		msg->u.shell.count = 1;
		break;
	case CTL_LOG_SWITCHED:
		if ((next() & 3) == 3)
			msg->u.log_switched.error = EBADMSG;
		msg->u.log_switched.has_chain = next() & 1;
		if (msg->u.log_switched.has_chain)
			memset(msg->u.log_switched.head, next(),
			    sizeof(msg->u.log_switched.head));
		break;
	case CTL_SHELL_ANSWER:
		msg->u.shell_answer.serial = play.spawner.shell_serial -
		    next() % 3;
		if ((next() & 3) == 3)
			msg->u.shell_answer.error = ENOSPC;
		else
			msg->u.shell_answer.id = play.spawner.last_id +
			    (next() + 1u) % 4;
		break;
	case CTL_COMMAND:
		msg->u.command.verb = next() % (CTL_VERB_COUNT + 1);
		break;
	default:
		break;
	}
	if (type % 16 != 15)
		return;
	n = next();
	memset((uint8_t *)msg + n * 4 % sizeof(*msg), next(), 1 + n % 3);
}

static int
make_fd(uint8_t kind)
{
	int fds[2];

	if (kind % 4 == 0)
		return sock_sealed("env", "A=1", 4);
	if (kind % 4 == 1)
		return play_file("A=1", 4);
	if (kind % 4 == 2)
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	CLAIM(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	close(fds[1]);
	return fds[0];
}

/* What was sent: a message, how long and with how many descriptors. */
struct sent {
	struct ctl_msg msg;
	size_t n, fd_count;
};

/* With the descriptor that belongs to it, or perhaps not, and of another size;
 * false: it could not be sent. */
static bool
send_message(int sock, struct sent *sent)
{
	static uint8_t bytes[sizeof(struct ctl_msg) + 64];
	const struct ctl_msg *msg = &sent->msg;
	uint8_t how = next();
	bool is_sent;
	int fd = -1;

	sent->n = msg->size >= CTL_HEAD_SIZE ? msg->size : CTL_HEAD_SIZE;
	sent->fd_count = msg->type == CTL_FN_PUT ? msg->u.function.has_env & 1 :
	    msg->type == CTL_SHELL ? msg->u.shell.has_terminal & 1 :
	    msg->type == CTL_COMMAND &&
	    msg->u.command.verb == CTL_VERB_INVOKE;
	if (how >= 0xe0) {
		sent->n = next() * 8u + (how & 1) + 1;
		sent->fd_count = (how >> 1) & 1;
	}
	if (sent->n > sizeof(bytes))
		sent->n = sizeof(bytes);
	memcpy(bytes, msg, sizeof(*msg));
	if (sent->fd_count > 0)
		fd = make_fd(how >> 3);
	is_sent = sock_send(sock, bytes, sent->n, &fd, sent->fd_count) == 0;
	close_fd(&fd);
	return is_sent;
}

/* Whether one of the messages of a way, as it was sent. */
static bool
is_message(const struct sent *sent, unsigned way)
{
	return sent->n <= sizeof(sent->msg) && ctl_msg_check(&sent->msg,
	    sent->n, sent->fd_count, way) == 0;
}

/* ------------------------------------------------------------- what they do */

/* Whether the gateway may say this now, by the rules as they are written. */
static bool
gateway_may(const struct sent *sent)
{
	const struct spawner *spawner = &play.spawner;
	const struct ctl_msg *msg = &sent->msg;

	if (!is_message(sent, CTL_WAY_GATEWAY_TO_SPAWNER))
		return false;
	switch (msg->type) {
	case CTL_INSTANCE_START:
		return msg->u.instance_start.id > spawner->last_id;
	case CTL_INSTANCE_KILL:
		return msg->u.instance_kill.id <= spawner->last_id;
	case CTL_LOG_SWITCHED:
		return spawner->switches_pending > 0;
	case CTL_FN_SYNC:
		return spawner->syncs_pending > 0;
	case CTL_DRAINED:
		return spawner->phase == SPAWNER_DRAINING &&
		    !spawner->is_drained;
	case CTL_SHELL_ANSWER:
		return spawner_shell_is_asked(spawner,
		    msg->u.shell_answer.serial) &&
		    (msg->u.shell_answer.error != 0 ||
		    msg->u.shell_answer.id > spawner->last_id);
	case CTL_BUSY:
	case CTL_FUNCTION_LOG_ASK:
		return true;
	default:
		return false;
	}
}

static void
gateway_speaks(void)
{
	static const enum ctl_type types[] = { CTL_INSTANCE_START,
		CTL_INSTANCE_START, CTL_FUNCTION_LOG_ASK, CTL_INSTANCE_KILL,
		CTL_LOG_SWITCHED, CTL_DRAINED, CTL_FN_SYNC, CTL_BUSY };
	struct sent sent;
	struct asked *asked = NULL;
	bool may, is_up, has_drained;

	make_message(&sent.msg, types, sizeof(types) / sizeof(types[0]));
	if (play.gateway.sock < 0 || play.asked_count == ASKED_MAX ||
	    !send_message(play.gateway.sock, &sent))
		return;
	may = gateway_may(&sent);
	if (may && sent.msg.type == CTL_INSTANCE_START) {
		asked = &play.asked[play.asked_count++];
		*asked = (struct asked){ sent.msg.u.instance_start.id,
			FATE_ASKED };
	}
	has_drained = play.spawner.phase == SPAWNER_DRAINED;
	play_turn(&play);
	is_up = child_is_up(play.spawner.gateway);
	/* behind DRAINED its time to end may be over meanwhile */
	CLAIM(is_up == may || (may && has_drained));
	CLAIM(asked == NULL || asked->fate != FATE_ASKED || !is_up ||
	    play.gateway.was_deaf);
}

/* Whether the registry has what was reported, with its numbers in bounds. */
static void
check_registry(const struct ctl_function *reported)
{
	const struct ctl_function *kept = registry_find(play.spawner.registry,
	    reported->name);
	struct limits limits, ceiling;
	char lowered[512];

	CLAIM(kept != NULL);
	if (kept->problem != CTL_PROBLEM_NONE)
		return;
	CLAIM(strcmp(kept->path, reported->path) == 0);
	CLAIM(strcmp(kept->version, reported->version) == 0);
	conf_ceiling(play.spawner.conf, kept->tenant, kept->name, &ceiling);
	limits = kept->limits;
	CLAIM(settings_clamp(&limits, &ceiling, lowered, sizeof(lowered)) == 0);
	settings_admit(&limits, &ceiling);
	CLAIM(memcmp(&limits, &kept->limits, sizeof(limits)) == 0);
	CLAIM(strchr(kept->name, '/') == NULL ?
	    strcmp(kept->tenant, "default") == 0 :
	    strncmp(kept->name, kept->tenant, strlen(kept->tenant)) == 0);
}

static void
scanner_speaks(void)
{
	static const enum ctl_type types[] = { CTL_FN_PUT, CTL_FN_PUT,
		CTL_FN_PUT, CTL_FN_DEL, CTL_FN_SYNC };
	struct sent sent;
	bool is_up, may;

	make_message(&sent.msg, types, sizeof(types) / sizeof(types[0]));
	if (play.scanner.sock < 0 || !send_message(play.scanner.sock, &sent))
		return;
	may = is_message(&sent, CTL_WAY_SCANNER_TO_SPAWNER);
	play_turn(&play);
	is_up = child_is_up(play.spawner.scanner);
	/* of tenants and seals the registry judges by itself */
	CLAIM(is_up == may || (may && sent.msg.type == CTL_FN_PUT));
	if (is_up && sent.msg.type == CTL_FN_PUT)
		check_registry(&sent.msg.u.function);
	if (is_up && sent.msg.type == CTL_FN_DEL)
		CLAIM(registry_find(play.spawner.registry,
		    sent.msg.u.name.name) == NULL);
}

static void
time_passes(void)
{
	static const uint32_t ms[] = { 1, 100, 200, 900, 2500, 6000, 11000,
		31000 };

	play_skip_ms(ms[next() % 8]);
	play_turn(&play);
}

/* One answer at most, and then the end. */
static void
client_listens(int *sock)
{
	struct ctl_msg msg;
	size_t fd_count;
	ssize_t n = sock_recv(*sock, &msg, sizeof(msg), NULL, 0, &fd_count);

	if (n == -EAGAIN)
		return;
	if (n > 0) {
		CLAIM(ctl_msg_check(&msg, (size_t)n, 0,
		    CTL_WAY_TO_COMMAND) == 0 && msg.type == CTL_REPLY);
		CLAIM(sock_recv(*sock, &msg, sizeof(msg), NULL, 0,
		    &fd_count) <= 0);
	}
	close_fd(sock);
}

static void
client_connects(int *sock)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	CLAIM(getsockname(play.spawner.places.control_fd,
	    (struct sockaddr *)&address, &size) == 0);
	*sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	CLAIM(connect(*sock, (struct sockaddr *)&address, size) == 0);
}

static void
somebody_types(void)
{
	static const enum ctl_type types[] = { CTL_COMMAND };
	uint8_t which = next() % CLIENTS_MAX;
	int *sock = &play.clients[which];
	struct sent sent;

	if (*sock >= 0) {
		client_listens(sock);
		close_fd(sock);
	} else {
		client_connects(sock);
		if (which == 0)
			play_turn(&play); /* it is accepted, and silent */
		make_message(&sent.msg, types, 1);
		if ((which & 1) != 0)
			(void)send_message(*sock, &sent);
	}
	play_turn(&play);
	if (*sock >= 0)
		client_listens(sock);
}

static void
weather_changes(void)
{
	static const int errors[] = { 0, 0, -ENOMEM, -EMFILE, -ENOENT };
	uint8_t what = next();
	int error = errors[what / 4 % 5];

	if (what % 4 == 0)
		play.launch_error = error;
	else if (what % 4 == 1)
		play.log_error = error;
	else if (what % 4 == 2)
		play.functions_error = error;
	else
		play_write_conf(&play, conf_texts[what / 4 %
		    (sizeof(conf_texts) / sizeof(conf_texts[0]))]);
}

static void
role_goes(uint8_t how)
{
	struct actor *actor = (how & 1) != 0 ? &play.gateway : &play.scanner;

	if ((how & 6) == 0)
		actor_leave(actor);
	else
		actor_end(&play, actor, (how & 6) == 2 ? 1 : 0);
	play_turn(&play);
}

static enum fate
fate_of(uint64_t id)
{
	for (size_t i = 0; i < play.asked_count; i++)
		if (play.asked[i].id == id)
			return play.asked[i].fate;
	return FATE_OVER; /* the gateway that asked is dead */
}

/* Whose gateway listens, it is told. */
static void
instance_goes(size_t i)
{
	uint64_t id = play.alive[i]->id;
	bool is_disowned = play.alive[i]->is_disowned;

	instance_end(&play, i);
	play_turn(&play);
	CLAIM(is_disowned || play.gateway.was_deaf ||
	    !child_is_up(play.spawner.gateway) || fate_of(id) == FATE_OVER);
}

static void
step(void)
{
	uint8_t op = next();

	if (op < 96) {
		gateway_speaks();
	} else if (op < 144) {
		scanner_speaks();
	} else if (op < 160 && play.alive_count > 0) {
		instance_goes(next() % play.alive_count);
	} else if (op < 176) {
		time_passes();
	} else if (op < 216) {
		somebody_types();
	} else if (op < 232) {
		role_goes(op);
	} else if (op < 240) {
		play.gateway.is_deaf = !play.gateway.is_deaf;
		play.gateway.was_deaf = true;
	} else {
		weather_changes();
	}
}

/* The lowest descriptor that is free shows that nothing stays open. */
static int
lowest_fd(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	close(fd);
	return fd;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	int steps, fd = lowest_fd();
	bool is_refused = (take_byte(&data, &n) & 0xf) == 0xf;

	if (n > INPUT_MAX)
		return 0;
	play_open(&play, is_refused);
	play.data = data;
	play.left = n;
	for (steps = 0; steps < STEPS_MAX && play.left > 0 &&
	    play.spawner.phase != SPAWNER_ENDING; steps++)
		step();
	play_close(&play);
	CLAIM(lowest_fd() == fd);
	return 0;
}
