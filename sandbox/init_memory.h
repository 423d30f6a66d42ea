/*
 * The peak of the instance's largest process, through a /proc of init's own:
 * VmHWM, and a new start for it by clear_refs.
 */
#ifndef SANDBOX_INIT_MEMORY_H
#define SANDBOX_INIT_MEMORY_H

#include <stdint.h>

/* In KiB, 0: not known.  now_kib: what the process that holds most has now.
 * proc_fd: the root of a writable /proc. */
uint64_t memory_peak_kib(int proc_fd, uint64_t *now_kib);

#endif
