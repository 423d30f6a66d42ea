#include "functions/python/load.h"

#include <errno.h>
#include <fcntl.h>
#include <marshal.h>
#include <unistd.h>

#include "functions/python/report.h"
#include "functions/python/runtime.h"

/* As much as a small function has. */
#define READ_FIRST 8192

/* The rest of fd's bytes behind what there is; bytes is NULL on an error. */
static void
read_rest(int fd, PyObject **bytes)
{
	Py_ssize_t used = 0, n;

	while (*bytes != NULL) {
		if (used == PyBytes_GET_SIZE(*bytes) &&
		    _PyBytes_Resize(bytes, used * 2) < 0)
			return;
		n = read(fd, PyBytes_AS_STRING(*bytes) + used,
		    (size_t)(PyBytes_GET_SIZE(*bytes) - used));
		if (n == 0 && _PyBytes_Resize(bytes, used) == 0)
			return;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			PyErr_SetFromErrno(PyExc_OSError);
			Py_CLEAR(*bytes);
		}
		used += n;
	}
}

/* A file's bytes, by three system calls where open() of builtins needs nine. */
static PyObject *
read_file(PyObject *path)
{
	int fd = open(PyBytes_AS_STRING(path), O_RDONLY | O_CLOEXEC);
	PyObject *bytes = NULL;

	if (fd < 0) {
		PyErr_SetFromErrnoWithFilename(PyExc_OSError,
		    PyBytes_AS_STRING(path));
		return NULL;
	}
	bytes = PyBytes_FromStringAndSize(NULL, READ_FIRST);
	read_rest(fd, &bytes);
	close(fd);
	return bytes;
}

/* compile(source, file, "exec") of builtins makes the types of syntax trees first,
 * some two hundred, which no file needs that is only run. */
static PyObject *
compile_file(PyObject *self, PyObject *name)
{
	PyCompilerFlags flags = _PyCompilerFlags_INIT;
	PyObject *path, *source = NULL, *code = NULL;
	char *text;

	(void)self;
	if (!PyUnicode_FSConverter(name, &path))
		return NULL;
	source = read_file(path);
	/* one with a NUL in it is none */
	if (source != NULL &&
	    PyBytes_AsStringAndSize(source, &text, NULL) == 0)
		code = Py_CompileStringObject(text, name, Py_file_input,
		    &flags, -1);
	Py_XDECREF(source);
	Py_DECREF(path);
	return code;
}

PyObject *
load_runtime(void)
{
	static PyMethodDef method = { "compile_file", compile_file,
		METH_O, PyDoc_STR("compile_file(path)") };
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
