/*
 * The function's file: runs it, or only looks at its syntax.  Both by runtime.py,
 * which is compiled into the program.
 */
#ifndef FUNCTIONS_PYTHON_LOAD_H
#define FUNCTIONS_PYTHON_LOAD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The module of runtime.py, a new reference; NULL with an exception. */
PyObject *load_runtime(void);
/* The WSGI application of a file, a new reference; path: PYTHONPATH or NULL.  NULL
 * with an exception, also when the file has none. */
PyObject *load_function(PyObject *runtime, const char *file, const char *path);
/* Prints what a file is; the exit code of --check. */
int load_check(PyObject *runtime, const char *file);

#endif
