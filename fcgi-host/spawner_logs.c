/* The logs are opened anew: by a reload that changes them, by a reopen. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/chain_file.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/spawner.h"

#define REOPEN_MS 10000

/* Back to what the host was started with, or a file.  A stderr that stays needs
 * no switching. */
static int
open_host_log(const struct spawner *spawner, const struct conf *conf,
    char *problem, size_t size)
{
	if (strcmp(conf->log, "stderr") != 0)
		return places_open_log(conf->log, O_WRONLY,
		    spawner->places.gid, problem, size);
	return fcntl(spawner->stderr_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

int
spawner_logs_open(const struct spawner *spawner, const struct conf *conf,
    bool is_accounting, bool is_log, struct spawner_logs *logs, char *problem,
    size_t size)
{
	int dir;

	logs->accounting_fd = logs->log_fd = logs->chain_fd = -1;
	/* opened again for each file; here it is only looked at */
	if (conf->function_logs != NULL) {
		dir = tenant_logs_directory(conf, problem, size);
		if (dir < 0)
			return dir;
		close_fd(&dir);
	}
	if (is_accounting) {
		logs->accounting_fd = places_open_log(conf->accounting, O_RDWR,
		    spawner->places.gid, problem, size);
		if (logs->accounting_fd < 0)
			return logs->accounting_fd;
	}
	if (is_log) {
		logs->log_fd = open_host_log(spawner, conf, problem, size);
		if (logs->log_fd < 0) {
			close_fd(&logs->accounting_fd);
			return logs->log_fd;
		}
	}
	/* last, as it is not to be taken back */
	if (is_accounting && spawner->chain_fd >= 0) {
		logs->chain_fd = chain_file_next(conf->chain_key,
		    spawner->chain_fd, problem, size);
		if (logs->chain_fd < 0) {
			int error = logs->chain_fd;

			spawner_logs_close(logs);
			return error;
		}
	}
	return 0;
}

void
spawner_logs_close(struct spawner_logs *logs)
{
	close_fd(&logs->accounting_fd);
	close_fd(&logs->log_fd);
	close_fd(&logs->chain_fd);
}

void
spawner_logs_switch(struct spawner *spawner, struct spawner_logs *logs)
{
	if (logs->log_fd >= 0) {
		(void)dup2(logs->log_fd, STDERR_FILENO);
		spawner_send_fd(spawner->gateway, CTL_STDERR, logs->log_fd);
		spawner_send_fd(spawner->scanner, CTL_STDERR, logs->log_fd);
		close_fd(&logs->log_fd);
	}
	if (logs->chain_fd >= 0) {
		close_fd(&spawner->chain_fd);
		spawner->chain_fd = steal_fd(&logs->chain_fd);
	}
	if (logs->accounting_fd >= 0) {
		/* the one that a gateway has, until it says otherwise */
		if (spawner->old_accounting_fd < 0)
			spawner->old_accounting_fd =
			    steal_fd(&spawner->accounting_fd);
		close_fd(&spawner->accounting_fd);
		spawner->accounting_fd = steal_fd(&logs->accounting_fd);
		if (child_is_up(spawner->gateway)) {
			spawner_send_totals(spawner,
			    SPAWNER_TOTALS_FOR_NEXT);
			spawner_send_log(spawner);
		}
	}
}

bool
spawner_is_switching(const struct spawner *spawner)
{
	return spawner->reopen.is_on || (spawner->switches_pending > 0 &&
	    child_is_up(spawner->gateway));
}

void
spawner_switch_problem(const struct spawner *spawner, char *problem,
    size_t size)
{
	const char *file = spawner->conf->accounting;

	if (spawner->switch_error == EBADMSG)
		snprintf(problem, size, "%s: its last line is no record; the "
		    "accounting log that was written so far is written "
		    "further: move that file away, end its line or name "
		    "another one, then run fcgi-host reopen", file);
	else
		snprintf(problem, size, "%s cannot be used: %s; the accounting "
		    "log that was written so far is written further: mend "
		    "that, then run fcgi-host reopen", file,
		    strerror(spawner->switch_error));
}

/* The head is for whoever keeps it where this host cannot write. */
static void
say_switched(const struct ctl_log_switched *switched, char *text, size_t size)
{
	struct chain_mac head;
	char digits[CHAIN_MAC_TEXT];

	_Static_assert(sizeof(head) == sizeof(switched->head), "one size");
	memcpy(&head, switched->head, sizeof(head));
	chain_mac_text(&head, digits);
	snprintf(text, size, "the logs are switched%s%s",
	    switched->has_chain ? "; the chain's head was " : "",
	    switched->has_chain ? digits : "");
}

void
spawner_log_switched(struct spawner *spawner,
    const struct ctl_log_switched *switched)
{
	char problem[SPAWNER_PROBLEM_MAX];
	int error = switched->error;

	say_switched(switched, problem, sizeof(problem));
	spawner->switch_error = error;
	if (error != 0) {
		/* what a successor begins with is what this one goes on with */
		close_fd(&spawner->accounting_fd);
		spawner->accounting_fd = steal_fd(&spawner->old_accounting_fd);
		spawner_switch_problem(spawner, problem, sizeof(problem));
	}
	close_fd(&spawner->old_accounting_fd);
	spawner_wait_end(spawner, &spawner->reopen, error, problem);
	spawner_reload_check(spawner);
}

/* ------------------------------------------------------------------- reopen */

static void
reopen_late(void *arg)
{
	struct spawner *spawner = arg;

	spawner_wait_end(spawner, &spawner->reopen, ETIMEDOUT, "the gateway "
	    "did not switch the accounting log within 10 s; the old file may "
	    "still be written to");
}

void
spawner_reopen(struct spawner *spawner, struct control_client *client)
{
	char problem[SPAWNER_PROBLEM_MAX] = "";
	struct spawner_logs logs;
	int error;

	if (spawner_is_switching(spawner)) {
		spawner_refuse(client, EBUSY,
		    "the logs are being switched already");
		return;
	}
	error = spawner_logs_open(spawner, spawner->conf, true,
	    strcmp(spawner->conf->log, "stderr") != 0, &logs, problem,
	    sizeof(problem));
	if (error != 0) {
		spawner_refuse(client, -error, "%s", problem);
		return;
	}
	spawner_wait_begin(spawner, &spawner->reopen, client, REOPEN_MS,
	    reopen_late);
	spawner_logs_switch(spawner, &logs);
	log_event(LOG_INFO, "reopen", "file=\"%s\"",
	    spawner->conf->accounting);
}
