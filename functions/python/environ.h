/*
 * WSGI's environ, made from a request's params.  Names are made into Python
 * strings once, and so are values that stay the same from one request to the
 * next, as most do.  PEP 3333: strings whose characters are the bytes (latin-1).
 */
#ifndef FUNCTIONS_PYTHON_ENVIRON_H
#define FUNCTIONS_PYTHON_ENVIRON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* A power of two; of more names than half of it the rest is not kept. */
#define ENVIRON_SLOTS 256

struct environ_slot {
	PyObject *name; /* NULL: free */
	PyObject *value; /* the last request's; NULL: too long to be kept */
	int is_left_out;
};

struct environ {
	PyObject *base; /* what is the same for all requests */
	PyObject *input_name, *scheme_name, *https;
	unsigned used;
	struct environ_slot slots[ENVIRON_SLOTS];
};

/* 0, or -1 with an exception. */
int environ_init(struct environ *environ);
/* A new dict of the params, "NAME=VALUE" each up to a NULL, and of input, which is
 * borrowed; or NULL with an exception. */
PyObject *environ_new(struct environ *environ, char **params, PyObject *input);

#endif
