/*
 * Who holds the lock on a file.  Reads /proc/locks, takes no lock itself: who
 * only asks never stands in the way of a host that starts.  Used by the spawner
 * at its start and by the command.
 */
#ifndef FCGI_HOST_LOCK_H
#define FCGI_HOST_LOCK_H

#include <sys/stat.h>
#include <sys/types.h>

/* The process that holds a flock(2) on the file, or 0: nobody, or it is not to
 * be learned (no /proc, another pid namespace, a file system that gives its
 * files another device number than its locks). */
pid_t lock_owner(const struct stat *st);

#endif
