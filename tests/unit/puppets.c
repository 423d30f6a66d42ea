#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/puppets.h"

#define PATIENCE_MS 15000 /* for what must come, on a loaded machine */
#define MOMENT_MS 150     /* for what must not come */
#define PREFIX "fcgi-host-"

/* What a puppet says when it introduces itself. */
struct introduction {
	char name[16];
	pid_t pid;
};

static struct sockaddr_un
address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_true((size_t)snprintf(address.sun_path,
	    sizeof(address.sun_path), "%s", path) < sizeof(address.sun_path));
	return address;
}

/* -------------------------------------------------------------- the puppet */

/* argv[0] is DIR/libexec/fcgi-host-NAME, and DIR/meet listens. */
static _Noreturn void
be_puppet(const char *path, const char *name)
{
	struct introduction hello = { .pid = getpid() };
	struct sockaddr_un address;
	int fds[3] = { 3, 4, 5 };
	/* Before the line, which would become descriptor 5 of a scanner. */
	size_t count = fcntl(5, F_GETFD) >= 0 ? 3 : 2;
	int line = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char meet[PATH_MAX], byte;

	snprintf(hello.name, sizeof(hello.name), "%s", name);
	snprintf(meet, sizeof(meet), "%.*s/../meet", (int)(name - path) -
	    (int)sizeof(PREFIX), path);
	address = address_of(meet);
	if (connect(line, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    sock_send(line, &hello, sizeof(hello), fds, count) != 0)
		_exit(3);
	/* A word of the test makes it end well, as a drained gateway does. */
	if (recv(line, &byte, 1, 0) == 1)
		_exit(0);
	_exit(4);
}

void
puppets_main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;

	if (slash != NULL && strncmp(slash + 1, PREFIX, strlen(PREFIX)) == 0)
		be_puppet(argv[0], slash + 1 + strlen(PREFIX));
}

/* --------------------------------------------------------------- the world */

static void
build_directory(char *out, size_t size)
{
	const char *directory = getenv("BUILDDIR");
	ssize_t n;
	int i;

	if (directory != NULL) {
		snprintf(out, size, "%s", directory);
		return;
	}
	n = readlink("/proc/self/exe", out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	for (i = 0; i < 3 && strrchr(out, '/') != NULL; i++)
		*strrchr(out, '/') = '\0';
}

bool
puppets_possible(void)
{
	char directory[PATH_MAX], path[PATH_MAX + 32];

	if (geteuid() != 0) {
		print_message("NOT RUN: needs root, as the spawner does\n");
		return false;
	}
	build_directory(directory, sizeof(directory));
	snprintf(path, sizeof(path), "%s/fcgi-host-spawner", directory);
	if (access(path, X_OK) != 0) {
		print_message("NOT RUN: %s is not there; build it, or set "
		    "BUILDDIR\n", path);
		return false;
	}
	return true;
}

const char *
world_path(const struct world *world, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", world->dir, name);
	return path;
}

void
world_write(const struct world *world, const char *name, const char *text,
    mode_t mode)
{
	int fd = open(world_path(world, name),
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

void
world_configure(const struct world *world, const char *more)
{
	char text[4096];
	const char *d = world->dir;

	snprintf(text, sizeof(text), "[host]\nlisten = %s/run/s\n"
	    "functions = %s/functions\naccounting = %s/log/a.log\n"
	    "run = %s/run\nstate = %s/state\nuser = nobody\n%s", d, d, d, d, d,
	    more);
	world_write(world, "h.ini", text, 0644);
}

static void
make_tree(const struct world *world)
{
	static const char *const directories[] = { "run", "state", "log",
		"functions", "functions/alice", "libexec" };
	static const char *const roles[] = { "gateway", "scanner" };
	char build[PATH_MAX], command[PATH_MAX * 2 + 64], name[64];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t i;

	assert_true(n > 0);
	self[n] = '\0';
	assert_int_equal(chmod(world->dir, 0755), 0);
	for (i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		assert_int_equal(mkdir(world_path(world, directories[i]),
		    0755), 0);
	for (i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "libexec/" PREFIX "%s", roles[i]);
		assert_int_equal(symlink(self, world_path(world, name)), 0);
	}
	build_directory(build, sizeof(build));
	snprintf(command, sizeof(command), "cp %s/fcgi-host-init %s/libexec/",
	    build, world->dir);
	assert_int_equal(system(command), 0);
	world_write(world, "functions/hello.cgi", "#!/bin/sh\n"
	    "printf 'Content-Type: text/plain\\n\\nhello '; id -u\n", 0755);
}

static int
listen_at(const char *path, int type)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
	    sizeof(address)), 0);
	if (type == SOCK_SEQPACKET)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static bool
comes(int fd, int within_ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };

	return poll(&poller, 1, within_ms) == 1;
}

