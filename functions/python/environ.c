#include "functions/python/environ.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A longer value is hardly the next request's, too. */
#define VALUE_KEPT_MAX 256

static int
set_text(PyObject *dict, const char *name, const char *value)
{
	PyObject *text = PyUnicode_InternFromString(value);
	int error = text != NULL ? PyDict_SetItemString(dict, name, text) : -1;

	Py_XDECREF(text);
	return error;
}

static int
set_base(PyObject *base)
{
	/* what PEP 3333 demands of a server, should the params not have it */
	static const char *const defaults[][2] = {
		{ "REQUEST_METHOD", "GET" }, { "SCRIPT_NAME", "" },
		{ "PATH_INFO", "" }, { "QUERY_STRING", "" },
		{ "SERVER_NAME", "localhost" }, { "SERVER_PORT", "80" },
		{ "SERVER_PROTOCOL", "HTTP/1.1" }, { "wsgi.url_scheme", "http" },
	};
	PyObject *errors = PySys_GetObject("stderr"); /* borrowed */
	PyObject *version = Py_BuildValue("(ii)", 1, 0);
	int error = version == NULL || errors == NULL ? -1 :
	    PyDict_SetItemString(base, "wsgi.version", version);

	Py_XDECREF(version);
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (error == 0)
			error = set_text(base, defaults[i][0], defaults[i][1]);
	if (error == 0)
		error = PyDict_SetItemString(base, "wsgi.errors", errors);
	if (error == 0)
		error = PyDict_SetItemString(base, "wsgi.multithread", Py_False);
	if (error == 0)
		error = PyDict_SetItemString(base, "wsgi.multiprocess", Py_True);
	if (error == 0)
		error = PyDict_SetItemString(base, "wsgi.run_once", Py_False);
	/* reading it to its end is right, with a length and without */
	if (error == 0)
		error = PyDict_SetItemString(base, "wsgi.input_terminated",
		    Py_True);
	return error;
}

int
environ_init(struct environ *environ)
{
	memset(environ, 0, sizeof(*environ));
	environ->base = PyDict_New();
	environ->input_name = PyUnicode_InternFromString("wsgi.input");
	environ->scheme_name = PyUnicode_InternFromString("wsgi.url_scheme");
	environ->https = PyUnicode_InternFromString("https");
	if (environ->base == NULL || environ->input_name == NULL ||
	    environ->scheme_name == NULL || environ->https == NULL)
		return -1;
	return set_base(environ->base);
}

static bool
is_text(PyObject *text, const char *data, size_t n)
{
	return text != NULL && (size_t)PyUnicode_GET_LENGTH(text) == n &&
	    memcmp(PyUnicode_1BYTE_DATA(text), data, n) == 0;
}

/* They are CONTENT_TYPE and CONTENT_LENGTH, which PEP 3333 wants alone. */
static int
is_left_out(const char *name, size_t n)
{
	return (n == 17 && memcmp(name, "HTTP_CONTENT_TYPE", n) == 0) ||
	    (n == 19 && memcmp(name, "HTTP_CONTENT_LENGTH", n) == 0);
}

/* The slot that a name has or may take; NULL: there is none left. */
static struct environ_slot *
find(struct environ *environ, const char *name, size_t n)
{
	uint32_t hash = 2166136261u;
	struct environ_slot *slot;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619u;
	for (;; hash++) {
		slot = &environ->slots[hash % ENVIRON_SLOTS];
		if (slot->name == NULL)
			break;
		if (is_text(slot->name, name, n))
			return slot;
	}
	return environ->used < ENVIRON_SLOTS / 2 ? slot : NULL;
}

static int
slot_fill(struct environ *environ, struct environ_slot *slot,
    const char *name, size_t n)
{
	PyObject *text = PyUnicode_DecodeLatin1(name, (Py_ssize_t)n, NULL);

	if (text == NULL)
		return -1;
	PyUnicode_InternInPlace(&text);
	slot->name = text;
	slot->is_left_out = is_left_out(name, n);
	environ->used++;
	return 0;
}

/* A value that was not the last request's. */
static PyObject *
value_new(struct environ_slot *slot, const char *value, size_t n)
{
	PyObject *text = PyUnicode_DecodeLatin1(value, (Py_ssize_t)n, NULL);

	if (text != NULL && n <= VALUE_KEPT_MAX) {
		Py_INCREF(text);
		Py_XSETREF(slot->value, text);
	}
	return text;
}

static int
add_unkept(PyObject *dict, const char *name, size_t name_n, const char *value,
    size_t n)
{
	PyObject *key, *text;
	int error = -1;

	if (is_left_out(name, name_n))
		return 0;
	key = PyUnicode_DecodeLatin1(name, (Py_ssize_t)name_n, NULL);
	text = PyUnicode_DecodeLatin1(value, (Py_ssize_t)n, NULL);
	if (key != NULL && text != NULL)
		error = PyDict_SetItem(dict, key, text);
	Py_XDECREF(key);
	Py_XDECREF(text);
	return error;
}

static int
add(struct environ *environ, PyObject *dict, const char *param)
{
	const char *equals = strchr(param, '=');
	const char *value = equals != NULL ? equals + 1 : "";
	size_t name_n = equals != NULL ? (size_t)(equals - param) :
	    strlen(param);
	size_t n = strlen(value);
	struct environ_slot *slot = find(environ, param, name_n);
	PyObject *text;
	int error;

	if (slot == NULL)
		return add_unkept(dict, param, name_n, value, n);
	if (slot->name == NULL && slot_fill(environ, slot, param, name_n) < 0)
		return -1;
	if (slot->is_left_out)
		return 0;
	if (is_text(slot->value, value, n))
		return PyDict_SetItem(dict, slot->name, slot->value);
	text = value_new(slot, value, n);
	if (text == NULL)
		return -1;
	error = PyDict_SetItem(dict, slot->name, text);
	Py_DECREF(text);
	return error;
}

static bool
is_https(const char *param)
{
	return strcmp(param, "HTTPS=on") == 0 || strcmp(param, "HTTPS=1") == 0 ||
	    strcmp(param, "REQUEST_SCHEME=https") == 0;
}

PyObject *
environ_new(struct environ *environ, char **params, PyObject *input)
{
	PyObject *dict = PyDict_Copy(environ->base);
	bool is_secure = false;
	int error = dict != NULL ? 0 : -1;

	for (; error == 0 && *params != NULL; params++) {
		is_secure = is_secure || is_https(*params);
		error = add(environ, dict, *params);
	}
	if (error == 0 && is_secure)
		error = PyDict_SetItem(dict, environ->scheme_name,
		    environ->https);
	if (error == 0)
		error = PyDict_SetItem(dict, environ->input_name, input);
	if (error < 0)
		Py_CLEAR(dict);
	return dict;
}
