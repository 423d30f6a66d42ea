/*
 * fcgi-host-python: serves one function in Python by FastCGI on descriptor 0, as
 * WSGI (PEP 3333).  Runs in an instance's sandbox, with the function's rights.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "functions/common/given.h"
#include "functions/python/boot.h"
#include "functions/python/ending.h"
#include "functions/python/load.h"
#include "functions/python/report.h"
#include "functions/python/serve.h"

/* not 2, by which --check tells a script */
#define EXIT_USAGE 64

static void
say(const char *what, int error)
{
	fprintf(stderr, "fcgi-host-python: %s: %s\n", what, strerror(error));
}

/* Its handlers for SIGPIPE and SIGUSR1 have no place here: the first is ignored,
 * as in every Python, the second is the function's. */
static int
libfcgi_init(void)
{
	struct sigaction pipe_action, user_action;

	(void)sigaction(SIGPIPE, NULL, &pipe_action);
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
		Py_BEGIN_ALLOW_THREADS
		error = FCGX_Accept_r(request);
		Py_END_ALLOW_THREADS
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

/* 0: it was told to end; 1: the function could not be loaded; -errno. */
static int
serve_all(struct server *server)
{
	int error;

	while ((error = accept_next(&server->request)) > 0) {
		if (server->application == NULL) {
			serve_failure(server);
			return 1;
		}
		serve_request(server);
	}
	return error;
}

/* A spare waits for its first request before it looks at the function. */
static int
load(struct server *server, PyObject *runtime, const char *file,
    const struct boot_orders *orders)
{
	if (orders->is_spare) {
		int ready;

		boot_preload(orders->preload);
		ending_set_ready(true);
		ready = ending_wait(server->request.listen_sock);
		ending_set_ready(false);
		if (ready <= 0)
			return ready;
	}
	server->application = load_function(runtime, file, orders->path);
	if (server->application == NULL)
		report_exception();
	ending_set_ready(true);
	return 1;
}

static int
run(struct server *server, int fd, const char *file,
    const struct boot_orders *orders)
{
	PyObject *runtime = load_runtime();
	int error;

	if (runtime == NULL || report_init(runtime) < 0 ||
	    serve_init(server, fd) < 0) {
		report_exception();
		return EXIT_FAILURE;
	}
	error = load(server, runtime, file, orders);
	if (error > 0)
		error = serve_all(server);
	if (error < 0)
		say("the socket on descriptor 0", -error);
	Py_DECREF(runtime);
	Py_CLEAR(server->application);
	if (Py_FinalizeEx() < 0 || error != 0)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}

static int
check(const char *file)
{
	PyObject *runtime;
	int status = EXIT_FAILURE;

	if (boot_check(file) < 0)
		return EXIT_FAILURE;
	runtime = load_runtime();
	if (runtime == NULL)
		report_exception();
	else
		status = load_check(runtime, file);
	Py_XDECREF(runtime);
	return status;
}

static bool
is_listening(int fd)
{
	int is_so = 0;
	socklen_t n = sizeof(is_so);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_so, &n) == 0 &&
	    is_so;
}

int
main(int argc, char **argv)
{
	static struct server server;
	struct boot_orders orders;
	int error, fd;

	if (argc == 3 && strcmp(argv[1], "--check") == 0)
		return check(argv[2]);
	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: fcgi-host-python FILE, with a "
		    "listening socket on descriptor 0\n"
		    "       fcgi-host-python --check FILE\n");
		return EXIT_USAGE;
	}
	if (!is_listening(STDIN_FILENO)) {
		fprintf(stderr, "fcgi-host-python: descriptor 0 is no "
		    "listening socket: fcgi-host starts this program, by "
		    "[runtime wsgi] of its configuration\n");
		return EXIT_USAGE;
	}
	boot_orders_take(&orders);
	fd = given_listener();
	error = fd < 0 ? fd : ending_init();
	if (error == 0)
		error = libfcgi_init();
	if (error < 0) {
		say("start", -error);
		return EXIT_FAILURE;
	}
	if (boot_start(argv[1]) < 0)
		return EXIT_FAILURE;
	return run(&server, fd, argv[1], &orders);
}
