/*
 * What a program is given, for the runtimes that are C programs: its listening socket
 * by the host, and a body's length by each request.  Runs in an instance's sandbox.
 */
#ifndef FUNCTIONS_COMMON_GIVEN_H
#define FUNCTIONS_COMMON_GIVEN_H

#include <stdint.h>

/*
 * The listening socket, which was descriptor 0; that is /dev/null then, so that the
 * function's children get the socket neither as their stdin nor otherwise.  A
 * descriptor, or -errno.
 */
int given_listener(void);

/* CONTENT_LENGTH (RFC 3875 section 4.1.2), or NULL.  UINT64_MAX: that is no
 * length, and the stream's end counts. */
uint64_t given_length(const char *text);

#endif
