/*
 * The privileged role.  spawner.c opens the host's places, shrinks its own
 * rights, starts scanner and gateway and ends them; spawner_scanner.c and
 * spawner_gateway.c say what each of the two may ask for; spawner_command.c is
 * what people ask for.  It parses the administrator's file and messages of
 * fixed size, nothing that a web client, a function or a tenant wrote.
 */
#ifndef FCGI_HOST_SPAWNER_H
#define FCGI_HOST_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/children.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/control.h"
#include "fcgi-host/launch.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/places.h"
#include "fcgi-host/registry.h"
#include "fcgi-host/reserve.h"
#include "fcgi-host/sandboxes.h"
#include "fcgi-host/takeover.h"
#include "fcgi-host/tenant_logs.h"
#include "fcgi-host/tenants.h"
#include "sandbox/cgroup.h"
#include "sandbox/plan.h"

#define SPAWNER_PROBLEM_MAX 1024

enum spawner_phase {
	SPAWNER_SERVING,
	SPAWNER_DRAINING, /* CTL_DRAIN is out */
	SPAWNER_DRAINED,  /* the gateway writes its last record */
	SPAWNER_ENDING    /* the gateway is gone: the loop stops */
};

/* Somebody who typed a command waits for what it set going. */
struct spawner_wait {
	bool is_on; /* also without a client: asked for by a signal */
	struct control_client *client;
	struct loop_timer timer;
};

/* What the gateway does with the clock of all instances. */
enum spawner_totals {
	SPAWNER_TOTALS_NOTED,    /* in the table in flight, for who comes after it */
	SPAWNER_TOTALS_FOR_NEXT, /* they stand in its next host record */
	SPAWNER_TOTALS_NOW,      /* it writes one for them */
	SPAWNER_TOTALS_LAST      /* it writes its last one, and ends */
};

struct spawner {
	struct loop *loop;
	enum spawner_phase phase;
	uint64_t run_id;
	uint32_t file_limit;
	struct reserve reserve; /* closed to starts, which are refused first */

	const char *conf_path;
	struct conf *conf;
	int prices_fd; /* the price book likewise; -1: there is none */
	int conf_fd; /* its text, sealed: all roles read the same bytes */

	struct places places;
	struct cgroup_parent cgroup;
	struct sandbox_host *host;
	struct tenants *tenants;
	struct registry *registry;
	struct sandboxes *sandboxes;
	struct tenant_logs *tenant_logs;
	struct launch_site site;
	struct control *control;
	struct takeover *takeover;
	bool is_takeover; /* from the host that runs, at the start */

	struct child *scanner;
	bool has_scan;   /* this scanner's first FN_SYNC has come */
	bool has_synced; /* some scanner's has */
	bool is_ready;   /* a gateway has taken that; the manager was told */

	struct child *gateway;
	int accounting_fd, inflight_fd, budgets_fd;
	int chain_fd; /* the chain's key, sealed; -1: none */
	int old_accounting_fd; /* a gateway may have died writing it; -1: none */
	int stderr_fd; /* what descriptor 2 was, before a log file was opened */
	uint64_t last_id;          /* of instances that this gateway asked for */
	unsigned switches_pending; /* CTL_LOG without CTL_LOG_SWITCHED yet */
	int switch_error;          /* of the last switch, by its answer */
	unsigned syncs_pending;    /* CTL_FN_SYNC that it has not sent back */
	bool is_again;             /* a gateway died before this one */
	bool is_end_for_good;      /* asked for by a person: no restart */
	bool has_next;             /* perhaps: what is kept goes to it */
	bool is_settled;           /* the last one left no debts */
	unsigned drain_deaths;     /* of gateways, since the drain began */
	unsigned drain_failures;   /* starts of one that failed, the same */
	uint64_t gateway_down_us;
	uint64_t totals_us; /* when they are due, if executions go on then */
	uint64_t noted_us;  /* when they were sent last */

	bool is_drained; /* says the gateway; shells may not be gone yet */
	struct spawner_shell *shells;
	uint64_t shell_serial;

	struct spawner_wait reload, reopen, drain;
	bool is_read; /* the scanner's part of the reload is done */
	bool has_log_change; /* the reload waits for a switch too */
};

/* spawner_gateway.c */
extern const struct child_ops spawner_gateway_ops;
void spawner_gateway_gone(void *spawner, const struct ctl_instance_gone *gone);
void spawner_send_totals(struct spawner *spawner, enum spawner_totals kind);
/* Opens nothing: hands accounting_fd to the gateway, to be answered. */
void spawner_send_log(struct spawner *spawner);
void spawner_send_drain(struct spawner *spawner);
/* Behind all functions; it sends it back when it has taken them. */
void spawner_send_sync(struct spawner *spawner);
/* Lets the gateway accept.  Only behind all functions: what comes before waits in
 * the backlog, instead of being told that there is no such function. */