static void
close_puppet(struct puppet *puppet)
{
	close_fd(&puppet->line);
	close_fd(&puppet->sock);
	close_fd(&puppet->fds[0]);
	close_fd(&puppet->fds[1]);
}

/* Takes the next introduction, whose ever it is. */
static void
meet(struct world *world)
{
	struct introduction hello;
	struct puppet *puppet;
	int line, fds[3] = { -1, -1, -1 };
	size_t count = 0;

	if (!comes(world->meet_fd, PATIENCE_MS))
		fail_msg("no puppet came");
	line = accept4(world->meet_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(line >= 0);
	assert_int_equal(sock_recv(line, &hello, sizeof(hello), fds, 3,
	    &count), sizeof(hello));
	puppet = strcmp(hello.name, "gateway") == 0 ? &world->gateway :
	    &world->scanner;
	close_puppet(puppet);
	memcpy(puppet->name, hello.name, sizeof(puppet->name));
	puppet->pid = hello.pid;
	puppet->line = line;
	puppet->sock = fds[0];
	puppet->fds[0] = fds[1];
	puppet->fds[1] = fds[2];
}

static void
run_spawner(const struct world *world)
{
	char build[PATH_MAX], program[PATH_MAX + 32], conf[128], libexec[128];
	char notify[128];
	int log = open(world_path(world, "spawner.log"),
	    O_WRONLY | O_CREAT | O_APPEND, 0644);

	build_directory(build, sizeof(build));
	snprintf(program, sizeof(program), "%s/fcgi-host-spawner", build);
	snprintf(conf, sizeof(conf), "%s/h.ini", world->dir);
	snprintf(libexec, sizeof(libexec), "%s/libexec", world->dir);
	snprintf(notify, sizeof(notify), "%s/notify", world->dir);
	(void)setenv("FCGI_HOST_LIBEXEC", libexec, 1);
	(void)setenv("NOTIFY_SOCKET", notify, 1);
	(void)dup2(log, STDERR_FILENO);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)execl(program, program, "-c", conf, (char *)NULL);
	_exit(127);
}

