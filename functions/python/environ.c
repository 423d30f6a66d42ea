#include "functions/python/environ.h"

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
	/* so that a copy has a place for it */
	if (error == 0)
		error = PyDict_SetItemString(base, "wsgi.input", Py_None);
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
	environ->http = PyUnicode_InternFromString("http");
	environ->https = PyUnicode_InternFromString("https");
	if (environ->base == NULL || environ->input_name == NULL ||
	    environ->scheme_name == NULL || environ->http == NULL ||
	    environ->https == NULL)
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
static bool
is_left_out(const char *name, size_t n)
{
	return (n == 17 && memcmp(name, "HTTP_CONTENT_TYPE", n) == 0) ||
	    (n == 19 && memcmp(name, "HTTP_CONTENT_LENGTH", n) == 0);
}

static bool
is_scheme(const char *name, size_t n)
{
	return (n == 5 && memcmp(name, "HTTPS", n) == 0) ||
	    (n == 14 && memcmp(name, "REQUEST_SCHEME", n) == 0);
}

/* The slot that a name has, or may have: then its name is NULL.  NULL: there is
 * none left. */
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
	slot->is_scheme = is_scheme(name, n);
	environ->used++;
	return 0;
}

static int
set(PyObject *dict, struct environ_slot *slot, const char *value, size_t n)
{
	PyObject *text = PyUnicode_DecodeLatin1(value, (Py_ssize_t)n, NULL);
	int error;

	if (text == NULL)
		return -1;
	error = PyDict_SetItem(dict, slot->name, text);
	if (n <= VALUE_KEPT_MAX)
		Py_XSETREF(slot->value, text);
	else {
		Py_CLEAR(slot->value);
		Py_DECREF(text);
	}
	return error;
}

static bool
says_https(const struct environ_slot *slot, const char *value)
{
	return slot->is_scheme && (strcmp(value, "on") == 0 ||
	    strcmp(value, "1") == 0 || strcmp(value, "https") == 0);
}

/* ---- the names of the last request once more ---- */

/* The value of a param that has a slot's name, else NULL. */
static const char *
value_of(const struct environ_slot *slot, const char *param)
{
	size_t n = (size_t)PyUnicode_GET_LENGTH(slot->name);

	if (strncmp((const char *)PyUnicode_1BYTE_DATA(slot->name), param,
	    n) != 0 || param[n] != '=')
		return NULL;
	return param + n + 1;
}

static bool
has_same_names(const struct environ *environ, char *const *params)
{
	size_t i;

	for (i = 0; i < environ->count && params[i] != NULL; i++)
		if (value_of(environ->order[i], params[i]) == NULL)
			return false;
	return i == environ->count && params[i] == NULL;
}

/* Puts into the last request's dict what differs. */
static int
update(struct environ *environ, char *const *params, bool *is_secure)
{
	for (size_t i = 0; i < environ->count; i++) {
		struct environ_slot *slot = environ->order[i];
		const char *value = params[i] +
		    PyUnicode_GET_LENGTH(slot->name) + 1;
		size_t n = strlen(value);

		*is_secure = *is_secure || says_https(slot, value);
		if (slot->is_left_out || is_text(slot->value, value, n))
			continue;
		if (set(environ->last, slot, value, n) < 0)
			return -1;
	}
	return 0;
}

/* ---- other names ---- */

/* Of more names than are kept. */
static int
add_unkept(PyObject *dict, const char *name, size_t name_n, const char *value)
{
	PyObject *key, *text;
	int error = -1;

	if (is_left_out(name, name_n))
		return 0;
	key = PyUnicode_DecodeLatin1(name, (Py_ssize_t)name_n, NULL);
	text = PyUnicode_DecodeLatin1(value, (Py_ssize_t)strlen(value), NULL);
	if (key != NULL && text != NULL)
		error = PyDict_SetItem(dict, key, text);
	Py_XDECREF(key);
	Py_XDECREF(text);
	return error;
}

/* *slot becomes that of the param's name, NULL if it has none. */
static int
add(struct environ *environ, const char *param, struct environ_slot **slot,
    bool *is_secure)
{
	const char *equals = strchr(param, '=');
	const char *value = equals != NULL ? equals + 1 : "";
	size_t n = equals != NULL ? (size_t)(equals - param) : strlen(param);

	*slot = equals != NULL ? find(environ, param, n) : NULL;
	if (*slot == NULL)
		return add_unkept(environ->last, param, n, value);
	if ((*slot)->name == NULL && slot_fill(environ, *slot, param, n) < 0)
		return -1;
	*is_secure = *is_secure || says_https(*slot, value);
	if ((*slot)->is_left_out)
		return 0;
	return set(environ->last, *slot, value, strlen(value));
}

static int
rebuild(struct environ *environ, char *const *params, bool *is_secure)
{
	bool is_ordered = true;
	size_t i;

	environ->count = 0;
	Py_XSETREF(environ->last, PyDict_Copy(environ->base));
	if (environ->last == NULL)
		return -1;
	for (i = 0; params[i] != NULL; i++) {
		struct environ_slot *slot;

		if (add(environ, params[i], &slot, is_secure) < 0)
			return -1;
		if (slot == NULL || i >= ENVIRON_SLOTS / 2)
			is_ordered = false;
		else
			environ->order[i] = slot;
	}
	environ->count = is_ordered ? i : 0;
	return 0;
}

PyObject *
environ_new(struct environ *environ, char **params, PyObject *input)
{
	PyObject *dict = NULL;
	bool is_secure = false;
	int error;

	if (environ->count > 0 && has_same_names(environ, params))
		error = update(environ, params, &is_secure);
	else
		error = rebuild(environ, params, &is_secure);
	if (error == 0)
		error = PyDict_SetItem(environ->last, environ->scheme_name,
		    is_secure ? environ->https : environ->http);
	if (error == 0)
		dict = PyDict_Copy(environ->last);
	if (dict != NULL &&
	    PyDict_SetItem(dict, environ->input_name, input) < 0)
		Py_CLEAR(dict);
	/* half of it may be the last one's, half this one's */
	if (dict == NULL)
		environ->count = 0;
	return dict;
}
