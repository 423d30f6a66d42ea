/*
 * Checks of functions' files by their runtimes' own programs, each in a sandbox of
 * its function: whose turn it is says check_queue.h, and here it is carried out.
 * What a check writes is the tenant's, and so hostile; what it found informs, and
 * decides by which of two runtimes a file is served.  Gateway only.
 */
#ifndef FCGI_HOST_CHECKS_H
#define FCGI_HOST_CHECKS_H

#include "fcgi-host/cgi_env.h"
#include "fcgi-host/check_queue.h"
#include "fcgi-host/pool.h"

#define CHECKS_DEADLINE_US 10000000
/* A build that lacked something is not tried again before. */
#define CHECKS_BUILD_AGAIN_US 60000000
/* One is begun without calm when there was none for so long: whose instances are
 * started without end is not to keep what others wait to read in a list. */
#define CHECKS_PATIENCE_US 2000000
/* Its exit code for a file that another runtime is to serve. */
#define CHECKS_EXIT_OTHERWISE 2
/* And a build's that lacked something (EX_TEMPFAIL of sysexits.h). */
#define CHECKS_EXIT_LACKS 75

/* What checks need of the role above them. */
struct checks_ops {
	/* The function of that name if it is to be checked still, borrowed; else
	 * NULL. */
	struct function *(*find)(void *arg, const char *name);
	/* Whether its runtime says who serves it otherwise. */
	bool (*has_otherwise)(void *arg, const struct function *function);
	/* Whether it is a build: then what it has found is told when none of its
	 * processes lives, who might write still, and what it lacked may be there
	 * at another time. */
	bool (*is_build)(void *arg, const struct function *function);
	/* The program's environment; NULL: no memory. */
	struct cgi_env *(*env)(void *arg, const struct function *function);
	/* text: printable, "" for none.  Called from the loop. */
	void (*found)(void *arg, struct function *function,
	    enum ctl_check state, const char *text);
	/* Nothing is left that could be done now. */
	void (*settled)(void *arg);
};

struct checks;

/* All borrowed.  NULL: no memory. */
struct checks *checks_new(struct fleet *fleet, struct pools *pools,
    const struct checks_ops *ops, void *arg);
/* When no check runs any more.  Accepts NULL. */
void checks_free(struct checks *checks);

/* The first of all functions are known: from now on checks begin. */
void checks_begin(struct checks *checks);
/* This function is to be checked; of one that is being checked already only the
 * urgency may rise. */
void checks_want(struct checks *checks, const struct function *function,
    enum check_urgency urgency);
/* It has changed or is gone: what runs is told to end, and finds nothing. */
void checks_forget(struct checks *checks, const char *name);
/* Somebody asks for all that there is to find. */
void checks_list(struct checks *checks);
/* Whether something is still to be found. */
bool checks_is_busy(const struct checks *checks);

/* Begins nothing more but what a request waits for; and nothing at all. */
void checks_drain(struct checks *checks);
void checks_end(struct checks *checks);

/* The spawner's answers.  False: that was no check.  fds are taken. */
bool checks_up(struct checks *checks, const struct ctl_instance_up *up,
    int *fds, size_t fd_count);
bool checks_failed(struct checks *checks,
    const struct ctl_instance_failed *failed);
bool checks_gone(struct checks *checks, const struct ctl_instance_gone *gone);

/* Those that run. */
void checks_each(const struct checks *checks,
    void (*fn)(const struct instance *instance, void *arg), void *arg);

#endif
