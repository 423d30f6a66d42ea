/*
 * The gateway's rooms in one process, with the roles around them played by the
 * test: it is the spawner that is asked for instances, the init of each of
 * them, and the web server.  The loop, the ledger, the pools, the requests and
 * the connections are the real ones.  Works without cmocka, for the fuzz
 * targets too.
 */
#ifndef TESTS_UNIT_STAGE_H
#define TESTS_UNIT_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/checks.h"
#include "fcgi-host/conn.h"
#include "fcgi-host/pool.h"
#include "fcgi-host/request.h"
#include "sandbox/init_msg.h"

#define STAGE_ACTORS_MAX 512
#define STAGE_RUN_ID 0xabcdef

/* One instance as its spawner and its init see it. */
struct actor {
	uint64_t id;
	const struct instance *instance; /* valid until it is gone */
	bool is_up, is_killed, is_gone;
	int init_fd; /* init's end, -1 before it is up */
	struct init_order order; /* the last one that was received */
	struct buf env;          /* its environment block */
	int fds[3];              /* its descriptors, -1 */
	size_t fd_count;
};

struct stage {
	struct loop *loop;
	struct inflight *inflight;
	struct ledger *ledger;
	struct fleet fleet;
	struct pools *pools;
	struct conn_list *conns;
	struct server server;
	int table_fd, log_fd;
	/* the spawner */
	int start_error;   /* what the next asking gives */
	int boot_error;    /* and the next boot ahead of a request */
	unsigned boots;
	struct checks *checks; /* the test's, or NULL */
	bool is_holding;   /* nothing is started before its check */
	unsigned holds_waited; /* asked for while somebody waited */
	uint64_t spares;   /* of each runtime */
	uint64_t cpu_us;   /* of those that go, by wait4 */
	int cpu_stat_fd;   /* the cpu.stat of all that come up; 0: none */
	bool is_prompt;    /* instances come up and die without being told to */
	struct actor actors[STAGE_ACTORS_MAX];
	size_t actor_count;
	struct loop_timer timer;
	struct loop_task task;
};

/* host_lines: more lines of the configuration's [host] section and below, or
 * NULL.  Ends the program when anything fails. */
void stage_open(struct stage *stage, const char *host_lines);
/* Kills what is left; claims that nothing stays of instances and requests.
 * Every connection must have been left before. */
void stage_settle(struct stage *stage);
/* The same, and releases all. */
void stage_close(struct stage *stage);

/* A served function of the tenant `default` with the built-in limits, to be
 * changed before stage_put. */
struct ctl_function stage_function(const char *name, bool is_fastcgi);
/* Puts it into the catalogue and tells the pools, as the gateway does. */
struct function *stage_put(struct stage *stage,
    const struct ctl_function *info);
void stage_del(struct stage *stage, const char *name);

/* Runs the loop for so long (0: what is due now). */
void stage_turn(struct stage *stage, unsigned ms);
/* The same until the loop's clock has gone on; by so many microseconds. */
uint64_t stage_tick(struct stage *stage);

/* The spawner's answers. */
void stage_up(struct stage *stage, struct actor *actor);
void stage_failed(struct stage *stage, struct actor *actor, int error);
void stage_gone(struct stage *stage, struct actor *actor, int wait_status);
struct actor *stage_last(struct stage *stage);

/* init: takes the next order, or returns false. */
bool actor_order(struct actor *actor);
/* wait_status: for INIT_EXEC_FAILED the errno. */
void actor_report(struct actor *actor, enum init_report_type type,
    int wait_status);
/* Closes the descriptors of the last order. */
void actor_close(struct actor *actor);
/* The value of a variable in the last order's block, or NULL. */
const char *actor_env(const struct actor *actor, const char *name);

/* The accounting file's bytes, NUL-terminated, to be freed. */
char *stage_log(const struct stage *stage);
/* Counts occurrences of text in it. */
size_t stage_log_count(const struct stage *stage, const char *text);

/* A web server's new connection: its end, non-blocking. */
int stage_connect(struct stage *stage);

#endif
