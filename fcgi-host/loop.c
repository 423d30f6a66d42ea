#include "fcgi-host/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* Events taken from the kernel at once, and signals read at once: bounded, so
 * that no source keeps the others waiting. */
#define LOOP_BATCH 64
#define SIGNAL_BATCH 16

struct loop {
	int epoll_fd;
	bool is_stopping;
	uint64_t now_us;

	struct epoll_event batch[LOOP_BATCH];
	int batch_count, batch_at; /* batch_at: the event being delivered */

	struct loop_timer **heap; /* a binary heap by when_us */
	size_t heap_count, heap_size;

	struct loop_task *first_task, **last_task;

	loop_fn *begin, *hook;
	void *begin_arg, *hook_arg;

	struct loop_io signal_io;
	loop_signal_fn *signal_fn;
	void *signal_arg;
};

static void run_tasks(struct loop *loop);

uint64_t
loop_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
loop_clock_real_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
loop_now_us(const struct loop *loop)
{
	return loop->now_us;
}

struct loop *
loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return NULL;
	}
	loop->signal_io.fd = -1;
	loop->last_task = &loop->first_task;
	loop->now_us = loop_clock_us();
	return loop;
}

void
loop_free(struct loop *loop)
{
	int signal_fd;

	if (loop == NULL)
		return;
	run_tasks(loop);
	signal_fd = loop->signal_io.fd;
	loop_io_del(loop, &loop->signal_io);
	if (signal_fd >= 0)
		close(signal_fd);
	close(loop->epoll_fd);
	free(loop->heap);
	free(loop);
}

/* Descriptors */

/* A zeroed io counts as not registered too, though its fd says 0. */
static bool
is_registered(const struct loop_io *io)
{
	return io->fd >= 0 && io->fn != NULL;
}

static int
control(struct loop *loop, int operation, int fd, struct loop_io *io,
    uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = io };

	return epoll_ctl(loop->epoll_fd, operation, fd, &event) == 0 ? 0 :
	    -errno;
}

int
loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events,
    loop_io_fn *fn, void *arg)
{
	int rc = 0;

	if (is_registered(io))
		return -EEXIST;
	if (fd < 0 || fn == NULL)
		return -EBADF;
	if (events != 0)
		rc = control(loop, EPOLL_CTL_ADD, fd, io, events);
	if (rc == 0)
		*io = (struct loop_io){ fd, events, fn, arg };
	return rc;
}

/* epoll reports hang-up whatever was asked for, and a hang-up that nobody
 * handles yet would spin: without interest the descriptor is taken out. */
int
loop_io_set(struct loop *loop, struct loop_io *io, uint32_t events)
{
	int operation = EPOLL_CTL_MOD, rc;

	if (!is_registered(io))
		return -EBADF;
	if (io->events == events)
		return 0;
	if (io->events == 0)
		operation = EPOLL_CTL_ADD;
	else if (events == 0)
		operation = EPOLL_CTL_DEL;
	rc = control(loop, operation, io->fd, io, events);
	if (rc == 0)
		io->events = events;
	return rc;
}

void
loop_io_del(struct loop *loop, struct loop_io *io)
{
	if (!is_registered(io))
		return;
	if (io->events != 0)
		(void)control(loop, EPOLL_CTL_DEL, io->fd, io, 0);
	for (int i = loop->batch_at + 1; i < loop->batch_count; i++)
		if (loop->batch[i].data.ptr == io)
			loop->batch[i].data.ptr = NULL;
	*io = (struct loop_io)LOOP_IO_INIT;
}

static void
run_batch(struct loop *loop)
{
	for (int i = 0; i < loop->batch_count; i++) {
		struct loop_io *io = loop->batch[i].data.ptr;
		uint32_t events = loop->batch[i].events;

		loop->batch_at = i;
		if (io == NULL || io->events == 0)
			continue;
		/* An earlier callback may have lost interest in some. */
		events &= io->events | EPOLLERR | EPOLLHUP;
		if (events != 0)
			io->fn(io->arg, events);
	}
	loop->batch_count = loop->batch_at = 0;
}

/* Timers */

static void
heap_put(struct loop *loop, size_t i, struct loop_timer *timer)
{
	loop->heap[i] = timer;
	timer->place = i + 1;
}

static void
heap_up(struct loop *loop, size_t i, struct loop_timer *timer)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (loop->heap[parent]->when_us <= timer->when_us)
			break;
		heap_put(loop, i, loop->heap[parent]);
		i = parent;
	}
	heap_put(loop, i, timer);
}

static void
heap_down(struct loop *loop, size_t i, struct loop_timer *timer)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= loop->heap_count)
			break;
		if (child + 1 < loop->heap_count &&
		    loop->heap[child + 1]->when_us <
		    loop->heap[child]->when_us)
			child++;
		if (loop->heap[child]->when_us >= timer->when_us)
			break;
		heap_put(loop, i, loop->heap[child]);
		i = child;
	}
	heap_put(loop, i, timer);
}

static void
heap_place(struct loop *loop, size_t i, struct loop_timer *timer)
{
	if (i > 0 && loop->heap[(i - 1) / 2]->when_us > timer->when_us)
		heap_up(loop, i, timer);
	else
		heap_down(loop, i, timer);
}

