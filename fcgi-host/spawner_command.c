/*
 * What people ask for, by the control socket or by signals: reload, reopen,
 * drain; status and invoke are the gateway's to answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/notify.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/spawner.h"

#define RELOAD_MS 30000
/* Longer than the gateway may take; with what its successor gets to write what
 * was lost, shorter than the unit's TimeoutStopSec (45 s). */
#define DRAIN_MS 33000
#define DRAIN_AGAIN_MS 8000

/* ------------------------------------------------------------------ waiting */

void
spawner_wait_end(struct spawner *spawner, struct spawner_wait *wait, int code,
    const char *text)
{
	struct control_client *client = wait->client;

	if (!wait->is_on)
		return;
	wait->is_on = false;
	wait->client = NULL;
	loop_timer_cancel(spawner->loop, &wait->timer);
	if (client == NULL && code != 0)
		log_event(LOG_ERROR, "command_failed", "why=\"%s\"", text);
	control_reply(client, code, "%s", text);
}

void
spawner_wait_begin(struct spawner *spawner, struct spawner_wait *wait,
    struct control_client *client, unsigned within_ms, loop_fn *late)
{
	wait->is_on = true;
	wait->client = client;
	if (loop_timer_set(spawner->loop, &wait->timer, loop_clock_us() +
	    (uint64_t)within_ms * 1000, late, spawner) != 0)
		log_event(LOG_WARN, "no_timer", "within_ms=%u", within_ms);
}

