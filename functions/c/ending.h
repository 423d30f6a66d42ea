/*
 * How a function's program ends: SIGTERM lets the request that runs finish, and ends
 * one that waits at once, by exit(3).  A process that the function forks ends by
 * SIGTERM as any other.
 */
#ifndef FUNCTIONS_C_ENDING_H
#define FUNCTIONS_C_ENDING_H

/* Sets up the signal.  0 or -errno. */
int ending_init(void);
/* Waits until fd is readable.  1: there is something; 0: the program is to end;
 * -EPIPE: the peer has closed fd; another -errno: poll(2) failed. */
int ending_wait(int fd);

#endif
