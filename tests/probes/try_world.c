#include "tests/probes/try.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define MIB ((uint64_t)1 << 20)

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
command(const char *text)
{
	if (system(text) != 0) {
		fprintf(stderr, "failed: %s\n", text);
		exit(1);
	}
}

/* ----------------------------------------------------------------- listeners */

static int
listen_at(const char *address)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(WORLD_PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET, address, &at.sin_addr);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(fd, 16) != 0)
		die(address);
	return fd;
}

/* A socket that every uid may connect to; abstract if the name begins with a
 * zero byte. */
static int
listen_unix(const char *name, size_t length)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(at.sun_path, name, length);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, (socklen_t)(
	        offsetof(struct sockaddr_un, sun_path) + length)) != 0 ||
	    listen(fd, 64) != 0)
		die("a socket of the host");
	return fd;
}

static void
make_network(struct world *world)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) != 0 ||
	    sethostname(WORLD_NAME, strlen(WORLD_NAME)) != 0)
		die("namespaces of its own");
	command("ip link set lo up");
	/* A dummy interface where the kernel has one, else the loopback. */
	if (system("ip link add probe0 type dummy 2>/dev/null && "
	           "ip link set probe0 up") == 0)
		command("ip addr add 169.254.169.254/16 dev probe0 && "
		        "ip addr add 10.0.0.1/8 dev probe0");
	else
		command("ip addr add 169.254.169.254/16 dev lo && "
		        "ip addr add 10.0.0.1/8 dev lo");
	world->listeners[0] = listen_at("127.0.0.1");
	world->listeners[1] = listen_at("169.254.169.254");
	world->listeners[2] = listen_at("10.0.0.1");
}

/* What is private is prohibited there by routes, as by fcgi-host-egress, and
 * nothing leads anywhere else. */
static void
make_egress(struct world *world)
{
	CLEANUP_FD int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (own < 0 || unshare(CLONE_NEWNET) != 0)
		die("a namespace with a way out");
	command("ip route add prohibit 10.0.0.0/8 && "
	        "ip route add prohibit 169.254.0.0/16");
	world->egress_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (world->egress_fd < 0 || setns(own, CLONE_NEWNET) != 0)
		die("a namespace with a way out");
}

unsigned
world_connections(const struct world *world)
{
	unsigned n = 0;

	for (int i = 0; i < WORLD_LISTENERS; i++) {
		int fd;

		while ((fd = accept(world->listeners[i], NULL, NULL)) >= 0) {
			close(fd);
			n++;
		}
	}
	return n;
}

/* --------------------------------------------------------------------- files */

static void
copy_file(const char *from, const char *to)
{
	CLEANUP_FD int in = open(from, O_RDONLY | O_CLOEXEC);
	CLEANUP_FD int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0755);
	char buf[65536];
	ssize_t n;

	if (in < 0 || out < 0)
		die(from);
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		if (write(out, buf, (size_t)n) != n)
			die(to);
	}
	fchmod(out, 0755);
}

/* The folder and all in it belong to the tenant, so that only the sandbox and
 * not its mode stands before the program. */
static void
make_files(struct world *world)
{
	char path[128];
	int fd;

	box_built("tests/probes/probe", world->probe, sizeof(world->probe));
	snprintf(path, sizeof(path), "%s/probe", world->box.folder);
	copy_file(world->probe, path);
	if (chown(path, BOX_UID, BOX_GID) != 0)
		die(path);
	/* One that stays root's, and is setuid. */
	snprintf(path, sizeof(path), "%s/setuid", world->box.folder);
	copy_file(world->probe, path);
	if (chmod(path, 04755) != 0 ||
	    chown(world->box.folder, BOX_UID, BOX_GID) != 0)
		die(path);
	snprintf(path, sizeof(path), "%s.data", world->box.folder);
	if (mkdir(path, 0700) != 0 || chown(path, BOX_UID, BOX_GID) != 0)
		die(path);
	world->data_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(world->outside, sizeof(world->outside), "%s.out",
	    world->box.folder);
	if (mkdir(world->outside, 0755) != 0)
		die(world->outside);
	/* Not below /tmp, where every sandbox has its own. */
	snprintf(world->marker, sizeof(world->marker),
	    "/var/tmp/probes-%d.marker", (int)getpid());
	fd = open(world->marker, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || world->data_fd < 0)
		die(world->marker);
	close(fd);
	snprintf(world->socket_path, sizeof(world->socket_path),
	    "/var/tmp/probes-%d.sock", (int)getpid());
}

static void
make_image(struct world *world)
{
	char path[128], usr[136], problem[256];

	snprintf(path, sizeof(path), "%s.image", world->box.folder);
	snprintf(usr, sizeof(usr), "%s/usr", path);
	if (mkdir(path, 0755) != 0 || mkdir(usr, 0755) != 0)
		die(path);
	if (image_open(&world->image, path, problem, sizeof(problem)) != 0)
		die(problem);
}

