/*
 * Which uid an account has, for a process that may open no file any more:
 * /etc/passwd is opened before the confinement and read later.  Accounts of
 * other sources (LDAP …) are named by their number.
 */
#ifndef FCGI_HOST_SCAN_USERS_H
#define FCGI_HOST_SCAN_USERS_H

#include <stdbool.h>
#include <sys/types.h>

/* A descriptor of the account file, or a negative errno. */
int scan_users_open(void);

/* The uid of a name, or of a number; false: no such account.  fd may be
 * negative: then numbers only. */
bool scan_users_find(int fd, const char *name, uid_t *uid);

#endif
