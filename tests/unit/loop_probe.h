/*
 * A loop, a pair of sockets and what callbacks leave behind: the common
 * beginning of the loop's tests.  With cmocka.
 */
#ifndef TESTS_UNIT_LOOP_PROBE_H
#define TESTS_UNIT_LOOP_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/loop.h"

/* What the callbacks of a test leave behind. */
struct probe {
	struct loop *loop;
	struct loop_io io, other;
	struct loop_timer timer, limit;
	struct loop_task task, second;
	struct probe *victim;
	int fds[2];
	int count, wanted;
	uint32_t events;
	char order[64];
	size_t order_length;
};

/* For cmocka: one that the state points to. */
int probe_set_up(void **state);
int probe_tear_down(void **state);

/* Runs until something stops the loop, or 10 s, which fails the test. */
void probe_run(struct probe *probe);
/* Runs for some milliseconds. */
void probe_run_ms(struct probe *probe, unsigned ms);

/* Appends to order. */
void probe_note(struct probe *probe, char c);
/* A callback of a timer or task. */
void probe_stop(void *arg);
/* Another: fails the test. */
void probe_out_of_time(void *arg);
/* Of a descriptor: counts, and stops the loop at `wanted`. */
void probe_on_events(void *arg, uint32_t events);

#endif
