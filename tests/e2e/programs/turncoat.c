/*
 * A gateway or scanner that has become somebody else's.  It stands between the
 * spawner and the real program, which it starts, and confines itself as that
 * does.  So it speaks in the middle of an honest session, with true ids, names
 * and versions; until the test, on the line at ../line, tells it what to do:
 * a verb, and behind a NUL what the verb needs, byte by byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/sock.h"
#include "sandbox/confine.h"

#define SPAWNER 3   /* as the real program has it */
#define DIRECTORY 4 /* the instances' sockets, or the functions */
#define SPOOL 5
#define LINE 20
#define KEPT_MAX 64
#define TEXT_MAX 60000

static bool is_gateway;
static int real;                /* the pair's end to the real program */
static struct ctl_msg said[CTL_TYPE_COUNT];  /* the role's last of each type */
static struct ctl_msg heard[CTL_TYPE_COUNT]; /* and the spawner's */
static struct ctl_function known[KEPT_MAX];
static size_t known_count;
static uint64_t last_id, own_from; /* ids of ours; 0: none */
static unsigned up, failed;
static bool is_deaf;

static void
answer(const char *text)
{
	(void)send(LINE, text, strlen(text), MSG_NOSIGNAL);
}

/* ------------------------------------------------------ the honest session */

static void
remember_function(const struct ctl_function *function)
{
	for (size_t i = 0; i < known_count; i++)
		if (strcmp(known[i].name, function->name) == 0) {
			known[i] = *function;
			return;
		}
	if (known_count < KEPT_MAX && function->problem == CTL_PROBLEM_NONE)
		known[known_count++] = *function;
}

static const struct ctl_function *
function_of(const char *name)
{
	for (size_t i = 0; i < known_count; i++)
		if (strcmp(known[i].name, name) == 0)
			return &known[i];
	answer("error: not known");
	exit(9);
}

/* An answer to what the real program never asked. */
static bool
is_ours(const struct ctl_msg *msg, int *fds, size_t fd_count)
{
	bool is_up = msg->type == CTL_INSTANCE_UP;
	uint64_t id = is_up ? msg->u.instance_up.id :
	    msg->type == CTL_INSTANCE_FAILED ? msg->u.instance_failed.id :
	    msg->type == CTL_INSTANCE_GONE ? msg->u.instance_gone.id : 0;

	if (own_from == 0 || id < own_from)
		return false;
	failed += msg->type == CTL_INSTANCE_FAILED;
	/* the first is init's socket, at whose end the instance ends */
	for (size_t i = is_up; i < fd_count; i++)
		close(fds[i]);
	up += is_up;
	return true;
}

/* False: the other side is gone. */
static bool
carry(int from, int to, struct ctl_msg *seen)
{
	struct ctl_msg msg;
	int fds[SOCK_FDS_MAX];
	size_t count = 0;
	ssize_t n = sock_recv(from, &msg, sizeof(msg), fds, SOCK_FDS_MAX,
	    &count);

	if (n <= 0)
		return false;
	if (msg.type < CTL_TYPE_COUNT)
		memcpy(&seen[msg.type], &msg, (size_t)n);
	if (msg.type == CTL_FN_PUT)
		remember_function(&msg.u.function);
	if (from == real && msg.type == CTL_INSTANCE_START)
		last_id = msg.u.instance_start.id;
	if (from == SPAWNER && is_ours(&msg, fds, count))
		return true;
	(void)sock_send(to, &msg, (size_t)n, fds, count);
	while (count > 0)
		close(fds[--count]);
	return true;
}

/* -------------------------------------------------------------- descriptors */

static int
descriptor_of(const char *kind)
{
	if (strcmp(kind, "directory") == 0)
		return dup(DIRECTORY);
	if (strcmp(kind, "socket") == 0)
		return dup(SPAWNER);
	if (strcmp(kind, "null") == 0)
		return dup(0);
	if (strcmp(kind, "epoll") == 0)
		return epoll_create1(EPOLL_CLOEXEC);
	if (strcmp(kind, "memfd") == 0)
		return memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (strcmp(kind, "sealed") == 0)
		return sock_sealed("x", "A=1", 4);
	if (strcmp(kind, "rubbish") == 0) /* no name, no end */
		return sock_sealed("x", "=\n=;$(id)", 9);
	return -1;
}

/* ------------------------------------------------------------ the gateway's */

static struct ctl_msg
start_of(const char *name)
{
	const struct ctl_function *function = function_of(name);
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_INSTANCE_START);
	msg.u.instance_start.id = ++last_id;
	if (own_from == 0)
		own_from = last_id;
	strcpy(msg.u.instance_start.name, function->name);
	strcpy(msg.u.instance_start.version, function->version);
	return msg;
}

