/*
 * The memory of an instance's processes, through a /proc of init's own: the peak
 * of the largest one (VmHWM, and a new start for it by clear_refs), and what all
 * of them hold.
 */
#ifndef SANDBOX_INIT_MEMORY_H
#define SANDBOX_INIT_MEMORY_H

#include <stdint.h>

/* In KiB, 0: not known.  now_kib: what the process that holds most has now.
 * proc_fd: the root of a writable /proc. */
uint64_t memory_peak_kib(int proc_fd, uint64_t *now_kib);
/* What all processes hold now, this one too: their shares of the pages that are
 * in memory (PSS) in KiB, 0 if one of them does not show its; resident_kib: all
 * of their pages (RSS).  Reading changes nothing. */
uint64_t memory_held_kib(int proc_fd, uint64_t *resident_kib);

#endif
