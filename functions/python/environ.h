/*
 * WSGI's environ, made from a request's params.  Web servers send the same names in
 * the same order, and most values again: so the last request's dict is kept, what
 * differs is put into it, and the application gets a copy.  Only where the names
 * differ it is made anew.  PEP 3333: strings whose characters are the bytes
 * (latin-1).
 */
#ifndef FUNCTIONS_PYTHON_ENVIRON_H
#define FUNCTIONS_PYTHON_ENVIRON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* A power of two; of more names than half of it the rest is not kept. */
#define ENVIRON_SLOTS 256

struct environ_slot {
	PyObject *name;  /* NULL: free */
	PyObject *value; /* the last request's; NULL: too long to be kept */
	bool is_left_out, is_scheme;
};

struct environ {
	PyObject *base; /* what is the same for all requests */
	PyObject *last; /* the last request's, without its input; NULL: none */
	PyObject *input_name, *scheme_name, *http, *https;
	unsigned used;
	struct environ_slot slots[ENVIRON_SLOTS];
	/* the last request's names, by their slots */
	struct environ_slot *order[ENVIRON_SLOTS / 2];
	size_t count;
};

/* 0, or -1 with an exception. */
int environ_init(struct environ *environ);
/* A new dict of the params, "NAME=VALUE" each up to a NULL, and of input, which is
 * borrowed; or NULL with an exception. */
PyObject *environ_new(struct environ *environ, char **params, PyObject *input);

#endif
