#include "tests/fuzz/spawner_cast.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/fuzz/clock.h"
#include "tests/fuzz/fuzz.h"

/* A number that no process has. */
#define NO_PID 0x3ffffffe

/* What the definitions below, which have no argument for it, act upon. */
static struct {
	struct play *play;      /* NULL: outside of a run they are the real ones */
	struct actor *starting; /* whose sleeper fork makes next */
	int pair_end;           /* of the socket pair that was made last */
} cast;

/* ------------------------------------------------------- the C library's part */

void
play_skip_ms(uint32_t ms)
{
	clock_skip_ms(ms);
}

/* The log of a run tells of kills without end; a panic must be seen. */
ssize_t
write(int fd, const void *data, size_t n)
{
	if (cast.play != NULL && fd == STDERR_FILENO &&
	    memmem(data, n, "event=panic", 11) == NULL)
		return (ssize_t)n;
	return syscall(SYS_write, fd, data, n);
}

/* With room for a few messages, so that a role that does not read is noticed
 * within a run. */
int
socketpair(int domain, int type, int protocol, int fds[2])
{
	long rc = syscall(SYS_socketpair, domain, type, protocol, fds);
	const int bytes = 8192;

	if (rc != 0)
		return (int)rc;
	cast.pair_end = fds[1];
	return setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes,
	    sizeof(bytes));
}

/* A role: waits for its exit code, in a table of descriptors of its own. */
__attribute__((no_sanitize("address", "undefined")))
static int
sleep_on(void *arg)
{
	atomic_int *leash = arg;
	uint8_t code = 0;

	(void)syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)syscall(SYS_dup3, *leash, 0, 0);
	(void)syscall(SYS_close_range, 1, ~0u, 0);
	*leash = -1;
	(void)syscall(SYS_read, 0, &code, 1);
	return (int)syscall(SYS_exit_group, code);
}

pid_t
fork(void)
{
	static _Alignas(16) uint8_t stacks[2][16384];
	static atomic_int its_leash;
	struct actor *actor = cast.starting;
	int which, leash[2];

	if (cast.play == NULL)
		return _Fork(); /* AFL++ makes its processes so */
	which = actor == &cast.play->gateway;
	CLAIM(actor != NULL && actor->pid < 0);
	CLAIM(pipe2(leash, O_CLOEXEC) == 0);
	its_leash = leash[0];
	actor->pid = clone(sleep_on, stacks[which] + sizeof(stacks[0]),
	    CLONE_VM | SIGCHLD, &its_leash);
	CLAIM(actor->pid > 0);
	/* until then it holds copies of what should be seen to close */
	while (its_leash != -1)
		(void)sched_yield();
	close(leash[0]);
	actor->leash = leash[1];
	actor->sock = fcntl(cast.pair_end, F_DUPFD_CLOEXEC, 3);
	CLAIM(actor->sock >= 0);
	CLAIM(fd_set_nonblock(actor->sock, true) == 0);
	actor->is_deaf = actor->was_deaf = false;
	return actor->pid;
}

/* -------------------------------------------------------- libspawner.a's part */

/* Of places.c and launch.c everything that the real rooms call: the linker
 * then leaves those two out.  It says "multiple definition" when one of the
 * rooms calls something more of them, which then has to be played too. */

int
play_file(const char *text, size_t n)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	CLAIM(fd >= 0 && write(fd, text, n) == (ssize_t)n);
	return fd;
}

int
places_open_log(const char *path, int flags, gid_t gid, char *problem,
    size_t size)
{
	(void)path;
	(void)flags;
	(void)gid;
	if (cast.play->log_error == 0)
		return play_file("", 0);
	snprintf(problem, size, "no log today");
	return cast.play->log_error;
}

int
places_size_inflight(int fd)
{
	(void)fd;
	return cast.play->log_error;
}

int
places_renew_functions(struct places *places, const struct conf *conf)
{
	(void)places;
	(void)conf;
	return cast.play->functions_error;
}

static void
check_ceiling(const struct play *play, const struct ctl_function *function)
{
	size_t i, same = 0;

	for (i = 0; i < play->alive_count; i++)
		same += !play->alive[i]->is_killed &&
		    !play->alive[i]->is_shell && !play->alive[i]->is_check &&
		    !play->alive[i]->is_disowned &&
		    strcmp(play->alive[i]->name, function->name) == 0 &&
		    strcmp(play->alive[i]->version, function->version) == 0;
	CLAIM(same < 2 * function->limits.value[LIMIT_INSTANCES]);
}

