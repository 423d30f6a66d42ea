/*
 * One event loop on epoll: descriptors, timers, tasks deferred to the end of
 * the iteration.  Sleeps without a wake-up while no timer is armed.  Nothing
 * may be freed inside a callback whose struct is on the stack of callers: hand
 * it to loop_defer.  Removing an io drops its events that are still pending in
 * the running iteration, so a callback never sees a dead object.
 */
#ifndef FCGI_HOST_LOOP_H
#define FCGI_HOST_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* events: EPOLLIN | EPOLLOUT …, as epoll reports them. */
typedef void loop_io_fn(void *arg, uint32_t events);
typedef void loop_fn(void *arg);

/* Embedded in its owner; all fields but fd belong to the loop. */
struct loop_io {
	int fd; /* -1: not registered */
	uint32_t events;
	loop_io_fn *fn;
	void *arg;
};

struct loop_timer {
	uint64_t when_us; /* CLOCK_MONOTONIC */
	size_t place;     /* in the heap plus one; 0: not armed */
	loop_fn *fn;
	void *arg;
};

struct loop_task {
	struct loop_task *next;
	bool is_queued;
	loop_fn *fn;
	void *arg;
};

#define LOOP_IO_INIT { .fd = -1 }

/* NULL when the kernel gives no epoll descriptor or memory. */
struct loop *loop_new(void);
/* Runs the tasks that are still queued (they free), then releases. */
void loop_free(struct loop *loop);

/* Runs until loop_stop, which lets the iteration finish, tasks and hook
 * included.  Returns 0 or a negative errno of epoll_wait. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* CLOCK_MONOTONIC in microseconds: of the running iteration, and read anew. */
uint64_t loop_now_us(const struct loop *loop);
uint64_t loop_clock_us(void);
/* CLOCK_REALTIME in microseconds: a date for a record, never a duration. */
uint64_t loop_clock_real_us(void);

/* Registers fd (borrowed; remove it before closing it).  0 or negative errno
 * (-EEXIST: io is registered already; -EPERM: a regular file). */
int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events,
    loop_io_fn *fn, void *arg);
/*
 * Changes the interest; no system call where nothing changes.  0 or negative
 * errno.  With events 0 nothing is reported, not even EPOLLHUP or EPOLLERR,
 * so that a paused peer that hung up does not spin; with any other interest
 * these two come unasked.  To be told of a hang-up alone, ask for EPOLLRDHUP
 * or EPOLLHUP.
 */
int loop_io_set(struct loop *loop, struct loop_io *io, uint32_t events);
/* Removes; harmless when not registered.  Sets io->fd to -1. */
void loop_io_del(struct loop *loop, struct loop_io *io);

/* Arms or re-arms at an absolute time (never early, up to 1 ms late).  0, or
 * -ENOMEM, which a timer that is armed already never gives. */
int loop_timer_set(struct loop *loop, struct loop_timer *timer,
    uint64_t when_us, loop_fn *fn, void *arg);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);
/* How many are armed; first_us: when the first is due, untouched without one. */
size_t loop_timers(const struct loop *loop, uint64_t *first_us);

/* Runs fn once after the callbacks of this iteration; queued twice counts
 * once.  Tasks queued by tasks run in the same iteration, in order. */
void loop_defer(struct loop *loop, struct loop_task *task, loop_fn *fn,
    void *arg);

/* Called at the beginning of every iteration, when its events are known and
 * before any callback (one; NULL removes it). */
void loop_set_begin(struct loop *loop, loop_fn *fn, void *arg);

/* Called at the end of every iteration, after callbacks and tasks (one hook;
 * NULL removes it).  Tasks that the hook queues run before the next wait, and
 * then the hook once more: it always has the last look. */
void loop_set_hook(struct loop *loop, loop_fn *fn, void *arg);

/* Blocks the signals of the set (0-terminated list) and delivers them through
 * the loop; once per loop.  They stay blocked: a child unblocks them before it
 * execs.  0 or negative errno. */
typedef void loop_signal_fn(void *arg, int signal_number);
int loop_signals(struct loop *loop, const int *signals, loop_signal_fn *fn,
    void *arg);

#endif
