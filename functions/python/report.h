/*
 * What is told of a function's faults: a trace on stderr, and so in its log alone.
 */
#ifndef FUNCTIONS_PYTHON_REPORT_H
#define FUNCTIONS_PYTHON_REPORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Makes stdout and stderr the log's, by the module of runtime.py.  0, or -1 with an
 * exception. */
int report_init(PyObject *runtime);
/* Prints the exception that is set, as Python does at its end, and clears it.
 * SystemExit is one like others: it ends no program here. */
void report_exception(void);
/* Writes out what print() and its kin hold back. */
void report_flush(void);

#endif
