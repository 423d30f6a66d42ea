/*
 * The main() of a function that is a handler: serves it by FastCGI on descriptor 0.
 * A function with a main() of its own is linked without this.  Runs in an instance's
 * sandbox, with the function's rights.  Nothing of a function in C is worth booting
 * ahead, so FCGI_HOST_SPARE is not looked at: its program is at once where a spare
 * would wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "functions/c/ending.h"
#include "functions/c/request.h"
#include "functions/common/given.h"

#define EXIT_USAGE 2

static void
on_pipe(int number)
{
	(void)number;
}

/*
 * Its handler for SIGUSR1 has no place here: that signal is the function's.  That for
 * SIGPIPE would interrupt; to ignore it would be handed on to the function's
 * children.
 */
static int
libfcgi_init(void)
{
	struct sigaction pipe_action = { .sa_handler = on_pipe,
		.sa_flags = SA_RESTART };
	struct sigaction user_action;

	(void)sigaction(SIGUSR1, NULL, &user_action);
	if (FCGX_Init() != 0)
		return -ENOMEM;
	(void)sigaction(SIGPIPE, &pipe_action, NULL);
	(void)sigaction(SIGUSR1, &user_action, NULL);
	return 0;
}

/* Accepts the next request; 1, 0: the program is to end, or -errno. */
static int
accept_next(FCGX_Request *request)
{
	for (;;) {
		bool is_kept = request->ipcFd >= 0;
		int ready = ending_wait(is_kept ? request->ipcFd :
		    request->listen_sock);
		int error;

		if (ready == -EPIPE && is_kept) {
			FCGX_Free(request, 1);
			continue;
		}
		if (ready <= 0)
			return ready;
		error = FCGX_Accept_r(request);
		if (error < 0)
			return error;
		if (!is_kept)
			(void)fcntl(request->ipcFd, F_SETFD, FD_CLOEXEC);
		/* libfcgi takes the connection's end for that of the params */
		if (FCGX_GetError(request->in) != 0) {
			FCGX_Free(request, 1);
			continue;
		}
		/* it keeps that of the request before */
		FCGX_SetExitStatus(EXIT_SUCCESS, request->out);
		return 1;
	}
}

static bool
is_listening(int fd)
{
	int is_so = 0;
	socklen_t n = sizeof(is_so);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_so, &n) == 0 &&
	    is_so;
}

static int
serve(int fd)
{
	static struct fcgi_request request;
	int error = request_init(&request, fd);

	while (error == 0 && (error = accept_next(&request.fcgi)) > 0) {
		request_serve(&request);
		error = 0;
	}
	return error;
}

/* The linker takes it out of the archive where the function has none. */
__attribute__((visibility("default"))) int
main(void)
{
	int fd, error;

	if (!is_listening(STDIN_FILENO)) {
		fprintf(stderr, "%s: descriptor 0 is no listening socket: this "
		    "is a FastCGI program, which fcgi-host starts; drop it "
		    "into the functions directory\n",
		    program_invocation_short_name);
		return EXIT_USAGE;
	}
	/* A line in the log is one when it ends, also in a long request.  On one
	 * descriptor what is printed to either stays in order, and the host, which
	 * looks at stderr before a request is over, sees it as that request's. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	fd = given_listener();
	error = fd < 0 ? fd : libfcgi_init();
	if (error == 0)
		error = ending_init();
	if (error == 0)
		error = serve(fd);
	if (error == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "fcgi-host: the socket on descriptor 0: %s\n",
	    strerror(-error));
	return EXIT_FAILURE;
}
