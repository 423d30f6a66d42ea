/*
 * How a program of functions ends: SIGTERM lets the request that runs finish and
 * ends one that waits, or is not ready yet, at once.  A process that the function
 * forks ends by SIGTERM as any other.
 */
#ifndef FUNCTIONS_PYTHON_ENDING_H
#define FUNCTIONS_PYTHON_ENDING_H

#include <stdbool.h>

/* Sets up the signal: it ends the process in place.  0 or -errno. */
int ending_init(void);
/* While it is ready the process ends by ending_wait() alone. */
void ending_set_ready(bool is_ready);
/*
 * Waits until fd is readable; other threads of the interpreter run meanwhile, and
 * so do its signals' handlers.  1: there is something; 0: the program is to end;
 * -EPIPE: the peer has closed fd; another -errno: poll(2) failed.
 */
int ending_wait(int fd);

#endif