/* The name as it is, of some function's start. */
static void
do_name(const char *text, size_t n)
{
	struct ctl_msg msg = start_of(known[0].name);
	char *name = msg.u.instance_start.name;

	memset(name, 0, sizeof(msg.u.instance_start.name));
	memcpy(name, text, n < sizeof(msg.u.instance_start.name) ? n :
	    sizeof(msg.u.instance_start.name));
	(void)sock_send(SPAWNER, &msg, msg.size, NULL, 0);
}

static void
do_stale(const char *text, size_t n)
{
	struct ctl_msg msg = start_of(text);

	(void)n;
	memset(msg.u.instance_start.version, '0', CTL_VERSION_LENGTH);
	(void)sock_send(SPAWNER, &msg, msg.size, NULL, 0);
}

static void
do_id(const char *text, size_t n)
{
	struct ctl_msg msg = start_of(known[0].name);

	(void)n;
	msg.u.instance_start.id = strtoull(text, NULL, 10);
	(void)sock_send(SPAWNER, &msg, msg.size, NULL, 0);
}

/* "ID COUNT". */
static void
do_kill(const char *text, size_t n)
{
	struct ctl_msg msg;
	char *rest;

	(void)n;
	ctl_msg_init(&msg, CTL_INSTANCE_KILL);
	msg.u.instance_kill.id = strtoull(text, &rest, 10);
	for (unsigned long i = strtoul(rest, NULL, 10); i > 0; i--)
		(void)sock_send(SPAWNER, &msg, msg.size, NULL, 0);
}

/* "COUNT NAME": so many starts; the answers are swallowed and counted. */
static void
do_starts(const char *text, size_t n)
{
	char *name;
	unsigned long count = strtoul(text, &name, 10);

	(void)n;
	own_from = last_id + 1;
	while (count-- > 0) {
		struct ctl_msg msg = start_of(name + 1);

		(void)sock_send(SPAWNER, &msg, msg.size, NULL, 0);
	}
}

/* Asks without end and never reads an answer. */
static void
do_deaf(const char *text, size_t n)
{
	struct ctl_msg msg = start_of(known[0].name);

	(void)n;
	is_deaf = true;
	memset(msg.u.instance_start.name, 0,
	    sizeof(msg.u.instance_start.name));
	strcpy(msg.u.instance_start.name, text);
	while (sock_send(SPAWNER, &msg, msg.size, NULL, 0) == 0)
		msg.u.instance_start.id = ++last_id;
}

/* With a message that is right otherwise. */
static void
do_attach(const char *text, size_t n)
{
	int fds[2] = { descriptor_of(text), dup(0) };
	struct ctl_msg msg;

	(void)n;
	ctl_msg_init(&msg, CTL_INSTANCE_KILL);
	msg.u.instance_kill.id = last_id;
	(void)sock_send(SPAWNER, &msg, msg.size, fds, 1);
	close(fds[0]);
	close(fds[1]);
}

/* ------------------------------------------------------------ the scanner's */

static void
set_text(char *field, size_t size, const char *text, size_t n)
{
	memset(field, 0, size);
	memcpy(field, text, n < size ? n : size);
}

static void
set_limits(struct ctl_function *function, const char *text)
{
	for (size_t i = 0; i < LIMIT_COUNT; i++)
		if (i != LIMIT_DATA && i != LIMIT_FREEZE_IDLE &&
		    i != LIMIT_SPARE)
			function->limits.value[i] = strtoull(text, NULL, 0);
}

#define FIELD(member) { #member, offsetof(struct ctl_function, member), \
	sizeof(((struct ctl_function *)NULL)->member) }

#define NUMBER(name, limit) { name, \
	offsetof(struct ctl_function, limits.value[limit]), sizeof(uint64_t) }

static const struct {
	const char *key;
	size_t offset, size;
} fields[] = {
	FIELD(name), FIELD(path), FIELD(tenant), FIELD(runtime), FIELD(version),
	FIELD(pass_params), FIELD(detail), FIELD(problem), FIELD(is_folder),
	FIELD(is_fastcgi), FIELD(has_env), FIELD(note),
	NUMBER("memory", LIMIT_MEMORY_BYTES),
	NUMBER("processes", LIMIT_PROCESSES), NUMBER("data", LIMIT_DATA),
};

