#include "functions/python/load.h"

#include <marshal.h>

#include "functions/python/report.h"
#include "functions/python/runtime.h"

/* compile(source, file, "exec") of builtins makes the types of syntax trees first,
 * some two hundred, which no file needs that is only run. */
static PyObject *
compile_source(PyObject *self, PyObject *args)
{
	PyCompilerFlags flags = _PyCompilerFlags_INIT;
	const char *source;
	PyObject *file;

	(void)self;
	/* y: without a NUL in it */
	if (!PyArg_ParseTuple(args, "yU", &source, &file))
		return NULL;
	return Py_CompileStringObject(source, file, Py_file_input, &flags, -1);
}

PyObject *
load_runtime(void)
{
	static PyMethodDef method = { "compile_source", compile_source,
		METH_VARARGS, PyDoc_STR("compile_source(bytes, file)") };
	PyObject *code = PyMarshal_ReadObjectFromString(runtime_code,
	    (Py_ssize_t)sizeof(runtime_code));
	PyObject *module = code != NULL ?
	    PyImport_ExecCodeModule("_fcgi_host", code) : NULL;
	PyObject *function = PyCFunction_New(&method, NULL);

	Py_XDECREF(code);
	if (module != NULL && (function == NULL || PyObject_SetAttrString(
	    module, method.ml_name, function) < 0))
		Py_CLEAR(module);
	Py_XDECREF(function);
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
