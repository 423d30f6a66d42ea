/*
 * The answer of a request: start_response, write, and what an iterable gives.  The
 * head is held until there is a first byte of the body or it is known that there
 * is none (PEP 3333); until then a fault is a 500, behind it a cut.
 */
#ifndef FUNCTIONS_PYTHON_ANSWER_H
#define FUNCTIONS_PYTHON_ANSWER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcgiapp.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	PyObject_HEAD
	FCGX_Request *request; /* NULL: it is over */
	char *head;            /* what start_response said; NULL: nothing yet */
	size_t head_n;
	int64_t length;        /* Content-Length; -1: none was said */
	int64_t written;       /* bytes of the body */
	bool has_body;         /* no: HEAD, 204, 304 */
	bool is_head_method;
	bool is_head_sent;
	bool is_direct;        /* bytes went past libfcgi's buffer */
	bool is_gone;          /* the peer takes no more */
	bool is_busy;          /* a thread waits in a write */
} Answer;

/* The type, a new reference, or NULL with an exception. */
PyObject *answer_type(void);
/* Until answer_end() it borrows request. */
Answer *answer_new(PyObject *type, FCGX_Request *request, bool is_head_method);
/* The start_response of it, a new reference, or NULL with an exception. */
PyObject *answer_start_response(Answer *answer);
/*
 * Sends n bytes of the body, and before them the head.  is_flushed: they leave at
 * once.  0, or -1 with an exception: there was no start_response, or the peer has
 * left (is_gone, ConnectionError).
 */
int answer_put(Answer *answer, const char *data, size_t n, bool is_flushed);
/* Says the length of a body that is known as a whole, unless the function did. */
int answer_measure(Answer *answer, size_t length);
/* Sends a head that had no body behind it.  As answer_put(). */
int answer_put_head(Answer *answer);
/* It is over: a write is an error from now on. */
void answer_end(Answer *answer);

#endif
