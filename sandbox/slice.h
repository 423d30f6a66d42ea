/*
 * How long a process may run while another waits.  The scheduler's own slice,
 * some milliseconds, is what a function that burns takes of each wake-up of its
 * neighbours and of the gateway; a shorter one costs some more switches, and only
 * where processors are short.  Linux 6.12 and later; without effect before.
 */
#ifndef SANDBOX_SLICE_H
#define SANDBOX_SLICE_H

/* The gateway, for which everybody waits, goes before the functions. */
#define SLICE_GATEWAY_US 100 /* the least that Linux takes */
#define SLICE_FUNCTION_US 500

/* Of the calling process and those that it starts.  0 or a negative errno: the
 * slice stays.  Async-signal-safe. */
int slice_set(unsigned slice_us);

#endif