void
spawner_refuse(struct control_client *client, int code, const char *fmt, ...)
{
	char text[SPAWNER_PROBLEM_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_event(LOG_ERROR, "command_failed", "why=\"%s\"", text);
	control_reply(client, code, "%s", text);
}

/* ------------------------------------------------------------ configuration */

int
spawner_read_file(const char *path, size_t most, struct buf *out)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	uint8_t *place;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	do {
		if (buf_len(out) > most)
			return -EFBIG;
		place = buf_reserve(out, 65536);
		if (place == NULL)
			return -ENOMEM;
		n = read(fd, place, 65536);
		if (n > 0)
			buf_commit(out, (size_t)n);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

int
spawner_read_conf(const char *path, struct conf **conf, int *conf_fd,
    char *problem, size_t size)
{
	struct conf_errors errors = { 0 };
	struct buf text = { 0 };
	int error = spawner_read_file(path, CONF_FILE_MAX, &text);
	int fd = -1;

	if (error == 0) {
		fd = sock_sealed("fcgi-host.ini", buf_head(&text),
		    buf_len(&text));
		error = fd < 0 ? fd : 0;
	}
	buf_free(&text);
	if (error != 0) {
		snprintf(problem, size, "%s cannot be read: %s", path,
		    strerror(-error));
		return -EINVAL;
	}
	*conf = conf_read(fd, path, &errors);
	if (*conf == NULL) {
		snprintf(problem, size, "%.*s", (int)buf_len(&errors.text),
		    buf_len(&errors.text) > 0 ?
		    (const char *)buf_head(&errors.text) : "");
		close_fd(&fd);
	}
	conf_errors_free(&errors);
	*conf_fd = fd;
	return *conf != NULL ? 0 : -EINVAL;
}

/* The same name counts too: one that is replaced by an editor becomes another
 * file between two looks. */
static bool
is_file(const char *path, int fd)
{
	static const char gone[] = " (deleted)";
	char link[64], named[PATH_MAX], ours[PATH_MAX];
	struct stat a, b;
	ssize_t n;

	if (stat(path, &a) == 0 && fstat(fd, &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return true;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, named, sizeof(named) - 1);
	if (n <= 0 || realpath(path, ours) == NULL)
		return false;
	named[n] = '\0';
	if ((size_t)n >= sizeof(gone) &&
	    strcmp(named + n - (sizeof(gone) - 1), gone) == 0)
		named[(size_t)n - (sizeof(gone) - 1)] = '\0';
	return strcmp(named, ours) == 0;
}

static bool
same_text(const char *a, const char *b)
{
	return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool
same_listen(const struct conf *a, const struct conf *b)
{
	size_t i;

	if (a->listen_count != b->listen_count ||
	    a->listen_mode != b->listen_mode)
		return false;
	for (i = 0; i < a->listen_count; i++)
		if (!same_text(a->listen[i], b->listen[i]))
			return false;
	return true;
}

/* The first key whose change needs a restart, or NULL: what they name is
 * opened once, with rights that are given up after the start. */
static const char *
fixed_key(const struct conf *old, const struct conf *new)
{
	const struct {
		const char *key;
		bool is_same;
	} keys[] = {
		{ "listen or listen_mode", same_listen(old, new) },
		{ "listen_group",
		    same_text(old->listen_group, new->listen_group) },
		{ "functions", same_text(old->functions, new->functions) },
		{ "run", same_text(old->run, new->run) },
		{ "state", same_text(old->state, new->state) },
		{ "chain_key", same_text(old->chain_key, new->chain_key) },
		{ "user", same_text(old->user, new->user) },
		{ "require", same_text(old->require, new->require) },
	};
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!keys[i].is_same)
			return keys[i].key;
	return NULL;
}

static void
warn_of_section(const char *kind, const char *name,
    const struct settings *section)
{
	if ((section->has_limits & UINT64_C(1) << LIMIT_CPU_MILLI) != 0 &&
	    section->limits.value[LIMIT_CPU_MILLI] != 0)
		log_event(LOG_WARN, "no_effect", "key=cpu section=\"%s%s\" "
		    "why=\"there is no cpu controller; see the layer "
		    "cgroup\"", kind, name);
}

void
spawner_warn_of_cpu(const struct spawner *spawner)
{
	const struct conf *conf = spawner->conf;
	size_t i;

	if (spawner->cgroup.fd >= 0 && spawner->cgroup.has_cpu)
		return;
	warn_of_section("defaults", "", &conf->defaults);
	for (i = 0; i < conf->tenant_count; i++)
		warn_of_section("tenant ", conf->tenants[i].name,
		    &conf->tenants[i].settings);
	for (i = 0; i < conf->function_count; i++)
		warn_of_section("function ", conf->functions_sections[i].name,
		    &conf->functions_sections[i].settings);
}

/* ------------------------------------------------------------------- reload */

void
spawner_reload_check(struct spawner *spawner)
{
	char problem[SPAWNER_PROBLEM_MAX] = "the new configuration serves";
	size_t n = strlen(problem);
	bool is_log_old = false;

	if (!spawner->reload.is_on || !spawner->is_read ||
	    spawner->syncs_pending > 0 || (spawner->has_log_change &&
	    spawner->old_accounting_fd >= 0))
		return;
	if (spawner->has_log_change && spawner->switch_error != 0) {
		is_log_old = true;
		n += (size_t)snprintf(problem + n, sizeof(problem) - n,
		    ", but ");
		spawner_switch_problem(spawner, problem + n,
		    sizeof(problem) - n);
	}
	notify_send("READY=1");
	spawner_wait_end(spawner, &spawner->reload,
	    is_log_old ? spawner->switch_error : 0, problem);
}

static void
reload_late(void *arg)
{
	struct spawner *spawner = arg;

	notify_send("READY=1");
	spawner_wait_end(spawner, &spawner->reload, ETIMEDOUT,
	    "the functions directory was not read within 30 s, or the gateway "
	    "does not take what was found; look into the log for both");
}

/* What a reload has in hand. */
struct prepared {
	struct images *images;
	struct accounts *accounts;
	struct spawner_logs logs;
};

static void
prepared_free(struct prepared *prepared)
{
	images_free(prepared->images);
	tenants_accounts_free(prepared->accounts);
}

/* Everything that can fail, before anything is changed; the logs last, since a
 * key that was replaced is. */
static int
prepare(struct spawner *spawner, struct conf *conf, struct prepared *prepared,
    char *problem, size_t size)
{
	const struct conf *old = spawner->conf;
	const char *key = fixed_key(old, conf);
	bool is_log_new = spawner->switch_error != 0 ||
	    !same_text(old->accounting, conf->accounting);
	int error;

	if (key != NULL) {
		snprintf(problem, size, "%s: a change of %s needs a restart; "
		    "nothing was changed", conf->file, key);
		return -EINVAL;
	}
	if (tenants_check_range(spawner->tenants, conf, problem, size) != 0)
		return -EINVAL;
	if (is_log_new && spawner_is_switching(spawner)) {
		snprintf(problem, size, "the logs are being switched already; "
		    "nothing was changed");
		return -EBUSY;
	}
	prepared->images = images_new(conf, spawner->site.images, problem,
	    size);
	prepared->accounts = prepared->images == NULL ? NULL :
	    tenants_accounts_new(conf, spawner->places.uid, problem, size);
	error = prepared->accounts == NULL ? -EINVAL :
	    spawner_logs_open(spawner, conf, is_log_new,
	    !same_text(old->log, conf->log), &prepared->logs, problem, size);
	if (error != 0)
		prepared_free(prepared);
	return error;
}

/* NULL, or why a reload must wait.  One before the host was ready would end in
 * the word for that. */
static const char *
not_now(const struct spawner *spawner)
{
	if (spawner->reload.is_on || !spawner->has_scan)
		return "the functions directory is being read; try again when "
		    "that is done";
	if (!spawner->is_ready)
		return "the gateway is being started; try again, and look into "
		    "the log if that takes long";
	return NULL;
}

/* What a tenant may have now. */
static void
ceilings_of(void *arg, const char *tenant, struct cgroup_limits *ceilings)
{
	const struct spawner *spawner = arg;
	struct limits limits;

	conf_tenant_limits(spawner->conf, tenant, &limits);
	tenant_branch_ceilings(&limits, ceilings);
}

void
spawner_reload(struct spawner *spawner, struct control_client *client)
{
	const char *why_not = not_now(spawner);
	char problem[SPAWNER_PROBLEM_MAX] = "";
	struct conf *conf = NULL;
	struct prepared prepared;
	int conf_fd = -1, prices_fd = -1, error;

	if (spawner->phase != SPAWNER_SERVING) {
		spawner_refuse(client, ESHUTDOWN, "the host is ending");
		return;
	}
	if (why_not != NULL) {
		spawner_refuse(client, EBUSY, "%s", why_not);
		return;
	}
	error = spawner_read_conf(spawner->conf_path, &conf, &conf_fd, problem,
	    sizeof(problem));
	if (error == 0)
		error = spawner_read_prices(conf, &prices_fd, problem,
		    sizeof(problem));
	if (error == 0)
		error = prepare(spawner, conf, &prepared, problem,
		    sizeof(problem));
	if (error != 0) {
		conf_unref(conf);
		close_fd(&conf_fd);
		close_fd(&prices_fd);
		spawner_refuse(client, -error, "%s", problem);
		return;
	}
	conf_unref(spawner->conf);
	spawner->conf = conf;
	images_free(spawner->site.images);
	spawner->site.images = prepared.images;
	tenants_accounts_take(spawner->tenants, prepared.accounts);
	spawner_function_logs_give(spawner);
	close_fd(&spawner->conf_fd);
	spawner->conf_fd = conf_fd;
	close_fd(&spawner->prices_fd);
	spawner->prices_fd = prices_fd;
	log_set_level(conf->log_level);
	sandboxes_limit(spawner->sandboxes, ceilings_of, spawner);
	spawner->is_read = false;
	spawner->has_log_change = prepared.logs.accounting_fd >= 0;
	sandboxes_put_behind(spawner->sandboxes, conf->hot_nice);
	notify_reloading();
	spawner_wait_begin(spawner, &spawner->reload, client, RELOAD_MS, reload_late);
	spawner_send_conf(spawner);
	spawner_send_fd(spawner->scanner, CTL_CONF, conf_fd);
	spawner_logs_switch(spawner, &prepared.logs);
	spawner_warn_of_cpu(spawner);
	log_event(LOG_INFO, "reload", "file=\"%s\"", spawner->conf_path);
}

/* -------------------------------------------------------------------- drain */

static void
drain_too_late(void *arg)
{
	struct spawner *spawner = arg;

	log_event(LOG_ERROR, "drain", "why=\"the second gateway did not "
	    "finish either; what was in flight is recorded by the next "
	    "start\"");
	spawner_wait_end(spawner, &spawner->drain, ETIMEDOUT,
	    "the gateway did not finish in time; it was killed");
	spawner->phase = SPAWNER_ENDING;
	loop_stop(spawner->loop);
}

/* The successor finds in the table what was in flight, and records it. */
static void
drain_late(void *arg)
{
	struct spawner *spawner = arg;

	child_kill(spawner->gateway, "it does not finish its drain");
	if (loop_timer_set(spawner->loop, &spawner->drain.timer,
	    loop_clock_us() + (uint64_t)DRAIN_AGAIN_MS * 1000, drain_too_late,
	    spawner) != 0)
		drain_too_late(spawner);
}

void
spawner_drain(struct spawner *spawner, struct control_client *client)
{
	if (spawner->phase != SPAWNER_SERVING) {
		if (client != NULL)
			spawner_refuse(client, EALREADY, "the host is draining already");
		return;
	}
	spawner->phase = SPAWNER_DRAINING;
	/* A signal may be the beginning of a restart. */
	spawner->is_end_for_good = client != NULL;
	spawner->has_next = client == NULL && (notify_stores() ||
	    takeover_has_successor(spawner->takeover));
	log_event(LOG_INFO, "drain", "why=asked");
	notify_send("STOPPING=1");
	spawner_wait_end(spawner, &spawner->reload, ESHUTDOWN,
	    "the host is ending");
	spawner_wait_begin(spawner, &spawner->drain, client, DRAIN_MS, drain_late);
	spawner_shells_kill(spawner);
	/* One that is being started anew has its predecessor's debts to write:
	 * that is not put off. */
	if (child_is_up(spawner->gateway))
		spawner_send_drain(spawner);
	else
		child_run(spawner->gateway);
}

void
spawner_go(void *arg)
{
	spawner_drain(arg, NULL);
}

/* --------------------------------------------------------- for the gateway */

/* invoke speaks FastCGI through a connected stream socket, nothing else. */
static bool
is_stream(int fd)
{
	int domain = 0, type = 0, is_listening = 1;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening,
	    &size) == 0 && domain == AF_UNIX && type == SOCK_STREAM &&
	    is_listening == 0;
}

/* Takes *fd. */
static void
hand_over(struct spawner *spawner, enum ctl_verb verb, int *fd)
{
	struct parcel *parcel = parcel_new(CTL_CLIENT);

	if (parcel != NULL) {
		parcel->msg.u.command.verb = verb;
		parcel_give(parcel, fd);
	}
	close_fd(fd);
	child_send(spawner->gateway, parcel);
}

static void
on_command(void *arg, struct control_client *client, enum ctl_verb verb,
    int *fd)
{
	struct spawner *spawner = arg;
	int client_fd;

	switch (verb) {
	case CTL_VERB_RELOAD:
		if (*fd >= 0 && !is_file(spawner->conf_path, *fd))
			spawner_refuse(client, EINVAL, "the host that runs in %s has "
			    "another file, %s; nothing was changed; name that "
			    "one, or start the host with the one that was "
			    "named", spawner->conf->run, spawner->conf_path);
		else
			spawner_reload(spawner, client);
		return;
	case CTL_VERB_REOPEN:
		spawner_reopen(spawner, client);
		return;
	case CTL_VERB_DRAIN:
		spawner_drain(spawner, client);
		return;
	case CTL_VERB_STATUS:
	case CTL_VERB_CHECKS:
	case CTL_VERB_INVOKE:
		break;
	default:
		control_reply(client, EINVAL, "there is no such command");
		return;
	}
	if (!child_is_up(spawner->gateway)) {
		control_reply(client, EAGAIN,
		    "the gateway is being started; try again");
	} else if (verb == CTL_VERB_STATUS || verb == CTL_VERB_CHECKS) {
		client_fd = control_take(client);
		hand_over(spawner, verb, &client_fd);
	} else if (!is_stream(*fd)) {
		control_reply(client, EINVAL,
		    "invoke needs one end of a pair of stream sockets");
	} else {
		hand_over(spawner, verb, fd);
		control_reply(client, 0, "invoked");
	}
}

/* The work goes on; only nobody waits for it any more. */
static void
on_left(void *arg, struct control_client *client)
{
	struct spawner *spawner = arg;
	struct spawner_wait *waits[] = { &spawner->reload, &spawner->reopen,
		&spawner->drain };
	size_t i;

	for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++)
		if (waits[i]->client == client)
			waits[i]->client = NULL;
	spawner_shell_left(spawner, client);
}

const struct control_ops spawner_control_ops = {
	.command = on_command,
	.shell = spawner_shell_ask,
	.left = on_left,
};
