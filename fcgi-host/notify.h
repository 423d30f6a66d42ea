/*
 * Words to the service manager (sd_notify(3), Type=notify): a datagram to the
 * socket that NOTIFY_SOCKET names.  Without one nothing is sent.  Spawner only.
 */
#ifndef FCGI_HOST_NOTIFY_H
#define FCGI_HOST_NOTIFY_H

/* "READY=1", "STOPPING=1", … ; failures are the manager's loss alone. */
void notify_send(const char *state);

/* RELOADING=1 with the time that systemd wants along. */
void notify_reloading(void);

#endif
