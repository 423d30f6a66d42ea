/*
 * A child that runs in this process's own memory until its exec, as one of vfork
 * does, while the caller sleeps.  A copy of the spawner's memory, made for a child
 * that throws it away half a millisecond later, cost a start more than its mounts.
 * Spawner's side of a start.
 *
 * What shares memory across a change of uid has to be safe in four ways:
 * - Nobody of the new uid may look in: who lends is not dumpable, from the first
 *   time on and for good, so that neither ptrace nor /proc/PID/mem opens it.  The
 *   kernel wakes the caller before the child has left the memory, so no time
 *   afterwards is safe to make it dumpable again.  By the change of uid the kernel
 *   sets fs.suid_dumpable: where that is 1, nothing is lent.
 * - The out-of-memory killer kills all processes that share its victim's memory,
 *   and a tenant's ceiling may choose the child: but never one whose parent
 *   sleeps in vfork, so the caller does.  Nor is a CLONE_VM without that used.
 *   memory.oom.group does not spare it, and is set on nothing that holds more than
 *   one instance.  A core dump killed them all before Linux 5.16.
 * - The caller must wake: who holds the child up (a dead server's file system, a
 *   SIGSTOP of somebody with its uid) would hold up every tenant.  A thread of the
 *   caller's, which sleeps otherwise, kills it after its time, and one that was
 *   stopped at its next look, 50 ms later at most.
 * - The child may write only what is its own: it has a stack of its own, and runs
 *   only enter.c.  That errno is the caller's, too, harms nobody: he sleeps.
 */
#ifndef SANDBOX_LEND_H
#define SANDBOX_LEND_H

#include <linux/sched.h>
#include <stdbool.h>

struct lender;

/* What held a child up, so that it was killed. */
enum lend_hold { LEND_NOTHING, LEND_TIME, LEND_STOP };

/* Thread and stack are made at the first use, with the rights of that time; and
 * anew in a process that was forked meanwhile.  NULL: no memory or descriptor. */
struct lender *lender_new(void);
void lender_free(struct lender *lender);

/*
 * clone3 with these arguments, of which flags, stack and pidfd are set here.  The
 * child calls run(with), which must not return.  Sleeps until it has exec'd or is
 * dead, at most limit_ms or as long as the kernel does not let it die.
 * Its pid, with *pidfd; or a negative errno: clone3's, or -ENOTSUP where there is
 * no lending (another processor, a sanitizer, no thread to be had, lend_may), and
 * nothing was done.  *hold: whether it was killed, and for what.  The caller
 * reaps.
 */
long lend_clone(struct lender *lender, struct clone_args *arguments,
    void (*run)(const void *with), const void *with, unsigned limit_ms,
    int *pidfd, enum lend_hold *hold);

/* Whether memory may be lent on a machine with this fs.suid_dumpable, as the
 * kernel writes it, and this release of Linux. */
bool lend_may(char suid_dumpable, const char *release);

/* Whether somebody has stopped a child of this process: nobody who makes a
 * sandbox does, and whoever has its uid can.  False for -1. */
bool lend_is_stopped(int pidfd);

#endif
