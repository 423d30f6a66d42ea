#include "functions/python/input.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "functions/common/given.h"

/* What memory is taken at first, whatever length a body claims. */
#define PIECE (16 * 1024)
#define CLAIM_MAX (1024 * 1024)

typedef struct {
	PyObject_HEAD
	FCGX_Stream *stream; /* NULL: the request is over */
	uint64_t left;       /* of CONTENT_LENGTH */
	bool is_busy;        /* a thread waits in the stream */
} Input;

PyObject *
input_new(PyObject *type, FCGX_Stream *stream, const char *length)
{
	Input *self = PyObject_New(Input, (PyTypeObject *)type);

	if (self == NULL)
		return NULL;
	self->stream = stream;
	self->left = given_length(length);
	self->is_busy = false;
	return (PyObject *)self;
}

void
input_end(PyObject *input, int fd)
{
	Input *self = (Input *)input;

	while (self->is_busy) {
		Py_BEGIN_ALLOW_THREADS
		(void)shutdown(fd, SHUT_RD);
		usleep(1000);
		Py_END_ALLOW_THREADS
	}
	self->stream = NULL;
}

static void
input_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_Free(self);
	Py_DECREF(type);
}

/* The stream has failed: the peer has left, or has sent what is no body. */
static int
failed(FCGX_Stream *stream)
{
	int error = FCGX_GetError(stream);

	if (error > 0) {
		errno = error;
		PyErr_SetFromErrno(PyExc_OSError);
	} else {
		PyErr_SetString(PyExc_ConnectionAbortedError,
		    "the request ended before its body");
	}
	return -1;
}

/* One read of the stream, the first byte of which is put back; false: none. */
static bool
fill(Input *self)
{
	FCGX_Stream *stream = self->stream;
	int c;

	self->is_busy = true;
	Py_BEGIN_ALLOW_THREADS
	c = FCGX_GetChar(stream);
	if (c != EOF)
		FCGX_UnGetChar(c, stream);
	Py_END_ALLOW_THREADS
	self->is_busy = false;
	return c != EOF;
}

/*
 * Bytes that can be taken without waiting, after waiting for some; 0: the end;
 * -1 with an exception.  libfcgi takes the interruption of a read for an error of
 * the stream: a handler of the function's signals runs, and the read goes on.
 */
static Py_ssize_t
wait_for_some(Input *self)
{
	FCGX_Stream *stream = self->stream;
	Py_ssize_t there;

	if (stream == NULL || self->is_busy) {
		PyErr_SetString(PyExc_ValueError, stream == NULL ?
		    "the request is over" : "another thread reads the body");
		return -1;
	}
	while (self->left > 0 && stream->rdNext == stream->stop &&
	    !fill(self)) {
		if (FCGX_GetError(stream) == 0)
			return 0;
		if (FCGX_GetError(stream) != EINTR)
			return failed(stream);
		FCGX_ClearError(stream);
		stream->isClosed = 0;
		if (PyErr_CheckSignals() < 0)
			return -1;
	}
	there = stream->stop - stream->rdNext;
	return (uint64_t)there < self->left ? there : (Py_ssize_t)self->left;
}

/* Bytes, of which used are filled, with room for more, but not beyond most. */
static int
grow(PyObject **bytes, Py_ssize_t used, Py_ssize_t most)
{
	Py_ssize_t room = PyBytes_GET_SIZE(*bytes);

	if (used < room)
		return 0;
	room = room > most / 2 ? most : room * 2;
	return _PyBytes_Resize(bytes, room);
}

static void
take(Input *self, char *to, Py_ssize_t n)
{
	memcpy(to, self->stream->rdNext, (size_t)n);
	self->stream->rdNext += n;
	self->left -= (uint64_t)n;
}

/* How much of what is there a read takes; *is_over: with that it is done. */
static Py_ssize_t
measure(const Input *self, Py_ssize_t there, Py_ssize_t wanted, bool is_line,
    bool *is_over)
{
	const unsigned char *from = self->stream->rdNext, *end = NULL;
	Py_ssize_t n = there < wanted ? there : wanted;

	if (is_line)
		end = memchr(from, '\n', (size_t)n);
	if (end != NULL)
		n = end - from + 1;
	*is_over = end != NULL || n == wanted;
	return n;
}

static PyObject *
bytes_new(const Input *self, Py_ssize_t n, Py_ssize_t most)
{
	Py_ssize_t size = most < PIECE ? most : PIECE;

	if (self->left < CLAIM_MAX && (uint64_t)most >= self->left)
		size = (Py_ssize_t)self->left;
	return PyBytes_FromStringAndSize(NULL, size > n ? size : n);
}

