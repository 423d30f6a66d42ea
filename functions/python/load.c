#include "functions/python/load.h"

#include <marshal.h>

#include "functions/python/report.h"
#include "functions/python/runtime.h"

PyObject *
load_runtime(void)
{
	PyObject *code = PyMarshal_ReadObjectFromString(runtime_code,
	    (Py_ssize_t)sizeof(runtime_code));
	PyObject *module = code != NULL ?
	    PyImport_ExecCodeModule("_fcgi_host", code) : NULL;

	Py_XDECREF(code);
	return module;
}

PyObject *
load_function(PyObject *runtime, const char *file, const char *path)
{
	PyObject *name = PyUnicode_DecodeFSDefault(file);
	PyObject *more = path != NULL ? PyUnicode_DecodeFSDefault(path) :
	    Py_NewRef(Py_None);
	PyObject *application = NULL;

	if (name != NULL && more != NULL)
		application = PyObject_CallMethod(runtime, "load", "OO", name,
		    more);
	Py_XDECREF(name);
	Py_XDECREF(more);
	return application;
}

int
load_check(PyObject *runtime, const char *file)
{
	PyObject *name = PyUnicode_DecodeFSDefault(file);
	PyObject *code = name != NULL ?
	    PyObject_CallMethod(runtime, "check", "O", name) : NULL;
	int status = code != NULL ? (int)PyLong_AsLong(code) : 1;

	if (PyErr_Occurred()) {
		report_exception();
		status = 1;
	}
	Py_XDECREF(code);
	Py_XDECREF(name);
	report_flush();
	return status;
}