static void
check_checks(const struct play *play)
{
	size_t i, checks = 0;

	for (i = 0; i < play->alive_count; i++)
		checks += play->alive[i]->is_check &&
		    !play->alive[i]->is_disowned;
	CLAIM(checks < SANDBOXES_CHECKS_MAX);
}

static void
make_alive(struct play *play, struct instance *instance)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	play->eventfds[play->alive_count] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	play->alive[play->alive_count++] = instance;
	CLAIM(instance_watch(instance, NO_PID, fd) == 0);
}

int
launch_shell(const struct launch_site *site, const struct conf *conf,
    const struct ctl_function *function, uint64_t id,
    struct launch_shell *shell, char *step, size_t size)
{
	struct play *play = cast.play;
	struct instance *instance = NULL;
	int error = play->alive_count == ALIVE_MAX ? -EMFILE :
	    sandboxes_add_shell(site->sandboxes, function, id, &instance);

	(void)conf;
	CLAIM(function->problem == CTL_PROBLEM_NONE);
	CLAIM(shell->argv[0] != NULL);
	if (error == 0 && play->launch_error != 0) {
		instance_drop(instance);
		error = play->launch_error;
	}
	snprintf(step, size, "%s", error != 0 ? "a step" : "");
	if (error != 0)
		return error;
	make_alive(play, instance);
	shell->init_sock = play_file("", 0);
	shell->start_us = 1;
	return 0;
}

/* The books of the real one, and no process. */
int
launch_start(const struct launch_site *site, const struct conf *conf,
    const struct ctl_function *function, uint64_t id,
    enum ctl_purpose purpose, struct parcel *up, char *step, size_t size)
{
	struct play *play = cast.play;
	struct instance *instance = NULL;
	int error = play->alive_count == ALIVE_MAX ? -EMFILE :
	    (purpose == CTL_PURPOSE_CHECK ? sandboxes_add_check :
	    sandboxes_add)(site->sandboxes, function, id, &instance);
	int fd;

	(void)conf;
	CLAIM(function->problem == CTL_PROBLEM_NONE);
	CLAIM(ctl_name_ok(function->name));
	if (error == 0 && purpose != CTL_PURPOSE_CHECK)
		check_ceiling(play, function);
	else if (error == 0)
		check_checks(play);
	if (error == 0 && play->launch_error != 0) {
		instance_drop(instance);
		error = play->launch_error;
	}
	if (error != 0) {
		snprintf(step, size, "a step\twith \xc3\xa4");
		return error;
	}
	make_alive(play, instance);
	fd = play_file("", 0);
	up->msg.u.instance_up.id = id;
	parcel_give(up, &fd);
	return 0;
}

void
instance_end(struct play *play, size_t i)
{
	uint64_t one = 1;

	CLAIM(write(play->eventfds[i], &one, sizeof(one)) == sizeof(one));
	close_fd(&play->eventfds[i]);
	play->alive_count--;
	play->alive[i] = play->alive[play->alive_count];
	play->eventfds[i] = play->eventfds[play->alive_count];
}

/* ------------------------------------------------------------------ the roles */

static void
note_told(struct play *play, const struct ctl_msg *msg)
{
	enum fate before = msg->type == CTL_INSTANCE_GONE ? FATE_UP :
	    FATE_ASKED;
	uint64_t id = msg->u.instance_gone.id; /* all three begin with it */
	size_t i = 0;

	if (msg->type != CTL_INSTANCE_UP && msg->type != CTL_INSTANCE_FAILED &&
	    msg->type != CTL_INSTANCE_GONE)
		return;
	while (i < play->asked_count && play->asked[i].id != id)
		i++;
	CLAIM(i < play->asked_count && play->asked[i].fate == before);
	play->asked[i].fate = msg->type == CTL_INSTANCE_UP ? FATE_UP :
	    FATE_OVER;
}

/* Returns whether there was something to hear. */
static bool
listen_to_spawner(struct play *play, struct actor *actor)
{
	struct ctl_msg msg;
	bool has_heard = false;
	size_t fd_count;
	int fds[4];
	ssize_t n;

	if (actor->is_deaf || actor->sock < 0)
		return false;
	while ((n = sock_recv(actor->sock, &msg, sizeof(msg), fds, 4,
	    &fd_count)) > 0) {
		CLAIM(ctl_msg_check(&msg, (size_t)n, fd_count,
		    actor->way_in) == 0);
		while (fd_count > 0)
			close_fd(&fds[--fd_count]);
		if (actor == &play->gateway)
			note_told(play, &msg);
		has_heard = true;
	}
	return has_heard;
}

