/*
 * The accounting log as the spawner gives it: the first, with what a predecessor
 * left to record, and its successors at rotations; and the chain's key with each.
 * And the functions' logs, which are asked for.
 */
#include "fcgi-host/gateway_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/chain_file.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

/* What the instances of dead predecessors used, and no line tells. */
static uint64_t
lost_cpu(const struct gateway *gateway)
{
	uint64_t charged_us = inflight_charged(gateway->inflight);
	uint64_t used_us = gateway->totals.whole_us;

	return used_us > charged_us ? used_us - charged_us : 0;
}

/* What a new run finds recorded of the clock: with a new clock nothing; with a
 * new table nobody knows, and all of it counts as recorded. */
static uint64_t
charged_before(const struct gateway *gateway)
{
	if (!gateway->totals.is_taken_over)
		return 0;
	return inflight_run(gateway->inflight) != 0 ?
	    inflight_charged(gateway->inflight) : gateway->totals.whole_us;
}

/* Of a host whose cgroup is gone with its clock, as a service manager removes it
 * behind one that was killed: what was last seen of it and is in no line. */
static uint64_t
lost_with_clock(const struct gateway *gateway)
{
	uint64_t charged_us = inflight_charged(gateway->inflight);
	uint64_t seen_us = inflight_seen(gateway->inflight);

	if (inflight_run(gateway->inflight) == gateway->run_id ||
	    inflight_run(gateway->inflight) == 0 ||
	    gateway->totals.is_taken_over)
		return 0;
	return seen_us > charged_us ? seen_us - charged_us : 0;
}

/* The log is there: the first record, and those of a predecessor's debts. */
static void
first_records(struct gateway *gateway)
{
	uint64_t lost_us = lost_with_clock(gateway);

	ledger_begin(gateway->server.ledger, charged_before(gateway));
	gateway->is_lost_clock = lost_us > 0;
	gateway->lost_cpu_us = lost_us > 0 ? lost_us : lost_cpu(gateway);
	gateway_host_record(gateway, gateway->is_again ? "restart" : "start");
	request_record_lost(&gateway->server);
}

static void
log_reply(struct gateway *gateway, int error, const struct chain_mac *head)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_LOG_SWITCHED);
	msg.u.log_switched.error = error;
	if (head != NULL) {
		msg.u.log_switched.has_chain = 1;
		memcpy(msg.u.log_switched.head, head->byte,
		    sizeof(msg.u.log_switched.head));
	}
	gateway_send(gateway, &msg);
}

/* A line that should be chained and cannot is not written: a successor may be
 * luckier. */
static void
chain_take(struct gateway *gateway, int key_fd)
{
	uint8_t key[CHAIN_KEY_SIZE];
	int error = chain_file_key(key_fd, key);

	if (error == 0)
		error = ledger_set_chain(gateway->server.ledger, key);
	explicit_bzero(key, sizeof(key));
	if (error < 0)
		log_fatal("chain_key", "error=\"%s\"", strerror(-error));
}

void
gateway_log_head(const struct gateway *gateway)
{
	const struct chain_mac *head = ledger_head(gateway->server.ledger);
	char text[CHAIN_MAC_TEXT];

	if (head == NULL)
		return;
	chain_mac_text(head, text);
	log_event(LOG_INFO, "chain_head", "seq=%llu mac=%s",
	    (unsigned long long)ledger_seq(gateway->server.ledger), text);
}

/* The last line by the key before is the reopen's, the first by the next one
 * says by which. */
void
gateway_log(struct gateway *gateway, const struct ctl_log *log, int fd,
    int key_fd)
{
	bool is_first = !gateway->has_log, has_head;
	struct chain_mac head;
	int error;

	if (is_first && key_fd >= 0)
		chain_take(gateway, key_fd);
	if (!is_first)
		gateway_host_record(gateway, "reopen");
	has_head = !is_first && ledger_head(gateway->server.ledger) != NULL;
	if (has_head) {
		head = *ledger_head(gateway->server.ledger);
		gateway_log_head(gateway);
	}
	error = ledger_switch(gateway->server.ledger, fd,
	    is_first && inflight_run(gateway->inflight) != 0);
	if (error < 0)
		log_event(LOG_ERROR, "accounting_switch", "error=\"%s\"",
		    strerror(-error));
	else
		gateway->has_log = true;
	if (!is_first && key_fd >= 0) {
		chain_take(gateway, key_fd);
		gateway_host_record(gateway, "chain");
	}
	if (error == 0 && is_first)
		first_records(gateway);
	/* whatever came of it: who waits must hear it, and which log is the log
	 * is settled by this; so nothing is written to the next one before, or a
	 * successor could go on in the old one behind it */
	if (!log->is_first)
		log_reply(gateway, -error, has_head ? &head : NULL);
}

/* ----------------------------------------------------------- functions' logs */

void
gateway_function_log_ask(void *arg, const char *function)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_FUNCTION_LOG_ASK);
	memcpy(msg.u.name.name, function, strlen(function) + 1);
	gateway_send(arg, &msg);
}

/* Into a number that was given up meanwhile. */
static int
move_down(int fd)
{
	int lower = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (lower < 0)
		return fd;
	close(lower < fd ? fd : lower);
	return lower < fd ? lower : fd;
}

/* A line more is no reason to refuse a request: where descriptors are short,
 * another's log gives way, or the line is dropped. */
void
gateway_function_log_take(struct gateway *gateway,
    const struct ctl_function_log *log, int fd)
{
	uint64_t now_us = loop_now_us(gateway->loop);
	int error = log->error;

	if (fd >= gateway->fd_pause &&
	    logfiles_give_way(gateway->files, now_us))
		fd = move_down(fd);
	if (error == 0 && (fd < 0 || fd >= gateway->fd_pause))
		error = EMFILE;
	if (error != 0)
		close_fd(&fd);
	logfiles_give(gateway->files, log->name, fd, log->room, error, now_us);
}
