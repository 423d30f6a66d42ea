/*
 * What the files of the gateway role share: gateway.c (start, loop, stop),
 * gateway_ctl.c (the spawner's messages), gateway_log.c (which log is the log),
 * gateway_status.c (what `status` shows), gateway_day.c, gateway_shell.c,
 * gateway_check.c, gateway_fleet.c, gateway_prices.c.
 * Included by nobody else.
 */
#ifndef FCGI_HOST_GATEWAY_IMPL_H
#define FCGI_HOST_GATEWAY_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/catalog.h"
#include "fcgi-host/checks.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/conn.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/gateway_memory.h"
#include "fcgi-host/inflight.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/logfiles.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/pool.h"
#include "fcgi-host/request.h"
#include "fcgi-host/reserve.h"

#define GATEWAY_SPAWNER_FD 3
#define GATEWAY_ROOT_FD 4
#define GATEWAY_SPOOL_FD 5
#define GATEWAY_LISTINGS_MAX 8 /* who wait for checks; more do not wait */

struct gateway {
	struct loop *loop;
	struct server server;
	struct fleet fleet;
	struct conn_list *conns;
	struct logfiles *files;
	struct loop_timer files_timer;
	struct checks *checks;
	bool has_synced; /* all functions of the start are known */
	struct log_limit check_limit;
	int listings[GATEWAY_LISTINGS_MAX];
	size_t listing_count;
	struct loop_timer listing_timer;
	struct inflight *inflight;
	struct budgets *budgets;
	struct prices *prices, *prices_next; /* of the next configuration */
	struct loop_timer save_timer;
	bool is_save_due;
	struct conf *conf;
	uint64_t run_id, started_us;
	bool is_again, has_cgroup, has_log;
	/* the spawner's socket */
	struct loop_io spawner_io;
	struct buf to_spawner; /* whole messages that wait for room */
	/* listening sockets */
	struct loop_io listeners[CONF_LISTEN_MAX];
	int listen_fds[CONF_LISTEN_MAX];
	size_t listener_count;
	bool is_accepting;
	struct reserve reserve;
	int fd_pause;     /* from this number on the backlog waits */
	int fd_instances; /* and from this one on none comes up */
	struct log_limit accept_limit, shortage_limit;
	struct gateway_memory memory;
	uint64_t memory_reserve_bytes;
	uint64_t memory_read_us;
	bool is_memory_short; /* it was then */
	struct log_limit memory_limit;
	uint64_t busy_said_us;
	struct loop_timer busy_timer;
	struct loop_timer accept_timer;
	/* a batch that could not be written, and refusals to be counted */
	struct loop_timer retry_timer;
	struct ctl_totals totals;
	bool has_totals;
	uint64_t lost_cpu_us; /* for the first record */
	bool is_lost_clock;   /* which was not this run's */
	struct loop_timer day_timer;
	uint64_t day; /* since 1970, when it was last looked at */
	/* the end */
	struct loop_timer drain_timer;
	bool is_drained_said;
	int exit_code;
};

/* Queues a message to the spawner; fatal when the queue is beyond reason. */
void gateway_send(struct gateway *gateway, const struct ctl_msg *msg);
/* Messages of the spawner; and what waited for room. */
void gateway_spawner_ready(void *arg, uint32_t events);
/* Serves the listening socket fd (taken). */
int gateway_listen(struct gateway *gateway, int fd);
/* A `host` record; event is static. */
void gateway_host_record(struct gateway *gateway, const char *event);
/* Accepts nothing more and ends when everything is done; next_fd (taken, or -1):
 * see conn_list_drain. */
void gateway_drain(struct gateway *gateway, uint64_t longest_ms, int next_fd);
/* Writes the status to a client's socket (taken). */
void gateway_status(struct gateway *gateway, int fd);
/* The same of what checks have found so far. */
void gateway_check_rows(struct gateway *gateway, int fd);

/* gateway_check.c */
int gateway_checks_init(struct gateway *gateway);
/* Whether what a check finds of it is still to come. */
bool gateway_is_to_check(const struct gateway *gateway,
    const struct function *function);
/* Of struct fleet_ops. */
bool gateway_holds(void *arg, struct function *function, bool is_waited_for);
bool gateway_is_unbuilt(void *arg, const struct function *function);
/* The function is new, another, or gone. */
void gateway_check_put(struct gateway *gateway, const char *name);
/* All functions of the start are known. */
void gateway_check_sync(struct gateway *gateway);
/* gateway->conf has taken the place of old: where that means something else for a
 * function it is checked anew. */
void gateway_check_conf(struct gateway *gateway, const struct conf *old);
/* A client's socket (taken) is told what checks have found, when there is nothing
 * left to find or it took too long. */
void gateway_checks(struct gateway *gateway, int fd);

/* gateway_log.c: goes on in the accounting log fd (taken), chained by the key in
 * key_fd (borrowed; -1: not chained). */
void gateway_log(struct gateway *gateway, const struct ctl_log *log, int fd,
    int key_fd);
/* Says the chain's head, for whoever keeps the host's log elsewhere. */
void gateway_log_head(const struct gateway *gateway);

/* As logfiles_ask_fn. */
void gateway_function_log_ask(void *gateway, const char *function);
/* The answer; fd (taken) is -1 where there is an error, or it was lost. */
void gateway_function_log_take(struct gateway *gateway,
    const struct ctl_function_log *log, int fd);

/* gateway_day.c: from now on at the end of each day of UTC there is a record of
 * each instance. */
void gateway_day_begin(struct gateway *gateway);

/* gateway_shell.c: root's shells, of which only the books are kept here. */
void gateway_shell_ask(struct gateway *gateway,
    const struct ctl_shell_ask *ask);
void gateway_shell_gone(struct gateway *gateway,
    const struct ctl_shell_gone *shell);

/* gateway_prices.c: the price book, which comes before its configuration. */
void gateway_prices_take(struct gateway *gateway, int fd);
void gateway_prices_switch(struct gateway *gateway);

/* gateway_fleet.c */
extern const struct fleet_ops gateway_fleet_ops;

#endif