void
world_start(struct world *world, const char *more)
{
	*world = (struct world){ .gateway = { .line = -1, .sock = -1,
	    .fds = { -1, -1 } }, .scanner = { .line = -1, .sock = -1,
	    .fds = { -1, -1 } } };
	strcpy(world->dir, "/tmp/puppets.XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	make_tree(world);
	world_configure(world, more);
	world->meet_fd = listen_at(world_path(world, "meet"), SOCK_SEQPACKET);
	world->notify_fd = listen_at(world_path(world, "notify"), SOCK_DGRAM);
	world->spawner = fork();
	if (world->spawner == 0)
		run_spawner(world);
	assert_true(world->spawner > 0);
	meet(world);
	meet(world);
	assert_true(world->gateway.sock >= 0 && world->scanner.sock >= 0);
}

bool
world_lives(const struct world *world)
{
	return waitpid(world->spawner, NULL, WNOHANG) == 0;
}

int
world_wait(struct world *world)
{
	int status, i;

	for (i = 0; i < PATIENCE_MS / 10; i++) {
		if (waitpid(world->spawner, &status, WNOHANG) != 0) {
			world->spawner = -1;
			return status;
		}
		(void)usleep(10000);
	}
	fail_msg("the spawner does not end");
	return -1;
}

/* Does what an honest gateway does in a drain, whatever stands before. */
static void
drain_step(struct world *world)
{
	struct puppet *gateway = &world->gateway;
	int fds[PUPPET_FDS_MAX];
	size_t count = 0;
	struct ctl_msg msg;
	ssize_t n;

	if (gateway->sock < 0 || !comes(gateway->sock, 0))
		return;
	n = sock_recv(gateway->sock, &msg, sizeof(msg), fds, PUPPET_FDS_MAX,
	    &count);
	while (count > 0)
		close_fd(&fds[--count]);
	if (n <= 0) {
		close_puppet(gateway);
	} else if (msg.type == CTL_DRAIN) {
		ctl_msg_init(&msg, CTL_DRAINED);
		(void)sock_send(gateway->sock, &msg, msg.size, NULL, 0);
	} else if (msg.type == CTL_TOTALS && msg.u.totals.is_final) {
		(void)send(gateway->line, "x", 1, MSG_NOSIGNAL);
	}
}

/* True: it ended well. */
static bool
drain(struct world *world)
{
	int status = -1, i;

	(void)kill(world->spawner, SIGTERM);
	for (i = 0; i < PATIENCE_MS; i++) {
		if (waitpid(world->spawner, &status, WNOHANG) != 0) {
			world->spawner = -1;
			return status == 0;
		}
		if (comes(world->meet_fd, 0))
			meet(world);
		drain_step(world);
		(void)usleep(1000);
	}
	(void)kill(world->spawner, SIGKILL);
	(void)waitpid(world->spawner, NULL, 0);
	world->spawner = -1;
	return false;
}

void
world_end(struct world *world)
{
	char command[128];
	bool is_well = true;

	if (world->spawner > 0) {
		is_well = world_lives(world) && drain(world);
		if (!is_well) {
			snprintf(command, sizeof(command),
			    "tail -n 40 %s/spawner.log", world->dir);
			(void)!system(command);
		}
	}
	close_puppet(&world->scanner);
	close_puppet(&world->gateway);
	close_fd(&world->meet_fd);
	close_fd(&world->notify_fd);
	snprintf(command, sizeof(command), "rm -rf %s", world->dir);
	assert_int_equal(system(command), 0);
	assert_true(is_well);
}

int
world_tear_down(void **state)
{
	world_end(*state);
	return 0;
}

void
world_expect_notice(const struct world *world, const char *text)
{
	char notice[256];
	ssize_t n;

	do { /* sockets that it stores are not for us */
		assert_true(comes(world->notify_fd, PATIENCE_MS));
		n = recv(world->notify_fd, notice, sizeof(notice) - 1, 0);
		assert_true(n > 0);
		notice[n] = '\0';
	} while (strncmp(notice, "FDSTORE", strlen("FDSTORE")) == 0);
	assert_int_equal(strncmp(notice, text, strlen(text)), 0);
}

/* ---------------------------------------------------------------- speaking */

void
puppet_await_successor(struct world *world, struct puppet *puppet)
{
	char byte;

	if (!comes(puppet->line, PATIENCE_MS))
		fail_msg("the %s was not killed", puppet->name);
	assert_true(recv(puppet->line, &byte, 1, 0) <= 0);
	close_puppet(puppet);
	while (puppet->line < 0)
		meet(world);
}

void
puppet_say(const struct puppet *puppet, enum ctl_type type)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, type);
	puppet_send(puppet, &msg, NULL, 0);
}

void
puppet_send_raw(const struct puppet *puppet, const void *data, size_t n)
{
	assert_int_equal(send(puppet->sock, data, n, MSG_NOSIGNAL), n);
}

void
puppet_send(const struct puppet *puppet, const struct ctl_msg *msg,
    const int *fds, size_t fd_count)
{
	assert_int_equal(sock_send(puppet->sock, msg, msg->size, fds,
	    fd_count), 0);
}

void
puppet_expect(const struct puppet *puppet, enum ctl_type type,
    struct ctl_msg *msg, int fds[PUPPET_FDS_MAX])
{
	unsigned way = strcmp(puppet->name, "gateway") == 0 ?
	    CTL_WAY_SPAWNER_TO_GATEWAY : CTL_WAY_SPAWNER_TO_SCANNER;
	size_t count = 0, i;
	ssize_t n;

	if (!comes(puppet->sock, PATIENCE_MS))
		fail_msg("%s: nothing came, %s was expected", puppet->name,
		    ctl_type_name(type));
	n = sock_recv(puppet->sock, msg, sizeof(*msg), fds, PUPPET_FDS_MAX,
	    &count);
	assert_true(n > 0);
	if (msg->type == CTL_INSTANCE_FAILED && type != msg->type)
		fail_msg("a start failed: %s: %s",
		    msg->u.instance_failed.step,
		    strerror(msg->u.instance_failed.error));
	assert_string_equal(ctl_type_name(msg->type), ctl_type_name(type));
	assert_int_equal(ctl_msg_check(msg, (size_t)n, count, way), 0);
	for (i = count; i < PUPPET_FDS_MAX; i++)
		fds[i] = -1;
}

