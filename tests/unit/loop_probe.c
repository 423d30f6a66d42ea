#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/loop_probe.h"

void
probe_note(struct probe *probe, char c)
{
	if (probe->order_length < sizeof(probe->order) - 1)
		probe->order[probe->order_length++] = c;
}

void
probe_stop(void *arg)
{
	loop_stop(((struct probe *)arg)->loop);
}

void
probe_out_of_time(void *arg)
{
	(void)arg;
	fail_msg("the loop ran for 10 s");
}

int
probe_set_up(void **state)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	if (probe == NULL)
		return -1;
	probe->io.fd = probe->other.fd = -1;
	probe->loop = loop_new();
	*state = probe;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    probe->fds) != 0)
		return -1;
	return probe->loop == NULL;
}

int
probe_tear_down(void **state)
{
	struct probe *probe = *state;

	loop_free(probe->loop);
	close(probe->fds[0]);
	close(probe->fds[1]);
	free(probe);
	return 0;
}

void
probe_run(struct probe *probe)
{
	assert_int_equal(loop_timer_set(probe->loop, &probe->limit,
	    loop_clock_us() + 10000000, probe_out_of_time, NULL), 0);
	assert_int_equal(loop_run(probe->loop), 0);
	loop_timer_cancel(probe->loop, &probe->limit);
}

void
probe_run_ms(struct probe *probe, unsigned ms)
{
	struct loop_timer end = { 0 };

	assert_int_equal(loop_timer_set(probe->loop, &end,
	    loop_clock_us() + ms * 1000, probe_stop, probe), 0);
	probe_run(probe);
}

void
probe_on_events(void *arg, uint32_t events)
{
	struct probe *probe = arg;

	probe->count++;
	probe->events = events;
	if (probe->count >= probe->wanted)
		loop_stop(probe->loop);
}
