/*
 * Removes what one CGI execution left behind: the files of /tmp and /dev/shm
 * and every System V object.  Runs in init when no other process of the
 * instance exists, with the tenant's own rights and without allocation.
 */
#ifndef SANDBOX_INIT_CLEAN_H
#define SANDBOX_INIT_CLEAN_H

/* 0; -1 when something is left, so that the instance must end. */
int clean_all(void);

#endif
