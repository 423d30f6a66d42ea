#include "functions/python/report.h"

/* as `embed` compiles it */
#define RUNTIME_NAME "<fcgi-host-python>"

/* What the process has one of: its two streams.  names is NULL until report_init(). */
static struct {
	PyObject *modules; /* sys.__dict__, borrowed */
	PyObject *names[2], *logs[2];
	PyObject *written; /* a bytearray: see runtime.py */
} streams;

static void
flush(PyObject *stream)
{
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

int
report_init(PyObject *runtime)
{
	PyObject *made = PyObject_CallMethod(runtime, "open_logs", NULL);
	int is_right = made != NULL && PyArg_ParseTuple(made, "OOO!",
	    &streams.logs[0], &streams.logs[1], &PyByteArray_Type,
	    &streams.written);

	if (!is_right) {
		Py_XDECREF(made);
		return -1;
	}
	/* made is kept, and with it what it holds */
	streams.names[0] = PyUnicode_InternFromString("stdout");
	streams.names[1] = PyUnicode_InternFromString("stderr");
	streams.modules = PyModule_GetDict(PyImport_AddModule("sys"));
	return streams.names[0] == NULL || streams.names[1] == NULL ? -1 : 0;
}

/* Before report_init() for --check, which needs no log. */
static void
flush_plain(void)
{
	flush(PySys_GetObject("stdout"));
	flush(PySys_GetObject("stderr"));
}

void
report_flush(void)
{
	char *written;

	if (streams.modules == NULL) {
		flush_plain();
		return;
	}
	written = PyByteArray_AS_STRING(streams.written);
	for (int i = 0; i < 2; i++) {
		PyObject *stream = PyDict_GetItemWithError(streams.modules,
		    streams.names[i]);

		/* one of the function's own tells nobody */
		if (stream != streams.logs[i] || written[0] != 0)
			flush(stream);
		if (stream != streams.logs[i] && written[0] != 0)
			flush(streams.logs[i]);
	}
	written[0] = 0;
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
