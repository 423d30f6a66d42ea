#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/loop_probe.h"

/* Descriptors */

static void
a_readable_descriptor_is_reported_until_it_is_read(void **state)
{
	struct probe *probe = *state;

	probe->wanted = 3;
	assert_int_equal(write(probe->fds[1], "x", 1), 1);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, probe_on_events, probe), 0);
	assert_int_equal(probe->io.fd, probe->fds[0]);
	probe_run(probe);
	assert_int_equal(probe->count, 3);
	assert_int_equal(probe->events, EPOLLIN);
}

static void
only_the_interest_that_was_set_is_reported(void **state)
{
	struct probe *probe = *state;

	probe->wanted = 1;
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, probe_on_events, probe), 0);
	probe_run_ms(probe, 20);
	assert_int_equal(probe->count, 0);
	assert_int_equal(loop_io_set(probe->loop, &probe->io,
	    EPOLLIN | EPOLLOUT), 0);
	probe_run(probe);
	assert_int_equal(probe->events, EPOLLOUT);
}

static void
a_hang_up_of_a_paused_descriptor_does_not_spin(void **state)
{
	struct probe *probe = *state;

	probe->wanted = 1;
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, probe_on_events, probe), 0);
	assert_int_equal(loop_io_set(probe->loop, &probe->io, 0), 0);
	close(probe->fds[1]);
	probe->fds[1] = -1;
	probe_run_ms(probe, 20);
	assert_int_equal(probe->count, 0);
	assert_int_equal(loop_io_set(probe->loop, &probe->io, EPOLLRDHUP), 0);
	probe_run(probe);
	assert_true((probe->events & EPOLLHUP) != 0);
}

static void
a_descriptor_added_without_interest_can_be_woken(void **state)
{
	struct probe *probe = *state;

	probe->wanted = 1;
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0], 0,
	    probe_on_events, probe), 0);
	loop_io_del(probe->loop, &probe->io);
	assert_int_equal(probe->io.fd, -1);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0], 0,
	    probe_on_events, probe), 0);
	assert_int_equal(loop_io_set(probe->loop, &probe->io, EPOLLOUT), 0);
	probe_run(probe);
	assert_int_equal(probe->count, 1);
}

static void
what_cannot_be_registered_is_refused(void **state)
{
	struct probe *probe = *state;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_true(file >= 0);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, file, EPOLLIN,
	    probe_on_events, probe), -EPERM);
	close(file);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, -1, EPOLLIN,
	    probe_on_events, probe), -EBADF);
	assert_int_equal(probe->io.fd, -1);
	assert_int_equal(loop_io_set(probe->loop, &probe->io, EPOLLIN),
	    -EBADF);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, probe_on_events, probe), 0);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[1],
	    EPOLLIN, probe_on_events, probe), -EEXIST);
	assert_int_equal(probe->io.fd, probe->fds[0]);
}

static void
removing_twice_or_a_zeroed_io_is_harmless(void **state)
{
	struct probe *probe = *state;
	struct loop_io zeroed = { 0 };

	loop_io_del(probe->loop, &zeroed);
	loop_io_del(probe->loop, &probe->io);
	assert_int_equal(loop_io_add(probe->loop, &zeroed, probe->fds[0],
	    EPOLLIN, probe_on_events, probe), 0);
	loop_io_del(probe->loop, &zeroed);
	loop_io_del(probe->loop, &zeroed);
}

static void
remove_both(void *arg, uint32_t events)
{
	struct probe *probe = arg;

	(void)events;
	probe->count++;
	loop_io_del(probe->loop, &probe->io);
	loop_io_del(probe->loop, &probe->other);
	loop_stop(probe->loop);
}

static void
a_descriptor_removed_by_another_callback_is_not_reported(void **state)
{
	struct probe *probe = *state;

	assert_int_equal(write(probe->fds[0], "x", 1), 1);
	assert_int_equal(write(probe->fds[1], "x", 1), 1);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, remove_both, probe), 0);
	assert_int_equal(loop_io_add(probe->loop, &probe->other,
	    probe->fds[1], EPOLLIN, remove_both, probe), 0);
	probe_run(probe);
	assert_int_equal(probe->count, 1);
}

static void
pause_both(void *arg, uint32_t events)
{
	struct probe *probe = arg;

	(void)events;
	probe->count++;
	assert_int_equal(loop_io_set(probe->loop, &probe->io, 0), 0);
	assert_int_equal(loop_io_set(probe->loop, &probe->other, EPOLLPRI), 0);
	loop_stop(probe->loop);
}

static void
a_descriptor_paused_by_another_callback_is_not_reported(void **state)
{
	struct probe *probe = *state;

	assert_int_equal(write(probe->fds[0], "x", 1), 1);
	assert_int_equal(write(probe->fds[1], "x", 1), 1);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, pause_both, probe), 0);
	assert_int_equal(loop_io_add(probe->loop, &probe->other,
	    probe->fds[1], EPOLLIN, pause_both, probe), 0);
	probe_run(probe);
	assert_int_equal(probe->count, 1);
	probe_run_ms(probe, 10);
	assert_int_equal(probe->count, 1);
}

