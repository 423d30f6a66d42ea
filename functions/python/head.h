/*
 * The head of an answer as CGI has it, from what an application said.  A name or
 * value that would begin another line, or another answer, is refused.  Source: PEP
 * 3333, RFC 3875 section 6.3, RFC 9110 section 5.
 */
#ifndef FUNCTIONS_PYTHON_HEAD_H
#define FUNCTIONS_PYTHON_HEAD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

struct head {
	char *data; /* lines with CR LF, without the empty one; free(3) */
	size_t used, room;
	int status;
	int64_t length; /* Content-Length; -1: none */
};

/* Fills head, which is all zero: status is "200 OK", fields a list of pairs of
 * strings.  0, or -1 with an exception; data is to be freed in any case. */
int head_make(struct head *head, PyObject *status, PyObject *fields);

#endif