/*
 * Up to most bytes; up to and with a newline, if is_line; what is there after
 * one wait, if is_once.
 */
static PyObject *
read_some(Input *self, Py_ssize_t most, bool is_line, bool is_once)
{
	Py_ssize_t there = most > 0 ? wait_for_some(self) : 0, used = 0, n;
	PyObject *bytes;
	bool is_over;

	if (there <= 0)
		return there < 0 ? NULL : PyBytes_FromStringAndSize(NULL, 0);
	n = measure(self, there, most, is_line, &is_over);
	bytes = is_over || is_once ? PyBytes_FromStringAndSize(NULL, n) :
	    bytes_new(self, n, most);
	while (bytes != NULL) {
		while (PyBytes_GET_SIZE(bytes) - used < n)
			if (grow(&bytes, PyBytes_GET_SIZE(bytes), most) < 0)
				return NULL;
		take(self, PyBytes_AS_STRING(bytes) + used, n);
		used += n;
		there = is_over || is_once ? 0 : wait_for_some(self);
		if (there < 0)
			Py_CLEAR(bytes);
		if (there <= 0)
			break;
		n = measure(self, there, most - used, is_line, &is_over);
	}
	if (bytes != NULL && used < PyBytes_GET_SIZE(bytes))
		(void)_PyBytes_Resize(&bytes, used);
	return bytes;
}

/* The one optional argument of a read: how much; none, None or less than 0 is
 * all.  -1 with an exception. */
static Py_ssize_t
read_size(PyObject *const *args, Py_ssize_t n)
{
	Py_ssize_t size;

	if (n > 1) {
		PyErr_SetString(PyExc_TypeError, "at most one argument: size");
		return -1;
	}
	if (n == 0 || args[0] == Py_None)
		return PY_SSIZE_T_MAX;
	size = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
	if (size == -1 && PyErr_Occurred())
		return -1;
	return size < 0 ? PY_SSIZE_T_MAX : size;
}

static PyObject *
input_read(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	Py_ssize_t most = read_size(args, n);

	return most < 0 ? NULL : read_some((Input *)self, most, false, false);
}

static PyObject *
input_read1(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	Py_ssize_t most = read_size(args, n);

	return most < 0 ? NULL : read_some((Input *)self, most, false, true);
}

static PyObject *
input_readline(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	Py_ssize_t most = read_size(args, n);

	return most < 0 ? NULL : read_some((Input *)self, most, true, false);
}

/* As io's: no more lines when they are hint bytes together. */
static PyObject *
input_readlines(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	Py_ssize_t hint = read_size(args, n);
	PyObject *lines = hint < 0 ? NULL : PyList_New(0);
	Py_ssize_t size = 1;

	if (hint == 0)
		hint = PY_SSIZE_T_MAX;
	for (Py_ssize_t sum = 0; lines != NULL && size > 0 && sum < hint;
	    sum += size) {
		PyObject *line = read_some((Input *)self, PY_SSIZE_T_MAX, true,
		    false);

		size = line != NULL ? PyBytes_GET_SIZE(line) : 0;
		if (line == NULL ||
		    (size > 0 && PyList_Append(lines, line) < 0))
			Py_CLEAR(lines);
		Py_XDECREF(line);
	}
	return lines;
}

static PyObject *
input_next(PyObject *self)
{
	PyObject *line = read_some((Input *)self, PY_SSIZE_T_MAX, true, false);

	if (line != NULL && PyBytes_GET_SIZE(line) == 0)
		Py_CLEAR(line);
	return line;
}

#define METHOD(name, text) { #name, (PyCFunction)(void (*)(void))input_##name, \
	METH_FASTCALL, PyDoc_STR(text) }

PyObject *
input_type(void)
{
	static PyMethodDef methods[] = {
		METHOD(read, "read([size]): up to size bytes, or all"),
		METHOD(read1, "read1([size]): what is there, after one wait"),
		METHOD(readline, "readline([size]): a line, or up to size bytes"),
		METHOD(readlines, "readlines([hint]): a list of lines"),
		{ NULL, NULL, 0, NULL },
	};
	PyType_Slot slots[] = {
		{ Py_tp_dealloc, (void *)input_dealloc },
		{ Py_tp_iter, (void *)PyObject_SelfIter },
		{ Py_tp_iternext, (void *)input_next },
		{ Py_tp_methods, methods },
		{ 0, NULL },
	};
	PyType_Spec spec = { .name = "fcgi_host.Input",
		.basicsize = sizeof(Input),
		.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
		.slots = slots };

	return PyType_FromSpec(&spec);
}
