/*
 * One program in a sandbox whose init is commanded by whoever typed the command:
 * the part that the gateway plays for a request.  The order to init, the wait
 * for its report, and what the end means as an exit status.  Init is in the
 * sandbox, so what it says is hostile input here, too.  Blocking.
 */
#ifndef SANDBOX_SESSION_H
#define SANDBOX_SESSION_H

#include <stddef.h>

#include "sandbox/terminal.h"

/* Exit statuses of our own, as env(1) and timeout(1) have them. */
enum {
	SESSION_CANNOT = 125,        /* the sandbox, not the program, failed */
	SESSION_CANNOT_EXECUTE = 126,
	SESSION_NOT_FOUND = 127,
	SESSION_BY_SIGNAL = 128      /* plus the signal's number */
};

enum session_outcome {
	SESSION_ENDED,   /* value: wait status */
	SESSION_NO_EXEC, /* value: the errno of execve */
	SESSION_LOST,    /* init is gone, or said something wrong: value 0 */
	SESSION_TOLD     /* we were told to end by a signal: value */
};

struct session_end {
	enum session_outcome outcome;
	int value;
};

/*
 * From here on SIGINT, SIGTERM, SIGHUP and SIGQUIT end a session instead of the
 * process, SIGWINCH and SIGCONT reach its terminal, and SIGPIPE nothing.  A descriptor for session_follow, or a negative
 * errno.
 */
int session_signals(void);

/* Orders the program's start: sock is the other end of init's socket, block
 * "NAME=VALUE\0"…, fds stdin, stdout, stderr (borrowed).  0 or negative errno;
 * -E2BIG: the environment is too long. */
int session_run(int sock, const char *block, size_t length, const int fds[3]);

/* Carries the terminal, if there is one, and waits for the end.  Who closes sock
 * then ends what is left of the sandbox.  The terminal's hang-up is an end by
 * SIGHUP. */
struct session_end session_follow(int sock, int signal_fd,
    struct terminal *terminal);

/* What to exit with. */
int session_status(const struct session_end *end);

#endif
