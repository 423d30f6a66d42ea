/*
 * A filter that answers the same in half the instructions.  libseccomp tests for
 * each call by itself; the kernel translates, checks and tries a program at each
 * start of a sandbox, which costs by its length.  Neighbours with one answer make
 * a range here, and the ranges are searched by halves; what looks at arguments is
 * taken over as it stands.
 */
#ifndef SANDBOX_SECCOMP_SHRINK_H
#define SANDBOX_SECCOMP_SHRINK_H

#include <linux/filter.h>
#include <stdbool.h>

/* Puts the shorter program in the place of code->filter, which is allocated.  A
 * program of another kind than libseccomp makes for one architecture stays as it
 * is: false.  So it does without memory. */
bool seccomp_shrink(struct sock_fprog *code);

#endif