/* KEY=BYTES: a number in decimal digits; n is of the bytes. */
static void
set_field(struct ctl_function *f, const char *key, const char *text, size_t n)
{
	if (strcmp(key, "limits") == 0)
		set_limits(f, text);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		char *field = (char *)f + fields[i].offset;

		if (strcmp(key, fields[i].key) != 0)
			continue;
		if (fields[i].size <= 2)
			*field = (char)atoi(text);
		else if (fields[i].size == sizeof(uint64_t))
			*(uint64_t *)(void *)field = strtoull(text, NULL, 0);
		else
			set_text(field, fields[i].size, text, n);
	}
}

/* BASE, then fields, all with a 0x1f between; "fd=KIND" attaches one. */
static void
do_put(const char *text, size_t n)
{
	const char *end = text + n, *at = memchr(text, 0x1f, n);
	char base[CTL_NAME_MAX + 1] = "", key[16];
	int fds[8];
	size_t count = 0;
	struct ctl_msg msg;

	at = at == NULL ? end : at;
	memcpy(base, text, (size_t)(at - text));
	ctl_msg_init(&msg, CTL_FN_PUT);
	msg.u.function = *function_of(base);
	msg.u.function.has_env = 0;
	while (at < end) {
		const char *from = at + 1, *to, *equals;

		to = memchr(from, 0x1f, (size_t)(end - from));
		to = to == NULL ? end : to;
		equals = memchr(from, '=', (size_t)(to - from));
		snprintf(key, sizeof(key), "%.*s", (int)(equals - from), from);
		if (strcmp(key, "fd") == 0) {
			char kind[16];

			snprintf(kind, sizeof(kind), "%.*s",
			    (int)(to - equals - 1), equals + 1);
			fds[count++] = descriptor_of(kind);
		} else {
			set_field(&msg.u.function, key, equals + 1,
			    (size_t)(to - equals - 1));
		}
		at = to;
	}
	(void)sock_send(SPAWNER, &msg, msg.size, fds, count);
	while (count > 0)
		close(fds[--count]);
}

/* "COUNT NAME": so many functions that are not there, like that one. */
static void
do_puts(const char *text, size_t n)
{
	char *name;
	unsigned long count = strtoul(text, &name, 10);
	struct ctl_msg msg;

	(void)n;
	ctl_msg_init(&msg, CTL_FN_PUT);
	msg.u.function = *function_of(name + 1);
	for (unsigned long i = 0; i < count; i++) {
		struct ctl_function *f = &msg.u.function;

		memset(f->name, 0, sizeof(f->name));
		memset(f->path, 0, sizeof(f->path));
		snprintf(f->name, sizeof(f->name), "ghost%lu", i);
		snprintf(f->path, sizeof(f->path), "ghost%lu.cgi", i);
		if (sock_send(SPAWNER, &msg, msg.size, NULL, 0) != 0)
			return;
	}
}

/* ---------------------------------------------------------------- of either */

static void
do_raw(const char *text, size_t n)
{
	(void)send(SPAWNER, text, n, MSG_NOSIGNAL);
}

/* The last of the type that the role sent; "TYPE N": so much longer. */
static void
do_replay(const char *text, size_t n)
{
	char *rest;
	unsigned long type = strtoul(text, &rest, 10);
	long difference = strtol(rest, NULL, 10);

	(void)n;
	if (type >= CTL_TYPE_COUNT || said[type].size == 0) {
		answer("error: never said");
		exit(9);
	}
	(void)sock_send(SPAWNER, &said[type],
	    (size_t)((long)said[type].size + difference), NULL, 0);
}

/* What the spawner said last of the type; "TYPE 1": with a descriptor. */
static void
do_mirror(const char *text, size_t n)
{
	char *rest;
	unsigned long type = strtoul(text, &rest, 10);
	int fd = DIRECTORY;

	(void)n;
	(void)sock_send(SPAWNER, &heard[type], heard[type].size, &fd,
	    strtoul(rest, NULL, 10));
}

/* An empty one of the type, in the right size. */
static void
do_type(const char *text, size_t n)
{
	struct ctl_msg msg;

	(void)n;
	ctl_msg_init(&msg, (enum ctl_type)atoi(text));
	(void)sock_send(SPAWNER, &msg, msg.size, NULL, 0);
}

/* "0", "1" or "2" as shutdown(2) has them; "close": and lives on. */
static void
do_shut(const char *text, size_t n)
{
	(void)n;
	is_deaf = true;
	if (strcmp(text, "close") == 0)
		close(SPAWNER);
	else
		(void)shutdown(SPAWNER, atoi(text));
}

