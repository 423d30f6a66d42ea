/*
 * One request to an application by WSGI (PEP 3333), from its params to its end.
 */
#ifndef FUNCTIONS_PYTHON_SERVE_H
#define FUNCTIONS_PYTHON_SERVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcgiapp.h>

#include "functions/python/environ.h"

struct server {
	FCGX_Request request;
	PyObject *application; /* NULL: the function could not be loaded */
	PyObject *input_type, *answer_type;
	struct environ environ;
};

/* fd: the listening socket, borrowed.  0, or -1 with an exception. */
int serve_init(struct server *server, int fd);
/*
 * The accepted request.  Whatever the application does, it is ended here: by its
 * answer, by 500, or, where an answer had begun, by a cut, and its trace is in the
 * log.
 */
void serve_request(struct server *server);
/* 500 for the accepted request, of a function that could not be loaded. */
void serve_failure(struct server *server);

#endif
