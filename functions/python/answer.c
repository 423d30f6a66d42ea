#include "functions/python/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "functions/common/record.h"
#include "functions/python/head.h"

Answer *
answer_new(PyObject *type, FCGX_Request *request, bool is_head_method)
{
	Answer *self = PyObject_New(Answer, (PyTypeObject *)type);

	if (self == NULL)
		return NULL;
	self->request = request;
	self->head = NULL;
	self->head_n = 0;
	self->length = -1;
	self->written = 0;
	self->has_body = !is_head_method;
	self->is_head_method = is_head_method;
	self->is_head_sent = self->is_direct = false;
	self->is_gone = self->is_busy = false;
	return self;
}

static void
answer_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

	free(((Answer *)object)->head);
	PyObject_Free(object);
	Py_DECREF(type);
}

void
answer_end(Answer *self)
{
	while (self->is_busy) {
		Py_BEGIN_ALLOW_THREADS
		(void)shutdown(self->request->ipcFd, SHUT_RDWR);
		usleep(1000);
		Py_END_ALLOW_THREADS
	}
	self->request = NULL;
}

/* ---- sending ---- */

static int
is_usable(const Answer *self)
{
	if (self->request != NULL && !self->is_busy)
		return 1;
	PyErr_SetString(PyExc_ValueError, self->request == NULL ?
	    "the request is over" : "another thread writes the answer");
	return 0;
}

static int
gone(Answer *self, int error)
{
	self->is_gone = true;
	errno = error > 0 ? error : EPIPE;
	PyErr_SetFromErrno(PyExc_OSError);
	return -1;
}

/*
 * What does not fit into libfcgi's buffer goes past it, when that is empty: it
 * would be copied and sent by 8 KiB, and libfcgi takes an interrupted write for
 * an error.
 */
static int
send_direct(Answer *self, const char *data, size_t n)
{
	FCGX_Request *request = self->request;
	int error;

	self->is_busy = true;
	Py_BEGIN_ALLOW_THREADS
	if (self->is_direct)
		record_wait(request->ipcFd);
	error = FCGX_FFlush(request->out) < 0 ? -EPIPE :
	    record_write(request->ipcFd, request->requestId, data, n);
	Py_END_ALLOW_THREADS
	self->is_busy = false;
	self->is_direct = true;
	return error < 0 ? gone(self, -error) : 0;
}

static int
flush(Answer *self)
{
	FCGX_Request *request = self->request;
	int error;

	self->is_busy = true;
	Py_BEGIN_ALLOW_THREADS
	if (self->is_direct)
		record_wait(request->ipcFd);
	error = FCGX_FFlush(request->out);
	Py_END_ALLOW_THREADS
	self->is_busy = false;
	self->is_direct = true;
	return error < 0 ? gone(self, FCGX_GetError(request->out)) : 0;
}

static int
put(Answer *self, const char *data, size_t n, bool is_flushed)
{
	FCGX_Stream *out = self->request->out;

	if ((size_t)(out->stop - out->wrNext) < n)
		return send_direct(self, data, n);
	if (FCGX_PutStr(data, (int)n, out) < 0)
		return gone(self, FCGX_GetError(out));
	return is_flushed ? flush(self) : 0;
}

int
answer_put_head(Answer *self)
{
	if (!is_usable(self))
		return -1;
	if (self->head == NULL) {
		PyErr_SetString(PyExc_RuntimeError,
		    "start_response was not called");
		return -1;
	}
	if (self->is_head_sent)
		return 0;
	self->is_head_sent = true;
	if (put(self, self->head, self->head_n, false) < 0)
		return -1;
	return put(self, "\r\n", 2, false);
}

int
answer_put(Answer *self, const char *data, size_t n, bool is_flushed)
{
	if (answer_put_head(self) < 0)
		return -1;
	if (!self->has_body || n == 0)
		return 0;
	self->written += (int64_t)n;
	/* what is whole leaves with its end */
	return put(self, data, n, is_flushed && self->written != self->length);
}

/* printf's family would take as long as all the rest of the head. */
static size_t
length_line(char *line, size_t length)
{
	static const char name[] = "Content-Length: ";
	char digits[24];
	size_t used = sizeof(name) - 1, n = 0;

	memcpy(line, name, used);
	do {
		digits[n++] = (char)('0' + length % 10);
		length /= 10;
	} while (length > 0);
	while (n > 0)
		line[used++] = digits[--n];
	line[used++] = '\r';
	line[used++] = '\n';
	return used;
}

