/*
 * Words to the service manager (sd_notify(3), Type=notify): a datagram to the
 * socket that NOTIFY_SOCKET names.  Without one nothing is sent.  Spawner only.
 */
#ifndef FCGI_HOST_NOTIFY_H
#define FCGI_HOST_NOTIFY_H

#include <stdbool.h>

#define NOTIFY_NAME_MAX 200

/* "READY=1", "STOPPING=1", … ; failures are the manager's loss alone. */
void notify_send(const char *state);

/* Whether the manager keeps descriptors for the next start: FDSTORE is their
 * number, which systemd says from version 254 on, and our unit before. */
bool notify_stores(void);

/* If so: it is to keep this one (borrowed), under the name with which it hands
 * it over then: sd_pid_notify_with_fds(3).  Waits up to a second for room in its
 * queue. */
void notify_store(int fd, const char *name);
/* It need not keep those of this name any longer. */
void notify_unstore(const char *name);

/* RELOADING=1 with the time that systemd wants along. */
void notify_reloading(void);

#endif