void
puppet_expect_only(const struct puppet *puppet, enum ctl_type type,
    struct ctl_msg *msg)
{
	int fds[PUPPET_FDS_MAX], i;

	puppet_expect(puppet, type, msg, fds);
	for (i = 0; i < PUPPET_FDS_MAX; i++)
		close_fd(&fds[i]);
}

void
puppet_expect_silence(const struct puppet *puppet)
{
	assert_false(comes(puppet->sock, MOMENT_MS));
}

struct ctl_msg
report_of(const char *name, const char *path, const char *tenant)
{
	struct ctl_msg msg;
	struct ctl_function *f = &msg.u.function;

	ctl_msg_init(&msg, CTL_FN_PUT);
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->path, sizeof(f->path), "%s", path);
	snprintf(f->tenant, sizeof(f->tenant), "%s", tenant);
	memset(f->version, 'a', CTL_VERSION_LENGTH);
	f->limits.value[LIMIT_MEMORY_BYTES] = 64 << 20;
	f->limits.value[LIMIT_PROCESSES] = 16;
	f->limits.value[LIMIT_TMP_BYTES] = 1 << 20;
	f->limits.value[LIMIT_INSTANCES] = 2;
	f->limits.value[LIMIT_DATA] = 1;
	return msg;
}

struct ctl_msg
start_of(uint64_t id, const char *name)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_INSTANCE_START);
	msg.u.instance_start.id = id;
	snprintf(msg.u.instance_start.name,
	    sizeof(msg.u.instance_start.name), "%s", name);
	memset(msg.u.instance_start.version, 'a', CTL_VERSION_LENGTH);
	return msg;
}

void
world_serve(struct world *world)
{
	struct ctl_msg msg, hello = report_of("hello", "hello.cgi", "default");

	puppet_expect_only(&world->scanner, CTL_CONF, &msg);
	puppet_send(&world->scanner, &hello, NULL, 0);
	puppet_say(&world->scanner, CTL_FN_SYNC);
	puppet_expect_only(&world->gateway, CTL_START, &msg);
	puppet_expect_only(&world->gateway, CTL_CONF, &msg);
	puppet_expect_only(&world->gateway, CTL_LOG, &msg);
	puppet_expect_only(&world->gateway, CTL_FN_PUT, &msg);
	puppet_expect_only(&world->gateway, CTL_FN_SYNC, &msg);
	puppet_send(&world->gateway, &msg, NULL, 0);
	puppet_expect_only(&world->gateway, CTL_LISTEN, &msg);
	world_expect_notice(world, "READY=1");
}

/* ---------------------------------------------------------------- commands */

int
command_send_msg(const struct world *world, const struct ctl_msg *msg, int fd)
{
	struct sockaddr_un address =
	    address_of(world_path(world, "run/control.sock"));
	int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(connection >= 0);
	assert_int_equal(connect(connection, (struct sockaddr *)&address,
	    sizeof(address)), 0);
	assert_int_equal(sock_send(connection, msg, msg->size, &fd,
	    fd >= 0 ? 1 : 0), 0);
	return connection;
}

void
command_expect_silence(int connection)
{
	assert_false(comes(connection, MOMENT_MS));
}

int
command_send(const struct world *world, enum ctl_verb verb, int fd)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_COMMAND);
	msg.u.command.verb = verb;
	return command_send_msg(world, &msg, fd);
}

int
command_reply(int connection, char *text)
{
	struct ctl_msg msg;
	ssize_t n;

	if (!comes(connection, PATIENCE_MS))
		fail_msg("no reply to a command");
	n = sock_recv(connection, &msg, sizeof(msg), NULL, 0, NULL);
	assert_true(n > 0);
	assert_int_equal(ctl_msg_check(&msg, (size_t)n, 0, CTL_WAY_TO_COMMAND),
	    0);
	assert_int_equal(msg.type, CTL_REPLY);
	if (text != NULL)
		memcpy(text, msg.u.reply.text, sizeof(msg.u.reply.text));
	close(connection);
	return msg.u.reply.code;
}