int
answer_measure(Answer *self, size_t length)
{
	char *head, line[48];
	size_t n;

	if (self->head == NULL || self->length >= 0 || !self->has_body ||
	    self->is_head_sent)
		return 0;
	n = length_line(line, length);
	head = realloc(self->head, self->head_n + n);
	if (head == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	memcpy(head + self->head_n, line, n);
	self->head = head;
	self->head_n += n;
	self->length = (int64_t)length;
	return 0;
}

/* ---- what the application calls ---- */

/* A second call is for an application that failed behind its first. */
static int
may_start(Answer *self, PyObject *exc_info)
{
	PyObject *type, *value, *trace;

	if (!is_usable(self))
		return -1;
	if (exc_info == Py_None) {
		if (self->head == NULL)
			return 0;
		PyErr_SetString(PyExc_RuntimeError, "start_response was "
		    "called twice, the second time without exc_info");
		return -1;
	}
	if (!PyArg_ParseTuple(exc_info, "OOO;exc_info is that of "
	    "sys.exc_info()", &type, &value, &trace))
		return -1;
	if (!self->is_head_sent)
		return 0;
	if (!PyExceptionInstance_Check(value))
		PyErr_SetString(PyExc_RuntimeError, "start_response was "
		    "called when the head had been sent");
	else
		PyErr_Restore(Py_NewRef(PyExceptionInstance_Class(value)),
		    Py_NewRef(value), trace == Py_None ? NULL :
		    Py_NewRef(trace));
	return -1;
}

static PyObject *
answer_write(PyObject *object, PyObject *data)
{
	if (!PyBytes_Check(data)) {
		PyErr_Format(PyExc_TypeError, "write() takes bytes, not %s",
		    Py_TYPE(data)->tp_name);
		return NULL;
	}
	/* an empty one sends no head yet (PEP 3333) */
	if (PyBytes_GET_SIZE(data) > 0 && answer_put((Answer *)object,
	    PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data),
	    true) < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* status, headers and perhaps exc_info, by place or by name. */
static int
start_arguments(PyObject **found, PyObject *const *args, Py_ssize_t n,
    PyObject *keywords)
{
	static const char *const names[] = { "status", "headers", "exc_info" };
	Py_ssize_t more = keywords != NULL ? PyTuple_GET_SIZE(keywords) : 0;

	for (Py_ssize_t i = 0; i < n && i < 3; i++)
		found[i] = args[i];
	for (Py_ssize_t i = 0; i < more && n <= 3; i++) {
		int at = 0;

		while (at < 3 && PyUnicode_CompareWithASCIIString(
		    PyTuple_GET_ITEM(keywords, i), names[at]) != 0)
			at++;
		if (at == 3 || at < n)
			n = 4; /* an unknown one, or twice */
		else
			found[at] = args[n + i];
	}
	if (n <= 3 && found[0] != NULL && found[1] != NULL)
		return 0;
	PyErr_SetString(PyExc_TypeError,
	    "it is start_response(status, headers, exc_info=None)");
	return -1;
}

static PyObject *
answer_start(PyObject *object, PyObject *const *args, Py_ssize_t n,
    PyObject *keywords)
{
	static PyMethodDef write_method = { "write", answer_write, METH_O,
		PyDoc_STR("write(bytes): sends them at once") };
	Answer *self = (Answer *)object;
	PyObject *found[] = { NULL, NULL, Py_None };
	struct head head = { 0 };

	if (start_arguments(found, args, n, keywords) < 0 ||
	    may_start(self, found[2]) < 0)
		return NULL;
	if (head_make(&head, found[0], found[1]) < 0) {
		free(head.data);
		return NULL;
	}
	free(self->head);
	self->head = head.data;
	self->head_n = head.used;
	self->length = head.length;
	self->has_body = !self->is_head_method && head.status != 204 &&
	    head.status != 304;
	return PyCFunction_New(&write_method, object);
}

PyObject *
answer_start_response(Answer *self)
{
	static PyMethodDef method = { "start_response",
		(PyCFunction)(void (*)(void))answer_start,
		METH_FASTCALL | METH_KEYWORDS,
		PyDoc_STR("start_response(status, headers, exc_info=None)") };

	return PyCFunction_New(&method, (PyObject *)self);
}

PyObject *
answer_type(void)
{
	PyType_Slot slots[] = {
		{ Py_tp_dealloc, (void *)answer_dealloc },
		{ 0, NULL },
	};
	PyType_Spec spec = { .name = "fcgi_host.Answer",
		.basicsize = sizeof(Answer),
		.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
		.slots = slots };

	return PyType_FromSpec(&spec);
}
