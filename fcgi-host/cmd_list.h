/*
 * What is in the functions directory, by a scanner that looks once: for
 * `fcgi-host list` and `check`.  Needs no running host.  The command of the
 * person who types it; the scanner's messages are checked like the spawner
 * checks them.
 */
#ifndef FCGI_HOST_CMD_LIST_H
#define FCGI_HOST_CMD_LIST_H

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"

/*
 * Calls each with every function, in order of names within a tenant, served or
 * not (function->problem).  each returns 0 to go on, or a negative errno, which
 * ends it.  0; -ENOENT and the like: the directory cannot be opened; -EIO: the
 * scanner could not read it or failed (its own sentence is on standard error);
 * -EPROTO: it sent what it may not; else the errno of starting it.  Blocks.
 */
int list_collect(const struct conf *conf,
    int (*each)(const struct ctl_function *function, void *arg), void *arg);

#endif
