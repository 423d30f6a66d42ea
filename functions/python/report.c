#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "functions/python/report.h"

/* as `embed` compiles it */
#define RUNTIME_NAME "<fcgi-host-python>"

static void
flush(const char *name)
{
	PyObject *stream = PySys_GetObject(name); /* borrowed */
	PyObject *done;

	if (stream == NULL || stream == Py_None)
		return;
	Py_INCREF(stream);
	done = PyObject_CallMethod(stream, "flush", NULL);
	if (done == NULL)
		PyErr_Clear(); /* the function has closed or replaced it */
	Py_XDECREF(done);
	Py_DECREF(stream);
}

void
report_flush(void)
{
	flush("stdout");
	flush("stderr");
}

/* The frames of runtime.py are no part of the function: the trace begins behind
 * them. */
static PyObject *
trace_begin(PyObject *trace)
{
	while (trace != NULL && PyTraceBack_Check(trace)) {
		PyTracebackObject *frame = (PyTracebackObject *)trace;
		PyCodeObject *code = PyFrame_GetCode(frame->tb_frame);
		int is_ours = PyUnicode_CompareWithASCIIString(
		    code->co_filename, RUNTIME_NAME) == 0;

		Py_DECREF(code);
		if (!is_ours)
			return trace;
		trace = (PyObject *)frame->tb_next;
	}
	return NULL;
}

/* Not by PyErr_PrintEx() for SystemExit, which it obeys. */
void
report_exception(void)
{
	PyObject *type, *value, *trace, *begin;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	begin = trace_begin(trace);
	if (begin != NULL)
		PyException_SetTraceback(value, begin);
	else
		PyException_SetTraceback(value, Py_None);
	if (PyErr_GivenExceptionMatches(type, PyExc_SystemExit)) {
		PyErr_Display(type, value, begin);
		Py_XDECREF(type);
		Py_XDECREF(value);
	} else {
		Py_XINCREF(begin);
		PyErr_Restore(type, value, begin);
		PyErr_PrintEx(0);
	}
	Py_XDECREF(trace);
	report_flush();
}