/* "said NUMBER NAME", and so on. */
static void
do_types(const char *text, size_t n)
{
	char out[3000];
	size_t at = 0;

	(void)text;
	(void)n;
	for (int i = 0; i < CTL_TYPE_COUNT; i++)
		if (said[i].size > 0)
			at += (size_t)snprintf(out + at, sizeof(out) - at,
			    "said %d %s\n", i, ctl_type_name(i));
	for (int i = 0; i < CTL_TYPE_COUNT; i++)
		if (heard[i].size > 0)
			at += (size_t)snprintf(out + at, sizeof(out) - at,
			    "heard %d %s\n", i, ctl_type_name(i));
	for (int i = 1; i < CTL_TYPE_COUNT; i++)
		at += (size_t)snprintf(out + at, sizeof(out) - at,
		    "type %d %s\n", i, ctl_type_name(i));
	answer(out);
	own_from = 0;
}

static void
do_count(const char *text, size_t n)
{
	char out[64];

	(void)text;
	(void)n;
	snprintf(out, sizeof(out), "%u %u", up, failed);
	answer(out);
}

static const struct {
	const char *name;
	void (*act)(const char *text, size_t n);
	bool is_silent; /* answers by itself */
} verbs[] = {
	{ "raw", do_raw, false }, { "replay", do_replay, false },
	{ "mirror", do_mirror, false }, { "type", do_type, false },
	{ "shut", do_shut, false },
	{ "name", do_name, false }, { "stale", do_stale, false },
	{ "id", do_id, false },
	{ "kill", do_kill, false },
	{ "starts", do_starts, false }, { "deaf", do_deaf, false },
	{ "attach", do_attach, false }, { "put", do_put, false },
	{ "puts", do_puts, false }, { "types", do_types, true },
	{ "count", do_count, true },
};

static void
obey(void)
{
	static char order[TEXT_MAX + 1];
	ssize_t n = recv(LINE, order, TEXT_MAX, 0);
	size_t verb, i;

	if (n <= 0)
		exit(0);
	order[n] = '\0';
	verb = strlen(order) + 1;
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(order, verbs[i].name) == 0) {
			verbs[i].act(order + verb, (size_t)n > verb ?
			    (size_t)n - verb : 0);
			if (!verbs[i].is_silent)
				answer("done");
			return;
		}
	answer("error: no such verb");
}

/* -------------------------------------------------------------------- start */

/* DIR/libexec/fcgi-host-NAME → DIR/NAME. */
static void
beside(const char *self, const char *name, char *out, size_t size)
{
	const char *slash = strrchr(self, '/');

	snprintf(out, size, "%.*s/../%s", (int)(slash - self), self, name);
}

static int
meet(const char *self)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	beside(self, "line", address.sun_path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	return dup3(fd, LINE, O_CLOEXEC);
}

static void
become_real(char **argv, int sock)
{
	char path[200], name[64];

	snprintf(name, sizeof(name), "honest/%s", strrchr(argv[0], '/') + 1);
	beside(argv[0], name, path, sizeof(path));
	if (sock >= 0 && dup2(sock, SPAWNER) < 0)
		_exit(8);
	execv(path, argv);
	_exit(8);
}

static int
confine(char **argv)
{
	struct confine confine = { .uid = (uid_t)atoi(argv[2]),
		.gid = (gid_t)atoi(argv[4]), .root_fd = DIRECTORY,
		.read_fd = DIRECTORY, .spool_fd = SPOOL };
	const char *step = "";
	int error = (is_gateway ? confine_gateway : confine_scanner)(&confine,
	    &step);

	if (error != 0)
		fprintf(stderr, "turncoat: %s: %s\n", step, strerror(-error));
	return error;
}

static void
serve(void)
{
	struct pollfd from[3] = { { SPAWNER, POLLIN, 0 }, { real, POLLIN, 0 },
		{ LINE, POLLIN, 0 } };

	for (;;) {
		from[0].fd = is_deaf ? -1 : SPAWNER;
		if (poll(from, 3, -1) < 0)
			continue;
		if (from[1].revents != 0 && !carry(real, SPAWNER, said))
			exit(0);
		if (from[0].revents != 0 && !carry(SPAWNER, real, heard))
			exit(0);
		if (from[2].revents != 0)
			obey();
	}
}

int
main(int argc, char **argv)
{
	int pair[2];
	pid_t pid;

	if (argc < 5 || strrchr(argv[0], '/') == NULL)
		return 9;
	is_gateway = strstr(argv[0], "gateway") != NULL;
	if (meet(argv[0]) < 0)
		become_real(argv, -1); /* nobody has turned it */
	if (sock_pair(pair) != 0)
		return 9;
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		become_real(argv, pair[1]);
	}
	close(pair[1]);
	real = pair[0];
	if (pid < 0 || confine(argv) != 0)
		return 9;
	answer(is_gateway ? "gateway" : "scanner");
	serve();
	return 0;
}
