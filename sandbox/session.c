#include "sandbox/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/init_msg.h"

#define SERIAL 1 /* there is one order only */

int
session_signals(void)
{
	static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT,
		SIGWINCH, SIGCONT };
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int
session_run(int sock, const char *block, size_t length, const int fds[3])
{
	static union {
		struct init_order order;
		char bytes[sizeof(struct init_order) + INIT_ENV_MAX];
	} message;

	if (length > INIT_ENV_MAX)
		return -E2BIG;
	message.order = (struct init_order){ .magic = INIT_MAGIC,
		.type = INIT_RUN, .serial = SERIAL,
		.env_length = (uint32_t)length };
	memcpy(message.bytes + sizeof(message.order), block, length);
	return sock_send(sock, &message, sizeof(message.order) + length, fds,
	    3);
}

/* True: *end is the end. */
static bool
take_report(int sock, struct session_end *end)
{
	struct init_report report;
	ssize_t n = recv(sock, &report, sizeof(report), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	*end = (struct session_end){ SESSION_LOST, 0 };
	if (n <= 0 || init_report_check(&report, (size_t)n) != 0 ||
	    report.serial != SERIAL)
		return true;
	if (report.type == INIT_EXEC_FAILED) {
		end->outcome = SESSION_NO_EXEC;
		end->value = report.value;
	} else if (report.type == INIT_EXIT || report.type == INIT_DIRTY) {
		end->outcome = SESSION_ENDED;
		end->value = report.wait_status;
	}
	return true;
}

static bool
take_signal(int signal_fd, struct terminal *terminal, struct session_end *end)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return false;
	if (info.ssi_signo == SIGWINCH) {
		terminal_resize(terminal);
		return false;
	}
	if (info.ssi_signo == SIGCONT) {
		terminal_again(terminal);
		return false;
	}
	*end = (struct session_end){ SESSION_TOLD, (int)info.ssi_signo };
	return true;
}

enum { POLL_INIT, POLL_SIGNAL, POLL_TERMINAL,
	POLL_COUNT = POLL_TERMINAL + TERMINAL_POLLS };

struct session_end
session_follow(int sock, int signal_fd, struct terminal *terminal)
{
	struct session_end end = { SESSION_LOST, 0 };
	struct pollfd polls[POLL_COUNT];
	bool is_over = false;

	while (!is_over) {
		polls[POLL_INIT] = (struct pollfd){ sock, POLLIN, 0 };
		polls[POLL_SIGNAL] = (struct pollfd){ signal_fd, POLLIN, 0 };
		terminal_polls(terminal, polls + POLL_TERMINAL);
		if (poll(polls, POLL_COUNT, -1) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (polls[POLL_INIT].revents != 0)
			is_over = take_report(sock, &end);
		if (!is_over && polls[POLL_SIGNAL].revents != 0)
			is_over = take_signal(signal_fd, terminal, &end);
		if (!is_over && terminal_carry(terminal,
		    polls + POLL_TERMINAL) != 0) {
			end = (struct session_end){ SESSION_TOLD, SIGHUP };
			is_over = true;
		}
	}
	if (end.outcome == SESSION_ENDED)
		terminal_finish(terminal);
	return end;
}

int
session_status(const struct session_end *end)
{
	switch (end->outcome) {
	case SESSION_ENDED:
		/* the status is init's word, and so may be neither */
		return WIFSIGNALED(end->value) ?
		    SESSION_BY_SIGNAL + WTERMSIG(end->value) :
		    WEXITSTATUS(end->value);
	case SESSION_NO_EXEC:
		return end->value == ENOENT ? SESSION_NOT_FOUND :
		    SESSION_CANNOT_EXECUTE;
	case SESSION_TOLD:
		return SESSION_BY_SIGNAL + end->value;
	case SESSION_LOST:
		break;
	}
	return SESSION_CANNOT;
}
