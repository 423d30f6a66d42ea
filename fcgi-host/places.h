/*
 * The host's directories, listening sockets and log files: made, checked and
 * opened once by the spawner, so that no other role opens a file by a path.
 * Nothing is opened in a directory where a stranger could have put something
 * in its place.  Spawner only.
 */
#ifndef FCGI_HOST_PLACES_H
#define FCGI_HOST_PLACES_H

#include <stddef.h>
#include <sys/types.h>

#include "fcgi-host/carried.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/given.h"
#include "fcgi-host/listeners.h"

struct places {
	uid_t uid; /* of `user`, the gateway's and scanner's */
	gid_t gid;
	int run_fd, state_fd;
	int instances_fd; /* RUN/instances, root's, 0710: instance sockets */
	int spool_fd;     /* STATE/spool, `user`'s, 0700 */
	int data_fd;      /* STATE/data, root's, 0711 */
	int functions_fd;
	int control_fd;   /* RUN/control.sock, listening */
	int takeover_fd;  /* RUN/takeover.sock, listening, root's */
	struct listeners listeners;
	struct carried carried;
};

/*
 * All of the above; sockets that were given are taken.  With is_takeover a host
 * that runs in RUN hands over its sockets and ends first; what can be found wrong
 * is found before that.  RUN and STATE are locked: a second host on one of them is
 * -EBUSY.  0, or a negative errno with a sentence that says what to do;
 * places_close is then still to be called.
 */
int places_open(struct places *places, const struct conf *conf,
    struct given *given, bool is_takeover, char *problem, size_t size);
/* Closes all and unlinks the sockets that were made here. */
void places_close(struct places *places, const struct conf *conf,
    enum listeners_end end);

/*
 * RUN/inflight, the table of executions in flight: made, or what a host that
 * died left, never read here.  It is locked as long as any process has it open
 * or mapped, so a dead host's gateway cannot write beside ours: that is waited
 * for, up to 5 s.  A descriptor, or a negative errno with a sentence.
 */
int places_open_inflight(const struct places *places, char *problem,
    size_t size);
/* STATE/budgets, what is used of budgets: likewise, of any size. */
int places_open_budgets(const struct places *places, char *problem,
    size_t size);
/* Gives it its size again, all of it in memory: a gateway may have cut it, and
 * its successor would fall into the hole.  0 or negative errno. */
int places_size_inflight(int fd);
/* Nothing stands in it any more that a next host would have to record. */
void places_remove_inflight(const struct places *places);

/*
 * Another directory may stand in the place of the functions directory since:
 * then functions_fd, the same number for all who borrowed it, means that one.
 * 0, or a negative errno: there is none now.
 */
int places_renew_functions(struct places *places, const struct conf *conf);

/*
 * A log file to append to, made if need be (0640, root's, group gid): a
 * regular file, no link, in a directory that no stranger can write to.  flags:
 * O_RDWR for the accounting, O_WRONLY for the host's log.  A descriptor, or a
 * negative errno with a sentence.
 */
int places_open_log(const char *path, int flags, gid_t gid, char *problem,
    size_t size);

/* A name of the host's own for its cgroup: from the place of RUN, which is
 * locked, so two hosts never share it. */
void places_cgroup_name(const struct places *places, char *out, size_t size);

#endif