static void
remove_image(struct world *world)
{
	char path[128];

	image_close(&world->image);
	snprintf(path, sizeof(path), "%s.image/usr", world->box.folder);
	rmdir(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static void
remove_files(struct world *world)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/probe", world->box.folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/setuid", world->box.folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s.data", world->box.folder);
	rmdir(path);
	rmdir(world->outside);
	unlink(world->marker);
	unlink(world->socket_path);
	close(world->data_fd);
}

/* ---------------------------------------------------------------- the victim */

void
world_start_victim(struct world *world)
{
	world->victim = fork();
	if (world->victim == 0) {
		if (setresgid(BOX_GID, BOX_GID, BOX_GID) != 0 ||
		    setresuid(BOX_UID, BOX_UID, BOX_UID) != 0 ||
		    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
			_exit(1);
		for (;;)
			pause();
	}
	snprintf(world->env[0], sizeof(world->env[0]), "PROBE_HOST_PID=%d",
	    (int)world->victim);
}

void
world_end_victim(struct world *world)
{
	kill(world->victim, SIGKILL);
	waitpid(world->victim, NULL, 0);
}

/* ----------------------------------------------------------------- the whole */

static void __attribute__((format(printf, 2, 3)))
set_variable(struct world *world, const char *format, ...)
{
	va_list arguments;
	int i = 0;

	while (world->environment[i] != NULL)
		i++;
	if (i == WORLD_VARIABLES)
		die("too many variables");
	va_start(arguments, format);
	vsnprintf(world->env[i], sizeof(world->env[i]), format, arguments);
	va_end(arguments);
	world->environment[i] = world->env[i];
}

static void
make_environment(struct world *world)
{
	char name[64] = "";
	int n = snprintf(name + 1, sizeof(name) - 1, "probe-%d", (int)getpid());

	world->abstract_fd = listen_unix(name, (size_t)n + 1);
	world->socket_fd = listen_unix(world->socket_path,
	    strlen(world->socket_path));
	if (chmod(world->socket_path, 0777) != 0)
		die(world->socket_path);
	set_variable(world, "PROBE_HOST_PID=%d", (int)world->victim);
	set_variable(world, "PROBE_MARKER=%s", world->marker);
	set_variable(world, "PROBE_PORT=%d", WORLD_PORT);
	set_variable(world, "PROBE_ABSTRACT=%s", name + 1);
	set_variable(world, "PROBE_SOCKET=%s", world->socket_path);
	set_variable(world, "PROBE_HOSTNAME=%s", WORLD_NAME);
	set_variable(world, "PROBE_IPC_KEY=%d", WORLD_IPC_KEY);
	set_variable(world, "PROBE_BOMB=400");
	set_variable(world, "PROBE_BOMB_MIB=128");
	set_variable(world, "PATH=/usr/bin:/bin");
}

/* What a sandbox inherits is to be no bound that counts, whoever started us. */
static void
take_limits(void)
{
	static const struct {
		int which;
		rlim_t value;
	} limits[] = {
		{ RLIMIT_CORE, RLIM_INFINITY },
		{ RLIMIT_NOFILE, 65536 },
		{ RLIMIT_SIGPENDING, 65536 },
		{ RLIMIT_MEMLOCK, RLIM_INFINITY },
		{ RLIMIT_MSGQUEUE, RLIM_INFINITY },
		{ RLIMIT_NPROC, RLIM_INFINITY },
		{ RLIMIT_DATA, RLIM_INFINITY },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		__rlimit_resource_t which = (__rlimit_resource_t)limits[i].which;
		struct rlimit limit = { limits[i].value, limits[i].value };

		/* Not every root may raise them. */
		if (setrlimit(which, &limit) == 0 || getrlimit(which, &limit) != 0)
			continue;
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(which, &limit) != 0)
			die("limits");
	}
}

/* As a leaf of the host's has them, where there are controllers. */
static void
make_limits(struct world *world)
{
	const struct cgroup_parent *parent = &world->box.cgroup;

	if (parent->has_memory)
		world->box.limits.memory_bytes = 64 * MIB;
	if (parent->has_pids)
		world->box.limits.processes = 32;
}

int
world_make(struct world *world)
{
	char path[4096], problem[256];
	int setup;

	memset(world, 0, sizeof(*world));
	setup = box_setup(&world->box);
	if (setup != 0)
		return setup;
	world->bare = sandbox_host_new(box_built("tests/probes/bare-init", path,
	    sizeof(path)), problem, sizeof(problem));
	if (world->bare == NULL) {
		fprintf(stderr, "cannot test: %s\n", problem);
		exit(1);
	}
	take_limits();
	make_network(world);
	make_egress(world);
	make_files(world);
	make_image(world);
	world_start_victim(world);
	make_environment(world);
	make_limits(world);
	return 0;
}

void
world_remove(struct world *world)
{
	world_end_victim(world);
	remove_files(world);
	remove_image(world);
	sandbox_host_free(world->bare);
	box_teardown(&world->box);
}
