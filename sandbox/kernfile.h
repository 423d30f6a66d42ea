/*
 * Writing to the kernel's files (/proc/sys, uid_map, those of a cgroup): of the
 * spawner, and of a child between clone and exec, for which it is
 * async-signal-safe and without stdio.
 */
#ifndef SANDBOX_KERNFILE_H
#define SANDBOX_KERNFILE_H

#include <stdint.h>

/* With one write, as these files demand.  0 or a negative errno. */
int kernfile_write(int dir_fd, const char *path, const char *text);

/* The number in decimal digits, 20 at most, and their end, where a NUL is put. */
char *kernfile_number(char *text, uint64_t number);

#endif
