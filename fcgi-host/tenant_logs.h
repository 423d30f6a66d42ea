/*
 * Where functions log to files of their own: DIR/TENANT/FUNCTION.log, a slash in a
 * function's name as '+', and older ones as .log.1, .log.2 …  A tenant's folder and
 * all in it are root's, and his group may read them; so nobody plants a link there,
 * and nothing but names and sizes is looked at.  What a tenant's logs take in all is
 * bounded, and what they leave of the disk.  Spawner only.
 */
#ifndef FCGI_HOST_TENANT_LOGS_H
#define FCGI_HOST_TENANT_LOGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/conf.h"

/* So much may be written before a file is asked for anew, and each file counts as
 * so much at least. */
#define TENANT_LOGS_STEP (64u * 1024)
/* A tenant whose logs are as large as they may be, and hold nothing that can go, is
 * not looked at again before. */
#define TENANT_LOGS_REST_US 1000000

struct tenant_logs;

/* What the function is, and who may read its log. */
struct tenant_logs_want {
	const struct conf *conf; /* with function_logs */
	const char *function, *tenant;
	bool has_group; /* else the file is root's alone */
	gid_t gid;
	uint64_t now_us;
	/* Whether there is such a function: what no function writes to any more may
	 * be removed for room. */
	bool (*is_known)(void *arg, const char *function);
	void *arg;
};

/* NULL: no memory. */
struct tenant_logs *tenant_logs_new(void);
void tenant_logs_free(struct tenant_logs *logs);

/* The directory, made if it is missing (its parent is there): a descriptor, or a
 * negative errno with a sentence. */
int tenant_logs_directory(const struct conf *conf, char *problem, size_t size);

/* Has each tenant's folder that is there read by whom it is to be now, as the accounts
 * may be others than when it was written to.  reader: says that of want->tenant;
 * an error: root alone. */
void tenant_logs_give(const struct conf *conf,
    int (*reader)(void *arg, struct tenant_logs_want *want), void *arg);

/*
 * The function's log to append to, rotated if it was full, and how much may be
 * written to it.  A descriptor, or a negative errno: -EDQUOT: the tenant has as much
 * as he may and nothing of it can go; -ENOSPC: the disk has not enough left; -EPERM,
 * -EMLINK, -ELOOP: there stands what the host did not make.
 */
int tenant_logs_open(struct tenant_logs *logs,
    const struct tenant_logs_want *want, uint32_t *room);

#endif