static int
heap_grow(struct loop *loop)
{
	size_t size = loop->heap_size == 0 ? 64 : loop->heap_size * 2;
	struct loop_timer **heap;

	if (loop->heap_count < loop->heap_size)
		return 0;
	heap = reallocarray(loop->heap, size, sizeof(struct loop_timer *));
	if (heap == NULL)
		return -ENOMEM;
	loop->heap = heap;
	loop->heap_size = size;
	return 0;
}

int
loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t when_us,
    loop_fn *fn, void *arg)
{
	if (timer->place == 0) {
		if (heap_grow(loop) != 0)
			return -ENOMEM;
		timer->place = ++loop->heap_count;
	}
	timer->when_us = when_us;
	timer->fn = fn;
	timer->arg = arg;
	heap_place(loop, timer->place - 1, timer);
	return 0;
}

void
loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer *last;
	size_t i;

	if (timer->place == 0)
		return;
	i = timer->place - 1;
	timer->place = 0;
	last = loop->heap[--loop->heap_count];
	if (last != timer)
		heap_place(loop, i, last);
}

size_t
loop_timers(const struct loop *loop, uint64_t *first_us)
{
	if (loop->heap_count > 0)
		*first_us = loop->heap[0]->when_us;
	return loop->heap_count;
}

/* A timer that is set anew for a time that has passed waits for the next
 * iteration: no more fire than were armed at the start. */
static void
run_timers(struct loop *loop)
{
	for (size_t left = loop->heap_count; left > 0; left--) {
		struct loop_timer *timer;

		if (loop->heap_count == 0)
			return;
		timer = loop->heap[0];
		if (timer->when_us > loop->now_us)
			return;
		loop_timer_cancel(loop, timer);
		timer->fn(timer->arg);
	}
}

/* Rounded up: waking a moment early would spin until the time has come. */
static int
wait_ms(const struct loop *loop)
{
	uint64_t now_us = loop_clock_us(), left_us;

	if (loop->first_task != NULL)
		return 0;
	if (loop->heap_count == 0)
		return -1;
	if (loop->heap[0]->when_us <= now_us)
		return 0;
	left_us = loop->heap[0]->when_us - now_us;
	if (left_us > (uint64_t)INT_MAX * 1000 - 999)
		return INT_MAX;
	return (int)((left_us + 999) / 1000);
}

/* Tasks, hook, the run */

void
loop_defer(struct loop *loop, struct loop_task *task, loop_fn *fn, void *arg)
{
	if (task->is_queued)
		return;
	*task = (struct loop_task){ NULL, true, fn, arg };
	*loop->last_task = task;
	loop->last_task = &task->next;
}

/* A task is off the list before it runs, because it may free its struct. */
static void
run_tasks(struct loop *loop)
{
	while (loop->first_task != NULL) {
		struct loop_task *task = loop->first_task;

		loop->first_task = task->next;
		if (loop->first_task == NULL)
			loop->last_task = &loop->first_task;
		task->is_queued = false;
		task->fn(task->arg);
	}
}

void
loop_set_begin(struct loop *loop, loop_fn *fn, void *arg)
{
	loop->begin = fn;
	loop->begin_arg = arg;
}

void
loop_set_hook(struct loop *loop, loop_fn *fn, void *arg)
{
	loop->hook = fn;
	loop->hook_arg = arg;
}

void
loop_stop(struct loop *loop)
{
	loop->is_stopping = true;
}

int
loop_run(struct loop *loop)
{
	while (!loop->is_stopping) {
		int count = epoll_wait(loop->epoll_fd, loop->batch,
		    LOOP_BATCH, wait_ms(loop));

		if (count < 0 && errno != EINTR)
			return -errno;
		loop->batch_count = count < 0 ? 0 : count;
		loop->now_us = loop_clock_us();
		if (loop->begin != NULL)
			loop->begin(loop->begin_arg);
		run_batch(loop);
		run_timers(loop);
		/* again, until the hook has seen what its own tasks left */
		do {
			run_tasks(loop);
			if (loop->hook != NULL)
				loop->hook(loop->hook_arg);
		} while (loop->first_task != NULL);
	}
	loop->is_stopping = false;
	return 0;
}

/* Signals */

static void
on_signals(void *arg, uint32_t events)
{
	struct loop *loop = arg;
	struct signalfd_siginfo info[SIGNAL_BATCH];
	ssize_t n;

	(void)events;
	n = read(loop->signal_io.fd, info, sizeof(info));
	if (n <= 0)
		return;
	for (size_t i = 0; i < (size_t)n / sizeof(info[0]); i++)
		loop->signal_fn(loop->signal_arg, (int)info[i].ssi_signo);
}

int
loop_signals(struct loop *loop, const int *signals, loop_signal_fn *fn,
    void *arg)
{
	sigset_t set;
	int fd, rc;

	if (is_registered(&loop->signal_io))
		return -EEXIST;
	sigemptyset(&set);
	for (; *signals != 0; signals++)
		if (sigaddset(&set, *signals) != 0)
			return -errno;
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	loop->signal_fn = fn;
	loop->signal_arg = arg;
	rc = loop_io_add(loop, &loop->signal_io, fd, EPOLLIN, on_signals,
	    loop);
	if (rc != 0)
		close(fd);
	return rc;
}
