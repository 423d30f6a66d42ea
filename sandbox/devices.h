/*
 * The device files of a sandbox's /dev: made by root, and by nobody else, so that
 * an ordinary user's sandbox has empty files onto which the machine's are hung.
 */
#ifndef SANDBOX_DEVICES_H
#define SANDBOX_DEVICES_H

#include <stdbool.h>
#include <stddef.h>

/* "null", "zero" …; NULL behind the last. */
const char *devices_name(size_t i);

/* Fills an empty directory, with the usual links and a place for shm.  0 or a
 * negative errno. */
int devices_fill(int dir_fd, bool is_users);

#endif
