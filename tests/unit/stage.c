#include "tests/unit/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define TABLE_SIZE (256u * 1024)

/* ---- the spawner ---- */

static void
spawner_act(void *arg)
{
	struct stage *stage = arg;

	for (size_t i = 0; i < stage->actor_count; i++) {
		struct actor *actor = &stage->actors[i];

		if (!actor->is_up && !actor->is_gone)
			stage_up(stage, actor);
		if (actor->is_killed && !actor->is_gone)
			stage_gone(stage, actor, 9);
	}
}

static int
spawner_start(void *arg, const struct instance *instance)
{
	struct stage *stage = arg;
	struct actor *actor = &stage->actors[stage->actor_count];

	if (stage->start_error < 0)
		return stage->start_error;
	LOG_ASSERT(stage->actor_count < STAGE_ACTORS_MAX);
	stage->actor_count++;
	*actor = (struct actor){ .id = instance->id, .instance = instance,
		.init_fd = -1, .fds = { -1, -1, -1 } };
	if (stage->is_prompt)
		loop_defer(stage->loop, &stage->task, spawner_act, stage);
	return 0;
}

static void
spawner_kill(void *arg, const struct instance *instance)
{
	struct stage *stage = arg;

	for (size_t i = 0; i < stage->actor_count; i++)
		if (stage->actors[i].id == instance->id) {
			LOG_ASSERT(!stage->actors[i].is_killed);
			stage->actors[i].is_killed = true;
		}
	if (stage->is_prompt)
		loop_defer(stage->loop, &stage->task, spawner_act, stage);
}

static int
gateway_boot(void *arg, struct instance *instance, bool is_spare)
{
	struct stage *stage = arg;

	stage->boots++;
	if (stage->boot_error == 0 && is_spare)
		instance->is_program_running = true;
	return stage->boot_error;
}

static uint64_t
gateway_spares(void *arg, const struct function *function)
{
	const struct stage *stage = arg;

	(void)function;
	return stage->spares;
}

static bool
gateway_holds(void *arg, struct function *function, bool is_waited_for)
{
	struct stage *stage = arg;

	stage->holds_waited += is_waited_for;
	return stage->is_holding && function->check == CTL_CHECK_NONE;
}

static const struct fleet_ops spawner_ops = {
	.start = spawner_start,
	.kill = spawner_kill,
	.boot = gateway_boot,
	.spares = gateway_spares,
	.holds = gateway_holds,
};

void
stage_up(struct stage *stage, struct actor *actor)
{
	struct ctl_instance_up up = { .id = actor->id, .start_us = 1234 };
	int fds[2];
	size_t count = 1;

	LOG_ASSERT(sock_pair(fds) == 0);
	actor->init_fd = fds[1];
	fd_set_nonblock(actor->init_fd, true);
	actor->is_up = true;
	if (stage->cpu_stat_fd > 0) {
		up.has |= CTL_HAS_CPU_STAT;
		fds[count++] = fcntl(stage->cpu_stat_fd, F_DUPFD_CLOEXEC, 3);
	}
	if (stage->checks == NULL ||
	    !checks_up(stage->checks, &up, fds, count))
		LOG_ASSERT(pools_instance_up(stage->pools, &up, fds, count) ==
		    0);
}

void
stage_failed(struct stage *stage, struct actor *actor, int error)
{
	struct ctl_instance_failed failed = { .id = actor->id,
		.error = error, .step = "test" };

	actor->is_gone = true;
	if (stage->checks == NULL || !checks_failed(stage->checks, &failed))
		LOG_ASSERT(pools_instance_failed(stage->pools, &failed) == 0);
}

void
stage_gone(struct stage *stage, struct actor *actor, int wait_status)
{
	struct ctl_instance_gone gone = { .id = actor->id,
		.wait_status = wait_status, .cpu_usage_us = stage->cpu_us,
		.cpu_user_us = stage->cpu_us };

	actor->is_gone = true;
	close_fd(&actor->init_fd);
	actor_close(actor);
	if (stage->checks == NULL || !checks_gone(stage->checks, &gone))
		LOG_ASSERT(pools_instance_gone(stage->pools, &gone) == 0);
}

struct actor *
stage_last(struct stage *stage)
{
	LOG_ASSERT(stage->actor_count > 0);
	return &stage->actors[stage->actor_count - 1];
}

/* ---- init ---- */

