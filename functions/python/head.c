#include "functions/python/head.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROOM_FIRST 256

struct text {
	const char *data;
	size_t n;
};

static int
put(struct head *head, const char *data, size_t n)
{
	size_t room = head->room > 0 ? head->room : ROOM_FIRST;
	char *more;

	while (room - head->used < n) {
		if (room > SIZE_MAX / 2) {
			PyErr_NoMemory();
			return -1;
		}
		room *= 2;
	}
	if (room > head->room) {
		more = realloc(head->data, room);
		if (more == NULL) {
			PyErr_NoMemory();
			return -1;
		}
		head->data = more;
		head->room = room;
	}
	memcpy(head->data + head->used, data, n);
	head->used += n;
	return 0;
}

/* The bytes of a str of latin-1; what: for the message. */
static int
text_take(struct text *text, PyObject *object, const char *what)
{
	if (!PyUnicode_Check(object)) {
		PyErr_Format(PyExc_TypeError, "%s has to be str, not %s", what,
		    Py_TYPE(object)->tp_name);
		return -1;
	}
	if (PyUnicode_READY(object) < 0)
		return -1;
	if (PyUnicode_KIND(object) != PyUnicode_1BYTE_KIND) {
		PyErr_Format(PyExc_ValueError, "%s has characters beyond "
		    "latin-1: %R", what, object);
		return -1;
	}
	text->data = (const char *)PyUnicode_1BYTE_DATA(object);
	text->n = (size_t)PyUnicode_GET_LENGTH(object);
	return 0;
}

/* No control characters but a tab: no line's end above all. */
static bool
is_clean(const struct text *text)
{
	for (size_t i = 0; i < text->n; i++) {
		unsigned char c = (unsigned char)text->data[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool
is_token(const struct text *text)
{
	for (size_t i = 0; i < text->n; i++) {
		unsigned char c = (unsigned char)text->data[i];

		if (c <= 0x20 || c >= 0x7f ||
		    strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
			return false;
	}
	return text->n > 0;
}

static int
put_status(struct head *head, PyObject *status)
{
	struct text text;

	if (text_take(&text, status, "the status") < 0)
		return -1;
	for (size_t i = 0; i < 3 && i < text.n; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			break;
		head->status = head->status * 10 + text.data[i] - '0';
	}
	if (text.n < 3 || (text.n > 3 && text.data[3] != ' ') ||
	    head->status < 200 || head->status > 999 || !is_clean(&text)) {
		PyErr_Format(PyExc_ValueError, "the status has to be three "
		    "digits from 200 on and a phrase, as 200 OK, not %R",
		    status);
		return -1;
	}
	if (put(head, "Status: ", 8) < 0 || put(head, text.data, text.n) < 0)
		return -1;
	return put(head, "\r\n", 2);
}

static bool
is_name(const struct text *text, const char *name)
{
	return text->n == strlen(name) &&
	    strncasecmp(text->data, name, text->n) == 0;
}

static int
take_length(struct head *head, const struct text *value, PyObject *object)
{
	int64_t length = 0;

	for (size_t i = 0; i < value->n; i++) {
		if (value->data[i] < '0' || value->data[i] > '9' || i > 17) {
			length = -1;
			break;
		}
		length = length * 10 + (value->data[i] - '0');
	}
	if (value->n == 0 || length < 0 ||
	    (head->length >= 0 && head->length != length)) {
		PyErr_Format(PyExc_ValueError, "Content-Length has to be one "
		    "number, not %R", object);
		return -1;
	}
	head->length = length;
	return 0;
}

static int
put_field(struct head *head, PyObject *pair)
{
	PyObject *name_object, *value_object;
	struct text name, value;

	if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
		PyErr_Format(PyExc_TypeError, "a header field has to be a "
		    "tuple of name and value, not %R", pair);
		return -1;
	}
	name_object = PyTuple_GET_ITEM(pair, 0);
	value_object = PyTuple_GET_ITEM(pair, 1);
	if (text_take(&name, name_object, "a header field's name") < 0 ||
	    text_take(&value, value_object, "a header field's value") < 0)
		return -1;
	if (!is_token(&name) || is_name(&name, "Status")) {
		PyErr_Format(PyExc_ValueError, "this is no name of a header "
		    "field: %R", name_object);
		return -1;
	}
	if (!is_clean(&value)) {
		PyErr_Format(PyExc_ValueError, "the header field %U has "
		    "control characters: %R", name_object, value_object);
		return -1;
	}
	if (is_name(&name, "Content-Length") &&
	    take_length(head, &value, value_object) < 0)
		return -1;
	if (put(head, name.data, name.n) < 0 || put(head, ": ", 2) < 0 ||
	    put(head, value.data, value.n) < 0)
		return -1;
	return put(head, "\r\n", 2);
}

int
head_make(struct head *head, PyObject *status, PyObject *fields)
{
	PyObject *list;
	int error;

	head->length = -1;
	list = PySequence_Fast(fields, "the header has to be a list");
	if (list == NULL)
		return -1;
	error = put_status(head, status);
	for (Py_ssize_t i = 0;
	    error == 0 && i < PySequence_Fast_GET_SIZE(list); i++)
		error = put_field(head, PySequence_Fast_GET_ITEM(list, i));
	Py_DECREF(list);
	return error;
}
