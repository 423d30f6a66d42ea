/*
 * wsgi.input: the request's body as it comes.  It ends where the body ends, and
 * at CONTENT_LENGTH at the latest.
 */
#ifndef FUNCTIONS_PYTHON_INPUT_H
#define FUNCTIONS_PYTHON_INPUT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcgiapp.h>

/* The type, a new reference, or NULL with an exception. */
PyObject *input_type(void);
/* The body of a request; until input_end() it borrows stream.  length: CONTENT_LENGTH
 * or NULL.  NULL with an exception. */
PyObject *input_new(PyObject *type, FCGX_Stream *stream, const char *length);
/* The request is over: reading is an error from now on.  A thread of the function's
 * that still waits in it is woken by the end of fd, the connection. */
void input_end(PyObject *input, int fd);

#endif
