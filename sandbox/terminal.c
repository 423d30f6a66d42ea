#include "sandbox/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

/* The last words wait this long for a terminal that does not take them. */
#define LAST_WORDS_MS 1000

/* -------------------------------------------------------------------- making */

static int
make_pair(struct terminal *terminal)
{
	char name[64];

	terminal->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC |
	    O_NONBLOCK);
	if (terminal->master < 0)
		return -errno;
	if (grantpt(terminal->master) != 0 ||
	    unlockpt(terminal->master) != 0 ||
	    ptsname_r(terminal->master, name, sizeof(name)) != 0)
		return -errno;
	terminal->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return terminal->slave < 0 ? -errno : 0;
}

/*
 * The caller's terminal once more, as an open file of ours: to be non-blocking is
 * a property of the open file, which the standard descriptors share with the
 * caller's shell.
 */
static int
open_outside(int fd)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return own < 0 ? -errno : own;
}

/* The sandbox's end starts as the caller's terminal is. */
static int
take_settings(struct terminal *terminal)
{
	struct termios settings;

	/* The caller's two may be different ones: what is changed is the one
	 * that is typed at. */
	if (tcgetattr(terminal->outside_in >= 0 ? terminal->outside_in :
	    terminal->outside_out, &settings) != 0)
		return -errno;
	terminal->before = settings;
	/* Where the caller's stays as it is, it does this part itself. */
	if (terminal->outside_in < 0)
		settings.c_oflag &= ~(tcflag_t)OPOST;
	if (tcsetattr(terminal->slave, TCSANOW, &settings) != 0)
		return -errno;
	terminal_resize(terminal);
	return 0;
}

int
terminal_open(struct terminal *terminal)
{
	static const int order[] = { STDOUT_FILENO, STDERR_FILENO,
		STDIN_FILENO };
	int shown = -1, error;

	*terminal = TERMINAL_NONE;
	for (size_t i = 0; i < 3 && shown < 0; i++)
		if (isatty(order[i]))
			shown = order[i];
	if (shown < 0)
		return 0;
	if (isatty(STDIN_FILENO))
		terminal->outside_in = STDIN_FILENO;
	terminal->outside_out = open_outside(shown);
	error = terminal->outside_out < 0 ? terminal->outside_out :
	    make_pair(terminal);
	if (error == 0)
		error = take_settings(terminal);
	terminal->is_there = error == 0;
	if (error != 0)
		terminal_close(terminal);
	return error;
}

void
terminal_fds(const struct terminal *terminal, int fds[3])
{
	for (int i = 0; i < 3; i++)
		fds[i] = terminal->is_there && isatty(i) ? terminal->slave : i;
}

/* ---------------------------------------------------------------- its states */

static int
set_raw(struct terminal *terminal)
{
	struct termios raw = terminal->before;

	if (terminal->outside_in < 0)
		return 0;
	cfmakeraw(&raw);
	if (tcsetattr(terminal->outside_in, TCSANOW, &raw) != 0)
		return -errno;
	terminal->is_raw = true;
	return 0;
}

int
terminal_begin(struct terminal *terminal)
{
	close_fd(&terminal->slave);
	return terminal->is_there ? set_raw(terminal) : 0;
}

void
terminal_again(struct terminal *terminal)
{
	if (!terminal->is_raw)
		return;
	(void)set_raw(terminal);
	terminal_resize(terminal);
}

void
terminal_resize(const struct terminal *terminal)
{
	struct winsize size;

	if (terminal->master >= 0 &&
	    ioctl(terminal->outside_out, TIOCGWINSZ, &size) == 0)
		(void)ioctl(terminal->master, TIOCSWINSZ, &size);
}

void
terminal_close(struct terminal *terminal)
{
	/* What was written before is already as it is to be: no draining. */
	if (terminal->is_raw)
		(void)tcsetattr(terminal->outside_in, TCSANOW,
		    &terminal->before);
	terminal->is_raw = terminal->is_there = false;
	close_fd(&terminal->master);
	close_fd(&terminal->slave);
	close_fd(&terminal->outside_out);
}