static void
pause_both_for_good(void *arg, uint32_t events)
{
	struct probe *probe = arg;

	assert_true((events & EPOLLHUP) != 0);
	probe->count++;
	assert_int_equal(loop_io_set(probe->loop, &probe->io, 0), 0);
	assert_int_equal(loop_io_set(probe->loop, &probe->other, 0), 0);
	loop_stop(probe->loop);
}

static void
a_hang_up_paused_by_another_callback_is_not_reported(void **state)
{
	struct probe *probe = *state;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    pair), 0);
	close(probe->fds[1]);
	probe->fds[1] = pair[1];
	close(pair[0]);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, pause_both_for_good, probe), 0);
	assert_int_equal(loop_io_add(probe->loop, &probe->other, pair[1],
	    EPOLLIN, pause_both_for_good, probe), 0);
	probe_run(probe);
	probe_run_ms(probe, 10);
	assert_int_equal(probe->count, 1);
}

static void
on_new_owner(void *arg, uint32_t events)
{
	struct probe *probe = arg;

	(void)events;
	probe_note(probe, 'N');
}

/* Both descriptors are readable.  Who is called first closes the second, and
 * a new one, which has nothing to report, gets its number and its struct. */
static void
replace_other(void *arg, uint32_t events)
{
	struct probe *probe = arg;
	int number = probe->fds[1], pair[2];

	(void)events;
	probe_note(probe, 'O');
	loop_io_del(probe->loop, &probe->io);
	loop_io_del(probe->loop, &probe->other);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    pair), 0);
	assert_int_equal(dup2(pair[1], number), number);
	close(pair[1]);
	assert_int_equal(loop_io_add(probe->loop, &probe->other, number,
	    EPOLLIN, on_new_owner, probe), 0);
	probe->count = pair[0];
	loop_stop(probe->loop);
}

static void
an_event_of_a_closed_fd_does_not_reach_its_successor(void **state)
{
	struct probe *probe = *state;

	assert_int_equal(write(probe->fds[0], "x", 1), 1);
	assert_int_equal(write(probe->fds[1], "x", 1), 1);
	assert_int_equal(loop_io_add(probe->loop, &probe->io, probe->fds[0],
	    EPOLLIN, replace_other, probe), 0);
	assert_int_equal(loop_io_add(probe->loop, &probe->other,
	    probe->fds[1], EPOLLIN, replace_other, probe), 0);
	probe_run(probe);
	probe_run_ms(probe, 10);
	assert_string_equal(probe->order, "O");
	assert_int_equal(write(probe->count, "y", 1), 1);
	probe_run_ms(probe, 10);
	assert_memory_equal(probe->order, "ON", 2);
	close(probe->count);
}

/* Signals */

static void
on_signal(void *arg, int number)
{
	struct probe *probe = arg;

	probe_note(probe, number == SIGUSR1 ? '1' : number == SIGUSR2 ?
	    '2' : '?');
	if (number == SIGUSR2)
		loop_stop(probe->loop);
}

static void
signals_arrive_through_the_loop_and_stay_blocked(void **state)
{
	static const int signals[] = { SIGUSR1, SIGUSR2, 0 };
	static const int wrong[] = { 4711, 0 };
	struct probe *probe = *state;
	sigset_t set;

	assert_int_equal(loop_signals(probe->loop, wrong, on_signal, probe),
	    -EINVAL);
	assert_int_equal(loop_signals(probe->loop, signals, on_signal, probe),
	    0);
	assert_int_equal(loop_signals(probe->loop, signals, on_signal, probe),
	    -EEXIST);
	sigprocmask(SIG_SETMASK, NULL, &set);
	assert_true(sigismember(&set, SIGUSR1) && sigismember(&set, SIGUSR2));
	kill(getpid(), SIGUSR1);
	probe_run_ms(probe, 20);
	assert_string_equal(probe->order, "1");
	kill(getpid(), SIGUSR2);
	probe_run(probe);
	assert_string_equal(probe->order, "12");
}

static void
a_loop_leaves_no_descriptor_behind(void **state)
{
	static const int signals[] = { SIGUSR1, 0 };
	int before = dup(0), after;

	(void)state;
	close(before);
	for (int i = 0; i < 50; i++) {
		struct probe probe = { .loop = loop_new() };

		assert_non_null(probe.loop);
		assert_int_equal(loop_signals(probe.loop, signals, on_signal,
		    &probe), 0);
		loop_free(probe.loop);
	}
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, probe_set_up, \
	    probe_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_readable_descriptor_is_reported_until_it_is_read),
		TEST(only_the_interest_that_was_set_is_reported),
		TEST(a_hang_up_of_a_paused_descriptor_does_not_spin),
		TEST(
		    a_descriptor_added_without_interest_can_be_woken),
		TEST(what_cannot_be_registered_is_refused),
		TEST(removing_twice_or_a_zeroed_io_is_harmless),
		TEST(a_descriptor_removed_by_another_callback_is_not_reported),
		TEST(a_descriptor_paused_by_another_callback_is_not_reported),
		TEST(a_hang_up_paused_by_another_callback_is_not_reported),
		TEST(
		    an_event_of_a_closed_fd_does_not_reach_its_successor),
		TEST(signals_arrive_through_the_loop_and_stay_blocked),
		TEST(a_loop_leaves_no_descriptor_behind),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