void
actor_close(struct actor *actor)
{
	for (size_t i = 0; i < 3; i++)
		close_fd(&actor->fds[i]);
	actor->fd_count = 0;
}

bool
actor_order(struct actor *actor)
{
	static uint8_t message[sizeof(struct init_order) + INIT_ENV_MAX];
	int fds[3];
	size_t fd_count = 0;
	ssize_t n;

	if (actor->init_fd < 0)
		return false;
	n = sock_recv(actor->init_fd, message, sizeof(message), fds, 3,
	    &fd_count);
	if (n <= 0)
		return false;
	LOG_ASSERT((size_t)n >= sizeof(struct init_order));
	memcpy(&actor->order, message, sizeof(actor->order));
	LOG_ASSERT(actor->order.magic == INIT_MAGIC);
	LOG_ASSERT((size_t)n == sizeof(actor->order) +
	    actor->order.env_length);
	if (actor->order.type != INIT_RUN)
		return true;
	buf_reset(&actor->env, SIZE_MAX);
	LOG_ASSERT(buf_add(&actor->env, message + sizeof(actor->order),
	    actor->order.env_length) == 0);
	actor_close(actor);
	memcpy(actor->fds, fds, fd_count * sizeof(int));
	actor->fd_count = fd_count;
	return true;
}

void
actor_report(struct actor *actor, enum init_report_type type, int wait_status)
{
	struct init_report report = { .magic = INIT_MAGIC,
		.type = (uint32_t)type, .serial = actor->order.serial,
		.wait_status = type == INIT_EXEC_FAILED ? 0 : wait_status,
		.value = type == INIT_EXEC_FAILED ? wait_status : 0, .user_us = 70, .system_us = 30,
		.memory_kib = 512, .memory_now_kib = 400 };

	LOG_ASSERT(sock_send(actor->init_fd, &report, sizeof(report), NULL,
	    0) == 0);
}

const char *
actor_env(const struct actor *actor, const char *name)
{
	size_t n = strlen(name);

	for (size_t at = actor->env.start; at < actor->env.end;) {
		const char *entry = (const char *)actor->env.data + at;

		if (strncmp(entry, name, n) == 0 && entry[n] == '=')
			return entry + n + 1;
		at += strlen(entry) + 1;
	}
	return NULL;
}

/* ---- the functions ---- */

struct ctl_function
stage_function(const char *name, bool is_fastcgi)
{
	struct ctl_function info = { .is_fastcgi = is_fastcgi };

	strcpy(info.name, name);
	snprintf(info.path, sizeof(info.path), "%s.%s", name,
	    is_fastcgi ? "fcgi" : "cgi");
	strcpy(info.tenant, "default");
	strcpy(info.version, "0123456789abcdef");
	settings_defaults(&info.limits);
	return info;
}

struct function *
stage_put(struct stage *stage, const struct ctl_function *info)
{
	struct function *function;

	LOG_ASSERT(catalog_put(stage->server.catalog, info, NULL, 0) >= 0);
	function = catalog_find(stage->server.catalog, info->name);
	LOG_ASSERT(function != NULL);
	pools_change(stage->pools, info->name,
	    info->problem == CTL_PROBLEM_NONE ? function : NULL);
	return function;
}

void
stage_del(struct stage *stage, const char *name)
{
	LOG_ASSERT(catalog_del(stage->server.catalog, name) == 0);
	pools_change(stage->pools, name, NULL);
}

/* ---- the stage ---- */

static void
iteration_end(void *arg)
{
	struct stage *stage = arg;

	ledger_flush(stage->ledger);
}

static void
stop(void *arg)
{
	struct stage *stage = arg;

	loop_stop(stage->loop);
}

void
stage_turn(struct stage *stage, unsigned ms)
{
	/* one iteration takes what is ready, one more what followed from it */
	for (int i = 0; i < 2; i++) {
		LOG_ASSERT(loop_timer_set(stage->loop, &stage->timer,
		    loop_clock_us() + (i == 0 ? ms * 1000ull : 0), stop,
		    stage) == 0);
		LOG_ASSERT(loop_run(stage->loop) == 0);
	}
}

uint64_t
stage_tick(struct stage *stage)
{
	uint64_t from_us = loop_now_us(stage->loop);

	while (loop_now_us(stage->loop) == from_us)
		stage_turn(stage, 1);
	return loop_now_us(stage->loop) - from_us;
}