/* ------------------------------------------------------------------ carrying */

static bool
is_empty(const struct terminal_flow *flow)
{
	return flow->start == flow->end;
}

/* Of a descriptor that is ready.  1: something; 0: nothing yet; negative: the
 * end. */
static int
flow_fill(struct terminal_flow *flow, int fd)
{
	ssize_t n = read(fd, flow->bytes, sizeof(flow->bytes));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	flow->start = 0;
	flow->end = (size_t)n;
	return 1;
}

static int
flow_empty(struct terminal_flow *flow, int fd)
{
	ssize_t n = write(fd, flow->bytes + flow->start,
	    flow->end - flow->start);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return -EPIPE;
	flow->start += (size_t)n;
	return 0;
}

void
terminal_polls(const struct terminal *terminal,
    struct pollfd polls[TERMINAL_POLLS])
{
	bool is_open = terminal->master >= 0;
	bool can_read = is_open && is_empty(&terminal->out);
	bool can_write = is_open && !is_empty(&terminal->in);

	/* The caller's is watched for its end, too, when nothing can go in. */
	polls[0] = (struct pollfd){ .fd = terminal->outside_in,
		.events = is_empty(&terminal->in) ? POLLIN : 0 };
	polls[1] = (struct pollfd){
		.fd = can_read || can_write ? terminal->master : -1,
		.events = (short)((can_read ? POLLIN : 0) |
		    (can_write ? POLLOUT : 0)) };
	polls[2] = (struct pollfd){
		.fd = is_empty(&terminal->out) ? -1 : terminal->outside_out,
		.events = POLLOUT };
}

static int
carry_in(struct terminal *terminal, short outside, short master)
{
	struct terminal_flow *in = &terminal->in;

	if ((outside & (POLLIN | POLLHUP | POLLERR)) != 0 && is_empty(in)) {
		if (flow_fill(in, terminal->outside_in) < 0)
			return -EPIPE;
		if (terminal->master < 0)
			in->start = in->end;
	} else if ((outside & (POLLHUP | POLLERR)) != 0) {
		return -EPIPE;
	}
	/* What nobody can take any more is dropped; that there is an end, the
	 * reading shows, behind all that was written. */
	if ((master & (POLLOUT | POLLHUP | POLLERR)) != 0 &&
	    terminal->master >= 0 && !is_empty(in) &&
	    flow_empty(in, terminal->master) != 0)
		in->start = in->end;
	return 0;
}

static int
carry_out(struct terminal *terminal, short master, short outside)
{
	struct terminal_flow *out = &terminal->out;

	if ((outside & (POLLOUT | POLLHUP | POLLERR)) != 0 &&
	    !is_empty(out) && flow_empty(out, terminal->outside_out) != 0)
		return -EPIPE;
	if ((master & (POLLIN | POLLHUP | POLLERR)) != 0 &&
	    terminal->master >= 0 && is_empty(out) &&
	    flow_fill(out, terminal->master) < 0)
		close_fd(&terminal->master); /* no hurry: init reports */
	return 0;
}

int
terminal_carry(struct terminal *terminal,
    const struct pollfd polls[TERMINAL_POLLS])
{
	int error = carry_in(terminal, polls[0].revents, polls[1].revents);

	return error != 0 ? error : carry_out(terminal, polls[1].revents,
	    polls[2].revents);
}

void
terminal_finish(struct terminal *terminal)
{
	struct pollfd polls[TERMINAL_POLLS];

	while (terminal->is_there &&
	    (terminal->master >= 0 || !is_empty(&terminal->out))) {
		/* nobody is left to read */
		terminal->in.start = terminal->in.end = 0;
		terminal_polls(terminal, polls);
		polls[0].fd = -1;
		polls[0].revents = 0;
		if (poll(polls, TERMINAL_POLLS, LAST_WORDS_MS) <= 0 ||
		    carry_out(terminal, polls[1].revents,
		    polls[2].revents) != 0)
			return;
	}
}