void
actor_leave(struct actor *actor)
{
	close_fd(&actor->sock);
}

void
actor_end(struct play *play, struct actor *actor, uint8_t code)
{
	siginfo_t info;

	if (actor->pid < 0)
		return;
	(void)listen_to_spawner(play, actor);
	close_fd(&actor->sock);
	/* it may be dead already */
	CLAIM(write(actor->leash, &code, 1) == 1 || errno == EPIPE);
	(void)waitid(P_PID, (id_t)actor->pid, &info, WEXITED | WNOWAIT);
	close_fd(&actor->leash);
	actor->pid = -1;
	if (actor == &play->gateway)
		play->asked_count = 0;
}

/* The spawner hung up on it, or killed one that had hung up itself. */
static bool
is_let_go(const struct actor *actor)
{
	struct pollfd poll_fd = { .fd = actor->sock, .events = 0 };
	siginfo_t info = { 0 };

	if (actor->pid < 0)
		return false;
	if (actor->sock >= 0)
		return poll(&poll_fd, 1, 0) == 1 &&
		    (poll_fd.revents & POLLHUP) != 0;
	return waitid(P_PID, (id_t)actor->pid, &info,
	    WEXITED | WNOWAIT | WNOHANG) != 0 || info.si_pid != 0;
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

void
play_turn(struct play *play)
{
	struct actor *actors[] = { &play->gateway, &play->scanner };
	struct loop *loop = play->spawner.loop;
	struct loop_timer timer = { 0 };
	int rest, j;

	/* one more for what follows from it, one more for an end */
	for (rest = 3; rest > 0; rest--) {
		CLAIM(loop_timer_set(loop, &timer, loop_clock_us(), stop,
		    loop) == 0);
		CLAIM(loop_run(loop) == 0);
		loop_timer_cancel(loop, &timer);
		for (j = 0; j < 2; j++) {
			if (listen_to_spawner(play, actors[j]))
				rest = 3;
			if (is_let_go(actors[j]))
				actor_end(play, actors[j], 1);
		}
	}
	CLAIM(sandboxes_count(play->spawner.sandboxes) == play->alive_count);
}

/* fork has to know whose it is. */
static bool
may_start(struct actor *actor, const struct child_ops *ops)
{
	cast.starting = actor;
	return actor->pid < 0 && ops->may_start(&cast.play->spawner);
}

static bool
gateway_may_start(void *arg)
{
	(void)arg;
	return may_start(&cast.play->gateway, &spawner_gateway_ops);
}

static bool
scanner_may_start(void *arg)
{
	(void)arg;
	return may_start(&cast.play->scanner, &spawner_scanner_ops);
}

/* ------------------------------------------------------------ beginning, end */

void
play_write_conf(struct play *play, const char *text)
{
	int fd = open(play->spawner.conf_path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	CLAIM(fd >= 0 && write(fd, text, strlen(text)) ==
	    (ssize_t)strlen(text));
	close(fd);
}

/* As places_open leaves them, but for what is never looked at here. */
static void
open_places(struct places *places, bool is_refused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	places->uid = is_refused ? geteuid() : geteuid() + 1;
	places->run_fd = places->spool_fd = places->data_fd = -1;
	places->functions_fd = places->instances_fd = -1;
	/* a directory without a file `tenants` */
	places->state_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	places->control_fd = socket(AF_UNIX,
	    SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CLAIM(places->state_fd >= 0 && bind(places->control_fd,
	    (struct sockaddr *)&address, sizeof(sa_family_t)) == 0 &&
	    listen(places->control_fd, 16) == 0);
	places->listeners.fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	places->listeners.count = 1;
	places->carried = (struct carried)CARRIED_INIT;
}

static void
make_children(struct spawner *spawner)
{
	static struct child_ops gateway_ops, scanner_ops;
	const struct child_spec gateway = { .name = "gateway",
		.program = "/gateway", .fds = { -1, -1 },
		.way = CTL_WAY_GATEWAY_TO_SPAWNER };
	const struct child_spec scanner = { .name = "scanner",
		.program = "/scanner", .fds = { -1, -1 },
		.way = CTL_WAY_SCANNER_TO_SPAWNER, .may_send_fd = true };

	gateway_ops = spawner_gateway_ops;
	gateway_ops.may_start = gateway_may_start;
	scanner_ops = spawner_scanner_ops;
	scanner_ops.may_start = scanner_may_start;
	spawner->gateway = child_new(spawner->loop, &gateway, &gateway_ops,
	    spawner);
	spawner->scanner = child_new(spawner->loop, &scanner, &scanner_ops,
	    spawner);
}

/* As in spawner.c's main. */
static void
open_spawner(struct spawner *spawner, bool is_refused)
{
	static char path[32];
	char problem[512];

	spawner->loop = loop_new();
	spawner->cgroup.fd = -1;
	spawner->stderr_fd = -1;
	spawner->run_id = 1;
	spawner->file_limit = 64;
	spawner->accounting_fd = play_file("", 0);
	spawner->old_accounting_fd = spawner->chain_fd = -1;
	spawner->inflight_fd = play_file("", 0);
	spawner->budgets_fd = play_file("", 0);
	spawner->prices_fd = -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d",
	    spawner->inflight_fd); /* whose bytes nobody reads */
	spawner->conf_path = path;
	open_places(&spawner->places, is_refused);
	play_write_conf(cast.play, "[host]\nfunctions=/srv/f\n");
	CLAIM(spawner_read_conf(path, &spawner->conf, &spawner->conf_fd,
	    problem, sizeof(problem)) == 0);
	spawner->tenants = tenants_new(spawner->places.state_fd, problem,
	    sizeof(problem));
	spawner->registry = registry_new(spawner->file_limit / 4);
	spawner->tenant_logs = tenant_logs_new();
	spawner->sandboxes = sandboxes_new(spawner->loop, &spawner->cgroup, -1,
	    spawner_gateway_gone, spawner);
	make_children(spawner);
	spawner->control = control_new(spawner->loop,
	    spawner->places.control_fd, spawner->places.uid,
	    &spawner_control_ops, spawner);
	CLAIM(spawner->tenants != NULL && spawner->control != NULL);
	spawner->site = (struct launch_site){ .tenants = spawner->tenants,
		.sandboxes = spawner->sandboxes, .cgroup = &spawner->cgroup,
		.images = images_new(spawner->conf, NULL, problem,
		    sizeof(problem)),
		.functions_fd = -1, .data_fd = -1 };
}

void
play_open(struct play *play, bool is_refused)
{
	size_t i;

	memset(play, 0, sizeof(*play));
	cast.play = play;
	clock_take(true);
	signal(SIGPIPE, SIG_IGN);
	play->gateway.way_in = CTL_WAY_SPAWNER_TO_GATEWAY;
	play->scanner.way_in = CTL_WAY_SPAWNER_TO_SCANNER;
	play->gateway.pid = play->scanner.pid = -1;
	play->gateway.sock = play->scanner.sock = -1;
	play->gateway.leash = play->scanner.leash = -1;
	for (i = 0; i < CLIENTS_MAX; i++)
		play->clients[i] = -1;
	open_spawner(&play->spawner, is_refused);
	child_run(play->spawner.scanner);
	child_run(play->spawner.gateway);
	play_turn(play);
}

static void
close_spawner(struct spawner *spawner)
{
	spawner_wait_end(spawner, &spawner->reload, ESHUTDOWN, "ending");
	child_free(spawner->gateway);
	child_free(spawner->scanner);
	sandboxes_free(spawner->sandboxes);
	spawner_wait_end(spawner, &spawner->drain, 0, "ended");
	spawner_wait_end(spawner, &spawner->reopen, 0, "ended");
	control_free(spawner->control);
	registry_free(spawner->registry);
	tenant_logs_free(spawner->tenant_logs);
	tenants_free(spawner->tenants);
	images_free(spawner->site.images);
	close_fd(&spawner->places.state_fd);
	close_fd(&spawner->places.control_fd);
	close_fd(&spawner->places.listeners.fd[0]);
	close_fd(&spawner->accounting_fd);
	close_fd(&spawner->old_accounting_fd);
	close_fd(&spawner->inflight_fd);
	close_fd(&spawner->budgets_fd);
	close_fd(&spawner->prices_fd);
	close_fd(&spawner->conf_fd);
	conf_unref(spawner->conf);
	loop_free(spawner->loop);
}

void
play_close(struct play *play)
{
	size_t i;

	close_spawner(&play->spawner);
	actor_end(play, &play->gateway, 0);
	actor_end(play, &play->scanner, 0);
	for (i = 0; i < play->alive_count; i++)
		close_fd(&play->eventfds[i]);
	for (i = 0; i < CLIENTS_MAX; i++)
		close_fd(&play->clients[i]);
	cast.play = NULL;
	clock_take(false);
}