void spawner_send_listeners(struct spawner *spawner);

/* Goes on with the end, if the gateway has drained and no shell is left. */
void spawner_drained(struct spawner *spawner);

/* spawner_shell.c; ask is one of the control socket's operations */
void spawner_shell_ask(void *spawner, struct control_client *client,
    const struct ctl_shell *asked, int *fd);
/* As an entry of the gateway's permit table. */
int spawner_shell_answer(struct spawner *spawner, const struct ctl_msg *msg);
/* Whether the gateway owes the answer of this one. */
bool spawner_shell_is_asked(const struct spawner *spawner, uint64_t serial);
/* False: that was no shell. */
bool spawner_shell_gone(struct spawner *spawner,
    const struct ctl_instance_gone *gone);
void spawner_shell_left(struct spawner *spawner,
    const struct control_client *client);
void spawner_shells_kill(struct spawner *spawner);
/* The gateway is gone, and the instances are disowned. */
void spawner_shells_forget(struct spawner *spawner);

/* spawner_scanner.c */
extern const struct child_ops spawner_scanner_ops;
/* A message with one borrowed descriptor, made and queued. */
void spawner_send_fd(struct child *child, enum ctl_type type, int fd);

/* spawner_logs.c */
/* What a reload or reopen has in hand before anything is changed. */
struct spawner_logs {
	int accounting_fd, log_fd; /* -1: stays */
	int chain_fd; /* the key of what comes behind */
};

/* 0, or a negative errno with a sentence: nothing is open then. */
int spawner_logs_open(const struct spawner *spawner, const struct conf *conf,
    bool is_accounting, bool is_log, struct spawner_logs *logs, char *problem,
    size_t size);
void spawner_logs_close(struct spawner_logs *logs);
/* Takes what is open. */
void spawner_logs_switch(struct spawner *spawner, struct spawner_logs *logs);
/* Of one switch the answer is awaited before the next: else nobody could say
 * which file the gateway holds. */
bool spawner_is_switching(const struct spawner *spawner);
/* The gateway answered: error 0, or it goes on in the log that it had. */
void spawner_log_switched(struct spawner *spawner,
    const struct ctl_log_switched *switched);
/* What the configuration's log lacks, and that the old one goes on. */
void spawner_switch_problem(const struct spawner *spawner, char *problem,
    size_t size);
void spawner_reopen(struct spawner *spawner, struct control_client *client);

/* spawner_function_logs.c: what is there is read by whom the accounts say now; and an
 * entry of the gateway's permit table. */
void spawner_function_logs_give(struct spawner *spawner);
int spawner_function_log_ask(struct spawner *spawner,
    const struct ctl_msg *msg);

/* spawner_command.c */
extern const struct control_ops spawner_control_ops;
void spawner_reload(struct spawner *spawner, struct control_client *client);
void spawner_drain(struct spawner *spawner, struct control_client *client);
/* A successor has the sockets, and waits for our end. */
void spawner_go(void *spawner);
/* Ends the reload when scanner, functions and log are done. */
void spawner_reload_check(struct spawner *spawner);
/* Says of each section that asks for cores that nothing bounds them, where that
 * is so. */
void spawner_warn_of_cpu(const struct spawner *spawner);
/* A command that cannot even begin. */
__attribute__((format(printf, 3, 4)))
void spawner_refuse(struct control_client *client, int code, const char *fmt,
    ...);
/* client may be NULL: a signal asked. */
void spawner_wait_begin(struct spawner *spawner, struct spawner_wait *wait,
    struct control_client *client, unsigned within_ms, loop_fn *late);
/* What was waited for has happened (code 0) or will not. */
void spawner_wait_end(struct spawner *spawner, struct spawner_wait *wait,
    int code, const char *text);
/* Reads the file, checks what only the spawner can (accounts, keys that need a
 * restart); 0, or -EINVAL with sentences. */
int spawner_read_conf(const char *path, struct conf **conf, int *conf_fd,
    char *problem, size_t size);
/* A whole regular file of at most so many bytes; 0 or negative errno. */
int spawner_read_file(const char *path, size_t most, struct buf *out);

/* spawner_prices.c */
/* The price book of a configuration, sealed and not looked into; *fd is -1 where
 * none is named.  0, or -EINVAL and a sentence. */
int spawner_read_prices(const struct conf *conf, int *fd, char *problem,
    size_t size);
/* To the gateway: the book, and then the configuration. */
void spawner_send_conf(struct spawner *spawner);

#endif