static struct conf *
conf_make(const char *host_lines)
{
	struct conf_errors errors = { 0 };
	struct conf *conf;
	int fd = memfd_create("conf", MFD_CLOEXEC);

	LOG_ASSERT(fd >= 0);
	LOG_ASSERT(dprintf(fd, "[host]\nfunctions = /srv/functions\n"
	    "url_prefix = /fn\n%s", host_lines == NULL ? "" : host_lines) > 0);
	conf = conf_read(fd, "stage.ini", &errors);
	LOG_ASSERT(conf != NULL);
	conf_errors_free(&errors);
	close(fd);
	return conf;
}

static void
books_open(struct stage *stage)
{
	stage->table_fd = memfd_create("table", MFD_CLOEXEC);
	LOG_ASSERT(stage->table_fd >= 0 &&
	    ftruncate(stage->table_fd, TABLE_SIZE) == 0);
	stage->inflight = inflight_open(stage->table_fd);
	LOG_ASSERT(stage->inflight != NULL);
	stage->log_fd = memfd_create("log", MFD_CLOEXEC);
	LOG_ASSERT(stage->log_fd >= 0 &&
	    fcntl(stage->log_fd, F_SETFL, O_APPEND) == 0);
	stage->ledger = ledger_new(stage->inflight, STAGE_RUN_ID);
	LOG_ASSERT(stage->ledger != NULL);
	LOG_ASSERT(ledger_switch(stage->ledger,
	    fcntl(stage->log_fd, F_DUPFD_CLOEXEC, 3), false) == 0);
}

void
stage_open(struct stage *stage, const char *host_lines)
{
	memset(stage, 0, sizeof(*stage));
	log_init("test", LOG_ERROR);
	signal(SIGPIPE, SIG_IGN); /* as in every role */
	stage->loop = loop_new();
	LOG_ASSERT(stage->loop != NULL);
	books_open(stage);
	stage->fleet = (struct fleet){ .loop = stage->loop,
		.ledger = stage->ledger, .ops = &spawner_ops,
		.ops_arg = stage };
	stage->pools = pools_new(&stage->fleet);
	stage->server = (struct server){ .loop = stage->loop,
		.conf = conf_make(host_lines), .catalog = catalog_new(),
		.pools = stage->pools, .ledger = stage->ledger,
		.inflight = stage->inflight, .run_id = STAGE_RUN_ID,
		.spool_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	LOG_ASSERT(stage->pools != NULL && stage->server.catalog != NULL &&
	    stage->server.spool_fd >= 0);
	stage->conns = conn_list_new(&stage->server);
	LOG_ASSERT(stage->conns != NULL);
	loop_set_hook(stage->loop, iteration_end, stage);
}

void
stage_settle(struct stage *stage)
{
	stage->is_prompt = true;
	pools_kill_all(stage->pools, "stop");
	spawner_act(stage);
	for (int i = 0; i < 3; i++)
		stage_turn(stage, 0);
	LOG_ASSERT(stage->server.active == 0);
	LOG_ASSERT(stage->fleet.count == 0);
}

void
stage_close(struct stage *stage)
{
	stage_settle(stage);
	conn_list_free(stage->conns);
	pools_free(stage->pools);
	loop_free(stage->loop);
	catalog_free(stage->server.catalog);
	conf_unref(stage->server.conf);
	ledger_free(stage->ledger);
	inflight_close(stage->inflight);
	close(stage->server.spool_fd);
	close(stage->log_fd);
	close(stage->table_fd);
	for (size_t i = 0; i < stage->actor_count; i++) {
		actor_close(&stage->actors[i]);
		close_fd(&stage->actors[i].init_fd);
		buf_free(&stage->actors[i].env);
	}
}

char *
stage_log(const struct stage *stage)
{
	struct stat status;
	char *text;

	LOG_ASSERT(fstat(stage->log_fd, &status) == 0);
	text = calloc(1, (size_t)status.st_size + 1);
	LOG_ASSERT(text != NULL && pread(stage->log_fd, text,
	    (size_t)status.st_size, 0) == status.st_size);
	return text;
}

size_t
stage_log_count(const struct stage *stage, const char *text)
{
	char *log = stage_log(stage);
	size_t n = 0;

	for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
		n++;
	free(log);
	return n;
}

int
stage_connect(struct stage *stage)
{
	int fds[2];

	LOG_ASSERT(socketpair(AF_UNIX,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	LOG_ASSERT(conn_new(stage->conns, fds[0], true, "web") == 0);
	return fds[1];
}
