/*
 * Processes that a function forks while it serves a request, for the runtimes that
 * are C programs.  Such a child has its parent's sockets: what it writes would stand
 * in the parent's answer, an end as well, and it would take the next request.  Runs in
 * an instance's sandbox.
 */
#ifndef FUNCTIONS_COMMON_CHILD_H
#define FUNCTIONS_COMMON_CHILD_H

#include <fcgiapp.h>
#include <stdbool.h>

/* Once, before any other.  0 or -ENOMEM. */
int child_init(void);
/*
 * While a request is watched a fork's child gets /dev/null in the place of its
 * sockets.  Borrows it until the next call; NULL: a fork is none of the function's.
 */
void child_watch(FCGX_Request *request);
/* Whether this process is such a child; then it is to end. */
bool child_is_one(void);

#endif
