#include "functions/python/serve.h"

#include <stdlib.h>
#include <string.h>

#include "functions/common/child.h"
#include "functions/common/record.h"
#include "functions/python/answer.h"
#include "functions/python/input.h"
#include "functions/python/report.h"

static const char failure[] = "Status: 500 Internal Server Error\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 22\r\n\r\n";
static const char failure_body[] = "Internal Server Error\n";

/* It comes back from the function, and ends as a program does. */
static _Noreturn void
child_end(int error)
{
	if (error < 0 && PyErr_ExceptionMatches(PyExc_SystemExit))
		PyErr_PrintEx(0); /* ends it */
	else if (error < 0)
		report_exception();
	report_flush();
	Py_Exit(error < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

int
serve_init(struct server *server, int fd)
{
	memset(server, 0, sizeof(*server));
	server->input_type = input_type();
	server->answer_type = answer_type();
	if (server->input_type == NULL || server->answer_type == NULL ||
	    environ_init(&server->environ) < 0)
		return -1;
	if (child_init() < 0) {
		PyErr_NoMemory();
		return -1;
	}
	return FCGX_InitRequest(&server->request, fd, 0);
}

static void
finish(FCGX_Request *request, bool is_direct)
{
	Py_BEGIN_ALLOW_THREADS
	if (is_direct)
		record_wait(request->ipcFd);
	FCGX_Finish_r(request);
	Py_END_ALLOW_THREADS
}

/* What was made of the answer goes out, and then the connection closes without
 * END_REQUEST, so that it never looks whole. */
static void
cut(FCGX_Request *request)
{
	Py_BEGIN_ALLOW_THREADS
	record_wait(request->ipcFd);
	(void)FCGX_FFlush(request->out);
	FCGX_Free(request, 1);
	Py_END_ALLOW_THREADS
}

static bool
is_head_method(FCGX_Request *request)
{
	const char *method = FCGX_GetParam("REQUEST_METHOD", request->envp);

	return method != NULL && strcmp(method, "HEAD") == 0;
}

void
serve_failure(struct server *server)
{
	FCGX_Request *request = &server->request;

	FCGX_SetExitStatus(EXIT_FAILURE, request->out);
	FCGX_PutStr(failure, sizeof(failure) - 1, request->out);
	if (!is_head_method(request))
		FCGX_PutStr(failure_body, sizeof(failure_body) - 1,
		    request->out);
	finish(request, false);
}

/* ---- what an application returns ---- */

static int
put_part(Answer *answer, PyObject *part, bool is_flushed)
{
	if (!PyBytes_Check(part)) {
		PyErr_Format(PyExc_TypeError, "the application's iterable "
		    "has to give bytes, not %s", Py_TYPE(part)->tp_name);
		return -1;
	}
	/* an empty one sends no head yet (PEP 3333) */
	if (PyBytes_GET_SIZE(part) == 0)
		return 0;
	return answer_put(answer, PyBytes_AS_STRING(part),
	    (size_t)PyBytes_GET_SIZE(part), is_flushed);
}

/* All of it is there: its length can be said. */
static int
put_list(Answer *answer, PyObject *list)
{
	size_t length = 0;

	for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list); i++) {
		PyObject *part = PySequence_Fast_GET_ITEM(list, i);

		if (PyBytes_Check(part))
			length += (size_t)PyBytes_GET_SIZE(part);
	}
	if (answer_measure(answer, length) < 0)
		return -1;
	for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list); i++) {
		PyObject *part = Py_NewRef(PySequence_Fast_GET_ITEM(list, i));
		int error = put_part(answer, part, false);

		Py_DECREF(part);
		if (error < 0)
			return -1;
	}
	return answer_put_head(answer);
}

/* Each part leaves before the next one is asked for.  Of HEAD's answer the head
 * is all there is, and an endless one is not waited for. */
static int
put_iterable(Answer *answer, PyObject *iterable)
{
	PyObject *next = PyObject_GetIter(iterable), *part;
	int error = next != NULL ? 0 : -1;

	while (error == 0 && (part = PyIter_Next(next)) != NULL) {
		error = put_part(answer, part, true);
		Py_DECREF(part);
		if (answer->is_head_sent && !answer->has_body)
			break;
	}
	if (error == 0 && PyErr_Occurred())
		error = -1;
	Py_XDECREF(next);
	return error < 0 ? -1 : answer_put_head(answer);
}

/* The iterable's own close(), whatever became of it. */
static void
result_close(PyObject *result)
{
	PyObject *type, *value, *trace, *method, *done;

	PyErr_Fetch(&type, &value, &trace);
	method = PyObject_GetAttrString(result, "close");
	if (method == NULL) {
		PyErr_Clear();
	} else {
		done = PyObject_CallNoArgs(method);
		if (done == NULL)
			report_exception();
		Py_XDECREF(done);
		Py_DECREF(method);
	}
	PyErr_Restore(type, value, trace);
}

static int
put_result(Answer *answer, PyObject *result)
{
	int error;

	if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
		return put_list(answer, result);
	error = put_iterable(answer, result);
	result_close(result);
	return error;
}

static int
run(struct server *server, Answer *answer, PyObject *environ)
{
	PyObject *start_response = answer_start_response(answer);
	PyObject *arguments[] = { environ, start_response };
	PyObject *result = NULL;
	int error = -1;

	child_watch(&server->request);
	if (start_response != NULL)
		result = PyObject_Vectorcall(server->application, arguments, 2,
		    NULL);
	Py_XDECREF(start_response);
	if (result != NULL)
		error = put_result(answer, result);
	Py_XDECREF(result);
	child_watch(NULL);
	if (child_is_one())
		child_end(error);
	return error;
}

/* Ends a request behind what run() said; an exception is set if it is -1. */
static void
end(struct server *server, Answer *answer, int error)
{
	FCGX_Request *request = &server->request;
	bool has_begun = answer->is_head_sent, is_gone = answer->is_gone;
	bool is_direct = answer->is_direct;

	answer_end(answer);
	if (error < 0 && is_gone && PyErr_ExceptionMatches(PyExc_OSError))
		PyErr_Clear(); /* no fault of the function's */
	else if (error < 0)
		report_exception();
	report_flush();
	if (is_gone || (error < 0 && has_begun))
		cut(request);
	else if (error < 0)
		serve_failure(server);
	else
		finish(request, is_direct);
}

void
serve_request(struct server *server)
{
	FCGX_Request *request = &server->request;
	PyObject *input = input_new(server->input_type, request->in,
	    FCGX_GetParam("CONTENT_LENGTH", request->envp));
	PyObject *environ = input != NULL ? environ_new(&server->environ,
	    request->envp, input) : NULL;
	Answer *answer = environ != NULL ? answer_new(server->answer_type,
	    request, is_head_method(request)) : NULL;

	if (answer == NULL) {
		report_exception();
		serve_failure(server);
	} else {
		int error = run(server, answer, environ);

		input_end(input, request->ipcFd);
		end(server, answer, error);
	}
	Py_XDECREF(answer);
	Py_XDECREF(environ);
	Py_XDECREF(input);
}
